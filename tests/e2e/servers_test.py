#!/usr/bin/env python3
"""The same promises against servers as they really are: Cyrus, GNU mailutils, Courier, Dovecot 2.4 (see foreign_servers.py).

What the source server itself says over IMAP is held against what a Dovecot makes of the Maildir, both read by imap_reader.
"""
import contextlib
import dataclasses
import signal
import sys

import foreign_servers
import sample
from dovecot import Dovecot, wait_for
from foreign_servers import USERS
from harness import CI, SKIP_CODE, Proxy, World, files_of, main, mailboxes, reports, run, snapshot, start, sums

TREE = ["INBOX", "Sent", "Archive/2023", "Archive/2024/Q1", "Projekte/Übergrößen", "受信箱/請求書", "Почта/Работа", "Lists/a & b", "Empty"]
KEYWORDS = ["$Forwarded", "$Junk", "projekt", "another-keyword"]
LARGE = 96  # messages of half a megabyte: several batches
SYSTEM = ["\\Seen", "\\Answered", "\\Flagged", "\\Draft", "\\Deleted"]


class Filling:
    """Puts mail into an account as any IMAP client would, and counts what the server would not have."""

    def __init__(self, server, reader):
        self.server, self.reader = server, reader
        self.accepted = self.mended = self.refused = 0

    def create(self, name):
        if name != "INBOX":
            self.reader.create(self.server.path(name))

    def append(self, name, octets, flags=(), at=None):
        """As it is; if the server will not have it, with CRLF line ends; else not at all."""
        for attempt in (octets, sample.wire(octets)):
            with contextlib.suppress(RuntimeError):
                self.reader.append(self.server.path(name), attempt, flags, at)
                self.accepted += 1
                self.mended += attempt is not octets
                return
        self.refused += 1

    def store(self, name, uids, operation, flags):
        self.reader.store(self.server.path(name), uids, operation, flags)

    def fill(self, messages, big):
        """Ordinary mail in a tree with names in four scripts, the oddities, flags, keywords and dates in plenty."""
        maker = sample.gen.Maker("servers")
        for number, name in enumerate(TREE):
            self.create(name)
            for i in range(0 if name == "Empty" else messages):
                flags = [flag for bit, flag in enumerate(SYSTEM[:4]) if (i + number) >> bit & 1]
                flags += KEYWORDS[:i % len(KEYWORDS)] if self.server.keywords else []
                self.append(name, maker.message("small", sample.gen.BASE), flags, sample.gen.BASE + 86400 * number + 3571 * i)
        self.create("Odd")
        for i, octets in enumerate(sample.oddities(big)):
            self.append("Odd", octets, SYSTEM[:i % 6], sample.ODD_DATES[i % len(sample.ODD_DATES)])


