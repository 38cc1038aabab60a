#!/usr/bin/env python3
"""Exactly once under SIGKILL: the program dies at a mutating system call, is started again, and nothing is lost,
repeated or cut, with nobody's help.

    kill_test.py [--points N] [--seed N] [--workers N]      N = 0: every point

First every kind of call is counted in a run that is let alone (strace counts per thread, so a point is "the n-th call of
this kind in whichever thread comes first"). Two scenes: the first collection of 40 messages in 6 mailboxes, and a later
run after changes. The sweep counts only if kills fell inside fetch, rename, directory sync and commit.
"""
import argparse
import collections
import concurrent.futures
import random
import re
import shutil
import signal
import sys
import threading
import time

import sample
import tracing
from dovecot import PASSWORD, Dovecot, temporary_folder
from harness import CI, MAILHAUL, SKIP_CODE, SLOW, WHOLE, environment, files_of, run
from imap_reader import Reader, differences

MESSAGES, MAILBOXES = 40, 6


def phase_of(log):
    """In which part of the work the kill fell, from the last call in the log."""
    last = max((call for call in tracing.calls_of(log) if call.end is None), key=lambda call: call.begin, default=None)
    if last is None:
        return "unknown"
    name, text = last.name, last.arguments
    if name.startswith(("rename", "link")):
        return "rename"
    if "state.db" in text:
        return "commit"
    if name in ("fsync", "fdatasync"):
        return "directory sync" if re.search(r"/(cur|new)>|/mail>|/\.[^/>]*>", text) else "data sync"
    if name == "syncfs":
        return "data sync"
    if name.startswith("send") or (name == "write" and "socket:" in text) or (name == "write" and "TCP:" in text):
        return "talk"
    if "/tmp/" in text.split("mh-kill", 1)[-1]:
        return "fetch"
    if name.startswith("mkdir"):
        return "mkdir"
    return "own files" if "/mailhaul" in text else "other"


class Scene:
    """A start (nothing, or a copy of an earlier collection), what the source holds, and what must come out."""

    def __init__(self, name, server, user, template, expected):
        self.name, self.server, self.user, self.template, self.expected = name, server, user, template, expected

    def command(self, mail):
        return ["collect", self.server.url(self.user), f"maildir:{mail}", "--ca-file", self.server.ca_file]

    def begin(self, folder):
        mail = folder / "mail"
        if self.template:
            shutil.copytree(self.template, mail, copy_function=shutil.copy2)
        return mail

    def points(self):
        """(scene, call, n): the thread that makes its n-th call of this kind first dies in it. Opening for reading is none."""
        folder = temporary_folder("mh-kill-")
        try:
            mail, log = self.begin(folder), folder / "log"
            done = tracing.strace([MAILHAUL, *self.command(mail)], log, tracing.MUTATING, env=environment(), timeout=300 * SLOW)
            if done.returncode != 0:
                raise SystemExit(f"{self.name}: the run that is let alone fails: {done.stderr}")
            check(self, mail, f"{self.name}, let alone")
            counts, points = collections.Counter(), set()
            for call in sorted(tracing.calls_of(log), key=lambda call: call.begin):
                counts[call.name, call.thread] += 1
                if tracing.writes(call):
                    points.add((call.name, counts[call.name, call.thread]))
            return [(self, name, number) for name, number in sorted(points)]
        finally:
            shutil.rmtree(folder)


def check(scene, mail, what):
    """A foreign reader must find what the manifest says, and nothing may be left lying."""
    reader_name = f"reader{threading.get_ident()}"
    copy = temporary_folder("mh-copy-")
    try:
        shutil.copytree(mail, copy / "mail", copy_function=shutil.copy2)
        with LOCK:
            scene.server.add_user(reader_name, copy / "mail")
        begun = time.monotonic()
        with Reader(scene.server.imap, reader_name, PASSWORD) as reader:
            found = reader.everything()
        if time.monotonic() - begun > 60 * SLOW:
            raise AssertionError(f"{what}: a dead process's lock holds others up")
        if wrong := differences(scene.expected, found):
            raise AssertionError(f"{what}:\n{wrong}")
        if left := [path for path in files_of(mail) if path.parent.name == "tmp"]:
            raise AssertionError(f"{what}: left in tmp: {left[:3]}")
    finally:
        shutil.rmtree(copy)


LOCK = threading.Lock()


