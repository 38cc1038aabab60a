"""Cyrus, Courier, GNU mailutils and Dovecot 2.4, each from Debian's packages in a root of its own: they exclude each other.

The roots (debootstrap, once) stay in $XDG_CACHE_HOME/mailhaul-roots, else in /var/tmp/mailhaul-roots; nothing is written
to them later. A server runs in namespaces of its own with one folder of this run's as /w, listens on loopback ports that
the test picks, and ends, whatever it started included, with the one process that the test holds. Needs root.
"""
import contextlib
import fcntl
import hashlib
import os
import pathlib
import re
import shutil
import socket
import subprocess
import threading
import urllib.parse

from certificates import Authority
from dovecot import PASSWORD, die_with_parent, free_ports, temporary_folder, wait_for
from imap_reader import Reader, encode_name, quoted

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
USERS = [f"user{number}" for number in range(1, 17)]
INSTALL = """set -e
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
apt-get update -q
apt-get install -qy --no-install-recommends "$@"
apt-get clean
"""
# /w and /dev/log are this run's; a process namespace: whatever happens inside ends with it.
ENTER = """set -e
r=$1; w=$2; shift 2
[ -z "$w" ] || mount --bind "$w" "$r/w"
mount -t proc proc "$r/proc"; mount -t tmpfs t "$r/run"; mount -t tmpfs -o mode=755 t "$r/dev"
for n in null zero full random urandom tty; do touch "$r/dev/$n"; mount --bind "/dev/$n" "$r/dev/$n"; done
mkdir "$r/dev/pts" "$r/dev/shm"; mount -t devpts -o newinstance,ptmxmode=666 d "$r/dev/pts"
mount -t tmpfs -o mode=1777 t "$r/dev/shm"
ln -s pts/ptmx "$r/dev/ptmx"; ln -s /proc/self/fd "$r/dev/fd"; ln -s /w/syslog "$r/dev/log"
exec chroot "$r" "$@"
"""


def unusable():
    """None, or why no roots can be made here."""
    if os.getuid() != 0:
        return "needs root"
    if not shutil.which("debootstrap", path=os.environ.get("PATH", "") + ":/usr/sbin"):
        return "needs debootstrap (apt-get install debootstrap)"
    return None


def entering(root, folder, *command):
    return ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "sh", "-c", ENTER, "sh",
            str(root), str(folder), *command]


