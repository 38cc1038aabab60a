"""Address books for the end-to-end tests: what is in them, and the servers that have them.

The books are made here, octet by octet, and put into the servers' own stores: into the git repository of Xandikos, as
files of Radicale; later changes go by PUT. What is compared are these octets, or what the server itself sends
to a plain HTTP client.
"""
import base64
import hashlib
import http.client
import os
import pathlib
import random
import shutil
import socket
import ssl
import subprocess
import sys
import time
import urllib.parse

USER, PASSWORD = "alice", "s3cret"


def card(number, draw, kind):
    lines = ["BEGIN:VCARD", "VERSION:3.0", f"UID:card-{number}@example.test", f"FN:Person {number}",
             f"N:{number};Person;;;", f"EMAIL:person{number}@example.test"]
    if kind == "foreign":
        lines[3:5] = [f"FN:Jürgen Ωmega 山田 {number}", f"N:Ωmega;Jürgen;山田;;"]
    elif kind == "folded":
        text = "NOTE:" + "".join(draw.choice("abcdefgh äöü,;") for _ in range(300)).replace(",", "\\,").replace(";", "\\;")
        lines += [text[:60]] + [" " + text[i:i + 60] for i in range(60, len(text), 60)]
    elif kind == "photo":
        octets = base64.b64encode(draw.randbytes(40_000)).decode()
        lines += ["PHOTO;ENCODING=b;TYPE=JPEG:" + octets[:40]] + [" " + octets[i:i + 74] for i in range(40, len(octets), 74)]
    elif kind == "group":
        lines += ["X-ADDRESSBOOKSERVER-KIND:group", "X-ADDRESSBOOKSERVER-MEMBER:urn:uuid:card-1@example.test"]
    elif kind == "four":
        lines[1] = "VERSION:4.0"
        lines += ["TEL;VALUE=uri;PREF=1:tel:+49-30-1234567", "item1.X-ABLabel:<a & b> ]]>"]
    end = "\n" if kind == "bare" else "\r\n"
    return (end.join(lines + ["END:VCARD"]) + end).encode()


KINDS = ("plain", "foreign", "folded", "group", "four", "bare")


def books(count, cards, photos=1, seed=7):
    """name → {file name → octets}"""
    draw = random.Random(seed)
    out, number = {}, 0
    for book in range(count):
        content = {}
        for index in range(cards):
            number += 1
            kind = "photo" if index < photos else KINDS[index % len(KINDS)]
            content[f"c{number}.vcf" if index % 5 else f"c {number}@x.vcf"] = card(number, draw, kind)
        out[f"book{book}"] = content
    return out


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Server:
    """What both servers share: a process, and a plain client of it."""

    def __init__(self, folder, user=USER, password=PASSWORD, tls=None):
        """`tls`: a certificate for localhost (Authority.good), and the file of who made it."""
        self.user, self.password, self.tls = user, password, tls
        self.folder, self.port = pathlib.Path(folder), free_port()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log = open(self.folder / "server.log", "ab")
        self.process = None

    @property
    def url(self):
        return f"https://localhost:{self.port}/" if self.tls else f"http://127.0.0.1:{self.port}/"

    def __enter__(self):
        self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
                                        env={**os.environ, "LC_ALL": "C.UTF-8"})
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                self.request("OPTIONS", "/")
                return self
            except OSError:
                if self.process.poll() is not None:
                    break
                time.sleep(0.05)  # nothing tells when a foreign server listens
        raise AssertionError(f"no server: {(self.folder / 'server.log').read_text()[-2000:]}")

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.log.close()

    def request(self, method, path, body=None, **headers):
        if self.tls:
            trusted = ssl.create_default_context(cafile=self.tls[1])
            connection = http.client.HTTPSConnection("localhost", self.port, timeout=60, context=trusted)
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            basic = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
            connection.request(method, path, body, {"Authorization": "Basic " + basic, **headers})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def put(self, book, name, octets):
        status, said = self.request("PUT", self.place(book, name), octets, **{"Content-Type": "text/vcard"})
        assert status in (200, 201, 204), (status, said)

    def delete(self, book, name):
        status, said = self.request("DELETE", self.place(book, name))
        assert status in (200, 204), (status, said)

    def get(self, book, name):
        status, octets = self.request("GET", self.place(book, name))
        assert status == 200, status
        return octets

    def make(self, book):
        body = ("<C:mkcol xmlns='DAV:' xmlns:C='DAV:' xmlns:K='urn:ietf:params:xml:ns:carddav'><set><prop><resourcetype>"
                f"<collection/><K:addressbook/></resourcetype><displayname>Büch {book}</displayname></prop></set></C:mkcol>")
        status, said = self.request("MKCOL", self.place(book, ""), body.encode(), **{"Content-Type": "application/xml"})
        assert status in (200, 201), (status, said)


class Radicale(Server):
    name = "radicale"

    def command(self):
        (self.folder / "users").write_text(f"{self.user}:{self.password}\n")
        tls = f"ssl = True\ncertificate = {self.tls[0].certificate}\nkey = {self.tls[0].key}\n" if self.tls else ""
        (self.folder / "config").write_text(
            f"[server]\nhosts = 127.0.0.1:{self.port}\nmax_connections = 20\n{tls}[auth]\ntype = htpasswd\n"
            f"htpasswd_filename = {self.folder}/users\nhtpasswd_encryption = plain\ndelay = 0\n"
            f"[storage]\nfilesystem_folder = {self.folder}/store\n[logging]\nlevel = warning\n")
        return [sys.executable, "-m", "radicale", "--config", str(self.folder / "config")]

    def place(self, book, name):
        return f"/{self.user}/{book}/{urllib.parse.quote(name)}"

    def put_all(self, book, cards):
        for name, octets in cards.items():  # as its own files: a PUT would write the card anew
            (self.folder / "store" / "collection-root" / self.user / book / name).write_bytes(octets)


class Xandikos(Server):
    name = "xandikos"

    def command(self):
        return ["/usr/bin/xandikos", "-l", "127.0.0.1", "-p", str(self.port), "-d", str(self.folder / "store"),
                "--defaults", "--current-user-principal", f"/{USER}/"]

    def place(self, book, name):
        return f"/{USER}/contacts/{book}/{urllib.parse.quote(name)}"

    def put_all(self, book, cards):
        store = self.folder / "store" / USER / "contacts" / book  # a git repository
        git = ["git", "-C", str(store), "-c", "user.name=x", "-c", "user.email=x@example.test"]
        for name, octets in cards.items():
            (store / name).write_bytes(octets)
        subprocess.run([*git, "add", "--all"], check=True, capture_output=True)
        subprocess.run([*git, "commit", "-m", "cards"], check=True, capture_output=True)


def fill(server, content):
    for book, cards in content.items():
        server.make(book)
        server.put_all(book, cards)


def read_vdir(root):
    """What is in a vdir, by a reader of its own: displayname → the cards' octets, sorted."""
    out = {}
    for folder in sorted(pathlib.Path(root).iterdir()):
        if folder.is_dir():
            name = (folder / "displayname").read_text() if (folder / "displayname").exists() else folder.name
            out[name] = sorted(file.read_bytes() for file in folder.iterdir()
                               if file.suffix == ".vcf" and not file.name.startswith("."))
    return out


def digests(cards):
    return sorted(hashlib.sha256(octets).hexdigest() for octets in cards)
