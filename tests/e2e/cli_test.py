#!/usr/bin/env python3
"""What the command line promises: every bad input gets one line and the right exit code, and leaves nothing half done."""
import contextlib
import csv
import io
import json
import os
import pty
import re
import select
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
from collections import Counter

import sample
from certificates import Authority
from dovecot import PASSWORD, Dovecot, free_ports, hand_over
from imap_reader import Reader
from harness import (MAILHAUL, NUMBERS, SLOW, Proxy, World, environment, files_of, mailboxes, main, need_root, reports, run,
                     start, sums)
from scripted_server import ScriptedServer

CANARY = "canary-5f1d-pass word"


class CommandLine(World):
    def refused(self, done, code, *words, untouched=True):
        """One line that has all the words, the exit code, no trace at the destination."""
        self.assertIn(done.returncode, code if isinstance(code, tuple) else (code,), done.stdout + done.stderr)
        lines = [line for line in done.stderr.splitlines() if not line.startswith("connected to ")]
        self.assertEqual(len(lines), 1, done.stderr)
        self.assertTrue(lines[0].startswith("mailhaul: "), lines[0])
        self.assertLess(len(lines[0]), 400)
        for word in words:
            self.assertRegex(lines[0].lower(), word.lower())
        self.assertNotIn(PASSWORD, done.stdout + done.stderr)
        if untouched:
            self.assertEqual(files_of(self.mail) if self.mail.exists() else [], [])
        return lines[0]


