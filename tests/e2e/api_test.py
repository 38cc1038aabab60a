#!/usr/bin/env python3
"""The API held against its own contract: generated requests (nothing may be a 5xx or off the schema), every operation for
every role and scope, and what hostile clients do to HTTP."""
import http.client
import json
import os
import random
import socket
import threading
import time
import unittest

import jsonschema

from dovecot import temporary_folder
from harness import CI, SLOW, WHOLE
from service import Client, Service, wait_for

REQUESTS = int(os.environ.get("MAILHAUL_REQUESTS", "60000" if WHOLE else "20000"))
if SLOW > 1:
    REQUESTS = 2000
STRINGS = ["", "a", "INBOX", "imaps://demo@127.0.0.1:1", "imap://x@localhost:1", "pop3s://y@127.0.0.1:1", "you@example.invalid", "../../etc",
           "/", ".", "\u0000", "\u202e\u0301", "💌" * 50, "x" * 5000, "' OR 1=1 --", "<script>alert(1)</script>", "%s%n", "2024-02-30", "2024-01-01",
           "every", "once", "hours", "owner", "viewer", "read", "keep", "remove", "A=B", "+no-CONDSTORE", "12 letters at least", "\r\nX: y", "*"]
NUMBERS = [0, 1, 2, 3, 7, -1, 10 ** 6, 2 ** 31, 2 ** 53, 2 ** 63, 2 ** 64, 1.5, -0.0, 1e308]


class Contract:
    def __init__(self, document):
        self.document = document
        self.validators = {}
        self.operations = []
        for path, methods in document["paths"].items():
            shared = methods.get("parameters", [])
            for method, operation in methods.items():
                if method == "parameters":
                    continue
                parameters = [self.resolve(one) for one in shared + operation.get("parameters", [])]
                self.operations.append((method.upper(), path, operation, parameters))

    def resolve(self, thing):
        while "$ref" in thing:
            at = self.document
            for part in thing["$ref"][2:].split("/"):
                at = at[part]
            thing = at
        return thing

    def validator(self, schema):
        key = json.dumps(schema, sort_keys=True)
        if key not in self.validators:
            whole = {"components": self.document["components"], **schema}
            self.validators[key] = jsonschema.Draft202012Validator(whole)
        return self.validators[key]

    def complaint(self, operation, reply):
        """What about the answer is not as the contract says; None if nothing."""
        if reply.status >= 500 and reply.status != 503:
            return f"status {reply.status}"
        described = operation["responses"].get(str(reply.status))
        if described is None:
            if 200 <= reply.status < 300:
                return f"status {reply.status} is not described"
            described = operation["responses"].get("default") or {"$ref": "#/components/responses/Problem"}
        described = self.resolve(described)
        kind = (reply.headers.get("Content-Type") or "").split(";")[0]
        contents = described.get("content")
        if not contents:
            return None if not reply.text else f"status {reply.status} should have no body"
        if kind not in contents:
            return f"type {kind} is not described"
        if kind.endswith("json"):
            try:
                value = json.loads(reply.text)
            except ValueError:
                return "the body is not JSON"
            for error in self.validator(contents[kind]["schema"]).iter_errors(value):
                return f"{'/'.join(map(str, error.absolute_path))}: {error.message[:200]}"
        return None


