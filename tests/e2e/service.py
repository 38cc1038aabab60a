"""`mailhaul serve` as a test or a demonstration runs it: a process on a port of its own, and a client of its API."""
import http.client
import json
import pathlib
import re
import ssl
import subprocess
import threading
import time

from harness import MAILHAUL, SLOW, environment


class Answer:
    def __init__(self, status, headers, text):
        self.status, self.headers, self.text = status, headers, text

    @property
    def json(self):
        return json.loads(self.text) if self.text else None

    def __repr__(self):
        return f"{self.status} {self.text[:500]}"


class Client:
    """One user of the API: by session cookie, or by token."""

    def __init__(self, port, token=None, ca=None):
        """`ca`: over TLS, with what that file vouches for."""
        self.port, self.token, self.cookie, self.csrf = port, token, None, None
        self.trusted = ssl.create_default_context(cafile=ca) if ca else None

    def connect(self, timeout=60):
        if self.trusted:
            return http.client.HTTPSConnection("localhost", self.port, timeout=timeout * SLOW, context=self.trusted)
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout * SLOW)

    def ask(self, method, path, body=None, headers=None, raw=None, kind="application/json", timeout=60):
        headers = {**(headers or {})}
        if self.token:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        if self.cookie:
            headers.setdefault("Cookie", self.cookie)
            headers.setdefault("X-CSRF-Token", self.csrf or "")
        data = raw if raw is not None else json.dumps(body).encode() if body is not None else None
        if data is not None:
            headers.setdefault("Content-Type", kind)
        connection = self.connect(timeout)
        try:
            connection.request(method, path if path.startswith("/healthz") or path.startswith("/readyz") or path.startswith("/metrics") or
                               not path.startswith("/") or path.startswith("/api") else "/api/v1" + path, data, headers)
            reply = connection.getresponse()
            text = reply.read().decode("utf-8", "replace")
            if cookie := reply.getheader("Set-Cookie"):
                self.cookie = cookie.split(";")[0]
            return Answer(reply.status, dict(reply.getheaders()), text)
        finally:
            connection.close()

    def get(self, path, **more):
        return self.ask("GET", path, **more)

    def post(self, path, body=None, **more):
        return self.ask("POST", path, body, **more)

    def patch(self, path, body, **more):
        return self.ask("PATCH", path, body, **more)

    def delete(self, path, **more):
        return self.ask("DELETE", path, **more)

    def log_in(self, name, password):
        reply = self.post("/session", {"name": name, "password": password})
        if reply.status == 201:
            self.csrf = reply.json["csrf"]
        return reply


class Service:
    """The process. Its data and mail live below `folder` and outlast it."""

    OWNER, PASSWORD = "owner", "four small words here"

    def __init__(self, folder, ca=None, **settings):
        self.ca = ca  # of its own certificate, if it speaks TLS
        self.folder = pathlib.Path(folder)
        self.data, self.mail = self.folder / "data", self.folder / "mail"
        self.settings, self.process, self.lines = settings, None, []
        self.port, self.setup_token = None, None

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def start(self):
        listen = f"127.0.0.1:{self.port or 0}"
        self.setup_token = None
        env = environment(None, MAILHAUL_DATA=str(self.data), MAILHAUL_MAIL=str(self.mail), MAILHAUL_LISTEN=listen,
                          **{"MAILHAUL_DISK_RESERVE": "0", "MAILHAUL_ALLOW_NETWORKS": "127.0.0.0/8, ::1", **self.settings})
        self.process = subprocess.Popen([MAILHAUL, "serve"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE, text=True, env=env)
        ready = threading.Event()
        threading.Thread(target=self._read, args=(self.process, ready), daemon=True).start()
        if not ready.wait(30 * SLOW):
            raise AssertionError("the service did not start:\n" + "\n".join(self.lines))
        if self.process.poll() is not None:
            raise AssertionError("the service ended:\n" + "\n".join(self.lines))
        return self

    def _read(self, process, ready):
        for line in process.stderr:  # ends with the process
            self.lines.append(line.rstrip("\n"))
            if found := re.search(r"serves https?://[^:]+:(\d+)/", line):
                self.port = int(found[1])
            if found := re.search(r"with this token, once: (\S+)", line):
                self.setup_token = found[1]
            if "serves http" in line:  # the token comes in the next line, if there is one
                threading.Timer(0.1, ready.set).start()
        process.stderr.close()
        ready.set()

    def stop(self, patience=15):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(patience * SLOW)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError("the service did not stop:\n" + "\n".join(self.lines[-20:]))
        return self.process.returncode if self.process else None

    def kill(self):
        self.process.kill()
        self.process.wait()

    def client(self, token=None):
        return Client(self.port, token, self.ca)

    def owner(self):
        """A logged-in owner, made at the first start."""
        client = self.client()
        if self.setup_token:
            reply = client.post("/setup", {"token": self.setup_token, "name": self.OWNER, "password": self.PASSWORD})
            assert reply.status == 201, reply
            client.csrf = reply.json["csrf"]
            self.setup_token = None
        else:
            reply = client.log_in(self.OWNER, self.PASSWORD)
            assert reply.status == 201, reply
        return client


def wait_for(what, condition, patience=60):
    """Polls until `condition()` gives something true; what it gave last is told when it does not."""
    end, last = time.monotonic() + patience * SLOW, None
    while time.monotonic() < end:
        last = condition()
        if last:
            return last
        time.sleep(0.05)
    raise AssertionError(f"{what} did not come about: {last!r}")
