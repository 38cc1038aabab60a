"""A server that answers as a test wants: for what no real server can be made to do."""
import contextlib
import socket
import ssl
import threading


class ScriptedServer:
    """`greeting` is sent first; `answer(line)` gives the octets for each line that comes, or None to close."""

    def __init__(self, greeting=b"* OK ready\r\n", answer=None, certificate=None):
        self.greeting, self.answer = greeting, answer or (lambda line: None)
        self.context = None
        if certificate:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(certificate.certificate, certificate.key)
        self.lines = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with contextlib.suppress(OSError), client:
            if self.context:
                client = self.context.wrap_socket(client, server_side=True)
            with client, client.makefile("rb") as lines:
                client.sendall(self.greeting)
                for line in lines:
                    self.lines.append(line)
                    reply = self.answer(line)
                    if reply is None:
                        return
                    client.sendall(reply)
