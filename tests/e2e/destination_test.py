#!/usr/bin/env python3
"""Into an IMAP account: a real Dovecot as destination, read by a foreign reader and held against the manifest."""
import dataclasses
import hashlib
import random
import re
import shutil
import signal
import subprocess
import time

import sample
from dovecot import PASSWORD
from harness import MAILHAUL, SLOW, World, environment, main, reports, run, sums
from imap_reader import Reader, differences

# What this destination changes by itself.
TOO_LONG = "x" * 60  # a keyword that Dovecot serves from a Maildir, and does not take by IMAP (more than 50 letters)


def as_saved(big):
    """Dovecot drops a CR before CRLF, and one at a message's very end: SHA-256 as sent → SHA-256 and size as kept."""
    for data in map(sample.wire, sample.oddities(big)):
        if (kept := re.sub(rb"\r(?=\r\n)|\r\Z", b"", data)) != data:
            yield hashlib.sha256(data).hexdigest(), (hashlib.sha256(kept).hexdigest(), len(kept))


class AccountWorld(World):
    def setUp(self):
        super().setUp()
        self.user = self.id().rsplit(".", 1)[1][-24:]
        self.mailbox_root = self.server.folder / "mail" / self.user
        self.server.add_user(self.user)
        self.addCleanup(shutil.rmtree, self.mailbox_root, ignore_errors=True)
        self.state = self.folder / "state"

    def ends(self):
        return self.server.url("demo"), self.server.url(self.user), "--ca-file", self.server.ca_file

    def environment(self):
        return environment(MAILHAUL_DESTINATION_PASSWORD=PASSWORD, XDG_STATE_HOME=str(self.state))

    def haul(self, *options, command="collect"):
        return run(command, *self.ends(), *options, env=self.environment())

    def reader(self):
        return Reader(self.server.imap, self.user, PASSWORD)

    def found(self):
        with self.reader() as reader:
            return reader.everything()

    def expected(self):
        changed = dict(as_saved(1000))

        def kept(one):
            digest, size = changed.get(one.sha256, (one.sha256, one.size))
            return dataclasses.replace(one, sha256=digest, size=size, flags=one.flags - {TOO_LONG})
        return {name: [kept(one) for one in box] for name, box in self.read_source().items()}

    def check(self):
        self.assertEqual(differences(self.expected(), self.found()), "")

    def uids(self):
        """Every UID that was ever given out there: a message that is appended twice shows."""
        return {name: max((one.uid for one in box), default=0) for name, box in self.found().items()}


class DestinationTest(AccountWorld):
    @classmethod
    def fill(cls, maildir):
        return sample.write_sample(maildir, messages=150 if SLOW > 1 else 300, big=(1 if SLOW > 1 else 8) << 20)

    def test_every_octet_flag_keyword_and_date(self):
        self.assertEqual(differences(self.manifest.seen(), self.read_source()), "")
        self.complete(self.haul())
        self.check()
        with self.reader() as reader:
            self.assertEqual(reader.subscriptions(), sorted(self.manifest.subscriptions))
        before = self.uids()
        done = self.complete(self.haul("--json"))
        self.assertEqual(sums(reports(done)[1])["delivered"], 0)
        self.assertEqual(sums(reports(done)[1])["already"], self.manifest.count())
        self.assertEqual(self.uids(), before)
        changed = len(dict(as_saved(1000)))
        for options in ([], ["--deep"]):  # they name what the server has changed, and nothing else
            done = self.haul(*options, command="verify")
            self.assertEqual(done.stdout.count("Odd UID"), changed * (2 if options else 1), done.stdout)
            self.assertEqual(done.stdout.count(" UID "), done.stdout.count("Odd UID"), done.stdout)

    def test_starttls_lost_state_and_verify(self):
        """Without its state everything is recognised by what it is, and nothing comes twice."""
        self.complete(run("collect", self.server.url("demo"), self.server.url(self.user, "imap"), "--ca-file", self.server.ca_file,
                          env=self.environment()))
        self.check()
        before = self.uids()
        shutil.rmtree(self.state)
        self.complete(self.haul())
        after = self.uids()  # what the server had changed cannot be recognised octet by octet
        self.assertEqual(after.pop("Odd") - before.pop("Odd"), len(dict(as_saved(1000))))
        self.assertEqual(after, before)
        with self.reader() as reader:
            uid = reader.messages("Sent")[0].uid
            reader.expunge("Sent", [uid])
        damaged = self.haul(command="verify")
        self.assertEqual(damaged.returncode, 1, damaged.stdout)
        self.assertIn("Sent", damaged.stdout)

    def test_killed_again_and_again(self):
        """SIGKILL at random moments: what was on its way is looked for, never sent blindly again."""
        luck = random.Random(4)
        for _ in range(5):
            process = subprocess.Popen([MAILHAUL, "collect", *map(str, self.ends()), "--second-look", "1"], env=self.environment(),
                                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(luck.uniform(0.05, 0.9) * SLOW)
            process.send_signal(signal.SIGKILL)
            process.wait()
        self.complete(self.haul("--second-look", "1"))
        self.check()


class ChangesTest(AccountWorld):
    """The source moves on; the owner works on the copies."""

    def test_flags_new_mail_and_removals(self):
        self.server.add_user("demo2")
        source = self.server.folder / "mail" / "demo2"
        self.addCleanup(shutil.rmtree, source, ignore_errors=True)
        with Reader(self.server.imap, "demo2", PASSWORD) as at:
            for n in range(6):
                at.append("INBOX", b"Message-ID: <%d@x>\r\nSubject: %d\r\n\r\nbody\r\n" % (n, n), ["\\Seen"], 1700000000 + n)
        self.ends = lambda: (self.server.url("demo2"), self.server.url(self.user), "--ca-file", self.server.ca_file)
        self.complete(self.haul())
        with self.reader() as mine:
            uids = [one.uid for one in mine.messages("INBOX")]
            mine.store("INBOX", uids[:1], "+", ["\\Flagged", "mine"])
            mine.expunge("INBOX", uids[5:])
        with Reader(self.server.imap, "demo2", PASSWORD) as at:
            theirs = [one.uid for one in at.messages("INBOX")]
            at.store("INBOX", theirs[:1], "-", ["\\Seen"])
            at.store("INBOX", theirs[1:2], "+", ["\\Answered", "todo"])
            at.append("INBOX", b"Subject: new\r\n\r\nbody\r\n", [], 1700000100)
            at.expunge("INBOX", theirs[2:3])
        self.complete(self.haul("--on-source-delete", "remove", "--grace", "0"))
        flags = [(one.internaldate, one.flags) for one in self.found()["INBOX"]]
        self.assertEqual(flags, [(1700000000, frozenset({"\\flagged", "mine"})), (1700000001, frozenset({"\\seen", "\\answered", "todo"})),
                                 (1700000003, frozenset({"\\seen"})), (1700000004, frozenset({"\\seen"})), (1700000100, frozenset())])


if __name__ == "__main__":
    main()