def trial(point):
    """One kill and one restart; returns the phase, or None when the run was over before the call came."""
    scene, name, number = point
    folder = temporary_folder("mh-kill-")
    try:
        mail, log = scene.begin(folder), folder / "log"
        done = tracing.strace([MAILHAUL, *scene.command(mail)], log, [name], f"{name}:signal=SIGKILL:when={number}", environment(),
                              timeout=120 * SLOW)
        what = f"{scene.name}, killed at {name} number {number}"
        if done.returncode == 0:
            return None
        if done.returncode != -signal.SIGKILL:
            raise AssertionError(f"{what}: exit {done.returncode} instead of a kill: {done.stderr}")
        phase = phase_of(log)
        again = run(*scene.command(mail))
        if again.returncode != 0:
            raise AssertionError(f"{what} ({phase}): the next run needs help: exit {again.returncode}: {again.stderr}")
        check(scene, mail, f"{what} ({phase})")
        return phase
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def spread(points, wanted, choose):
    """A sample in which every kind of call has its turn before any has its second."""
    kinds = collections.defaultdict(list)
    for point in points:
        kinds[point[0].name, point[1]].append(point)
    for group in kinds.values():
        choose.shuffle(group)
    taken = []
    while len(taken) < wanted and any(kinds.values()):
        for group in kinds.values():
            if group and len(taken) < wanted:
                taken.append(group.pop())
    return taken


def scenes(server):
    source = server.folder / "mail" / "demo"
    manifest = sample.write_small(source, MESSAGES, MAILBOXES)
    server.add_user("demo", source)
    first = Scene("first collection", server, "demo", None, manifest.seen())
    # The same account later: the same name at the same server, so the mailbox below it is exchanged.
    moving = server.folder / "mail" / "moving"
    shutil.copytree(source, moving, copy_function=shutil.copy2, ignore=shutil.ignore_patterns("dovecot.*"))
    server.add_user("moving", moving)
    template = server.folder / "template"
    done = run(*Scene("template", server, "moving", None, None).command(template))
    if done.returncode:
        raise SystemExit(f"the first collection fails: {done.stderr}")
    with Reader(server.imap, "moving", PASSWORD) as reader:
        for number in range(6):
            reader.append("INBOX" if number % 2 else "Sent", b"Subject: new %d\r\n\r\nbody %d\r\n" % (number, number), ["\\Seen"], 1710000000 + number)
        for box in ("INBOX", "Archive/2024", "受信箱"):
            uids = [one["uid"] for one in manifest.mailboxes[box]]
            reader.store(box, uids[:3], "-", ["\\Seen", "\\Answered", "\\Flagged", "\\Draft"])
            reader.store(box, uids[3:5], "+", ["\\Seen", "\\Flagged", "late-keyword"])
        reader.create("Late")
        reader.append("Late", b"Subject: late\r\n\r\nlate\r\n")
        expected = reader.everything()
    return [first, Scene("run after changes", server, "moving", template, expected)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=0 if WHOLE else 240)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    if reason := tracing.usable():
        print(f"SKIPPED kill_test: {reason}")
        sys.exit(1 if CI else SKIP_CODE)
    with Dovecot() as server:
        every = scenes(server)
        points = [point for scene in every for point in scene.points()]
        chosen = spread(points, asked.points or len(points), random.Random(asked.seed))
        print(f"{len(points)} points; {len(chosen)} of them tried, seed {asked.seed}", flush=True)
        with concurrent.futures.ThreadPoolExecutor(asked.workers) as pool:
            phases, wrong = collections.Counter(), []
            for future in [pool.submit(trial, point) for point in chosen]:
                try:
                    phases[future.result()] += 1
                except Exception as error:  # one failed point must not hide the others
                    wrong.append(str(error))
    late = phases.pop(None, 0)
    kills = sum(phases.values())
    print("\n".join(wrong[:20]))
    print(f"{kills} kills, each restarted and compared ({late} points lay behind the end of their run): "
          + ", ".join(f"{count} in {phase}" for phase, count in phases.most_common()) + f"; {len(wrong)} wrong")
    missing = [phase for phase in ("fetch", "rename", "directory sync", "commit") if not phases[phase]]
    if missing:
        print(f"no kill fell inside: {', '.join(missing)}")
    few = kills + len(wrong) < (200 if asked.points == 0 or asked.points >= 200 else asked.points * 2 // 3)
    if few:
        print("too few kills to speak of a sweep")
    sys.exit(1 if wrong or missing or few else 0)


if __name__ == "__main__":
    main()
