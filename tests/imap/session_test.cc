// States, tags, capabilities, login, literals on the way out, STARTTLS (RFC 9051 §3, §6.1, §6.2, §7.1).
#include <doctest/doctest.h>

#include "tests/imap/describe.h"
#include "tests/imap/player.h"

using namespace mailhaul;
using namespace mailhaul::imap;
using mailhaul::imap::testing::play;
using mailhaul::imap::testing::play_selected;

namespace {
void tls(Session& session) { session.secure_from_start(); }
const Login kLogin{"u", Secret("p")};
Examine examine(std::string name) { return {std::move(name), false, std::nullopt, false}; }
}  // namespace

TEST_CASE("greetings") {
  play("S: * OK hi\nE: GREETING OK hi");
  play("S: * PREAUTH [CAPABILITY IMAP4rev1] in\nE: GREETING PREAUTH [CAPABILITY IMAP4rev1] in\nC: A1 NAMESPACE",
       {Namespace{}});
  play("S: * BYE full\nE: GREETING BYE full\nC: !BYE", {Noop{}});
  play("S: * NO try later\nE: GREETING NO try later\nC: !BYE", {Noop{}});
  play("S-raw: \\r\\n\\0* OK hi\\r\\n\nE: GREETING OK hi");
  play("C: !not greeted", {Noop{}});
  play("S: 220 smtp.example.org ESMTP\nE: ERROR");
  play("S: A1 OK done\nE: ERROR");
  play("S: * 3 EXISTS\nE: ERROR");
  play("S: * CAPABILITY IMAP4rev1\nE: ERROR");
  play("S: * 1 FETCH (BODY[] {3}\nE: ERROR");
  play("S: + OK\nE: ERROR");

  Session session("A");
  const Done fed = session.feed("220 smtp.example.org ESMTP\r\n");
  REQUIRE_FALSE(static_cast<bool>(fed));
  CHECK(fed.error().what == "this is not an IMAP server: it greets with \"220 smtp.example.org ESMTP\"");
  CHECK_FALSE(static_cast<bool>(session.next_event()));
}

TEST_CASE("commands are refused where the state forbids them") {
  play(R"T(
    S: * OK hi
    E: GREETING OK hi
    C: !state
    C: !state
    C: !state
    C: A1 CAPABILITY
    C: A2 LOGIN "u" "p"
    C: !state
    C: A3 EXAMINE "x"
    C: A4 UID SEARCH ALL
    C: !state
    S: A2 OK
    S: A3 NO no such mailbox
    E: A2 OK
    E: A3 NO no such mailbox
    C: !state
    C: A5 LOGOUT
    C: !pending
    S: * BYE bye
    S: A1 OK
    S: A4 BAD no mailbox
    S: A5 OK
    E: BYE BYE bye
    E: A1 OK
    E: A4 BAD no mailbox
    E: A5 OK
    C: !BYE
  )T",
       {Namespace{}, examine("x"), UidSearch{"ALL", ""}, Capability{}, kLogin, kLogin, examine("x"),
        UidSearch{"ALL", ""}, StartTls{}, UidSearch{"ALL", ""}, Logout{}, Noop{}, Noop{}},
       tls);
}

TEST_CASE("tagged replies come in any order, with untagged data anywhere") {
  play_selected(
      R"T(
    C: A3 NOOP
    C: A4 UID FETCH 1 (UID)
    C: A5 EXAMINE "b"
    C: A6 UID FETCH 2 (UID)
    S: * 1 FETCH (UID 1)
    S: A4 OK
    S: * 3 EXISTS
    S: A6 OK
    S: A5 OK
    S: A3 OK
    E: FETCH 1 uid=1
    E: A4 OK
    E: EXISTS 3
    E: A6 OK
    E: A5 OK
    E: A3 OK
  )T",
      {Noop{}, UidFetch{"1", "UID", std::nullopt, false}, examine("b"), UidFetch{"2", "UID", std::nullopt, false}});
}

TEST_CASE("the mailbox that was asked for last decides the state, however the replies are ordered") {
  Session session = mailhaul::imap::testing::selected_session();
  imap::testing::Events events;
  REQUIRE(static_cast<bool>(session.submit(examine("a"))));
  REQUIRE(static_cast<bool>(session.submit(examine("b"))));
  mailhaul::imap::testing::take_output(session);
  CHECK(session.pending() == 2);
  REQUIRE(mailhaul::imap::testing::feed(session, "A4 OK\r\nA3 NO\r\n", events));
  CHECK(session.state() == State::Selected);
  CHECK(session.pending() == 0);
  REQUIRE(static_cast<bool>(session.submit(examine("a"))));
  REQUIRE(static_cast<bool>(session.submit(examine("b"))));
  mailhaul::imap::testing::take_output(session);
  REQUIRE(mailhaul::imap::testing::feed(session, "A5 OK\r\nA6 BAD\r\n", events));
  CHECK(session.state() == State::Authenticated);
}