class BadInputTest(CommandLine):
    def test_usage(self):
        url, destination = self.server.url("demo"), f"maildir:{self.mail}"
        for arguments, word in [
                ([], "usage|help"), (["collect"], "source|usage|help"), (["collect", url], "destination|usage|help"),
                (["fly", url, destination], "fly"), (["collect", url, destination, "more"], "more"),
                (["collect", url, destination, "--no-such-option"], "--no-such-option"),
                (["collect", url, destination, "--connections"], "--connections"),
                (["collect", url, destination, "--connections", "0"], "--connections"),
                (["collect", url, destination, "--connections", "many"], "--connections"),
                (["collect", url, destination, "--since", "yesterday-ish"], "--since"),
                (["collect", url, destination, "--max-size", "-5"], "--max-size"),
                (["collect", url, destination, "--namespaces", "some"], "--namespaces"),
                (["collect", url, destination, "--map", "nonsense"], "--map"),
                (["collect", url, destination, "--maildir-names", "latin1"], "--maildir-names"),
                (["collect", url, destination, "--on-source-delete", "explode"], "--on-source-delete"),
                (["collect", url, destination, "--grace", "-1"], "--grace"),
                (["collect", url, destination, "--grace", "soon"], "--grace"),
                (["collect", url, destination, "--release-hold"], "--release-hold"),
                (["collect", url, destination, "--quirk", "+nonsense"], "quirk")]:
            with self.subTest(arguments=arguments[3:] or arguments):
                self.refused(run(*arguments), 2, word)

    def test_malformed_urls(self):
        destination = f"maildir:{self.mail}"
        for url in ["imaps://", "imaps://localhost", "imaps://demo@", "imaps://demo@localhost:notaport", "imaps://demo@localhost:70000",
                    "imaps://demo@local host", "http://demo@localhost", "imaps:/demo@localhost", "", "imaps://demo@localhost\r\nX",
                    "imaps://demo@localhost/INBOX?x"]:
            with self.subTest(url=url):
                self.refused(run("collect", url, destination), 2)
        for wrong in ["", "mail", "maildir:", "mbox:/tmp/x", f"maildirs:{self.mail}"]:
            with self.subTest(destination=wrong):
                self.refused(run("collect", self.server.url("demo"), wrong), 2)

    def test_a_password_in_the_url_is_refused_and_not_repeated(self):
        done = run("collect", f"imaps://demo:{CANARY.replace(' ', '')}@localhost:{self.server.imaps}", f"maildir:{self.mail}")
        self.assertNotIn("canary-5f1d", done.stdout + done.stderr)
        self.assertIn(done.returncode, (2, 3))

    def test_pop3_refuses_what_it_cannot_do_safely(self):
        self.refused(run("collect", "pop3s://demo@localhost", f"maildir:{self.mail}", "--on-source-delete", "remove"), 2, "pop3")
        self.refused(run("collect", "imaps://demo@localhost", f"maildir:{self.mail}", "--pop3-leave", "delete"), 2, "pop3-leave")

    def test_wrong_password(self):
        self.refused(self.collect(password="wrong"), 3, "password|authentication|log ?in", "localhost|demo")

    def test_missing_password(self):
        line = self.refused(self.collect(password=None), (2, 3), "password")
        self.assertRegex(line, "MAILHAUL_SOURCE_PASSWORD|--source-password-file")
        self.refused(self.collect("--source-password-file", self.folder / "absent", password=None), (2, 3), "absent")

    def test_unknown_host(self):
        self.refused(run("collect", "imaps://demo@no-such-host.invalid", f"maildir:{self.mail}"), 3, "no-such-host.invalid")

    def test_refused_port(self):
        port = free_ports(1)[0]
        self.refused(run("collect", f"imaps://demo@localhost:{port}", f"maildir:{self.mail}"), 3, f"{port}", "refused|connect")

    def test_certificates(self):
        folder = tempfile.mkdtemp(dir=self.folder)
        own = Authority(folder)
        for certificate, ca, word in [(own.expired(), own.ca, "expired"), (own.wrong_name(), own.ca, "name|host"),
                                      (own.good(), self.server.ca_file, "certificate|issuer|unknown|trust")]:
            with self.subTest(word=word), ScriptedServer(certificate=certificate) as server:
                for _ in range(2):
                    done = run("collect", f"imaps://demo@localhost:{server.port}", f"maildir:{self.mail}", "--ca-file", ca)
                    self.refused(done, 3, word, "certificate")
                self.assertEqual(server.lines, [])  # nothing, a password least of all, was said to it

    def test_without_our_ca_the_private_server_is_not_trusted(self):
        self.refused(run("collect", self.server.url("demo"), f"maildir:{self.mail}"), 3, "certificate", "--ca-file")
        self.refused(run("collect", self.server.url("demo"), f"maildir:{self.mail}", "--ca-file", self.folder / "absent.pem"), (2, 3),
                     "absent.pem")

    def test_not_imap(self):
        for greeting in [b"220 mail.example.org ESMTP\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-OpenSSH_9.2\r\n",
                         b"+OK POP3 ready\r\n", b"", b"\x00\xff\xfe" * 20 + b"\r\n"]:
            with self.subTest(greeting=greeting), ScriptedServer(greeting, certificate=self.server.certificate) as server:
                if not greeting:  # closes without a word
                    server._serve = lambda client: client.close()
                done = run("collect", f"imaps://demo@localhost:{server.port}", f"maildir:{self.mail}", "--ca-file", self.server.ca_file)
                self.refused(done, 3, "localhost")
                self.assertNotIn(PASSWORD.encode(), b"".join(server.lines))
        # TLS spoken to a port that does not, and the other way round
        self.refused(run("collect", f"imaps://demo@localhost:{self.server.imap}", f"maildir:{self.mail}", "--ca-file",
                         self.server.ca_file), 3, "tls|ssl")

    def test_no_starttls_no_password(self):
        def answer(line):
            tag = line.split()[0]
            if b"CAPABILITY" in line.upper():
                return b"* CAPABILITY IMAP4rev1\r\n" + tag + b" OK done\r\n"
            return tag + b" BAD no\r\n"
        with ScriptedServer(b"* OK ready\r\n", answer) as server:
            done = run("collect", f"imap://demo@localhost:{server.port}", f"maildir:{self.mail}", "--ca-file", self.server.ca_file)
            self.refused(done, 3, "starttls|tls")
            self.assertNotIn(PASSWORD.encode(), b"".join(server.lines))
        with ScriptedServer(b"* PREAUTH hello\r\n", answer) as server:
            done = run("collect", f"imap://demo@localhost:{server.port}", f"maildir:{self.mail}", "--ca-file", self.server.ca_file)
            self.refused(done, 3, "tls|preauth")

    def test_plaintext_only_when_asked(self):
        self.complete(run("collect", self.server.url("demo", "imap"), f"maildir:{self.mail}", "--allow-plaintext"))
        self.same_as(self.manifest.seen())

    def test_destination_is_not_a_maildir(self):
        self.mail.mkdir()
        (self.mail / "letter.txt").write_text("mine")
        self.refused(self.collect(), 3, "maildir")
        self.assertEqual([path.name for path in self.mail.iterdir()], ["letter.txt"])
        file = self.folder / "file"
        file.write_text("mine")
        self.refused(run("collect", self.server.url("demo"), f"maildir:{file}", "--ca-file", self.server.ca_file), 3, "file")
        self.assertEqual(file.read_text(), "mine")

    def test_destination_cannot_be_written(self):
        places = ["/proc/mailhaul-test"]
        if os.getuid() != 0:
            closed = self.folder / "closed"
            closed.mkdir(mode=0o500)
            places.append(str(closed / "mail"))
        for place in places:
            with self.subTest(place=place):
                done = run("collect", self.server.url("demo"), f"maildir:{place}", "--ca-file", self.server.ca_file)
                self.refused(done, 3, re.escape(place))

    def test_full_disk(self):
        need_root()
        self.mail.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1600k", "mh-test", str(self.mail)], check=True)
        self.addCleanup(subprocess.run, ["umount", str(self.mail)])
        self.server.add_user("large")
        manifest = sample.Manifest()
        maildir = self.server.folder / "mail" / "large"
        shutil.rmtree(maildir)
        manifest = sample.write_set("s", maildir, 500)
        self.server.add_user("large")
        done = self.collect(user="large", timeout=60)
        self.assertIn(done.returncode, (1, 3), done.stderr)
        self.assertRegex((done.stderr + done.stdout).lower(), "no space|full|space left")
        self.assertLess(len(done.stderr.splitlines()), 20, done.stderr)
        subprocess.run(["mount", "-o", "remount,size=60m", str(self.mail)], check=True)
        self.complete(self.collect(user="large"))
        self.same_as(manifest.seen())

    def test_one_mailbox_that_fails_does_not_stop_the_others(self):
        shutil.rmtree(self.server.folder / "mail" / "broken", ignore_errors=True)
        shutil.copytree(self.source, self.server.folder / "mail" / "broken", copy_function=shutil.copy2,
                        ignore=shutil.ignore_patterns("dovecot.*"))
        self.server.add_user("broken")
        closed = self.server.folder / "mail" / "broken" / ".Sent"
        closed.chmod(0)
        try:
            done = self.collect(user="broken")
        finally:
            closed.chmod(0o755)
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertIn("Sent", done.stdout + done.stderr)
        expected = {box: messages for box, messages in self.manifest.seen().items() if box != "Sent"}
        found = self.foreign()[0]
        found.pop("Sent", None)
        self.same_as(expected, found)
        self.complete(self.collect(user="broken"))
        self.same_as(self.manifest.seen())

    def test_a_state_of_a_newer_version_is_refused(self):
        self.complete(self.collect())
        state = self.mail / "mailhaul" / "state.db"
        with contextlib.closing(sqlite3.connect(state)) as database:
            version = database.execute("PRAGMA user_version").fetchone()[0]
            self.assertGreater(version, 0)
            database.execute("PRAGMA user_version = 9999")
            database.commit()
        before = state.read_bytes()
        self.refused(self.collect(), 3, "newer", untouched=False)
        self.assertEqual(state.read_bytes(), before)

    def test_a_damaged_state_is_refused(self):
        self.complete(self.collect())
        state = self.mail / "mailhaul" / "state.db"
        for path in state.parent.glob("state.db-*"):
            path.unlink()
        state.write_bytes(b"this is no database, it only has the name of one" * 100)
        self.refused(self.collect(), 3, "state.db", untouched=False)
        self.same_as(self.manifest.seen())

    def test_verify_without_a_destination(self):
        self.refused(self.verify(), 3, "mail")
        self.assertFalse(self.mail.exists())


