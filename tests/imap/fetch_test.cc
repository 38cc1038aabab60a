// FETCH responses: bodies in every form they come in, attributes in every order, and what servers make of the grammar.
#include <doctest/doctest.h>

#include "tests/imap/player.h"

using namespace mailhaul::imap;
using mailhaul::imap::testing::play_selected;

TEST_CASE("a body streams in as a literal of each form") {
  play_selected(R"T(
    S: * 1 FETCH (UID 5 FLAGS (\Seen) INTERNALDATE "17-Jul-1996 02:44:25 -0700" BODY[] {5}
    S-raw: hello)\r\n
    E: BODY uid=5 5 hello
    E: FETCH 1 uid=5 flags=(\Seen) date=17-Jul-1996 02:44:25 -0700 body
    S: * 2 FETCH (UID 6 BODY[] {3+}
    S-raw: abc)\r\n
    E: BODY uid=6 3 abc
    E: FETCH 2 uid=6 body
    S: * 3 FETCH (UID 7 BINARY[] ~{4}
    S-raw: a\0b\xff)\r\n
    E: BODY uid=7 4 a\x00b\xff
    E: FETCH 3 uid=7 body
    S: * 4 FETCH (UID 8 BODY[] {0}
    S: )
    E: BODY uid=8 0 
    E: FETCH 4 uid=8 body
    S: * 5 FETCH (UID 9 BODY[]<0> {2}
    S-raw: ab FLAGS ())\r\n
    E: BODY uid=9 2 ab
    E: FETCH 5 uid=9 flags=() body
    S-raw: * 6 FETCH (UID 10 RFC822 {2}\nab)\n
    E: BODY uid=10 2 ab
    E: FETCH 6 uid=10 body
    S: * 7 FETCH (UID 11 BODY[]{2}
    S-raw: ab)\r\n
    E: BODY uid=11 2 ab
    E: FETCH 7 uid=11 body
  )T");
}

TEST_CASE("a body that is no literal") {
  play_selected(R"T(
    S: * 1 FETCH (UID 5 BODY[] "a \"quoted\" \\ body")
    E: BODY uid=5 17 a "quoted" \ body
    E: FETCH 1 uid=5 body
    S: * 1 FETCH (UID 5 BODY[] "" FLAGS (\Seen))
    E: BODY uid=5 0 
    E: FETCH 1 uid=5 flags=(\Seen) body
    S: * 1 FETCH (BODY[] atom UID 5)
    E: BODY 4 atom
    E: FETCH 1 uid=5 body
    S: * 1 FETCH (UID 5 BODY[] NIL)
    E: FETCH 1 uid=5 body=NIL
    S: * 1 FETCH (UID 5 BODY[] nil FLAGS (x))
    E: FETCH 1 uid=5 flags=(x) body=NIL
    S: * 1 FETCH (UID 5 BODY[] FLAGS (x))
    E: FETCH 1 uid=5 flags=(x)
    S: * 1 FETCH (UID 5 BODY[] BODY[] UID 5 BODY[])
    E: FETCH 1 uid=5
    S: * 1 FETCH (UID 5 RFC822)
    E: FETCH 1 uid=5
    S: * 1 FETCH (UID 5)
    E: FETCH 1 uid=5
  )T");
}

TEST_CASE("attributes in any order, any case, with blanks to spare; a literal before the UID") {
  play_selected(R"T(
    S: * 1 FETCH (BODY[] {3}
    S-raw: abc UID 5 flags (\SEEN $Junk))\r\n
    E: BODY 3 abc
    E: FETCH 1 uid=5 flags=(\Seen $Junk) body
    S: *   1   FETCH   (  uid   5   RFC822.size   12   body[]   {3}
    S-raw: abc   MODSEQ   (  7  )   )\r\n
    E: BODY uid=5 3 abc
    E: FETCH 1 uid=5 size=12 modseq=7 body
    S: * 1 fetch ((UID 5 FLAGS NIL) RFC822.SIZE 9.3736e+06 MODSEQ 7)
    E: FETCH 1 uid=5 flags=() size=9373600 modseq=7
    S: * 1 FETCH (FLAGS (\Seen) body[header.fields ("SUBJECT" {4}
    S-raw: DATE)] {3}\r\nx:y UID 9)\r\n
    E: BODY 3 x:y
    E: FETCH 1 uid=9 flags=(\Seen) body
    S: * 1 FETCH (UID 5 EMAILID (M6d99ac3275bb4e) THREADID (T64b478a75b7ea9))
    E: FETCH 1 uid=5 emailid=M6d99ac3275bb4e
    S: * 1 FETCH (X-GM-MSGID 1278455344230334865 UID 5 X-GM-LABELS ("\\Inbox" "a (b" {3}
    S-raw: c)d) RFC822.SIZE 4)\r\n
    E: FETCH 1 uid=5 size=4 emailid=1278455344230334865
    S: * 1 FETCH (UID 5 INTERNALDATE {26}
    S-raw: 17-Jul-1996 02:44:25 -0700 INTERNALDATE NIL)\r\n
    E: FETCH 1 uid=5 date=17-Jul-1996 02:44:25 -0700
  )T");
}