TEST_CASE("a failed login leaves nothing selected behind") {
  Session session("A");
  session.secure_from_start();
  imap::testing::Events events;
  REQUIRE(mailhaul::imap::testing::feed(session, "* OK\r\n", events));
  REQUIRE(static_cast<bool>(session.submit(kLogin)));
  REQUIRE(static_cast<bool>(session.submit(examine("a"))));
  mailhaul::imap::testing::take_output(session);
  REQUIRE(mailhaul::imap::testing::feed(session, "A1 NO [AUTHENTICATIONFAILED] no\r\nA2 BAD not now\r\n", events));
  CHECK(session.state() == State::NotAuthenticated);
  CHECK(static_cast<bool>(session.submit(kLogin)));
}

TEST_CASE("a reply that nobody waits for breaks the stream") {
  for (const char* line : {"A3 OK", "A99 OK", "B1 OK", "A03 OK", "A OK", "A3", "a3 OK", "garbage", "A3x OK"})
    play_selected(std::string("S: ") + line + "\nE: ERROR");
  for (const char* line : {"A3 WHAT", "A3", "A3 PREAUTH"})
    play_selected(std::string("C: A3 NOOP\nS: ") + line + "\nE: ERROR", {Noop{}});
  play_selected("C: A3 NOOP\nS: A3  ok  [ALERT]  done \nE: A3 OK [ALERT] done\nS: A3 OK\nE: ERROR", {Noop{}});
  // wp.pl answers LOGOUT so.
  play_selected("C: A3 LOGOUT\nS: A3 BYE bye\nE: A3 BYE bye", {Logout{}});
}

TEST_CASE("a reply cannot come before its command was sent") {
  Session session("A");
  session.secure_from_start();
  imap::testing::Events events;
  REQUIRE(mailhaul::imap::testing::feed(session, "* OK\r\n", events));
  REQUIRE(static_cast<bool>(session.submit(kLogin)));
  session.sent(3);
  CHECK_FALSE(mailhaul::imap::testing::feed(session, "A1 OK you are in\r\n", events));
  CHECK(session.state() == State::NotAuthenticated);
}

TEST_CASE("capabilities: from codes and from CAPABILITY, forgotten at login unless said anew") {
  struct Case {
    const char* login_answer;
    bool known, has_new;
  };
  for (const auto& c :
       {Case{"A1 OK in\r\n", false, false}, Case{"A1 OK [CAPABILITY IMAP4rev1 NEW] in\r\n", true, true},
        Case{"* CAPABILITY IMAP4rev1 NEW\r\nA1 OK in\r\n", true, true}, Case{"A1 NO no\r\n", true, false}}) {
    CAPTURE(c.login_answer);
    Session session("A");
    session.secure_from_start();
    imap::testing::Events events;
    CHECK_FALSE(session.knows_capabilities());
    REQUIRE(mailhaul::imap::testing::feed(session, "* OK [CAPABILITY IMAP4rev1 LITERAL + auth=plain]\r\n", events));
    CHECK(session.knows_capabilities());
    CHECK(session.has("literal+"));
    CHECK(session.has("AUTH=PLAIN"));
    CHECK_FALSE(session.has("NEW"));
    REQUIRE(static_cast<bool>(session.submit(kLogin)));
    mailhaul::imap::testing::take_output(session);
    REQUIRE(mailhaul::imap::testing::feed(session, c.login_answer, events));
    CHECK(session.knows_capabilities() == c.known);
    CHECK(session.has("new") == c.has_new);
    session.mask("New");
    CHECK_FALSE(session.has("NEW"));
  }
}

TEST_CASE("ENABLED counts only what was asked for and confirmed") {
  Session session = mailhaul::imap::testing::selected_session();
  imap::testing::Events events;
  REQUIRE(mailhaul::imap::testing::feed(session, "* ENABLED QRESYNC\r\n", events));
  CHECK_FALSE(session.enabled("QRESYNC"));
  REQUIRE(static_cast<bool>(session.submit(Enable{{"CONDSTORE", "QRESYNC"}})));
  mailhaul::imap::testing::take_output(session);
  REQUIRE(mailhaul::imap::testing::feed(session, "* ENABLED condstore UTF8=ACCEPT\r\nA3 OK\r\n", events));
  CHECK(session.enabled("condstore"));
  CHECK_FALSE(session.enabled("QRESYNC"));
  CHECK_FALSE(session.enabled("UTF8=ACCEPT"));
}

