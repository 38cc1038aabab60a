"""Certificates for the tests: a private CA and what it signed, good and bad, made with the openssl program."""
import pathlib
import subprocess
from dataclasses import dataclass

NAMES = "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1"
AUTHORITY = """[ca]
default_ca = own
[own]
database = {d}/index.txt
serial = {d}/serial
new_certs_dir = {d}
default_md = sha256
policy = any
copy_extensions = copy
unique_subject = no
[any]
commonName = supplied
"""


@dataclass(frozen=True)
class Certificate:
    certificate: pathlib.Path
    key: pathlib.Path


def openssl(*arguments):
    done = subprocess.run(["openssl", *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"openssl {arguments[0]}: {done.stderr.strip()}")


class Authority:
    """A CA in a folder of its own; `ca` is what a client is told to trust."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.ca, self.key = self.folder / "ca.pem", self.folder / "ca.key"
        (self.folder / "index.txt").touch()
        (self.folder / "serial").write_text("1000\n")
        (self.folder / "ca.cnf").write_text(AUTHORITY.format(d=self.folder))
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
                "-subj", "/CN=Test CA", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
                "-keyout", self.key, "-out", self.ca)

    def issue(self, name, alternative_names=NAMES, first="20200101000000Z", last="20990101000000Z"):
        """A server certificate; `first` and `last` bound its life."""
        key, request, certificate = (self.folder / f"{name}.{kind}" for kind in ("key", "csr", "pem"))
        openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-subj", f"/CN={name}", "-addext", alternative_names, "-keyout", key, "-out", request)
        openssl("ca", "-batch", "-notext", "-config", self.folder / "ca.cnf", "-cert", self.ca, "-keyfile", self.key,
                "-startdate", first, "-enddate", last, "-in", request, "-out", certificate)
        key.chmod(0o644)  # read by the server's own user; nobody outside this test trusts it
        return Certificate(certificate, key)

    def good(self):
        return self.issue("localhost")

    def expired(self):
        return self.issue("expired", last="20200201000000Z")

    def wrong_name(self):
        return self.issue("wrong", "subjectAltName=DNS:mail.example.org")
