#!/usr/bin/env python3
"""Every way to say who one is, against Dovecot: mechanisms, hashed passwords, administrators, certificates."""
import pathlib
import re
import shutil
import subprocess
import unittest

from dovecot import PASSWORD, Dovecot, hand_over, temporary_folder
from harness import main, reports, run, sums

MECHANISMS = ["PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256"]


def hashed(scheme, password=PASSWORD):
    return subprocess.run(["doveadm", "pw", "-s", scheme, "-p", password], capture_output=True, text=True, check=True).stdout.strip()


class Logins(unittest.TestCase):
    EXTRA = ("auth_mechanisms = {mechanisms}\nauth_master_user_separator = *\n"
             "passdb {{\n  driver = passwd-file\n  master = yes\n  args = {d}/masters\n}}\n"
             "ssl_ca = <{ca}\nssl_verify_client_cert = yes\nauth_ssl_username_from_cert = yes\nssl_require_crl = no\n")

    def setUp(self):
        self.folder = temporary_folder("mh-e2e-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def server_with(self, mechanisms, passwords=""):
        server = Dovecot(anyone=not passwords)
        (server.folder / "masters").write_text(f"boss:{{PLAIN}}{PASSWORD}\n")
        (server.folder / "passwords").write_text(passwords)
        server.extra = self.EXTRA.format(mechanisms=mechanisms.lower(), d=server.folder, ca=server.ca_file)
        hand_over(server.folder)
        server.__enter__()
        self.addCleanup(server.stop)
        return server

    def collect(self, server, url, *options, code=0, **more):
        where = self.folder / f"mail-{len(list(self.folder.iterdir()))}"
        done = run("collect", url, f"maildir:{where}", "--ca-file", server.ca_file, "--json", *options, **more)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return sums(reports(done)[1])["delivered"] if code == 0 else done.stderr

    def method(self, server, user):
        """How Dovecot says that the user has logged in."""
        server.sessions(user)
        return re.findall(rf"Login: user=<{user}>, method=([\w-]+)", (server.folder / "log").read_text())

    def populate(self, server, user):
        maildir = server.add_user(user)
        for name in ("cur", "new", "tmp"):
            (maildir / name).mkdir(exist_ok=True)
        for n in range(3):
            (maildir / "cur" / f"{n}.a:2,S").write_text(f"Subject: {n}\n\nhello\n")
        hand_over(maildir)

    def test_every_mechanism(self):
        for mechanism in MECHANISMS:
            with self.subTest(mechanism):
                server = self.server_with(mechanism)
                self.populate(server, "alice")
                for scheme in ("imaps", "imap"):  # TLS at once, and STARTTLS
                    self.assertEqual(self.collect(server, server.url("alice", scheme)), 3)
                self.assertEqual(self.method(server, "alice"), [mechanism] * 2)
                error = self.collect(server, server.url("alice"), code=3, password="not this one")
                self.assertIn("refuses user name or password", error)
                self.assertNotIn("not this one", error)

    def test_the_strongest_is_taken(self):
        server = self.server_with("plain login cram-md5 scram-sha-1 scram-sha-256")
        self.populate(server, "alice")
        self.assertEqual(self.collect(server, server.url("alice")), 3)
        self.assertEqual(self.method(server, "alice"), ["SCRAM-SHA-256"])

    def test_passwords_that_only_one_mechanism_can_check(self):
        schemes = {"scram1": "SCRAM-SHA-1", "scram256": "SCRAM-SHA-256", "crypt": "SHA512-CRYPT", "cram": "CRAM-MD5"}
        server = self.server_with("plain login cram-md5 scram-sha-1 scram-sha-256",
                                  "".join(f"{user}:{hashed(scheme)}\n" for user, scheme in schemes.items()))
        for user, method in [("scram1", "SCRAM-SHA-1"), ("scram256", "SCRAM-SHA-256"), ("crypt", "PLAIN"), ("cram", "CRAM-MD5")]:
            with self.subTest(user):
                self.populate(server, user)
                self.assertEqual(self.collect(server, server.url(user)), 3)
                self.assertEqual(self.method(server, user), [method])

    def test_an_administrator(self):
        server = self.server_with("plain")
        self.populate(server, "alice")
        self.assertEqual(self.collect(server, server.url("boss"), "--source-authzid", "alice"), 3)
        self.assertEqual(self.collect(server, server.url("alice*boss")), 3)
        self.assertEqual(self.collect(server, server.url("alice*boss"), "--source-password-file", self.secret("no"), code=3)[:9], "mailhaul:")

    def test_it_is_the_same_account(self):
        """What an administrator collected, the user goes on with."""
        server = self.server_with("plain")
        self.populate(server, "alice")
        for url, options, delivered in [(server.url("boss"), ["--source-authzid", "alice"], 3), (server.url("alice"), [], 0)]:
            done = run("collect", url, f"maildir:{self.folder / 'mail'}", "--ca-file", server.ca_file, "--json", *options)
            self.assertEqual((done.returncode, sums(reports(done)[1])["delivered"]), (0, delivered), done.stderr)

    def test_a_client_certificate(self):
        server = self.server_with("external plain", "carol:::::::nopassword=y\n")
        self.populate(server, "carol")
        own = server.authority.issue("carol", "subjectAltName=email:carol@example.org")
        both = pathlib.Path(server.folder / "carol.both")
        both.write_text(own.certificate.read_text() + own.key.read_text())
        self.assertEqual(self.collect(server, server.url("carol"), "--client-certificate", both, password=None), 3)
        self.assertEqual(self.method(server, "carol"), ["EXTERNAL"])
        self.assertIn("client certificate", self.collect(server, server.url("carol"), "--client-certificate", server.ca_file,
                                                         password=None, code=3))

    def secret(self, text):
        path = self.folder / "secret"
        path.write_text(text)
        return path


if __name__ == "__main__":
    main()
