#!/usr/bin/env python3
"""Exactly once on a disk that forgets whatever was not synced: every system call of a collection is written down, and at
any moment of it the disk is laid out anew from what had been synced by then, files and directories each for themselves
(ext4 hides a missing sync of a directory). A run on it needs nobody's help, and a foreign reader finds every message once.

    forget_test.py [--cuts N] [--seed N] [--without KIND]

What of the rest is kept is chosen by cut: nothing of it; all names and no octets; some of it, by luck. In every other cut
the ledger has kept all that it was told. --without leaves the syncs of one kind out, as if our code had not made them: the
rig must then find damage, or it proves nothing (the usual run shows that for each kind; --help names them).
"""
import argparse
import contextlib
import os
import random
import re
import shutil
import subprocess
import sys

import sample
import tracing
from dovecot import PASSWORD, Dovecot, temporary_folder
from harness import CI, MAILHAUL, SKIP_CODE, WHOLE, environment, run
from imap_reader import Reader, differences

CALLS = ("openat", "open", "close", "write", "pwrite64", "ftruncate", "rename", "renameat", "renameat2", "link", "linkat", "unlink",
         "unlinkat", "mkdir", "mkdirat", "utimensat", "fsync", "fdatasync", "syncfs")
# Kinds of syncs, by call and by what is synced; and why nothing is lost without it, where that is so.
KINDS = {
    "messages": (r"(syncfs .*|fsync /mail/(.*/)?tmp/[^/]+)", None),
    "directory": (r"fsync /mail/(.*/)?(cur|new|tmp)", None),
    "maildir": (r"fsync (/mail(/\.[^/]*(/maildirfolder)?)?)?", None),
    "own-file": (r"fsync /mail/mailhaul(/.*)?", None),
    "ledger": (r"fdatasync .*|fsync /state\.db.*", "a ledger that has forgotten finds the copies by their keys"),
}


class Node:
    """A file or a directory: what it holds, and what of it is safe."""

    def __init__(self, directory):
        self.directory = directory
        self.now, self.safe = ({}, {}) if directory else (bytearray(), b"")
        self.time = self.safe_time = None

    def snapshot(self):
        return (dict(self.now), None) if self.directory else (bytes(self.now), self.time)

    def keep(self, snapshot):
        self.safe, self.safe_time = snapshot


class Disk:
    """What a trace does to the tree below `root`."""

    def __init__(self, root, forgetful_of=None):
        self.root, self.top, self.fds = os.fsencode(str(root)), Node(True), {}
        self.forgetful_of = re.compile(forgetful_of) if forgetful_of else None

    def find(self, path):
        """The directory that holds the path's last name, that name, and its node if there is one; None: it lies elsewhere."""
        if path != self.root and not path.startswith(self.root + b"/"):
            return None
        holder, node, name = None, self.top, b""
        for name in filter(None, path[len(self.root):].split(b"/")):
            if name == b".":
                continue
            if node is None:
                return None
            holder, node = node, node.now.get(name)
        return holder, name, node

    def opened(self, fd, path, flags):
        found = self.find(path)
        if found is None:
            self.fds.pop(fd, None)
            return
        holder, name, node = found
        if node is None:
            node = holder.now[name] = Node(False)
        if "O_TRUNC" in flags:
            node.now = bytearray()
        self.fds[fd] = [node, path, len(node.now) if "O_APPEND" in flags else 0]

    def written(self, fd, octets, at=None):
        if fd not in self.fds:
            return
        file = self.fds[fd]
        start = file[2] if at is None else at
        data = file[0].now
        data.extend(bytes(max(0, start - len(data))))
        data[start:start + len(octets)] = octets
        if at is None:
            file[2] = start + len(octets)

    def nodes(self, node=None):
        node = node or self.top
        yield node
        if node.directory:
            for child in list(node.now.values()):
                yield from self.nodes(child)

    def sync_begins(self, name, fd):
        """What the sync will have made safe when it returns."""
        if fd not in self.fds:
            return []
        node, path, _ = self.fds[fd]
        what = name + " " + os.fsdecode(path[len(self.root):])
        if self.forgetful_of and self.forgetful_of.fullmatch(what):
            return []
        return [(one, one.snapshot()) for one in (self.nodes() if name == "syncfs" else [node])]

    def lay_out(self, target, choose, manner, ledger_remembers):
        def kept(node, everything):
            """The content that is found after the cut."""
            if everything:
                return node.now, node.time
            if node.directory:
                names = {**node.safe, **node.now} if manner != "nothing" else node.safe
                if manner == "luck":
                    names = {name: (node.now.get(name) if choose.random() < 0.5 else node.safe.get(name)) for name in names}
                elif manner == "names":
                    names = node.now
                return {name: child for name, child in names.items() if child is not None}, None
            if manner == "luck" and choose.random() < 0.5:
                return node.now, node.time
            return node.safe, node.safe_time

        def write(node, path, everything):
            content, time = kept(node, everything)
            if node.directory:
                os.mkdir(path)
                for name, child in content.items():
                    whole = everything or (ledger_remembers and node is self.top and name.startswith(b"state.db"))
                    write(child, os.path.join(path, name), whole)
                if ledger_remembers and node is self.top:
                    for name, child in node.now.items():
                        if name.startswith(b"state.db") and name not in content:
                            write(child, os.path.join(path, name), True)
                return
            with open(path, "wb") as file:
                file.write(content)
            if time is not None:
                os.utime(path, (time, time))

        write(self.top, os.fsencode(str(target)), False)


