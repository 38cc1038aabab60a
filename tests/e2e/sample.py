#!/usr/bin/env python3
"""Sample mailboxes with a manifest: what was put in, said by the generator, is what everything is held against.

    sample.py DIRECTORY MANIFEST [--messages N] [--big OCTETS]     the sample that ./run shows
    sample.py DIRECTORY MANIFEST --set a|b|c|d|s [--messages N]    a set of tests/bench, whole or smaller

The manifest is JSON: {"mailboxes": {name: [{uid, sha256, size, flags, internaldate}]}, "subscriptions": [name]}; sha256 and
size are of the octets that the server has to send, flags are system flags and keywords, internaldate is Unix seconds.
"""
import argparse
import hashlib
import json
import pathlib
import random
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "bench"))
import gen  # noqa: E402
from imap_reader import Seen  # noqa: E402

LETTERS = {"D": "\\draft", "F": "\\flagged", "P": "$forwarded", "R": "\\answered", "S": "\\seen", "T": "\\deleted"}
KEYWORDS = gen.KEYWORDS + ["$Junk", "projekt", "a.b-c+d", "$Phishing", "x" * 60]
SAMPLE_TREE = [  # mailbox, weight
    ("INBOX", 24), ("INBOX/Kind", 2), ("Sent", 10), ("Drafts", 2), ("Trash", 4), ("Archive", 4), ("Archive/2023", 9),
    ("Archive/2024", 8), ("Archive/2024/Q1", 4), ("Projekte/Übergrößen", 5), ("Projekte/Übergrößen/Änderungen", 3),
    ("受信箱/請求書", 4), ("Почта/Работа", 3), ("Lists/debian & co", 3), ("Feiern 🎉", 2), ('Quo"te \\ back', 1),
    ("100 % *", 1), ("cur", 1), ("Ends with blank ", 1), ("Empty", 0), ("Empty/Below", 1),
]
# Names that could mean something else to a Maildir or a file system are written differently there.
WRITTEN = {'Quo"te \\ back': 'Quo"te \\5c back', "cur": "\\63ur", "Ends with blank ": "Ends with blank\\20"}


def wire(data):
    """What Dovecot sends for a file: a CR before every LF that lacks one."""
    return re.sub(rb"(?<!\r)\n", b"\r\n", data)


def flags_of(letters, keywords):
    return sorted(LETTERS[letter] if letter in LETTERS else keywords[ord(letter) - ord("a")].lower() for letter in letters)


class Manifest:
    def __init__(self):
        self.mailboxes, self.subscriptions = {}, []

    def observe(self, mailbox, uid, when, data, letters):
        octets = wire(data)
        self.mailboxes.setdefault(mailbox.name, []).append(
            {"uid": uid, "sha256": hashlib.sha256(octets).hexdigest(), "size": len(octets),
             "flags": flags_of(letters, mailbox.keywords), "internaldate": when})

    def write(self, path):
        pathlib.Path(path).write_text(json.dumps({"mailboxes": self.mailboxes, "subscriptions": self.subscriptions}, indent=1))

    def seen(self, written=False):
        """The manifest in the words of the independent reader; `written`: with the mailbox names of the destination."""
        return {WRITTEN.get(name, name) if written else name: [Seen(one["sha256"], one["size"], frozenset(one["flags"]), one["internaldate"], one["uid"])
                       for one in messages] for name, messages in self.mailboxes.items()}

    def count(self):
        return sum(map(len, self.mailboxes.values()))


