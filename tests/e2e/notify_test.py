#!/usr/bin/env python3
"""What people are told: a webhook's receiver that checks signatures by itself, an ntfy server's receiver, and a real SMTP
server (aiosmtpd) with STARTTLS and a login."""
import base64
import email
import email.policy
import hashlib
import hmac
import http.server
import json
import logging
import ssl
import subprocess
import threading
import time
import unittest
import warnings

try:
    from aiosmtpd.controller import Controller
    from aiosmtpd.smtp import AuthResult, SMTP
except ImportError:
    Controller = None

from certificates import Authority
from dovecot import PASSWORD, free_ports
from harness import MAILHAUL, SLOW, environment
from service import Service, wait_for
from service_test import ServiceWorld

CANARY = "Kanarienvogel-7f3a"


class Receiver:
    """Remembers what it is sent; answers `status`, and `location` with it."""

    def __enter__(self):
        receiver, self.got, self.status, self.location = self, [], 200, None

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append((receiver.status, self.path, dict(self.headers), body))
                self.send_response(receiver.status)
                if receiver.location:
                    self.send_header("Location", receiver.location)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_POST

            def log_message(self, *_):
                pass
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def taken(self):
        return [one for one in self.got if one[0] == 200]

    def types(self):
        return [json.loads(body)["type"] for _, _, _, body in self.taken()]


def verified(secret, headers, body):
    """As a receiver does it by the standard: the key is the base64 behind whsec_, the text is id.timestamp.body."""
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 300, headers
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    digest = hmac.new(base64.b64decode(secret.removeprefix("whsec_")), signed, hashlib.sha256).digest()
    return headers["webhook-signature"] == "v1," + base64.b64encode(digest).decode()


