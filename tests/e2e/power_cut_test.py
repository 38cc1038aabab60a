#!/usr/bin/env python3
"""Exactly once through power cuts: the disk is copied at a random instant of a collection, a run on the copy needs
nobody's help, and a foreign reader finds every message once. Needs root, loop devices and xfsprogs.

    power_cut_test.py [--cuts N] [--seed N] [--sabotage CALL]

The destination is an ext4 image that lies on an XFS which can clone a file in an instant; the clone has what reached
the device and nothing of what was still in memory. In every other cut the ledger lies elsewhere and keeps all that it
was told, so that it may know of no file that the disk does not have. --sabotage syncfs|fsync|fdatasync answers that call
without doing it: the rig must then find damage, or it proves nothing (the usual run shows that for each of them).
"""
import argparse
import contextlib
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

import sample
import tracing
from dovecot import PASSWORD, Dovecot, temporary_folder
from harness import CI, MAILHAUL, SKIP_CODE, WHOLE, environment, run
from imap_reader import Reader, differences

MESSAGES, MAILBOXES = 600, 6


def call(*command):
    return subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True).stdout


@contextlib.contextmanager
def mounted(image, at, options="loop"):
    at.mkdir(exist_ok=True)
    call("mount", "-o", options, image, at)
    try:
        yield at
    finally:
        for _ in range(50):  # a killed process lets go a moment later
            if subprocess.run(["umount", str(at)], capture_output=True).returncode == 0:
                break
            time.sleep(0.1)
        else:
            call("umount", "-l", at)


class Rig:
    def __init__(self, server, expected, folder, outer, choose):
        self.server, self.expected, self.folder, self.outer, self.choose = server, expected, folder, outer, choose
        self.template = outer / "template"
        call("truncate", "-s", "256M", self.template)
        call("mkfs.ext4", "-q", self.template)
        self.duration, self.cuts = 1.0, 0

    def command(self, mail, state):
        return ["collect", self.server.url("demo"), f"maildir:{mail}", "--ca-file", self.server.ca_file, "--state", state]

    def clone(self, image, name):
        call("cp", "--reflink=always", image, self.outer / name)
        return self.outer / name

    def cut(self, number, sabotage=None):
        """What is wrong after one cut; empty: nothing. None: the run was over before it."""
        self.cuts += 1
        copy = self.folder / f"copy{self.cuts}"
        image = self.clone(self.template, "live")
        apart = number % 2 == 1  # the ledger is on a disk that forgets nothing
        kept = self.folder / f"state-{number}.db"
        with mounted(image, self.folder / "live") as disk:
            state = kept if apart else disk / "state.db"
            command = [MAILHAUL, *map(str, self.command(disk / "mail", state))]
            if sabotage:
                command = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={sabotage}", "-e", f"inject={sabotage}:retval=0", "--", *command]
            process = subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                       start_new_session=True)
            time.sleep(self.choose.uniform(0, self.duration))
            over = process.poll() is not None
            signals = () if over else (signal.SIGSTOP, signal.SIGKILL)
            for one in signals[:1]:
                os.killpg(process.pid, one)  # the ledger's copy must not be younger than the disk's
            after = self.clone(image, "after")
            copied = self.folder / "state.db"
            for end in ("", "-wal"):
                (self.folder / f"state.db{end}").unlink(missing_ok=True)
                if apart and pathlib.Path(f"{kept}{end}").exists():
                    shutil.copy2(f"{kept}{end}", f"{copied}{end}")
            for one in signals[1:]:
                os.killpg(process.pid, one)
            process.wait()
        with mounted(after, self.folder / "after") as disk:
            again = run(*self.command(disk / "mail", copied if apart else disk / "state.db"))
            if again.returncode:
                return f"the next run needs help: exit {again.returncode}: {again.stderr[-500:]}"
            shutil.copytree(disk / "mail", copy, copy_function=shutil.copy2)
        try:
            self.server.add_user(copy.name, copy)
            with Reader(self.server.imap, copy.name, PASSWORD, timeout=10) as reader:
                wrong = differences(self.expected, reader.everything(), limit=5)
        except OSError as error:  # a file that the reader cannot bear
            wrong = f"the reader fails: {error}"
        finally:
            shutil.rmtree(copy, ignore_errors=True)
        return wrong or (None if over else "")


def possible():
    if os.geteuid() != 0:
        return "needs root"
    for program in ("mkfs.xfs", "mkfs.ext4", "strace"):
        if not shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/sbin"):
            return f"needs {program} (apt-get install xfsprogs e2fsprogs strace)"
    if subprocess.run(["losetup", "-f"], capture_output=True).returncode:
        return "needs loop devices"
    return tracing.usable()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cuts", type=int, default=100 if WHOLE else 26)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sabotage", choices=("syncfs", "fsync", "fdatasync"))
    asked = parser.parse_args()
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    if reason := possible():
        print(f"SKIPPED power_cut: {reason}")
        sys.exit(1 if CI and "root" not in reason else SKIP_CODE)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # nothing stays mounted
    failed = False
    with Dovecot() as server, contextlib.ExitStack() as stack:
        manifest = sample.write_small(server.folder / "mail" / "demo", MESSAGES, MAILBOXES)
        server.add_user("demo", server.folder / "mail" / "demo")
        folder = temporary_folder("mh-cut-")
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        call("truncate", "-s", "2G", folder / "outer.xfs")
        call("mkfs.xfs", "-q", "-m", "reflink=1", folder / "outer.xfs")
        outer = stack.enter_context(mounted(folder / "outer.xfs", folder / "outer"))
        rig = Rig(server, manifest.seen(), folder, outer, random.Random(asked.seed))
        with mounted(rig.clone(rig.template, "live"), folder / "live") as disk:
            begun = time.monotonic()
            done = run(*rig.command(disk / "mail", disk / "state.db"))
            if done.returncode:
                raise SystemExit(f"the run that is let alone fails: {done.stderr}")
            rig.duration = time.monotonic() - begun
        if not asked.sabotage:
            wrong = [rig.cut(number) for number in range(asked.cuts)]
            damage = [text for text in wrong if text]
            print("\n".join(damage[:5]))
            print(f"{asked.cuts} cuts within {rig.duration:.2f} s of a run, {wrong.count(None)} of them behind its end: {len(damage)} with damage")
            failed = bool(damage) or wrong.count(None) > asked.cuts // 2
        for sabotage in [asked.sabotage] if asked.sabotage else ("syncfs", "fsync", "fdatasync"):
            rig.duration *= 2  # traced
            found = next((number + 1 for number in range(20) if rig.cut(number, sabotage)), None)
            rig.duration /= 2
            print(f"without {sabotage}: " + (f"damage at cut {found}" if found else "no damage in 20 cuts: the rig proves nothing about it"))
            failed = failed or (found is None and sabotage != "fdatasync")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
