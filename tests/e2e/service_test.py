#!/usr/bin/env python3
"""The service end to end: a real Dovecot, `mailhaul serve`, and everything over the REST API."""
import http.client
import os
import pathlib
import random
import re
import shutil
import subprocess
import threading
import time

import sample
from dovecot import PASSWORD
from harness import SLOW, WHOLE, World, environment, files_of, run
from service import Service, wait_for


def body_of(path):
    return pathlib.Path(path).read_text()


class ServiceWorld(World):
    def setUp(self):
        super().setUp()
        self.service = self.enterContext(Service(self.folder))
        self.owner = self.service.owner()
        self.ca = body_of(self.server.ca_file)

    def expect(self, status, reply):
        self.assertEqual(reply.status, status, reply)
        return reply.json

    def account(self, client=None, password=PASSWORD, **more):
        body = {"source": self.server.url("demo"), "password": password, "ca": self.ca, **more}
        return self.expect(201, (client or self.owner).post("/accounts", body))

    def job(self, client=None, path="demo", **more):
        client = client or self.owner
        account = self.account(client)
        destination = self.expect(201, client.post("/destinations", {"path": path}))
        return self.expect(201, client.post("/jobs", {"account": account["id"], "destination": destination["id"], **more}))

    @staticmethod
    def owner_of(path):
        at = path.stat()
        return at.st_uid, at.st_gid

    def settled(self, job, client=None, states=("idle", "finished", "attention", "waiting"), patience=60):
        def look():
            now = (client or self.owner).get(f"/jobs/{job}").json
            return now if now["state"] in states and "progress" not in now else None
        return wait_for(f"job {job} at rest", look, patience)