def bare_environment():
    proxies = {name: os.environ[name] for name in ("http_proxy", "https_proxy") if name in os.environ}
    return {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8", **proxies}


def must(command, log):
    """Runs to its end; what it printed goes to the log and, when it fails, into the error."""
    with open(log, "wb") as file:
        done = subprocess.run(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=bare_environment())
    if done.returncode:
        raise RuntimeError(f"{command[0]} fails:\n" + pathlib.Path(log).read_text(errors="replace")[-3000:])


def mirror():
    """The one that this machine's own apt uses."""
    lines = subprocess.run(["apt-get", "indextargets", "--format", "$(SITE) $(CODENAME)", "Created-By: Packages"],
                           capture_output=True, text=True, check=True).stdout.split("\n")
    return next(line.split()[0] for line in lines if line.endswith(" bookworm"))


def made_root(name, release, packages):
    """The root with these packages, made now unless it is there."""
    cache = os.environ.get("XDG_CACHE_HOME")
    folder = (pathlib.Path(cache) if cache else pathlib.Path("/var/tmp")) / "mailhaul-roots"
    folder.mkdir(parents=True, exist_ok=True)
    recipe = hashlib.sha256(" ".join([release, INSTALL, *packages]).encode()).hexdigest()[:8]
    base, root = folder / f"base-{release}", folder / f"{name}-{recipe}"
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for path in (base, root):
            if path.exists():
                continue
            new = path.with_suffix(".new")
            subprocess.run(["rm", "-rf", "--one-file-system", new], check=True)
            if path == base:
                must(["debootstrap", "--variant=minbase", f"--keyring={KEYRING}", release, new, mirror()], folder / f"{name}.log")
                (new / "usr/sbin/policy-rc.d").write_text("#!/bin/sh\nexit 101\n")  # installing starts nothing
                (new / "usr/sbin/policy-rc.d").chmod(0o755)
            else:
                must(["cp", "-a", base, new], folder / f"{name}.log")
                (new / "w").mkdir()
                for file in ("/etc/apt/apt.conf", "/etc/resolv.conf"):
                    if os.path.exists(file):
                        with contextlib.suppress(FileNotFoundError):
                            os.unlink(f"{new}{file}")
                        shutil.copy(file, f"{new}{file}")
                must(entering(new, "", "sh", "-c", INSTALL, "sh", *packages), folder / f"{name}.log")
            new.rename(path)
    return root


class ForeignServer:
    """with Cyrus() as server: server.reader("user1") …; every one of USERS is there, with an empty INBOX."""

    name, release, packages, script = "", "bookworm", [], ""
    keywords = True
    steady = True  # a message's octets stay as they are, whatever is done to its flags

    def __init__(self):
        self.root = made_root(self.name, self.release, self.packages)
        self.folder = temporary_folder(f"mh-{self.name}-")
        self.authority = Authority(self.folder / "tls")
        self.ca_file = str(self.authority.ca)
        certificate = self.authority.good()
        self.work = self.folder / "w"
        self.work.mkdir()
        shutil.copy(certificate.certificate, self.work / "crt")
        shutil.copy(certificate.key, self.work / "key")
        (self.work / "start.sh").write_text(self.script)
        self.process, self.syslog, self.lines = None, None, []
        self.imap = self.imaps = self.pop3 = self.pop3s = 0

    def __enter__(self):
        try:
            self._listen_to_syslog()
            self.start()
            self.prepare()
            return self
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_):
        self.stop()
        if self.syslog:
            self.syslog.close()
        subprocess.run(["rm", "-rf", "--one-file-system", self.folder], check=True)

    def start(self):
        """Starts it, or starts it again on its ports and with its mail."""
        if not self.imap:
            self.imap, self.imaps, self.pop3, self.pop3s = free_ports(4)
        environment = {**bare_environment(), "IMAP": str(self.imap), "IMAPS": str(self.imaps), "POP3": str(self.pop3),
                       "POP3S": str(self.pop3s), "USERS": " ".join(USERS),
                       "PASSWORD": PASSWORD}
        with open(self.folder / "output", "ab") as output:
            self.process = subprocess.Popen(entering(self.root, self.work, "sh", "/w/start.sh"), stdin=subprocess.DEVNULL,
                                            stdout=output, stderr=output, start_new_session=True, env=environment,
                                            preexec_fn=die_with_parent)
        try:
            wait_for(lambda: self.process.poll() is not None or self.ready(), 60, f"{self.name}'s greeting")
        except TimeoutError as error:
            raise RuntimeError(f"{error}\n{self.log()}") from error
        if self.process.returncode is not None:
            raise RuntimeError(f"{self.name} does not start:\n{self.log()}")

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.kill()  # its child, the first process inside, goes with it, and all others with that one
            self.process.wait()

    def prepare(self):
        """What is left to do when it runs."""

    def login(self, user):
        return user

    def reader(self, user):
        return Reader(self.imap, self.login(user), PASSWORD)

    def url(self, user, scheme="imaps", port=None):
        return f"{scheme}://{urllib.parse.quote(self.login(user), safe='')}@localhost:{port or (self.imaps if scheme == 'imaps' else self.imap)}"

    @staticmethod
    def letter(octets):
        """What of a message's octets is steady."""
        return octets

    def settle(self, user):
        """Whatever it takes until the same question gets the same answer."""

    def path(self, name):
        """How this server names the mailbox that its user calls so."""
        return name

    def local(self, name):
        """How the mailbox that this server names so is called in the copy."""
        return name

    def log(self):
        return (self.folder / "output").read_text(errors="replace")[-3000:] + "\n".join(self.lines[-30:])

    def version(self):
        """What is installed, as the package manager says it."""
        done = subprocess.run(["chroot", self.root, "dpkg-query", "-W", "-f", "${Version}", self.packages[0]],
                              capture_output=True, text=True, check=True)
        return f"{self.packages[0]} {done.stdout}"

    def ready(self):
        return self._greets(self.imap) and self._listens(self.imaps)

    def _greets(self, port, greeting=b"* OK"):
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=10) as one:
                return one.recv(len(greeting)) == greeting
        except OSError:
            return False

    def _listens(self, port):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=10).close()
            return True
        except OSError:
            return False

    def _listen_to_syslog(self):
        """These servers say what is wrong to nobody but syslog."""
        self.syslog = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.syslog.bind(str(self.work / "syslog"))
        (self.work / "syslog").chmod(0o666)

        def listen():
            with contextlib.suppress(OSError):
                while line := self.syslog.recv(65536):
                    self.lines.append(line.decode(errors="replace"))
        threading.Thread(target=listen, daemon=True).start()


