#!/usr/bin/env python3
"""The service brings the address books along: Radicale over TLS beside a real Dovecot, with the account's login."""
from contacts_world import Radicale, books, digests, fill, read_vdir
from dovecot import PASSWORD
from harness import main
from service import wait_for
from service_test import ServiceWorld


class ContactsTest(ServiceWorld):
    def setUp(self):
        super().setUp()
        tls = (self.server.authority.good(), self.server.ca_file)
        self.cards = self.enterContext(Radicale(self.folder / "radicale", "demo", PASSWORD, tls))
        self.content = books(2, 6, photos=0)
        fill(self.cards, self.content)

    def there(self):
        return {f"Büch {book}": digests(self.cards.get(book, name) for name in cards) for book, cards in self.content.items()}

    def here(self, path="demo"):
        vdir = self.service.mail / path / "contacts"
        return {name: digests(cards) for name, cards in (read_vdir(vdir) if vdir.exists() else {}).items() if cards}

    def report(self, job, kind="collect"):
        runs = self.expect(200, self.owner.get(f"/runs?job={job}"))["items"]
        return self.expect(200, self.owner.get(f"/runs/{next(one['id'] for one in runs if one['kind'] == kind)}"))

    def proof(self, job):
        run = self.expect(202, self.owner.post(f"/jobs/{job}/verify", {"deep": True}))["id"]
        return wait_for("the proof", lambda: (one := self.owner.get(f"/runs/{run}").json)["state"] not in ("queued", "running") and one)

    def test_collected_changed_and_proved(self):
        job = self.job(policy={"contacts": self.cards.url})["id"]
        self.assertEqual(self.settled(job)["state"], "idle")
        self.assertEqual(self.here(), self.there())
        self.assertEqual(self.report(job)["report"]["contacts"]["sum"]["delivered"], 12)
        name = sorted(self.content["book0"])[0]
        self.content["book0"][name] = self.content["book0"][name].replace(b"END:VCARD", b"TITLE:changed\r\nEND:VCARD")
        self.cards.put("book0", name, self.content["book0"][name])
        self.expect(202, self.owner.post(f"/jobs/{job}/run"))
        wait_for("the change", lambda: self.here() == self.there())
        self.settled(job)
        done = self.proof(job)
        self.assertEqual((done["state"], done["report"]["contacts"]), ("complete", {"compared": 12, "differences": []}))
        name = sorted(self.content["book1"])[0]
        self.content["book1"][name] = self.content["book1"][name].replace(b"END:VCARD", b"TITLE:unseen\r\nEND:VCARD")
        self.cards.put("book1", name, self.content["book1"][name])
        done = self.proof(job)
        self.assertEqual((done["state"], len(done["report"]["contacts"]["differences"])), ("incomplete", 1), done)

    def test_what_befalls_them_is_told_and_the_mail_is_here(self):
        job = self.job(policy={"contacts": "https://localhost:1/"})["id"]
        now = self.settled(job)
        self.assertIn("contacts", now["error"], now)
        self.mail = self.service.mail / "demo"
        self.same_as(self.read_source())
        self.assertEqual(self.report(job)["state"], "incomplete")
        self.expect(200, self.owner.patch(f"/jobs/{job}", {"policy": {"contacts": self.cards.url}}))
        self.expect(202, self.owner.post(f"/jobs/{job}/run"))
        wait_for("the cards", lambda: self.here() == self.there())
        self.assertNotIn("error", self.settled(job))

    def test_only_a_place_that_is_safe(self):
        account = self.account()["id"]
        place = self.expect(201, self.owner.post("/destinations", {"path": "demo"}))["id"]
        for wrong in ("http://localhost/", "/etc/passwd", "file:///etc/passwd", "https://", "anything"):
            reply = self.owner.post("/jobs", {"account": account, "destination": place, "policy": {"contacts": wrong}})
            self.assertEqual((reply.status, reply.json.get("field")), (422, "policy.contacts"), reply)


if __name__ == "__main__":
    main()
