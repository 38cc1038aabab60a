#!/usr/bin/env python3
"""OAuth against a real provider (npm's oidc-provider) and Dovecot, which asks it about every token: both flows, both
mechanisms, renewal, rotation, outages, revocation, kills."""
import http.cookiejar
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request

from dovecot import Dovecot, die_with_parent, free_ports, hand_over, temporary_folder, wait_for
from harness import TOP, Proxy, environment, main, need, reports, run, start, sums

HERE = pathlib.Path(__file__).resolve().parent
DOVECOT = """auth_mechanisms = plain xoauth2 oauthbearer
passdb {{
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = {d}/oauth2.conf
}}
"""
INTROSPECTION = """introspection_mode = post
introspection_url = http://imap:imapsecret@127.0.0.1:{port}/token/introspection
username_attribute = sub
active_attribute = active
active_value = true
scope = mail
timeout_msecs = 4000
"""


def modules():
    """The provider's packages as package-lock.json has them, installed once beside the build."""
    need(shutil.which("npm") and shutil.which("node"), "node and npm")
    where = pathlib.Path(os.environ.get("MAILHAUL_OIDC") or TOP / "build" / "oidc")
    lock = (HERE / "oidc" / "package-lock.json").read_text()
    done = where / "installed"
    if not done.exists() or done.read_text() != lock:
        where.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / "oidc" / name, where)
        out = subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=where, capture_output=True, text=True)
        need(out.returncode == 0, "npm ci: " + out.stderr[-200:])
        done.write_text(lock)
    return where


class OpenProvider:
    def __init__(self, life, code_life=120):
        self.port, self.life, self.code_life = free_ports(1)[0], life, code_life
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self):
        self.process = subprocess.Popen(["node", HERE / "oidc" / "provider.mjs", str(self.port), modules()], preexec_fn=die_with_parent,
                                        env={**os.environ, "LIFE": str(self.life), "CODE_LIFE": str(self.code_life)}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout.readline().strip() == "ready"

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def get(self, path):
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            return answer.read().decode()

    def revoke(self, token):
        form = urllib.parse.urlencode({"token": token, "client_id": "collector", "token_type_hint": "refresh_token"}).encode()
        with urllib.request.urlopen(self.url + "/token/revocation", form, timeout=10) as answer:
            return answer.status


class Person:
    """Someone at a browser who logs in and says yes (or no)."""

    def __init__(self, login="alice"):
        self.login = login
        self.browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))

    def open(self, url, **fields):
        data = urllib.parse.urlencode(fields).encode() if fields else None
        with self.browser.open(url, data, timeout=20) as answer:
            return answer.geturl(), answer.read().decode()

    def submit(self, page, **more):
        url, text = page
        action = re.search(r'action="([^"]*)"', text)[1].replace("&amp;", "&")
        hidden = {}
        for tag in re.findall(r'<input[^>]*type="hidden"[^>]*>', text):
            hidden[re.search(r'name="([^"]*)"', tag)[1]] = (re.search(r'value="([^"]*)"', tag) or ("", ""))[1]
        return self.open(urllib.parse.urljoin(url, action), **{**hidden, **more})

    def consent(self, page):
        for _ in range(4):
            if 'name="prompt"' not in page[1]:
                break
            login = re.search(r'name="prompt" value="login"', page[1])
            page = self.submit(page, **({"login": self.login, "password": "x"} if login else {}))
        return page

    def enter_code(self, url, code):
        page = self.submit(self.open(url), user_code=code)
        if 'name="prompt"' not in page[1]:
            page = self.submit(page, user_code=code, confirm="yes")
        return self.consent(page)


