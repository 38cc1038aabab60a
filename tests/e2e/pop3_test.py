#!/usr/bin/env python3
"""POP3 against a real Dovecot: byte for byte what was put in, exactly once, and what --pop3-leave deletes."""
import concurrent.futures
import hashlib
import random
import resource
import shutil
from collections import Counter

import kill_test
import sample
import tracing
from dovecot import Dovecot
from harness import WHOLE, Proxy, World, files_of, main, need, reports, run, snapshot, start, sums
from scripted_server import ScriptedServer

MESSAGES = 5000 if WHOLE else 300
KILLS = 0 if WHOLE else 12  # points; 0: all
CUTS = 400 if WHOLE else 6


def wire(data):
    """What POP3 can say of a file: every line, the last one too, ends with CRLF."""
    octets = sample.wire(data)
    return octets if octets.endswith(b"\r\n") else octets + b"\r\n"


def fill(maildir, messages, big=1 << 20, odd=True):
    """Ordinary mail and the oddities in INBOX; the digests of what has to come."""
    put, maker = [], sample.gen.Maker("pop3")

    def observe(_mailbox, _uid, _when, data, _letters):
        put.append(hashlib.sha256(wire(data)).hexdigest())
    with sample.gen.MailboxWriter(maildir, "INBOX", 1, observe=observe) as mailbox:
        uid = 0
        for data in (sample.oddities(big) if odd else ()):
            mailbox.add(uid := uid + 1, sample.gen.BASE + uid, data, "S")
        for _ in range(messages):
            mailbox.add(uid := uid + 1, sample.gen.BASE + uid, maker.message("small", sample.gen.BASE + uid), "")
    return Counter(put)


class PopWorld(World):
    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(Dovecot(pop3=True))
        cls.relay = cls.enterClassContext(Proxy(cls.server.pop3s))

    @classmethod
    def filled(cls, user, messages, *arguments, **more):
        maildir = cls.server.add_user(user)
        put = fill(maildir, messages, *arguments, **more)
        cls.server.add_user(user)  # what is new belongs to the server, too
        return maildir, put

    def url(self, user="demo", to=None):
        """All goes through one relay: an account is known by its port."""
        self.relay.again(to=to or self.server.pop3s)
        return f"pop3s://{user}@localhost:{self.relay.port}"

    def collect(self, *options, user="demo", url=None, **more):
        return super().collect(*options, user=user, url=url or self.url(user), **more)

    def verify(self, *options, user="demo", **more):
        return run("verify", self.url(user), f"maildir:{self.mail}", "--ca-file", self.server.ca_file, *options, **more)

    def same_octets(self, put):
        found = self.foreign()[0]
        self.assertEqual([name for name, messages in found.items() if messages], ["INBOX"])
        got = Counter(one.sha256 for one in found["INBOX"])
        self.assertEqual((put - got, got - put), (Counter(), Counter()))
        self.assertEqual({flag for one in found["INBOX"] for flag in one.flags} - {"\\recent"}, set())

    def asked(self, work, user="demo"):
        """What the server was asked for while `work` ran: its result, TOPs, RETRs, DELEs."""
        before = len(self.server.pop3_sessions(user))
        result = work()
        return result, *(sum(column) for column in zip(*self.server.pop3_sessions(user)[before:], strict=True))


