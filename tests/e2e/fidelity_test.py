#!/usr/bin/env python3
"""Byte for byte: what was collected is held against the generator's manifest by a foreign reader, first, again, after changes."""
import os
import pty
import re
import select
import shutil
import time

import sample
from dovecot import PASSWORD, Dovecot, hand_over
from harness import SLOW, WHOLE, Proxy, World, files_of, main, need, reports, snapshot, sums, tables
from imap_reader import Reader, Seen, differences


class SampleTest(World):
    @classmethod
    def fill(cls, maildir):
        return sample.write_sample(maildir, messages=150 if SLOW > 1 else 300, big=(1 if SLOW > 1 else 8) << 20)

    def test_the_server_serves_what_the_manifest_says(self):
        self.assertEqual(differences(self.manifest.seen(), self.read_source()), "")

    def test_first_collection_is_equal(self):
        self.complete(self.collect())
        found, subscriptions = self.foreign()
        self.same_as(self.manifest.seen(written=True), found)
        self.assertEqual(subscriptions, sorted(sample.WRITTEN.get(name, name) for name in self.manifest.subscriptions))
        self.assertEqual([path for path in files_of(self.mail) if path.parent.name == "tmp"], [])

    def test_an_impossible_date_is_replaced_and_no_mail_dropped(self):
        """INTERNALDATE in the year 2100: the topmost Received, else Date, stands in for it."""
        maildir = self.server.folder / "mail" / "dates"
        shutil.rmtree(maildir, ignore_errors=True)
        with sample.gen.MailboxWriter(str(maildir), "INBOX", 1) as mailbox:
            received = b"Received: from a by b; Mon, 01 Jan 2024 12:00:00 +0200\r\n"
            date = b"Date: Tue, 02 Jan 2024 10:00:00 +0000\r\n"
            for uid, header in enumerate((received + date, date), 1):
                mailbox.add(uid, 4102444800, header + b"Subject: late\r\n\r\nbody\r\n", "")
        self.server.add_user("dates", maildir)
        self.complete(self.collect(user="dates"))
        self.assertEqual([one.internaldate for one in self.foreign()[0]["INBOX"]], [1704103200, 1704189600])

    def test_second_run_moves_nothing(self):
        self.complete(self.collect())
        self.complete(self.collect())  # a cursor may settle once more; from here on nothing may move
        state = self.mail / "mailhaul" / "state.db"
        before, rows = snapshot(self.mail), tables(state)
        done, bodies, octets = self.bodies_sent(lambda: self.collect("--json"))
        self.complete(done)
        self.assertEqual(bodies, 0)
        self.assertLess(octets, 64_000)
        after = snapshot(self.mail)
        self.assertEqual({path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}, set())
        self.assertEqual(tables(state), rows)
        total = sums(reports(done)[1])
        self.assertEqual(total["delivered"], 0)
        self.assertEqual(total["already"], self.manifest.count())

    def test_second_run_moves_nothing_right_after_the_first(self):
        self.complete(self.collect())
        before = snapshot(self.mail)
        done, bodies, _ = self.bodies_sent(self.collect)
        self.complete(done)
        self.assertEqual(bodies, 0)
        self.assertEqual(snapshot(self.mail), before)

    def test_lost_state_is_rebuilt_from_the_names(self):
        self.complete(self.collect())
        before = snapshot(self.mail)
        for path in (self.mail / "mailhaul").glob("state.db*"):
            path.unlink()
        done, bodies, _ = self.bodies_sent(self.collect)
        self.complete(done)
        self.assertEqual(bodies, 0)
        self.same_as(self.manifest.seen(written=True))
        after = snapshot(self.mail)
        self.assertEqual(set(before), set(after))
        self.complete(self.verify("--deep"))

    def test_starttls_compress_and_utf8_names_give_the_same(self):
        self.complete(self.collect(url=self.server.url("demo", "imap")))
        self.same_as(self.manifest.seen(written=True))
        shutil.rmtree(self.mail)
        with Proxy(self.server.imaps) as proxy:
            self.complete(self.collect("--compress", url=f"imaps://demo@localhost:{proxy.port}"))
            self.assertLess(proxy.down, sum(one.size for box in self.manifest.seen().values() for one in box))
        self.same_as(self.manifest.seen(written=True))
        shutil.rmtree(self.mail)
        self.complete(self.collect("--maildir-names", "utf8"))
        self.assertTrue((self.mail / ".受信箱.請求書" / "cur").is_dir())
        with Dovecot(options=":UTF-8") as courier_like:
            courier_like.add_user("utf8", self.mail)
            with Reader(courier_like.imap, "utf8", PASSWORD) as reader:
                self.same_as(self.manifest.seen(written=True), reader.everything())

    def test_verify_names_every_difference(self):
        self.complete(self.collect())
        self.complete(self.verify())
        self.complete(self.verify("--deep"))
        files = [path for path in files_of(self.mail / ".Sent") if path.stat().st_size > 2000]
        damaged, cut = files[0], files[1]
        at = damaged.stat()
        octets = damaged.read_bytes()
        damaged.write_bytes(octets[:1000] + bytes([octets[1000] ^ 1]) + octets[1001:])
        os.utime(damaged, (at.st_mtime, at.st_mtime))
        cut.write_bytes(cut.read_bytes()[:-7])
        deep = self.verify("--deep")
        self.assertEqual(deep.returncode, 1, deep.stdout + deep.stderr)
        self.assertGreaterEqual(deep.stdout.count("Sent") + deep.stderr.count("Sent"), 2, deep.stdout + deep.stderr)
        self.assertEqual(self.verify().returncode, 1)

    def test_mutt_reads_it(self):
        need(shutil.which("mutt"), "mutt is not installed")
        self.complete(self.collect())
        count = 0
        for attempt in range(3):  # on a busy machine mutt sometimes looks at the mailbox again and forgets what was tagged
            count = max(count, mutt_copies(self.mail / ".Archive.2023", self.folder / f"copies{attempt}"))
            if count == len(self.manifest.mailboxes["Archive/2023"]):
                break
        self.assertEqual(count, len(self.manifest.mailboxes["Archive/2023"]))