class NotifyTest(ServiceWorld):
    def channel(self, status=201, **more):
        return self.expect(status, self.owner.post("/channels", more))

    def webhook(self, receiver, **more):
        return self.channel(kind="webhook", url=receiver.url + "/hook", allow_plaintext=True, **more)

    def trial(self, channel):
        return self.expect(200, self.owner.post(f"/channels/{channel['id']}/test"))

    def test_a_webhook_is_signed_and_its_secret_given_out_once(self):
        receiver = self.enterContext(Receiver())
        channel = self.webhook(receiver)
        secret = channel["secret"]
        self.assertEqual(self.trial(channel), {"ok": True})
        _, path, headers, body = receiver.got[0]
        self.assertEqual((path, headers["Content-Type"], json.loads(body)["type"]), ("/hook", "application/json", "test"))
        self.assertTrue(verified(secret, headers, body))
        self.assertFalse(verified(secret, headers, body + b" "))
        shown = self.expect(200, self.owner.get("/channels"))["items"][0]
        self.assertNotIn("secret", shown)
        self.assertTrue(shown["has_secret"])
        # Another place wants the secret again; a name does not.
        moved = self.owner.patch(f"/channels/{channel['id']}", {"url": receiver.url + "/other"})
        self.assertEqual((moved.status, moved.json["field"]), (422, "secret"))
        self.expect(200, self.owner.patch(f"/channels/{channel['id']}", {"name": "ours"}))
        # A repeated request is done once, and does not tell the secret again.
        again = [self.owner.post("/channels", {"kind": "webhook", "url": "https://example.org/x"}, headers={"Idempotency-Key": "k"}) for _ in range(2)]
        self.assertEqual([bool(one.json["secret"]) for one in again], [True, False])
        self.service.stop()
        for file in self.service.data.rglob("*"):
            if file.is_file():
                for word in (secret, again[0].json["secret"]):
                    self.assertNotIn(word.encode(), file.read_bytes(), file)
        self.assertNotIn(secret, "\n".join(self.service.lines))

    def test_redirects_are_not_followed_and_private_addresses_not_asked(self):
        receiver, other = self.enterContext(Receiver()), self.enterContext(Receiver())
        channel = self.webhook(receiver)
        receiver.status, receiver.location = 307, other.url + "/hook"
        self.assertFalse(self.trial(channel)["ok"])
        self.assertEqual((len(receiver.got), other.got), (1, []))
        self.assertEqual(self.channel(422, kind="webhook", url=receiver.url)["detail"], "http:// is not protected")
        self.service.stop()
        self.service.settings["MAILHAUL_ALLOW_NETWORKS"] = ""
        self.service.start()
        self.owner = self.service.owner()
        refused = self.trial(channel)
        self.assertFalse(refused["ok"])
        self.assertIn("MAILHAUL_ALLOW_NETWORKS", refused["advice"] + refused["detail"])
        self.assertEqual(len(receiver.got), 1)

    def test_jobs_tell_of_logins_and_ends_and_a_kill_neither_loses_nor_doubles(self):
        receiver = self.enterContext(Receiver())
        secret = self.webhook(receiver, topics=["finished", "needs_login"])["secret"]
        self.channel(kind="ntfy", url=receiver.url + "/mail", secret=CANARY, allow_plaintext=True, topics=["failing"])
        receiver.status = 503  # away for now
        job = self.job(schedule={"kind": "once"}, path="once")
        wait_for("a try", lambda: receiver.got)
        self.service.kill()
        receiver.status = 200
        self.service.start()
        self.owner = self.service.owner()
        wait_for("the message", receiver.taken, 30)
        self.assertEqual(receiver.types(), ["job.finished"])
        self.assertEqual(len({headers["webhook-id"] for _, _, headers, _ in receiver.got}), 1, "each try has the same id")
        self.assertEqual(json.loads(receiver.taken()[0][3])["data"]["job"], job["id"])
        self.expect(200, self.owner.patch(f"/accounts/{job['account']}", {"password": "wrong"}))
        self.expect(200, self.owner.patch(f"/jobs/{job['id']}", {"schedule": {"kind": "every", "minutes": 5}}))
        self.expect(202, self.owner.post(f"/jobs/{job['id']}/run"))
        wait_for("needs_login", lambda: "job.needs_login" in receiver.types())
        for _ in range(2):  # told once, and not again by a restart
            self.settled(job["id"])
            self.service.kill()
            self.service.start()
            self.owner = self.service.owner()
            self.expect(202, self.owner.post(f"/jobs/{job['id']}/run"))
        self.expect(200, self.owner.patch(f"/accounts/{job['account']}", {"password": PASSWORD}))
        self.expect(202, self.owner.post(f"/jobs/{job['id']}/run"))
        wait_for("recovery", lambda: "job.recovered" in receiver.types())
        self.assertEqual(receiver.types(), ["job.finished", "job.needs_login", "job.recovered"])
        self.assertTrue(all(verified(secret, headers, body) for _, _, headers, body in receiver.got))

    def test_a_disk_that_is_nearly_full_is_told_of_to_owners_by_ntfy(self):
        receiver = self.enterContext(Receiver())
        self.channel(kind="ntfy", url=receiver.url + "/my-topic", secret=CANARY, allow_plaintext=True)
        for reserve, word in (("16777216", "nearly full"), ("16777216", None), ("0", "space again"), ("0", None)):
            before = len(receiver.got)
            self.service.stop()
            self.service.settings["MAILHAUL_DISK_RESERVE"] = reserve
            self.service.start()
            self.owner = self.service.owner()
            if word:
                wait_for(word, lambda: len(receiver.got) > before)
                _, path, headers, body = receiver.got[-1]
                said = json.loads(body)
                self.assertEqual((path, said["topic"], headers["Authorization"]), ("/", "my-topic", f"Bearer {CANARY}"))
                self.assertIn(word, said["title"])
        self.assertEqual(len(receiver.got), 2)
        self.service.stop()
        for file in self.service.data.rglob("*"):
            if file.is_file():
                self.assertNotIn(CANARY.encode(), file.read_bytes(), file)

    @unittest.skipUnless(Controller, "needs python3-aiosmtpd")
    def test_mail_is_handed_in_with_tls_and_a_login(self):
        logging.getLogger("mail.log").setLevel(logging.CRITICAL)  # a refused handshake is what is wanted
        authority = Authority(self.folder / "smtp")
        pair = authority.good()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.certificate, pair.key)
        got, logins = [], []

        class Keep:
            async def handle_DATA(self, _server, _session, envelope):
                got.append((envelope.mail_from, envelope.rcpt_tos, envelope.content))
                return "250 taken"

        def authenticate(_server, _session, _envelope, _mechanism, data):
            warnings.simplefilter("ignore")
            logins.append((data.login.decode(), data.password.decode()))
            return AuthResult(success=data.password.decode() == CANARY, handled=False)

        class Submission(Controller):
            def factory(self):
                return SMTP(self.handler, tls_context=context, require_starttls=True, auth_required=True, authenticator=authenticate)
        port = free_ports(1)[0]
        server = Submission(Keep(), hostname="127.0.0.1", port=port)
        server.start()
        self.addCleanup(server.stop)
        mail = {"kind": "mail", "url": f"smtp://you@example.org@localhost:{port}", "from": "mailhaul@example.org", "to": "you@example.org"}
        untrusted = self.trial(self.channel(**mail, secret=CANARY))
        self.assertFalse(untrusted["ok"])
        self.assertEqual(logins, [], "no password before the certificate is known")
        channel = self.channel(**mail, secret=CANARY, ca=authority.ca.read_text())
        self.assertEqual(self.trial(channel), {"ok": True})
        sender, recipients, content = got[0]
        self.assertEqual((sender, recipients, logins[0]), ("mailhaul@example.org", ["you@example.org"], ("you@example.org", CANARY)))
        message = email.message_from_bytes(content, policy=email.policy.default)
        self.assertEqual((message["Subject"], message["To"], message["Auto-Submitted"]), ("A test of Mailhaul", "you@example.org", "auto-generated"))
        self.assertIn("This is where you will be told", message.get_content())
        self.assertEqual(message.defects, [])
        wrong = self.channel(**mail, secret="not it", ca=authority.ca.read_text())
        self.assertIn("refuses the login", self.trial(wrong)["detail"])

    def test_everybody_has_their_own_and_the_command_line_sees_them(self):
        self.expect(201, self.owner.post("/users", {"name": "ann", "password": "the words of ann", "role": "operator"}))
        ann = self.service.client()
        self.assertEqual(ann.log_in("ann", "the words of ann").status, 201)
        mine = self.channel(kind="webhook", url="https://example.org/hook")
        self.assertEqual(ann.get(f"/channels/{mine['id']}").status, 404)
        self.assertEqual(ann.post("/channels", {"kind": "webhook", "url": "https://example.org", "everyone": True}).status, 422)
        self.expect(201, ann.post("/channels", {"kind": "webhook", "url": "https://example.net/hers"}))
        token = self.expect(201, self.owner.post("/tokens", {"name": "t", "scopes": ["read", "run", "write"]}))["secret"]
        (self.folder / "token").write_text(token)
        listed = subprocess.run([MAILHAUL, "channels", "--server", f"http://127.0.0.1:{self.service.port}", "--token-file", self.folder / "token"],
                                capture_output=True, text=True, env=environment(None), timeout=60 * SLOW)
        self.assertEqual((listed.returncode, listed.stderr), (0, ""))
        self.assertRegex(listed.stdout, r"1 +example.org +webhook")
        self.assertRegex(listed.stdout, r"2 +example.net +webhook")
        # A new key opens what the old one sealed.
        self.service.stop()
        env = environment(None, MAILHAUL_DATA=str(self.service.data), MAILHAUL_MAIL=str(self.service.mail))
        for action in ("rotate", "verify"):
            done = subprocess.run([MAILHAUL, "key", action], capture_output=True, text=True, env=env, timeout=60 * SLOW)
            self.assertEqual((done.returncode, done.stderr), (0, ""))


if __name__ == "__main__":
    from harness import main
    main()
