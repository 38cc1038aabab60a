"""CardDAV servers that mean no good, or are broken: each a named test, against a server that is scripted here."""
import hashlib
import http.server
import json
import re
import shutil
import threading
import unittest

from contacts_test import Contacts
from contacts_world import PASSWORD, USER, card, digests
from harness import main, run

NS = 'xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:carddav" xmlns:CS="http://calendarserver.org/ns/"'
HOME = "/dav/home/"
BOOK = HOME + "book/"


def xml(text):
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def response(href, prop, status="200 OK"):
    return (f"<response><href>{href}</href><propstat><prop>{prop}</prop><status>HTTP/1.1 {status}</status></propstat>"
            "</response>")


class Script:
    """One address book. What is odd about the server is set by a test before it collects."""

    def __init__(self):
        self.cards = {}  # name → octets
        self.etags = {}
        self.version = 1
        self.history = []  # (version, name)
        self.seen = []  # requests
        self.odd = set()
        self.page = None
        self.elsewhere = None

    def put(self, name, octets, etag=None):
        self.version += 1
        self.cards[name] = octets
        self.etags[name] = etag or f'"{hashlib.md5(octets).hexdigest()}"'
        self.history.append((self.version, name))

    def delete(self, name):
        self.version += 1
        del self.cards[name]
        self.history.append((self.version, name))

    def answer(self, method, path, body):
        if "bomb" in self.odd and method == "PROPFIND":
            entities = "".join(f"<!ENTITY e{n} '{f'&e{n - 1};' * 10 if n else 'a' * 100}'>" for n in range(12))
            return 207, f"<!DOCTYPE m [{entities}]><multistatus {NS}><response><href>&e11;</href></response></multistatus>"
        if method == "PROPFIND" and path == BOOK:
            members = [response(BOOK, "<resourcetype><collection/></resourcetype>")]
            members += [response(BOOK + name, self.of_card(name)) for name in self.cards]
            return 207, self.multistatus(members)
        if method == "PROPFIND" and path == HOME:
            token = f"<sync-token>t{self.version}</sync-token>" if "no sync" not in self.odd else ""
            return 207, self.multistatus([response(HOME, "<resourcetype><collection/></resourcetype>"), response(
                BOOK, f"<resourcetype><collection/><C:addressbook/></resourcetype><displayname>Freunde</displayname>{token}")])
        if method == "PROPFIND":
            if self.elsewhere:
                return 301, self.elsewhere
            return 207, self.multistatus([response(path, f"<C:addressbook-home-set><href>{HOME}</href></C:addressbook-home-set>")])
        if method == "REPORT" and "sync-collection" in body:
            return self.sync(re.search(r"<D:sync-token>(.*?)</D:sync-token>", body).group(1))
        if method == "REPORT":
            return self.multiget(re.findall(r"<D:href>(.*?)</D:href>", body))
        if method == "GET" and path.startswith(BOOK) and path[len(BOOK):] in self.cards:
            return 200, self.cards[path[len(BOOK):]]
        return 404, ""

    def of_card(self, name):
        return (f"<getetag>{self.etags[name]}</getetag><getcontentlength>{len(self.cards[name])}</getcontentlength>"
                "<resourcetype/>")

    def multistatus(self, members, token=""):
        whole = f'<?xml version="1.0"?><multistatus {NS}>' + "".join(members) + token + "</multistatus>"
        return whole

    def sync(self, token):
        if token and "expired" in self.odd:
            return 403, f'<error {NS}><valid-sync-token/></error>'
        since = int(token[1:]) if token else 0
        changed = sorted({name: version for version, name in self.history if version > since}.items(), key=lambda c: c[1])
        page = changed[:self.page] if self.page else changed
        members = []
        for name, _ in page:
            if name in self.cards:
                members.append(response(BOOK + name, self.of_card(name)))
            elif token:
                members.append(f"<response><href>{BOOK + name}</href><status>HTTP/1.1 404 Not Found</status></response>")
        last = self.version
        if len(page) < len(changed):
            members.append(f"<response><href>{BOOK}</href><status>HTTP/1.1 507 Insufficient Storage</status></response>")
            last = page[-1][1]
        whole = self.multistatus(members, f"<sync-token>t{last}</sync-token>")
        return 207, whole[:len(whole) * 2 // 3] if "cut list" in self.odd else whole

    def multiget(self, hrefs):
        members = []
        for href in hrefs:
            name = href[len(BOOK):]
            if name in self.cards:
                text = xml(self.cards[name].decode())
                members.append(response(href, self.of_card(name) + f"<C:address-data>{text}</C:address-data>"))
        whole = self.multistatus(members)
        return 207, whole[:len(whole) // 2] if "cut cards" in self.odd else whole


def handler_of(script):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def serve(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            script.seen.append((self.command, self.path, self.headers.get("Authorization")))
            status, content = script.answer(self.command, self.path, body)
            octets = content if isinstance(content, bytes) else content.encode()
            self.send_response(status)
            if status == 301:
                self.send_header("Location", content)
                octets = b""
            self.send_header("Content-Type", "application/xml; charset=utf-8")
            self.send_header("Content-Length", str(len(octets)))
            self.end_headers()
            try:
                self.wfile.write(octets)
            except OSError:  # the client has heard enough
                self.close_connection = True

        do_PROPFIND = do_REPORT = do_GET = serve

        def log_message(self, *_):
            pass
    return Handler


class Mishaps(Contacts):
    def setUp(self):
        super().setUp()
        self.script = Script()
        self.url = self.serve(self.script)
        for number in range(12):
            self.script.put(f"{number}.vcf", card(number, None, "foreign" if number % 2 else "plain"))

    def serve(self, script):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler_of(script))
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return f"http://127.0.0.1:{server.server_port}/"

    def same(self):
        self.assertEqual(self.found(), {"Freunde": digests(self.script.cards.values())})

    def reports(self, of="REPORT"):
        return sum(method == of for method, _, _ in self.script.seen)

    def test_token_expired(self):
        self.collect(self.url)
        self.script.odd.add("expired")
        self.script.put("3.vcf", card(303, None, "four"))
        self.script.delete("5.vcf")
        report = self.collect(self.url)
        self.assertEqual(report["sum"]["delivered"], 1)
        self.assertEqual(report["sum"]["gone"], 1)
        self.assertEqual(len(self.found()["Freunde"]), 12)  # what has vanished there stays by default

    def test_etags_change_without_a_change(self):
        self.collect(self.url)
        before = self.files()
        for name, octets in list(self.script.cards.items()):
            self.script.put(name, octets, f'"other-{name}"')
        report = self.collect(self.url)
        self.assertEqual((report["sum"]["delivered"], report["sum"]["already"]), (0, 12))
        self.assertEqual(self.files(), before)
        self.script.seen.clear()
        self.collect(self.url)
        self.assertEqual(len(self.script.seen), 1)

    def test_pages(self):
        self.script.page = 5
        self.assertEqual(self.collect(self.url)["sum"]["delivered"], 12)
        self.same()

    def test_server_without_sync_collection(self):
        self.script.odd.add("no sync")
        self.collect(self.url)
        self.same()
        self.script.put("2.vcf", card(202, None, "four"))
        self.script.seen.clear()
        self.assertEqual(self.collect(self.url)["sum"]["delivered"], 1)
        self.same()
        self.assertLessEqual(len(self.script.seen), 3)

    def test_list_cut_in_the_middle(self):
        self.collect(self.url)
        self.script.odd.update({"expired", "cut list"})  # all is listed again, and not to its end
        self.script.put("new.vcf", card(77, None, "plain"))
        report = self.collect(self.url, "--on-source-delete", "remove", "--grace", "0", code=1)
        self.assertIn("cannot be read", report["books"][0]["error"])
        self.assertEqual((report["sum"]["gone"], report["sum"]["removed"]), (0, 0))
        self.script.odd.discard("cut list")
        self.collect(self.url)
        self.same()

    def test_cards_cut_in_the_middle(self):
        self.script.odd.add("cut cards")
        self.assertEqual(self.collect(self.url)["sum"]["delivered"], 12)  # one by one
        self.same()
        self.assertGreater(self.reports("GET"), 0)
        self.assertLess(self.reports("GET"), 12)

    def test_broken_card_takes_no_other_with_it(self):
        self.script.put("broken.vcf", b"BEGIN:VCARD\r\nFN:\x01 no XML has this\r\nNO END")
        self.assertEqual(self.collect(self.url)["sum"]["delivered"], 13)
        self.same()

    def test_xml_bomb(self):
        self.script.odd.add("bomb")
        done = self.collect(self.url, code=3)
        self.assertIn("document type", done)

    def test_redirect_to_another_host(self):
        other = Script()
        self.script.elsewhere = self.serve(other).replace("127.0.0.1", "localhost")
        done = self.collect(self.url, code=3)
        self.assertIn("the password is not sent there", done)
        self.assertEqual(other.seen, [])

    def test_card_of_100_megabytes(self):
        self.script.put("big.vcf", b"BEGIN:VCARD\r\nNOTE:" + b"0123456789abcde\n" * (100 * 65536) + b"\r\nEND:VCARD\r\n")
        self.assertEqual(self.collect(self.url)["sum"]["delivered"], 13)
        self.same()

    def test_empty_list_holds_removals(self):
        self.collect(self.url)
        cards, self.script.cards = self.script.cards, {}
        self.script.odd.add("expired")
        self.script.version += 1
        report = self.collect(self.url, "--on-source-delete", "remove", "--grace", "0")
        self.assertIn("12 of 12", report["books"][0]["hold"])
        self.assertEqual(report["sum"]["removed"], 0)
        self.assertEqual(self.found(), {"Freunde": digests(cards.values())})
        report = self.collect(self.url, "--on-source-delete", "remove", "--grace", "0", "--release-hold", "Freunde")
        self.assertEqual(report["sum"]["removed"], 12)
        self.assertEqual(self.found(), {})

    def test_dry_run_writes_nothing(self):
        report = self.collect(self.url, "--dry-run")
        self.assertEqual(report["sum"]["pending"], 12)
        self.assertFalse(self.mail.exists())


class Files(Contacts):
    def setUp(self):
        super().setUp()
        self.cards = [card(number, None, kind) for number, kind in enumerate(("plain", "foreign", "bare", "four", "group"))]
        self.export = self.folder / "export.vcf"
        self.export.write_bytes(b"\xef\xbb\xbf" + b"".join(self.cards))

    def test_exported_file_in_and_out(self):
        self.collect(self.export)
        self.assertEqual(self.found(), {"export": digests(self.cards)})
        self.assertEqual(self.collect(self.export)["sum"]["already"], 5)
        out = self.folder / "out.vcf"
        done = run("contacts", "export", f"maildir:{self.mail}", "--vcf", out)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(sorted(out.read_bytes().split(b"BEGIN:VCARD")[1:]),
                         sorted(b"".join(self.cards).split(b"BEGIN:VCARD")[1:]))

    def test_duplicates_across_books_are_shown(self):
        other = self.folder / "other.vcf"
        other.write_bytes(self.cards[1].replace(b"person1@", b"PERSON1@").replace(b"card-1", b"card-x"))
        self.collect(self.export)
        self.collect(other)
        before = self.files()
        done = run("contacts", "duplicates", f"maildir:{self.mail}")
        self.assertEqual(done.stdout.count("person1@example.test\n"), 1, done.stdout)
        self.assertEqual(done.stdout.count(".vcf ("), 2)
        self.assertEqual(self.files(), before)


if __name__ == "__main__":
    main()
