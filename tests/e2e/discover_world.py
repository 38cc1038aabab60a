"""What discovery meets: a DNS server, a web server for any name and mail servers, on loopback, each saying what the test
wants. Nothing here leaves the machine: names are mapped by --connect-to."""
import contextlib
import socket
import ssl
import struct
import threading
import time


class Server:
    """A TCP listener with a thread per connection."""

    def __init__(self, handle, context=None):
        self.handle, self.context = handle, context
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                one, _ = self.listener.accept()
                threading.Thread(target=self._serve, args=(one,), daemon=True).start()

    def _serve(self, one):
        one.settimeout(20)
        with contextlib.suppress(OSError, ValueError):
            if self.context:
                one = self.context.wrap_socket(one, server_side=True)
            self.handle(one)
        with contextlib.suppress(OSError):
            one.close()

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self.listener.close()


def lines_of(sock):
    buffer = b""
    while True:
        while b"\n" not in buffer:
            if not (more := sock.recv(4096)):
                return
            buffer += more
        line, buffer = buffer.split(b"\n", 1)
        yield line.rstrip(b"\r").decode()


class Web:
    """pages[host + path] → (status, headers, body) or a callable that gets the socket; counts what it has sent."""

    def __init__(self, context):
        self.pages, self.asked, self.sent = {}, [], 0
        self.server = Server(self._handle, context)
        self.port = self.server.port

    def _handle(self, sock):
        request = []
        for line in lines_of(sock):
            if not line:
                break
            request.append(line)
        if not request:
            return
        path = request[0].split()[1]
        host = next((line[6:] for line in request if line.lower().startswith("host: ")), "").split(":")[0]
        self.asked.append(host + path)
        page = self.pages.get(host + path.split("?")[0], (404, {}, b"no"))
        if callable(page):
            return page(self, sock)
        status, headers, body = page
        head = f"HTTP/1.1 {status} X\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items())
        self.send(sock, (head + f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n").encode() + body)

    def send(self, sock, octets):
        sock.sendall(octets)
        self.sent += len(octets)


def endless(web, sock):
    """A gibibyte, as far as the client takes it."""
    web.send(sock, b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\n\r\n<clientConfig>")
    for _ in range(1 << 14):
        web.send(sock, b"<a>" + b"x" * 65_526 + b"</a>")


def slow(web, sock):
    web.send(sock, b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\n\r\n")
    for _ in range(100):
        web.send(sock, b" ")
        time.sleep(0.2)


def imap(capabilities="IMAP4rev1 AUTH=PLAIN SASL-IR", greeting="* OK ready", context=None):
    """A handler; with `context` it starts TLS when it is asked."""
    def handle(sock):
        sock.sendall(greeting.encode() + b"\r\n")
        secured, again = sock, True
        while again:
            again = False
            for line in lines_of(secured):
                tag, _, command = line.partition(" ")
                if command.upper() == "STARTTLS" and context:
                    secured.sendall(f"{tag} OK go\r\n".encode())
                    secured, again = context.wrap_socket(secured, server_side=True), True
                    break
                if command.upper() == "CAPABILITY":
                    secured.sendall(f"* CAPABILITY {capabilities}\r\n".encode())
                secured.sendall(f"{tag} OK done\r\n".encode())
    return handle


def pop3(sock):
    sock.sendall(b"+OK ready\r\n")
    for line in lines_of(sock):
        sock.sendall(b"+OK\r\nUSER\r\nSASL PLAIN\r\nUIDL\r\n.\r\n" if line.upper() == "CAPA" else b"+OK\r\n")


def says(text):
    return lambda sock: (sock.sendall(text), time.sleep(0.2))


class Dns:
    """records[(name, type)] → list of rdata octets, "servfail", or "silence"; truncates over UDP what it is told to."""

    TYPES = {15: "MX", 33: "SRV", 1: "A", 28: "AAAA"}

    def __init__(self):
        self.records, self.truncate, self.asked = {}, set(), []
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for _ in range(20):  # the same number for both
            tcp = socket.create_server(("127.0.0.1", 0))
            try:
                self.udp.bind(tcp.getsockname())
                break
            except OSError:
                tcp.close()
        self.tcp, self.port = tcp, tcp.getsockname()[1]
        threading.Thread(target=self._serve_udp, daemon=True).start()
        threading.Thread(target=self._serve_tcp, daemon=True).start()

    def _serve_udp(self):
        with contextlib.suppress(OSError):
            while True:
                question, where = self.udp.recvfrom(4096)
                if answer := self.answer(question, True):
                    self.udp.sendto(answer, where)

    def _serve_tcp(self):
        with contextlib.suppress(OSError):
            while True:
                one, _ = self.tcp.accept()
                with contextlib.suppress(OSError), one:
                    size = struct.unpack("!H", one.recv(2))[0]
                    answer = self.answer(one.recv(size), False)
                    one.sendall(struct.pack("!H", len(answer)) + answer)

    def answer(self, question, udp):
        labels, at = [], 12
        while question[at]:
            labels.append(question[at + 1:at + 1 + question[at]].decode())
            at += 1 + question[at]
        name, kind = ".".join(labels).lower(), self.TYPES.get(struct.unpack("!H", question[at + 1:at + 3])[0], "?")
        self.asked.append((name, kind, "udp" if udp else "tcp"))
        found, asked = self.records.get((name, kind), []), question[12:at + 5]
        if found == "silence":
            return None
        code = 2 if found == "servfail" else 0 if found or any(n == name for n, _ in self.records) else 3
        if found == "servfail":
            found = []
        cut = udp and (name, kind) in self.truncate
        head = question[:2] + struct.pack("!HHHHH", 0x8180 | code | (0x200 if cut else 0), 1, 0 if cut else len(found), 0, 0)
        return head + asked + b"".join(b"\xc0\x0c" + question[at + 1:at + 5] + struct.pack("!IH", 60, len(data)) + data
                                        for data in ([] if cut else found))


def packed(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".") if label) + b"\0"


def srv(priority, weight, port, target):
    return struct.pack("!HHH", priority, weight, port) + packed(target)


def mx(preference, host):
    return struct.pack("!H", preference) + packed(host)


def autoconfig(*servers):
    """servers: (type, host, port, socket type, user, authentication…)"""
    inner = "".join(
        f'<incomingServer type="{kind}"><hostname>{host}</hostname><port>{port}</port><socketType>{secure}</socketType>'
        f"<username>{user}</username>" + "".join(f"<authentication>{one}</authentication>" for one in auth) + "</incomingServer>"
        for kind, host, port, secure, user, *auth in servers)
    return (200, {"Content-Type": "text/xml"},
            f'<?xml version="1.0"?><clientConfig version="1.1"><emailProvider id="x"><domain>x</domain>{inner}'
            f"</emailProvider></clientConfig>".encode())


def server_context(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.certificate, certificate.key)
    return context
