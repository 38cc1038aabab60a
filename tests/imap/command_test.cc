// Commands on the wire (RFC 9051 §6), and what may not go out.
#include <doctest/doctest.h>

#include "tests/imap/player.h"

using namespace mailhaul;
using namespace mailhaul::imap;
using mailhaul::imap::testing::selected_session;
using mailhaul::imap::testing::take_output;

namespace {
Examine examine(std::string name) { return {std::move(name), false, std::nullopt, false}; }
Examine select(std::string name) { return {std::move(name), true, std::nullopt, true}; }
Examine resync(std::string known) {
  return {"INBOX", true, Examine::Resync{mail::UidValidity{1666390893380}, mail::ModSeq{7}, std::move(known)}, false};
}
}  // namespace

TEST_CASE("each command as it goes out") {
  struct Case {
    Command command;
    std::string wire;
  };
  const Case cases[] = {
      {Capability{}, "CAPABILITY"},
      {Noop{}, "NOOP"},
      {Logout{}, "LOGOUT"},
      {Id{{}}, "ID NIL"},
      {Id{{{"name", "Mailhaul"}, {"version", "\"1\""}}}, "ID (\"name\" \"Mailhaul\" \"version\" \"\\\"1\\\"\")"},
      {Enable{{"CONDSTORE", "QRESYNC"}}, "ENABLE CONDSTORE QRESYNC"},
      {Compress{}, "COMPRESS DEFLATE"},
      {Namespace{}, "NAMESPACE"},
      {List{"", "*", {}, {}}, "LIST \"\" \"*\""},
      {List{"#shared/", "%", {"SUBSCRIBED", "CHILDREN"}, {}}, "LIST \"#shared/\" \"%\" RETURN (SUBSCRIBED CHILDREN)"},
      {List{"", "*", {"SPECIAL-USE"}, {"MESSAGES", "UIDNEXT"}},
       "LIST \"\" \"*\" RETURN (SPECIAL-USE STATUS (MESSAGES UIDNEXT))"},
      {List{"", "*", {}, {"MESSAGES"}}, "LIST \"\" \"*\" RETURN (STATUS (MESSAGES))"},
      {Lsub{"", "*"}, "LSUB \"\" \"*\""},
      {Status{"a b", {"MESSAGES", "UIDNEXT"}}, "STATUS \"a b\" (MESSAGES UIDNEXT)"},
      {examine("INBOX"), "EXAMINE \"INBOX\""},
      {examine(""), "EXAMINE \"\""},
      {select("a\"b\\c"), "SELECT \"a\\\"b\\\\c\" (CONDSTORE)"},
      {resync(""), "EXAMINE \"INBOX\" (QRESYNC (1666390893380 7))"},
      {resync("1:8"), "EXAMINE \"INBOX\" (QRESYNC (1666390893380 7 1:8))"},
      {UidFetch{"1:*", "UID FLAGS BODY.PEEK[]", std::nullopt, false}, "UID FETCH 1:* (UID FLAGS BODY.PEEK[])"},
      {UidFetch{"1:4294967295", "FLAGS", mail::ModSeq{9}, false}, "UID FETCH 1:4294967295 (FLAGS) (CHANGEDSINCE 9)"},
      {UidFetch{"1", "FLAGS", mail::ModSeq{9}, true}, "UID FETCH 1 (FLAGS) (CHANGEDSINCE 9 VANISHED)"},
      {UidSearch{"ALL", ""}, "UID SEARCH ALL"},
      {UidSearch{"UID 1:*", "ALL COUNT"}, "UID SEARCH RETURN (ALL COUNT) UID 1:*"},
      {ProxyAuth{"other user"}, "PROXYAUTH \"other user\""},
      {Create{"Sent", "\\Sent"}, "CREATE \"Sent\" (USE (\\Sent))"},
      {Create{"a b"}, "CREATE \"a b\""},
      {Subscribe{"INBOX"}, "SUBSCRIBE \"INBOX\""},
      {UidStore{"1:3", true, "\\Seen $Junk"}, "UID STORE 1:3 +FLAGS.SILENT (\\Seen $Junk)"},
      {UidStore{"7", false, "x"}, "UID STORE 7 -FLAGS.SILENT (x)"},
      {UidExpunge{"4"}, "UID EXPUNGE 4"},
      {GetQuotaRoot{"INBOX"}, "GETQUOTAROOT \"INBOX\""},
      {Idle{}, "IDLE"},
  };
  for (const auto& c : cases) {
    Session session = selected_session();
    const auto tag = session.submit(c.command);
    REQUIRE_MESSAGE(static_cast<bool>(tag), c.wire);
    CHECK(take_output(session) == tag->value + " " + c.wire + "\r\n");
    CHECK(session.pending() == 1);
    CHECK(c.wire.rfind(std::string(std::holds_alternative<Examine>(c.command) ? c.wire.substr(0, 6)
                                                                              : std::string(name_of(c.command))),
                       0) == 0);
  }
}

TEST_CASE("octets that quotes cannot hold go out as literals, unchanged") {
  for (const std::string name : {"Entw\xc3\xbcrfe", "\xfc", "a\r\nA9 LOGOUT", "tab\t", "\x7f"}) {
    Session session = selected_session();
    REQUIRE(static_cast<bool>(session.submit(Status{name, {"MESSAGES"}})));
    CHECK(take_output(session) == "A3 STATUS {" + std::to_string(name.size()) + "}\r\n");
    REQUIRE(static_cast<bool>(session.feed("+ go\r\n")));
    REQUIRE(static_cast<bool>(session.next_event()));
    CHECK(take_output(session) == name + " (MESSAGES)\r\n");
  }
}

