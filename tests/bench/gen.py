#!/usr/bin/env python3
"""Deterministic synthetic mail, written straight into a Dovecot Maildir++ store.

    gen.py SET DIRECTORY      SET: a | s | b | c | d | p (see SETS); the directory must not exist

Same set, same octets, same UIDs, same UIDVALIDITY, same dates, on every machine (seeded random.Random only). Files are
stored with CRLF line ends, so that the server sends them as they lie. About 5 % of the UIDs are left out, as in a
mailbox where mail has been deleted. tests/e2e/sample.py uses the same writer and keeps a manifest beside it.
"""
import base64
import math
import os
import pathlib
import random
import sys
import time
from email.header import Header

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))
from imap_reader import encode_name  # noqa: E402

SETS = {  # name: (messages, kind, layout)
    "a": (20000, "small", "tree"),      # about 4 KB, 12 mailboxes
    "s": (2000, "small", "tree"),       # a tenth of a
    "b": (5000, "realistic", "tree"),   # lognormal, median 8 KB, up to 8 MB
    "c": (200000, "tiny", "one"),       # one mailbox
    "d": (5000, "tiny", "many"),        # 1,000 mailboxes of 5
    "p": (5000, "small", "one"),        # for POP3
}
TREE = [  # mailbox, weight
    ("INBOX", 30), ("Sent", 12), ("Drafts", 1), ("Trash", 5), ("Archive/2023", 14), ("Archive/2024", 12),
    ("Archive/2024/Q1", 6), ("Projekte/Übergrößen", 6), ("Projekte/Übergrößen/Änderungen", 4), ("受信箱/請求書", 4),
    ("Почта/Работа", 3), ("Lists/debian & co", 3),
]
REGIONS = ["Nord", "Süd", "Ost", "West", "Éire", "日本", "Россия", "USA", "R&D", "Archiv"]
KEYWORDS = ["$Forwarded", "$MDNSent", "NonJunk", "work", "$Label1"]
BASE = 1704067200  # 2024-01-01
BIGGEST = 8 << 20
WORDS = ("the of and to in for on with this that from have will your please meeting report order invoice project team "
         "update customer delivery review contract schedule server backup attached regarding question tomorrow morning "
         "budget release version error system account thank best regards").split()
LOCAL = ("für Übermittlung Größe Änderung Straße Rechnung Prüfung Bestätigung café déjà vu naïve résumé заказ отчёт "
         "привет встреча 会議 請求 報告 確認 お世話 になります").split()
PEOPLE = [("Anna Schmidt", "anna.schmidt"), ("Jörg Müller", "joerg.mueller"), ("John Doe", "john.doe"),
          ("Élodie Martin", "elodie.martin"), ("田中 太郎", "tanaka"), ("Иван Петров", "petrov"),
          ("Build Robot", "noreply"), ("Mary O'Neil", "mary.oneil"), ("Zoë Ångström", "zoe"), ("Sales", "sales")]
DOMAINS = ["example.com", "example.org", "mail.example.net", "corp.example", "lists.example.org"]
PLAIN = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
ATTACHMENTS = [("pdf", "application/pdf"), ("jpg", "image/jpeg"), ("docx", "application/octet-stream"),
               ("zip", "application/zip")]


def mail_date(when):
    return time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime(when))


