"""A private Dovecot on loopback ports of its own choice: the real server of the tests and of ./run's demonstration.

Everything runs as one unprivileged user: the caller, or `mail` when the caller is root (Dovecot serves nobody's mail as
root). Nothing outside the server's own temporary folder and the Maildirs it is pointed at is touched. A server that does
not start is an error, never a skip.
"""
import contextlib
import ctypes
import os
import pathlib
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass

from certificates import Authority

PASSWORD = "secret"
CONFIGURATION = """
base_dir = {d}/run
state_dir = {d}/state
instance_name = {instance}
log_path = {d}/log
protocols = imap
listen = 127.0.0.1
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
default_vsz_limit = 0
default_process_limit = 200
first_valid_uid = 1
first_valid_gid = 1
ssl = yes
ssl_cert = <{certificate}
ssl_key = <{key}
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_failure_delay = 0
mail_fsync = never
mail_max_userip_connections = 200
mailbox_list_index = yes
maildir_stat_dirs = yes
imap_logout_format = in=%i out=%o bodies=%{{fetch_body_count}} octets=%{{fetch_body_bytes}}
passdb {{
  driver = passwd-file
  args = scheme=PLAIN {d}/passwords
}}
{anyone}
userdb {{
  driver = static
  args = uid={user} gid={group} home={d}/mail/%u mail=maildir:{d}/mail/%u{options} allow_all_users=yes
}}
namespace inbox {{
  inbox = yes
  separator = /
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
  }}
}}
service anvil {{
  chroot =
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service stats {{
  chroot =
}}
protocol imap {{
  mail_plugins = imap_zlib
}}
{extra}
"""

ANYONE = f"""passdb {{
  driver = static
  args = password={PASSWORD}
}}"""


POP3 = """
protocols = imap pop3
service pop3-login {{
  chroot =
  inet_listener pop3 {{
    port = {pop3}
  }}
  inet_listener pop3s {{
    port = {pop3s}
  }}
}}
protocol pop3 {{
  pop3_logout_format = top=%t retr=%r octets=%b del=%d of=%m
}}
"""


def server_account():
    """The user that serves mail here."""
    return pwd.getpwuid(os.getuid()) if os.getuid() else pwd.getpwnam("mail")


def hand_over(path):
    """Gives a tree to the server's user, so that it can read and write there."""
    if os.getuid() == 0:
        account = server_account()
        subprocess.run(["chown", "-R", f"{account.pw_uid}:{account.pw_gid}", str(path)], check=True)


def temporary_folder(prefix):
    """A folder that the server's user can reach, with a short name (Unix sockets have to fit into 108 octets)."""
    path = pathlib.Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp" if os.access("/tmp", os.W_OK) else None))
    path.chmod(0o755)
    return path


def free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def wait_for(condition, seconds, what):
    """Asks until the condition holds; loud when it does not."""
    end = time.monotonic() + seconds
    while True:
        if value := condition():
            return value
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds} s for {what}")
        time.sleep(0.02)


class RigTimeout(TimeoutError):
    """The rig, not what it tests, was not ready in time: such a test is run once more (harness.main)."""


def program():
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    if found := shutil.which("dovecot", path=path):
        return found
    raise RuntimeError("dovecot is not installed (apt-get install dovecot-imapd)")


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG: a killed test leaves no server behind


@dataclass(frozen=True)
class ServerSession:
    """What the server says of one connection that has ended."""
    received: int
    sent: int
    bodies: int
    body_octets: int