class OptionsTest(CommandLine):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        public = cls.server.folder / "mail" / "public"
        sample.write_small(public, 4, 2)
        hand_over(public)
        cls.shared = cls.enterClassContext(Dovecot(extra=f"""
namespace public {{
  type = public
  prefix = Public/
  separator = /
  location = maildir:{public}
  subscriptions = no
}}
"""))
        cls.shared.add_user("demo", cls.source)

    def test_help_and_version(self):
        for arguments in (["--help"], ["collect", "--help"], ["verify", "--help"]):
            done = run(*arguments)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertIn("mailhaul", done.stdout)
        for option in ("--ca-file", "--json", "--dry-run", "--include", "--exclude", "--map", "--namespaces", "--since", "--max-size",
                       "--connections", "--compress", "--on-source-delete", "--quirk", "--maildir-names", "--allow-plaintext",
                       "--source-password-file", "--state"):
            self.assertIn(option, run("collect", "--help").stdout)
        self.assertIn("--deep", run("verify", "--help").stdout)
        for arguments in (["version"], ["--version"]):
            done = run(*arguments)
            self.assertEqual(done.returncode, 0)
            self.assertRegex(done.stdout, r"\d+\.\d+\.\d+")

    def test_json(self):
        done = self.complete(self.collect("--json"))
        self.assertEqual(done.stderr, "")
        _, last = reports(done)
        total, boxes = sums(last), mailboxes(last)
        self.assertEqual(set(boxes), set(self.manifest.mailboxes))
        for name in NUMBERS:
            self.assertEqual(total[name], sum(box[name] for box in boxes.values()), name)
        self.assertEqual(total["delivered"], self.manifest.count())
        self.assertEqual(total["bytes"], sum(one["size"] for box in self.manifest.mailboxes.values() for one in box))
        for box in [total, *boxes.values()]:
            self.assertEqual(box["listed"], sum(box[name] for name in NUMBERS[1:7]))

    def test_text_report_names_every_mailbox_and_figure(self):
        done = self.complete(self.collect())
        for word in [*self.manifest.mailboxes, *NUMBERS[:7]]:
            self.assertIn(word, done.stdout)
        self.assertNotIn("\r", done.stdout)
        self.assertNotIn("\x1b", done.stdout + done.stderr)

    def test_dry_run_writes_nothing(self):
        done = self.complete(self.collect("--dry-run", "--json"))
        self.assertFalse(self.mail.exists())
        self.assertEqual(sums(reports(done)[1])["listed"], self.manifest.count())
        self.complete(self.collect())
        def files():  # the folder of the state itself: files come and go in it when the state is opened for reading
            return {path: path.stat().st_mtime_ns for path in self.mail.rglob("*") if path.name != "mailhaul"}
        before = files()
        self.complete(self.collect("--dry-run"))
        self.assertEqual(files(), before)

    def collected(self, *options, **more):
        shutil.rmtree(self.mail, ignore_errors=True)
        self.complete(self.collect(*options, **more))
        return self.foreign()[0]

    def test_which_mailboxes(self):
        everything = self.manifest.seen()
        self.same_as({"INBOX": everything["INBOX"], "Sent": everything["Sent"]}, self.collected("--include", "INBOX", "--include", "Sent"))
        rest = {name: messages for name, messages in everything.items() if name != "Archive/2024"}
        self.same_as(rest, self.collected("--exclude", "Archive/*"))
        mapped = {"Gesendet/Früher" if name == "Sent" else name: messages for name, messages in everything.items()}
        self.same_as(mapped, self.collected("--map", "Sent=Gesendet/Früher"))

    def test_two_mailboxes_meet_only_when_asked(self):
        everything = self.manifest.seen()
        both = {name: list(messages) for name, messages in everything.items() if name != "Sent"}
        both["INBOX"] += everything["Sent"]
        self.same_as(both, self.collected("--map", "Sent=INBOX"))

    def test_a_namespace_prefix_and_special_uses(self):
        """Courier's and Cyrus' way: everything below INBOX; and names in the user's own language."""
        source = self.server.folder / "mail" / "special"
        with contextlib.ExitStack() as stack:
            server = stack.enter_context(Dovecot(extra="""
namespace inbox {
  prefix = INBOX.
  separator = .
  mailbox Versandt {
    special_use = \\Sent
  }
}
"""))
            server.add_user("special", source)
            reader = stack.enter_context(Reader(server.imap, "special", PASSWORD))
            names = {"INBOX": "INBOX", "INBOX.Versandt": "Sent", "INBOX.Versandt.2019": "Sent/2019", "INBOX.Papierkorb": "Trash",
                     "INBOX.Projekte.Entwürfe": "Projekte/Entwürfe", "INBOX.Projekte": "Projekte"}
            for name in names:
                if name != "INBOX":
                    reader.create(name)
                reader.append(name, b"Subject: " + name.encode("utf-7") + b"\r\n\r\nbody\r\n")
            held = reader.everything()
            command = ["collect", server.url("special"), f"maildir:{self.mail}", "--ca-file", server.ca_file]
            shown = self.complete(run(*command, "--dry-run")).stdout
            self.assertIn("Versandt → Sent", shown)
            self.complete(run(*command))
            self.same_as({names[name]: messages for name, messages in held.items()})
            self.complete(run(*command))  # the ledger keeps the place
            self.same_as({names[name]: messages for name, messages in held.items()})
            kept = self.folder / "kept"
            self.complete(run(*command[:2], f"maildir:{kept}", *command[3:], "--special-use", "keep"))
            self.assertTrue((kept / ".Versandt" / "cur").exists())

    def test_which_messages(self):
        everything = self.manifest.seen()
        day = time.strftime("%Y-%m-%d", time.gmtime(sample.gen.BASE + 86400))
        self.same_as({name: [] for name in everything}, {**{name: [] for name in everything}, **self.collected("--since", day)})
        limit = sorted(one.size for messages in everything.values() for one in messages)[6]
        small = {name: [one for one in messages if one.size <= limit] for name, messages in everything.items()}
        self.same_as(small, self.collected("--max-size", limit))
        total = sums(reports(self.complete(self.collect("--max-size", limit, "--json")))[1])
        self.assertEqual(total["excluded"], self.manifest.count() - sum(map(len, small.values())))
        self.complete(self.collect())  # judged again under today's policy
        self.same_as(everything)

    def test_namespaces(self):
        url, ca = self.shared.url("demo"), self.shared.ca_file
        self.complete(run("collect", url, f"maildir:{self.mail}", "--ca-file", ca))
        self.same_as(self.manifest.seen())
        self.complete(run("collect", url, f"maildir:{self.mail}", "--ca-file", ca, "--namespaces", "all"))
        self.assertIn("Public/Sent", self.foreign()[0])

    def test_connections(self):
        self.same_as(self.manifest.seen(), self.collected("--connections", "4"))

    def test_several_sources_share_a_destination(self):
        self.server.add_user("second")
        maildir = self.server.folder / "mail" / "second"
        shutil.rmtree(maildir)
        other = sample.write_set("s", maildir, 60)
        self.server.add_user("second")
        self.complete(self.collect())
        self.complete(self.collect(user="second"))
        expected = Counter()
        for manifest in (self.manifest, other):
            for name, messages in manifest.seen().items():
                expected[name] = (expected[name] or []) + messages
        self.same_as(dict(expected))
        for user in ("demo", "second"):
            done, bodies, _ = self.bodies_sent(lambda: self.collect(user=user), user)
            self.complete(done)
            self.assertEqual(bodies, 0)

    def test_state_elsewhere(self):
        state = self.folder / "elsewhere.db"
        self.complete(self.collect("--state", state))
        self.assertTrue(state.exists())
        self.assertFalse((self.mail / "mailhaul" / "state.db").exists())

    def test_the_ledger_as_csv_and_json(self):
        self.complete(self.collect())
        state = self.mail / "mailhaul" / "state.db"
        as_csv = run("ledger", "--state", state)
        as_json = run("ledger", "--state", state, "--json")
        self.assertEqual((as_csv.returncode, as_json.returncode), (0, 0), as_csv.stderr + as_json.stderr)
        rows = list(csv.DictReader(io.StringIO(as_csv.stdout, newline="")))
        objects = [json.loads(line) for line in as_json.stdout.splitlines()]
        self.assertEqual(rows, [{name: "" if value is None else str(value) for name, value in one.items()} for one in objects])
        expected = Counter((box, one["uid"], one["sha256"], one["size"]) for box, messages in self.manifest.mailboxes.items() for one in messages)
        self.assertEqual(Counter((one["mailbox"], one["uid"], one["sha256"], one["octets"]) for one in objects), expected)
        files = {path.name.split(".")[1][1:]: path.parent.parent.name for path in self.mail.glob("**/cur/*")}
        for one in objects:
            self.assertEqual(one["state"], "delivered")
            self.assertEqual(files[one["key"]], self.mail.name if one["directory"] == "INBOX" else one["directory"])
        self.assertEqual(run("ledger", "--state", self.folder / "nowhere.db").returncode, 2)
        self.assertFalse((self.folder / "nowhere.db").exists())
        self.assertEqual(run("ledger", "--state", state, "--json", "--csv").returncode, 2)

    def test_a_user_name_with_an_at_sign(self):
        self.server.add_user("demo@example.org", self.source)
        self.complete(self.collect(user="demo@example.org"))
        self.same_as(self.manifest.seen())