class Maker:
    """Makes one message after the other; the same seed makes the same ones."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        pool = base64.b64encode(random.Random("pool").randbytes(9 << 20))
        self.base64 = b"\r\n".join(pool[at:at + 76] for at in range(0, len(pool), 76))
        words = random.Random("text")
        lines, html = [], []
        for _ in range(40000):
            line = " ".join(words.choice(LOCAL if words.random() < 0.05 else WORDS) for _ in range(words.randint(4, 11)))
            lines.append(line)
            html.append(f'<p style="margin:0 0 {words.randint(2, 24)}px 0">{line}</p>')
        self.text = "\r\n".join(lines).encode()
        self.html = "\r\n".join(html).encode()
        self.serial = 0
        self.recent = []

    def cut(self, blob, length):
        """About `length` octets of whole lines from somewhere in the blob."""
        length = max(0, min(length, len(blob) - 200))
        at = self.random.randrange(0, len(blob) - length - 100) if len(blob) - length > 200 else 0
        at = blob.find(b"\r\n", at) + 2
        end = blob.rfind(b"\r\n", at, at + length)
        return blob[at:end + 2] if end > at else b"ok\r\n"

    def address(self):
        name, box = self.random.choice(PEOPLE)
        domain = self.random.choice(DOMAINS)
        if not name.isascii():
            name = Header(name, "utf-8").encode()
        elif "'" in name:
            name = f'"{name}"'
        return f"{name} <{box}@{domain}>", f"{box}@{domain}"

    def size(self, kind):
        if kind == "small":
            return self.random.randint(3000, 5200)
        if kind == "tiny":
            return self.random.randint(600, 1000)
        return int(min(BIGGEST, max(1500, 8192 * math.exp(self.random.gauss(0, 1.965)))))

    def signature(self, when):
        """A DKIM signature and a spam status, as most mail carries them."""
        at = self.random.randrange(0, 1000000)
        text = self.base64[at:at + 360].replace(b"\r", b"").replace(b"\n", b"")[:344].decode()
        folded = "\r\n\t ".join(text[i:i + 70] for i in range(43, len(text), 70))
        return [f"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.net;\r\n\ts=sel{self.random.randint(1, 3)};"
                f" t={when}; h=from:to:subject:date:message-id;\r\n\tbh={text[:43]}=;\r\n\tb={folded}",
                f"X-Spam-Status: No, score={self.random.random() * 3 - 3:.1f} required=5.0 tests=BAYES_00,DKIM_VALID"]

    def header(self, kind, when):
        r = self.random
        self.serial += 1
        identity = f"<{self.serial}.{r.getrandbits(32):08x}{r.getrandbits(32):08x}@{r.choice(DOMAINS)}>"
        (sender, sender_address), (to, to_address) = self.address(), self.address()
        words = [r.choice(WORDS) for _ in range(r.randint(2, 8))]
        if r.random() < 0.25:
            words[0] = r.choice(LOCAL)
        subject = " ".join(words).capitalize()
        reply = self.recent and r.random() < 0.4
        if reply:
            subject = "Re: " + subject
        if not subject.isascii():
            subject = Header(subject, "utf-8", maxlinelen=70).encode(linesep="\r\n")
        date = mail_date(when)
        lines = [f"Return-Path: <{sender_address}>", f"Delivered-To: {to_address}"]
        for hop in range(1 if kind == "tiny" else r.randint(2, 4)):
            lines.append(f"Received: from mx{hop}.{r.choice(DOMAINS)} (mx{hop}.example.net [192.0.2.{r.randint(1, 254)}])\r\n"
                         f"\tby mail{hop}.example.net (Postfix) with ESMTPS id {r.getrandbits(48):012X}\r\n"
                         f"\tfor <{to_address}>; {date}")
        if kind != "tiny":
            lines += self.signature(when)
        lines.append(f"Message-ID: {identity}")
        if reply:
            references = "\r\n ".join(self.recent[-r.randint(1, 4):])
            lines.append(f"In-Reply-To: {self.recent[-1]}\r\nReferences: {references}")
        lines.append(f"Date: {date}\r\nFrom: {sender}\r\nTo: {to}")
        if r.random() < 0.3:
            lines.append(f"Cc: {self.address()[0]},\r\n {self.address()[0]}")
        lines.append(f"Subject: {subject}\r\nMIME-Version: 1.0")
        self.recent.append(identity)
        del self.recent[:-6]
        return "\r\n".join(lines).encode() + b"\r\n"

    def message(self, kind, when, want=None):
        r = self.random
        want = want or self.size(kind)
        head = self.header(kind, when)
        room = want - len(head) - 60
        edge = f"=_{r.getrandbits(64):016x}".encode()
        if kind == "tiny" or room < 1200 or (want < 30000 and r.random() < 0.4):
            return head + PLAIN + self.cut(self.text, max(room - 70, 60))
        if want < 30000 or r.random() < 0.1:
            text = self.cut(self.text, min(room // 4, 20000))
            html = self.cut(self.html, min(room - len(text) - 330, 2500000))
            return (head + b'Content-Type: multipart/alternative; boundary="' + edge + b'"\r\n\r\n--' + edge + b"\r\n" + PLAIN
                    + text + b"\r\n--" + edge + b"\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<html><body>\r\n" + html
                    + b"</body></html>\r\n--" + edge + b"--\r\n")
        text = self.cut(self.text, r.randint(300, 4000))
        extension, media = r.choice(ATTACHMENTS)
        file = f"file{self.serial}.{extension}"
        part = (f'\r\nContent-Type: {media}; name="{file}"\r\nContent-Disposition: attachment; filename="{file}"\r\n'
                "Content-Transfer-Encoding: base64\r\n\r\n").encode()
        return (head + b'Content-Type: multipart/mixed; boundary="' + edge + b'"\r\n\r\nThis is a multi-part message in MIME '
                b"format.\r\n--" + edge + b"\r\n" + PLAIN + text + b"\r\n--" + edge + part
                + self.cut(self.base64, room - len(text) - 330) + b"--" + edge + b"--\r\n")

    def letters(self):
        """Maildir flags: system letters in order, then at most one keyword."""
        r = self.random
        found = [letter for letter, share in (("D", 0.01), ("F", 0.03), ("R", 0.10), ("S", 0.70)) if r.random() < share]
        if r.random() < 0.08:
            found.append("abcde"[r.randrange(5)])
        return "".join(found)


class MailboxWriter:
    """One mailbox of a Maildir++ with a UID list of our choice. Use as a context; the UID list is written at the end."""

    def __init__(self, root, name, number, keywords=KEYWORDS, observe=None):
        encoded = encode_name(name).replace("/", ".")
        self.path = os.path.join(root, "" if name == "INBOX" else "." + encoded)
        self.name, self.number, self.observe = name, number, observe
        self.keywords, self.uid, self.lines = keywords, 0, []
        self.count = self.octets = 0

    def __enter__(self):
        for folder in ("", "cur", "new", "tmp"):
            os.makedirs(os.path.join(self.path, folder), exist_ok=True)
        if self.name != "INBOX":
            open(os.path.join(self.path, "maildirfolder"), "w").close()
        with open(os.path.join(self.path, "dovecot-keywords"), "w") as file:
            file.write("".join(f"{number} {keyword}\n" for number, keyword in enumerate(self.keywords)))
        return self

    def add(self, uid, when, data, letters):
        """`data` is what lies in the file; `letters` as in a file name."""
        crlf = len(data) + data.count(b"\n") - data.count(b"\r\n")
        base = f"{when}.M{len(self.lines)}P{self.number + 1}.lab,S={len(data)},W={crlf}"
        descriptor = os.open(os.path.join(self.path, "cur", f"{base}:2,{letters}"), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        os.utime(os.path.join(self.path, "cur", f"{base}:2,{letters}"), (when, when))
        self.lines.append(f"{uid} :{base}\n")
        self.uid, self.count, self.octets = uid, self.count + 1, self.octets + crlf
        if self.observe:
            self.observe(self, uid, when, data, letters)

    def __exit__(self, *_):
        guid = random.Random(f"guid-{self.name}-{self.number}").getrandbits(128)
        with open(os.path.join(self.path, "dovecot-uidlist"), "w") as file:
            file.write(f"3 V{1700000000 + self.number} N{self.uid + 1} G{guid:032x}\n")
            file.writelines(self.lines)


def layout_of(layout, messages):
    """Mailboxes and how many messages each has."""
    if layout == "one":
        return [("INBOX", messages)]
    if layout == "many":
        count = max(1, messages // 5)
        return [("INBOX", 5)] + [(f"Kunden/{REGIONS[i % 10]}/Gruppe {i // 10 % 10:02d}/K{i:04d}", 5) for i in range(count - 1)]
    total = sum(weight for _, weight in TREE)
    boxes = [(name, messages * weight // total) for name, weight in TREE]
    return [("INBOX", boxes[0][1] + messages - sum(count for _, count in boxes))] + boxes[1:]


def write_subscriptions(root, names):
    with open(os.path.join(root, "subscriptions"), "w") as file:
        file.write("V\t2\n\n" + "".join(encode_name(name).replace("/", "\t") + "\n" for name in names))


def write_set(name, root, messages=None, observe=None):
    """Writes a set, whole or with fewer messages of the same shape; returns messages and octets."""
    whole, kind, layout = SETS[name]
    os.makedirs(root, exist_ok=True)
    maker = Maker("set-" + name)
    boxes, total, octets = layout_of(layout, messages or whole), 0, 0
    for number, (box, count) in enumerate(boxes):
        with MailboxWriter(root, box, number, observe=observe) as mailbox:
            uid = 0
            for i in range(count):
                uid += 1 if maker.random.random() < 0.95 else 2
                when = BASE + (i * 60 * 86400 // max(count, 1)) * 10 + number * 3600 + maker.random.randrange(3000)
                mailbox.add(uid, when, maker.message(kind, when), maker.letters())
        total, octets = total + mailbox.count, octets + mailbox.octets
    write_subscriptions(root, [box for box, _ in boxes if box != "INBOX"])
    return total, octets


def main():
    if len(sys.argv) != 3 or sys.argv[1] not in SETS:
        sys.exit(__doc__)
    total, octets = write_set(sys.argv[1], sys.argv[2])
    print(f"{sys.argv[1]}: {total} messages, {octets / 1e6:.1f} MB, mean {octets / total / 1e3:.1f} KB")


if __name__ == "__main__":
    main()
