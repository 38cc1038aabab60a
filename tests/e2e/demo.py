#!/usr/bin/env python3
"""demo.py MAILHAUL FOLDER: the whole job without an account. A private Dovecot with a sample mailbox, collected, verified.

The server's mail and port stay in FOLDER/server, so that the second time it is the same account and there is nothing new.
Nothing is left running.
"""
import os
import pathlib
import shlex
import shutil
import signal
import socket
import subprocess
import sys

import dovecot
import sample

USER = "demo"


def free_port(first):
    """The first free port from `first`: below the range that outgoing connections take theirs from."""
    for port in range(first, first + 2000):
        with socket.socket() as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                one.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise SystemExit("demo: no free port")


def ports(keep, first=21143):
    """The port is part of the account's identity, so it is chosen once. Who keeps a server running starts elsewhere:
    the ports of one that has just stopped look free."""
    if keep.exists():
        wanted = [int(word) for word in keep.read_text().split()]
        if wanted != [free_port(wanted[0]), free_port(wanted[1])]:
            raise SystemExit(f"demo: a port of the demonstration ({keep}) is in use; stop what uses it, or remove {keep.parent.parent}")
        return wanted
    imap = free_port(first)
    chosen = [imap, free_port(imap + 1)]
    keep.write_text("{} {}\n".format(*chosen))
    return chosen


def run(command, environment):
    """Runs a command to its end on this terminal; a signal that comes here goes there."""
    child = subprocess.Popen(command, env=environment)
    signal.signal(signal.SIGINT, lambda *_: None)  # the terminal has told the child as well
    signal.signal(signal.SIGTERM, lambda *_: child.send_signal(signal.SIGTERM))
    code = child.wait()
    if code:
        raise SystemExit(128 - code if code < 0 else code)


def mail_of(kept):
    """The server's mailbox: written at the first time, the same ever after."""
    if not kept.exists():
        scratch = kept.with_name("mail.new")
        shutil.rmtree(scratch, ignore_errors=True)
        sample.write_sample(scratch, messages=300, big=2 << 20)
        scratch.rename(kept)


def main():
    mailhaul, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    kept = folder / "server"
    try:
        kept.mkdir(parents=True, exist_ok=True)
        (kept / "owner").touch()
    except PermissionError:
        raise SystemExit(f"demo: {folder} belongs to another user; remove it, or run this as that user") from None
    first = not (folder / "mail").exists()
    print("Writing a sample mailbox and starting a private mail server for it on this machine" if first else
          "Starting the private mail server again, with the same sample mailbox", flush=True)
    mail_of(kept / "mail")
    with dovecot.Dovecot(ports=ports(kept / "ports")) as server:
        served = server.folder / "mail" / USER
        shutil.copytree(kept / "mail", served, copy_function=shutil.copy2)
        server.add_user(USER, served)
        ca = folder / "ca.pem"
        shutil.copy(server.ca_file, ca)
        environment = {**os.environ, "MAILHAUL_SOURCE_PASSWORD": dovecot.PASSWORD}
        destination = f"maildir:{folder / 'mail'}"
        for command in (["collect", server.url(USER), destination], ["verify", "--deep", server.url(USER), destination]):
            command = [mailhaul, *command, "--ca-file", str(ca)]
            print("\n$ " + shlex.join(command), flush=True)
            run(command, environment)
        shutil.rmtree(kept / "mail")
        shutil.copytree(served, kept / "mail", copy_function=shutil.copy2)
    shown = os.path.relpath(folder / "mail")
    print(f"""
The mail is in {shown}. Any program that knows Maildir reads it, for example: mutt -f {shlex.quote(shown)}
Run this again: nothing is fetched twice. To haul a real account home:
  {os.path.join(os.path.relpath(pathlib.Path(__file__).resolve().parents[2]), 'run')} imaps://you@example.org""")


if __name__ == "__main__":
    main()
