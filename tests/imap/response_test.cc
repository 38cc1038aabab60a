// Untagged responses other than FETCH, as the RFC has them and as servers send them.
#include <doctest/doctest.h>

#include "tests/imap/player.h"

using namespace mailhaul::imap;
using mailhaul::imap::testing::play_selected;

TEST_CASE("LIST and LSUB: names in every disguise, raw octets kept") {
  play_selected(R"T(
    S: * LIST (\HasNoChildren \Sent) "/" "Sent"
    E: LIST (\HasNoChildren \Sent) / <Sent>
    S: * LIST () NIL INBOX
    E: LIST () NIL <INBOX>
    S: * LIST NIL "" ""
    E: LIST () NIL <>
    S: * LIST (\Noselect) "." {5}
    S-raw: a"b)(\r\n
    E: LIST (\Noselect) . <a"b)(>
    S: * LSUB () "/" "a \"b\" \\ c"
    E: LSUB () / <a "b" \ c>
    S: * XLIST (\Inbox) "/" Inbox
    E: LIST (\Inbox) / <Inbox>
    S: * list  (\A  \B )  "/"  "x" 
    E: LIST (\A \B) / <x>
    S: * LIST () "\\" "a\\b"
    E: LIST () \ <a\b>
    S: * LIST () "\" "a"
    E: LIST () \ <a>
    S: * LIST () "\" {1}
    S: a
    E: LIST () \ <a>
    S: * LIST () "|" Dr&AOk-fts
    E: LIST () | <Dr&AOk-fts>
    S-raw: * LIST () "/" "Entw\xc3\xbcrfe"\r\n* LIST () "/" Entw\xfcrfe x\r\n* LIST () "/" "a\tb"\r\n
    E: LIST () / <Entwürfe>
    E: LIST () / <Entw\xfcrfe x>
    E: LIST () / <a\x09b>
    S: * LIST () "/" a (b) c
    E: LIST () / <a (b) c>
    S: * LIST () "/" "a "b" c"
    E: LIST () / <a "b" c>
    S: * LIST () "/" no opening"
    E: LIST () / <no opening>
    S: * LIST () "/" "x" (CHILDINFO ("SUBSCRIBED"))
    E: LIST () / <x>
    S: * LIST () "/" {3}
    S: a b ("OLDNAME" ("y"))
    E: LIST () / <a b>
    S: * LIST () "/" foo{5}
    E: LIST () / <foo{5}>
    S: * LIST () / x
    E: LIST () / <x>
  )T");
}

