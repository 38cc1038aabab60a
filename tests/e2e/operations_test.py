#!/usr/bin/env python3
"""Whoever runs the service: numbers that Prometheus takes, a log that can be made quieter, an audit log that does not lose
anything in silence, and what becomes of damaged files and full disks."""
import os
import shutil
import sqlite3
import subprocess
import unittest

import sample
from harness import MAILHAUL, SLOW, environment
from service import wait_for
from service_test import ServiceWorld

PROMTOOL = shutil.which("promtool")
COULD_NOT_RUN = 3


class OperationsTest(ServiceWorld):
    def token(self, *scopes):
        return self.expect(201, self.owner.post("/tokens", {"name": "t", "scopes": list(scopes)}))["secret"]

    @unittest.skipUnless(PROMTOOL, "needs promtool (apt-get install prometheus)")
    def test_prometheus_has_nothing_to_complain_of(self):
        self.settled(self.job()["id"])
        text = self.service.client(self.token("metrics")).get("/metrics").text
        checked = subprocess.run([PROMTOOL, "check", "metrics"], input=text, capture_output=True, text=True, timeout=60 * SLOW)
        self.assertEqual((checked.returncode, checked.stdout, checked.stderr), (0, "", ""))

    def test_the_log_is_made_quieter_and_louder(self):
        token = self.folder / "token"
        token.write_text(self.token("admin", "read"))

        def level(name):
            self.assertEqual(self.expect(200, self.owner.patch("/system", {"log_level": name}))["log_level"], name)
        self.assertEqual(self.owner.patch("/system", {"log_level": "shouting"}).status, 422)
        first = subprocess.run([MAILHAUL, "api", "--server", f"http://127.0.0.1:{self.service.port}", "--token-file", token, "PATCH", "/system",
                                '{"log_level": "error"}'], capture_output=True, text=True, env=environment(None), timeout=60 * SLOW)
        self.assertEqual(first.returncode, 0, first.stderr)
        channel = self.expect(201, self.owner.post("/channels", {"kind": "webhook", "url": "http://127.0.0.1:9/", "allow_plaintext": True}))

        def warn():  # the channel cannot be told of a refused login, which is a warning
            job = self.job(path=f"to{len(os.listdir(self.folder))}", paused=True)
            self.expect(200, self.owner.patch(f"/accounts/{job['account']}", {"password": "wrong"}))
            before = len(self.said("was not told"))
            self.expect(202, self.owner.post(f"/jobs/{job['id']}/run"))
            wait_for("the try", lambda: self.expect(200, self.owner.get(f"/channels/{channel['id']}")).get("error"))
            return before
        warn()
        self.assertEqual(self.said("was not told"), [])
        level("warning")
        self.expect(204, self.owner.delete(f"/channels/{channel['id']}"))
        channel = self.expect(201, self.owner.post("/channels", {"kind": "webhook", "url": "http://127.0.0.1:9/", "allow_plaintext": True}))
        (self.folder / "other").touch()
        warn()
        wait_for("the warning", lambda: self.said("was not told"))

    def said(self, what):
        return [line for line in self.service.lines if what in line]

    def test_what_the_audit_log_cannot_take_is_told(self):
        metrics = self.token("metrics")
        with sqlite3.connect(self.service.data / "service.db", timeout=30 * SLOW) as other:
            other.execute("CREATE TRIGGER no_space BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no space'); END")
        other.close()
        self.expect(201, self.owner.post("/destinations", {"path": "unheard"}))
        wait_for("the line", lambda: self.said("not in the audit log: owner, add destination destination 1 (done)"))
        self.assertEqual(self.expect(200, self.owner.get("/system"))["audit_lost"], 1)
        self.assertIn("mailhaul_audit_notes_lost_total 1\n", self.service.client(metrics).get("/metrics").text)


