#!/usr/bin/env python3
"""A cheap IMAP server over TLS for very many accounts: every user has an INBOX of a few messages, each answer leaves
after the round trip's delay, IDLE tells at once. Any user, any password.

    imap_server.py CERTIFICATE KEY DELAY_MS      prints its port; then reads lines "USER" and gives that user a message
"""
import asyncio
import re
import ssl
import sys

CAPABILITIES = "IMAP4rev1 LITERAL+ SASL-IR AUTH=PLAIN ID ENABLE NAMESPACE UNSELECT IDLE LIST-EXTENDED LIST-STATUS SPECIAL-USE CONDSTORE ESEARCH UIDPLUS"
STATE = {}      # user → messages; one is enough to begin with
WAITING = {}    # user → connections in IDLE


def message(user, uid):
    return (f"From: load@example.org\r\nTo: {user}\r\nSubject: message {uid}\r\nMessage-ID: <{user}.{uid}@load>\r\n"
            f"Date: Mon, 1 Jan 2024 00:00:00 +0000\r\n\r\n" + "x" * 500 + "\r\n").encode()


class Session:
    def __init__(self, reader, writer, delay):
        self.reader, self.writer, self.delay, self.user, self.idle = reader, writer, delay, None, None

    def count(self):
        return STATE.get(self.user, 1)

    def uids(self, text):
        out = set()
        for part in text.split(","):
            low, _, high = part.partition(":")
            low = self.count() if low == "*" else int(low)
            high = self.count() if high == "*" else int(high or low)
            out.update(uid for uid in range(min(low, high), min(max(low, high), self.count()) + 1) if uid >= 1)
        return sorted(out)

    def status(self):
        n = self.count()
        return f"(MESSAGES {n} UIDNEXT {n + 1} UIDVALIDITY 1 UNSEEN 0 HIGHESTMODSEQ {n + 1})"

    def fetch(self, arguments):
        found, items = re.match(r"(\S+) (.*)", arguments).groups()
        out = []
        for uid in self.uids(found):
            parts = [f"UID {uid}"]
            if "FLAGS" in items:
                parts.append("FLAGS ()")
            if "INTERNALDATE" in items:
                parts.append('INTERNALDATE "01-Jan-2024 00:00:00 +0000"')
            body = message(self.user, uid)
            if "RFC822.SIZE" in items:
                parts.append(f"RFC822.SIZE {len(body)}")
            if "MODSEQ" in items or "CHANGEDSINCE" in items:
                parts.append(f"MODSEQ ({uid + 1})")
            text = f"* {uid} FETCH ({' '.join(parts)}".encode()
            if "BODY.PEEK[]" in items:
                text += f" BODY[] {{{len(body)}}}\r\n".encode() + body
            elif "BODY.PEEK[HEADER" in items:
                section = re.search(r"BODY\.PEEK(\[HEADER[^\]]*\])", items)[1]
                head = body[:body.index(b"\r\n\r\n") + 4]
                text += f" BODY{section} {{{len(head)}}}\r\n".encode() + head
            out.append(text + b")\r\n")
        return b"".join(out)

    def answer(self, tag, verb, rest):
        ok = f"{tag} OK done\r\n"
        if verb == "AUTHENTICATE":
            import base64
            self.user = base64.b64decode(rest.split()[1]).split(b"\0")[1].decode()
            return f"{tag} OK [CAPABILITY {CAPABILITIES}] in\r\n"
        if verb == "LOGIN":
            self.user = rest.split()[0].strip('"')
            return f"{tag} OK [CAPABILITY {CAPABILITIES}] in\r\n"
        if verb == "CAPABILITY":
            return f"* CAPABILITY {CAPABILITIES}\r\n" + ok
        if verb == "ID":
            return '* ID ("name" "load")\r\n' + ok
        if verb == "ENABLE":
            return f"* ENABLED {rest}\r\n" + ok
        if verb == "NAMESPACE":
            return '* NAMESPACE (("" "/")) NIL NIL\r\n' + ok
        if verb in ("LIST", "LSUB"):
            line = f'* {verb} (\\HasNoChildren) "/" INBOX\r\n'
            return line + (f"* STATUS INBOX {self.status()}\r\n" if "STATUS" in rest else "") + ok
        if verb == "STATUS":
            return f"* STATUS INBOX {self.status()}\r\n" + ok
        if verb in ("EXAMINE", "SELECT"):
            n = self.count()
            return (f"* FLAGS (\\Seen)\r\n* {n} EXISTS\r\n* 0 RECENT\r\n* OK [UIDVALIDITY 1] ok\r\n* OK [UIDNEXT {n + 1}] ok\r\n"
                    f"* OK [HIGHESTMODSEQ {n + 1}] ok\r\n{tag} OK [READ-ONLY] done\r\n")
        if verb == "UID FETCH":
            return self.fetch(rest) + ok.encode()
        if verb == "UID SEARCH":
            wanted = re.search(r"UID (\S+)", rest)
            uids = self.uids(wanted[1] if wanted else "1:*")
            if "RETURN" in rest:
                return f'* ESEARCH (TAG "{tag}") UID {"ALL " + ",".join(map(str, uids)) + " " if uids else ""}COUNT {len(uids)}\r\n' + ok
            return f"* SEARCH {' '.join(map(str, uids))}\r\n" + ok
        return ok

    async def serve(self):
        self.writer.write(f"* OK [CAPABILITY {CAPABILITIES}] ready\r\n".encode())
        while line := (await self.reader.readline()).decode("utf-8", "replace").rstrip("\r\n"):
            if line == "DONE":
                WAITING.get(self.user, set()).discard(self)
                self.writer.write(f"{self.idle} OK done\r\n".encode())
                continue
            tag, _, rest = line.partition(" ")
            verb, _, rest = rest.partition(" ")
            verb = verb.upper()
            if verb == "UID":
                second, _, rest = rest.partition(" ")
                verb += " " + second.upper()
            # Commands that came together are answered together, one round trip later.
            if self.delay and b"\n" not in getattr(self.reader, "_buffer", b""):
                await asyncio.sleep(self.delay)
            if verb == "IDLE":
                self.idle = tag
                WAITING.setdefault(self.user, set()).add(self)
                self.writer.write(b"+ waiting\r\n")
                continue
            answer = self.answer(tag, verb, rest)
            self.writer.write(answer if isinstance(answer, bytes) else answer.encode())
            if verb == "LOGOUT":
                break

    async def run(self):
        try:
            await self.serve()
        except (ConnectionError, ssl.SSLError, asyncio.IncompleteReadError):
            pass
        finally:
            WAITING.get(self.user, set()).discard(self)
            self.writer.close()


def arrive(user):
    STATE[user] = STATE.get(user, 1) + 1
    for session in WAITING.get(user, ()):
        session.writer.write(f"* {STATE[user]} EXISTS\r\n".encode())


async def main(certificate, key, delay):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = await asyncio.start_server(lambda r, w: Session(r, w, float(delay) / 1000).run(), "127.0.0.1", 0, ssl=context, backlog=1000)
    print(server.sockets[0].getsockname()[1], flush=True)
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        arrive(line.decode().strip())


if __name__ == "__main__":
    import resource
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    asyncio.run(main(*sys.argv[1:]))
