#!/usr/bin/env python3
"""What happens to a real server: its process dies in mid-fetch, its index files are lost, its UIDVALIDITY changes, mail waits to be expunged."""
import os
import pathlib
import re
import shutil
import signal

import sample
from dovecot import PASSWORD, hand_over, wait_for
from harness import SLOW, Proxy, World, main, reports, run, snapshot, start, sums
from imap_reader import Reader


def children(parent, name):
    """Process ids of the children that have this name."""
    found = []
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, own_name, rest = re.fullmatch(r"(\d+) \((.*)\) (.*)", stat.read_text().strip(), re.DOTALL).groups()
        except OSError:
            continue  # it has ended meanwhile
        if own_name == name and int(rest.split()[1]) == parent:
            found.append(int(pid))
    return found


class MishapsTest(World):
    users = 0

    @classmethod
    def fill(cls, maildir):
        return sample.write_small(maildir, 60, 6)

    def setUp(self):
        super().setUp()
        MishapsTest.users += 1
        self.user = f"user{MishapsTest.users}"
        self.place = self.server.folder / "mail" / self.user
        shutil.copytree(self.source, self.place, copy_function=shutil.copy2, ignore=shutil.ignore_patterns("dovecot.*"))
        self.server.add_user(self.user)

    def reader(self):
        return Reader(self.server.imap, self.user, PASSWORD)

    def nothing_is_sent_again(self, expected):
        """Two runs that fetch no body and leave what should be there."""
        for _ in range(2):
            done, bodies, _ = self.bodies_sent(lambda: self.collect("--json", user=self.user), self.user)
            self.complete(done)
            self.assertEqual((bodies, sums(reports(done)[1])["delivered"]), (0, 0))
            self.same_as(expected)
        before = snapshot(self.mail)
        self.complete(self.collect(user=self.user))
        self.assertEqual(snapshot(self.mail), before)

    def remove_from_server(self, *patterns):
        removed = [path for pattern in patterns for path in self.place.rglob(pattern) if path.is_file()]
        for path in removed:
            path.unlink()
        self.assertGreater(len(removed), 0)

    def test_the_server_process_is_killed_in_mid_fetch(self):
        with self.reader() as reader:
            for i in range(48):
                reader.append("INBOX" if i % 2 else "Sent", b"Subject: %d\r\n\r\n" % i + b"0123456789abcdef\r\n" * 30_000, [], 1_710_000_000 + i)
            expected = reader.everything()
        with Proxy(self.server.imaps) as proxy:
            command = ["collect", f"imaps://{self.user}@localhost:{proxy.port}", f"maildir:{self.mail}", "--ca-file", self.server.ca_file]
            for megabytes in (2, 20):
                proxy.again(hold_after=megabytes << 20)
                process = start(*command)
                self.assertTrue(proxy.held.wait(60 * SLOW))
                victims = children(self.server.process.pid, "imap")
                self.assertGreater(len(victims), 0)
                for pid in victims:
                    os.kill(pid, signal.SIGKILL)
                wait_for(lambda: not set(victims) & set(children(self.server.process.pid, "imap")), 10, "the processes to be gone")
                proxy.release()
                process.communicate(timeout=120 * SLOW)
                self.assertIn(process.returncode, (0, 1))
                if process.returncode:
                    self.complete(run(*command))
                self.same_as(expected)
                shutil.rmtree(self.mail)

    def test_the_index_files_are_lost(self):
        self.complete(self.collect(user=self.user))
        self.remove_from_server("dovecot.index*", "dovecot.list.index*")
        self.nothing_is_sent_again(self.manifest.seen(written=True))

    def test_all_that_the_server_knows_but_the_mail_is_lost(self):
        """UIDs and UIDVALIDITY as well: every message is another one to the server."""
        self.complete(self.collect(user=self.user))
        self.remove_from_server("dovecot.index*", "dovecot.list.index*", "dovecot-uidlist", "dovecot-uidvalidity*")
        self.nothing_is_sent_again(self.manifest.seen(written=True))

    def test_the_uidvalidity_is_changed_by_hand(self):
        self.complete(self.collect(user=self.user))
        for number, uidlist in enumerate(sorted(self.place.rglob("dovecot-uidlist"))):
            head, _, rest = uidlist.read_text().partition("\n")
            uidlist.write_text(re.sub(r" V\d+ ", f" V{1_800_000_000 + number} ", head) + "\n" + rest)
            for index in uidlist.parent.glob("dovecot.index*"):
                index.unlink()
        hand_over(self.place)
        with self.reader() as reader:
            self.assertEqual({reader.uid_validity(name) // 100 for name in reader.mailboxes()}, {18_000_000})
        self.nothing_is_sent_again(self.manifest.seen(written=True))

    def test_a_mailbox_full_of_deleted_mail(self):
        with self.reader() as reader:
            reader.store("Archive/2024", ["1:*"], "+", ["\\Deleted"])
            expected = reader.everything()
        self.assertTrue(all("\\deleted" in one.flags for one in expected["Archive/2024"]))
        self.complete(self.collect(user=self.user))
        self.same_as(expected)
        self.nothing_is_sent_again(expected)
        with self.reader() as reader:
            reader.command('SELECT "Archive/2024"')
            reader.command("EXPUNGE")
        self.nothing_is_sent_again(expected)
        self.complete(self.collect("--on-source-delete", "remove", "--grace", "0", user=self.user))
        self.same_as(expected)  # held: all of a mailbox


if __name__ == "__main__":
    main()
