#!/usr/bin/env python3
"""POP3 against servers as they really are: Courier, GNU mailutils and popa3d (see foreign_servers.py).

What is put into a mailbox, over IMAP or into its file, is read back with Python's own poplib, and that is held against what
a Dovecot makes of the Maildir.
"""
import hashlib
import os
import poplib
import re
import socket
import sys
from collections import Counter

import foreign_servers
import sample
from dovecot import PASSWORD, Dovecot, wait_for
from foreign_servers import USERS
from harness import CI, SKIP_CODE, WHOLE, Proxy, World, main, mailboxes, reports, run, snapshot, sums

MESSAGES = 4996 if WHOLE else 150  # and four oddities
poplib._MAXLINE = 1 << 20  # the oddities have long lines


def letters(count, name="pop3"):
    maker = sample.gen.Maker(name)
    return [sample.wire(maker.message("small", sample.gen.BASE + i)) for i in range(count)] + [
        b"From: a@example.org\r\nSubject: dots\r\n\r\n.\r\n..\r\n.x\r\nend\r\n",
        b"From: a@example.org\r\nSubject: twin\r\n\r\nthe same twice\r\n", b"From: a@example.org\r\nSubject: twin\r\n\r\nthe same twice\r\n",
        b"From: a@example.org\r\nSubject: long\r\n\r\n" + b"x" * 100_000 + b"\r\n"]


def essence(octets):
    """Without what mbox servers write into mail while it lies there, and without the empty lines at its end."""
    header, empty, body = octets.partition(b"\r\n\r\n")
    kept = [line for line in header.split(b"\r\n") if not re.match(rb"(X-IMAPbase|X-UID|X-UIDL|X-Status|Status|Content-Length|Lines):", line)]
    return b"\r\n".join(kept) + empty + body.rstrip(b"\r\n")


