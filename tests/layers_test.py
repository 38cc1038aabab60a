#!/usr/bin/env python3
"""Holds every #include against the dependency law: the room(...) lines of CMakeLists.txt, and one door per library.

    layers_test.py [TOP]      exit 1 and one line per forbidden include
"""
import pathlib
import re
import sys

# Third-party headers (by prefix) and where they may be opened: files or folders.
DOORS = {
    "curl/": ["protocols/net/", "protocols/http/", "protocols/notify/"],
    "openssl/": ["protocols/net/", "protocols/sasl/", "protocols/oauth2/", "protocols/notify/", "protocols/mail/digest.cc", "store/secret_box.cc"],
    "zlib.h": ["protocols/net/"],
    "sqlite3.h": ["store/sqlite/"],
    "nlohmann/": ["collector/", "web/", "protocols/discovery/", "protocols/oauth2/", "protocols/notify/"],
    "expat.h": ["protocols/dav/multistatus.cc"],
    "pugixml.hpp": ["protocols/discovery/autoconfig.cc"], "idn2.h": ["protocols/discovery/"],
    "qrencode.h": ["collector/authorize_command.cc"],
    "CLI/": ["collector/main.cc", "collector/completion.cc", "collector/contacts_command.cc",
             "web/commands.cc"],
    "httplib.h": ["web/server.cc"],
    "sodium.h": ["store/registry/secrets.cc"],
    "uninorm.h": ["protocols/mail/"], "unicase.h": ["protocols/mail/"], "unistr.h": ["protocols/mail/"],
    "unictype.h": ["protocols/mail/"], "unitypes.h": ["protocols/mail/"],
}
SYSTEM = re.compile(r"(sys|linux|netinet|arpa|net)/[\w.]+\.h|"
                    r"(unistd|malloc|fcntl|poll|netdb|dirent|signal|termios|pwd|grp|time|errno|string|strings|stdlib|stdio|pthread|"
                    r"langinfo|locale|resolv|ifaddrs|fnmatch|glob|syslog|sched|getopt|ftw|mntent)\.h|[a-z_]+")
# Rooms that only turn octets into values: nothing there may touch a file, a socket, a thread or the clock.
PURE = {"mail", "imap", "pop3", "sasl"}
IMPURE = re.compile(r"sys/.*|netinet/.*|arpa/.*|(unistd|fcntl|poll|netdb|dirent|signal|pthread)\.h|fstream|thread|filesystem|mutex")
SOURCES = ("protocols", "store", "collector", "web", "migrations")
WIRING = {"collector/main.cc"}  # may see everything


def rooms_of(cmake):
    """name → (folder, every room it may include, its own included)"""
    rooms = {}
    for name, folder, rest in re.findall(r"^room\((\w+)\s+([\w/]+)([^)]*)\)", cmake, re.MULTILINE):
        words = rest.split()
        uses = []
        if "USES" in words:
            for word in words[words.index("USES") + 1:]:
                if word == "LIBRARIES":
                    break
                uses.append(word)
        rooms[name] = (folder, uses)

    def reach(name, seen):
        if name not in seen and name in rooms:
            seen.add(name)
            for used in rooms[name][1]:
                reach(used, seen)
        return seen
    return {name: (folder, reach(name, set())) for name, (folder, _) in rooms.items()}


def room_at(path, rooms):
    """The room whose folder holds the path: the deepest one."""
    held = [(len(folder), name) for name, (folder, _) in rooms.items() if path.startswith(folder + "/")]
    return max(held)[1] if held else None


def own_include(path, header, room, rooms):
    if "/" not in header:
        return f"{path}: \"{header}\": name the header from the top, as \"room/header.h\""
    if ".." in header.split("/"):
        return f"{path}: \"{header}\": no relative ways"
    target = room_at(header, rooms)
    if header.startswith("migrations/") and room in ("store", "registry"):
        return None
    if header.startswith("tests/"):
        return f"{path}: \"{header}\": the house does not know its tests"
    if target is None:
        return f"{path}: \"{header}\": in no room of CMakeLists.txt"
    if path not in WIRING and target not in rooms[room][1]:
        return f"{path}: \"{header}\": {room} may not include {target}"
    return None


def system_include(path, header, room):
    for prefix, doors in DOORS.items():
        if header.startswith(prefix):
            allowed = any(path == door or (door.endswith("/") and path.startswith(door)) for door in doors)
            return None if allowed else f"{path}: <{header}>: its door is {', '.join(doors)}"
    if not SYSTEM.fullmatch(header):
        return f"{path}: <{header}>: a library without a door; give it one in {pathlib.Path(__file__).name}"
    if room in PURE and IMPURE.fullmatch(header):
        return f"{path}: <{header}>: {room} does no I/O"
    return None


def violations(files, rooms):
    """files: path → text. Returns one line per forbidden include."""
    found = []
    for path, text in sorted(files.items()):
        room = room_at(path, rooms)
        if room is None:
            if path.startswith("migrations/"):
                continue
            found.append(f"{path}: in no room of CMakeLists.txt")
            continue
        for kind, header in re.findall(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', text, re.MULTILINE):
            line = own_include(path, header, room, rooms) if kind == '"' else system_include(path, header, room)
            if line:
                found.append(line)
    return found


def self_test():
    """The test must be able to fail: made-up files that break each rule, and some that break none."""
    rooms = rooms_of("room(base protocols/base)\nroom(mail protocols/mail USES base LIBRARIES x)\nroom(imap protocols/imap USES mail)\n"
                     "room(sqlite store/sqlite USES base LIBRARIES SQLite::SQLite3)\nroom(store store USES mail sqlite)\n"
                     "room(collector collector USES store imap)\n")
    right = {"protocols/imap/a.cc": '#include <string>\n#include "protocols/base/result.h"\n', "store/sqlite/db.cc": "#include <sqlite3.h>\n",
             "store/l.cc": '#include "store/sqlite/db.h"\n#include "migrations/migrations.h"\n#include <sys/stat.h>\n',
             "collector/main.cc": '#include "protocols/imap/a.h"\n'}
    assert violations(right, rooms) == [], violations(right, rooms)
    wrong = {"protocols/base/a.cc": '#include "protocols/mail/uid.h"\n', "protocols/mail/a.cc": '#  include "store/ledger.h"\n',
             "protocols/imap/b.cc": "#include <unistd.h>\n", "store/a.cc": "#include <sqlite3.h>\n", "store/b.cc": '#include "ledger.h"\n',
             "store/c.cc": "#include <boost/asio.hpp>\n", "store/d.cc": '#include "../protocols/imap/a.h"\n',
             "collector/a.cc": '#include "tests/support/x.h"\n', "web/a.cc": "#include <string>\n"}
    for path, text in wrong.items():
        assert len(violations({path: text}, rooms)) == 1, (path, violations({path: text}, rooms))


def main():
    self_test()
    top = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parent.parent)
    rooms = rooms_of((top / "CMakeLists.txt").read_text())
    files = {str(path.relative_to(top)): path.read_text() for folder in SOURCES for path in (top / folder).rglob("*")
             if path.suffix in (".cc", ".h")}
    found = violations(files, rooms)
    print("\n".join(found + [f"{len(files)} files in {len(rooms)} rooms, {len(found)} forbidden includes"]))
    if not files or len(rooms) < 5:
        sys.exit("nothing to check: wrong folder?")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