class ServerTests:
    """Mixed into one class per server."""

    kind = None
    least_odd = 20  # how many of the oddities it takes at least, as they are or with CRLF

    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(Dovecot())  # reads the copies
        cls.origin = cls.enterClassContext(cls.kind())
        cls.letter = staticmethod(cls.kind.letter)
        cls.relay = cls.enterClassContext(Proxy(cls.origin.imaps))
        cls.users = iter(USERS[1:])
        cls.filling = cls.filled("user1", 8, 1 << 20)
        cls.whole = cls.read("user1")
        print(f"{cls.origin.version()}: {cls.filling.accepted} messages accepted ({cls.filling.mended} only with CRLF), "
              f"{cls.filling.refused} refused, {sum(map(len, cls.whole.values()))} shown in {len(cls.whole)} mailboxes", flush=True)

    @classmethod
    def filled(cls, user, messages, big):
        with cls.origin.reader(user) as reader:
            filling = Filling(cls.origin, reader)
            filling.fill(messages, big)
        cls.origin.settle(user)
        return filling

    @classmethod
    def read(cls, user):
        """What the server says that it has, under the names of the copy. Its word on sizes is not taken, octets are hashed."""
        with cls.origin.reader(user) as reader:
            reader.letter = cls.letter
            return {cls.origin.local(name): [dataclasses.replace(one, size=0) for one in messages]
                    for name, messages in reader.everything().items()}

    def foreign(self, maildir=None):
        found, subscriptions = super().foreign(maildir)
        return {name: [dataclasses.replace(one, size=0) for one in messages] for name, messages in found.items()}, subscriptions

    def arguments(self, verb, user="user1", scheme="imaps"):
        """All goes through one relay: an account is known by its port."""
        return [verb, self.origin.url(user, scheme, self.relay.port), f"maildir:{self.mail}", "--ca-file", self.origin.ca_file]

    def collect(self, *options, user="user1", scheme="imaps", **more):
        self.relay.again(to=self.origin.imaps if scheme == "imaps" else self.origin.imap)
        return run(*self.arguments("collect", user, scheme), *options, **more)

    def verify(self, *options, user="user1", **more):
        self.relay.again(to=self.origin.imaps)
        return run(*self.arguments("verify", user), *options, **more)

    def traced(self, *options, user="user1"):
        """How a collection ended, the octets that the server sent, the bodies that were asked for."""
        trace = self.folder / "trace"
        trace.unlink(missing_ok=True)
        done = self.collect("--trace", trace, *options, user=user)
        return done, self.relay.down, trace.read_text(errors="replace").count("BODY.PEEK[]")

    def held(self, octets, user="user1", *options):
        """A collection that stands still when the server has sent so much, or has ended."""
        self.relay.again(hold_after=octets, to=self.origin.imaps)
        process = start(*self.arguments("collect", user), *options)
        wait_for(lambda: self.relay.held.is_set() or process.poll() is not None, 60, "a collection to be in the middle")
        return process

    def test_what_was_put_in_is_there(self):
        """The server must show enough for the other tests to mean something."""
        self.assertEqual(self.filling.accepted, sum(map(len, self.whole.values())))
        self.assertGreaterEqual(self.filling.accepted, 8 * (len(TREE) - 1) + self.least_odd)
        self.assertLessEqual({*TREE, "Odd"}, set(self.whole))
        flags = set().union(*(one.flags for messages in self.whole.values() for one in messages))
        self.assertLessEqual({flag.lower() for flag in SYSTEM + (KEYWORDS[:3] if self.origin.keywords else [])}, flags)

    def test_equal_first_and_quiet_ever_after(self):
        first, down, bodies = self.traced("--json")
        self.complete(first)
        self.same_as(self.whole)
        count = sum(map(len, self.whole.values()))
        self.assertEqual(sums(reports(first)[1])["delivered"], count)
        self.assertGreater(bodies, 0)
        done, again, bodies = self.traced("--json")
        self.complete(done)
        self.assertEqual((sums(reports(done)[1])["delivered"], bodies), (0, 0))
        self.assertLess(again, 64_000)
        before = snapshot(self.mail)
        done, third, bodies = self.traced()
        self.complete(done)
        self.assertEqual(bodies, 0)
        self.assertEqual(snapshot(self.mail), before)
        self.complete(self.verify("--deep"))
        self.same_as(self.read("user1"))
        print(f"{self.origin.name}: {count} messages; octets from the server: {down}, then {again}, then {third}", flush=True)

    def test_starttls_and_lost_state(self):
        self.complete(self.collect(scheme="imap"))
        self.same_as(self.whole)
        for path in (self.mail / "mailhaul").glob("state.db*"):
            path.unlink()
        done, _, bodies = self.traced()
        self.complete(done)
        self.assertEqual(bodies, 0)
        self.same_as(self.whole)

    def large(self):
        """A user with enough mail that a run commits several batches."""
        user = next(self.users)
        with self.origin.reader(user) as reader:
            hand = Filling(self.origin, reader)
            hand.create("Archive/Large")
            body = (b"0123456789abcdef" * 60 + b"\r\n") * 550
            for i in range(LARGE):
                hand.append(("INBOX", "Archive/Large")[i % 2], b"Subject: %d\r\n\r\n" % i + body, ["\\Seen"][:i % 2], 1710000000 + i)
            self.assertEqual(hand.accepted, LARGE)
        self.origin.settle(user)
        return user, self.read(user), len(body) * LARGE

    def test_killed_in_mid_run(self):
        """SIGKILL each time that a part more has come; whatever is left of it, the next run goes on."""
        user, expected, octets = self.large()
        there = []
        for part in (0.02, 0.4, 0.5, 0.2):
            process = self.held(int(octets * part), user, "--connections", "1")
            process.kill()
            process.communicate()
            self.assertEqual(process.returncode, -signal.SIGKILL)
            there.append(sum(path.parent.name == "cur" for path in files_of(self.mail)))
        self.assertTrue(any(0 < count < LARGE for count in there), there)
        self.complete(self.collect(user=user))
        self.same_as(expected)
        self.complete(self.verify("--deep", user=user))
        self.assertEqual([path for path in files_of(self.mail) if path.parent.name == "tmp"], [])
        print(f"{self.origin.name}: of {LARGE} messages were there after each kill: {there}", flush=True)

    def test_the_server_dies_in_mid_fetch(self):
        user, expected, octets = self.large()
        process = self.held(octets // 2, user)
        self.origin.stop()
        self.relay.cut()
        self.relay.release()
        self.origin.start()
        process.communicate(timeout=120)
        self.complete(self.collect(user=user))
        self.same_as(expected)
        self.same_as(self.read(user))

    def test_changes_follow(self):
        user = next(self.users)
        self.filled(user, 5, 1000)
        self.complete(self.collect(user=user))
        before = self.read(user)
        self.same_as(before)
        with self.origin.reader(user) as reader:
            hand = Filling(self.origin, reader)
            uids = {name: [one.uid for one in messages] for name, messages in before.items()}
            hand.append("INBOX", b"Subject: new\r\n\r\nnew mail\r\n", ["\\Flagged"], 1710000000)
            hand.append("Sent", b"Subject: also new\r\n\r\nnew mail\r\n", at=1710000001)
            box = "Projekte/Übergrößen"
            hand.store(box, uids[box], "-", ["\\Seen", "\\Answered", "\\Flagged", "\\Draft"])
            hand.store(box, uids[box][:3], "+", ["\\Seen", *(["fresh"] if self.origin.keywords else [])])
            hand.store("Archive/2023", uids["Archive/2023"][1:], "+", ["\\Deleted"])
            hand.create("Brand new/Für später")
            hand.append("Brand new/Für später", b"Subject: x\r\n\r\ny\r\n", at=1710000002)
        done, _, _ = self.traced("--json", user=user)
        self.complete(done)
        self.assertEqual(sums(reports(done)[1])["delivered"], 3)
        self.same_as(self.read(user))
        done, _, bodies = self.traced(user=user)
        self.complete(done)
        self.assertEqual(bodies, 0)

    def test_what_vanishes_is_kept_then_removed(self):
        """The first, one in the middle and the highest UID go; then a message comes, whatever UID it is given."""
        user = next(self.users)
        with self.origin.reader(user) as reader:
            hand = Filling(self.origin, reader)
            for i in range(8):
                hand.append("INBOX", b"Subject: %d\r\n\r\nbody %d\r\n" % (i, i), ["\\Seen"][:i % 2], 1710000000 + i)
        self.complete(self.collect(user=user))
        before = self.read(user)["INBOX"]
        with self.origin.reader(user) as reader:
            reader.expunge("INBOX", [before[at].uid for at in (0, 3, 7)])
        for _ in range(2):
            self.complete(self.collect(user=user))
            self.same_as({"INBOX": before})
        self.assertEqual(mailboxes(reports(self.collect("--json", user=user))[1])["INBOX"]["gone"], 3)
        with self.origin.reader(user) as reader:
            Filling(self.origin, reader).append("INBOX", b"Subject: late\r\n\r\nlate\r\n", at=1710009999)
        after = self.read(user)["INBOX"]
        self.complete(self.collect(user=user))
        kept = [one for one in before if one.sha256 not in {other.sha256 for other in after}]
        self.assertEqual(len(kept), 3)
        self.same_as({"INBOX": after + kept})
        self.complete(self.collect("--on-source-delete", "remove", "--grace", "0", user=user))
        self.same_as({"INBOX": after})
        self.complete(self.verify(*(["--deep"] if self.origin.steady else []), user=user))


class CyrusTest(ServerTests, World):
    kind = foreign_servers.Cyrus


class MailutilsTest(ServerTests, World):
    kind = foreign_servers.Mailutils


class CourierTest(ServerTests, World):
    kind = foreign_servers.Courier


class Dovecot24Test(ServerTests, World):
    kind = foreign_servers.Dovecot24


if __name__ == "__main__":
    if reason := foreign_servers.unusable():
        print(f"SKIPPED servers_test: {reason}")
        sys.exit(1 if CI and reason != "needs root" else SKIP_CODE)
    main()