class FaultsTest(ServiceWorld):
    @classmethod
    def fill(cls, maildir):
        return sample.write_small(maildir, 150, 3)

    def refused(self):
        env = environment(None, MAILHAUL_DATA=str(self.service.data), MAILHAUL_MAIL=str(self.service.mail), MAILHAUL_LISTEN="127.0.0.1:0")
        ended = subprocess.run([MAILHAUL, "serve"], capture_output=True, text=True, env=env, timeout=60 * SLOW)
        self.assertEqual(ended.returncode, COULD_NOT_RUN, ended.stderr)
        return ended.stderr

    def test_a_damaged_database_is_refused_wherever_the_damage_is_and_a_backup_helps(self):
        job = self.settled(self.job()["id"])
        backup = self.folder / "backup.db"
        env = environment(None, MAILHAUL_DATA=str(self.service.data), MAILHAUL_MAIL=str(self.service.mail))
        subprocess.run([MAILHAUL, "backup", backup], check=True, env=env, capture_output=True, timeout=60 * SLOW)
        self.service.stop()
        database = self.service.data / "service.db"
        whole = database.read_bytes()
        page = int.from_bytes(whole[16:18], "big")
        refused = 0
        for number in range(1, len(whole) // page):  # every page but the first, one after another
            if not any(whole[number * page:(number + 1) * page]):
                continue
            database.write_bytes(whole[:number * page] + b"\xa5" * page + whole[(number + 1) * page:])
            if number % 7 == 1:  # the others alike; a sample keeps the test short
                self.assertIn("Restore a backup", self.refused())
                refused += 1
        self.assertGreater(refused, 2)
        subprocess.run([MAILHAUL, "restore", backup], check=True, env=env, capture_output=True, timeout=60 * SLOW)
        self.service.start()
        self.owner = self.service.owner()
        self.assertEqual(self.expect(200, self.owner.get(f"/jobs/{job['id']}"))["counts"]["delivered"], job["counts"]["delivered"])
        self.expect(202, self.owner.post(f"/jobs/{job['id']}/run"))
        self.settled(job["id"])
        self.mail = self.service.mail / "demo"
        self.same_as(self.read_source())

    def test_lost_write_ahead_logs_cost_no_mail_and_double_none(self):
        job = self.job()
        self.settled(job["id"])
        self.service.kill()
        for log in [*self.service.data.glob("*-wal"), *self.service.mail.rglob("*-wal")]:
            log.unlink()
        self.service.start()
        # What was not in the main file yet is not there any more; it is set up anew where need be.
        self.owner = self.service.owner()
        if self.owner.get(f"/jobs/{job['id']}").status == 200:
            self.expect(202, self.owner.post(f"/jobs/{job['id']}/run"))
        else:
            job = self.job()
        self.settled(job["id"])
        self.mail = self.service.mail / "demo"
        self.same_as(self.read_source())

    @unittest.skipUnless(os.getuid() == 0, "needs root, to mount a small file system")
    def test_a_disk_that_fills_under_a_run_and_is_freed(self):
        small = self.service.mail / "small"
        small.mkdir()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "small", small], capture_output=True, text=True)
        if mounted.returncode != 0:
            self.skipTest(f"cannot mount: {mounted.stderr}")
        self.addCleanup(subprocess.run, ["umount", "-l", small], check=False)
        ballast = small / "ballast"
        with open(ballast, "wb") as file:  # leaves room for the ledger, and for some of the mail
            file.write(b"x" * (os.statvfs(small).f_bavail * os.statvfs(small).f_frsize - 320 * 1024))
        job = self.job(path="small/demo")
        stuck = self.settled(job["id"], states=("waiting", "attention"))
        self.assertRegex(stuck["error"], r"(?i)space|full")
        self.assertTrue((small / "demo" / "mailhaul" / "state.db").exists(), "it filled under the run, not before")
        self.assertEqual(self.owner.get("/healthz").status, 200)
        ballast.unlink()
        self.expect(202, self.owner.post(f"/jobs/{job['id']}/run"))
        self.settled(job["id"], states=("idle",))
        self.mail = small / "demo"
        self.same_as(self.read_source())
        self.assertEqual([one for one in self.mail.rglob("tmp/*")], [], "what did not fit is swept")


if __name__ == "__main__":
    from harness import main
    main()
