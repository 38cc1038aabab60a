#!/usr/bin/env python3
"""SCRAM-…-PLUS against a server that binds logins to their TLS connection: Dovecot 2.4 (see foreign_servers.py).

Somebody in the middle has a certificate that the client trusts, and hands everything on: without binding nobody notices,
with it the server does. Nothing weaker is tried then.
"""
import contextlib
import re
import shutil
import socket
import ssl
import sys
import threading
import unittest

import foreign_servers
from dovecot import temporary_folder
from harness import CI, SKIP_CODE, main, reports, run, sums


class BindingDovecot(foreign_servers.Dovecot24):
    mechanisms = "scram-sha-256-plus scram-sha-1-plus scram-sha-256 plain"

    def __init__(self, mechanisms=None):
        super().__init__()
        wanted = f"auth_mechanisms = {mechanisms or self.mechanisms};listen = 127.0.0.1;"
        (self.work / "start.sh").write_text(self.script.replace("listen = 127.0.0.1;", wanted))

    def methods(self):
        """How it says that somebody has logged in."""
        return re.findall(r"Logged in: user=<\w+>, method=([\w-]+)", (self.work / "log").read_text())


class Middle:
    """Ends the client's TLS with a certificate of its own and speaks TLS to the server: it could read everything."""

    def __init__(self, server):
        self.server, self.overheard = server, b""
        own = server.authority.issue("middle")
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(own.certificate, own.key)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with contextlib.suppress(OSError):
            far = ssl.create_default_context(cafile=self.server.ca_file).wrap_socket(
                socket.create_connection(("127.0.0.1", self.server.imaps)), server_hostname="localhost")
            near = self.context.wrap_socket(client, server_side=True)
            with near, far:
                back = threading.Thread(target=self._pump, args=(far, near), daemon=True)
                back.start()
                self._pump(near, far, listen=True)
                back.join()

    def _pump(self, source, sink, listen=False):
        with contextlib.suppress(OSError):
            while data := source.recv(4096):
                if listen:
                    self.overheard += data
                sink.sendall(data)
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


class ChannelBindingTest(unittest.TestCase):
    def setUp(self):
        self.folder = temporary_folder("mh-e2e-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def server(self, mechanisms=None):
        return self.enterContext(BindingDovecot(mechanisms))

    def collect(self, server, scheme="imaps", port=None, **more):
        mail = self.folder / f"mail-{len(list(self.folder.iterdir()))}"
        return run("collect", server.url("user1", scheme, port), f"maildir:{mail}", "--ca-file", server.ca_file, "--json", **more)

    def test_bound_to_the_connection(self):
        """TLS 1.3 with tls-exporter, at once and by STARTTLS; each of the hashes."""
        for mechanisms, method in [(None, "SCRAM-SHA-256-PLUS"), ("scram-sha-1-plus scram-sha-256 plain", "SCRAM-SHA-1-PLUS")]:
            with self.subTest(method):
                server = self.server(mechanisms)
                print(server.version(), flush=True)
                for scheme in ("imaps", "imap"):
                    done = self.collect(server, scheme)
                    self.assertEqual((done.returncode, sums(reports(done)[1])["failed"]), (0, 0), done.stderr)
                self.assertEqual(server.methods(), [method] * 2)
                wrong = self.collect(server, password="not this one")
                self.assertEqual(wrong.returncode, 3)
                self.assertIn("refuses user name or password", wrong.stderr)
                self.assertEqual(server.methods(), [method] * 2)

    def test_somebody_in_the_middle(self):
        server = self.server()
        with Middle(server) as middle:
            done = self.collect(server, port=middle.port)
            self.assertEqual(done.returncode, 3, done.stderr)
        asked = re.findall(rb"AUTHENTICATE (\S+)|(LOGIN) ", middle.overheard)
        self.assertEqual(asked, [(b"SCRAM-SHA-256-PLUS", b"")], "nothing weaker is tried")
        self.assertEqual(server.methods(), [])
        # Without binding the same one in the middle is not noticed: it is the binding that refused.
        server = self.server("scram-sha-256")
        with Middle(server) as middle:
            self.assertEqual(self.collect(server, port=middle.port).returncode, 0)
        self.assertEqual(server.methods(), ["SCRAM-SHA-256"])


if __name__ == "__main__":
    if reason := foreign_servers.unusable():
        print(f"SKIPPED channel_binding_test: {reason}")
        sys.exit(1 if CI and reason != "needs root" else SKIP_CODE)
    main()