class CollectTest(ServiceWorld):
    def test_an_account_is_collected_and_new_mail_follows(self):
        job = self.job()
        done = self.settled(job["id"])
        self.assertEqual((done["state"], done["counts"]["delivered"]), ("idle", sum(map(len, self.read_source().values()))), done)
        self.mail = self.service.mail / "demo"
        self.same_as(self.read_source())
        runs = self.expect(200, self.owner.get(f"/runs?job={job['id']}"))["items"]
        self.assertEqual([(one["kind"], one["state"], one["trigger"]) for one in runs], [("collect", "complete", "schedule")])
        self.assertEqual(self.expect(200, self.owner.get(f"/runs/{runs[0]['id']}"))["report"]["sum"]["delivered"], done["counts"]["delivered"])
        boxes = self.expect(200, self.owner.get(f"/jobs/{job['id']}/mailboxes"))["items"]
        self.assertEqual(sum(one["counts"]["delivered"] for one in boxes), done["counts"]["delivered"])
        # Nothing new: nothing is told, and no run is kept.
        self.expect(202, self.owner.post(f"/jobs/{job['id']}/run"))
        wait_for("a second run", lambda: len(self.owner.get(f"/runs?job={job['id']}").json["items"]) == 2)
        self.settled(job["id"])
        seen, cursor = [], ""
        while True:
            page = self.expect(200, self.owner.get(f"/jobs/{job['id']}/messages?limit=7&cursor={cursor}"))
            seen += [(one["mailbox"], one["uid"]) for one in page["items"]]
            cursor = page.get("next", "")
            if not cursor:
                break
        self.assertEqual((len(seen), len(set(seen))), (done["counts"]["delivered"],) * 2)

    def test_a_wrong_password_is_told_with_its_remedy_and_a_new_one_is_tried_at_once(self):
        account = self.account(password="wrong")
        report = self.expect(200, self.owner.post(f"/accounts/{account['id']}/test"))
        self.assertEqual([step["ok"] for step in report["steps"]], [True, True, True, False], report)
        destination = self.expect(201, self.owner.post("/destinations", {"path": "demo"}))
        job = self.expect(201, self.owner.post("/jobs", {"account": account["id"], "destination": destination["id"]}))
        now = self.settled(job["id"])
        self.assertEqual(now["state"], "attention", now)
        self.assertIn("password", now["error"] + now.get("advice", ""))
        self.assertFalse((self.service.mail / "demo").exists())
        self.expect(200, self.owner.patch(f"/accounts/{account['id']}", {"password": PASSWORD}))
        wait_for("mail", lambda: self.owner.get(f"/jobs/{job['id']}").json["state"] == "idle")
        self.assertTrue(files_of(self.service.mail / "demo"))

    def test_another_host_wants_the_password_again(self):
        account = self.account()
        moved = self.owner.patch(f"/accounts/{account['id']}", {"source": "imaps://demo@elsewhere.invalid"})
        self.assertEqual((moved.status, moved.json["field"]), (422, "password"), moved)

    def test_preview_writes_nothing_verify_proves(self):
        job = self.job(paused=True)
        run_row = self.expect(202, self.owner.post(f"/jobs/{job['id']}/preview"))
        shown = wait_for("the preview", lambda: (one := self.owner.get(f"/runs/{run_row['id']}").json)["state"] == "complete" and one)
        self.assertTrue(shown["report"]["mailboxes"])
        self.assertFalse((self.service.mail / "demo").exists())
        self.expect(200, self.owner.patch(f"/jobs/{job['id']}", {"paused": False}))
        self.settled(job["id"])
        run_row = self.expect(202, self.owner.post(f"/jobs/{job['id']}/verify", {"deep": True}))
        done = wait_for("the proof", lambda: (one := self.owner.get(f"/runs/{run_row['id']}").json)["state"] not in ("queued", "running") and one)
        self.assertEqual((done["state"], done["failed"]), ("complete", 0), done)

    def test_killed_it_goes_on_where_it_was(self):
        job = self.job()
        for _ in range(5):
            self.service.kill()
            self.service.start()
            self.owner = self.service.owner()
        wait_for("all mail", lambda: self.owner.get(f"/jobs/{job['id']}").json["state"] == "idle")
        self.mail = self.service.mail / "demo"
        self.same_as(self.read_source())

    def test_killed_at_random_moments_under_load(self):
        """kill -9 while several jobs collect and mail keeps arriving: nothing lost, nothing twice, no job stuck."""
        luck, users, jobs = random.Random(int(os.environ.get("MAILHAUL_SEED", "1"))), ["one", "two", "three"], {}
        rounds = 500 if WHOLE else 12
        for user in users:
            maildir = self.server.folder / "mail" / user
            sample.write_small(maildir, 12, 3)
            self.server.add_user(user, maildir)
            account = self.expect(201, self.owner.post("/accounts", {"source": self.server.url(user), "password": PASSWORD, "ca": self.ca}))
            destination = self.expect(201, self.owner.post("/destinations", {"path": user}))
            jobs[user] = self.expect(201, self.owner.post("/jobs", {"account": account["id"], "destination": destination["id"]}))["id"]
        for number in range(rounds):
            for user in users:
                new = self.server.folder / "mail" / user / "new" / f"17{number:08}.R{number}.load"
                new.write_text(f"Subject: {user} {number}\nMessage-ID: <{user}.{number}@load>\n\nletter {number}\n" + "x" * luck.randrange(20000))
                shutil.chown(new, *self.owner_of(new.parent))
                self.owner.post(f"/jobs/{jobs[user]}/run")
            time.sleep(luck.random() * 0.4 * SLOW)
            self.service.kill()
            self.service.start()
            self.owner = self.service.owner()
        for user in users:
            self.expect(202, self.owner.post(f"/jobs/{jobs[user]}/run"))
        for user in users:
            self.settled(jobs[user], states=("idle",))
            expected = self.read_source(user)
            wait_for(f"all mail of {user}", lambda: len(files_of(self.service.mail / user)) == sum(map(len, expected.values())), 30)
            self.same_as(expected, self.foreign(self.service.mail / user)[0])

    def test_many_sources_into_one_destination(self):
        self.server.add_user("second", self.source)
        destination = self.expect(201, self.owner.post("/destinations", {"path": "both"}))
        jobs = []
        for user in ("demo", "second"):
            account = self.expect(201, self.owner.post("/accounts", {"source": self.server.url(user), "password": PASSWORD, "ca": self.ca}))
            jobs.append(self.expect(201, self.owner.post("/jobs", {"account": account["id"], "destination": destination["id"]})))
        counts = [self.settled(job["id"])["counts"]["delivered"] for job in jobs]
        self.assertEqual(len(files_of(self.service.mail / "both")), sum(counts))

    def test_csv_import_says_what_became_of_every_line(self):
        csv = ("source,password,destination\r\n"
               f"{self.server.url('demo')},{PASSWORD},imported\r\n"
               "nonsense://x,y,z\r\n"
               f'"{self.server.url("demo")}",{PASSWORD},../outside\r\n')
        report = self.expect(200, self.owner.post("/accounts/import", raw=csv.encode(), kind="text/csv"))
        self.assertEqual([(one["line"], one["ok"]) for one in report["lines"]], [(2, True), (3, False), (4, False)], report)
        self.assertEqual(len(self.expect(200, self.owner.get("/accounts"))["items"]), 1)

    def test_removed_jobs_and_accounts_leave_the_mail(self):
        job = self.job()
        self.settled(job["id"])
        files = files_of(self.service.mail / "demo")
        self.expect(204, self.owner.delete(f"/accounts/{job['account']}"))
        self.assertEqual(self.owner.get(f"/jobs/{job['id']}").status, 404)
        self.assertEqual(files_of(self.service.mail / "demo"), files)
        again = self.job(path="other")
        self.assertEqual(self.settled(again["id"])["state"], "idle")


