#!/usr/bin/env python3
"""The durable order, seen from outside: in every batch of a collection the data is synced, then renamed into place, then the
directories are synced, then the ledger commits. Read off an strace of one run."""
import os
import pathlib
import re
import sys
import tempfile
import unittest

import sample
import tracing
from harness import MAILHAUL, SLOW, World, environment, main, need

CALLS = ("openat", "write", "writev", "pwrite64", "fsync", "fdatasync", "syncfs", "rename", "renameat", "renameat2", "linkat", "unlinkat",
         "close")
PATH = re.compile(r"<([^>]*)>")


class OrderTest(World):
    @classmethod
    def fill(cls, maildir):
        return sample.write_set("a", maildir, 5000 if SLOW == 1 else 600)

    def batches(self, user, mail):
        reason = tracing.usable()
        need(reason is None, reason)
        log = self.folder / "log"
        done = tracing.strace([MAILHAUL, "collect", self.server.url(user), f"maildir:{mail}", "--ca-file", self.server.ca_file],
                              log, CALLS, env=environment(), timeout=300 * SLOW)
        self.complete(done)
        calls = [call for call in tracing.calls_of(log) if call.end is not None and not re.search(r"\) = -1 ", call.arguments)]
        count = check_order(calls, str(mail), self)
        print(f"{count} batches in order", file=sys.stderr)
        return count

    def test_sync_rename_sync_commit(self):
        self.assertGreaterEqual(self.batches("demo", self.mail), 3 if SLOW == 1 else 1)

    def test_the_same_where_every_file_is_synced_by_itself(self):
        """Not every file system can sync all at once and say whether that failed; tmpfs stands for the others."""
        need(os.access("/dev/shm", os.W_OK), "/dev/shm cannot be written")
        sample.write_set("s", self.server.add_user("few"), 600)
        self.server.add_user("few")
        with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="mh-order-") as folder:
            self.assertGreaterEqual(self.batches("few", pathlib.Path(folder) / "mail"), 1)

    def test_the_check_can_fail(self):
        """A made-up log in each wrong order."""
        def call(number, name, text):
            return tracing.Call("1", name, text, number, number)
        write = ("write", '5</m/tmp/x>, ""..., 9) = 9')
        sync = ("syncfs", "4</m>) = 0")
        rename = ("renameat2", '6</m/tmp>, "x", 7</m/cur>, "y", RENAME_NOREPLACE) = 0')
        directory = ("fsync", "7</m/cur>) = 0")
        commit = [("pwrite64", '8</m/mailhaul/state.db-wal>, ""..., 9, 0) = 9'), ("fdatasync", "8</m/mailhaul/state.db-wal>) = 0")]
        right = [write, sync, rename, directory, *commit]
        self.assertEqual(check_order([call(n, *one) for n, one in enumerate(right)], "/m", self), 1)
        for wrong in ([write, rename, sync, directory, *commit], [sync, write, rename, directory, *commit],
                      [write, sync, rename, *commit, directory], [write, sync, rename, *commit], [write, sync, rename, directory]):
            with self.assertRaises(AssertionError):
                check_order([call(n, *one) for n, one in enumerate(wrong)], "/m", unittest.TestCase())


def renamed(call):
    """(old path, new folder) of a rename, however it is spelt."""
    paths = []
    for folder, name in re.findall(r'(?:(?:\d+|AT_FDCWD)<([^>]*)>, )?"([^"]*)"', call.arguments):
        paths.append(name if name.startswith("/") else f"{folder}/{name}")
    return paths[0], paths[1].rsplit("/", 1)[0]


def check_order(calls, mail, test):
    """Checks every delivery of a log; returns the number of batches (runs of renames between two data syncs)."""
    def on(call):
        found = PATH.search(call.arguments)
        return found.group(1) if found else ""
    last_write, file_syncs, data_syncs, folder_syncs, commits, wal_writes, renames = {}, {}, [], {}, [], [], []
    for call in calls:
        path = on(call)
        if call.name in ("write", "writev", "pwrite64"):
            if path.endswith("-wal"):
                wal_writes.append(call)
            elif "/tmp/" in path[len(mail):]:
                last_write[path] = call
        elif call.name == "syncfs":
            data_syncs.append(call)
        elif call.name in ("fsync", "fdatasync"):
            if path.endswith("-wal"):
                commits.append(call)
            elif "/tmp/" in path[len(mail):]:
                file_syncs.setdefault(path, []).append(call)
                data_syncs.append(call)
            else:
                folder_syncs.setdefault(path, []).append(call)
        elif call.name.startswith(("rename", "link")) and "/cur" in call.arguments:
            renames.append(call)
    test.assertTrue(renames, "nothing was renamed into place")
    batches, seen_syncs = 0, None
    for rename in renames:
        old, folder = renamed(rename)
        test.assertIn(old, last_write, f"{rename}: nothing was written to it")
        test.assertTrue(rename.name.startswith("link") or "RENAME_NOREPLACE" in rename.arguments, f"{rename} could overwrite")
        written = last_write[old].end
        synced = [sync for sync in data_syncs if sync.begin > written and sync.end < rename.begin and (sync.name == "syncfs" or on(sync) == old)]
        test.assertTrue(synced, f"line {rename.begin}: {old} is renamed before its data is synced")
        directory = next((sync for sync in folder_syncs.get(folder, []) if sync.begin > rename.end), None)
        test.assertIsNotNone(directory, f"line {rename.begin}: {folder} is never synced after it")
        between = [commit for commit in commits if commit.thread == rename.thread and rename.end < commit.begin < directory.end]
        test.assertEqual(between, [], f"line {rename.begin}: a commit comes before the sync of {folder}")
        settled = next((commit for commit in commits if commit.begin > directory.end
                        and any(directory.end < write.begin < commit.begin for write in wal_writes)), None)
        test.assertIsNotNone(settled, f"line {rename.begin}: nothing is committed after the sync of {folder}")
        marker = settled.begin
        if marker != seen_syncs:
            batches, seen_syncs = batches + 1, marker
    return batches


if __name__ == "__main__":
    main()