TEST_CASE("no password goes out in clear, none where LOGIN is disabled") {
  play("S: * OK hi\nE: GREETING OK hi\nC: !not encrypted\nC: !not encrypted",
       {kLogin, Authenticate{"PLAIN", Secret("x")}});
  play("S: * OK hi\nE: GREETING OK hi\nC: A1 LOGIN \"u\" \"p\"", {kLogin}, [](Session& s) { s.allow_cleartext(); });
  play("S: * OK [CAPABILITY LOGINDISABLED] hi\nE: GREETING OK [CAPABILITY LOGINDISABLED] hi\nC: !LOGINDISABLED",
       {kLogin}, tls);
}

TEST_CASE("LOGIN: quoted where it is enough, else literals that wait for the server") {
  play("S: * OK\nE: GREETING OK\nC: A1 LOGIN \"a\\\\\"b\\\\\\\\c\" \"\"", {Login{"a\"b\\c", Secret("")}}, tls);
  const Login eight_bit{"\xc3\xbc", Secret("a\r\nb")};
  play(R"T(
    S: * OK
    E: GREETING OK
    C: A1 LOGIN {2}
    S: + go
    C+: \xc3\xbc {4}
    S: + go on
    C+: a\r\nb
    S: A1 OK
    E: A1 OK
  )T",
       {eight_bit}, tls);
  play(
      "S: * OK [CAPABILITY LITERAL+]\nE: GREETING OK [CAPABILITY LITERAL+]\nC: A1 LOGIN {2+}\\r\\n\\xc3\\xbc "
      "{4+}\\r\\na\\r\\nb",
      {eight_bit}, tls);
  play(
      "S: * OK [CAPABILITY LITERAL-]\nE: GREETING OK [CAPABILITY LITERAL-]\nC: A1 LOGIN {2+}\\r\\n\\xc3\\xbc "
      "{4+}\\r\\na\\r\\nb",
      {eight_bit}, tls);
  play("S: * OK [CAPABILITY LITERAL-]\nE: GREETING OK [CAPABILITY LITERAL-]\nC: A1 LOGIN \"u\" {4097}",
       {Login{"u", Secret(std::string(4097, '\t'))}}, tls);
  play("S: * OK\nE: GREETING OK\nC: !NUL\nC: !NUL",
       {Login{std::string("a\0b", 3), Secret("p")}, Login{"u", Secret(std::string("\0", 1))}}, tls);
}

TEST_CASE("a refused literal takes the rest of its command away; what was queued behind goes out") {
  play_selected(R"T(
    C: A3 EXAMINE {1}
    C: 
    S: A3 NO too odd
    E: A3 NO too odd
    C+: A4 NOOP
    S: A4 OK
    E: A4 OK
  )T",
                {examine("\xff"), Noop{}});
}

TEST_CASE("a + that nobody waits for is ignored") {
  play_selected(R"T(
    S: +
    S: + what
    C: A3 NOOP
    S: + again
    S: A3 OK
    E: A3 OK
  )T",
                {Noop{}});
  // One that comes before the announcement was sent opens nothing.
  Session session = mailhaul::imap::testing::selected_session();
  imap::testing::Events events;
  REQUIRE(static_cast<bool>(session.submit(examine("\xff"))));
  REQUIRE(mailhaul::imap::testing::feed(session, "+ early\r\n", events));
  CHECK(mailhaul::imap::testing::take_output(session) == "A3 EXAMINE {1}\r\n");
  REQUIRE(mailhaul::imap::testing::feed(session, "+ now\r\n", events));
  CHECK(mailhaul::imap::testing::take_output(session) == "\xff\r\n");
}