class AccessTest(ServiceWorld):
    def test_nothing_without_a_login_and_the_setup_token_works_once(self):
        nobody = self.service.client()
        self.assertEqual(nobody.get("/jobs").status, 401)
        self.assertEqual(nobody.post("/setup", {"token": "x", "name": "y", "password": "long enough a password"}).status, 409)
        self.assertEqual(nobody.log_in("owner", "wrong wrong wrong").status, 422)
        self.assertFalse((self.service.data / "setup-token").exists())

    def test_everyone_sees_their_own(self):
        for name, role in (("ann", "operator"), ("bob", "operator"), ("eve", "viewer")):
            self.expect(201, self.owner.post("/users", {"name": name, "password": f"the words of {name}", "role": role}))
        clients = {}
        for name in ("ann", "bob", "eve"):
            clients[name] = self.service.client()
            self.expect(201, clients[name].log_in(name, f"the words of {name}"))
        job = self.job(clients["ann"])
        for name, status in (("ann", 200), ("bob", 404), ("eve", 404)):
            for path in (f"/jobs/{job['id']}", f"/accounts/{job['account']}", f"/destinations/{job['destination']}", f"/jobs/{job['id']}/messages"):
                self.assertEqual(clients[name].get(path).status, status, (name, path))
        self.assertEqual(self.owner.get(f"/jobs/{job['id']}").status, 200)
        self.assertEqual(clients["bob"].delete(f"/jobs/{job['id']}").status, 404)
        self.assertEqual(clients["eve"].post("/accounts", {"source": "imaps://a@b.example"}).status, 403)
        self.assertEqual(clients["ann"].get("/audit").status, 403)
        self.assertEqual(clients["ann"].post("/users", {"name": "x", "password": "a very long one", "role": "owner"}).status, 403)

    def test_tokens_have_scopes_and_end(self):
        made = self.expect(201, self.owner.post("/tokens", {"name": "script", "scopes": ["read"]}))
        script = self.service.client(made["secret"])
        self.assertEqual(script.get("/jobs").status, 200)
        self.assertEqual(script.post("/accounts", {"source": "imaps://a@b.example"}).status, 403)
        self.assertEqual(script.post("/tokens", {"name": "more", "scopes": ["read"]}).status, 403)
        self.expect(204, self.owner.delete(f"/tokens/{made['token']['id']}"))
        self.assertEqual(script.get("/jobs").status, 401)

    def test_another_site_cannot_act(self):
        self.assertEqual(self.owner.post("/destinations", {"path": "x"}, headers={"X-CSRF-Token": "no"}).status, 403)
        self.assertEqual(self.owner.post("/destinations", {"path": "x"}, headers={"Origin": "https://evil.example"}).status, 403)
        self.assertEqual(self.owner.post("/destinations", {"path": "x"}, headers={"Sec-Fetch-Site": "cross-site"}).status, 403)
        self.assertEqual(self.owner.get("/jobs", headers={"Host": "evil.example"}).status, 421)

    def test_versions_and_keys(self):
        account = self.account()
        old = self.owner.get(f"/accounts/{account['id']}").headers["ETag"]
        self.expect(200, self.owner.patch(f"/accounts/{account['id']}", {"name": "new"}, headers={"If-Match": old}))
        self.assertEqual(self.owner.patch(f"/accounts/{account['id']}", {"name": "newer"}, headers={"If-Match": old}).status, 412)
        first = self.owner.post("/destinations", {"path": "one"}, headers={"Idempotency-Key": "k1"})
        again = self.owner.post("/destinations", {"path": "one"}, headers={"Idempotency-Key": "k1"})
        self.assertEqual((first.status, again.status, first.json), (201, 201, again.json))
        self.assertEqual(self.owner.post("/destinations", {"path": "two"}, headers={"Idempotency-Key": "k1"}).status, 409)

    def test_secrets_are_nowhere(self):
        canary = "canary-7f3a-password"
        account = self.account(password=canary)
        self.owner.post(f"/accounts/{account['id']}/test")
        seen = self.owner.get(f"/accounts/{account['id']}").text + self.owner.get("/audit").text + "\n".join(self.service.lines)
        self.assertNotIn(canary, seen)
        backup = self.folder / "copy.db"
        done = run("backup", backup, env=environment(None, MAILHAUL_DATA=str(self.service.data)))
        self.assertEqual(done.returncode, 0, done.stderr)
        for path in [backup, *self.service.data.rglob("*")]:
            if path.is_file():
                self.assertNotIn(canary.encode(), path.read_bytes(), path)
        for name in ("cmdline", "environ"):
            self.assertNotIn(canary.encode(), pathlib.Path(f"/proc/{self.service.process.pid}/{name}").read_bytes())

    def test_the_key_is_rotated_and_a_lost_one_is_told(self):
        job = self.job()
        self.settled(job["id"])
        env = environment(None, MAILHAUL_DATA=str(self.service.data), MAILHAUL_MAIL=str(self.service.mail))
        self.assertEqual(run("key", "verify", env=env).returncode, 3)  # while it serves
        self.service.stop()
        before = sorted((self.service.data / "keys").iterdir())
        self.assertEqual(run("key", "rotate", env=env).returncode, 0)
        after = sorted((self.service.data / "keys").iterdir())
        self.assertNotEqual(before, after)
        self.assertEqual(len(after), 1)
        self.service.start()
        self.owner = self.service.owner()
        self.expect(200, self.owner.post(f"/accounts/{job['account']}/test"))
        self.service.stop()
        shutil.rmtree(self.service.data / "keys")
        verified = run("key", "verify", env=env)
        self.assertEqual(verified.returncode, 3)
        self.assertIn("cannot be opened", verified.stderr)


