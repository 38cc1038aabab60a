#!/usr/bin/env python3
"""Jobs of kind push against a real Dovecot: a message is delivered within seconds of its arrival, whatever became of the
connection in between. Polls are a week apart here: what comes has been told."""
import pathlib
import shutil
import subprocess
import time

from dovecot import PASSWORD, server_account
from harness import SLOW, World, files_of
from service import Service, wait_for

WEEK = 10080


class WatchTest(World):
    def setUp(self):
        super().setUp()
        self.service = self.enterContext(Service(self.folder))
        self.owner = self.service.owner()
        self.account = self.expect(201, self.owner.post("/accounts", {"source": self.server.url("demo"), "password": PASSWORD,
                                                                      "ca": pathlib.Path(self.server.ca_file).read_text()}))["id"]
        destination = self.expect(201, self.owner.post("/destinations", {"path": "demo"}))["id"]
        self.job = self.expect(201, self.owner.post("/jobs", {"account": self.account, "destination": destination,
                                                              "schedule": {"kind": "push", "minutes": WEEK}}))["id"]
        self.mail = self.service.mail / "demo"
        self.listening()

    def expect(self, status, reply):
        self.assertEqual(reply.status, status, reply)
        return reply.json

    def now(self):
        return self.owner.get(f"/jobs/{self.job}").json

    def listening(self, patience=30):
        return wait_for("a connection that listens, and a job at rest",
                        lambda: (now := self.now()).get("listening") and now["state"] == "idle" and now, patience)

    def arrive(self, name):
        """A message arrives at the server; returns the seconds until its copy is there."""
        at = self.source / "new" / f"1700000000.{name}.test"
        staged = self.source / "tmp" / at.name
        staged.write_text(f"Subject: {name}\nMessage-ID: <{name}@test>\n\nhello {name}\n")
        shutil.chown(staged, *self.owner_of())
        before, began = len(files_of(self.mail)), time.monotonic()
        staged.rename(at)
        wait_for("its copy", lambda: len(files_of(self.mail)) > before, 20)
        return time.monotonic() - began

    def owner_of(self):
        at = (self.source / "new").stat()
        return at.st_uid, at.st_gid

    def test_mail_is_delivered_within_seconds(self):
        for name in ("one", "two", "three"):
            self.assertLess(self.arrive(name), 5 * SLOW)
        self.same_as(self.read_source())
        runs = self.expect(200, self.owner.get(f"/runs?job={self.job}"))["items"]
        self.assertEqual({one["trigger"] for one in runs[:3]}, {"push"}, runs)
        self.assertGreater(self.now()["next_run"], time.time() + 86400)

    def test_other_mailboxes_tell_too_where_the_server_has_notify(self):
        box = "Elsewhere"
        account = server_account()
        save = lambda text: subprocess.run(["doveadm", "-c", str(self.server.folder / "dovecot.conf"), "save", "-u", "demo", "-m", box],
                                           input=text, text=True, check=True, user=account.pw_uid, group=account.pw_gid, cwd="/",
                                           capture_output=True)
        subprocess.run(["doveadm", "-c", str(self.server.folder / "dovecot.conf"), "mailbox", "create", "-u", "demo", box], check=True,
                       user=account.pw_uid, group=account.pw_gid, cwd="/", capture_output=True)
        save("Subject: first\n\nfirst\n")  # a new mailbox is found by the next poll
        self.expect(202, self.owner.post(f"/jobs/{self.job}/run"))
        wait_for("the first", lambda: any(box in str(one) for one in files_of(self.mail)))
        self.listening()
        before, began = len(files_of(self.mail)), time.monotonic()
        save("Subject: second\n\nsecond\n")
        wait_for("its copy", lambda: len(files_of(self.mail)) > before, 20)
        self.assertLess(time.monotonic() - began, 5 * SLOW)

    def test_a_server_that_was_away_is_listened_to_again(self):
        self.server.ports = (self.server.imap, self.server.imaps)
        self.server.process.terminate()
        self.server.process.wait(20)
        wait_for("the end of the connection", lambda: not self.now().get("listening"))
        self.server._start()
        self.listening(60)
        self.assertLess(self.arrive("back"), 5 * SLOW)

    def test_paused_nobody_listens(self):
        self.expect(200, self.owner.patch(f"/jobs/{self.job}", {"paused": True}))
        wait_for("silence", lambda: not self.now().get("listening"))
        self.assertEqual(self.expect(200, self.owner.get("/system"))["listening"], 0)
        self.expect(200, self.owner.patch(f"/jobs/{self.job}", {"paused": False}))
        self.listening()
        self.assertLess(self.arrive("again"), 5 * SLOW)


if __name__ == "__main__":
    from harness import main
    main()