class Dovecot:
    """with Dovecot() as server: server.add_user("demo", maildir) …"""

    def __init__(self, certificate=None, extra="", ports=None, options="", passwords=None, anyone=True, pop3=False):
        """`options` follow the mail location (":UTF-8"); `passwords` is for users who do not have the common one,
        without `anyone` the only users."""
        self.folder = temporary_folder("mh-dovecot-")
        self.authority = Authority(self.folder / "tls")
        self.ca_file = str(self.authority.ca)
        self.certificate = certificate or self.authority.good()
        self.extra, self.ports, self.options, self.anyone = extra, ports, options, anyone
        self.process = None
        self.imap = self.imaps = self.pop3 = self.pop3s = 0
        self.with_pop3 = pop3
        for name in ("run", "state", "mail"):
            (self.folder / name).mkdir()
        (self.folder / "passwords").write_text("".join(f"{user}:{{PLAIN}}{text}\n" for user, text in (passwords or {}).items()))
        hand_over(self.folder)

    def __enter__(self):
        try:
            for _ in range(1 if self.ports else 5):  # somebody else can take a port between choosing and listening
                if self._start():
                    return self
            raise RuntimeError("dovecot: its ports are taken\n" + self.log())
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_):
        self.stop()

    def _start(self):
        account = server_account()
        group = subprocess.run(["id", "-gn", account.pw_name], capture_output=True, text=True, check=True).stdout.strip()
        self.imap, self.imaps = self.ports or free_ports(2)
        if self.with_pop3:
            self.pop3, self.pop3s = free_ports(2)
        pop3 = POP3.format(pop3=self.pop3, pop3s=self.pop3s) if self.with_pop3 else ""
        (self.folder / "dovecot.conf").write_text(CONFIGURATION.format(
            d=self.folder, instance=self.folder.name, user=account.pw_name, group=group, imap=self.imap,
            imaps=self.imaps, certificate=self.certificate.certificate, key=self.certificate.key, extra=pop3 + self.extra,
            options=self.options, anyone=ANYONE if self.anyone else ""))
        identity = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []} if os.getuid() == 0 else {}
        with open(self.folder / "output", "ab") as output:
            self.process = subprocess.Popen([program(), "-F", "-c", str(self.folder / "dovecot.conf")],
                                            stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=self.folder,
                                            start_new_session=True, preexec_fn=die_with_parent, **identity)
        wait_for(lambda: self.process.poll() is not None or self._greets(), 30, "dovecot's greeting")
        if self.process.returncode is None:
            return True
        if "Address already in use" in self.log():
            return False
        raise RuntimeError("dovecot does not start:\n" + self.log())

    def _greets(self):
        try:
            with socket.create_connection(("127.0.0.1", self.imap), timeout=10) as one:
                return one.recv(4) == b"* OK"
        except OSError:
            return False

    def log(self):
        return "".join((self.folder / name).read_text(errors="replace")
                       for name in ("output", "log") if (self.folder / name).exists())

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def add_user(self, name, maildir=None):
        """Serves `maildir` (made if absent) to a user, from now on and instead of what it was; returns it."""
        home = self.folder / "mail" / name
        maildir = pathlib.Path(maildir or home)
        maildir.mkdir(parents=True, exist_ok=True)
        hand_over(maildir)
        if maildir != home:
            home.unlink(missing_ok=True)
            home.symlink_to(maildir)
        return maildir

    def url(self, user, scheme="imaps"):
        port = {"imaps": self.imaps, "imap": self.imap, "pop3s": self.pop3s, "pop3": self.pop3}[scheme]
        return f"{scheme}://{user}@localhost:{port}"

    def sessions(self, user):
        """All sessions of the user so far, once every one of them has ended and been logged."""
        lines = self._ends("imap", user, r"in=(\d+) out=(\d+) bodies=(\d+) octets=(\d+)")
        return [ServerSession(*map(int, line)) for line in lines]

    def pop3_sessions(self, user):
        """(TOPs, RETRs, DELEs) of every POP3 session of the user so far, once all of them have ended and been logged."""
        lines = self._ends("pop3", user, r"top=(\d+) retr=(\d+) octets=\d+ del=(\d+) of=\d+")
        return [tuple(map(int, line)) for line in lines]

    def _ends(self, protocol, user, figures):
        def ended():
            text = (self.folder / "log").read_text(errors="replace")
            logins = len(re.findall(rf"{protocol}-login: Info: Login: user=<{re.escape(user)}>", text))
            lines = re.findall(rf" {protocol}\({re.escape(user)}\).* {figures}", text)
            return [lines] if len(lines) >= logins else None
        try:
            return wait_for(ended, 60, f"the end of {user}'s sessions")[0]
        except TimeoutError as error:
            raise RigTimeout(f"{error}; the server's log ends so:\n{self.log()[-6000:]}") from None
