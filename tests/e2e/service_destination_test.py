#!/usr/bin/env python3
"""The service collects into an IMAP account: a real Dovecot, read by a foreign reader and held against the source."""
import random
import time

from destination_test import AccountWorld
from dovecot import PASSWORD
from harness import SLOW, main
from service import wait_for
from service_test import ServiceWorld


class IntoAccountTest(AccountWorld, ServiceWorld):
    def into(self, account, **more):
        return self.expect(201, self.owner.post("/destinations", {"account": account["id"], **more}))

    def there(self, password=PASSWORD):
        return self.account(password=password, source=self.server.url(self.user))

    def job_into(self, destination):
        return self.expect(201, self.owner.post("/jobs", {"account": self.account()["id"], "destination": destination["id"]}))["id"]

    def run_again(self, job):
        runs = len(self.owner.get(f"/runs?job={job}").json["items"])
        self.expect(202, self.owner.post(f"/jobs/{job}/run"))
        wait_for("another run", lambda: (items := self.owner.get(f"/runs?job={job}").json["items"]) and len(items) > runs and
                 all(one["state"] not in ("queued", "running") for one in items))

    def test_collected_whole_and_nothing_twice(self):
        place = self.into(self.there(), name="The new one")
        self.assertEqual((place["kind"], place["path"], place["name"]), ("imap", self.server.url(self.user), "The new one"))
        job = self.job_into(place)
        done = self.settled(job)
        self.assertEqual(done["state"], "idle", done)
        self.assertEqual(done["destination_path"], self.server.url(self.user))
        self.check()
        before = self.uids()
        self.run_again(job)
        self.assertEqual(self.uids(), before)
        boxes = self.expect(200, self.owner.get(f"/jobs/{job}/mailboxes"))["items"]
        self.assertEqual(sum(one["counts"]["delivered"] for one in boxes), sum(map(len, self.read_source().values())))
        proof = self.expect(202, self.owner.post(f"/jobs/{job}/verify", {"deep": True}))
        done = wait_for("the proof", lambda: (one := self.owner.get(f"/runs/{proof['id']}").json)["state"] not in ("queued", "running") and one)
        self.assertEqual((done["state"], done["failed"]), ("complete", 0), done)

    def test_killed_at_any_moment_it_comes_whole(self):
        chance = random.Random(7)
        job = self.job_into(self.into(self.there()))
        for _ in range(3):
            time.sleep(chance.uniform(0, 0.4 * SLOW))
            self.service.kill()
            self.service.start()
        self.owner = self.service.owner()
        self.assertEqual(self.settled(job, states=("idle",), patience=200)["counts"]["pending"], 0)
        self.check()

    def test_a_wrong_password_there_is_told_and_a_new_one_is_tried_at_once(self):
        account = self.there(password="wrong")
        job = self.job_into(self.into(account))
        now = self.settled(job)
        self.assertEqual(now["state"], "attention", now)
        self.assertIn("destination", now["error"])
        self.assertEqual(self.found().get("INBOX", []), [])
        self.expect(200, self.owner.patch(f"/accounts/{account['id']}", {"password": PASSWORD}))
        wait_for("mail", lambda: self.owner.get(f"/jobs/{job}").json["state"] == "idle")
        self.check()

    def test_what_cannot_be_is_refused_with_a_reason(self):
        account, pop3 = self.there(), self.account(source="pop3s://demo@pop.example.net")
        place = self.into(account)
        for status, field, path, body in (
                (422, "destination", "/jobs", {"account": account["id"], "destination": place["id"]}),
                (409, "account", "/destinations", {"account": account["id"]}),
                (422, "account", "/destinations", {"account": account["id"], "path": "both"}),
                (422, "path", "/destinations", {"name": "neither"}),
                (422, "account", "/destinations", {"account": 4711}),
                (422, "account", "/destinations", {"account": pop3["id"]})):
            reply = self.owner.post(path, body)
            self.assertEqual((reply.status, reply.json.get("field")), (status, field), reply)
        self.expect(409, self.owner.delete(f"/accounts/{account['id']}"))
        self.expect(204, self.owner.delete(f"/destinations/{place['id']}"))
        self.expect(204, self.owner.delete(f"/accounts/{account['id']}"))


if __name__ == "__main__":
    main()
