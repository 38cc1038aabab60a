#!/usr/bin/env python3
"""The dashboard in a real browser: Dovecot, `mailhaul serve`, Chromium, and the scenarios of dashboard.test.mjs.

    dashboard.py                 exit 0 when every scenario passed
    dashboard.py --hold          only starts the servers, logs in nobody, says where they are and waits
    dashboard.py --screenshots D   pictures of every screen into D

Node's packages come from the lock file beside this program, into MAILHAUL_UI_MODULES (the build folder).
"""
import concurrent.futures
import contextlib
import http.server
import imaplib
import json
import os
import pathlib
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))
import sample  # noqa: E402
from dovecot import PASSWORD, Dovecot, hand_over, temporary_folder  # noqa: E402
from harness import CI, SKIP_CODE, TOP  # noqa: E402
from notify_test import Receiver  # noqa: E402
from oauth_test import DOVECOT, INTROSPECTION, OpenProvider  # noqa: E402
from service import Service  # noqa: E402

HOSTILE = ["<img src=x onerror=alert(1)>", "\u202egnp-exe", "x" * 180, "a&b \"quoted\" 'names'", "{{7+7}} ${7+7}", "=HYPERLINK(1)"]


def utf7(name):
    """Modified UTF-7 of RFC 3501, 5.1.3."""
    out, run = "", ""

    def flush():
        nonlocal out, run
        if run:
            import base64
            out += "&" + base64.b64encode(run.encode("utf-16-be")).decode().rstrip("=").replace("/", ",") + "-"
            run = ""
    for letter in name:
        if " " <= letter <= "~":
            flush()
            out += "&-" if letter == "&" else letter
        else:
            run += letter
    flush()
    return out


class Relay:
    """Passes octets on, at most `rate` of them a second towards the client: a server far away."""

    def __init__(self, port, rate):
        self.target, self.rate = port, rate
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            client, _ = self.listener.accept()
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with contextlib.suppress(OSError), client, socket.create_connection(("127.0.0.1", self.target)) as server:
            while True:
                for one in select.select([client, server], [], [])[0]:
                    octets = one.recv(4096)
                    if not octets:
                        return
                    (server if one is client else client).sendall(octets)
                    if one is server:
                        time.sleep(len(octets) / self.rate)


class Control(http.server.BaseHTTPRequestHandler):
    """What a scenario asks of the world outside the browser."""
    world = None

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        try:
            answer, status = self.world.hands.submit(getattr(self.world, "do_" + self.path[1:]), **body).result() or {}, 200
        except Exception as error:  # told to the scenario, which fails
            answer, status = {"error": repr(error)}, 500
        octets = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(octets)))
        self.end_headers()
        self.wfile.write(octets)

    def log_message(self, *_):
        pass