def mutt_copies(maildir, into):
    """Has mutt copy every message of a mailbox into an mbox; returns how many it wrote."""
    rc = str(into) + ".rc"
    with open(rc, "w") as file:
        file.write("set check_new=no confirmappend=no confirmcreate=no delete=no move=no quit=yes copy=no resolve=no wait_key=no\nset mbox_type=mbox\n"
                   f'push "<tag-pattern>~A<enter><tag-prefix><copy-message><kill-line>{into}<enter><exit>"\n')
    child, terminal = pty.fork()
    if child == 0:
        os.environ.update({"TERM": "vt100", "LC_ALL": "C.UTF-8"})
        os.execvp("mutt", ["mutt", "-n", "-F", rc, "-R", "-f", str(maildir)])
    end = time.monotonic() + 60
    shown = b""
    while time.monotonic() < end:
        if select.select([terminal], [], [], 0.2)[0]:
            try:
                part = os.read(terminal, 65536)
            except OSError:
                break
            if not part:
                break
            shown += part
    else:
        os.kill(child, 9)
        raise AssertionError(f"mutt does not end: {shown[-2000:]!r}")
    os.close(terminal)
    os.waitpid(child, 0)
    if not os.path.exists(into):
        raise AssertionError(f"mutt copied nothing: {shown[-2000:]!r}")
    with open(into, "rb") as file:
        return len(re.findall(rb"^From \S+ +\w{3} \w{3} ", file.read(), re.MULTILINE))


