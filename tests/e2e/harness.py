"""What the end-to-end tests share: the program under test, a world with a server in it, skips that are counted.

MAILHAUL names the binary (CTest sets it). A test that asks for something this machine cannot give calls need_root() and
the like: that is printed and counted; with CI set it fails, except where only root is missing.
"""
import contextlib
import json
import os
import pathlib
import resource
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import unittest

import sample
from dovecot import PASSWORD, Dovecot, temporary_folder
from imap_reader import Reader, differences

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
MAILHAUL = os.environ.get("MAILHAUL") or str(TOP / "build" / "dev" / "mailhaul")
CI = bool(os.environ.get("CI"))
WHOLE = bool(os.environ.get("MAILHAUL_WHOLE"))
SLOW = float(os.environ.get("MAILHAUL_SLOWNESS", "1"))  # sanitizers: how much longer everything may take
NUMBERS = ("listed", "delivered", "already", "excluded", "failed", "pending", "gone", "bytes")
SKIP_CODE = 77  # what CTest counts as skipped


def environment(password=PASSWORD, **more):
    """A bare environment: nothing of the caller's leaks into a run."""
    keep = {name: value for name, value in os.environ.items()
            if name in ("PATH", "ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS", "LD_LIBRARY_PATH")}
    if password is not None:
        keep["MAILHAUL_SOURCE_PASSWORD"] = password
    return {**keep, "LC_ALL": "C.UTF-8", **more}


def run(*arguments, password=PASSWORD, timeout=120, env=None, **more):
    """Runs mailhaul to its end; stdin is never a terminal."""
    return subprocess.run([MAILHAUL, *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          errors="replace", timeout=timeout * SLOW, env=env or environment(password), **more)


def start(*arguments, password=PASSWORD, **more):
    more = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **more}
    return subprocess.Popen([MAILHAUL, *map(str, arguments)], env=environment(password), **more)


def reports(done):
    """The JSON lines of a --json run: those of the way, and the final report."""
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    if not lines:
        raise AssertionError(f"--json printed nothing; exit {done.returncode}, {done.stderr}")
    return lines[:-1], lines[-1]


def sums(report):
    """The figures of a final report, over all mailboxes."""
    return {name: report["sum"][name] for name in NUMBERS}


def mailboxes(report):
    """The figures of a final report, by mailbox name."""
    return {one["mailbox"]: {name: one[name] for name in NUMBERS} for one in report["mailboxes"]}


def files_of(maildir):
    """Every message file of a Maildir, its own leftovers in tmp/ included."""
    return sorted(path for path in pathlib.Path(maildir).rglob("*")
                  if path.parent.name in ("cur", "new", "tmp") and path.is_file())


def snapshot(maildir):
    """Inode, times, size of everything but our own folder: what a run that has nothing to do leaves as it is."""
    maildir, seen = pathlib.Path(maildir), {}
    for path in [maildir, *maildir.rglob("*")]:
        if (relative := path.relative_to(maildir)).parts[:1] == ("mailhaul",):
            continue
        at = path.lstat()
        seen[str(relative)] = (at.st_ino, at.st_size, at.st_mtime_ns, at.st_ctime_ns)
    seen["."] = seen["."][:1]  # opening the state makes and removes files in a folder below; the root itself stays
    return seen