TEST_CASE("AUTHENTICATE with and without SASL-IR") {
  const Authenticate plain{"PLAIN", Secret(std::string("\0u\0p", 4))};
  play(
      "S: * OK [CAPABILITY SASL-IR]\nE: GREETING OK [CAPABILITY SASL-IR]\nC: A1 AUTHENTICATE PLAIN AHUAcA==\nC: A2 "
      "CAPABILITY\n"
      "S: A1 OK\nE: A1 OK",
      {plain, Capability{}}, tls);
  play(R"T(
    S: * OK
    E: GREETING OK
    C: A1 AUTHENTICATE PLAIN
    C: !pending
    S: + 
    C+: AHUAcA==
    S: + ZXJyb3I=
    S: A1 NO [AUTHENTICATIONFAILED] no
    E: + ZXJyb3I=
    E: A1 NO [AUTHENTICATIONFAILED] no
    C: A2 NOOP
  )T",
       {plain, Capability{}, Noop{}}, tls);
  play("S: * OK [CAPABILITY SASL-IR]\nE: GREETING OK [CAPABILITY SASL-IR]\nC: A1 AUTHENTICATE EXTERNAL =\n",
       {Authenticate{"EXTERNAL", Secret("")}}, tls);
  play("S: * OK\nE: GREETING OK\nC: !mechanism", {Authenticate{"PLAIN X", std::nullopt}}, tls);

  Session session("A");
  session.secure_from_start();
  imap::testing::Events events;
  REQUIRE(mailhaul::imap::testing::feed(session, "* OK\r\n", events));
  REQUIRE(static_cast<bool>(session.submit(Authenticate{"X", std::nullopt})));
  mailhaul::imap::testing::take_output(session);
  REQUIRE(mailhaul::imap::testing::feed(session, "+ Y2hhbGxlbmdl\r\n", events));
  CHECK(events.list.back() == "+ Y2hhbGxlbmdl");
  session.respond("answer");
  CHECK(mailhaul::imap::testing::take_output(session) == "YW5zd2Vy\r\n");
  session.respond(std::nullopt);
  CHECK(mailhaul::imap::testing::take_output(session) == "*\r\n");
}

TEST_CASE("IDLE ends with DONE, which waits for the server's +") {
  Session session = mailhaul::imap::testing::selected_session();
  imap::testing::Events events;
  session.end_idle();
  CHECK(session.output().empty());
  REQUIRE(static_cast<bool>(session.submit(Idle{})));
  CHECK(mailhaul::imap::testing::take_output(session) == "A3 IDLE\r\n");
  CHECK_FALSE(static_cast<bool>(session.submit(Noop{})));
  session.end_idle();
  REQUIRE(static_cast<bool>(session.submit(Noop{})));
  CHECK(session.output().empty());
  REQUIRE(mailhaul::imap::testing::feed(session, "* 4 EXISTS\r\n+ idling\r\n", events));
  CHECK(mailhaul::imap::testing::take_output(session) == "DONE\r\nA4 NOOP\r\n");
  REQUIRE(mailhaul::imap::testing::feed(session, "A3 OK\r\nA4 OK\r\n", events));
  REQUIRE(static_cast<bool>(session.submit(Idle{})));
  mailhaul::imap::testing::take_output(session);
  REQUIRE(mailhaul::imap::testing::feed(session, "+\r\n", events));
  session.end_idle();
  session.end_idle();
  CHECK(mailhaul::imap::testing::take_output(session) == "DONE\r\n");
  REQUIRE(mailhaul::imap::testing::feed(session, "A5 OK\r\n", events));
  // Refused: DONE is not owed any more.
  REQUIRE(static_cast<bool>(session.submit(Idle{})));
  mailhaul::imap::testing::take_output(session);
  session.end_idle();
  REQUIRE(mailhaul::imap::testing::feed(session, "A6 BAD what\r\n", events));
  CHECK(session.output().empty());
}

TEST_CASE("octets behind the OK of COMPRESS are handed back") {
  Session session = mailhaul::imap::testing::selected_session();
  REQUIRE(static_cast<bool>(session.submit(Compress{})));
  CHECK_FALSE(static_cast<bool>(session.submit(Noop{})));
  CHECK(mailhaul::imap::testing::take_output(session) == "A3 COMPRESS DEFLATE\r\n");
  REQUIRE(static_cast<bool>(session.feed("A3 OK\r\n\x01\x02")));
  auto event = session.next_event();
  REQUIRE(static_cast<bool>(event));
  REQUIRE(event->has_value());
  CHECK(std::holds_alternative<Completed>(**event));
  CHECK(session.take_unread() == "\x01\x02");
  CHECK_FALSE(session.next_event()->has_value());
  CHECK(static_cast<bool>(session.submit(Noop{})));
}