def text(quoted):
    return bytes.fromhex(quoted.replace("\\x", "")) if quoted else b""


class Play:
    """The calls of a log, one effect after the other."""

    def __init__(self, log, root):
        self.calls, self.root = tracing.calls_of(log), root

    def begun_at(self):
        begins = {}
        for call in self.calls:
            begins.setdefault(call.begin, []).append(call)
        return begins

    def until(self, last_line, forgetful_of=None):
        disk = Disk(self.root, forgetful_of)
        moments = sorted([(call.begin, 0, call) for call in self.calls if "sync" in call.name] +
                         # A number is free for another thread's file as soon as its close has begun.
                         [(call.begin if call.name == "close" else call.end, 1, call) for call in self.calls if call.end is not None],
                         key=lambda m: m[:2])
        pending = {}
        for line, ends, call in moments:
            if line > last_line:
                break
            if not ends:
                pending[call] = disk.sync_begins(call.name, int(re.match(r"\d+", call.arguments).group()))
            elif call in pending:
                for node, snapshot in pending.pop(call):
                    node.keep(snapshot)
            else:
                self.apply(disk, call)
        return disk

    def apply(self, disk, call):
        name, words = call.name, call.arguments
        result = re.search(r"\)\s+= (-?\d+)", words)
        if result is None or result.group(1).startswith("-"):
            return
        paths = [text(one) for one in re.findall(r'"((?:\\x[0-9a-f]{2})*)"', words)]
        number = re.match(r"\d+", words)
        fd = int(number.group()) if number else None

        def whole(directory, path):
            if path.startswith(b"/") or directory not in disk.fds:
                return path
            return disk.fds[directory][1] + b"/" + path

        if name in ("open", "openat"):
            disk.opened(int(result.group(1)), whole(fd, paths[0]), words)
        elif name == "close":
            disk.fds.pop(fd, None)
        elif name == "write":
            disk.written(fd, paths[0][:int(result.group(1))])
        elif name == "pwrite64":
            disk.written(fd, paths[0], int(re.search(r", (\d+)\)\s+= ", words).group(1)))
        elif name == "ftruncate" and fd in disk.fds:
            size, data = int(re.search(r", (\d+)\)", words).group(1)), disk.fds[fd][0].now
            del data[size:]
            data.extend(bytes(size - len(data)))
        elif name in ("mkdir", "mkdirat"):
            if found := disk.find(whole(fd, paths[0])):
                found[0].now[found[1]] = Node(True)
        elif name in ("unlink", "unlinkat"):
            if (found := disk.find(whole(fd, paths[0]))) and found[0]:
                found[0].now.pop(found[1], None)
        elif name == "utimensat":
            seconds = re.findall(r"tv_sec=(-?\d+)", words)
            node = disk.find(whole(fd, paths[0]))[2] if paths and disk.find(whole(fd, paths[0])) else fd in disk.fds and disk.fds[fd][0]
            if node and seconds:
                node.time = int(seconds[-1])
        elif name.startswith(("rename", "link")):
            numbers = [int(n) for n in re.findall(r'(?:^|, )(\d+), "', words)]
            numbers += [None] * (2 - len(numbers))
            old, new = disk.find(whole(numbers[0], paths[0])), disk.find(whole(numbers[1], paths[1]))
            if old and new and old[2]:
                new[0].now[new[1]] = old[2]
                if name.startswith("rename"):
                    old[0].now.pop(old[1])