def tables(state):
    """Every row of every table but `run*`, as the state file holds them."""
    with contextlib.closing(sqlite3.connect(f"file:{state}?mode=ro", uri=True)) as database:
        names = [name for name, in database.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
        return {name: sorted(map(repr, database.execute(f'SELECT * FROM "{name}"')))
                for name in names if not name.startswith(("run", "sqlite_"))}


class World(unittest.TestCase):
    """A Dovecot with a user `demo` whose mail is in the manifest; each test gets a fresh, empty destination."""

    passwords = {}
    letter = bytes  # what of a message's octets is compared
    maxDiff = None

    @classmethod
    def fill(cls, maildir):
        return sample.write_small(maildir, 12, 3)

    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(Dovecot(passwords=cls.passwords))
        cls.source = cls.server.folder / "mail" / "demo"
        cls.source.mkdir()
        cls.manifest = cls.fill(cls.source)
        cls.server.add_user("demo", cls.source)

    def setUp(self):
        self.folder = temporary_folder("mh-e2e-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.mail = self.folder / "mail"

    def collect(self, *options, user="demo", url=None, **more):
        return run("collect", url or self.server.url(user), f"maildir:{self.mail}", "--ca-file", self.server.ca_file,
                   *options, **more)

    def verify(self, *options, user="demo", **more):
        return run("verify", self.server.url(user), f"maildir:{self.mail}", "--ca-file", self.server.ca_file, *options, **more)

    def complete(self, done):
        self.assertEqual(done.returncode, 0, f"exit {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
        return done

    def foreign(self, maildir=None):
        """What a Dovecot of its own makes of a copy of the Maildir: mailbox → messages, and the subscriptions."""
        maildir = maildir or self.mail
        copy = temporary_folder("mh-copy-")
        try:
            shutil.copytree(maildir, copy / "mail", copy_function=shutil.copy2)
            self.server.add_user("reader", copy / "mail")
            with Reader(self.server.imap, "reader", PASSWORD) as reader:
                reader.letter = self.letter
                return reader.everything(), reader.subscriptions()
        finally:
            shutil.rmtree(copy, ignore_errors=True)

    def same_as(self, expected, found=None):
        """Fails with the first differences between what should be there and what a foreign reader finds."""
        found = self.foreign()[0] if found is None else found
        self.assertEqual(differences(expected, found), "")

    def read_source(self, user="demo"):
        with Reader(self.server.imap, user, PASSWORD) as reader:
            return reader.everything()

    def bodies_sent(self, work, user="demo"):
        """How many message bodies, and octets in all, the server sent while `work` ran, in the server's own count."""
        before = len(self.server.sessions(user))
        result = work()
        sessions = self.server.sessions(user)[before:]
        return result, sum(one.bodies for one in sessions), sum(one.sent for one in sessions)


if not hasattr(World, "enterClassContext"):  # comes with Python 3.11
    raise SystemExit("the end-to-end tests need Python 3.11")


def need_root():
    if os.getuid() != 0:
        raise unittest.SkipTest("needs root")


def need(condition, what):
    """For what a test machine should have: missing, it is skipped on a desk and fails in CI."""
    if not condition:
        if CI:
            raise AssertionError(f"missing in CI: {what}")
        raise unittest.SkipTest(what)


class Proxy:
    """A TCP relay on loopback that counts octets and can hold or cut its connections."""

    def __init__(self, to):
        self.to, self.up, self.down, self.connections = to, 0, 0, 0
        self.hold_after = None  # octets towards the client after which no more come, until release()
        self.held, self.released = threading.Event(), threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.open, self.lock = [], threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self.listener.close()
        self.released.set()
        self.cut()

    def release(self):
        self.released.set()

    def again(self, hold_after=None, to=None):
        """As if new, on the same port: an account is known by its port."""
        self.released.set()
        self.cut()
        self.held, self.released = threading.Event(), threading.Event()
        self.up, self.down, self.connections, self.hold_after, self.to = 0, 0, 0, hold_after, to or self.to
        return self

    def cut(self):
        with self.lock:
            for one in self.open:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
            self.open.clear()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.to))
            except OSError:
                client.close()
                continue
            with self.lock:
                self.open += [client, server]
                self.connections += 1
            threading.Thread(target=self._relay, args=(client, server), daemon=True).start()

    def _relay(self, client, server):
        with client, server:
            other = threading.Thread(target=self._pump, args=(client, server, "up"), daemon=True)
            other.start()
            self._pump(server, client, "down")
            other.join()

    def _room(self, way):
        """So many octets that it is held exactly where it is to be."""
        after = self.hold_after
        return max(1, min(1 << 12, after - self.down)) if way == "down" and after is not None and after > self.down else 1 << 12

    def _pump(self, source, sink, way):
        with contextlib.suppress(OSError):
            while data := source.recv(self._room(way)):
                with self.lock:
                    setattr(self, way, getattr(self, way) + len(data))
                    down = self.down
                sink.sendall(data)
                if way == "down" and self.hold_after is not None and down >= self.hold_after:
                    self.held.set()
                    self.released.wait()
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


def repeat_what_the_rig_spoilt(result):
    """Runs tests that ended in RigTimeout once more, and says so; what failed by an assertion stays failed."""
    spoilt = [(test, text) for test, text in result.errors if "RigTimeout" in text and isinstance(test, unittest.TestCase)]
    for test, text in spoilt:
        print(f"AGAIN {test}: {text}")
        if unittest.TextTestRunner(verbosity=2).run(unittest.TestSuite([test])).wasSuccessful():
            result.errors.remove((test, text))


def main():
    """Runs the tests of the calling file; prints and counts skips; exit 77 when nothing ran at all."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # CTest's time-out: leave through the cleanups
    if not pathlib.Path(MAILHAUL).exists():
        sys.exit(f"no mailhaul at {MAILHAUL}: build it, or name it in MAILHAUL")
    result = unittest.main(module="__main__", exit=False, verbosity=2).result
    repeat_what_the_rig_spoilt(result)
    for test, reason in result.skipped:
        print(f"SKIPPED {test}: {reason}")
    print(f"{result.testsRun} tests, {len(result.skipped)} skipped, {len(result.failures) + len(result.errors)} failed")
    if not result.wasSuccessful():
        sys.exit(1)
    sys.exit(SKIP_CODE if result.testsRun and result.testsRun == len(result.skipped) else 0)
