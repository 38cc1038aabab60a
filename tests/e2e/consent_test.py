#!/usr/bin/env python3
"""Accounts of the service that are entered by OAuth: a real provider (npm's oidc-provider), Dovecot that asks it about
every token, and a person at a browser."""
import http.server
import pathlib
import threading
import time
import urllib.parse

from harness import files_of, main
from oauth_test import OAuth, Person
from service import Service, wait_for

SCOPE = "openid offline_access mail"


class ConsentTest(OAuth):
    life = 6

    def setUp(self):
        super().setUp()
        self.service = self.enterContext(Service(self.folder))
        self.owner = self.service.owner()
        account = {"source": self.server.url("alice"), "ca": pathlib.Path(self.server.ca_file).read_text()}
        self.account = self.expect(201, self.owner.post("/accounts", account))["id"]
        self.path = f"/accounts/{self.account}/consent"

    def expect(self, status, reply):
        self.assertEqual(reply.status, status, reply)
        return reply.json

    def ask(self, **more):
        return self.expect(201, self.owner.post(self.path, {"issuer": self.provider.url, "client_id": "collector", "scope": SCOPE, **more}))

    def state(self):
        return self.expect(200, self.owner.get(self.path))["state"]

    def job(self):
        destination = self.expect(201, self.owner.post("/destinations", {"path": "alice"}))["id"]
        return self.expect(201, self.owner.post("/jobs", {"account": self.account, "destination": destination}))["id"]

    def test_a_browser_comes_back(self):
        came = []

        class Back(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                came.append(self.path.partition("?")[2])
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_):
                pass

        with http.server.HTTPServer(("127.0.0.1", 0), Back) as page:
            threading.Thread(target=page.handle_request, daemon=True).start()
            asked = self.ask(flow="code", redirect=f"http://127.0.0.1:{page.server_port}/cb")
            person = Person()
            person.consent(person.open(asked["url"] + "&prompt=consent"))
        forged = self.owner.post(self.path + "/finish", {"query": came[0].replace("state=", "state=x")})
        self.assertEqual((forged.status, forged.json["field"]), (422, "query"), forged)
        self.assertEqual(self.expect(200, self.owner.post(self.path + "/finish", {"query": came[0]}))["state"], "allowed")
        job = self.job()
        wait_for("mail", lambda: self.owner.get(f"/jobs/{job}").json["state"] == "idle")
        self.assertEqual(len(files_of(self.service.mail / "alice")), 3)

    def test_a_person_who_says_no_ends_the_waiting_and_a_stranger_does_not(self):
        asked = self.ask(flow="code", redirect="http://127.0.0.1/cb")
        state = urllib.parse.parse_qs(urllib.parse.urlsplit(asked["url"]).query)["state"][0]
        for forged in ("error=access_denied&state=x" + state, "error=access_denied"):
            self.expect(422, self.owner.post(self.path + "/finish", {"query": forged}))
            self.assertEqual(self.state(), "waiting")
        self.expect(422, self.owner.post(self.path + "/finish", {"query": "error=access_denied&state=" + state}))
        now = self.expect(200, self.owner.get(self.path))
        self.assertEqual(now["state"], "failed")
        self.assertIn("denied", now["error"])

    def allowed_by_device(self):
        asked = self.ask(flow="device")
        self.assertEqual((asked["state"], self.state()), ("waiting", "waiting"))
        Person().enter_code(asked["url"], asked["user_code"])
        wait_for("the consent", lambda: self.state() == "allowed", 40)

    def test_a_code_on_another_machine_then_runs_renew_by_themselves(self):
        self.assertEqual(self.state(), "none")
        job = self.job()
        self.allowed_by_device()
        wait_for("mail", lambda: self.owner.get(f"/jobs/{job}").json["state"] == "idle")
        self.assertEqual(len(files_of(self.service.mail / "alice")), 3)
        # The token's life is short: at 80 % of it the next run renews it, and the service that begins anew can, too.
        self.service.stop()
        self.service.start()
        self.owner = self.service.owner()
        wait_for("runs on renewed tokens", lambda: self.again(job), 60)
        self.assertEqual(self.state(), "allowed")

    def again(self, job):
        before = len(self.expect(200, self.owner.get(f"/runs?job={job}"))["items"])
        self.expect(202, self.owner.post(f"/jobs/{job}/run"))
        wait_for("a run", lambda: len(self.owner.get(f"/runs?job={job}").json["items"]) > before)
        now = wait_for("its end", lambda: (one := self.owner.get(f"/jobs/{job}").json)["state"] in ("idle", "attention", "waiting") and one)
        self.assertEqual(now["state"], "idle", now)
        return len(self.server.log().split("method=OAUTHBEARER")) > 4

    def test_no_secret_is_in_the_database_or_an_answer(self):
        self.allowed_by_device()
        shown = self.owner.get(self.path).text + self.owner.get(f"/accounts/{self.account}").text
        self.assertNotIn("access", shown.replace("the access", ""))
        data = b"".join(one.read_bytes() for one in self.service.data.glob("service.db*"))
        for word in (b"refresh", b"collector", b"client_id"):
            self.assertNotIn(word, data)

    def test_a_consent_that_is_gone_is_told_with_its_remedy_and_can_be_given_again(self):
        job = self.job()
        self.allowed_by_device()
        wait_for("mail", lambda: self.owner.get(f"/jobs/{job}").json["state"] == "idle")
        self.provider.close()  # what it has given is forgotten with it
        self.provider.start()
        time.sleep(self.life)  # the end of the token at hand; the provider's clock is not ours
        self.expect(202, self.owner.post(f"/jobs/{job}/run"))
        now = wait_for("the state", lambda: (one := self.owner.get(f"/jobs/{job}").json)["state"] == "attention" and one)
        self.assertTrue(now["advice"], now)
        self.assertEqual(self.state(), "needed")
        self.allowed_by_device()
        wait_for("a run at once", lambda: self.owner.get(f"/jobs/{job}").json["state"] == "idle")


if __name__ == "__main__":
    main()