def oddities(big):
    """Messages that break programs which believe what mail should look like. Files as they lie at the server."""
    head = b"From: a@example.org\r\nTo: b@example.org\r\nDate: Mon, 01 Jan 2024 10:00:00 +0000\r\nMessage-ID: <%s@odd.example>\r\n"

    def message(name, body, header=b"Subject: odd\r\n"):
        return (head % name) + header + b"\r\n" + body

    yield message(b"empty-body", b"")
    yield (head % b"no-header-end") + b"Subject: the header never ends\r\n"
    yield b"\r\nno header at all\r\n"
    yield b"a body without header, colon-free\r\nsecond line\r\n"
    yield b"x"
    yield b"\r\n"
    yield message(b"no-final-newline", b"the last line has no end")
    yield message(b"final-cr", b"the last octet is a CR\r")
    yield message(b"bare-cr", b"one\rtwo\r\nthree\r\r\nfour\r\n\r\r\r\n")
    yield message(b"eight-bit", bytes(range(128, 256)) + b"\r\n", b"Subject: \xfcberall \xe4hnlich\r\n")
    yield message(b"controls", bytes(set(range(1, 32)) - {10, 13}) + b"\x7f\r\n")
    yield message(b"long-line", b"x" * 100_000 + b"\r\ny\r\n")
    yield message(b"long-header", b"body\r\n", b"Subject: " + b"s" * 70_000 + b"\r\nReferences: " + b"<r@x>\r\n " * 2000 + b"<r@x>\r\n")
    yield b"From someone@example.org Mon Jan  1 10:00:00 2024\r\n" + message(b"from-line", b"From the body\r\n>From quoted\r\n")
    yield message(b"dots", b".\r\n..\r\n.\r\n")
    yield message(b"like-imap", b"a1 OK done\r\n* BYE\r\n{123}\r\n)\r\n\"\\\"\r\n")
    yield message(b"lf-file", b"stored with LF alone\r\n\r\nas most servers do\r\n").replace(b"\r\n", b"\n")
    yield message(b"mixed-file", b"one\r\ntwo\nthree\r\nfour\n")
    yield message(b"twin", b"the same message twice\r\n")
    yield message(b"twin", b"the same message twice\r\n")
    yield message(b"twin", b"the same identity, another body\r\n")
    nested = b"Content-Type: text/plain\r\n\r\ninnermost\r\n"
    for depth in range(40):
        edge = b"edge%d" % depth
        nested = b'Content-Type: multipart/mixed; boundary="' + edge + b'"\r\n\r\n--' + edge + b"\r\n" + nested + b"\r\n--" + edge + b"--\r\n"
    yield (head % b"nested") + b"Subject: forty deep\r\nMIME-Version: 1.0\r\n" + nested
    yield message(b"big", b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789\r\n" * (big // 74 + 1))


ODD_DATES = [172800, 315532800, 951782399, 1704067200, 1719792000]  # two days into 1970, 1980, before a leap day, …


def write_odd(root, number, big, observe):
    with gen.MailboxWriter(root, "Odd", number, KEYWORDS, observe) as mailbox:
        letters = ["", "S", "D", "F", "R", "T", "DFRST", "Sa", "Sabcdefghij", "Tj", "i"]
        for i, data in enumerate(oddities(big)):
            mailbox.add(3 * i + 1, ODD_DATES[i % len(ODD_DATES)], data, letters[i % len(letters)])
    with gen.MailboxWriter(root, "High UIDs", number + 1, KEYWORDS, observe) as mailbox:
        for i, uid in enumerate((1, 2, 1 << 31, (1 << 31) + 1, (1 << 32) - 4000, (1 << 32) - 1000)):
            mailbox.add(uid, gen.BASE + i, b"Subject: uid %d\r\n\r\nbody\r\n" % uid, "S")


def write_sample(root, messages=300, big=8 << 20):
    """About `messages` messages in a nested tree, and the oddities."""
    manifest, maker, choose = Manifest(), gen.Maker("sample"), random.Random("sample flags")
    total = sum(weight for _, weight in SAMPLE_TREE)
    for number, (name, weight) in enumerate(SAMPLE_TREE):
        manifest.mailboxes.setdefault(name, [])
        with gen.MailboxWriter(root, name, number, KEYWORDS, manifest.observe) as mailbox:
            uid = 0
            for i in range(max(min(weight, 1), messages * weight // total)):
                uid += choose.choice((1, 1, 1, 2, 5))
                when = gen.BASE + number * 86400 + i * 3571
                kind = choose.choice(("tiny", "small", "small", "realistic"))
                data = maker.message(kind, when, want=min(maker.size(kind), 400_000))
                keywords = "".join(sorted(choose.sample("abcdefghij", choose.choice((0, 0, 0, 1, 1, 3)))))
                mailbox.add(uid, when, data, "".join(c for c in maker.letters() if c in "DFRST") + keywords)
    write_odd(root, len(SAMPLE_TREE), big, manifest.observe)
    manifest.subscriptions = sorted(name for name, _ in SAMPLE_TREE if name not in ("INBOX", "Trash"))
    gen.write_subscriptions(root, manifest.subscriptions)
    return manifest


def write_set(name, root, messages=None):
    manifest = Manifest()
    whole, _, layout = gen.SETS[name]
    manifest.mailboxes = {box: [] for box, _ in gen.layout_of(layout, messages or whole)}
    gen.write_set(name, root, messages, manifest.observe)
    manifest.subscriptions = sorted(box for box in manifest.mailboxes if box != "INBOX")
    return manifest


def write_small(root, messages, mailboxes):
    """A few messages in a few mailboxes, for sweeps that run hundreds of times."""
    manifest, maker = Manifest(), gen.Maker("small")
    names = ["INBOX", "Sent", "Archive/2024", "Projekte/Größe", "受信箱", "Lists/a & b"][:mailboxes]
    for number, name in enumerate(names):
        with gen.MailboxWriter(root, name, number, observe=manifest.observe) as mailbox:
            for i in range(messages // mailboxes + (number < messages % mailboxes)):
                mailbox.add(2 * i + 1, gen.BASE + 1000 * number + i, maker.message("small", gen.BASE), maker.letters())
    manifest.subscriptions = sorted(name for name in names if name != "INBOX")
    gen.write_subscriptions(root, manifest.subscriptions)
    return manifest


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory")
    parser.add_argument("manifest")
    parser.add_argument("--messages", type=int)
    parser.add_argument("--big", type=int, default=8 << 20)
    parser.add_argument("--set", choices=sorted(gen.SETS))
    asked = parser.parse_args()
    if asked.set:
        manifest = write_set(asked.set, asked.directory, asked.messages)
    else:
        manifest = write_sample(asked.directory, asked.messages or 300, asked.big)
    manifest.write(asked.manifest)
    print(f"{manifest.count()} messages in {len(manifest.mailboxes)} mailboxes")


if __name__ == "__main__":
    main()