TEST_CASE("what is not asked for is skipped, whatever it holds") {
  play_selected(R"T(
    S: * 1 FETCH (ENVELOPE ("d" "s (" (("a" NIL "b" "c")) NIL {3}
    S-raw: )"( NIL) UID 5 BODY ("TEXT" "PLAIN" ("CHARSET" "x") NIL NIL "7BIT" 1 1) X-NEW FOO X-STR "a b" FLAGS (\Seen))\r\n
    E: FETCH 1 uid=5 flags=(\Seen)
    S: * 0 FETCH (UID 5 FLAGS ())
    E: FETCH 0 uid=5 flags=()
    S: * 99999999999 FETCH (UID 5)
    E: FETCH 0 uid=5
    S: * 77 UIDFETCH (FLAGS (\Seen) BODY[] {1}
    S-raw: x)\r\n
    E: BODY uid=77 1 x
    E: FETCH 0 uid=77 flags=(\Seen) body
    S: * 1 FETCH (UID 0 MODSEQ (-1) RFC822.SIZE -5 FLAGS (\Recent))
    E: FETCH 1 flags=()
    S: * 1 FETCH (MODSEQ (0) RFC822.SIZE x)
    E: FETCH 1
  )T");
}

TEST_CASE("flags after the body come in their own response; keep-alives come between") {
  play_selected(R"T(
    C: A3 UID FETCH 9 (UID BODY.PEEK[])
    S: * 1 FETCH (UID 9 BODY[] {4}
    S-raw: ab\r\n)\r\n
    S: * OK Still here
    S: * 1 FETCH (UID 9 FLAGS (\Seen))
    S: * 4 EXPUNGE
    S: A3 OK done
    E: BODY uid=9 4 ab\x0d\x0a
    E: FETCH 1 uid=9 body
    E: NOTICE OK Still here
    E: FETCH 1 uid=9 flags=(\Seen)
    E: EXPUNGE 4
    E: A3 OK done
  )T",
                {UidFetch{"9", "UID BODY.PEEK[]", std::nullopt, false}});
}

TEST_CASE("many bodies in one response; octets that look like protocol stay octets") {
  play_selected(R"T(
    S: * 1 FETCH (UID 5 BODY[] {24}
    S-raw: * 2 FETCH (UID 6)\r\n{9}\r\n BODY[TEXT] {11}\r\nA3 OK done\n FLAGS ())\r\n
    E: BODY uid=5 24 * 2 FETCH (UID 6)\x0d\x0a{9}\x0d\x0a
    E: BODY uid=5 11 A3 OK done\x0a
    E: FETCH 1 uid=5 flags=() body
  )T");
}

TEST_CASE("Domino counts a literal without its last line end") {
  play_selected(R"T(
    S: * 1 FETCH (UID 5 BODY[] {3}
    S-raw: abc\r\n UID 5)\r\n
    E: BODY uid=5 3 abc
    E: FETCH 1 uid=5 body
    S: * 1 FETCH (UID 5 BODY[] {3}
    S-raw: abc\n)\r\n
    E: BODY uid=5 3 abc
    E: FETCH 1 uid=5 body
    S: * 1 FETCH (UID 5 BODY[] {3}
    S-raw: abc\r\n\r\n)\r\n
    E: ERROR
    E: UNFINISHED BODY uid=5 3 abc
  )T");
}