class Generator:
    """Values that fit a schema, and values that do not."""

    def __init__(self, contract, seed, ids):
        self.contract, self.luck, self.ids = contract, random.Random(seed), ids

    def value(self, schema, deep=0):
        schema, luck = self.contract.resolve(schema), self.luck
        if luck.random() < 0.06:
            return luck.choice([None, True, [], {}, "text", 7, -1, [[[]]], {"a": {"b": {}}}])
        if "enum" in schema:
            return luck.choice(schema["enum"])
        kind = schema.get("type")
        if kind == "object" or "properties" in schema:
            out = {}
            for name, member in schema.get("properties", {}).items():
                if name in schema.get("required", []) and luck.random() < 0.95 or luck.random() < 0.4:
                    out[name] = self.value(member, deep + 1)
            if luck.random() < 0.05:
                out[luck.choice(STRINGS)[:50]] = 1
            return out
        if kind == "array":
            return [self.value(schema["items"], deep + 1) for _ in range(luck.choice([0, 1, 1, 2, 5]))]
        if kind == "boolean":
            return luck.random() < 0.5
        if kind in ("integer", "number"):
            return luck.choice(NUMBERS + self.ids * 3)
        return luck.choice(STRINGS)

    def request(self, method, path, operation, parameters):
        luck, query, headers = self.luck, [], {}
        for one in parameters:
            if one["in"] == "path":
                path = path.replace("{" + one["name"] + "}", str(luck.choice(self.ids + [0, 999999, -1, "x", 2 ** 64])))
            elif one["in"] == "query" and luck.random() < 0.4:
                query.append((one["name"], self.value(one["schema"])))
            elif one["in"] == "header" and luck.random() < 0.2:
                text = str(luck.choice(STRINGS + ['"1"', '"2"']))[:300]
                headers[one["name"]] = "".join(c for c in text if " " < c < "\x7f") or "k"
        body = operation.get("requestBody")
        raw, kind = None, "application/json"
        if body:
            kind, content = next(iter(self.contract.resolve(body)["content"].items()))
            if kind == "text/csv":
                raw = luck.choice(["", "source\n", "source,password\nimaps://a@127.0.0.1:1,x\n", '"', "a,b\n1,2", "source\n" + "x\n" * 50]).encode()
            elif luck.random() < 0.96:
                raw = json.dumps(self.value(content["schema"])).encode()
            else:
                raw = luck.choice([b"", b"{", b"\xff", b"[" * 1000, b'{"a":' * 100, b"null", b"1e999"])
            if luck.random() < 0.02:
                kind = "text/plain"
        return path, query, headers, raw, kind


def urlencoded(query):
    from urllib.parse import quote
    return "&".join(f"{quote(str(name))}={quote(str(value).encode('utf-8', 'replace'))}" for name, value in query)


