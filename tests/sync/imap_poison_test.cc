// Messages that a server cannot deliver, and servers that cannot deliver any.
#include <doctest/doctest.h>

#include "tests/sync/imap_scene.h"

namespace mailhaul::test {
namespace {

using Answer = std::optional<std::string>;

bool asks_whole(const std::string& line) {
  return line.find("BODY.PEEK[]") != std::string::npos && line.find("]<") == std::string::npos;
}
bool in_parts(const std::string& line) {
  return line.find("BODY.PEEK[HEADER]") != std::string::npos || line.find("BODY.PEEK[TEXT]") != std::string::npos;
}
bool in_pieces(const std::string& line) { return line.find("BODY.PEEK[]<") != std::string::npos; }

bool names(const std::string& line, std::uint32_t uid) {
  if (!line.starts_with("UID FETCH ")) return false;
  const auto set = mail::UidSet::parse(line.substr(10, line.find(' ', 10) - 10));
  return set && set->contains(mail::Uid{uid});
}

TEST_CASE("poison: A14 NO to every batch with UID 7: the rest comes, 7 waits for its hour and is delivered then") {
  ImapScene scene;
  scene.deliver(30);
  bool ill = true;
  scene.imap.answer = [&](const std::string& line) -> Answer {
    if (!ill || !names(line, 7) || line.find("BODY") == std::string::npos) return std::nullopt;
    if (line.find("HEADER.FIELDS") != std::string::npos) return std::nullopt;
    return "NO [UNAVAILABLE] UID FETCH Server error while fetching messages";
  };
  const auto report = scene.run();
  CHECK(report.sum.delivered == 29);
  CHECK(report.sum.failed == 1);
  REQUIRE(report.failures.size() == 1);
  CHECK(report.failures[0].uid == 7);
  CHECK(report.failures[0].reason == "NO [UNAVAILABLE] UID FETCH Server error while fetching messages");
  CHECK(report.failures[0].next_try == scene.clock.now + 3600);
  CHECK(scene.waits.empty());
  // The ladder of retries.
  std::vector<std::int64_t> hours;
  for (int i = 0; i < 7; ++i) {
    const auto lines = scene.imap.lines.size();
    scene.run();  // not due: not asked for
    for (auto at = lines; at < scene.imap.lines.size(); ++at) CHECK_FALSE(names(scene.imap.lines[at], 7));
    const auto next = scene.run().failures.at(0).next_try;
    scene.clock.now = next;
    hours.push_back((scene.run().failures.at(0).next_try - next) / 3600);
  }
  CHECK(hours == std::vector<std::int64_t>{6, 24, 72, 168, 168, 168, 168});
  ill = false;
  scene.clock.now += 169 * 3600;
  CHECK(scene.run().complete());
  scene.check_whole();
}

TEST_CASE("poison: A15 the server hangs up in mid-literal whenever UID 7 is asked for") {
  ImapScene scene;
  scene.deliver(20);
  scene.inbox->messages[6].body = Body::Drops;
  scene.imap.answer = [&](const std::string& line) -> Answer {
    return names(line, 7) && (in_parts(line) || in_pieces(line)) ? Answer("") : std::nullopt;
  };
  scene.settings.reconnects = 100;
  const auto report = scene.run();
  CHECK(report.sum.delivered == 19);
  REQUIRE(report.failures.size() == 1);
  CHECK(report.failures[0].uid == 7);
  scene.inbox->messages[6].body = Body::Fine;
  scene.imap.answer = {};
  scene.clock.now += 3600;
  CHECK(scene.run().complete());
  scene.check_whole();
}

TEST_CASE("poison: 2.k what does not come whole comes as header and text, or piece by piece, to the octet") {
  for (const auto fault : {Body::Missing, Body::Nil, Body::Empty, Body::Refused, Body::Drops, Body::Truncated})
    for (const bool parts : {true, false}) {
      ImapScene scene;
      scene.settings.reconnects = 100;
      scene.deliver(8);
      std::string big = "Subject: big\r\n\r\n";
      while (big.size() < 600'000) big += "line " + std::to_string(big.size()) + "\r\n";
      auto& message = scene.inbox->deliver(big, {}, 1'700'000'000);
      message.body = fault;
      scene.imap.answer = [&](const std::string& line) -> Answer {
        return !parts && in_parts(line) ? Answer("NO [SERVERBUG] not so either") : std::nullopt;
      };
      CAPTURE(static_cast<int>(fault));
      CAPTURE(parts);
      const auto report = scene.run();
      CHECK(report.complete());
      CHECK(report.sum.delivered == 9);
      scene.check_whole();
    }
}

TEST_CASE("poison: parts that are not all of it are not taken") {
  ImapScene scene;
  scene.deliver(1);
  scene.inbox->messages[0].body = Body::Missing;
  scene.imap.answer = [](const std::string& line) -> Answer {
    if (line.find("BODY.PEEK[TEXT]") != std::string::npos) return "* 1 FETCH (UID 1 BODY[TEXT] \"cut\")\nOK done";
    return in_pieces(line) ? Answer("NO never") : std::nullopt;
  };
  const auto report = scene.run();
  CHECK(report.sum.failed == 1);
  CHECK(scene.census().files.empty());
}

TEST_CASE("poison: A4 a message that is gone is not salvaged") {
  ImapScene scene;
  scene.deliver(3);
  scene.imap.answer = [&](const std::string& line) -> Answer {
    if (asks_whole(line) && scene.inbox->messages.size() == 3) scene.inbox->expunge(mail::Uid{2});
    return std::nullopt;
  };
  const auto report = scene.run();
  CHECK(report.sum.delivered == 2);
  CHECK(report.sum.gone == 1);
  CHECK(std::ranges::none_of(scene.imap.lines,
                             [](const auto& line) { return line.find("BODY.PEEK[TEXT]") != std::string::npos; }));
  scene.imap.answer = {};
  scene.check_whole();
}

TEST_CASE("poison: one message after another fails: the server is ill, no message is blamed") {
  ImapScene scene;
  scene.deliver(500);
  scene.imap.answer = [](const std::string& line) -> Answer {
    return line.find("BODY.PEEK[") != std::string::npos && line.find("FIELDS") == std::string::npos
               ? Answer("NO [SERVERBUG] Internal error occurred. Refer to server log for more information.")
               : std::nullopt;
  };
  const auto report = scene.run();
  CHECK(report.sum.failed == 0);
  CHECK(report.sum.pending == 500);
  CHECK_FALSE(report.complete());
  CHECK(report.mailboxes[0].error.find("one message after the other: NO [SERVERBUG]") != std::string::npos);
  const auto singles = std::ranges::count_if(scene.imap.lines, [](const std::string& line) {
    return line.starts_with("UID FETCH ") && line.substr(10, line.find(' ', 10) - 10).find(':') == std::string::npos &&
           asks_whole(line);
  });
  CHECK(singles <= 30);
  scene.imap.answer = {};
  CHECK(scene.run().complete());
  scene.check_whole();
}

TEST_CASE("poison: a server that is ill for one mailbox serves the others") {
  ImapScene scene;
  scene.deliver(50);
  auto& other = scene.server.mailboxes.emplace_back();
  other.name = "Other";
  for (int i = 0; i < 10; ++i) other.deliver("Subject: o" + std::to_string(i) + "\r\n\r\nx\r\n", {}, 1'700'000'000);
  for (auto& message : scene.inbox->messages) message.body = Body::Refused;
  scene.imap.answer = [](const std::string& line) -> Answer {
    return in_parts(line) || in_pieces(line) ? Answer("NO no") : std::nullopt;
  };
  const auto report = scene.run();
  CHECK(report.sum.delivered == 10);
  CHECK(report.sum.failed == 0);
  CHECK(report.sum.pending == 50);
}

TEST_CASE("poison: 25 bad messages among many good ones are bad messages") {
  ImapScene scene;
  scene.deliver(200);
  for (std::size_t i = 0; i < 25; ++i) scene.inbox->messages[i].body = Body::Refused;
  scene.imap.answer = [](const std::string& line) -> Answer {
    return in_parts(line) || in_pieces(line) ? Answer("NO no") : std::nullopt;
  };
  const auto report = scene.run();
  CHECK(report.sum.delivered == 175);
  CHECK(report.sum.failed == 25);
}

}  // namespace
}  // namespace mailhaul::test