class SecretsTest(CommandLine):
    passwords = {"secretive": CANARY}

    def setUp(self):
        super().setUp()
        self.server.add_user("secretive", self.source)

    def nowhere(self, text):
        self.assertNotIn(CANARY, text)
        self.assertNotIn("5f1d-pass", text)

    def test_password_file(self):
        file = self.folder / "password"
        file.write_text(CANARY + "\n")
        self.complete(self.collect("--source-password-file", file, user="secretive", password=None))
        self.same_as(self.manifest.seen())

    def test_no_secret_gets_out(self):
        for options, user in (([], "secretive"), (["--json"], "secretive"), (["--json"], "demo")):  # the last: it is refused
            done = self.collect(*options, user=user, password=CANARY)
            self.nowhere(done.stdout + done.stderr)
        for path in self.mail.rglob("*"):
            if path.is_file():
                self.nowhere(path.read_bytes().decode("latin1"))

    def test_it_is_asked_for_on_a_terminal_and_not_echoed(self):
        arguments = [MAILHAUL, "collect", self.server.url("secretive"), f"maildir:{self.mail}", "--ca-file", self.server.ca_file]
        child, terminal = pty.fork()
        if child == 0:
            os.execve(MAILHAUL, arguments, environment(None, TERM="vt100"))
        shown, asked, command = b"", False, b""
        with contextlib.suppress(OSError):  # the terminal goes away with its last user
            while True:
                if not select.select([terminal], [], [], 30 * SLOW)[0]:
                    os.kill(child, signal.SIGKILL)
                    os.waitpid(child, 0)
                    self.fail(f"it waits for ever after {shown}")
                if not (part := os.read(terminal, 4096)):
                    break
                shown += part
                if not asked and b"assword" in shown:
                    asked = True
                    with open(f"/proc/{child}/cmdline", "rb") as file:
                        command = file.read()
                    os.write(terminal, CANARY.encode() + b"\n")
        os.close(terminal)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        self.assertTrue(asked, shown)
        self.assertEqual(code, 0, shown)
        self.nowhere(shown.decode(errors="replace"))
        self.nowhere(command.decode(errors="replace"))
        self.same_as(self.manifest.seen())