TEST_CASE("a literal that is longer or shorter than announced is never a body") {
  play_selected(R"T(
    S: * 1 FETCH (UID 5 BODY[] {3}
    S-raw: abcd)\r\n
    E: ERROR
    E: UNFINISHED BODY uid=5 3 abc
  )T");
  play_selected(R"T(
    S: * 1 FETCH (UID 5 BODY[] {5}
    S-raw: abc)\r\n* 2 FETCH (UID 6 BODY[] {3}\r\nabc)\r\n
    E: ERROR
    E: UNFINISHED BODY uid=5 5 abc)\x0d
  )T");
  // The next octet happens to fit: then what follows must still be the rest of a FETCH.
  play_selected(R"T(
    S: * 1 FETCH (UID 5 BODY[] {6}
    S-raw: abc)\r\n* 2 FETCH (UID 6 FLAGS ())\r\n
    E: ERROR
    E: UNFINISHED BODY uid=5 6 abc)\x0d\x0a
  )T");
  play_selected(R"T(
    S: * 1 FETCH (UID 5 BODY[] {7}
    S-raw: abc)\r\n* 2 FETCH (UID 6 FLAGS ())\r\n
    E: BODY uid=5 7 abc)\x0d\x0a*
    E: ERROR
  )T");
}

TEST_CASE("two whole bodies in one response: the first has swallowed the beginning of another response") {
  play_selected(R"T(
    S: * 1 FETCH (UID 5 BODY[] {22}
    S-raw: abc)\r\n* 2 FETCH (UID 6 FLAGS () BODY[] {3}\r\nxyz)\r\n
    E: BODY uid=5 22 abc)\x0d\x0a* 2 FETCH (UID 6
    E: ERROR
  )T");
  play_selected(R"T(
    S: * 1 FETCH (UID 5 BODY[] {28}
    S-raw: abc)\r\n* 2 FETCH (UID 6 FLAGS () RFC822 "xyz")\r\n
    E: BODY uid=5 28 abc)\x0d\x0a* 2 FETCH (UID 6 FLAGS
    E: ERROR
  )T");
}

TEST_CASE("what was told before the body is told again behind it: it is another response's") {
  for (const char* rest : {" FLAGS ())", " INTERNALDATE \"17-Jul-1996 02:44:25 -0700\")", " BODY[] NIL)"})
    play_selected(std::string(R"T(
    S: * 1 FETCH (UID 5 FLAGS () INTERNALDATE "17-Jul-1996 02:44:25 -0700" BODY[] {22}
    S-raw: abc)\r\n* 2 FETCH (UID 6)T") +
                  rest + R"T(\r\n
    E: BODY uid=5 22 abc)\x0d\x0a* 2 FETCH (UID 6
    E: ERROR
  )T");
}

TEST_CASE("a body whose response does not end has swallowed the beginning of the tagged reply") {
  play_selected(R"T(
    S: * 1 FETCH (UID 5 BODY[] {11}
    S-raw: abc)\r\nA3 OK done\r\n
    E: BODY uid=5 11 abc)\x0d\x0aA3 OK
    E: ERROR
  )T");
}

TEST_CASE("a FETCH that makes no sense is lost alone, unless a literal hangs on it") {
  play_selected(R"T(
    S: * 1 FETCH (UID x)
    S: * 1 FETCH ("UID" 5)
    S: * 1 FETCH (UID 5 FLAGS (\Seen)
    S: * 1 FETCH (UID 5 FLAGS (\Seen
    S: * 1 FETCH (UID 5 INTERNALDATE "17-Jul-1996)
    S: * 1 FETCH (UID 5 BODY[] "no end)
    S: * 1 FETCH (UID 5 UID 6)
    S: * 1 FETCH (UID 5 ENVELOPE ("a")
    S: * 1 FETCH
    S: * 2 EXISTS
    E: FETCH 1 uid=5 flags=(\Seen)
    E: FETCH 1 uid=5
    E: FETCH 1
    E: EXISTS 2
  )T");
  for (const char* line : {"* 1 FETCH (UID 5 \"x {3}", "* 1 FETCH ({3}", "* 1 FETCH (UID x BODY[] {3}"})
    play_selected(std::string("S: ") + line + "\nS-raw: abc)\\r\\n\nE: ERROR");
}