class Cyrus(ForeignServer):
    name = "cyrus"
    packages = ["cyrus-imapd", "cyrus-admin", "sasl2-bin", "libsasl2-modules"]
    script = r"""set -e
cd /w; mkdir -p conf spool sieve run/lock run/proc
tr ';' '\n' > imapd.conf <<'X'
configdirectory: /w/conf;partition-default: /w/spool;defaultpartition: default;sievedir: /w/sieve;servername: localhost
admins: cyrus;unixhierarchysep: yes;altnamespace: no;allowplaintext: yes;sasl_mech_list: PLAIN LOGIN
sasl_pwcheck_method: auxprop;sasl_auxprop_plugin: sasldb;sasl_sasldb_path: /w/sasldb2;tls_server_cert: /w/crt;tls_server_key: /w/key
proc_path: /w/run/proc;mboxname_lockpath: /w/run/lock;idlesocket: /w/run/idle;lmtpsocket: /w/run/lmtp;notifysocket: /w/run/notify
X
cat > cyrus.conf <<X
START { recover cmd="/usr/sbin/cyrus ctl_cyrusdb -C /w/imapd.conf -r" }
SERVICES {
  imap  cmd="imapd -C /w/imapd.conf -U 30"    listen="127.0.0.1:$IMAP" prefork=0 maxchild=40
  imaps cmd="imapd -C /w/imapd.conf -s -U 30" listen="127.0.0.1:$IMAPS" prefork=0 maxchild=40
}
EVENTS { checkpoint cmd="/usr/sbin/cyrus ctl_cyrusdb -C /w/imapd.conf -c" period=30 }
DAEMON { idled cmd="idled -C /w/imapd.conf" }
X
[ -f sasldb2 ] || for u in cyrus $USERS; do echo "$PASSWORD" | saslpasswd2 -p -c -u localhost -f sasldb2 "$u"; done
chown -R cyrus:mail /w
exec setpriv --reuid=cyrus --regid=mail --init-groups /usr/lib/cyrus/bin/master -D -C /w/imapd.conf -M /w/cyrus.conf -p /w/run/master.pid
"""

    def prepare(self):
        with self.reader("cyrus") as admin:
            for user in USERS:
                admin.create(f"user/{user}")

    def path(self, name):
        return name if name == "INBOX" else f"INBOX/{name}"

    def local(self, name):
        return name.removeprefix("INBOX/")