class ChangesTest(World):
    """The source moves on; the owner works on the copy."""

    @classmethod
    def fill(cls, maildir):
        return sample.write_small(maildir, 60, 6)

    def setUp(self):
        super().setUp()
        self.user = "moving"
        shutil.rmtree(self.server.folder / "mail" / self.user, ignore_errors=True)
        shutil.copytree(self.source, self.server.folder / "mail" / self.user, copy_function=shutil.copy2,
                        ignore=shutil.ignore_patterns("dovecot.*"))
        self.server.add_user(self.user)
        self.complete(self.collect(user=self.user))
        self.same_as(self.manifest.seen(written=True))

    def changed(self, work):
        with Reader(self.server.imap, self.user, PASSWORD) as reader:
            work(reader)
            return reader.everything()

    def test_new_mail_and_flags_follow(self):
        box = "Projekte/Größe"
        uids = [one["uid"] for one in self.manifest.mailboxes[box]]

        def work(reader):
            reader.append("INBOX", b"Subject: new\r\n\r\nnew mail\r\n", ["\\Flagged", "fresh"], 1710000000)
            reader.append("Sent", b"Subject: also new\r\n\r\nnew mail\r\n")
            reader.store(box, uids, "-", ["\\Seen", "\\Answered", "\\Flagged", "\\Draft"])
            reader.store(box, uids[:3], "+", ["\\Seen", "$Label1", "another-keyword"])
            reader.store(box, uids[3:5], "+", ["\\Deleted", "\\Answered"])
            reader.create("Brand new/Für später")
            reader.append("Brand new/Für später", b"Subject: x\r\n\r\ny\r\n")
        expected = self.changed(work)
        done, bodies, _ = self.bodies_sent(lambda: self.collect("--json", user=self.user), self.user)
        self.complete(done)
        self.assertEqual(bodies, 3)
        self.assertEqual(sums(reports(done)[1])["delivered"], 3)
        self.same_as(expected)
        _, bodies, _ = self.bodies_sent(lambda: self.complete(self.collect(user=self.user)), self.user)
        self.assertEqual(bodies, 0)

    def test_what_vanishes_at_the_source_is_kept(self):
        uids = [one["uid"] for one in self.manifest.mailboxes["INBOX"]]
        self.changed(lambda reader: reader.expunge("INBOX", uids[:4]))
        for _ in range(3):
            done = self.complete(self.collect("--json", user=self.user))
            self.same_as(self.manifest.seen(written=True))
        total = sums(reports(done)[1])
        self.assertEqual(total["failed"] + total["pending"], 0)
        self.assertEqual(total["listed"] - total["gone"], self.manifest.count() - 4)

    def test_what_the_owner_does_stays(self):
        """A mail reader works on the Maildir itself: flags, a removal, a move. The next runs respect and keep it."""
        self.server.add_user("owner", self.mail)
        boxes = ["INBOX", "Sent"]
        with Reader(self.server.imap, "owner", PASSWORD) as owner:
            inbox = owner.messages("INBOX")
            owner.store("INBOX", [one.uid for one in inbox[:2]], "+", ["\\Flagged"])
            owner.store("INBOX", [inbox[2].uid], "+", ["\\Answered", "own-keyword"])
            owner.expunge("Sent", [owner.messages("Sent")[0].uid])
            owner.command(f'SELECT "INBOX"')
            owner.command(f'UID MOVE {inbox[5].uid} "Sent"')
            mine = {box: owner.messages(box) for box in boxes}
        uid = self.manifest.mailboxes["INBOX"][8]["uid"]
        before = Seen(**{key: value for key, value in self.manifest.mailboxes["INBOX"][8].items() if key != "flags"},
                      flags=frozenset(self.manifest.mailboxes["INBOX"][8]["flags"]))
        self.changed(lambda reader: reader.store("INBOX", [uid], "+", ["\\Draft", "\\Seen", "\\Answered"]))
        for _ in range(2):
            done, bodies, _ = self.bodies_sent(lambda: self.collect(user=self.user), self.user)
            self.complete(done)
            self.assertEqual(bodies, 0)
        after = Seen(before.sha256, before.size, before.flags | {"\\draft", "\\seen", "\\answered"}, before.internaldate)
        expected = {**mine, "INBOX": [after if one.sha256 == before.sha256 else one for one in mine["INBOX"]]}
        found = self.foreign()[0]
        self.assertEqual(differences(expected, {box: found[box] for box in boxes}), "")

    def test_a_new_uidvalidity_repeats_nothing(self):
        """The server renumbers a mailbox: what is here is recognised by evidence."""
        path = self.server.folder / "mail" / self.user / ".Archive.2024"
        lines = (path / "dovecot-uidlist").read_text().splitlines()
        with open(path / "dovecot-uidlist", "w") as file:
            file.write(re.sub(r" V\d+ N\d+", " V1800000000 N900", lines[0]) + "\n")
            file.writelines(f"{100 + 2 * i} :{line.split(':', 1)[1]}\n" for i, line in enumerate(lines[1:]))
        for index in path.glob("dovecot.index*"):
            index.unlink()
        hand_over(path)
        with Reader(self.server.imap, self.user, PASSWORD) as reader:
            self.assertEqual(reader.uid_validity("Archive/2024"), 1800000000)
        for _ in range(2):
            self.complete(self.collect(user=self.user))
            self.same_as(self.manifest.seen(written=True))


class SetTests:
    """The shapes of the bench's sets: many small messages in a tree, realistic ones up to 8 MB, many mailboxes."""
    name, messages = "", 0

    @classmethod
    def fill(cls, maildir):
        return sample.write_set(cls.name, maildir, None if WHOLE else cls.messages if SLOW == 1 else cls.messages // 5)

    def test_equal_and_quiet_the_second_time(self):
        self.complete(self.collect())
        found, subscriptions = self.foreign()
        self.same_as(self.manifest.seen(written=True), found)
        self.assertEqual(subscriptions, self.manifest.subscriptions)
        before = snapshot(self.mail)
        done, bodies, _ = self.bodies_sent(self.collect)
        self.complete(done)
        self.assertEqual(bodies, 0)
        self.assertEqual(snapshot(self.mail), before)


class SmallMessagesTest(SetTests, World):
    name, messages = "a", 2000


class RealisticMessagesTest(SetTests, World):
    name, messages = "b", 300


class ManyMailboxesTest(SetTests, World):
    name, messages = "d", 500


if __name__ == "__main__":
    main()