class OAuth(unittest.TestCase):
    life = 600

    @classmethod
    def setUpClass(cls):
        cls.provider = OpenProvider(cls.life)
        cls.addClassCleanup(cls.provider.close)
        server = Dovecot(anyone=False, pop3=True)
        (server.folder / "oauth2.conf").write_text(INTROSPECTION.format(port=cls.provider.port))
        server.extra = DOVECOT.format(d=server.folder)
        hand_over(server.folder)
        cls.server = server.__enter__()
        cls.addClassCleanup(server.stop)
        for user in ("alice", "bob"):
            maildir = server.add_user(user)
            for name in ("cur", "new", "tmp"):
                (maildir / name).mkdir(exist_ok=True)
            for n in range(3):
                (maildir / "cur" / f"{n}.{user}:2,S").write_text(f"Subject: {n}\n\nhello\n")
            hand_over(maildir)

    def setUp(self):
        self.folder = temporary_folder("mh-oauth-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.tokens = self.folder / "tokens.json"

    def authorize(self, *options, person=None, token_file=None, way="--browser"):
        """Runs the command and does what it asks of a person."""
        process = start("authorize", "alice@example.org", "--issuer", self.provider.url, "--host", "localhost", "--client-id", "collector",
                        "--scope", "openid offline_access mail", "--json", "--token-file", token_file or self.tokens, *([way] if way else []), *options)
        self.addCleanup(process.kill)
        asked = json.loads(process.stdout.readline())
        person = person or Person()
        if "user_code" in asked:
            person.enter_code(asked["verification_uri"], asked["user_code"])
        else:
            self.last = person.consent(person.open(asked["authorization_url"] + "&prompt=consent"))
        out, error = process.communicate(timeout=60)
        return process.returncode, out, error

    def collect(self, code=0, user="alice", options=(), tokens=None):
        done = run("collect", self.server.url(user), f"maildir:{self.folder / 'mail'}", "--ca-file", self.server.ca_file, "--json",
                   "--source-token-file", tokens or self.tokens, *options, password=None)
        self.assertEqual(done.returncode, code, done.stdout[-500:] + done.stderr)
        for name in ("access_token", "refresh_token"):
            if self.tokens.exists():
                self.assertNotIn(json.loads(self.tokens.read_text())[name] or "-none-", done.stdout + done.stderr)
        return done.stderr if code else sums(reports(done)[1])["delivered"]

    def saved(self):
        return json.loads(self.tokens.read_text())

    def change(self, **fields):
        self.tokens.write_text(json.dumps({**self.saved(), **fields}))


class Flows(OAuth):
    def test_device_code(self):
        self.assertEqual(self.authorize(way=None)[0], 0)  # a code: the provider wants 5 s between questions
        self.assertEqual(self.tokens.stat().st_mode & 0o777, 0o600)
        self.assertEqual(self.collect(), 3)
        self.assertIn("method=OAUTHBEARER", self.server.log())

    def test_browser_with_pkce_and_xoauth2(self):
        code, out, error = self.authorize()
        self.assertEqual(code, 0, error)
        self.assertIn("You can close this page", self.last[1])
        self.assertEqual(self.collect(options=["--quirk", "+no-AUTH=OAUTHBEARER"]), 3)
        self.assertIn("method=XOAUTH2", self.server.log())

    def test_starttls_and_pop3_too(self):
        self.authorize()
        for scheme in ("imap", "pop3s", "pop3"):
            done = run("collect", self.server.url("alice", scheme), f"maildir:{self.folder / scheme}", "--ca-file", self.server.ca_file,
                       "--source-token-file", self.tokens, "--json", password=None)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(sums(reports(done)[1])["delivered"], 3)

    def test_a_token_of_somebody_else(self):
        self.authorize()
        for quirk in ([], ["--quirk", "+no-AUTH=OAUTHBEARER"]):
            self.assertIn("the server refuses the access token", self.collect(3, user="bob", options=quirk))

    def test_tokens_for_another_host(self):
        self.authorize()
        self.change(hosts=["imap.example.org"])
        self.assertIn("not for localhost", self.collect(2))

    def test_no_client_and_no_provider(self):
        for options, word in [((), "--issuer"), (("--issuer", self.provider.url, "--host", "localhost"), "CLIENT_ID"),
                              (("--issuer", self.provider.url), "--host"),
                              (("--issuer", self.provider.url + "/other", "--host", "x.example.org"), "metadata"),
                              (("--issuer", "http://192.0.2.1/", "--host", "x.example.org"), "https")]:
            with self.subTest(word):
                done = run("authorize", "alice@nowhere.test", *options, "--token-file", self.tokens, "--resolver", "127.0.0.1:9",
                           env=environment(None, HOME=str(self.folder)), timeout=60)
                self.assertIn(done.returncode, (1, 2), done.stdout + done.stderr)
                self.assertIn(word, done.stderr)
                self.assertFalse(self.tokens.exists())

    def test_an_unknown_client(self):
        done = run("authorize", "a@b.test", "--issuer", self.provider.url, "--host", "localhost", "--client-id", "stranger", "--scope", "mail",
                   "--token-file", self.tokens)
        self.assertEqual(done.returncode, 1)
        self.assertIn("does not accept the client", done.stderr)


class Renewal(OAuth):
    def test_a_token_that_is_old(self):
        """At 80 % of its life it is renewed, and the rotated refresh token is what stays."""
        self.authorize()
        before = self.saved()
        self.change(issued=before["issued"] - int(before["life"] * 0.79))
        self.assertEqual(self.collect(), 3)
        self.assertEqual(self.saved()["access_token"], before["access_token"])
        self.change(issued=before["issued"] - int(before["life"] * 0.81))
        self.assertEqual(self.collect(), 0)
        after = self.saved()
        self.assertNotEqual(after["access_token"], before["access_token"])
        self.assertNotEqual(after["refresh_token"], before["refresh_token"])

    def test_a_token_that_the_server_refuses(self):
        """Refused before its time (a wrong clock, a provider that took it back): one renewal, then on."""
        self.authorize()
        before = self.saved()
        self.change(access_token="gone-too-early", issued=int(time.time()), life=3600)
        self.assertEqual(self.collect(), 3)
        self.assertNotEqual(self.saved()["refresh_token"], before["refresh_token"])

    def test_a_clock_that_is_ten_minutes_off(self):
        """It was wrong when the tokens came, or it is wrong now: one renewal at most, where one is due by any clock."""
        now = int(time.time())
        for issued, life, token, renewed in [(now - 600, 3600, None, False),  # ahead, the token lives on both clocks
                                             (now - 600, 600, None, True),  # ahead, and over by this clock alone
                                             (now + 600, 3600, None, True),  # behind: from the future, nobody knows how long it lives
                                             (now + 600, 3600, "over-at-the-server", True)]:  # behind, over by the server's
            with self.subTest(issued=issued - now, life=life, token=token):
                self.authorize()
                before = self.saved()
                self.change(issued=issued, life=life, **({"access_token": token} if token else {}))
                self.collect()
                after = self.saved()
                self.assertEqual(after["refresh_token"] != before["refresh_token"], renewed)
                self.collect()  # what came is good, on this clock
                self.assertEqual(self.saved()["refresh_token"], after["refresh_token"])

    def test_an_outage(self):
        self.authorize()
        before = self.saved()
        self.provider.get("/test/down")
        try:
            self.change(issued=before["issued"] - int(before["life"] * 0.9))  # due, but it lives
            self.assertEqual(self.collect(), 3)
            self.change(issued=before["issued"] - before["life"] - 1)
            started = time.monotonic()
            process = start("collect", self.server.url("alice"), f"maildir:{self.folder / 'mail'}", "--ca-file", self.server.ca_file,
                            "--source-token-file", self.tokens, password=None)
            line = process.stderr.readline() + process.stderr.readline()
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=20)
            self.assertIn("cannot do it now", line)
            self.assertLess(time.monotonic() - started, 30)
        finally:
            self.provider.get("/test/up")
        self.assertEqual(self.saved()["refresh_token"], before["refresh_token"])
        self.assertEqual(self.collect(), 0)

    def test_a_revoked_consent(self):
        self.authorize()
        self.assertEqual(self.provider.revoke(self.saved()["refresh_token"]), 200)
        for _ in range(2):  # and again: nothing loops
            self.change(issued=1)
            started = time.monotonic()
            self.assertIn("Allow it again: mailhaul authorize", self.collect(3))
            self.assertLess(time.monotonic() - started, 15)
        self.authorize()
        self.assertEqual(self.collect(), 3)

    def test_two_collections_renew_once(self):
        self.authorize()
        self.change(issued=1)
        both = [start("collect", self.server.url("alice"), f"maildir:{self.folder / name}", "--ca-file", self.server.ca_file,
                      "--source-token-file", self.tokens, password=None) for name in ("one", "two")]
        self.assertEqual([process.communicate(timeout=60) and process.returncode for process in both], [0, 0])
        self.assertEqual(self.collect(), 3)

    def test_kills_between_the_answer_and_the_saving(self):
        """The tokens on disk are whole after every kill, and what follows works or asks for consent; it never loops."""
        need(shutil.which("strace"), "strace")
        for call, when in [("fsync", 1), ("rename", 1), ("fsync", 2)]:
            with self.subTest(call=call, when=when):
                self.authorize()
                self.change(issued=1)
                before = self.saved()
                command = ["strace", "-f", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={when}",
                           os.environ.get("MAILHAUL") or str(TOP / "build/dev/mailhaul"), "collect", self.server.url("alice"),
                           f"maildir:{self.folder / 'mail'}", "--ca-file", self.server.ca_file, "--source-token-file", str(self.tokens)]
                killed = subprocess.run(command, env=environment(None), capture_output=True, text=True, timeout=60)
                self.assertNotEqual(killed.returncode, 0)
                if self.saved()["refresh_token"] == before["refresh_token"]:  # the new one is lost: the provider says so
                    self.assertIn("Allow it again", self.collect(3))
                else:
                    self.collect()