class OperationsTest(ServiceWorld):
    def test_health_metrics_events_and_a_quiet_end(self):
        self.assertEqual(self.owner.get("/healthz").text, "ok\n")
        self.assertEqual(self.owner.get("/readyz").status, 200)
        self.assertEqual(self.service.client().get("/metrics").status, 401)
        token = self.expect(201, self.owner.post("/tokens", {"name": "prometheus", "scopes": ["metrics"]}))["secret"]
        self.job()
        wait_for("a counted run", lambda: "mailhaul_runs_total 1" in self.service.client(token).get("/metrics").text)
        events = self.expect(200, self.owner.get("/events?since=0"))
        self.assertIn("job", {one["kind"] for one in events["items"]})
        self.assertEqual(self.service.stop(), 0)
        self.assertIn("stopped", self.service.lines[-1])

    def test_the_command_line_does_what_the_page_does(self):
        job = self.job()
        self.settled(job["id"])
        secret = self.folder / "token"
        secret.write_text(self.expect(201, self.owner.post("/tokens", {"name": "cli", "scopes": ["read", "run", "write"]}))["secret"] + "\n")
        env = environment(None, MAILHAUL_TOKEN_FILE=str(secret), MAILHAUL_SERVER=f"http://127.0.0.1:{self.service.port}")
        listed = self.complete(run("jobs", env=env)).stdout
        self.assertRegex(listed, r"(?m)^1 .* idle ")
        self.complete(run("jobs", "pause", "1", env=env))
        self.assertEqual(self.owner.get("/jobs/1").json["state"], "paused")
        self.assertIn('"delivered"', self.complete(run("runs", "show", "1", env=env)).stdout)
        self.complete(run("api", "POST", "/destinations", '{"path": "by-hand"}', env=env))
        missing = run("jobs", "show", "99", env=env)
        self.assertEqual((missing.returncode, missing.stderr), (1, "mailhaul: there is no such job\n"))
        self.assertEqual(run("accounts", env=environment(None)).returncode, 1)

    def test_a_backup_is_put_back_and_what_is_no_backup_changes_nothing(self):
        env = environment(None, MAILHAUL_DATA=str(self.service.data), MAILHAUL_MAIL=str(self.service.mail))
        self.account()
        copy = self.folder / "copy.db"
        self.complete(run("backup", copy, env=env))
        self.account()
        self.assertEqual(run("restore", copy, env=env).returncode, 3, "the service is running")
        self.service.stop()
        broken = self.folder / "broken.db"
        broken.write_bytes(copy.read_bytes()[:4096] + b"\xff" * 40960 + copy.read_bytes()[45056:])
        before = (self.service.data / "service.db").read_bytes()
        for bad in (broken, self.folder / "none.db", pathlib.Path(self.server.ca_file)):
            self.assertEqual(run("restore", bad, env=env).returncode, 3)
            self.assertEqual((self.service.data / "service.db").read_bytes(), before)
        said = self.complete(run("restore", copy, env=env)).stdout
        self.assertRegex(said, r"kept as .*service\.db\.replaced-\d+")
        self.service.start()
        self.owner = self.service.owner()
        self.assertEqual(len(self.expect(200, self.owner.get("/accounts"))["items"]), 1)

    def test_a_session_that_is_over_hears_no_more(self):
        other = self.service.owner()
        stream = http.client.HTTPConnection("127.0.0.1", self.service.port, timeout=40 * SLOW)
        stream.request("GET", "/api/v1/events", headers={"Cookie": other.cookie, "Accept": "text/event-stream"})
        reply = stream.getresponse()
        self.assertEqual(reply.status, 200)
        self.expect(204, other.delete("/session"))
        self.account()  # what happens now is not for it
        said = reply.read().decode()  # to its end
        self.assertNotIn('"kind":"account"', said)
        stream.close()

    def test_the_same_request_twice_at_once_is_one_request(self):
        job = {"path": "twice"}
        answers = []
        ask = lambda: answers.append(self.owner.post("/destinations", job, headers={"Idempotency-Key": "k1"}))
        threads = [threading.Thread(target=ask) for _ in range(12)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        self.assertLessEqual({one.status for one in answers}, {201, 409}, answers)
        self.assertEqual({one.json["id"] for one in answers if one.status == 201}, {1})
        self.assertEqual({one.json["field"] for one in answers if one.status == 409} - {"Idempotency-Key"}, set(), answers)
        self.assertEqual(self.owner.post("/destinations", job, headers={"Idempotency-Key": "k1"}).status, 201)

    def test_shells_complete_every_command(self):
        commands = set(re.findall(r"(?m)^  ([a-z]+) {2,}", run("--help").stdout))
        self.assertGreater(len(commands), 15)
        for shell in ("bash", "zsh", "fish"):
            script = self.complete(run("completion", shell)).stdout
            for word in commands | {"connections"}:
                self.assertRegex(script, rf"\b{word}\b")
            if shutil.which(shell):
                self.assertEqual(subprocess.run([shell, "-n", "-c", script] if shell != "fish" else ["fish", "-n", "-c", script]).returncode, 0)
        shown = subprocess.run(["bash", "-c", self.complete(run("completion", "bash")).stdout +
                                '\nCOMP_WORDS=(mailhaul coll); COMP_CWORD=1; _mailhaul; echo "${COMPREPLY[@]}"'], capture_output=True, text=True).stdout
        self.assertEqual(shown.split(), ["collect"])

    def test_one_process_a_directory(self):
        second = run("serve", env=environment(None, MAILHAUL_DATA=str(self.service.data), MAILHAUL_LISTEN="127.0.0.1:0"))
        self.assertEqual(second.returncode, 3)
        self.assertIn("another mailhaul serves", second.stderr)

    def test_a_misspelled_setting_is_an_error(self):
        done = run("serve", env=environment(None, MAILHAUL_DATA=str(self.service.data), MAILHAUL_LISTN="x"))
        self.assertEqual(done.returncode, 2)
        self.assertIn("Did you mean MAILHAUL_LISTEN?", done.stderr)


if __name__ == "__main__":
    from harness import main
    main()
