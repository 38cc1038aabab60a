"""strace, as the tests use it: count system calls, kill at one, read what it wrote."""
import collections
import os
import re
import shutil
import subprocess

# Whatever changes files or tells the server something (SQLite's own calls are among them).
MUTATING = ("openat", "write", "writev", "pwrite64", "pwritev", "ftruncate", "rename", "renameat", "renameat2", "link", "linkat",
            "unlink", "unlinkat", "mkdir", "mkdirat", "utimensat", "fsync", "fdatasync", "syncfs", "sendto", "sendmsg", "copy_file_range",
            "fallocate")
Call = collections.namedtuple("Call", "thread name arguments begin end")  # begin and end: lines of the log; end None: it never returned


def usable():
    """None, or why processes cannot be traced here."""
    if not shutil.which("strace"):
        return "strace is not installed"
    tried = subprocess.run(["strace", "-f", "-o", "/dev/null", "true"], capture_output=True, text=True)
    return None if tried.returncode == 0 else f"processes cannot be traced here: {tried.stderr.strip()}"


def environment(base):
    """LeakSanitizer cannot work under ptrace."""
    options = ":".join(filter(None, [base.get("ASAN_OPTIONS"), "detect_leaks=0"]))
    return {**base, "ASAN_OPTIONS": options}


def strace(command, log, calls, inject=None, env=None, **more):
    """Runs a command under strace, file descriptors shown with their paths."""
    arguments = ["strace", "-f", "-qq", "-y", "-s", "0", "-o", str(log), "-e", "trace=" + ",".join(calls), "-e", "signal=none"]
    # strace 6.1 injects no signals while it filters in the kernel, which is faster
    arguments += ["-e", f"inject={inject}"] if inject else ["--seccomp-bpf"]
    return subprocess.run(arguments + ["--", *map(str, command)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          env=environment(env or dict(os.environ)), **more)


def calls_of(log):
    """Every call of a log in the order in which they ended, unfinished ones joined with their resumption."""
    calls, open_calls = [], {}
    with open(log, errors="replace") as file:
        for number, line in enumerate(file):
            thread, _, text = line.rstrip("\n").partition(" ")
            text = text.strip()
            if found := re.match(r"<\.\.\. (\w+) resumed>(.*)", text):
                if (begun := open_calls.pop((thread, found.group(1)), None)) is not None:
                    calls.append(Call(thread, found.group(1), begun[1] + found.group(2), begun[0], number))
            elif found := re.match(r"(\w+)\((.*)$", text):
                name, arguments = found.groups()
                if arguments.endswith("<unfinished ...>"):
                    open_calls[thread, name] = (number, arguments[:-len("<unfinished ...>")])
                else:
                    calls.append(Call(thread, name, arguments, number, None if arguments.endswith(" = ?") else number))
    calls += [Call(thread, name, arguments, number, None) for (thread, name), (number, arguments) in open_calls.items()]
    return calls


def writes(call):
    """Does this openat open for writing?"""
    return call.name != "openat" or re.search(r"O_WRONLY|O_RDWR|O_CREAT", call.arguments) is not None