class CollectTest(PopWorld):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.source, cls.put = cls.filled("demo", MESSAGES)

    def test_byte_for_byte_and_then_nothing(self):
        count = self.put.total()
        done, tops, retrs, deles = self.asked(lambda: self.complete(self.collect("--json")))
        self.assertEqual((sums(reports(done)[1])["delivered"], retrs, deles), (count, count, 0))
        self.assertLessEqual(tops, 5)  # of messages whose size Dovecot knows better once it has read them
        self.same_octets(self.put)
        before = snapshot(self.mail)
        done, tops, retrs, deles = self.asked(lambda: self.complete(self.collect("--json")))
        self.assertEqual((sums(reports(done)[1])["already"], retrs, deles), (count, 0, 0))
        self.assertEqual(snapshot(self.mail), before)
        self.complete(self.verify())
        self.complete(self.verify("--deep"))

    def test_stls(self):
        self.complete(self.collect(url=self.server.url("demo", "pop3")))
        self.same_octets(self.put)

    def test_a_lost_state_asks_for_headers_alone(self):
        self.complete(self.collect())
        (self.mail / "mailhaul" / "state.db").unlink()
        _, tops, retrs, _ = self.asked(lambda: self.complete(self.collect()))
        self.assertEqual((tops, retrs), (self.put.total(), 0))
        self.same_octets(self.put)

    def test_wrong_password(self):
        done = run("collect", self.url(), f"maildir:{self.mail}", "--ca-file", self.server.ca_file, env={"MAILHAUL_SOURCE_PASSWORD": "wrong"})
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertIn("refuses user name or password", done.stderr)
        self.assertFalse(self.mail.exists())

    def test_cut_in_the_middle(self):
        url = self.url()
        for octets in (20_000, 300_000, 1_000_000):
            self.relay.again(hold_after=octets, to=self.server.pop3s)
            running = start("collect", url, f"maildir:{self.mail}", "--ca-file", self.server.ca_file)
            try:
                self.assertTrue(self.relay.held.wait(60))
            finally:
                running.kill()
                running.communicate()
        self.complete(self.collect())
        self.same_octets(self.put)

    def test_all_unique_ids_change(self):
        """The mail moves to a server that makes its unique-ids in another way."""
        self.complete(self.collect())
        with Dovecot(pop3=True, certificate=self.server.certificate, extra="pop3_uidl_format = other-%u-%v\n") as other:
            copy = other.add_user("demo", self.folder / "moved")
            shutil.copytree(self.source / "cur", copy / "cur", copy_function=shutil.copy2, dirs_exist_ok=True)
            other.add_user("demo", copy)
            done = self.complete(super().collect("--json", url=self.url(to=other.pop3s)))
            tops, retrs, deles = (sum(column) for column in zip(*other.pop3_sessions("demo"), strict=True))
        self.assertEqual((sums(reports(done)[1])["delivered"], retrs, deles), (0, 0, 0))
        self.assertGreaterEqual(tops, self.put.total())
        self.same_octets(self.put)


class LeaveTest(PopWorld):
    def left(self, user):
        return len(files_of(self.server.folder / "mail" / user))

    def test_delete_in_a_later_session_after_the_copy_was_compared(self):
        _, put = self.filled("later", 40, 1 << 16)
        options = ("--pop3-leave", "delete", "--json")
        self.complete(self.collect(*options, user="later"))
        self.assertEqual(self.left("later"), put.total())
        copies = [path for path in files_of(self.mail) if path.parent.name == "cur"]
        removed, damaged = copies[:2]
        removed.unlink()
        damaged.write_bytes(bytes(len(damaged.read_bytes())))
        done = self.complete(self.collect(*options, user="later"))
        self.assertEqual(sum(one["deleted"] for one in reports(done)[1]["mailboxes"]), put.total() - 2)
        self.assertEqual(self.left("later"), 2)
        self.complete(self.collect(*options, user="later"))
        self.assertEqual(self.left("later"), 2)
        self.assertEqual(len([path for path in files_of(self.mail) if path.parent.name == "cur"]), put.total() - 1)

    def test_days(self):
        self.filled("week", 10, 1 << 10)
        before = self.left("week")
        for _ in range(2):
            self.complete(self.collect("--pop3-leave", "7", user="week"))
        self.assertEqual(self.left("week"), before)

    def test_nothing_is_deleted_when_the_collection_fails(self):
        self.filled("gone", 10, 1 << 10)
        self.complete(self.collect(user="gone"))
        before = self.left("gone")
        sample_file = next(path for path in (self.server.folder / "mail" / "gone" / "cur").iterdir())
        shutil.copy2(sample_file, sample_file.with_name("1700000000.new.host:2,"))
        self.server.add_user("gone")
        running = run("collect", self.url("gone"), f"maildir:{self.mail}", "--ca-file", self.server.ca_file, "--pop3-leave", "delete",
                      preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (16, 16)))
        self.assertNotEqual(running.returncode, 0)
        self.assertEqual(self.left("gone"), before + 1)