class ApiWorld(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = temporary_folder("mh-api-")
        cls.service = cls.enterClassContext(Service(cls.folder, MAILHAUL_WORKERS="2"))
        cls.owner = cls.service.owner()
        cls.contract = Contract(cls.owner.get("/openapi.json").json)


class ContractTest(ApiWorld):
    def test_generated_requests_get_described_answers(self):
        def fresh():  # it revokes its own now and then
            return self.owner.post("/tokens", {"name": "fuzz", "scopes": ["read", "write", "run", "admin"]}).json["secret"]
        secret = fresh()
        seed = int(os.environ.get("MAILHAUL_SEED", "1"))
        ids = [1, 2, 3]
        generator = Generator(self.contract, seed, ids)
        # Logging in is limited on purpose and hashes for a while; tests of settings go to the network.
        rare = {"POST /session": 0.01, "POST /setup": 0.01, "POST /users": 0.02, "PATCH /users/{id}": 0.02, "POST /accounts/test": 0.02,
                "POST /accounts/{id}/test": 0.05, "POST /discovery": 0.01}
        connection = http.client.HTTPConnection("127.0.0.1", self.service.port, timeout=60 * SLOW)
        statuses, complaints = {}, []
        number = 0
        while sum(statuses.values()) < REQUESTS:
            number += 1
            method, path, operation, parameters = generator.luck.choice(self.contract.operations)
            if generator.luck.random() > rare.get(f"{method} {path}", 1):
                continue
            target, query, headers, raw, kind = generator.request(method, path, operation, parameters)
            headers["Authorization"] = f"Bearer {secret}"
            if raw is not None:
                headers["Content-Type"] = kind
            url = "/api/v1" + target + ("?" + urlencoded(query) if query else "")
            connection.request(method, url, raw, headers)
            reply = connection.getresponse()
            reply.text, reply.headers = reply.read().decode("utf-8", "replace"), dict(reply.getheaders())
            statuses[reply.status] = statuses.get(reply.status, 0) + 1
            if reply.status == 401:
                secret = fresh()
            if complaint := self.contract.complaint(operation, reply):
                complaints.append(f"seed {seed} request {number}: {method} {url[:200]} {(raw or b'')[:300]!r}: {complaint}; {reply.text[:300]}")
                if len(complaints) > 10:
                    break
        self.assertEqual(complaints, [], "\n".join(complaints))
        self.assertGreater(statuses.get(200, 0) + statuses.get(201, 0), REQUESTS / 20, statuses)
        self.assertEqual(self.owner.get("/healthz").status, 200)
        print(f"    {sum(statuses.values())} requests: {dict(sorted(statuses.items()))}")

    def test_every_operation_for_every_role_and_scope(self):
        """Without a login nothing; below its scope nothing; never another's objects."""
        role_scopes = {"owner": {"read", "write", "run", "admin"}, "operator": {"read", "write", "run"}, "viewer": {"read"}}
        clients = {}
        for role in ("operator", "viewer"):
            self.owner.post("/users", {"name": role, "password": f"the words of {role}", "role": role})
            clients[role] = self.service.client()
            self.assertEqual(clients[role].log_in(role, f"the words of {role}").status, 201)
        destination = self.owner.post("/destinations", {"path": "matrix"}).json["id"]
        account = self.owner.post("/accounts", {"source": "imaps://a@127.0.0.1:1"}).json["id"]
        job = self.owner.post("/jobs", {"account": account, "destination": destination, "paused": True}).json["id"]
        ids = {"accounts": account, "destinations": destination, "jobs": job, "runs": 1, "users": 1, "tokens": 1}
        needs = {"GET": "read", "POST": "write", "PATCH": "write", "DELETE": "write"}
        checked = 0
        for method, path, operation, _ in self.contract.operations:
            if operation.get("security") == []:
                continue
            target = path.replace("{id}", str(ids.get(path.split("/")[1], 1)))
            nobody = self.service.client().ask(method, target, {} if method in ("POST", "PATCH") else None)
            self.assertEqual(nobody.status, 401, (method, path, nobody))
            for role, client in clients.items():
                if (method, path) == ("DELETE", "/session"):
                    continue
                reply = client.ask(method, target, {} if method in ("POST", "PATCH") else None)
                own = path.startswith(("/session", "/tokens", "/users", "/audit", "/system", "/events"))
                if "{id}" in path and not own:
                    self.assertIn(reply.status, (403, 404, 422), (role, method, path, reply))
                if needs[method] not in role_scopes[role] and not own:
                    self.assertEqual(reply.status, 403, (role, method, path, reply))
                self.assertLess(reply.status, 500, (role, method, path, reply))
                checked += 1
        for name in ("accounts", "destinations", "jobs"):
            self.assertEqual(self.owner.get(f"/{name}/{ids[name]}").status, 200)
        self.assertGreater(checked, 60)


class HostileHttpTest(ApiWorld):
    def raw(self, octets, patience=10):
        with socket.create_connection(("127.0.0.1", self.service.port), timeout=patience * SLOW) as peer:
            peer.sendall(octets)
            out = b""
            try:
                while chunk := peer.recv(65536):
                    out += chunk
            except (TimeoutError, ConnectionResetError):
                pass
            return out

    def grown(self, before):
        """KiB of memory more than before; a sanitizer's own are not ours."""
        return 0 if SLOW > 1 else self.memory() - before

    def memory(self):
        with open(f"/proc/{self.service.process.pid}/status", encoding="ascii") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))

    def test_floods_are_refused_within_bounds(self):
        before = self.memory()
        head = b"POST /api/v1/session HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"

        def flood(start, piece, count):
            """Sends until it is refused."""
            with socket.create_connection(("127.0.0.1", self.service.port), timeout=20 * SLOW) as peer:
                try:
                    peer.sendall(start)
                    for _ in range(count):
                        peer.sendall(piece)
                    return peer.recv(4096)
                except (ConnectionResetError, BrokenPipeError):
                    return b"reset"
        for name, answer in {
            "an endless request line": flood(b"GET /", b"a" * 65536, 1600),
            "400,000 fields": flood(head, b"X: y\r\n" * 4000, 100),
            "a chunked body of 100 MB": flood(head + b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b"x" * 65536 + b"\r\n", 1600),
            "a body of a gigabyte": flood(head + b"Content-Length: 1073741824\r\n\r\n", b"x" * 65536, 1600),
            "a compressed body": flood(head + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nxxxxx", b"", 0),
        }.items():
            self.assertRegex(answer, rb"HTTP/1.1 4\d\d|reset", name)
        self.assertLess(self.grown(before), 32 * 1024)

    def test_slow_sockets_and_streams_keep_nobody_out(self):
        before = self.memory()
        slow, streams = [], []
        token = self.owner.post("/tokens", {"name": "streams", "scopes": ["read"]}).json["secret"]
        try:
            for n in range(50):  # from addresses of their own: one address may hold 64 connections only
                peer = socket.create_connection(("127.0.0.1", self.service.port), source_address=(f"127.0.1.{n + 1}", 0))
                peer.sendall(f"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
                streams.append(peer)
            for n in range(200):
                peer = socket.create_connection(("127.0.0.1", self.service.port), source_address=(f"127.0.2.{n + 1}", 0))
                peer.sendall(b"GET / HTTP/1.1\r\nHost: loc")
                slow.append(peer)
            times = []
            for _ in range(200):
                began = time.monotonic()
                self.assertEqual(self.owner.get("/healthz").status, 200)
                times.append(time.monotonic() - began)
            times.sort()
            self.assertLess(times[197], 0.25 * SLOW, "p99 of /healthz")
            self.assertEqual(self.service.client().log_in("owner", Service.PASSWORD).status, 201)
            self.assertLess(self.grown(before), 32 * 1024)
            self.assertTrue(streams[0].recv(4096).startswith(b"HTTP/1.1 200 OK"))
            # A change reaches every stream.
            self.owner.post("/accounts", {"source": "imaps://seen@127.0.0.1:1"})
            for peer in streams:
                peer.settimeout(10 * SLOW)
                seen = b""
                while b'"account"' not in seen:
                    seen += peer.recv(65536)
            # Whoever dawdles is sent away.
            slow[0].settimeout(40 * SLOW)
            self.assertIn(b"408", slow[0].recv(4096))
        finally:
            for peer in slow + streams:
                peer.close()

    def test_a_crowd_from_one_address_is_limited(self):
        peers = [socket.create_connection(("127.0.0.1", self.service.port), source_address=("127.0.3.1", 0)) for _ in range(80)]
        try:
            wait_for("the refusal", lambda: any(self.closed(peer) for peer in peers), 10)
            self.assertEqual(self.owner.get("/healthz").status, 200)
        finally:
            for peer in peers:
                peer.close()

    @staticmethod
    def closed(peer):
        peer.settimeout(0.05)
        try:
            return b"503" in peer.recv(100)
        except TimeoutError:
            return False

    def test_smuggled_and_forged_requests(self):
        for octets in (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                       b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: xchunked\r\n\r\n",
                       b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: a\r\n b\r\n\r\n",
                       b"GET  /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"):
            self.assertRegex(self.raw(octets), rb"^HTTP/1.1 4\d\d", octets)
        both = self.raw(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        self.assertEqual(both.count(b"HTTP/1.1 200"), 2)
        self.assertIn(b"100 Continue", self.raw(b"POST /api/v1/session HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nConnection: close\r\n"
                                                b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"))


class GuessingTest(ApiWorld):
    def test_guessing_is_slowed_down(self):
        statuses = [self.service.client().log_in("owner", "wrong" * 4).status for _ in range(25)]
        self.assertIn(429, statuses)
        self.assertEqual(self.owner.get("/jobs").status, 200)  # who is in stays in


if __name__ == "__main__":
    from harness import main
    main()
