// What a wire log shows, and what it never shows.
#include "protocols/net/wire_log.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "protocols/net/connector.h"
#include "tests/support/scripted_transport.h"

using namespace mailhaul;
using namespace mailhaul::test;

namespace {

struct Log {
  std::string text;
  net::WireLog wire{[this](std::string_view line) { text += std::string(line) + "\n"; }};
};

std::string client_log(std::string_view octets, std::size_t cut) {
  Log log;
  for (std::size_t at = 0; at < octets.size(); at += cut) log.wire.sent(octets.substr(at, cut));
  return log.text;
}

std::string server_log(std::string_view octets, std::size_t cut) {
  Log log;
  for (std::size_t at = 0; at < octets.size(); at += cut) log.wire.received(octets.substr(at, cut));
  return log.text;
}

}  // namespace

TEST_CASE("wire log: client lines and struck secrets, in any cut") {
  struct Case {
    std::string octets, lines;
  };
  const Case cases[] = {
      {"a1 NOOP\r\n", "C: a1 NOOP\n"},
      {"a1 LOGIN me hunter2\r\n", "C: a1 LOGIN <secret>\n"},
      {"a1 login \"me\" \"hunter2\"\r\na2 NOOP\r\n", "C: a1 LOGIN <secret>\nC: a2 NOOP\n"},
      {"a1 LOGIN {2}\r\nme {7}\r\nhunter2\r\na2 NOOP\r\n",
       "C: a1 LOGIN <secret>\nC: <secret>\nC: <secret>\nC: a2 NOOP\n"},
      {"a1 LOGIN {2+}\r\nme {9+}\r\nhu\r\nnter2\r\na2 NOOP\r\n",
       "C: a1 LOGIN <secret>\nC: <secret>\nC: <secret>\nC: a2 NOOP\n"},
      {"a1 AUTHENTICATE PLAIN AG1lAGh1bnRlcjI=\r\na2 CAPABILITY\r\n",
       "C: a1 AUTHENTICATE PLAIN <secret>\nC: a2 CAPABILITY\n"},
      {"a1 AUTHENTICATE PLAIN\r\nAG1lAGh1bnRlcjI=\r\na2 NOOP\r\n",
       "C: a1 AUTHENTICATE PLAIN\nC: <secret>\nC: a2 NOOP\n"},
      {"a1 AUTHENTICATE X\r\n*\r\n", "C: a1 AUTHENTICATE X\nC: *\n"},
      {"\r\n", "C: <secret>\n"},
      {"a1 IDLE\r\nDONE\r\n", "C: a1 IDLE\nC: DONE\n"},
      {"a1 EXAMINE {4}\r\nab\r\n\r\na2 NOOP\r\n", "C: a1 EXAMINE {4}\nC: <4 octets>\nC: a2 NOOP\n"},
  };
  for (const auto& c : cases)
    for (const std::size_t cut : {std::size_t{1}, std::size_t{3}, c.octets.size()}) {
      const std::string got = client_log(c.octets, cut);
      CHECK(got == c.lines);
      CHECK(got.find("hunter2") == std::string::npos);
      CHECK(got.find("AG1lAGh1bnRlcjI") == std::string::npos);
    }
}

TEST_CASE("wire log: bodies by their length, in any cut") {
  const std::string octets =
      "* 1 FETCH (UID 1 BODY[] {10}\r\nab\r\nef\r\nhi FLAGS ())\r\n* 2 FETCH (BODY[] ~{3}\r\nxyz)\r\n+ go\r\na1 OK "
      "{not a literal\r\n";
  const std::string lines =
      "S: * 1 FETCH (UID 1 BODY[] {10}\nS: <10 octets> FLAGS ())\nS: * 2 FETCH (BODY[] ~{3}\nS: <3 octets>)\nS: + "
      "go\nS: a1 OK {not a "
      "literal\n";
  for (const std::size_t cut : {std::size_t{1}, std::size_t{7}, octets.size()}) CHECK(server_log(octets, cut) == lines);
}

TEST_CASE("wire log: a long line is cut, its literal is still seen") {
  const std::string line = "* OK " + std::string(100'000, 'x') + " {4}\r\nbody\r\n* OK next\r\n";
  const std::string got = server_log(line, 1000);
  CHECK(got.size() < 5000);
  CHECK(got.find("…") != std::string::npos);
  CHECK(got.find("<4 octets>\n") != std::string::npos);
  CHECK(got.ends_with("S: * OK next\n"));
}

TEST_CASE("wire log: control octets cannot forge lines") {
  CHECK(server_log("* OK a\x1B[2Jb\x01\r\n", 100) == "S: * OK a\\x1b[2Jb\\x01\n");
}

TEST_CASE("wire log: as a transport") {
  std::vector<std::string> lines;
  const auto transport =
      net::log_wire(std::make_unique<ScriptedTransport>("S: * OK hi\nC: $a LOGIN me secret\nS: $a OK in"),
                    [&](std::string_view line) { lines.emplace_back(line); });
  char room[100];
  CHECK(transport->security() == "memory");
  CHECK(transport->move("", room, std::chrono::seconds(1)));
  CHECK(transport->move("t LOGIN me secret\r\n", room, std::chrono::seconds(1)));
  CHECK(lines == std::vector<std::string>{"S: * OK hi", "C: t LOGIN <secret>", "S: t OK in"});
}