class Windows:
    """A maildrop as Gmail shows it: so many messages at a time, those that were read no more once a session has ended by QUIT."""

    def __init__(self, messages, window, cut):
        self.left, self.window, self.cut = dict(enumerate(messages, 1)), window, cut
        self.shown, self.read, self.sessions, self.popped = [], set(), 0, []

    def answer(self, line):
        word, _, argument = line.decode().strip().partition(" ")
        if word == "PASS":
            self.shown, self.read, self.sessions = list(self.left)[:self.window], set(), self.sessions + 1
        elif word == "QUIT":
            self.popped += [self.left.pop(one) for one in list(self.left) if one in self.read]
        elif word == "RETR":
            if (self.sessions, len(self.read)) == self.cut:
                return None
            self.read.add(one := self.shown[int(argument) - 1])
            return b"+OK\r\n" + self.left[one] + b".\r\n"
        elif word == "STAT":
            return b"+OK %d %d\r\n" % (len(self.shown), sum(len(self.left[one]) for one in self.shown))
        elif word in ("LIST", "UIDL", "CAPA"):
            lines = ["UIDL", "TOP", "PIPELINING"] if word == "CAPA" else [
                f"{number} {len(self.left[one]) if word == 'LIST' else f'GmailId{one:x}'}" for number, one in enumerate(self.shown, 1)]
            return ("\r\n".join(["+OK", *lines, "."]) + "\r\n").encode()
        elif word == "TOP":
            return b"+OK\r\n" + self.left[self.shown[int(argument.split()[0]) - 1]].partition(b"\r\n\r\n")[0] + b"\r\n\r\n.\r\n"
        return b"+OK\r\n"


class WindowsTest(World):
    @classmethod
    def setUpClass(cls):
        pass  # a server of its own

    def test_29_gmail_shows_600_messages_in_windows_of_250(self):
        messages = [b"Message-ID: <%d@example.org>\r\nSubject: %d\r\n\r\ntext\r\n" % (i, i) for i in range(600)]
        mailbox = Windows(messages, 250, cut=(2, 100))
        with ScriptedServer(b"+OK Gpop ready for requests\r\n", mailbox.answer) as server:
            done = self.complete(run("collect", f"pop3://me@127.0.0.1:{server.port}", f"maildir:{self.mail}", "--allow-plaintext", "--json"))
        self.assertEqual({name: sums(reports(done)[1])[name] for name in ("listed", "delivered", "gone", "pending")},
                         {"listed": 600, "delivered": 600, "gone": 0, "pending": 0})
        self.assertEqual((mailbox.left, sorted(mailbox.popped)), ({}, sorted(messages)))
        self.assertEqual(sorted(path.read_bytes().replace(b"\n", b"\r\n") for path in files_of(self.mail)), sorted(messages))


class Scene(kill_test.Scene):
    def command(self, mail):
        return ["collect", self.server.url(self.user, "pop3s"), f"maildir:{mail}", "--ca-file", self.server.ca_file]


class KillTest(PopWorld):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.few = cls.filled("few", 12, odd=False)[1]

    def scene(self):
        """With what a run that is let alone brings, held against what was put in."""
        scene = Scene("POP3", self.server, "few", None, {})
        self.complete(run(*scene.command(self.mail)))
        self.same_octets(self.few)
        scene.expected = self.foreign()[0]
        return scene

    def test_cut_at_any_octet(self):
        """Cut once behind so many octets of the encrypted stream: the run gets over it or ends, another one brings the rest."""
        scene, url = self.scene(), self.url("few")
        self.complete(run("collect", url, f"maildir:{self.folder / 'alone'}", "--ca-file", self.server.ca_file))
        everything = self.relay.down
        outcomes = Counter()
        for number in range(CUTS):
            at, mail = 1 + number * everything // CUTS, self.folder / f"cut{number}"
            self.relay.again(hold_after=at, to=self.server.pop3s)
            running = start("collect", url, f"maildir:{mail}", "--ca-file", self.server.ca_file)
            self.assertTrue(self.relay.held.wait(60))
            self.relay.hold_after = None
            self.relay.cut()
            self.relay.release()
            outcomes[running.wait(120)] += 1
            running.communicate()
            self.complete(run("collect", url, f"maildir:{mail}", "--ca-file", self.server.ca_file))
            kill_test.check(scene, mail, f"cut behind octet {at} of {everything}")
            shutil.rmtree(mail)
        print(f"{CUTS} cuts in {everything} octets, each followed by another run and compared; exit codes {dict(outcomes)}", flush=True)

    def test_killed_at_any_call(self):
        if reason := tracing.usable():
            need(False, reason)
        scene = self.scene()
        points = scene.points()
        chosen = kill_test.spread(points, KILLS or len(points), random.Random(1))
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            phases = Counter(pool.map(kill_test.trial, chosen))
        late = phases.pop(None, 0)
        print(f"{len(points)} points, {phases.total()} kills, each restarted and compared ({late} late): {dict(phases)}", flush=True)
        self.assertGreater(phases.total(), len(chosen) // 2)
        if WHOLE:
            self.assertEqual({"fetch", "rename", "directory sync", "commit"} - set(phases), set())


if __name__ == "__main__":
    main()