class Courier(ForeignServer):
    name = "courier"
    packages = ["courier-imap", "courier-authlib-userdb", "openssl"]
    script = r"""set -e
mount -t tmpfs t /tmp; cp -a /etc/courier /tmp/courier; mount --bind /tmp/courier /etc/courier; cd /etc/courier
setv() { f=$1; shift; for kv; do sed -i "/^${kv%%=*}=/d" "$f"; echo "$kv" >> "$f"; done; }
setv authdaemonrc 'authmodulelist="authuserdb"' daemons=4
setv imapd ADDRESS=127.0.0.1 PORT=$IMAP MAXPERIP=200 MAXDAEMONS=200
cat /w/key /w/crt > s.pem; chown courier:courier s.pem
setv imapd TLS_CERTFILE=/etc/courier/s.pem
setv imapd-ssl SSLADDRESS=127.0.0.1 SSLPORT=$IMAPS TLS_CERTFILE=/etc/courier/s.pem
mkdir -p /w/mail; chmod 711 /w /w/mail
for u in $USERS; do
  home=/w/mail/$u; [ -d "$home/Maildir" ] || { mkdir -p "$home"; maildirmake.courier "$home/Maildir"; }
  userdb "$u" set uid=8 gid=8 home="$home" mail="$home/Maildir" systempw="$(openssl passwd -6 "$PASSWORD")"
done
chown -R 8:8 /w/mail; chmod 700 userdb; makeuserdb
mkdir -p /run/courier/authdaemon; chown -R courier:courier /run/courier
authdaemond start; imapd start; imapd-ssl start
exec sleep infinity
"""

    def path(self, name):
        return name if name == "INBOX" else "INBOX." + name.replace("/", ".")

    def local(self, name):
        return name.removeprefix("INBOX.").replace(".", "/")


class Mailutils(ForeignServer):
    name = "mailutils"
    packages = ["mailutils-imap4d", "openssl"]
    keywords = False  # the mailbox format has no place for them
    steady = False
    script = r"""set -e
cd /w; mkdir -p vd home; chmod 711 /w; chmod 600 key; number=7000
[ -s vd/example.test ] || for u in $USERS; do
  number=$((number + 1)); mkdir -p "home/$u"; touch "home/$u/INBOX"; chown -R $number:$number "home/$u"
  echo "$u:$(openssl passwd -6 "$PASSWORD"):$number:$number::/w/home/$u:/bin/false" >> vd/example.test
done
cat > imap4d.rc <<X
logging { syslog yes; facility mail; };
virtdomain { passwd-dir /w/vd; };
auth { authentication clear; authentication generic:system:virtdomain; authorization clear; authorization system:virtdomain; };
mailbox { mailbox-type mbox; };
max-children 100; mode daemon; foreground yes; pidfile /w/pid;
tls { ssl-certificate-file /w/crt; ssl-key-file /w/key; };
server 127.0.0.1:$IMAP { tls-mode ondemand; };
server 127.0.0.1:$IMAPS { tls-mode connection; };
X
imap4d --config-file=/w/imap4d.rc
"""

    def login(self, user):
        return f"{user}@example.test"

    @staticmethod
    def letter(octets):
        """UIDs and flags are kept, and shown, in the message's header; empty lines come to its end."""
        header, empty, body = octets.partition(b"\r\n\r\n")
        header = b"\r\n".join(line for line in header.split(b"\r\n") if not re.match(rb"(X-IMAPbase|X-UID|X-Status|Status):", line))
        return (header + empty + body).rstrip(b"\r\n")

    def settle(self, user):
        """UIDs and UIDVALIDITY come to stay when a session that may write has seen them."""
        with self.reader(user) as reader:
            for name in reader.mailboxes():
                reader.command(f"SELECT {quoted(encode_name(name))}")


