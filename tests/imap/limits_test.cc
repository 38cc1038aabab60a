// Every limit, and that work grows with the input and no faster. Work is counted, not timed.
#include <doctest/doctest.h>

#include "tests/imap/describe.h"
#include "tests/imap/player.h"

using namespace mailhaul;
using namespace mailhaul::imap;
using mailhaul::imap::testing::Events;
using mailhaul::imap::testing::feed;
using mailhaul::imap::testing::selected_session;

namespace {

std::string repeated(std::string_view text, std::size_t times) {
  std::string out;
  for (std::size_t i = 0; i < times; ++i) out += text;
  return out;
}

// The error that the octets end in; empty: none.
std::string error_of(std::string_view octets, const Limits& limits) {
  Session session = selected_session(limits);
  if (Done fed = session.feed(octets); !fed) return fed.error().what;
  for (;;) {
    const auto event = session.next_event();
    if (!event) {
      CHECK_FALSE(static_cast<bool>(session.next_event()));  // broken once, broken for ever
      CHECK_FALSE(static_cast<bool>(session.feed("* 1 EXISTS\r\n")));
      CHECK_FALSE(static_cast<bool>(session.submit(Noop{})));
      return event.error().what;
    }
    if (!*event) return {};
  }
}

std::uint64_t work_for(std::string_view octets, std::size_t piece) {
  Session session = selected_session();
  Events events;
  const std::uint64_t before = session.octets_examined();
  for (; !octets.empty(); octets.remove_prefix(std::min(piece, octets.size())))
    REQUIRE(feed(session, octets.substr(0, piece), events));
  return session.octets_examined() - before;
}

}  // namespace

TEST_CASE("a literal that is too long is refused before an octet of it") {
  Limits limits;
  limits.buffered_literal = 100;
  limits.body = 1000;
  CHECK(error_of("* LIST () \"/\" {100}\r\n", limits).empty());
  CHECK(error_of("* LIST () \"/\" {101}\r\n", limits) == "a literal of 101 octets is over the limit of 100");
  CHECK(error_of("* 1 FETCH (ENVELOPE {101}\r\n", limits) == "a literal of 101 octets is over the limit of 100");
  CHECK(error_of("* 1 FETCH (BODY[] {1000}\r\n", limits).empty());
  CHECK(error_of("* 1 FETCH (BODY[] {1001}\r\n", limits) == "a message body of 1001 octets is over the limit of 1000");
  for (const char* size : {"9223372036854775807", "18446744073709551615", "18446744073709551616",
                           "99999999999999999999", "999999999999999999999999999999"}) {
    CAPTURE(size);
    const std::string announced = std::string("{") + size + "}\r\n";
    CHECK_FALSE(error_of("* 1 FETCH (BODY[] " + announced, {}).empty());
    CHECK_FALSE(error_of("* 1 FETCH (BODY[] ~" + announced, {}).empty());
  }
  CHECK_FALSE(error_of("* LIST () \"/\" {9223372036854775807}\r\n", {}).empty());
  CHECK(error_of("* LIST () \"/\" {" + std::string(50, '0') + "1}\r\na\r\n", {}).empty());
}

