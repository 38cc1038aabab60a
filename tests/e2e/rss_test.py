#!/usr/bin/env python3
"""Small: the peak memory of the first collection of one large mailbox, and of one huge message."""
import hashlib
import json
import os
import subprocess
import unittest

from dovecot import hand_over
from harness import MAILHAUL, WHOLE, World, environment, main
from sample import gen

LIMIT = 24 * 1024  # KiB
LABRUN = os.environ.get("LABRUN", "labrun")


class MemoryTest(World):
    def peak(self, user):
        done = subprocess.run([LABRUN, "-t", "600", "-o", str(self.folder / "log"), "--", MAILHAUL, "collect", self.server.url(user),
                               f"maildir:{self.mail}", "--ca-file", self.server.ca_file], capture_output=True, text=True,
                              env=environment(), check=True)
        figures = json.loads(done.stdout)
        self.assertEqual(figures["rc"], 0, (self.folder / "log").read_text()[-2000:])
        print(f"{user}: peak {figures['rss_kb'] / 1024:.1f} MiB, {figures['wall']:.1f} s", flush=True)
        return figures["rss_kb"]

    def test_one_large_mailbox(self):
        count = 200_000 if WHOLE else 20_000
        maildir = self.server.folder / "mail" / "large"
        gen.write_set("c", maildir, count)
        self.server.add_user("large", maildir)
        self.assertLessEqual(self.peak("large"), LIMIT)
        self.assertEqual(len(os.listdir(self.mail / "cur")), count)
        self.assertLessEqual(self.peak("large"), LIMIT)  # and the run that finds nothing new

    def test_one_huge_message(self):
        octets = (1 << 30) if WHOLE else 100 << 20
        maildir = self.server.folder / "mail" / "huge"
        line = b"0123456789" * 7 + b"\r\n"
        with gen.MailboxWriter(str(maildir), "INBOX", 1) as mailbox:
            path = maildir / "cur" / "huge"
            with open(path, "wb") as file:
                file.write(b"Subject: huge\r\n\r\n")
                thousands = octets // len(line) // 1000 + 1
                for _ in range(thousands):
                    file.write(line * 1000)
            size = path.stat().st_size
            name = f"{gen.BASE}.M0P1.lab,S={size},W={size}"
            path.rename(path.with_name(name + ":2,S"))
            mailbox.lines.append(f"1 :{name}\n")
            mailbox.uid = 1
        hand_over(maildir)
        self.server.add_user("huge", maildir)
        self.assertLessEqual(self.peak("huge"), LIMIT)
        stored = [path.stat().st_size for path in (self.mail / "cur").iterdir()]
        self.assertEqual(stored, [size - 2 - 1000 * thousands])  # line ends are LF on disk

    @unittest.skipUnless(WHOLE, "10 GiB of disk; set MAILHAUL_WHOLE")
    def test_d53_five_gibibytes(self):
        """More than 32 bits can say: byte for byte, in the same memory."""
        maildir = self.server.folder / "mail" / "five"
        block = b"0123456789" * 7 + b"\n"
        head, thousands = b"Subject: five\n\n", (5 << 30) // len(block) // 1000 + 1
        digest = hashlib.sha256(head)
        with gen.MailboxWriter(str(maildir), "INBOX", 1) as mailbox:
            path = maildir / "cur" / "five"
            with open(path, "wb") as file:
                file.write(head)
                for _ in range(thousands):
                    file.write(block * 1000)
                    digest.update(block * 1000)
            size = path.stat().st_size
            name = f"{gen.BASE}.M0P1.lab,S={size},W={size + 2 + 1000 * thousands}"
            path.rename(path.with_name(name + ":2,S"))
            mailbox.lines.append(f"1 :{name}\n")
            mailbox.uid = 1
        hand_over(maildir)
        self.server.add_user("five", maildir)
        self.assertLessEqual(self.peak("five"), LIMIT)
        stored = list((self.mail / "cur").iterdir())
        self.assertEqual(len(stored), 1)
        with open(stored[0], "rb") as file:
            self.assertEqual(hashlib.file_digest(file, "sha256").hexdigest(), digest.hexdigest())


if __name__ == "__main__":
    main()
