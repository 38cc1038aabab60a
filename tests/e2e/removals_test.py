#!/usr/bin/env python3
"""What becomes of the copies of messages that vanish at a real server: keep, flag, remove, the grace period, the fuse, holds."""
import contextlib
import os
import sqlite3

from dovecot import PASSWORD
from harness import World, files_of, main, reports, run
from imap_reader import Reader
from scripted_server import ScriptedServer

DAY = 86_400


class RemovalsTest(World):
    users = 0

    def setUp(self):
        super().setUp()
        RemovalsTest.users += 1
        self.user = f"user{RemovalsTest.users}"
        self.source = self.server.add_user(self.user)
        self.sent = 0

    def reader(self):
        return Reader(self.server.imap, self.user, PASSWORD)

    def send(self, count, mailbox="INBOX"):
        with self.reader() as server:
            for _ in range(count):
                self.sent += 1
                wire = f"Message-ID: <{self.sent}@example.org>\r\nSubject: {self.sent}\r\n\r\nletter {self.sent}\r\n".encode()
                server.append(mailbox, wire, at=1_700_000_000 + self.sent)

    def expunge(self, first, last, mailbox="INBOX"):
        with self.reader() as server:
            server.expunge(mailbox, range(first, last + 1))

    def collect(self, *options, **more):
        return super().collect(*options, user=self.user, **more)

    def report(self, *options):
        """The final report of a complete run, and its line for INBOX."""
        report = reports(self.complete(self.collect("--json", *options)))[1]
        return report, next(one for one in report["mailboxes"] if one["mailbox"] == "INBOX")

    def later(self, days):
        """Time passes: what the state says of the past moves back."""
        with contextlib.closing(sqlite3.connect(self.mail / "mailhaul" / "state.db")) as state, state:
            state.execute("UPDATE message SET missing_since = missing_since - ? WHERE missing_since > 0", (days * DAY,))
            state.execute("UPDATE mailbox SET last_full_audit = last_full_audit - ?, released = max(0, released - ?)",
                          (days * DAY, days * DAY))

    def copies(self, mailbox="INBOX"):
        return len(self.foreign()[0][mailbox])

    def marked(self, mailbox="INBOX"):
        return [one.uid for one in self.foreign()[0][mailbox] if "$sourcegone" in one.flags]

    def test_keep_is_the_default(self):
        self.send(3)
        self.report()
        self.expunge(2, 3)
        _, inbox = self.report()
        self.assertEqual((inbox["gone"], inbox["removed"], inbox["marked"], inbox["held"]), (2, 0, 0, None))
        self.later(400)
        self.report("--on-source-delete", "keep")
        self.assertEqual(self.copies(), 3)

    def test_flag(self):
        self.send(4)
        self.report("--on-source-delete", "flag")
        self.assertEqual(self.marked(), [])
        self.expunge(2, 2)
        _, inbox = self.report("--on-source-delete", "flag")
        self.assertEqual((inbox["gone"], inbox["marked"]), (1, 1))
        self.assertEqual(len(self.marked()), 1)
        self.assertEqual(self.copies(), 4)
        marked = next(path for path in files_of(self.mail) if path.name.split(":2,")[1].islower())
        marked.rename(marked.with_name(marked.name.split(":2,")[0] + ":2,"))  # its owner takes the mark off
        _, inbox = self.report("--on-source-delete", "flag")
        self.assertEqual(inbox["marked"], 0)
        self.assertEqual(self.marked(), [])

    def test_remove_after_the_grace_period(self):
        self.send(5)
        self.report("--on-source-delete", "remove")
        self.expunge(2, 3)
        _, inbox = self.report("--on-source-delete", "remove")
        self.assertEqual((inbox["gone"], inbox["removed"]), (2, 0))
        self.later(6)
        self.report("--on-source-delete", "remove")
        self.assertEqual(self.copies(), 5)
        self.later(1)
        self.report("--on-source-delete", "remove", "--grace", "30")
        self.assertEqual(self.copies(), 5)
        done = self.complete(self.collect("--on-source-delete", "remove"))
        self.assertIn("removed 2 copies", done.stdout)
        self.assertEqual(self.copies(), 3)
        before = files_of(self.mail)
        done, bodies, _ = self.bodies_sent(lambda: self.report("--on-source-delete", "remove"), self.user)
        self.assertEqual((bodies, done[1]["removed"], files_of(self.mail)), (0, 0, before))
        self.complete(self.verify(user=self.user))

    def test_remove_without_grace(self):
        self.send(3)
        self.report()
        self.expunge(1, 1)
        _, inbox = self.report("--on-source-delete", "remove", "--grace", "0")
        self.assertEqual((inbox["removed"], self.copies()), (1, 2))

    def test_a_dry_run_removes_nothing(self):
        self.send(3)
        self.report()
        self.expunge(1, 1)
        self.complete(self.collect("--on-source-delete", "remove", "--grace", "0", "--dry-run"))
        self.assertEqual(self.copies(), 3)

    def test_the_fuse_holds_and_a_person_releases(self):
        policy = ("--on-source-delete", "remove", "--grace", "0")
        self.send(100)
        self.report(*policy)
        self.expunge(1, 45)
        _, inbox = self.report(*policy)
        self.assertEqual((inbox["removed"], inbox["held"]), (45, None))
        self.expunge(46, 51)  # 51 within a day: 45 a poll do not slip through
        self.send(1)
        report, inbox = self.report(*policy)
        self.assertEqual((inbox["delivered"], inbox["removed"], inbox["gone"]), (1, 0, 51))
        self.assertEqual(inbox["held"], "51 of 101 messages vanished")
        self.assertTrue(report["complete"])
        done = self.complete(self.collect(*policy))
        self.assertRegex(done.stdout, r"held: INBOX: 51 of 101 messages vanished.*--release-hold 'INBOX'")
        self.assertEqual(self.copies(), 56)
        self.later(30)  # no time releases a hold
        self.assertNotEqual(self.report(*policy)[1]["held"], None)
        self.assertEqual(self.copies(), 56)
        _, inbox = self.report(*policy, "--release-hold", "INBOX")
        self.assertEqual((inbox["removed"], inbox["held"]), (6, None))
        self.assertEqual(self.copies(), 50)

    def test_an_emptied_mailbox_is_held(self):
        self.send(3)
        self.make("Work")
        self.send(2, "Work")
        self.report("--on-source-delete", "flag")
        self.expunge(1, 3)
        _, inbox = self.report("--on-source-delete", "flag")
        self.assertEqual((inbox["held"], inbox["marked"], self.marked()), ("3 of 3 messages vanished", 0, []))
        _, inbox = self.report("--on-source-delete", "flag", "--release-hold", "INBOX")
        self.assertEqual((inbox["held"], inbox["marked"], len(self.marked())), (None, 3, 3))

    def make(self, mailbox):
        with self.reader() as server:
            server.create(mailbox)

    def test_a_new_uidvalidity_holds_and_downloads_nothing_again(self):
        self.send(3)
        self.report("--on-source-delete", "remove", "--grace", "0")
        for path in self.source.glob("dovecot*"):
            if path.is_file():
                os.unlink(path)
        (self.source / "dovecot-uidlist").write_text("3 V1234567 N1\n")
        done, bodies, _ = self.bodies_sent(lambda: self.report("--on-source-delete", "remove", "--grace", "0"), self.user)
        self.assertEqual((bodies, done[1]["held"]), (0, "its UIDVALIDITY changed"))
        self.expunge(1, 1)
        self.report("--on-source-delete", "remove", "--grace", "0")
        self.assertEqual(self.copies(), 3)
        self.report("--on-source-delete", "remove", "--grace", "0", "--release-hold", "INBOX")
        self.assertEqual(self.copies(), 2)

    def test_a_mailbox_that_is_not_listed_keeps_its_copies(self):
        self.send(2)
        self.make("Work")
        self.send(2, "Work")
        self.report("--on-source-delete", "remove", "--grace", "0")
        with self.reader() as server:
            server.command("DELETE Work")
        report, _ = self.report("--on-source-delete", "remove", "--grace", "0")
        self.assertEqual(report["unlisted"], ["Work"])
        done = self.complete(self.collect("--on-source-delete", "remove", "--grace", "0"))
        self.assertIn("not listed by the server: Work", done.stdout)
        self.assertEqual(self.copies("Work"), 2)

    def test_renamed_mailboxes_and_moved_messages_are_not_downloaded_again(self):
        policy = ("--on-source-delete", "remove")
        self.send(60)
        for mailbox in ("Work", "Work/Old"):
            self.make(mailbox)
            self.send(10, mailbox)
        self.report(*policy)
        with self.reader() as server:
            server.command("RENAME Work Projects")
            server.command("SELECT INBOX")
            server.command("UID MOVE 1:30 Projects")
        (report, inbox), bodies, _ = self.bodies_sent(lambda: self.report(*policy), self.user)
        boxes = {one["mailbox"]: one for one in report["mailboxes"]}
        self.assertEqual((bodies, report["unlisted"]), (0, []))
        self.assertEqual([boxes[name]["renamed_from"] for name in ("Projects", "Projects/Old")], ["Work", "Work/Old"])
        self.assertEqual((boxes["Projects"]["delivered"], boxes["Projects"]["moved"]), (30, 30))
        self.assertEqual((inbox["removed"], inbox["held"]), (30, None))  # moved, not lost: neither grace nor fuse
        self.assertEqual([self.copies(name) for name in ("INBOX", "Work", "Work/Old")], [30, 40, 10])
        self.complete(self.verify("--deep", user=self.user))

    def test_a_name_that_is_not_there_is_not_released(self):
        self.send(1)
        self.report()
        done = self.collect("--release-hold", "INBOXX")
        self.assertEqual(done.returncode, 3, done.stdout + done.stderr)
        self.assertRegex(done.stderr, "mailhaul: there is no mailbox 'INBOXX'")