TEST_CASE("a missing closing quote loses its line and no other") {
  play_selected(R"T(
    S: * LIST () "/" "lost
    S: * LIST () "/" "lost {3}
    S: * LIST () "/
    S: * LIST (\A "/" x
    S: * LIST () "//" x
    S: * LIST () "/" 
    S: * LIST
    S: * STATUS "lost
    S: * ID ("name
    S: * NAMESPACE (("lost
    S: * ESEARCH (TAG "A
    S: * LIST () "/" found
    E: LIST () / <found>
  )T");
}

TEST_CASE("STATUS") {
  play_selected(R"T(
    S: * STATUS "INBOX" (MESSAGES 3 UIDNEXT 8 UIDVALIDITY 1666390893380 UNSEEN 0 HIGHESTMODSEQ 12 SIZE 9 DELETED 1 MAILBOXID (F1-a))
    E: STATUS <INBOX> messages=3 uidnext=8 uidvalidity=1666390893380 unseen=0 modseq=12 size=9 deleted=1 id=F1-a
    S: * STATUS "INBOX" ()
    E: STATUS <INBOX>
    S: * STATUS {3}
    S:  x  (messages 4 HIGHESTMODSEQ -1 X-FOO "a" X-BAR (1 2) SIZE 4.2e+06 )
    E: STATUS < x > messages=4 size=4200000
    S: * STATUS two words (MESSAGES 1)
    E: STATUS <two words> messages=1
    S: * STATUS "a "b" c" (MESSAGES 1)
    E: STATUS <a "b" c> messages=1
    S: * STATUS x
    S: * STATUS x (MESSAGES 1
  )T");
}

TEST_CASE("NAMESPACE and ID") {
  play_selected(R"T(
    S: * NAMESPACE (("" "/")) NIL (("#shared/" "/" "TRANSLATION" ("a" "b(")) ("#pub." ".")) 
    E: NAMESPACE (< />) () (<#shared/ /><#pub. .>)
    S: * NAMESPACE (("INBOX." ".")("" NIL)) NIL NIL
    E: NAMESPACE (<INBOX. .>< NIL>) () ()
    S: * NAMESPACE NIL NIL NIL
    E: NAMESPACE () () ()
    S: * NAMESPACE ((x
    S: * ID ("name" "Cyrus" "version" NIL "note" {3}
    S: a b)
    E: ID name=Cyrus version= note=a b
    S: * ID NIL
    E: ID
    S: * ID ("odd")
  )T");
}

TEST_CASE("SEARCH: several lines, trailing blanks, unsorted, empty; ESEARCH with and without UID") {
  play_selected(R"T(
    S: * SEARCH
    E: SEARCH
    S: * SEARCH 7456 
    E: SEARCH 7456
    S: * SEARCH  9 3 4 5 3 0 4294967295
    E: SEARCH 3:5,9,4294967295
    S: * SEARCH 2 5 (MODSEQ 917162500)
    E: SEARCH 2,5 modseq=917162500
    S: * SEARCH 2 (MODSEQ -1)
    E: SEARCH 2
    S: * SEARCH 4294967296
    S: * SEARCH 1 x
    S: * ESEARCH (TAG "A3") UID ALL 1:3,9 COUNT 4 MODSEQ 8
    E: ESEARCH tag=A3 1:3,9 count=4 modseq=8
    S: * ESEARCH (TAG "A3") UID
    E: ESEARCH tag=A3
    S: * ESEARCH ALL 4:2
    E: ESEARCH 2:4
    S: * ESEARCH (TAG A3) MIN 1 PARTIAL (1:5 (2 "(")) COUNT 7
    E: ESEARCH tag=A3 count=7
    S: * ESEARCH (TAG "A3") UID ALL 1:*
    S: * ESEARCH UID PARTIAL (1
  )T");
}

TEST_CASE("VANISHED is kept as ranges and never expanded") {
  play_selected(R"T(
    S: * VANISHED (EARLIER) 41,43:116,118:4294967295
    E: VANISHED EARLIER 41,43:116,118:4294967295
    S: * VANISHED 1:4294967295
    E: VANISHED 1:4294967295
    S: * VANISHED 5:*
    S: * VANISHED
    S: * VANISHED (EARLIER
    S: * VANISHED 0
  )T");
}

TEST_CASE("EXISTS, EXPUNGE, FLAGS, ENABLED, and data that nobody knows") {
  play_selected(R"T(
    C: A3 ENABLE CONDSTORE QRESYNC
    S: *  522   EXISTS
    S: * 0 EXISTS
    S: * 1 RECENT
    S: * 3 EXPUNGE
    S: * 99999999999 EXISTS
    S: * FLAGS (\Seen \Recent \X-Odd $Forwarded a[b] ) 
    S: * FLAGS NIL
    S: * FLAGS (
    S: * ENABLED QRESYNC X-OTHER
    S: * FOO bar ( "unbalanced
    S: * FOO {3}
    S-raw: )"( baz\r\n
    S: * 7 FOO
    S: *
    S: * [COPYUID 1 2 3]
    S: * THREAD (1 2)
    E: EXISTS 522
    E: EXISTS 0
    E: EXPUNGE 3
    E: FLAGS \Seen $Forwarded a[b]
    E: FLAGS 
    E: ENABLED QRESYNC X-OTHER
  )T",
                {Enable{{"CONDSTORE", "QRESYNC"}}});
}

TEST_CASE("response codes, whatever they hold") {
  play_selected(R"T(
    S: * OK [UIDVALIDITY 1666390893380] valid
    E: NOTICE OK [UIDVALIDITY 1666390893380] valid
    S: * OK [HIGHESTMODSEQ 7]
    E: NOTICE OK [HIGHESTMODSEQ 7]
    S: * OK [WEIRD x[y]] text
    E: NOTICE OK [WEIRD x[y]] text
    S: * OK [permanentflags (\* a] b[)] text
    E: NOTICE OK [PERMANENTFLAGS (\* a] b[)] text
    S: * NO [X "]" (")")] text
    E: NOTICE NO [X "]" (")")] text
    S: * NO [X :-( y] text
    E: NOTICE NO [X :-( y] text
    S: * OK [COPYUID 1  ]  text
    E: NOTICE OK [COPYUID 1] text
    S: * OK [unclosed text
    E: NOTICE OK [unclosed text
    S: * OK[ALERT]text {12}
    E: NOTICE OK [ALERT] text {12}
    S: * BAD
    E: NOTICE BAD
    S: * ok  spaces  
    E: NOTICE OK spaces
  )T");
}

TEST_CASE("noise between responses: blank lines, NULs, blanks, a long line") {
  std::string junk = "S: * X-LONG ";
  junk.append(2 << 20, 'x');
  play_selected("S-raw: \\0\\0\\r\\n\\r\\n   \\t * 1 EXISTS\\r\\n \\n\\0* 2 EXISTS\\n\nE: EXISTS 1\nE: EXISTS 2");
  // Whole only: two million octets one by one, twenty times, show nothing more.
  Session session = mailhaul::imap::testing::selected_session();
  const std::string line = junk.substr(3) + "\r\n* 3 EXISTS\r\n";
  REQUIRE(static_cast<bool>(session.feed(line)));
  auto event = session.next_event();
  REQUIRE(static_cast<bool>(event));
  REQUIRE(event->has_value());
  CHECK(std::get<Exists>(**event).count == 3);
}