class Expiry(OAuth):
    life = 3

    def test_expiry_between_runs(self):
        self.authorize()
        self.collect()
        first = self.saved()["access_token"]
        wait_for(lambda: time.time() > self.saved()["issued"] + 4, 20, "the token's end")
        self.assertEqual(self.collect(), 0)
        self.assertNotEqual(self.saved()["access_token"], first)

    def test_expiry_in_the_middle_of_a_fetch(self):
        """The connection is lost when its token is worth nothing any more: the run goes on with another one."""
        maildir = self.server.add_user("alice")
        for name in ("cur", "new", "tmp"):
            (maildir / name).mkdir(exist_ok=True)
        for n in range(300):
            (maildir / "cur" / f"{n}.big:2,S").write_text(f"Subject: {n}\n\n" + f"{n:4} hello\n" * 400)
        hand_over(maildir)
        with Proxy(self.server.imaps) as proxy:
            self.authorize()
            proxy.hold_after = 300_000
            url = f"imaps://alice@localhost:{proxy.port}"
            process = start("collect", url, f"maildir:{self.folder / 'mail'}", "--ca-file", self.server.ca_file, "--source-token-file",
                            self.tokens, "--json", password=None)
            self.assertTrue(proxy.held.wait(20))
            first = self.saved()
            wait_for(lambda: time.time() > first["issued"] + self.life + 1, 20, "the token's end")
            proxy.again()
            out, error = process.communicate(timeout=60)
            self.assertEqual(process.returncode, 0, out[-500:] + error)
            report = json.loads(out.splitlines()[-1])
            self.assertEqual(report["sum"]["delivered"], 303)
            self.assertNotEqual(self.saved()["access_token"], first["access_token"])
            self.assertGreaterEqual(proxy.connections, 1)


if __name__ == "__main__":
    main()