class LikeMailutils:
    """GNU imap4d in its own way: a set with a UID that is no more is BAD, an empty mailbox is a new one each time."""

    def __init__(self, count):
        self.uids, self.looked, self.bodies = list(range(1, count + 1)), 0, 0

    def answer(self, line):
        tag, command, *rest = line.decode().split(None, 2)
        untagged = {"CAPABILITY": "* CAPABILITY IMAP4rev1\r\n", "LIST": '* LIST () "/" INBOX\r\n* LIST () "/" Empty\r\n'}.get(command, "")
        if command in ("STATUS", "EXAMINE"):
            self.looked += 1
            self.selected = [] if "Empty" in rest[0] else self.uids
            validity = 100 + self.looked if "Empty" in rest[0] else 7
            count, following = len(self.selected), max(self.selected, default=0) + 1
            untagged = (f"* {count} EXISTS\r\n* OK [UIDVALIDITY {validity}] .\r\n* OK [UIDNEXT {following}] .\r\n" if command == "EXAMINE" else
                        f"* STATUS {rest[0].split()[0]} (MESSAGES {count} UIDNEXT {following} UIDVALIDITY {validity})\r\n")
        if command == "UID" and rest[0].startswith("FETCH"):
            wanted, items = rest[0].split(None, 2)[1:]
            for part in wanted.split(","):
                first, _, last = part.partition(":")
                if not last and int(first) not in self.selected:
                    return f"{tag} BAD UID FETCH Failed to parse message set\r\n".encode()
                last = max(self.selected, default=0) if last == "*" else int(last or first)
                untagged += "".join(self.message(uid, items) for uid in self.selected if min(int(first), last) <= uid <= last)
        return f"{untagged}{tag} OK done\r\n".encode()

    def message(self, uid, items):
        body = ""
        head, letter = f"Subject: {uid}\r\n\r\n", f"letter {uid}\r\n"
        if "HEADER" in items:
            body = f" BODY[HEADER.FIELDS (SUBJECT)] {{{len(head)}}}\r\n{head}"
        elif "BODY" in items:
            body = f" BODY[] {{{len(head + letter)}}}\r\n{head}{letter}"
            self.bodies += 1
        return f'* {self.selected.index(uid) + 1} FETCH (UID {uid} FLAGS () INTERNALDATE "01-Jan-2024 10:00:00 +0000"{body})\r\n'


class UnknownUidsTest(World):
    def test_a_server_that_does_not_understand_uids_that_are_no_more(self):
        model = LikeMailutils(8)
        with ScriptedServer(answer=model.answer) as server:
            def mailhaul(verb, *options):
                return self.complete(run(verb, f"imap://demo@localhost:{server.port}", f"maildir:{self.mail}", "--allow-plaintext", *options))
            mailhaul("collect")
            self.assertEqual(model.bodies, 8)
            for uid in (1, 4, 8):
                model.uids.remove(uid)
            inbox = next(one for one in reports(mailhaul("collect", "--json"))[1]["mailboxes"] if one["mailbox"] == "INBOX")
            self.assertEqual((inbox["gone"], len(files_of(self.mail))), (3, 8))
            mailhaul("verify")
            mailhaul("collect", "--on-source-delete", "remove", "--grace", "0")
            self.assertEqual((model.bodies, len(files_of(self.mail))), (8, 5))


if __name__ == "__main__":
    main()
