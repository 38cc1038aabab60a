#!/usr/bin/env python3
"""How much `mailhaul serve` costs with very many accounts; see README.md.

    load.py poll  [--accounts 1000] [--configured 10000] [--seconds 120]     no-change polls, beside mbsync
    load.py idle  [--accounts 2000] [--messages 200]                         waiting connections, delivery times
    load.py collect [--accounts 200] [--messages 300]                        many first collections at once, from Dovecot
"""
import argparse
import os
import pathlib
import random
import shutil
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))
from certificates import Authority  # noqa: E402
from dovecot import PASSWORD, Dovecot, hand_over, temporary_folder  # noqa: E402
from service import Service  # noqa: E402

TICK = os.sysconf("SC_CLK_TCK")


def cpu_of(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def memory_of(pid, what="VmRSS"):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(what + ":"):
            return int(line.split()[1]) / 1024  # MiB
    return 0.0


class Scripted:
    """The cheap server, in a process of its own."""

    def __init__(self, folder, delay):
        authority = Authority(folder / "tls")
        self.ca, one = authority.ca, authority.good()
        self.process = subprocess.Popen([sys.executable, HERE / "imap_server.py", one.certificate, one.key, str(delay)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())

    def arrive(self, user):
        self.process.stdin.write(user + "\n")
        self.process.stdin.flush()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def figures(line):
    print(f"{line}    [{pathlib.Path('/proc/loadavg').read_text().split()[0]} load]", flush=True)


def add(owner, lines):
    for at in range(0, len(lines), 500):
        csv = "source,password,destination,minutes,paused\n" + "\n".join(lines[at:at + 500]) + "\n"
        reply = owner.post("/accounts/import", raw=csv.encode(), kind="text/csv", timeout=600)
        assert reply.status == 200 and not reply.json["failed"], reply


def metric(client, name):
    text = client.get("/metrics").text
    return float(next(line.split()[1] for line in text.splitlines() if line.startswith(f"mailhaul_{name} ")))


def until(what, condition, patience):
    end = time.monotonic() + patience
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f"{what} did not come about in {patience} s")
        time.sleep(0.1)


def line_of(n, port, minutes="", paused=""):
    return f"imaps://u{n}@localhost:{port},secret,u{n},{minutes},{paused}"


def service_for(folder, ca):
    return Service(folder, MAILHAUL_WORKERS="64", MAILHAUL_PER_HOST="256", SSL_CERT_FILE=str(ca))


def metrics_client(service, owner):
    return service.client(owner.post("/tokens", {"name": "load", "scopes": ["metrics", "read", "write", "run"]}).json["secret"])


def mbsync_polls(folder, server, count):
    """CPU seconds of one mbsync process per poll of an account that has nothing new, and the memory of one."""
    mail = folder / "mbsync"
    mail.mkdir()
    spent, peak = 0.0, 0
    for n in range(count + 1):
        rc = mail / "rc"
        rc.write_text(f"IMAPAccount a\nHost localhost\nPort {server.port}\nUser u{n % 20}\nPass secret\nSSLType IMAPS\n"
                      f"CertificateFile {server.ca}\nAuthMechs PLAIN LOGIN\n\nIMAPStore r\nAccount a\n\nMaildirStore l\nPath {mail}/u{n % 20}/\n"
                      f"Inbox {mail}/u{n % 20}/INBOX\nSubFolders Verbatim\n\nChannel c\nFar :r:\nNear :l:\nPatterns *\nCreate Near\nSyncState *\nExpunge None\nSync Pull\n")
        (mail / f"u{n % 20}").mkdir(exist_ok=True)
        process = subprocess.Popen(["mbsync", "-q", "-c", rc, "c"], stdin=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0, process.returncode
        if n >= 20:  # the first time each account is collected
            spent += usage.ru_utime + usage.ru_stime
            peak = max(peak, usage.ru_maxrss)
    return spent / (count - 19), peak / 1024


def poll(o, folder):
    with Scripted(folder, o.delay) as server, service_for(folder, server.ca) as service:
        owner = service.owner()
        add(owner, [line_of(n, server.port, 1) for n in range(o.accounts)])
        client = metrics_client(service, owner)
        began = time.monotonic()
        until("the first collection", lambda: metric(client, "messages_delivered_total") >= o.accounts, 1800)
        figures(f"{o.accounts} accounts collected for the first time in {time.monotonic() - began:.0f} s")
        add(owner, [line_of(n, server.port, 5, "true") for n in range(o.accounts, o.configured)])
        time.sleep(65)  # everybody is in the rhythm
        pid = service.process.pid
        runs, cpu, began = metric(client, "runs_total"), cpu_of(pid), time.monotonic()
        time.sleep(o.seconds)
        spent, span, done = cpu_of(pid) - cpu, time.monotonic() - began, metric(client, "runs_total") - runs
        each = spent / done
        rate = 10_000 / 300
        figures(f"{done / span:.1f} polls/s of {o.accounts} accounts, {o.configured} configured, {o.delay} ms: {100 * spent / span:.0f} % of a core, "
                f"{1000 * each:.2f} ms CPU a poll; at 10,000 accounts every 5 minutes {100 * each * rate:.0f} % of a core; RSS {memory_of(pid):.0f} MiB "
                f"(peak {memory_of(pid, 'VmHWM'):.0f}); lag {metric(client, 'schedule_lag_seconds'):.0f} s")
        if shutil.which("mbsync"):
            cpu_each, memory = mbsync_polls(folder, server, 120)
            figures(f"mbsync, a process an account: {1000 * cpu_each:.2f} ms CPU a poll ({cpu_each / each:.1f} × ours), {memory:.0f} MiB each")


def idle(o, folder):
    with Scripted(folder, o.delay) as server, service_for(folder, server.ca) as service:
        owner = service.owner()
        add(owner, [line_of(n, server.port, 10080) for n in range(o.accounts)])
        client = metrics_client(service, owner)
        until("the first collection", lambda: metric(client, "messages_delivered_total") >= o.accounts, 1800)
        pid = service.process.pid
        time.sleep(5)
        before = memory_of(pid)
        figures(f"{o.accounts} accounts collected, nobody listens: RSS {before:.0f} MiB")
        for n in range(1, o.accounts + 1):
            assert client.patch(f"/jobs/{n}", {"schedule": {"kind": "push", "minutes": 10080}}).status == 200
        until("connections that wait", lambda: metric(client, "watched_connections") >= o.accounts, 600)
        until("rest", lambda: metric(client, "jobs_queued") + metric(client, "jobs_running") == 0, 600)
        time.sleep(35)  # what is looked at after a connection was made
        until("rest", lambda: metric(client, "jobs_queued") + metric(client, "jobs_running") == 0, 600)
        after = memory_of(pid)
        figures(f"{o.accounts} connections wait: RSS {after:.0f} MiB, {(after - before) * 1024 / o.accounts:.1f} KiB each")
        took, luck = [], random.Random(1)
        cpu = cpu_of(pid)
        for _ in range(o.messages):
            user = f"u{luck.randrange(o.accounts)}"
            box = service.mail / user
            count = lambda: len(list((box / "cur").iterdir())) + len(list((box / "new").iterdir()))
            had, began = count(), time.monotonic()
            server.arrive(user)
            while count() == had and time.monotonic() - began < 30:
                time.sleep(0.005)
            took.append(time.monotonic() - began)
        took.sort()
        figures(f"{o.messages} messages, one after another: delivered after {took[len(took) // 2]:.2f} s (median), {took[int(len(took) * .99)]:.2f} s (p99), "
                f"{took[-1]:.2f} s (longest); {1000 * (cpu_of(pid) - cpu) / o.messages:.0f} ms CPU each")
        chosen, burst = luck.sample(range(o.accounts), min(o.accounts, o.messages)), {}
        for n in chosen:
            server.arrive(f"u{n}")
        began, had = time.monotonic(), metric(client, "messages_delivered_total")
        until("all of them", lambda: metric(client, "messages_delivered_total") - had >= len(chosen) - 1, 300)
        figures(f"{len(chosen)} messages at the same moment: all delivered after {time.monotonic() - began:.1f} s")


def collect(o, folder):
    extra = "service imap-login {\n process_min_avail = 4\n service_count = 0\n}\nservice imap {\n process_limit = 1024\n}\nservice auth {\n client_limit = 5000\n}\nservice anvil {\n client_limit = 5000\n}\n"
    maildir = folder / "source"
    for name in ("cur", "new", "tmp"):
        (maildir / name).mkdir(parents=True)
    for n in range(o.messages):
        (maildir / "cur" / f"1700000{n:03}.M{n}.load:2,S").write_text(f"Subject: {n}\nMessage-ID: <{n}@load>\n\n" + "y" * random.randrange(1000, 60000) + "\n")
    hand_over(maildir)
    with Dovecot(extra=extra) as server:
        for n in range(o.accounts):
            copy = server.folder / "mail" / f"u{n}"
            shutil.copytree(maildir, copy, copy_function=os.link)
            hand_over(copy)
        with Service(folder, MAILHAUL_WORKERS="200", MAILHAUL_PER_HOST="256", SSL_CERT_FILE=server.ca_file) as service:
            owner = service.owner()
            client = metrics_client(service, owner)
            began = time.monotonic()
            add(owner, [f"{server.url(f'u{n}')},{PASSWORD},u{n},10080," for n in range(o.accounts)])
            most = 0
            while metric(client, "messages_delivered_total") < o.accounts * o.messages:
                most = max(most, metric(client, "jobs_running"))
                if time.monotonic() - began > 1800:
                    raise SystemExit("did not end")
                time.sleep(0.1)
            pid = service.process.pid
            figures(f"{o.accounts} accounts of {o.messages} messages in {time.monotonic() - began:.0f} s, up to {most:.0f} at once: "
                    f"RSS at most {memory_of(pid, 'VmHWM'):.0f} MiB, {cpu_of(pid):.0f} s CPU")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["poll", "idle", "collect"])
    parser.add_argument("--accounts", type=int)
    parser.add_argument("--configured", type=int, default=10_000)
    parser.add_argument("--seconds", type=int, default=120)
    parser.add_argument("--messages", type=int)
    parser.add_argument("--delay", type=float, default=20)
    o = parser.parse_args()
    defaults = {"poll": (1000, 0), "idle": (2000, 200), "collect": (200, 300)}[o.what]
    o.accounts, o.messages = o.accounts or defaults[0], o.messages or defaults[1]
    folder = temporary_folder("mh-load-")
    try:
        {"poll": poll, "idle": idle, "collect": collect}[o.what](o, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