TEST_CASE("nothing can start a second line") {
  const std::string evil = "x\r\nA9 LOGOUT";
  const std::string nul("a\0b", 3);
  const Command commands[] = {
      UidFetch{evil, "UID", std::nullopt, false},
      UidFetch{"1", evil, std::nullopt, false},
      UidFetch{"1", "UID\n", std::nullopt, false},
      UidFetch{"", "UID", std::nullopt, false},
      UidFetch{"1", "", std::nullopt, false},
      UidFetch{"1", "BODY[HEADER.FIELDS ({5}", std::nullopt, false},
      UidFetch{"1", "UID", std::nullopt, true},
      UidSearch{evil, ""},
      UidSearch{"ALL", evil},
      UidSearch{"SUBJECT {5}", ""},
      UidSearch{"SUBJECT \xfc", ""},
      Enable{{evil}},
      Enable{{"A B"}},
      List{"", "*", {evil}, {}},
      List{"", "*", {}, {evil}},
      List{nul, "*", {}, {}},
      List{"", nul, {}, {}},
      Status{nul, {"MESSAGES"}},
      Status{"x", {evil}},
      examine(nul),
      resync(evil),
      Id{{{"name", nul}}},
  };
  for (const auto& command : commands) {
    Session session = selected_session();
    const auto tag = session.submit(command);
    REQUIRE_FALSE(static_cast<bool>(tag));
    CHECK(tag.error().retry == Retry::Never);
    CHECK(tag.error().what.rfind(name_of(command), 0) == 0);
    CHECK(tag.error().what.find('\n') == std::string::npos);
    CHECK(session.output().empty());
    CHECK(session.pending() == 0);
  }
}

TEST_CASE("what was sent is wiped from the session's memory") {
  Session session("A");
  session.secure_from_start();
  REQUIRE(static_cast<bool>(session.feed("* OK\r\n")));
  REQUIRE(static_cast<bool>(session.next_event()));
  REQUIRE(static_cast<bool>(session.submit(Login{"user", Secret("correct horse")})));
  const std::string_view output = session.output();
  REQUIRE(output.find("correct horse") != std::string_view::npos);
  session.sent(output.size() - 1);  // the buffer stays alive for the rest
  CHECK(std::string(output.substr(0, output.size() - 1)) == std::string(output.size() - 1, '\0'));
  CHECK(session.output() == "\n");
}

TEST_CASE("APPEND: whole, or its beginning and the rest when it comes") {
  const std::string message = "Subject: x\r\n\r\nbody\r\n";  // 20 octets
  const Append whole{"Sent", "\\Seen $Junk", 1'700'000'000, message.size(), message, false};
  const std::string head = " APPEND \"Sent\" (\\Seen $Junk) \"14-Nov-2023 22:13:20 +0000\" ";
  const auto with = [&](const char* capability, const Append& append) {
    auto session = selected_session();
    if (*capability) {
      const auto line = std::string("* CAPABILITY IMAP4rev1 ") + capability + "\r\n";
      REQUIRE(session.feed(line));
      while (session.next_event()->has_value()) {
      }
    }
    const auto tag = session.submit(append);
    REQUIRE(tag);
    CHECK(tag->value == "A3");
    return session;
  };
  auto plus = with("LITERAL+", whole);
  CHECK(take_output(plus) == "A3" + head + "{20+}\r\n" + message + "\r\n");
  auto minus = with("LITERAL-", whole);
  CHECK(take_output(minus) == "A3" + head + "{20+}\r\n" + message + "\r\n");
  auto waiting = with("", whole);
  CHECK(take_output(waiting) == "A3" + head + "{20}\r\n");
  CHECK_FALSE(waiting.drained());
  REQUIRE(waiting.feed("+ go\r\n"));
  while (*waiting.next_event()) {
  }
  CHECK(take_output(waiting) == message + "\r\n");
  CHECK(waiting.drained());

  Append begun = whole;
  begun.message = std::string_view(message).substr(0, 12);
  auto pieces = with("LITERAL+", begun);
  CHECK(take_output(pieces) == "A3" + head + "{20+}\r\nSubject: x\r\n");
  CHECK_FALSE(pieces.submit(Noop{}));  // it would be taken for mail
  REQUIRE(pieces.append("\r\nbo"));
  CHECK(take_output(pieces) == "\r\nbo");
  CHECK_FALSE(pieces.append("dy\r\n and more"));
  REQUIRE(pieces.append("dy\r\n"));
  CHECK(take_output(pieces) == "dy\r\n\r\n");
  CHECK_FALSE(pieces.append("x"));
  CHECK(pieces.submit(Noop{}));

  auto early = with("LITERAL+", begun);
  (void)take_output(early);
  REQUIRE(early.feed("A3 OK already\r\n"));
  CHECK_FALSE(early.next_event());  // before all of it was given
  auto refused = with("LITERAL+", begun);
  (void)take_output(refused);
  REQUIRE(refused.feed("A3 NO [OVERQUOTA] full\r\n"));
  CHECK(refused.next_event());
  CHECK_FALSE(refused.append("dy\r\n"));

  Append nul = whole;
  const std::string octets("a\0b\r\n", 5);
  nul.message = octets;
  nul.octets = octets.size();
  CHECK_FALSE(selected_session().submit(nul));
  nul.binary = true;
  auto eight = with("LITERAL+", nul);
  CHECK(take_output(eight) == "A3" + head + "~{5+}\r\n" + octets + "\r\n");
  Append injected = whole;
  injected.flags = "x)\r\nA4 LOGOUT";
  CHECK_FALSE(selected_session().submit(injected));
}
