"""Address books from Radicale and Xandikos into a vdir: whole, again, changed, killed; and servers that mean no good."""
import json
import shutil
import signal
import subprocess
import unittest

from contacts_world import PASSWORD, USER, Radicale, Xandikos, books, card, digests, fill, read_vdir
from dovecot import temporary_folder
from harness import SLOW, WHOLE, main, need, run, start

CARDS = 2000 if WHOLE else 10


class Contacts(unittest.TestCase):
    maxDiff = 2000

    def setUp(self):
        self.folder = temporary_folder("mh-contacts-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.mail = self.folder / "mail"

    def collect(self, url, *options, code=0, **more):
        done = run("contacts", "collect", url, f"maildir:{self.mail}", "--user", USER, "--allow-plaintext", "--json",
                   *options, password=PASSWORD, **more)
        self.assertEqual(done.returncode, code, done.stdout[-2000:] + done.stderr[-2000:])
        return json.loads(done.stdout) if done.stdout else done.stderr

    def verify(self, url, *options):
        return run("contacts", "verify", url, f"maildir:{self.mail}", "--user", USER, "--allow-plaintext", *options,
                   password=PASSWORD)

    def found(self):
        return {name: digests(cards) for name, cards in read_vdir(self.mail / "contacts").items() if cards}

    def files(self):
        return {path: (path.stat().st_mtime_ns, path.stat().st_ino)
                for path in (self.mail / "contacts").rglob("*") if path.is_file()}

    def start_server(self, kind):
        need(shutil.which(kind.name), f"{kind.name} is not installed")
        return self.enterContext(kind(self.folder / kind.name))


class RealServers:
    """For each server; what it sends to a plain client is what must be here."""
    kind = None

    def setUp(self):
        super().setUp()
        self.server = self.start_server(self.kind)
        self.content = books(5, CARDS)
        fill(self.server, self.content)

    def expected(self):
        return {f"Büch {book}": digests(self.server.get(book, name) for name in cards)
                for book, cards in self.content.items()}

    def test_whole_again_and_changed(self):
        report = self.collect(self.server.url)
        self.assertEqual(report["sum"]["listed"], 5 * CARDS)
        self.assertEqual(report["sum"]["delivered"], 5 * CARDS)
        self.assertEqual(self.found(), self.expected())
        self.unchanged()
        self.changed()
        verified = self.verify(self.server.url, "--deep")
        self.assertEqual(verified.returncode, 0, verified.stdout + verified.stderr)
        self.assertIn("no difference", verified.stdout)

    def unchanged(self):
        before = self.files()
        report = self.collect(self.server.url)
        self.assertEqual(report["sum"]["already"], 5 * CARDS)
        self.assertLessEqual(report["requests"], 2 * 5)
        self.assertEqual(self.files(), before)

    def changed(self):
        before = self.files()
        names = [(book, name) for book, cards in self.content.items() for name in cards][::6]
        for number, (book, name) in enumerate(names):
            if number % 10 == 9:
                self.server.delete(book, name)
                del self.content[book][name]
            else:
                octets = self.content[book][name].replace(b"END:VCARD", b"TITLE:changed\r\nEND:VCARD")
                self.server.put(book, name, octets)
                self.content[book][name] = octets
        self.server.put("book0", "new.vcf", card(9999, None, "foreign"))
        self.content["book0"]["new.vcf"] = card(9999, None, "foreign")
        gone = sum(number % 10 == 9 for number in range(len(names)))
        report = self.collect(self.server.url, "--on-source-delete", "remove", "--grace", "0")
        self.assertEqual(report["sum"]["delivered"], len(names) - gone + 1)
        self.assertEqual(report["sum"]["removed"], gone)
        self.assertEqual(self.found(), self.expected())
        after = self.files()
        same = [path for path in before if after.get(path) == before[path] and path.suffix == ".vcf"]
        self.assertEqual(len(same), 5 * CARDS - len(names))

    def test_killed_at_random_moments(self):
        expected = self.expected()
        for attempt in range(60 if WHOLE else 8):
            process = start("contacts", "collect", self.server.url, f"maildir:{self.mail}", "--user", USER,
                            "--allow-plaintext", password=PASSWORD)
            try:
                process.wait(timeout=0.02 + 0.03 * attempt * SLOW)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
            process.communicate()
        report = self.collect(self.server.url)
        self.assertEqual(report["sum"]["failed"] + report["sum"]["pending"], 0)
        self.assertEqual(self.found(), expected)
        self.assertEqual([p for p in self.files() if p.name.startswith(".")], [])

    def test_the_owner_changed_a_card_and_removed_another(self):
        self.collect(self.server.url)
        files = sorted(path for path in self.files() if path.suffix == ".vcf")
        mine = next(path for path in files if b"FN:Person 2\r" in path.read_bytes() or b"card-2@" in path.read_bytes())
        mine.write_bytes(mine.read_bytes().replace(b"END:VCARD", b"NOTE:mine\r\nEND:VCARD"))
        own = mine.read_bytes()
        removed = next(path for path in files if b"card-4@" in path.read_bytes())
        removed.unlink()
        name = next(name for name, octets in self.content["book0"].items() if b"card-2@" in octets)
        self.collect(self.server.url)
        self.assertFalse(removed.exists())
        self.assertEqual(mine.read_bytes(), own)
        self.server.put("book0", name, self.content["book0"][name].replace(b"END:VCARD", b"TITLE:theirs\r\nEND:VCARD"))
        report = self.collect(self.server.url)
        conflicts = sum((book["conflicts"] for book in report["books"]), [])
        self.assertEqual(len(conflicts), 1)
        self.assertEqual(mine.read_bytes(), own)
        second = mine.parent / conflicts[0].split()[1]
        self.assertEqual(second.read_bytes(), self.server.get("book0", name))
        again = self.collect(self.server.url)
        self.assertEqual(again["sum"]["delivered"], 0)

    def test_the_state_is_lost(self):
        self.collect(self.server.url)
        before = self.files()
        shutil.rmtree(self.mail / "mailhaul")
        report = self.collect(self.server.url)
        self.assertEqual(report["sum"]["delivered"], 0)
        self.assertEqual(self.files(), before)


class RadicaleTest(RealServers, Contacts):
    kind = Radicale

    def test_wrong_password(self):
        done = run("contacts", "collect", self.server.url, f"maildir:{self.mail}", "--user", USER, "--allow-plaintext",
                   password="wrong")
        self.assertEqual(done.returncode, 3)
        self.assertIn("refuses the login", done.stderr)
        self.assertNotIn("wrong", done.stderr.replace("went wrong", ""))
        self.assertFalse((self.mail / "contacts").exists())

    def test_plain_http_is_asked_for(self):
        done = run("contacts", "collect", self.server.url, f"maildir:{self.mail}", "--user", USER, password=PASSWORD)
        self.assertEqual(done.returncode, 3)
        self.assertIn("--allow-plaintext", done.stderr)


class XandikosTest(RealServers, Contacts):
    kind = Xandikos

    def test_octets_are_those_that_were_put(self):
        # Xandikos stores what it is given: from here to there and back nobody has changed an octet.
        self.collect(self.server.url)
        self.assertEqual(self.found(), {f"Büch {book}": digests(cards.values()) for book, cards in self.content.items()})


if __name__ == "__main__":
    main()
