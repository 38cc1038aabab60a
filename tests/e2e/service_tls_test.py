#!/usr/bin/env python3
"""The service's own TLS: its certificate, a new one while connections go on, and those who speak something else."""
import contextlib
import os
import shutil
import signal
import socket
import ssl
import subprocess
import unittest

from certificates import Authority
from dovecot import temporary_folder
from harness import MAILHAUL, environment, main
from service import Service, wait_for


class TlsTest(unittest.TestCase):
    def setUp(self):
        self.folder = temporary_folder("mh-tls-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.authority = Authority(self.folder / "tls")
        self.first, self.second = self.authority.issue("first"), self.authority.issue("second")
        self.chain, self.key = self.folder / "server.pem", self.folder / "server.key"
        self.put(self.first)
        self.service = self.enterContext(Service(
            self.folder, ca=str(self.authority.ca), MAILHAUL_TLS_CERTIFICATE_FILE=str(self.chain), MAILHAUL_TLS_KEY_FILE=str(self.key)))

    def put(self, certificate, key=None):
        shutil.copy(certificate.certificate, self.chain)
        shutil.copy(key or certificate.key, self.key)

    def hang_up(self, says):
        before = len(self.service.lines)
        os.kill(self.service.process.pid, signal.SIGHUP)
        return wait_for(says, lambda: next((line for line in self.service.lines[before:] if says in line), None))

    def dial(self, **versions):
        context = ssl.create_default_context(cafile=self.authority.ca)
        for name, value in versions.items():
            setattr(context, name, value)
        return context.wrap_socket(socket.create_connection(("127.0.0.1", self.service.port), timeout=20), server_hostname="localhost")

    def shown(self):
        with self.dial() as one:
            return dict(pair[0] for pair in one.getpeercert()["subject"])["commonName"]

    def test_all_of_the_service_over_tls(self):
        owner = self.service.owner()
        self.assertTrue(any("serves https://" in line for line in self.service.lines))
        reply = owner.get("/system")
        self.assertEqual(reply.status, 200, reply)
        self.assertIn("max-age", reply.headers["Strict-Transport-Security"])
        session = owner.log_in(Service.OWNER, Service.PASSWORD)
        self.assertRegex(session.headers["Set-Cookie"], r"^__Host-mailhaul=.*; Secure")
        connection = owner.connect()
        with contextlib.closing(connection):  # one connection, many answers, some of them long
            sizes = set()
            for _ in range(20):
                connection.request("GET", "/api/v1/openapi.json")
                sizes.add(len(connection.getresponse().read()))
            self.assertEqual(len(sizes), 1)
            self.assertGreater(sizes.pop(), 40_000)
        body = b'{"name": "' + b"x" * 900_000 + b'"}'
        self.assertEqual(owner.ask("POST", "/destinations", raw=body).status, 422)
        checked = subprocess.run([MAILHAUL, "healthcheck"], capture_output=True, text=True, check=False, env=environment(
            None, MAILHAUL_LISTEN=f"127.0.0.1:{self.service.port}", MAILHAUL_DATA=str(self.service.data),
            MAILHAUL_TLS_CERTIFICATE_FILE=str(self.chain), MAILHAUL_TLS_KEY_FILE=str(self.key)))
        self.assertEqual(checked.returncode, 0, checked.stderr)

    def test_two_requests_in_one_record_are_both_answered(self):
        request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
        with self.dial() as one:
            one.sendall(request * 3)
            got = b""
            while got.count(b"HTTP/1.1 200") < 3:
                more = one.recv(4096)
                self.assertTrue(more, got)
                got += more

    def test_events_come_over_tls(self):
        owner = self.service.owner()
        connection = owner.connect()
        with contextlib.closing(connection):
            connection.request("GET", "/api/v1/events", headers={"Cookie": owner.cookie})
            stream = connection.getresponse()
            self.assertEqual(stream.status, 200)
            owner.post("/accounts", {"source": "imaps://me@mail.example.net", "password": "x"})
            self.assertTrue(stream.readline())

    def test_a_new_certificate_while_connections_go_on(self):
        self.assertEqual(self.shown(), "first")
        request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
        with self.dial() as old:
            old.sendall(request)
            self.assertIn(b"200", old.recv(4096))
            self.put(self.second)
            self.hang_up("the certificate was read again")
            self.assertEqual(self.shown(), "second")
            old.sendall(request)
            self.assertIn(b"200", old.recv(4096))
        self.put(self.first, key=self.second.key)  # not its key
        self.assertIn("the one before is still used", self.hang_up("cannot be used"))
        self.assertEqual(self.shown(), "second")
        self.assertEqual(self.service.stop(), 0)

    def test_who_speaks_something_else(self):
        with socket.create_connection(("127.0.0.1", self.service.port), timeout=20) as one:
            one.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            self.assertIn(b"https://", one.recv(4096))
        with self.assertRaises((ssl.SSLError, OSError)):
            self.dial(minimum_version=ssl.TLSVersion.TLSv1, maximum_version=ssl.TLSVersion.TLSv1_1)
        with contextlib.ExitStack() as stack:  # many that never finish their handshake keep nobody waiting
            for _ in range(40):
                stack.enter_context(socket.create_connection(("127.0.0.1", self.service.port), timeout=20)).sendall(b"\x16\x03\x01")
            self.assertEqual(self.service.client().get("/healthz").status, 200)

    def test_what_cannot_be_used_is_named_at_the_start(self):
        for setting, says in (({"MAILHAUL_TLS_CERTIFICATE_FILE": "/nowhere.pem"}, "/nowhere.pem"),
                              ({"MAILHAUL_TLS_KEY_FILE": str(self.key)}, "MAILHAUL_TLS_CERTIFICATE_FILE"),
                              ({"MAILHAUL_TLS_CERTIFICATE_FILE": str(self.chain), "MAILHAUL_TLS_KEY_FILE": str(self.second.key)}, "key"),
                              ({"MAILHAUL_TLS_CERTIFICATE": "-----BEGIN"}, "MAILHAUL_TLS_CERTIFICATE_FILE")):
            done = subprocess.run([MAILHAUL, "serve"], capture_output=True, text=True, timeout=60, check=False,
                                  env=environment(None, MAILHAUL_DATA=str(self.folder / "other"), **setting))
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIn(says, done.stderr)


if __name__ == "__main__":
    main()
