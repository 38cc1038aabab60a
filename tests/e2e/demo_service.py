#!/usr/bin/env python3
"""demo_service.py start|stop|supervise MAILHAUL FOLDER: the service with the sample account of demo.py, until `stop`.

`start` leaves a process behind that runs a private Dovecot and `mailhaul serve`; a second `start` says where it is.
"""
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time

import demo
import dovecot


def running(folder):
    """The supervisor's pid, if it is alive and ours."""
    try:
        pid = int((folder / "pid").read_text())
        command = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        return pid if b"supervise" in command else None
    except (OSError, ValueError):
        return None


def shown(folder):
    """What a person needs to know: where it is, and the setup token as long as there is one."""
    log = (folder / "log").read_text(errors="replace") if (folder / "log").exists() else ""
    found = re.findall(r"serves (http\S+)", log)
    token = folder / "data" / "setup-token"
    return (found[-1] if found else None), (token.read_text().strip() if token.exists() else None)


def tell(folder, url, token, again):
    top = os.path.relpath(pathlib.Path(__file__).resolve().parents[2])
    print(f"\nThe service {'is running already' if again else 'runs'}: {url}")
    if token:
        print(f"Open it in a browser and set it up with this token, once: {token}")
    print(f"""It polls the sample account every minute into {os.path.relpath(folder / 'mail' / 'demo')}. Its log: {os.path.relpath(folder / 'log')}
Stop it: {shlex.quote(os.path.join(top, 'run'))} stop""")


def start(mailhaul, folder):
    folder.mkdir(parents=True, exist_ok=True)
    if running(folder):
        tell(folder, *shown(folder), True)
        return
    (folder / "log").write_text("")
    with open(folder / "log", "ab") as log:
        child = subprocess.Popen([sys.executable, __file__, "supervise", mailhaul, str(folder)], stdin=subprocess.DEVNULL, stdout=log,
                                 stderr=log, start_new_session=True)
    (folder / "pid").write_text(f"{child.pid}\n")
    for _ in range(300):
        url, token = shown(folder)
        if child.poll() is not None:
            raise SystemExit("The service did not start:\n" + (folder / "log").read_text(errors="replace")[-2000:])
        if url:
            time.sleep(0.2)  # the token's file comes before the line, the rest of the log just after
            tell(folder, *shown(folder), False)
            return
        time.sleep(0.1)
    raise SystemExit(f"The service did not start; see {folder / 'log'}")


def stop(folder):
    pid = running(folder)
    if not pid:
        print("The service does not run.")
        return
    os.kill(pid, signal.SIGTERM)
    for _ in range(200):
        if not running(folder):
            (folder / "pid").unlink(missing_ok=True)
            print("The service has stopped; ./run starts it again.")
            return
        time.sleep(0.1)
    raise SystemExit(f"The service (pid {pid}) does not stop.")


def supervise(mailhaul, folder):
    kept = folder.parent / "server"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with dovecot.Dovecot(ports=demo.ports(folder / "ports", 21153)) as server:
        served = server.folder / "mail" / demo.USER
        shutil.copytree(kept / "mail", served, copy_function=shutil.copy2)
        server.add_user(demo.USER, served)
        environment = {**os.environ, "MAILHAUL_DATA": str(folder / "data"), "MAILHAUL_MAIL": str(folder / "mail"),
                       "MAILHAUL_SOURCE_PASSWORD": dovecot.PASSWORD}
        environment.setdefault("MAILHAUL_ALLOW_NETWORKS", "127.0.0.0/8, ::1")
        environment.setdefault("MAILHAUL_LISTEN", f"127.0.0.1:{demo.free_port(8025)}")
        if not (folder / "data" / "service.db").exists():
            # Without TLS: it never leaves this machine, and the server's certificate is another one each time.
            subprocess.run([mailhaul, "add", f"imap://{demo.USER}@localhost:{server.imap}", "demo", "--allow-plaintext", "--minutes", "1"],
                           env=environment, check=True)
        environment.pop("MAILHAUL_SOURCE_PASSWORD")
        child = subprocess.Popen([mailhaul, "serve"], env=environment, stdin=subprocess.DEVNULL)
        try:
            sys.exit(child.wait())
        finally:
            if child.poll() is None:
                child.terminate()
                child.wait(15)


if __name__ == "__main__":
    action, program, place = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
    {"start": lambda: start(program, place), "stop": lambda: stop(place), "supervise": lambda: supervise(program, place)}[action]()