class World:
    def __init__(self, stack):
        self.stack = stack
        # One thread that stays: servers die with the thread that began them.
        self.hands = stack.enter_context(concurrent.futures.ThreadPoolExecutor(1))
        self.folder = temporary_folder("mh-ui-")
        stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.server = stack.enter_context(Dovecot())
        for user, fill in {"demo": lambda p: sample.write_sample(p, 300, 1 << 20), "far": lambda p: sample.write_sample(p, 200, 1 << 20),
                           "small": lambda p: sample.write_small(p, 12, 3), "kept": lambda p: sample.write_small(p, 120, 1)}.items():
            path = self.server.folder / "mail" / user
            path.mkdir()
            fill(path)
            self.server.add_user(user, path)
        self.hostile()
        self.relay = Relay(self.server.imaps, 250_000)
        self.provider = OpenProvider(600)
        stack.callback(self.provider.close)
        self.service = Service(self.folder, SSL_CERT_FILE=self.server.ca_file)
        self.service.start()
        stack.callback(self.service.stop)
        control = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Control,), {"world": self}))
        threading.Thread(target=control.serve_forever, daemon=True).start()
        stack.callback(control.shutdown)
        self.facts = {"url": f"http://127.0.0.1:{self.service.port}/", "token": self.service.setup_token, "password": PASSWORD,
                      "imap": self.server.imap, "imaps": self.server.imaps, "far": self.relay.port, "hostile": HOSTILE,
                      "control": f"http://127.0.0.1:{control.server_address[1]}/", "mail": str(self.service.mail),
                      "name": Service.OWNER, "secret": Service.PASSWORD}

    def hostile(self):
        self.server.add_user("hostile")
        with imaplib.IMAP4("127.0.0.1", self.server.imap) as client:
            client.login("hostile", PASSWORD)
            for name in HOSTILE:
                quoted = '"' + utf7(name).replace("\\", "\\\\").replace('"', '\\"') + '"'
                assert client.create(quoted)[0] == "OK", name
                client.append(quoted, None, None, f"Subject: {HOSTILE[0]}\r\nMessage-ID: <{name[:20]}@x>\r\n\r\nhello\r\n".encode())

    def do_fill(self, user, messages):
        path = self.server.folder / "mail" / user
        path.mkdir()
        sample.write_sample(path, messages, 1 << 20)
        self.server.add_user(user, path)

    def do_box(self, user):
        self.server.add_user(user)

    def do_count(self, user):
        with imaplib.IMAP4("127.0.0.1", self.server.imap) as client:
            client.login(user, PASSWORD)
            return {"count": int(client.select("INBOX", readonly=True)[1][0])}

    def do_oauth_server(self):
        """A Dovecot that lets in by tokens of the provider only, with three messages of alice; once."""
        if not hasattr(self, "guarded"):
            server = Dovecot(anyone=False)
            (server.folder / "oauth2.conf").write_text(INTROSPECTION.format(port=self.provider.port))
            server.extra = DOVECOT.format(d=server.folder)
            hand_over(server.folder)
            self.guarded = self.stack.enter_context(server)
            path = server.folder / "mail" / "alice"
            path.mkdir(exist_ok=True)
            sample.write_small(path, 3, 1)
            server.add_user("alice", path)
        return {"imaps": self.guarded.imaps, "issuer": self.provider.url, "ca": pathlib.Path(self.guarded.ca_file).read_text()}

    def do_forget_consents(self):
        """The provider forgets whom it has given what."""
        self.provider.close()
        self.provider.start()

    def do_busy(self):
        """A server that takes one connection of a user at a time, and the one is taken."""
        self.crowded = self.stack.enter_context(Dovecot(extra="protocol imap {\n  mail_max_userip_connections = 1\n}\n"))
        sample.write_small(self.crowded.add_user("busy"), 3, 1)
        hand_over(self.crowded.folder / "mail" / "busy")
        self.taken = imaplib.IMAP4("127.0.0.1", self.crowded.imap)
        self.taken.login("busy", PASSWORD)
        return {"imaps": self.crowded.imaps, "ca": pathlib.Path(self.crowded.ca_file).read_text()}

    def do_gone(self):
        """A server that was there, and is not any more."""
        with Dovecot() as server:
            return {"port": server.imaps}

    def do_small_disk(self):
        """A file system of its own below the mail root, with room for the ledger and for some of the mail only."""
        small = self.service.mail / "small-disk"
        small.mkdir()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "small", small], capture_output=True, text=True, check=False)
        if mounted.returncode:
            return {"skip": mounted.stderr}
        self.stack.callback(subprocess.run, ["umount", "-l", small], check=False)
        free = os.statvfs(small)
        (small / "ballast").write_bytes(b"x" * (free.f_bavail * free.f_frsize - 320 * 1024))
        return {}

    def do_room(self):
        subprocess.run(["mount", "-o", "remount,size=64m", self.service.mail / "small-disk"], check=True)

    def do_receiver(self, status=200):
        """Where notifications are sent; what it took, and what it answers from now on."""
        if not hasattr(self, "receiver"):
            self.receiver = self.stack.enter_context(Receiver())
        self.receiver.status = status
        return {"url": self.receiver.url, "taken": [json.loads(body)["type"] if body.startswith(b"{") else "text" for *_, body in self.receiver.taken()]}

    def do_hasty_provider(self):
        """Another provider, whose codes are good for two seconds."""
        hasty = OpenProvider(600, code_life=2)
        self.stack.callback(hasty.close)
        return {"issuer": hasty.url}

    def do_stop(self):
        self.service.stop()

    def do_start(self):
        self.service.start()

    def do_restart(self):
        self.service.stop()
        self.service.start()

    def do_deliver(self, user, count=1):
        with imaplib.IMAP4("127.0.0.1", self.server.imap) as client:
            client.login(user, PASSWORD)
            for number in range(count):
                client.append("INBOX", None, None, f"Subject: new {number}\r\nMessage-ID: <{time.time_ns()}@x>\r\n\r\nhello\r\n".encode())

    def do_erase(self, user, share=1.0):
        """Deletes that share of the user's INBOX at the source."""
        with imaplib.IMAP4("127.0.0.1", self.server.imap) as client:
            client.login(user, PASSWORD)
            count = int(client.select("INBOX")[1][0])
            client.store(f"1:{max(1, int(count * share))}", "+FLAGS", "\\Deleted")
            client.expunge()

    def do_files(self, path):
        root = self.service.mail / path
        return {"count": sum(1 for one in root.rglob("*") if one.is_file() and one.parent.name in ("cur", "new"))}


def modules():
    """Node's packages, fetched when the lock file has changed."""
    folder = pathlib.Path(os.environ.get("MAILHAUL_UI_MODULES") or TOP / "build" / "dev" / "ui-tests")
    folder.mkdir(parents=True, exist_ok=True)
    lock = (HERE / "package-lock.json").read_bytes()
    stamp = folder / "installed"
    if not stamp.exists() or stamp.read_bytes() != lock:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, folder / name)
        subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], cwd=folder, check=True, stdin=subprocess.DEVNULL)
        stamp.write_bytes(lock)
    return folder


def main():
    for tool in ("node", "npm", "chromium"):
        if not shutil.which(tool):
            print(f"SKIPPED dashboard: {tool} is not installed")
            return 1 if CI else SKIP_CODE
    with contextlib.ExitStack() as stack:
        folder = modules()
        world = World(stack)
        if "--hold" in sys.argv:
            print(json.dumps(world.facts, indent=1), flush=True)
            signal.sigwait({signal.SIGINT, signal.SIGTERM})
            return 0
        env = {**os.environ, "MAILHAUL_UI_WORLD": json.dumps(world.facts), "MAILHAUL_UI_MODULES": str(folder)}
        if "--screenshots" in sys.argv:
            return subprocess.run(["node", HERE / "screenshots.mjs", sys.argv[sys.argv.index("--screenshots") + 1]], env=env, check=False).returncode
        only = ["--test-name-pattern", sys.argv[1]] if len(sys.argv) > 1 else []
        done = subprocess.run(["node", "--test", *only, HERE / "dashboard.test.mjs"], env=env, check=False)
        if done.returncode:
            print("the service said, last:\n" + "\n".join(world.service.lines[-30:]))
        return done.returncode


sys.exit(main())
