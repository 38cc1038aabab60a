#!/usr/bin/env python3
"""collect --final: may the source be closed? The answer is held against what is planted, not against the ledger."""
import json

from dovecot import PASSWORD
from harness import World, files_of, main
from imap_reader import Reader


class FinalTest(World):
    def final(self, *options, code=0, how="--final"):
        done = self.collect(how, *options)
        self.assertEqual(done.returncode, code, done.stdout[-3000:] + done.stderr[-2000:])
        return done.stdout

    def test_it_may_be_closed_and_everything_is_here(self):
        said = self.final(how="--final=deep")
        self.assertIn("The source may be closed: all that it has is here, compared octet by octet.", said)
        self.assertNotIn("must not", said)
        self.same_as(self.manifest.seen(written=True))
        report = json.loads(self.final("--json").splitlines()[-1])
        self.assertEqual((report["event"], report["final"]["may_close"], report["final"]["obstacles"]), ("report", True, []))

    def test_a_file_that_is_lost_or_altered_prevents_it(self):
        self.complete(self.collect())
        hurt = max(files_of(self.mail), key=lambda path: path.stat().st_size)
        hurt.write_bytes(hurt.read_bytes().replace(b"e", b"E", 1))
        self.assertIn("The source may be closed", self.final())  # by number, UID and size: that is what it says
        said = self.final(how="--final=deep", code=1)
        self.assertIn("must not be closed yet", said)
        self.assertRegex(said, r"UID \d+: .*octets")

    def test_what_could_not_be_collected_prevents_it(self):
        blocked = self.mail / "cur"
        self.complete(self.collect("--include", "INBOX"))
        blocked.rename(self.mail / "aside")
        blocked.write_text("in the way")  # the Maildir cannot be used
        done = self.collect("--final")
        self.assertNotEqual(done.returncode, 0)
        self.assertNotIn("may be closed", done.stdout)

    def test_what_is_left_out_is_named(self):
        with Reader(self.server.imap, "demo", PASSWORD) as reader:
            others = sorted(name for name in reader.mailboxes() if name != "INBOX")
        said = self.final("--include", "INBOX")
        self.assertIn("Not collected, as you wished", said)
        for name in others:
            self.assertIn(f"{name}: all of it", said)
        self.assertRegex(self.final("--exclude", "INBOX", "--max-size", "1"), r"Not collected, as you wished[\s\S]*: [1-9]\d* messages?\n[\s\S]*INBOX: all of it")

    def test_it_does_not_go_with_a_dry_run(self):
        self.assertIn("--dry-run", self.collect("--final", "--dry-run").stderr)


if __name__ == "__main__":
    main()