TEST_CASE("cve_2024_34055: an endless line ends at the limit, literals beside it included") {
  Limits limits;
  limits.line = 1000;
  CHECK(error_of("* X " + std::string(996, 'x'), limits).empty());
  CHECK_FALSE(error_of("* X " + std::string(997, 'x'), limits).empty());
  CHECK_FALSE(error_of("* LIST () \"/\" {990}\r\n", limits).empty());
  CHECK_FALSE(error_of("* X " + repeated("{100}\r\n" + std::string(100, 'a') + " ", 10), limits).empty());
  CHECK_FALSE(error_of("* 1 FETCH (" + repeated("BODY[1] {3}\r\nabc ", 200), limits).empty());
  CHECK(error_of("* 1 FETCH (BODY[] {5000}\r\n" + std::string(5000, 'a') + ")\r\n", limits).empty());
  CHECK(error_of(std::string(100'000, ' ') + repeated("\r\n", 100'000) + std::string(100'000, '\0'), limits).empty());
}

TEST_CASE("nesting, lists and words have limits") {
  Limits limits;
  limits.nesting = 10;
  limits.list = 10;
  limits.words = 10;
  const auto nested = [](std::size_t depth) { return repeated("(", depth) + repeated(")", depth); };
  CHECK(error_of("* 1 FETCH (X " + nested(10) + ")\r\n", limits).empty());
  CHECK_FALSE(error_of("* 1 FETCH (X " + nested(11) + ")\r\n", limits).empty());
  CHECK(error_of("* ESEARCH UID X " + nested(10) + "\r\n", limits).empty());
  CHECK_FALSE(error_of("* ESEARCH UID X " + nested(11) + "\r\n", limits).empty());
  CHECK(error_of("* SEARCH" + repeated(" 1 3", 5) + "\r\n", limits).empty());
  CHECK_FALSE(error_of("* SEARCH" + repeated(" 1 3", 6) + "\r\n", limits).empty());
  CHECK(error_of("* VANISHED 1" + repeated(",1", 9) + "\r\n", limits).empty());
  CHECK_FALSE(error_of("* VANISHED 1" + repeated(",1", 10) + "\r\n", limits).empty());
  CHECK_FALSE(error_of("* ESEARCH UID ALL 1" + repeated(",1", 10) + "\r\n", limits).empty());
  for (const char* list : {"* FLAGS (", "* LIST (", "* 1 FETCH (FLAGS (", "* VANISHED ("}) {
    CAPTURE(list);
    CHECK(error_of(list + repeated("a ", 10) + ") \"/\" x)\r\n", limits).empty());
    CHECK_FALSE(error_of(list + repeated("a ", 11) + ") \"/\" x)\r\n", limits).empty());
  }
  CHECK_FALSE(error_of("* ID (" + repeated("a b ", 11) + ")\r\n", limits).empty());

  Session session = selected_session(limits);
  Events events;
  REQUIRE(feed(session, "* CAPABILITY" + repeated(" A B", 100) + " LAST\r\n", events));
  CHECK(session.has("A"));
  CHECK_FALSE(session.has("LAST"));
}

TEST_CASE("cve_2026_42245: work is linear in the input") {
  struct Case {
    const char* name;
    std::string (*make)(std::size_t n);
  };
  const Case cases[] = {
      {"an endless line", [](std::size_t n) { return "* X " + std::string(n, 'x') + "\r\n"; }},
      {"a line without an end", [](std::size_t n) { return "* X " + std::string(n, 'x'); }},
      {"a line of quotes", [](std::size_t n) { return "* LIST () \"/\" " + std::string(n, '"') + "\r\n"; }},
      {"a line of backslashes in quotes",
       [](std::size_t n) { return "* LIST () \"/\" \"" + std::string(n, '\\') + "\r\n"; }},
      {"a line of braces", [](std::size_t n) { return "* X " + repeated("{1} ", n / 4) + "\r\n"; }},
      {"a response code of brackets", [](std::size_t n) { return "* OK [" + std::string(n, '[') + "\r\n"; }},
      {"a response code of parentheses", [](std::size_t n) { return "* OK [" + std::string(n, '(') + "]\r\n"; }},
      {"nested lists",
       [](std::size_t n) {
         return repeated("* 1 FETCH (X " + std::string(60, '(') + std::string(60, ')') + ")\r\n", n / 130);
       }},
      {"one long unknown list",
       [](std::size_t n) { return "* 1 FETCH (X (" + repeated("(a) \"b\" ", n / 8) + "))\r\n"; }},
      {"many literals in one line", [](std::size_t n) { return "* X " + repeated("{1}\r\na ", n / 7) + "\r\n"; }},
      {"many literals in one item",
       [](std::size_t n) { return "* 1 FETCH (X (" + repeated("{1}\r\na ", n / 7) + "))\r\n"; }},
      {"many literals in one section",
       [](std::size_t n) { return "* 1 FETCH (BODY[HEADER.FIELDS (" + repeated("{1}\r\na ", n / 7) + ")] \"\")\r\n"; }},
      {"many quotes before literals",
       [](std::size_t n) { return "* X " + repeated("\"q\" {1}\r\na ", n / 11) + "\r\n"; }},
      {"many bodies in one response",
       [](std::size_t n) { return "* 1 FETCH (UID 5 " + repeated("BODY[1] {1}\r\na ", n / 15) + ")\r\n"; }},
      {"many bodies in quotes",
       [](std::size_t n) { return "* 1 FETCH (UID 5 " + repeated("BODY[1] \"a\" ", n / 12) + ")\r\n"; }},
      {"many bodies without a value",
       [](std::size_t n) { return "* 1 FETCH (UID 5 " + repeated("BODY[] ", n / 7) + ")\r\n"; }},
      {"many sets", [](std::size_t n) { return "* VANISHED 1" + repeated(",5:3", n / 4) + "\r\n"; }},
      {"a descending search",
       [](std::size_t n) {
         std::string out = "* SEARCH";
         for (std::size_t i = n / 8; i > 0; --i) out += " " + std::to_string(1'000'000 + 2 * i);
         return out + "\r\n";
       }},
      {"many namespaces",
       [](std::size_t n) { return "* NAMESPACE (" + repeated("(\"\" NIL)", n / 8) + ") NIL NIL\r\n"; }},
      {"many short lines", [](std::size_t n) { return repeated("* 1 EXISTS\r\n", n / 12); }},
      {"blank lines", [](std::size_t n) { return repeated("\r\n", n / 2); }},
      {"many unknown responses with odd names",
       [](std::size_t n) { return repeated("* LIST () \"/\" \"a\"b (\r\n", n / 22); }},
  };
  for (const auto& c : cases) {
    for (const std::size_t piece : {std::size_t{1}, std::size_t{997}, std::size_t{1} << 30}) {
      CAPTURE(c.name);
      CAPTURE(piece);
      const std::string small = c.make(20'000), large = c.make(40'000);
      const std::uint64_t once = work_for(small, piece), twice = work_for(large, piece);
      CHECK(once >= small.size() / 8);  // it is really counted (bodies are not looked at)
      CHECK(twice <= once * 22 / 10);
      CHECK(twice <= large.size() * 8);
    }
  }
}

TEST_CASE("message bodies are not looked at") {
  const std::string body(1'000'000, 'x');
  CHECK(work_for("* 1 FETCH (BODY[] {1000000}\r\n" + body + ")\r\n", 4096) < 200);
}
