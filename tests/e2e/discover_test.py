#!/usr/bin/env python3
"""Finding the server of an address: every source, everything that can be wrong with it, and hostile documents."""
import pathlib
import shutil
import time
import unittest

import sample
from certificates import Authority
from discover_world import (Dns, Server, Web, autoconfig, endless, imap, mx, pop3, says, server_context, slow, srv)
from dovecot import Dovecot, hand_over, temporary_folder
from harness import main, reports, run, sums

DOMAINS = ["own.test", "foreign.test", "xn--bcher-kva.test"]
NAMES = [*DOMAINS, *(f"*.{name}" for name in DOMAINS), "localhost", "imap.gmail.com", "pop.gmail.com", "imap.mail.me.com"]
WELL_KNOWN = "/.well-known/autoconfig/mail/config-v1.1.xml"
DOCUMENT = "/mail/config-v1.1.xml"
ADDRESS = "%EMAILADDRESS%"


class Discover(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = temporary_folder("mh-discover-")
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        authority = Authority(cls.folder / "tls")
        cls.ca = authority.ca
        cls.context = server_context(authority.issue("world", "subjectAltName=" + ",".join(f"DNS:{name}" for name in NAMES)))
        cls.elsewhere = server_context(authority.issue("elsewhere", "subjectAltName=DNS:elsewhere.test"))
        cls.imaps = Server(imap(), cls.context)
        cls.imap = Server(imap(capabilities="IMAP4rev1 AUTH=PLAIN STARTTLS", context=cls.context))
        cls.wrong = Server(imap(), cls.elsewhere)
        cls.pop3s = Server(pop3, cls.context)
        cls.nobody = Server(imap())
        cls.nobody.close()

    def setUp(self):
        self.web, self.dns = Web(self.context), Dns()
        self.places = {}  # "host:port" → a server of ours
        for name in DOMAINS:
            self.places |= {f"autoconfig.{name}:443": self.web.server, f"{name}:443": self.web.server}

    def options(self):
        out = ["--ca-file", self.ca, "--resolver", f"127.0.0.1:{self.dns.port}"]
        for place, server in self.places.items():
            out += ["--connect-to", f"{place}:127.0.0.1:{server.port}"]
        return out

    def discover(self, address="me@own.test", seconds=30):
        start = time.monotonic()
        done = run("discover", address, "--json", *self.options())
        self.assertLess(time.monotonic() - start, seconds)
        self.assertIn(done.returncode, (0, 1), done.stderr)
        *steps, findings = reports(done)[0] + [reports(done)[1]]
        self.assertEqual(steps, findings["steps"])
        self.assertEqual(done.returncode == 0, findings["found"])
        for settings in findings["settings"]:
            self.assertIn(settings["security"], ("tls", "starttls"))
        return findings

    def found(self, url, source=None, address="me@own.test", **more):
        findings = self.discover(address, **more)
        self.assertEqual(findings["source"], url, findings["steps"])
        if source:
            self.assertIn(source, findings["chosen"]["source"])
        return findings

    def step(self, findings, what):
        return next(step for step in findings["steps"] if step["step"].startswith(what))

    def refused_document(self, page, reason, outcome="failed", **more):
        """The document is not believed; everything else is asked, too."""
        self.web.pages["autoconfig.own.test" + DOCUMENT] = page
        findings = self.discover(**more)
        step = self.step(findings, "autoconfig https://autoconfig.own.test")
        self.assertEqual((step["outcome"], reason in step["result"]), (outcome, True), step)
        self.assertFalse(findings["found"])
        return findings


class Presets(Discover):
    def test_a_known_provider(self):
        self.places |= {"imap.gmail.com:993": self.imaps, "pop.gmail.com:995": self.pop3s}
        findings = self.found("imaps://me@gmail.com@imap.gmail.com:993", "preset", "me@gmail.com")
        self.assertEqual(findings["provider"]["id"], "gmail")
        self.assertIn("app password", findings["provider"]["help"])
        self.assertEqual([one["works"] for one in findings["settings"]], [True, True])
        self.assertIn("PLAIN", findings["chosen"]["logins"])
        self.assertTrue(findings["chosen"]["tls"].startswith("TLSv1."))

    def test_a_user_name_that_is_not_the_address(self):
        self.places["imap.mail.me.com:993"] = self.imaps
        self.found("imaps://me@imap.mail.me.com:993", "preset", "me@icloud.com")

    def test_a_known_provider_that_does_not_answer_is_not_guessed(self):
        self.places |= {"imap.gmail.com:993": self.nobody, "pop.gmail.com:995": self.nobody}
        findings = self.discover("me@gmail.com")
        self.assertFalse(findings["found"])
        self.assertEqual(len(findings["steps"]), 3)
        self.assertIn("connection refused", findings["settings"][0]["problem"])


class Documents(Discover):
    def test_the_domain_says(self):
        self.places["mail.own.test:1993"] = self.imaps
        self.web.pages["autoconfig.own.test" + DOCUMENT] = autoconfig(
            ("imap", "mail.own.test", 1993, "SSL", "%EMAILLOCALPART%", "password-cleartext"))
        findings = self.found("imaps://me@mail.own.test:1993", "autoconfig https://autoconfig.own.test")
        self.assertFalse(findings["chosen"]["confirm"])
        self.assertIn("emailaddress=me%40own.test", self.web.asked[0])

    def test_well_known(self):
        self.places["mail.own.test:993"] = self.imaps
        self.web.pages["own.test" + WELL_KNOWN] = autoconfig(("imap", "mail.own.test", 993, "SSL", ADDRESS, "password-cleartext"))
        self.found("imaps://me@own.test@mail.own.test:993", ".well-known")

    def test_placeholders_in_the_host(self):
        self.places["in.own.test:993"] = self.imaps
        self.web.pages["own.test" + WELL_KNOWN] = autoconfig(("imap", "in.%EMAILDOMAIN%", 993, "SSL", ADDRESS, "password-encrypted"))
        self.found("imaps://me@own.test@in.own.test:993")

    def test_starttls(self):
        self.places["mail.own.test:143"] = self.imap
        self.web.pages["own.test" + WELL_KNOWN] = autoconfig(("imap", "mail.own.test", 143, "STARTTLS", ADDRESS, "password-cleartext"))
        findings = self.found("imap://me@own.test@mail.own.test:143")
        self.assertEqual(findings["chosen"]["greeting"], "")

    def test_imap_goes_before_pop3(self):
        self.places |= {"mail.own.test:993": self.imaps, "mail.own.test:995": self.pop3s}
        self.web.pages["own.test" + WELL_KNOWN] = autoconfig(
            ("pop3", "mail.own.test", 995, "SSL", ADDRESS, "password-cleartext"), ("imap", "mail.own.test", 993, "SSL", ADDRESS, "OAuth2"))
        findings = self.found("imaps://me@own.test@mail.own.test:993")
        self.assertEqual(findings["chosen"]["auth"], ["oauth2"])
        self.assertEqual(len(findings["settings"]), 2)

    def test_pop3_alone(self):
        self.places["mail.own.test:995"] = self.pop3s
        self.web.pages["own.test" + WELL_KNOWN] = autoconfig(("pop3", "mail.own.test", 995, "SSL", ADDRESS, "password-cleartext"))
        findings = self.found("pop3s://me@own.test@mail.own.test:995")
        self.assertIn("USER command", findings["chosen"]["logins"])

    def test_a_foreign_host_in_the_domains_own_document(self):
        self.places["mail.foreign.test:993"] = self.imaps
        self.web.pages["autoconfig.own.test" + DOCUMENT] = autoconfig(("imap", "mail.foreign.test", 993, "SSL", ADDRESS, "password-cleartext"))
        self.assertFalse(self.found("imaps://me@own.test@mail.foreign.test:993")["chosen"]["confirm"])

    def test_the_next_server_where_the_first_does_not_work(self):
        self.places |= {"a.own.test:993": self.nobody, "b.own.test:993": self.wrong, "c.own.test:993": self.imaps}
        self.web.pages["own.test" + WELL_KNOWN] = autoconfig(
            *(("imap", f"{name}.own.test", 993, "SSL", ADDRESS, "password-cleartext") for name in "abc"))
        findings = self.found("imaps://me@own.test@c.own.test:993")
        self.assertIn("connection refused", findings["settings"][0]["problem"])
        self.assertIn("the certificate is not for b.own.test but for elsewhere.test", findings["settings"][1]["problem"])

    def test_a_redirect_on_https(self):
        self.places["mail.own.test:993"] = self.imaps
        self.web.pages["autoconfig.own.test" + DOCUMENT] = (302, {"Location": "https://autoconfig.foreign.test/x.xml"}, b"")
        self.web.pages["autoconfig.foreign.test/x.xml"] = autoconfig(("imap", "mail.own.test", 993, "SSL", ADDRESS, "password-cleartext"))
        self.found("imaps://me@own.test@mail.own.test:993")

    def test_an_international_domain(self):
        self.places["mail.xn--bcher-kva.test:993"] = self.imaps
        self.web.pages["autoconfig.xn--bcher-kva.test" + DOCUMENT] = autoconfig(
            ("imap", "mail.%EMAILDOMAIN%", 993, "SSL", ADDRESS, "password-cleartext"))
        self.found("imaps://me@xn--bcher-kva.test@mail.xn--bcher-kva.test:993", address="me@Bücher.test")


class HostileDocuments(Discover):
    def test_a_gibibyte(self):
        self.refused_document(endless, "longer than 131072 octets")
        self.assertLess(self.web.sent, 8 << 20)

    def test_a_slow_one(self):
        self.refused_document(slow, "no answer in time", seconds=20)

    def test_xml_bombs(self):
        lol = '<!DOCTYPE x [<!ENTITY a "lol">' + "".join(
            f'<!ENTITY {chr(98 + n)} "{("&" + chr(97 + n) + ";") * 10}">' for n in range(9)) + "]><clientConfig>&j;</clientConfig>"
        outside = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><clientConfig>&a;</clientConfig>'
        for text in (lol, outside, '<!DOCTYPE x SYSTEM "http://127.0.0.1/x.dtd"><clientConfig/>'):
            self.refused_document((200, {}, text.encode()), "DTD")

    def test_deep_nesting(self):
        self.refused_document((200, {}, b"<clientConfig>" + b"<a>" * 40_000), "not XML")

    def test_what_is_no_such_document(self):
        for text, reason in [(b"", "not XML"), (b"<html><body>Hello</body></html>", "not what mail programs read"),
                             (b"{}", "not XML"), (b"\xff\xfe\x00", "not XML"),
                             (b"<clientConfig><emailProvider/></clientConfig>", "no server in it")]:
            self.refused_document((200, {}, text), reason)

    def test_servers_that_cannot_be_used(self):
        for server in [("imap", "mail.own.test", 143, "plain", ADDRESS, "password-cleartext"),
                       ("imap", "127.0.0.1", 993, "SSL", ADDRESS, "password-cleartext"),
                       ("imap", "2130706433", 993, "SSL", ADDRESS, "password-cleartext"),
                       ("imap", "mail.own.test", 993, "SSL", ADDRESS, "NTLM"),
                       ("exchange", "mail.own.test", 993, "SSL", ADDRESS, "password-cleartext")]:
            with self.subTest(server):
                self.refused_document(autoconfig(server), "no server with TLS")

    def test_statuses_and_redirects(self):
        here = "https://autoconfig.own.test" + DOCUMENT
        for page, reason, outcome in [((500, {}, b""), "HTTP status 500", "nothing"), ((401, {}, b""), "HTTP status 401", "nothing"),
                                      ((302, {"Location": here}, b""), "too many redirects", "failed"),
                                      ((302, {"Location": "http://autoconfig.own.test/"}, b""), "leads away from https", "failed"),
                                      ((302, {"Location": "file:///etc/passwd"}, b""), "", "failed"),
                                      ((302, {"Location": "https://u:p@autoconfig.own.test/"}, b""), "credentials", "failed")]:
            with self.subTest(reason):
                self.refused_document(page, reason, outcome)

    def test_a_web_server_with_another_names_certificate(self):
        self.places["autoconfig.own.test:443"] = Web(self.elsewhere).server
        step = self.step(self.discover(), "autoconfig https://autoconfig.own.test")
        self.assertIn("certificate", step["result"])


class DnsRecords(Discover):
    def test_srv_in_the_own_domain(self):
        self.places["mail.own.test:1993"] = self.imaps
        self.dns.records["_imaps._tcp.own.test", "SRV"] = [srv(0, 1, 1993, "mail.own.test")]
        self.assertFalse(self.found("imaps://me@own.test@mail.own.test:1993", "SRV _imaps._tcp")["chosen"]["confirm"])

    def test_srv_starttls_and_pop3(self):
        self.places |= {"mail.own.test:143": self.imap, "pop.own.test:995": self.pop3s}
        self.dns.records["_imap._tcp.own.test", "SRV"] = [srv(0, 1, 143, "mail.own.test")]
        self.dns.records["_pop3s._tcp.own.test", "SRV"] = [srv(0, 1, 995, "pop.own.test")]
        self.assertEqual(len(self.found("imap://me@own.test@mail.own.test:143")["settings"]), 2)

    def test_srv_by_priority_and_weight(self):
        self.places |= {f"{name}.own.test:993": server for name, server in
                        [("a", self.imaps), ("b", self.imaps), ("c", self.nobody)]}
        self.dns.records["_imaps._tcp.own.test", "SRV"] = [srv(20, 9, 993, "b.own.test"), srv(10, 1, 993, "a.own.test"),
                                                           srv(10, 5, 993, "c.own.test")]
        self.found("imaps://me@own.test@a.own.test:993")

    def test_srv_to_a_stranger_needs_a_word(self):
        self.places["mail.foreign.test:993"] = self.imaps
        self.dns.records["_imaps._tcp.own.test", "SRV"] = [srv(0, 1, 993, "mail.foreign.test")]
        self.assertTrue(self.found("imaps://me@own.test@mail.foreign.test:993")["chosen"]["confirm"])
        done = run("collect", "me@own.test", f"maildir:{self.folder}/never", *self.options())
        self.assertEqual(done.returncode, 2)
        self.assertIn("imaps://me@own.test@mail.foreign.test:993", done.stderr)
        self.assertFalse((self.folder / "never").exists())

    def test_srv_that_says_no(self):
        self.dns.records["_imaps._tcp.own.test", "SRV"] = [srv(0, 0, 0, ".")]
        self.assertIn("no such service", self.step(self.discover(), "SRV _imaps")["result"])

    def test_srv_that_cannot_be_used(self):
        for data in (srv(0, 1, 0, "mail.own.test"), srv(0, 1, 993, "ma il.own.test"), srv(0, 1, 993, "127.0.0.1"), b"\0\0",
                     srv(0, 1, 993, "mail.own.test")[:9]):
            with self.subTest(data):
                self.dns.records["_imaps._tcp.own.test", "SRV"] = [data]
                findings = self.discover()
                self.assertNotEqual(self.step(findings, "SRV _imaps")["outcome"], "found")
                self.assertFalse(findings["found"])

    def test_an_answer_that_needs_tcp(self):
        self.places["mail.own.test:993"] = self.imaps
        self.dns.records["_imaps._tcp.own.test", "SRV"] = [srv(0, 1, 993, "mail.own.test")]
        self.dns.truncate.add(("_imaps._tcp.own.test", "SRV"))
        self.found("imaps://me@own.test@mail.own.test:993")
        self.assertIn(("_imaps._tcp.own.test", "SRV", "tcp"), self.dns.asked)

    def test_a_server_that_fails_and_one_that_is_silent(self):
        self.places["imap.own.test:993"] = self.imaps
        for kind in ("servfail", "silence"):
            with self.subTest(kind):
                self.dns.records["_imaps._tcp.own.test", "SRV"] = kind
                findings = self.found("imaps://me@own.test@imap.own.test:993", "guess", seconds=25)
                self.assertEqual(self.step(findings, "SRV _imaps")["outcome"], "failed")

    def test_mx_of_a_known_provider(self):
        self.places |= {"imap.gmail.com:993": self.imaps, "pop.gmail.com:995": self.pop3s}
        self.dns.records["own.test", "MX"] = [mx(5, "alt1.aspmx.l.google.com"), mx(1, "aspmx.l.google.com")]
        findings = self.found("imaps://me@own.test@imap.gmail.com:993", "MX aspmx.l.google.com")
        self.assertEqual((findings["provider"]["id"], findings["chosen"]["confirm"]), ("gmail", False))

    def test_mx_whose_owner_publishes_settings(self):
        self.places["mail.foreign.test:993"] = self.imaps
        self.dns.records["own.test", "MX"] = [mx(1, "mx1.mx.foreign.test")]
        self.web.pages["autoconfig.foreign.test" + DOCUMENT] = autoconfig(("imap", "mail.foreign.test", 993, "SSL", ADDRESS, "password-cleartext"))
        self.assertTrue(self.found("imaps://me@own.test@mail.foreign.test:993")["chosen"]["confirm"])

    def test_mx_of_nobody(self):
        self.dns.records["own.test", "MX"] = [mx(0, ".")]
        self.assertEqual(self.step(self.discover(), "MX")["outcome"], "nothing")


class Guesses(Discover):
    def test_usual_names(self):
        for place, server, url in [("imap.own.test:993", self.imaps, "imaps://me@own.test@imap.own.test:993"),
                                   ("mail.own.test:993", self.imaps, "imaps://me@own.test@mail.own.test:993"),
                                   ("own.test:993", self.imaps, "imaps://me@own.test@own.test:993"),
                                   ("mail.own.test:143", self.imap, "imap://me@own.test@mail.own.test:143"),
                                   ("pop.own.test:995", self.pop3s, "pop3s://me@own.test@pop.own.test:995")]:
            with self.subTest(place):
                kept, self.places = self.places, {**self.places, place: server}
                self.found(url, "guess")
                self.places = kept

    def test_servers_that_are_not_what_they_should_be(self):
        for handle, context, reason in [(imap(), self.elsewhere, "the certificate is not for"),
                                        (imap(), None, "does not speak TLS"),
                                        (says(b"220 smtp ready\r\n"), self.context, "not an IMAP server"),
                                        (says(b"* BYE too many\r\n"), self.context, "does not let anybody in"),
                                        (says(b"* OK " + b"x" * 100_000), self.context, "a line without end"),
                                        (says(b""), self.context, ""),
                                        (imap(capabilities="IMAP4"), self.context, "not an IMAP4rev1 server")]:
            with self.subTest(reason):
                self.places["imap.own.test:993"] = Server(handle, context)
                findings = self.discover()
                self.assertFalse(findings["found"])
                step = self.step(findings, "try imaps://imap.own.test:993")
                self.assertEqual(step["outcome"], "failed")
                self.assertIn(reason, step["result"])
        self.assertEqual(findings["settings"], [])

    def test_starttls_that_is_refused_or_injected(self):
        for text, reason in [(b"* OK hi\r\nm1 NO not today\r\n", "does not start TLS"),
                             (b"* OK hi\r\nm1 OK go\r\n* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n", "tampered"),
                             (b"* PREAUTH come in\r\n", "does not let anybody in")]:
            with self.subTest(reason):
                self.places["imap.own.test:143"] = Server(says(text))
                self.assertIn(reason, self.step(self.discover(), "try imap://imap.own.test:143")["result"])


class Addresses(Discover):
    def test_what_is_no_address(self):
        for text in ("me", "@own.test", "me@", "me@localhost", "me@127.0.0.1", "me@[127.0.0.1]", "m e@own.test", "me@own..test",
                     "me@-", "me@a" + "b" * 300 + ".test", "me@own_.x/y"):
            with self.subTest(text):
                done = run("discover", text)
                self.assertEqual(done.returncode, 2, done.stdout + done.stderr)
                self.assertIn("is not an address", done.stderr)

    def test_text_for_people(self):
        self.places["imap.own.test:993"] = self.imaps
        done = run("discover", "me@own.test", *self.options())
        self.assertEqual(done.returncode, 0)
        self.assertIn("imaps://me@own.test@imap.own.test:993", done.stdout)
        self.assertRegex(done.stdout, r"SRV _imaps._tcp.own.test +nothing \(\d+ ms\): no record")


class AddressAlone(Discover):
    def test_collect(self):
        with Dovecot() as server:
            maildir = server.add_user("me@own.test")
            sample.write_small(maildir, 5, 3)
            hand_over(maildir)
            self.web.pages["autoconfig.own.test" + DOCUMENT] = autoconfig(
                ("imap", "localhost", server.imaps, "SSL", ADDRESS, "password-cleartext"))
            trust = self.folder / "both.pem"
            trust.write_text(self.ca.read_text() + pathlib.Path(server.ca_file).read_text())
            options = self.options()
            options[1] = trust
            done = run("collect", "me@own.test", f"maildir:{self.folder}/mail", "--json", *options)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertGreater(sums(reports(done)[1])["delivered"], 4)


if __name__ == "__main__":
    main()
