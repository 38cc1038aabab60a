// Scenarios of throttling and limits, engine and client together: the run waits on the test's clock, or ends with what
// is pending and says when to come back; no message is blamed and no command taken for unsupported.
#include <doctest/doctest.h>

#include <mutex>

#include "tests/sync/imap_scene.h"

namespace mailhaul::test {
namespace {

using Answer = std::optional<std::string>;

constexpr const char* kSpellings[] = {
    "BAD Request is throttled. Suggested Backoff Time: 299961 milliseconds",
    "NO [LIMIT] UID FETCH Rate limit hit.",
    "NO [OVERQUOTA] Account exceeded command or bandwidth limits. (Failure)",
    "NO [THROTTLED] slowly, please",
    "BAD User is authenticated but not connected.",
    "NO [LIMIT] UID FETCH Rate limit hit.\n* BYE\nclose",
    "* BYE Too many connections\nclose",
};

TEST_CASE("limits: B34 B35 throttled once at any command: waits, then everything is there") {
  for (const auto* spelling : kSpellings)
    for (const std::string command : {"LIST", "NAMESPACE", "STATUS", "EXAMINE", "UID SEARCH", "UID FETCH"}) {
      ImapScene scene;
      if (command == "STATUS") scene.imap.no_status_of.insert("INBOX");
      scene.deliver(20);
      bool told = false;
      scene.imap.answer = [&](const std::string& line) -> Answer {
        if (told || !line.starts_with(command)) return std::nullopt;
        told = true;
        return spelling;
      };
      CAPTURE(spelling);
      CAPTURE(command);
      const auto report = scene.run();
      CHECK(told);
      CHECK(report.complete());
      CHECK(report.sum.delivered == 20);
      REQUIRE_FALSE(scene.waits.empty());
      CHECK(scene.waits.front() >= 30);
      if (std::string(spelling).find("299961") != std::string::npos) CHECK(scene.waits.front() == 300);
      scene.imap.answer = {};
      scene.check_whole();
    }
}

TEST_CASE("limits: B34 a throttled LIST is not stepped down from") {
  ImapScene scene;
  scene.deliver(1);
  int times = 2;
  scene.imap.answer = [&](const std::string& line) -> Answer {
    if (!line.starts_with("LIST") || times-- <= 0) return std::nullopt;
    return "BAD Request is throttled. Suggested Backoff Time: 1000 milliseconds";
  };
  CHECK(scene.run().complete());
  CHECK(scene.imap.count("LIST \"\" \"*\" RETURN") == 3);
  CHECK(scene.imap.count("LIST") == 3);
  CHECK(scene.imap.count("LSUB") == 0);
}

TEST_CASE("limits: LIST with RETURN refused for what it is: the plain form is asked") {
  ImapScene scene;
  scene.deliver(3);
  scene.imap.answer = [](const std::string& line) -> Answer {
    return line.find("RETURN (SUBSCRIBED") != std::string::npos ? Answer("BAD Unknown option") : std::nullopt;
  };
  CHECK(scene.run().sum.delivered == 3);
  CHECK(scene.imap.count("LSUB") == 1);
}

TEST_CASE("limits: B35 throttled without end: pending, nobody is blamed, and when to come back") {
  ImapScene scene;
  scene.deliver(30);
  int fetched = 0;
  scene.imap.answer = [&](const std::string& line) -> Answer {
    if (line.find("BODY.PEEK[]") == std::string::npos || ++fetched == 0) return std::nullopt;
    return "NO [OVERQUOTA] Account exceeded command or bandwidth limits. (Failure)";
  };
  const auto report = scene.run();
  CHECK(report.sum.pending == 30);
  CHECK(report.sum.failed == 0);
  CHECK(report.failures.empty());
  CHECK(report.error.find("OVERQUOTA") != std::string::npos);
  CHECK(report.come_back > scene.clock.now);
  std::int64_t waited = 0;
  for (const auto seconds : scene.waits) waited += seconds;
  CHECK(waited <= 15 * 60);
  CHECK(scene.waits == std::vector<std::int64_t>{30, 60, 120, 240});
  scene.imap.answer = {};
  CHECK(scene.run().sum.delivered == 30);
  scene.check_whole();
}

TEST_CASE("limits: a wait that is longer than a run waits is not begun") {
  ImapScene scene;
  scene.deliver(2);
  scene.imap.answer = [](const std::string& line) -> Answer {
    return line.starts_with("EXAMINE") ? Answer("NO [LIMIT] try again in 2 hours") : std::nullopt;
  };
  const auto now = scene.clock.now;
  const auto report = scene.run();
  CHECK(scene.waits.empty());
  CHECK(report.come_back == now + 7200);
  CHECK(report.sum.failed == 0);
  // B35: remembered, so that nobody starts again and again.
  scene.imap.answer = {};
  scene.imap.lines.clear();
  scene.clock.now += 3600;
  const auto ending = scene.run_process();
  CHECK_FALSE(ending.report);
  CHECK(ending.error.find("left alone") != std::string::npos);
  CHECK(scene.imap.lines.empty());
  CHECK(scene.waits.empty());
  scene.clock.now += 3600;
  CHECK(scene.run().complete());
}

TEST_CASE(
    "limits: a day's allowance: remembered over restarts, the rest waits for the next day and nothing is blamed") {
  ImapScene scene;
  scene.deliver(400);
  scene.settings.daily_octets = 6000;  // a message has some 57
  const auto first = scene.run();
  CHECK(first.sum.delivered >= 80);
  CHECK(first.sum.delivered < 250);
  CHECK(first.sum.pending == 400 - first.sum.delivered);
  CHECK(first.sum.failed == 0);
  REQUIRE(first.budget);
  CHECK(first.budget->again == scene.clock.now + 86'400);
  CHECK(first.budget->waiting / first.sum.pending >= 50);
  CHECK(first.budget->waiting / first.sum.pending <= 70);

  scene.clock.now += 80'000;
  const auto bodies = scene.imap.bodies;
  scene.inbox->set_flags(scene.inbox->messages.front(), mail::FlagSet::from_maildir_letters("S"));
  const auto same_day = scene.run();
  CHECK(scene.imap.bodies == bodies);  // not one more
  CHECK(same_day.budget);
  CHECK(same_day.mailboxes.at(0).flags == 1);  // the rest of the work goes on
  scene.clock.now += 6'400;
  const auto next_day = scene.run();
  CHECK(next_day.sum.delivered >= 80);
  CHECK(next_day.sum.delivered < 250);
  for (int day = 0; day < 5; ++day) {
    scene.clock.now += 86'400;
    scene.run();
  }
  scene.check_whole();
}

TEST_CASE("limits: B36 fewer connections than asked for: it completes on those there are, and asks for no more") {
  ImapScene scene;
  std::mutex one_at_a_time;
  const auto plain = scene.connect;
  scene.connect = [&] {
    const std::lock_guard lock(one_at_a_time);
    return plain();
  };
  scene.settings.connections = 4;
  scene.deliver(40);
  // Helpers run on threads of their own; a model that refuses them all keeps the test single-threaded.
  scene.imap.most_connections = 1;
  const auto report = scene.run();
  CHECK(report.complete());
  CHECK(report.sum.delivered == 40);
  CHECK(scene.imap.connections() == 1);
  CHECK(scene.troubles.size() == 3);
  // Remembered: one more than there were is tried, no three.
  scene.deliver(1);
  scene.troubles.clear();
  CHECK(scene.run().complete());
  CHECK(scene.troubles.size() == 1);
}

TEST_CASE("limits: B36 a greeting that says BYE in the middle of a run") {
  ImapScene scene;
  scene.deliver(20);
  bool cut = false;
  int refused = 0;
  scene.imap.answer = [&](const std::string& line) -> Answer {
    if (cut || line.find("BODY.PEEK[]") == std::string::npos) return std::nullopt;
    cut = true;
    scene.imap.greeting = "BYE Too many connections";
    return "";
  };
  const auto plain = scene.connect;
  scene.connect = [&] {
    if (cut && ++refused == 3) scene.imap.greeting = "OK ready";
    return plain();
  };
  CHECK(scene.run().complete());
  CHECK(refused == 3);
  scene.check_whole();
}

}  // namespace
}  // namespace mailhaul::test