class PopServerTests:
    kind = None
    tls = True

    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(Dovecot())  # reads the copies
        cls.origin = cls.enterClassContext(cls.kind())
        cls.letter = staticmethod(essence)
        cls.relay = cls.enterClassContext(Proxy(cls.origin.pop3s if cls.tls else cls.origin.pop3))
        cls.users = iter(USERS[1:])
        cls.fill("user1", letters(MESSAGES))
        cls.first = cls.there("user1")  # takes minutes where each answer waits for an acknowledgement
        print(f"{cls.origin.version()}: {len(cls.first)} messages", flush=True)

    @classmethod
    def put(cls, user, messages):
        with cls.origin.reader(user) as reader:
            for octets in messages:
                reader.append("INBOX", octets)
        cls.origin.settle(user)

    fill = put  # many at once

    @classmethod
    def pop(cls, user):
        def logged_in():
            session = poplib.POP3("127.0.0.1", cls.origin.pop3, timeout=60)
            session.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            try:
                session.user(cls.origin.login(user))
                session.pass_(PASSWORD)
                return session
            except poplib.error_proto:
                session.close()
                return None
        return wait_for(logged_in, 60, "the lock of an earlier session to go")

    @classmethod
    def there(cls, user):
        """What the server gives to somebody else, over POP3."""
        session = cls.pop(user)
        found = [essence(b"\r\n".join(session.retr(number + 1)[1]) + b"\r\n") for number in range(session.stat()[0])]
        session.close()  # no QUIT: nothing is to change
        return found

    @classmethod
    def count(cls, user):
        session = cls.pop(user)
        count = session.stat()[0]
        session.quit()
        return count

    def url(self, user):
        self.relay.again(to=self.origin.pop3s if self.tls else self.origin.pop3)
        return f"pop3{'s' if self.tls else ''}://{self.origin.login(user).replace('@', '%40')}@localhost:{self.relay.port}"

    def collect(self, *options, user="user1", **more):
        plain = [] if self.tls else ["--allow-plaintext"]
        return run("collect", self.url(user), f"maildir:{self.mail}", "--ca-file", self.origin.ca_file, *plain, *options, timeout=1200,
                   **more)

    def same_octets(self, expected):
        found = self.foreign()[0]
        expected = Counter(hashlib.sha256(octets).hexdigest() for octets in expected)
        got = Counter(one.sha256 for one in found["INBOX"])
        self.assertEqual((expected - got, got - expected), (Counter(), Counter()))

    def test_byte_for_byte_and_then_nothing(self):
        expected = self.first
        self.assertEqual(len(expected), MESSAGES + 4)
        done = self.complete(self.collect("--json"))
        self.assertEqual(sums(reports(done)[1])["delivered"], len(expected))
        self.same_octets(expected)
        before = snapshot(self.mail)
        for _ in range(2):  # the first may still see sizes that its own reading has changed
            self.assertEqual(sums(reports(self.complete(self.collect("--json")))[1])["delivered"], 0)
        self.assertEqual(snapshot(self.mail), before)
        (self.mail / "mailhaul" / "state.db").unlink()
        self.complete(self.collect())
        self.same_octets(expected)

    def test_stls(self):
        if not self.tls:
            self.skipTest("has no TLS")
        self.complete(run("collect", f"pop3://{self.origin.login('user1').replace('@', '%40')}@localhost:{self.origin.pop3}",
                          f"maildir:{self.mail}", "--ca-file", self.origin.ca_file, timeout=1200))
        self.same_octets(self.first)

    def test_what_is_new_what_goes_and_delete(self):
        user = next(self.users)
        self.put(user, letters(20, user))
        self.complete(self.collect(user=user))
        first = self.there(user)
        session = self.pop(user)
        for number in (3, 7):
            session.dele(number)
        session.quit()
        self.put(user, [b"From: a@example.org\r\nSubject: late\r\n\r\nlate\r\n"])
        done = self.complete(self.collect("--json", user=user))
        self.assertEqual(mailboxes(reports(done)[1])["INBOX"]["delivered"], 1)
        whole = Counter(first) | Counter(self.there(user))
        self.same_octets(whole.elements())
        done = self.complete(self.collect("--json", "--pop3-leave", "delete", user=user))
        self.assertEqual(sum(one["deleted"] for one in reports(done)[1]["mailboxes"]), len(first) - 1)
        wait_for(lambda: self.count(user) == 0, 10, "the update that follows QUIT")  # Courier says +OK before it
        self.complete(self.collect(user=user))
        self.same_octets(whole.elements())


def mbox(path, messages):
    """Appends to a spool file as a delivery agent does."""
    with open(path, "ab") as spool:
        for octets in messages:
            body = re.sub(rb"^(>*From )", rb">\1", octets.replace(b"\r\n", b"\n"), flags=re.MULTILINE)
            spool.write(b"From a@example.org Thu Nov 14 12:00:00 2024\n" + body + b"\n")


class CourierTest(PopServerTests, World):
    kind = foreign_servers.CourierPop

    @classmethod
    def fill(cls, user, messages):
        maildir = cls.origin.work / "mail" / user / "Maildir"
        for number, octets in enumerate(messages):
            path = maildir / "new" / f"1731585600.M{number:06}P1.origin"
            path.write_bytes(octets.replace(b"\r\n", b"\n"))
            os.chown(path, 8, 8)


class MailutilsTest(PopServerTests, World):
    kind = foreign_servers.MailutilsPop

    @classmethod
    def fill(cls, user, messages):
        mbox(cls.origin.work / "home" / user / "INBOX", messages)
        cls.origin.settle(user)


class Popa3dTest(PopServerTests, World):
    kind = foreign_servers.Popa3d
    tls = False

    @classmethod
    def put(cls, user, messages):
        mbox(cls.origin.work / "spool" / user, messages)

    fill = put


if __name__ == "__main__":
    if reason := foreign_servers.unusable():
        print(f"SKIPPED pop3_servers_test: {reason}")
        sys.exit(1 if CI and reason != "needs root" else SKIP_CODE)
    main()