TEST_CASE("STARTTLS: nothing from before it is believed after it") {
  Session session("A");
  imap::testing::Events events;
  CHECK_FALSE(static_cast<bool>(session.begin_tls()));
  REQUIRE(
      mailhaul::imap::testing::feed(session,
                                    "* OK [CAPABILITY STARTTLS AUTH=PLAIN]\r\n* LIST () \"/\" evil\r\n* 3 EXISTS\r\n"
                                    "* 1 FETCH (UID 1 BODY[] {3}\r\nabc)\r\n* ENABLED X\r\n* ID (\"name\" \"x\")\r\n",
                                    events));
  CHECK(events.list == std::vector<std::string>{"GREETING OK [CAPABILITY STARTTLS AUTH=PLAIN]", "ID name=x"});
  CHECK_FALSE(static_cast<bool>(session.begin_tls()));
  REQUIRE(static_cast<bool>(session.submit(StartTls{})));
  CHECK_FALSE(static_cast<bool>(session.submit(Capability{})));
  CHECK(mailhaul::imap::testing::take_output(session) == "A1 STARTTLS\r\n");
  REQUIRE(mailhaul::imap::testing::feed(session, "A1 OK\r\n", events));
  CHECK_FALSE(static_cast<bool>(session.submit(Capability{})));
  REQUIRE(static_cast<bool>(session.begin_tls()));
  CHECK(session.secure());
  CHECK_FALSE(session.knows_capabilities());
  CHECK_FALSE(session.has("AUTH=PLAIN"));
  CHECK_FALSE(static_cast<bool>(session.submit(StartTls{})));
  CHECK(static_cast<bool>(session.submit(kLogin)));
}

TEST_CASE("STARTTLS: octets behind its OK are an attack") {
  for (const char* behind : {"* CAPABILITY IMAP4rev1\r\n", "* CAPA", "x", "A2 OK\r\n"}) {
    CAPTURE(behind);
    Session session("A");
    imap::testing::Events events;
    REQUIRE(mailhaul::imap::testing::feed(session, "* OK\r\n", events));
    REQUIRE(static_cast<bool>(session.submit(StartTls{})));
    mailhaul::imap::testing::take_output(session);
    const std::string received = std::string("A1 OK\r\n") + behind;
    REQUIRE(static_cast<bool>(session.feed(received)));
    REQUIRE(session.next_event()->has_value());
    SUBCASE("found by begin_tls()") {
      const Done begun = session.begin_tls();
      REQUIRE_FALSE(static_cast<bool>(begun));
      CHECK(begun.error().what.find("STARTTLS") != std::string::npos);
    }
    SUBCASE("found by next_event()") { CHECK_FALSE(static_cast<bool>(session.next_event())); }
    CHECK_FALSE(session.secure());
    CHECK_FALSE(static_cast<bool>(session.submit(kLogin)));
  }
}

TEST_CASE("STARTTLS answered before it was asked for, refused, or with a continuation") {
  play("S: * OK\nE: GREETING OK\nS: A1 OK begin TLS now\nE: ERROR");
  play("S: * OK\nE: GREETING OK\nC: A1 STARTTLS\nS: A1 NO not here\nE: A1 NO not here\nC: !not encrypted",
       {StartTls{}, kLogin});
  play("S: * OK\nE: GREETING OK\nC: A1 STARTTLS\nS: + go\nS: A1 BAD what\nE: A1 BAD what\nC: A2 NOOP",
       {StartTls{}, Noop{}});
  play("S: * OK\nE: GREETING OK\nC: A1 NOOP\nC: !other commands", {Noop{}, StartTls{}});
  play("S: * OK\nE: GREETING OK\nC: !encrypted already", {StartTls{}}, tls);

  Session session("A");
  imap::testing::Events events;
  REQUIRE(mailhaul::imap::testing::feed(session, "* OK\r\n", events));
  REQUIRE(static_cast<bool>(session.submit(StartTls{})));
  CHECK_FALSE(mailhaul::imap::testing::feed(session, "A1 OK\r\n", events));
}

TEST_CASE("BYE at any time") {
  play_selected(R"T(
    C: A3 UID FETCH 1 (BODY.PEEK[])
    S: * BYE [UNAVAILABLE] going down
    S: * BYE again
    E: BYE BYE [UNAVAILABLE] going down
    E: BYE BYE again
    C: !BYE
  )T",
                {UidFetch{"1", "BODY.PEEK[]", std::nullopt, false}, Noop{}});
  // What is said of mailboxes behind it is believed only inside.
  play_selected("S: * BYE\nS: * 3 EXISTS\nE: BYE BYE\nE: EXISTS 3");
  play("S: * OK hi\nS: * BYE\nS: * 3 EXISTS\nE: GREETING OK hi\nE: BYE BYE");
  play("S: * BYE\nS: * 3 EXISTS\nE: GREETING BYE");
}