class CourierPop(Courier):
    """Its POP3 daemon beside it; what it holds is still filled and read over IMAP."""
    name = "courier-pop"
    packages = ["courier-imap", "courier-pop", "courier-authlib-userdb", "openssl"]
    script = Courier.script.replace("exec sleep infinity", """sed -i '/^ADDRESS=/d;/^PORT=/d;/^MAXPERIP=/d;/^TLS_CERTFILE=/d' pop3d pop3d-ssl
setv pop3d ADDRESS=127.0.0.1 PORT=$POP3 MAXPERIP=200 MAXDAEMONS=200 TLS_CERTFILE=/etc/courier/s.pem
setv pop3d-ssl SSLADDRESS=127.0.0.1 SSLPORT=$POP3S TLS_CERTFILE=/etc/courier/s.pem
pop3d start; pop3d-ssl start
exec sleep infinity""")

    def ready(self):
        return super().ready() and self._greets(self.pop3, b"+OK") and self._listens(self.pop3s)


class MailutilsPop(Mailutils):
    """GNU's pop3d on the same mailboxes as its imap4d."""
    name = "mailutils-pop"
    packages = ["mailutils-imap4d", "mailutils-pop3d", "openssl"]
    script = Mailutils.script.replace("imap4d --config-file=/w/imap4d.rc", """sed -e "s/127.0.0.1:$IMAP /127.0.0.1:$POP3 /;s/127.0.0.1:$IMAPS /127.0.0.1:$POP3S /;s|/w/pid|/w/pop.pid|" imap4d.rc > pop3d.rc
pop3d --config-file=/w/pop3d.rc &
imap4d --config-file=/w/imap4d.rc""")

    def ready(self):
        return super().ready() and self._greets(self.pop3, b"+OK") and self._listens(self.pop3s)


class Popa3d(ForeignServer):
    """POP3 as it was in 2002: no CAPA, no TLS, no pipelining; system users with mbox files."""
    name = "popa3d"
    packages = ["popa3d", "openssl", "socat"]
    steady = False
    script = r"""set -e
cd /w; chmod 755 /w; mkdir -p /var/empty; touch ready
for u in $USERS; do id "$u" >/dev/null 2>&1 || useradd -m "$u"; echo "$u:$PASSWORD" | chpasswd; done
mkdir -p spool; mount --bind spool /var/mail; chmod 1777 /var/mail
for u in $USERS; do touch "/var/mail/$u"; chown "$u:mail" "/var/mail/$u"; chmod 660 "/var/mail/$u"; done
exec socat TCP-LISTEN:$POP3,bind=127.0.0.1,reuseaddr,fork EXEC:/usr/sbin/popa3d
"""

    def ready(self):
        return self._greets(self.pop3, b"+OK")


class Dovecot24(ForeignServer):
    name, release = "dovecot24", "trixie"
    packages = ["dovecot-imapd"]
    script = r"""set -e
cd /w; mkdir -p mail state; chown nobody mail; for u in $USERS; do echo "$u:{PLAIN}$PASSWORD"; done > users
tr ';' '\n' > d.conf <<X
dovecot_config_version = 2.4.0;dovecot_storage_version = 2.4.0;base_dir = /run/dovecot;state_dir = /w/state;log_path = /w/log;protocols = imap
listen = 127.0.0.1;auth_allow_cleartext = yes;mail_driver = sdbox;mail_path = /w/mail/%{user};mail_uid = nobody;mail_gid = nogroup
first_valid_uid = 1;ssl = yes;ssl_server_cert_file = /w/crt;ssl_server_key_file = /w/key;mail_max_userip_connections = 200
namespace inbox {;inbox = yes;separator = /;}
passdb passwd-file {;passwd_file_path = /w/users;}
userdb static {;fields {;home = /w/mail/%{user}.home;};}
service imap-login {;inet_listener imap {;port = $IMAP;};inet_listener imaps {;port = $IMAPS;};}
X
exec dovecot -F -c /w/d.conf
"""

    def log(self):
        log = self.work / "log"
        return super().log() + (log.read_text(errors="replace")[-3000:] if log.exists() else "")


if __name__ == "__main__":
    for kind in (Cyrus, Mailutils, Courier, Dovecot24):
        with kind() as one:
            with one.reader("user1") as hand:
                print(one.version(), hand.command("CAPABILITY")[0][0], hand.command('LIST "" "*"'), flush=True)