class Rig:
    MANNERS = ("nothing", "names", "luck")

    def __init__(self, server, folder, user, messages, mailboxes, seed, before=()):
        self.server, self.folder, self.user, self.choose, self.cuts = server, folder / user, user, random.Random(seed), 0
        self.expected = sample.write_small(server.folder / "mail" / user, messages, mailboxes).seen()
        server.add_user(user, server.folder / "mail" / user)
        folder = self.folder
        disk = folder / "live"
        disk.mkdir(parents=True)
        log = folder / "log"
        traced = subprocess.run(["strace", "-f", "-qq", "-xx", "-s", str(1 << 22), "-o", str(log), "-e", "trace=" + ",".join(CALLS), "-e",
                                 "signal=none", "--", *before, *map(str, [MAILHAUL, *self.command(disk)])],
                                env=tracing.environment(environment()), capture_output=True, text=True)
        if traced.returncode:
            raise SystemExit(f"the run that is let alone fails: {traced.stderr[-2000:]}")
        self.play = Play(log, disk)
        self.effects = [call.end for call in self.play.calls if call.end is not None and call.name not in ("close", "open", "openat")]
        self.check_model(disk)

    def command(self, disk):
        return ["collect", self.server.url(self.user), f"maildir:{disk}/mail", "--ca-file", self.server.ca_file, "--state", disk / "state.db"]

    def check_model(self, disk):
        """The tree that the calls make up is the tree that is there."""
        whole = self.folder / "whole"
        model = self.play.until(1 << 60)
        for node in model.nodes():
            node.keep(node.snapshot())
        model.lay_out(whole, self.choose, "nothing", False)

        def tree(top):
            return {os.path.relpath(os.path.join(path, name), top): open(os.path.join(path, name), "rb").read()
                    for path, _, names in os.walk(top) for name in names if not name.endswith("-shm")}
        if tree(whole) != tree(disk):
            odd = set(tree(whole).items()) ^ set(tree(disk).items())
            raise SystemExit(f"the trace does not tell all that was done: {sorted(name for name, _ in odd)[:5]}")
        shutil.rmtree(whole)

    def cut(self, without=None):
        """What is wrong after one cut; empty: nothing."""
        self.cuts += 1
        disk = self.folder / f"{self.user}{self.cuts}"
        manner = self.MANNERS[self.cuts // 2 % 3]
        self.play.until(self.choose.choice(self.effects), without).lay_out(disk, self.choose, manner, self.cuts % 2 == 1)
        try:
            again = run(*self.command(disk))
            if again.returncode:
                return f"the next run needs help: exit {again.returncode}: {again.stderr[-500:]}"
            self.server.add_user(disk.name, disk / "mail")
            with Reader(self.server.imap, disk.name, PASSWORD, timeout=10) as reader:
                return differences(self.expected, reader.everything(), limit=5)
        except OSError as error:  # a file that the reader cannot bear
            return f"the reader fails: {error}"
        finally:
            shutil.rmtree(disk, ignore_errors=True)

    def kinds(self):
        """Every sync of the run, by what it is."""
        found = {}
        disk = Disk(self.play.root)
        for call in self.play.calls:
            if "sync" in call.name:
                fd = int(re.match(r"\d+", call.arguments).group())
                if fd in disk.fds:
                    what = call.name + " " + os.fsdecode(disk.fds[fd][1][len(disk.root):])
                    kind = next((kind for kind, (pattern, _) in KINDS.items() if re.fullmatch(pattern, what)), what)
                    found[kind] = found.get(kind, 0) + 1
            elif call.end is not None:
                self.play.apply(disk, call)
        return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cuts", type=int, default=300 if WHOLE else 30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--without", choices=sorted(KINDS))
    asked = parser.parse_args()
    if reason := tracing.usable():
        print(f"SKIPPED forget: {reason}")
        sys.exit(1 if CI else SKIP_CODE)
    failed = False
    with Dovecot() as server, contextlib.ExitStack() as stack:
        folder = temporary_folder("mh-forget-")
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        # Many messages are synced all at once, where the kernel can be trusted to tell of errors (5.8); else each for itself.
        old = ("setarch", os.uname().machine, "--uname-2.6")
        rigs = [Rig(server, folder, "many", 60, 3, asked.seed), Rig(server, folder, "few", 6, 6, asked.seed, old),
                Rig(server, folder, "one", 1, 1, asked.seed, old)]
        for rig in rigs:
            print(f"{rig.user}: {len(rig.effects)} effects; syncs: " + ", ".join(f"{kind} {count}" for kind, count in sorted(rig.kinds().items())))
        if not asked.without:
            damage = [wrong for wrong in (rigs[number % 3].cut() for number in range(asked.cuts)) if wrong]
            print("\n".join(damage[:5]))
            print(f"{asked.cuts} cuts: {len(damage)} with damage")
            failed = bool(damage) or any(kind not in KINDS for rig in rigs for kind in rig.kinds())
        for kind in [asked.without] if asked.without else KINDS:
            pattern, harmless = KINDS[kind]
            if harmless and not (WHOLE or asked.without):
                continue
            tries = 400
            found = next((number + 1 for number in range(tries) if rigs[number % 3].cut(pattern)), None)
            print(f"without {kind}: " + (f"damage at cut {found}" if found else harmless or f"no damage in {tries} cuts: the rig proves nothing about it"))
            failed = failed or not (found or harmless)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