class StopTest(CommandLine):
    @classmethod
    def fill(cls, maildir):
        return sample.write_small(maildir, 90, 6)

    @contextlib.contextmanager
    def held(self, **more):
        """A collection that waits in the middle of its fetch for octets that do not come."""
        with Proxy(self.server.imaps) as proxy:
            proxy.hold_after = 150_000
            url = f"imaps://demo@localhost:{proxy.port}"
            child = start("collect", url, f"maildir:{self.mail}", "--ca-file", self.server.ca_file, **more)
            try:
                self.assertTrue(proxy.held.wait(30 * SLOW), "the fetch did not begin")
                yield child, proxy, url
            finally:
                if child.poll() is None:
                    child.kill()
                child.communicate()

    def test_a_signal_stops_it_and_the_next_run_completes(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(number), self.held() as (child, proxy, url):
                began = time.monotonic()
                child.send_signal(number)
                out, err = child.communicate(timeout=30 * SLOW)
                self.assertLess(time.monotonic() - began, 2 * SLOW)
                self.assertEqual(child.returncode, 128 + number, err)
                self.assertRegex(out + err, "again|resume")
                proxy.release()
                proxy.hold_after = None
                self.complete(self.collect(url=url))
                self.same_as(self.manifest.seen())
            shutil.rmtree(self.mail)

    def test_two_on_one_destination(self):
        with self.held() as (child, proxy, _):
            began = time.monotonic()
            done = self.collect()
            self.assertLess(time.monotonic() - began, 2 * SLOW)
            self.refused(done, 3, "another|in use|lock", untouched=False)
            proxy.release()
            child.communicate(timeout=60 * SLOW)
            self.assertEqual(child.returncode, 0)
        self.same_as(self.manifest.seen())

    def test_a_connection_that_breaks_is_made_good(self):
        with self.held() as (child, proxy, _):
            proxy.hold_after = None
            proxy.release()
            proxy.cut()
            out, err = child.communicate(timeout=60 * SLOW)
            self.assertEqual(child.returncode, 0, out + err)
        self.same_as(self.manifest.seen())

    def test_a_bar_on_a_terminal(self):
        screen, terminal = pty.openpty()
        child = start("collect", self.server.url("demo"), f"maildir:{self.mail}", "--ca-file", self.server.ca_file,
                      stdout=terminal, stderr=terminal, text=False)
        os.close(terminal)
        shown = b""
        with contextlib.suppress(OSError):
            while part := os.read(screen, 65536):
                shown += part
        os.close(screen)
        self.assertEqual(child.wait(), 0, shown)
        self.assertIn(b"\r", shown.replace(b"\r\n", b"\n"))
        self.assertRegex(shown, rb"100 ?%|90")


if __name__ == "__main__":
    main()
