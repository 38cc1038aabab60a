"""What is measured: each tool knows how to be set up in a fresh folder and what to call for a phase.

first   from nothing        poll   again, nothing new        delta   100 new messages, 500 changed flags
"""
import os
import pathlib


class Tool:
    pop3 = False
    settle = 0.3  # seconds between two runs

    def __init__(self, lab, user, port, tls, folder):
        self.lab, self.user, self.port, self.tls, self.folder = lab, user, port, tls, pathlib.Path(folder)

    def setup(self):
        pass

    def environment(self):
        return {}

    def count(self):
        """Messages that lie in the destination; None: the tool keeps none."""
        return sum(len(files) for path, _, files in os.walk(self.folder / "mail") if os.path.basename(path) in ("cur", "new"))


class Raw(Tool):
    """The floor: a client that does nothing but the protocol, as few round trips as it allows."""
    options, poll = [], "list"

    def command(self, phase):
        command = [self.lab.program("rawimap"), "-p", self.port, "-u", self.user, "-P", self.lab.password, "-S", self.folder / "state"]
        command += ["-s"] if self.tls else []
        command += [option.replace("@", str(self.folder / "mail")) for option in self.options]
        return command + [{"first": "fetch", "poll": self.poll, "delta": "sync"}[phase]]

    def count(self):
        return None


class RawFiles(Raw):
    options = ["-w", "@"]


class RawFilesSyncfs(Raw):
    """… and writes a file for each message, made durable by one syncfs at the end."""
    options = ["-w", "@", "-y", "syncfs"]


class Mbsync(Tool):
    fsync = "yes"
    settle = 2.5  # it sleeps a second when it meets a Maildir that changed a moment ago

    def setup(self):
        (self.folder / "mail").mkdir(parents=True)
        security = f"SSLType IMAPS\nCertificateFile {self.lab.ca_file}" if self.tls else "SSLType None"
        rc = self.folder / "rc"
        rc.write_text(f"""FSync {self.fsync}

IMAPAccount lab
Host localhost
Port {self.port}
User {self.user}
Pass {self.lab.password}
{security}
AuthMechs LOGIN
Timeout 300

IMAPStore far
Account lab

MaildirStore near
Path {self.folder}/mail/
Inbox {self.folder}/mail/INBOX
SubFolders Verbatim

Channel lab
Far :far:
Near :near:
Patterns *
Create Near
Sync Pull
SyncState *
""")
        rc.chmod(0o600)

    def command(self, phase):
        return ["mbsync", "-c", self.folder / "rc", "-q", "-q", "-a"]


class MbsyncNoFsync(Mbsync):
    fsync = "no"


class Mailhaul(Tool):
    options = []

    def environment(self):
        return {"MAILHAUL_SOURCE_PASSWORD": self.lab.password}

    def command(self, phase):
        url = f"{'pop3' if self.pop3 else 'imap'}{'s' if self.tls else ''}://{self.user}@localhost:{self.port}"
        trust = ["--ca-file", self.lab.ca_file] if self.tls else ["--allow-plaintext"]
        return [self.lab.mailhaul, "collect", url, f"maildir:{self.folder / 'mail'}", "--json", *trust, *self.options]


class MailhaulFour(Mailhaul):
    options = ["--connections", "4"]


class MailhaulPop(Mailhaul):
    pop3 = True


class Mpop(Tool):
    """Pipelines in bursts; leaves the mail where it is, as all of them here."""
    pop3 = True

    def setup(self):
        for folder in ("cur", "new", "tmp"):
            (self.folder / "mail" / folder).mkdir(parents=True)
        rc = self.folder / "rc"
        rc.write_text(f"""account lab
host localhost
port {self.port}
user {self.user}
password {self.lab.password}
auth user
tls on
tls_starttls off
tls_trust_file {self.lab.ca_file}
keep on
received_header off
timeout 300
uidls_file {self.folder}/uidls
delivery maildir {self.folder}/mail
""")
        rc.chmod(0o600)

    def command(self, phase):
        return ["mpop", "-C", self.folder / "rc", "-q", "lab"]


class Fetchmail(Tool):
    """Hands each message to a program of its own: the smallest that makes a Maildir, without any sync."""
    pop3 = True

    def setup(self):
        (self.folder / "mail").mkdir()
        rc = self.folder / "rc"
        rc.write_text(f"""set no bouncemail
set idfile "{self.folder}/ids"
poll localhost service {self.port} protocol pop3 uidl timeout 300
  username "{self.user}" password "{self.lab.password}" keep no rewrite mda "{self.lab.program('deliver')} {self.folder}/mail"
  ssl sslcertfile "{self.lab.ca_file}" sslcertck
""")
        rc.chmod(0o600)

    def command(self, phase):
        return ["fetchmail", "-s", "-f", self.folder / "rc", "--pidfile", self.folder / "pid"]


TOOLS = {"mailhaul": Mailhaul, "mailhaul-pop": MailhaulPop, "mpop": Mpop, "fetchmail": Fetchmail, "mailhaul-c4": MailhaulFour, "raw": Raw, "raw-files": RawFiles, "raw-files-syncfs": RawFilesSyncfs,
         "mbsync": Mbsync, "mbsync-nofsync": MbsyncNoFsync}
