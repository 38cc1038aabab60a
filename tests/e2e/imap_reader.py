"""The independent eye: reads a server over IMAP with nothing of Mailhaul's own and says what is there."""
import base64
import calendar
import hashlib
import re
import socket
import time
from collections import Counter
from dataclasses import dataclass


def decode_name(raw):
    """Modified UTF-7 (RFC 3501 §5.1.3) to text."""
    def shifted(found):
        code = found.group(1)
        return base64.b64decode(code.replace(",", "/") + "=" * (-len(code) % 4)).decode("utf-16-be") if code else "&"
    return re.sub(r"&([^-]*)-", shifted, raw)


def encode_name(text):
    """Text to modified UTF-7."""
    def shifted(found):
        if found.group() == "&":
            return "&-"
        return "&" + base64.b64encode(found.group().encode("utf-16-be")).decode().rstrip("=").replace("/", ",") + "-"
    return re.sub(r"&|[^ -~]+", shifted, text)


def quoted(name):
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


@dataclass(frozen=True)
class Seen:
    """One message as a server shows it."""
    sha256: str
    size: int
    flags: frozenset
    internaldate: int
    uid: int = 0

    def without_uid(self):
        return Seen(self.sha256, self.size, self.flags, self.internaldate)


MONTHS = dict(zip("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), range(1, 13)))


def seconds_of(date):
    """INTERNALDATE to Unix seconds."""
    day, month, year, hour, minute, second, sign, zone_hour, zone_minute = re.fullmatch(
        r" ?(\d+)-(\w{3})-(\d{4}) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)", date).groups()
    at = calendar.timegm((int(year), MONTHS[month], int(day), int(hour), int(minute), int(second)))
    return at - (1 if sign == "+" else -1) * (int(zone_hour) * 3600 + int(zone_minute) * 60)


class Reader:
    """A plain, blocking, lock-step IMAP client over clear text on loopback."""

    def __init__(self, port, user, password, timeout=120):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.file = self.socket.makefile("rb", 1 << 18)
        self.tag = 0
        self.letter = bytes  # what of a message's octets is compared: all of them
        assert self.file.readline().startswith(b"* OK")
        self.command(f"LOGIN {quoted(user)} {quoted(password)}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.command("LOGOUT")
        except OSError:
            pass
        self.file.close()
        self.socket.close()

    def _response(self):
        """One response: its text with each literal replaced by {n}, and the literals."""
        text, literals = b"", []
        while True:
            line = self.file.readline()
            if not line.endswith(b"\r\n"):
                raise ConnectionError("the server closed the connection")
            text += line[:-2]
            found = re.search(rb"\{(\d+)\}$", text)
            if not found:
                return text.decode("utf-8", "surrogateescape"), literals
            literals.append(self.file.read(int(found.group(1))))

    def command(self, text, literal=None, each=None):
        """Sends one command and returns its untagged responses; anything but OK is an error."""
        self.tag += 1
        tag = f"a{self.tag}"
        if literal is not None:
            text += f" {{{len(literal)}}}"
        self.socket.sendall(f"{tag} {text}\r\n".encode())
        untagged = []
        while True:
            response = self._response()
            if response[0].startswith("+") and literal is not None:
                self.socket.sendall(literal + b"\r\n")
                literal = None
                continue
            if response[0].startswith(tag + " "):
                if not response[0].startswith(tag + " OK"):
                    raise RuntimeError(f"{text.split()[0]}: {response[0]}")
                return untagged
            if each:
                each(response)
            else:
                untagged.append(response)

    def _names(self, command):
        names = {}
        for text, literals in self.command(command):
            found = re.match(r'\* L(?:IST|SUB) \(([^)]*)\) (?:"[^"]*"|NIL) (.*)$', text)
            if not found:
                continue
            name = found.group(2)
            if literals:
                name = literals[0].decode()
            elif name.startswith('"'):
                name = re.sub(r"\\(.)", r"\1", name[1:-1])
            names[decode_name(name)] = found.group(1).lower().split()
        return names

    def mailboxes(self):
        """Names (decoded) of what can be selected."""
        return sorted(name for name, attributes in self._names('LIST "" "*"').items()
                      if "\\noselect" not in attributes and "\\nonexistent" not in attributes)

    def subscriptions(self):
        return sorted(self._names('LSUB "" "*"'))

    def uid_validity(self, mailbox):
        text = " ".join(text for text, _ in self.command(f"STATUS {quoted(encode_name(mailbox))} (UIDVALIDITY)"))
        return int(re.search(r"UIDVALIDITY (\d+)", text).group(1))

    def messages(self, mailbox):
        """Every message of a mailbox, octets hashed, in UID order."""
        self.command(f"EXAMINE {quoted(encode_name(mailbox))}")
        seen = []

        def one(response):
            text, literals = response
            if found := re.match(r"\* \d+ FETCH \((.*)\)$", text):
                seen.append(self._seen(found.group(1), literals))
        self.command("UID FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])", each=one)
        return seen

    def _seen(self, items, literals):
        def item(pattern):
            return re.search(pattern, items).group(1)
        if literals:
            octets = literals[0]
        else:  # a server may send a short or an empty body as a quoted string or NIL
            text = re.search(r'BODY\[\] (?:"((?:[^"\\]|\\.)*)"|NIL)', items).group(1) or ""
            octets = re.sub(r"\\(.)", r"\1", text).encode("utf-8", "surrogateescape")
        size = int(item(r"RFC822\.SIZE (\d+)"))
        flags = frozenset(flag.lower() for flag in item(r"FLAGS \(([^)]*)\)").split()) - {"\\recent"}
        return Seen(hashlib.sha256(self.letter(octets)).hexdigest(), size, flags, seconds_of(item(r'INTERNALDATE "([^"]*)"')),
                    int(item(r"UID (\d+)")))

    def everything(self):
        return {mailbox: self.messages(mailbox) for mailbox in self.mailboxes()}

    def store(self, mailbox, uids, operation, flags):
        self.command(f"SELECT {quoted(encode_name(mailbox))}")
        self.command(f"UID STORE {','.join(map(str, uids))} {operation}FLAGS.SILENT ({' '.join(flags)})")

    def expunge(self, mailbox, uids):
        self.store(mailbox, uids, "+", ["\\Deleted"])
        every = not any("UIDPLUS" in text for text, _ in self.command("CAPABILITY"))
        self.command("EXPUNGE" if every else f"UID EXPUNGE {','.join(map(str, uids))}")

    def append(self, mailbox, octets, flags=(), at=None):
        date = time.strftime(' "%d-%b-%Y %H:%M:%S +0000"', time.gmtime(at)) if at is not None else ""
        self.command(f"APPEND {quoted(encode_name(mailbox))} ({' '.join(flags)}){date}", literal=octets)

    def create(self, mailbox):
        self.command(f"CREATE {quoted(encode_name(mailbox))}")


def differences(expected, found, limit=20):
    """What two sides (mailbox → messages) do not share, as text; empty when they are equal. UIDs are not compared."""
    lines = []
    for mailbox in sorted(set(expected) | set(found)):
        if mailbox not in found or mailbox not in expected:
            lines.append(f"{mailbox}: {'missing' if mailbox not in found else 'not expected'}")
            continue
        left = Counter(one.without_uid() for one in expected[mailbox])
        right = Counter(one.without_uid() for one in found[mailbox])
        for one, count in (left - right).items():
            lines.append(f"{mailbox}: {count}x lost or different: {one}")
        for one, count in (right - left).items():
            lines.append(f"{mailbox}: {count}x unexpected: {one}")
    return "\n".join(lines[:limit] + ([f"… and {len(lines) - limit} more"] if len(lines) > limit else []))
