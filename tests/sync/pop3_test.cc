// POP3 sources: the engine, the real client and the real Pop3Source against a maildrop in memory. Numbers are those of
// the scenarios that every collector should survive.
#include "tests/sync/pop3_scene.h"

using namespace mailhaul;
using namespace mailhaul::test;

namespace {

void expect_row_per_message(Pop3Scene& scene, std::size_t n) {
  std::size_t delivered = 0;
  for (const auto& row : scene.census().rows)
    if (row.row.state == store::MessageState::Delivered) ++delivered;
  CHECK(delivered == n);
}

}  // namespace

TEST_CASE("POP3: every message once, dated by its Received field; another run moves nothing; QUIT at the end") {
  for (const bool pipelining : {true, false})
    for (const std::size_t chunk : {SIZE_MAX, std::size_t{7}}) {
      Pop3Scene scene;
      scene.pop.chunk = chunk;
      if (!pipelining) scene.pop.capabilities = {"UIDL", "TOP"};
      scene.deliver(30);
      CHECK(scene.clean().sum.delivered == 30);
      scene.check_whole();
      CHECK(scene.pop.count("RETR") == 30);
      CHECK(scene.pop.count("TOP") == 0);
      CHECK(scene.pop.count("DELE") == 0);
      CHECK(scene.pop.count("QUIT") == 1);
      CHECK((scene.pop.most_at_once > 4) == pipelining);
      for (const auto& file : scene.census().files) {
        CHECK(file.seconds >= 1'699'999'990);
        CHECK(file.seconds <= 1'700'000'050);
        CHECK(file.letters == "");
      }
      scene.check_quiet();
      scene.deliver(2);
      CHECK(scene.clean().sum.delivered == 2);
      CHECK(scene.pop.count("RETR") == 2);
      scene.check_whole();
    }
}

TEST_CASE("POP3: a lost state finds the files again, whatever UIDs it gives out") {
  Pop3Scene scene;
  scene.deliver(12);
  scene.clean();
  scene.state.lose();
  scene.pop.shuffled = true;
  scene.deliver(1);
  const auto report = scene.clean();
  CHECK(scene.pop.count("RETR") == 1);
  CHECK(report.sum.delivered == 13);
  scene.check_whole();
  scene.check_quiet();
}

TEST_CASE("25: POP3: a local failure never reaches QUIT, whichever effect it is") {
  MemoryFileSystem::Options disk;
  std::uint64_t effects = 0;
  {
    Pop3Scene scene(disk);
    scene.deliver(5);
    scene.clean();
    effects = scene.fs.effects();
  }
  std::size_t failures = 0;
  for (std::uint64_t n = 1; n <= effects; ++n) {
    INFO("effect " << n);
    Pop3Scene scene(disk);
    scene.deliver(5);
    scene.fs.fail_at(n, 28);  // ENOSPC
    const auto ending = scene.try_run();
    const bool failed = !ending.report || !ending.report->complete();
    if (failed) CHECK(scene.pop.count("QUIT") == 0);
    failures += failed;
    scene.clean();
    scene.check_whole();
    scene.check_quiet();
  }
  CHECK(failures > 10);
  Pop3Scene full({.barrier = true, .trace = false, .space = 700});  // room for some of five
  full.deliver(5);
  const auto ending = full.try_run();
  CHECK((!ending.report || !ending.report->complete()));
  CHECK(full.pop.count("QUIT") == 0);
}

TEST_CASE("26: POP3: QUIT refused or lost after DELE: listed again, not fetched again, deleted again") {
  for (const bool lost : {false, true}) {
    Pop3Scene scene;
    scene.settings.policy.leave = 0;
    scene.deliver(6);
    scene.clean();
    CHECK(scene.pop.count("DELE") == 0);  // not in the session that fetched them
    if (lost)
      scene.pop.lost_at_quit = true;
    else
      scene.pop.quit_refused = "-ERR some deleted messages not removed";
    const auto report = scene.run();
    CHECK(scene.pop.count("DELE") == 6);
    CHECK(scene.pop.messages.size() == 6);
    CHECK(report.mailboxes[0].deleted == 0);
    CHECK(!scene.troubles.empty());
    const auto again = scene.clean();
    CHECK(scene.pop.count("DELE") == 6);
    CHECK(scene.pop.count("RETR") == 0);
    CHECK(again.mailboxes[0].deleted == 6);
    CHECK(scene.pop.messages.empty());
    scene.check_whole();
    const auto after = scene.clean();
    CHECK(after.sum.gone == 6);
    scene.check_whole();
  }
}

TEST_CASE("POP3: --pop3-leave N waits its days from the first sight of a message") {
  Pop3Scene scene;
  scene.settings.policy.leave = 7 * 86'400;
  scene.deliver(3);
  scene.clean();
  scene.clock.now += 7 * 86'400 - 10;
  scene.deliver(1);
  scene.clean();
  CHECK(scene.pop.count("DELE") == 0);
  scene.clock.now += 10;
  scene.clean();
  CHECK(scene.pop.count("DELE") == 3);
  CHECK(scene.pop.messages.size() == 1);
  scene.check_whole();
}

TEST_CASE("POP3: nothing is deleted at the source whose copy is not there, not whole, or not the same message") {
  SUBCASE("the owner has removed the copy, another is damaged") {
    Pop3Scene scene;
    scene.settings.policy.leave = 0;
    scene.deliver(3);
    scene.clean();
    auto root = scene.fs.open_directory(kRoot + "/cur");
    REQUIRE(root);
    const auto files = scene.census().files;
    REQUIRE(scene.fs.remove(**root, files[0].name));
    REQUIRE(scene.fs.remove(**root, files[1].name));
    auto damaged = scene.fs.create(**root, files[1].name);
    REQUIRE(damaged);
    REQUIRE(scene.fs.write(**damaged, std::string(files[1].content.size(), 'x')));
    scene.clean();
    CHECK(scene.pop.count("DELE") == 1);
    CHECK(scene.pop.messages.size() == 2);
  }
  SUBCASE("the unique-id means another message now") {
    Pop3Scene scene;
    scene.settings.policy.leave = 0;
    scene.deliver(2);
    scene.clean();
    scene.pop.messages.pop_front();
    scene.deliver(1);
    scene.pop.messages.back().uidl = "u1";  // of the one that has gone
    scene.pop.messages.back().wire += "and longer\r\n";
    scene.wanted.back() = scene.pop.messages.back().wire;
    scene.clean();
    CHECK(scene.pop.count("RETR") == 1);
    CHECK(scene.pop.count("DELE") == 1);  // the second message alone
    CHECK(scene.pop.messages.size() == 1);
    scene.check_whole();
  }
}

TEST_CASE("27: POP3: duplicate unique-ids, with other content and with the same") {
  for (const bool late : {false, true})
    for (const bool same : {false, true}) {
      INFO("late " << late << " same " << same);
      Pop3Scene scene;
      scene.deliver(2);
      scene.pop.messages.back().uidl = "twin";
      if (late) scene.clean();
      scene.deliver(1);
      auto& twin = scene.pop.messages.back();
      twin.uidl = "twin";
      if (same) scene.wanted.back() = twin.wire = std::next(scene.pop.messages.begin())->wire;
      const auto report = scene.clean();
      CHECK(report.sum.delivered == (late ? 1 : 3));
      CHECK(report.mailboxes[0].exists == 3);
      scene.check_whole();
      expect_row_per_message(scene, 3);
      scene.check_quiet();
      scene.pop.shuffled = true;
      scene.check_quiet();
      // The first of the twins goes; a third one comes under the same name.
      scene.pop.messages.erase(std::next(scene.pop.messages.begin()));
      scene.deliver(1);
      scene.pop.messages.back().uidl = "twin";
      CHECK(scene.clean().sum.delivered == 1);
      scene.check_whole();
      scene.check_quiet();
    }
}

TEST_CASE("28: POP3: all unique-ids change: recognised by their headers, nothing fetched, nothing deleted") {
  for (const bool deletes : {false, true})
    for (const std::uint64_t rounding : {1, 1000}) {
      Pop3Scene scene;
      scene.deliver(40);
      scene.clean();
      scene.settings.policy.leave = deletes ? std::optional<std::int64_t>(0) : std::nullopt;
      for (auto& message : scene.pop.messages) {
        message.uidl = "new-" + message.uidl;
        message.listed = (message.wire.size() / rounding + (rounding > 1)) * rounding;
      }
      scene.deliver(1);
      const auto report = scene.clean();
      CHECK(report.sum.delivered == 1);
      CHECK(report.mailboxes[0].rebound == 40);
      CHECK(scene.pop.count("RETR") == 1);
      CHECK(scene.pop.count("DELE") == 0);
      scene.check_whole();
      CHECK(scene.clean().sum.delivered == 0);
      CHECK(scene.pop.count("DELE") == (deletes ? 41 : 0));
      scene.check_whole();
    }
}

TEST_CASE("POP3: unique-ids that are other ones in each session") {
  Pop3Scene scene;
  scene.pop.new_names = true;
  for (int i = 0; i < 4; ++i) {
    scene.deliver(10);
    CHECK(scene.clean().sum.delivered == 10);
    CHECK(scene.pop.count("RETR") == 10);
    scene.check_whole();
  }
}

TEST_CASE("POP3: much old mail goes while much new mail comes: that is no migration") {
  Pop3Scene scene;
  scene.deliver(10);
  scene.clean();
  scene.pop.messages.clear();
  scene.deliver(8);
  const auto report = scene.clean();
  CHECK(report.sum.delivered == 8);
  CHECK(report.sum.gone == 10);
  scene.check_whole();
}

TEST_CASE("29: POP3: Gmail: 600 messages in windows of 250, collected at QUIT only, cut in the second session") {
  Pop3Scene scene;
  scene.pop.greeting = "+OK Gpop ready for requests";
  scene.pop.window = 250;
  scene.pop.pops = true;
  scene.deliver(600);
  CHECK(scene.clean().sum.delivered == 250);
  CHECK(scene.habits->gmail);
  scene.settings.reconnects = 0;
  scene.pop.cut_after = 30'000;
  CHECK(!scene.run().complete());
  CHECK(scene.pop.count("QUIT") == 0);
  CHECK(scene.pop.messages.size() == 350);
  CHECK(scene.pop.count("TOP") <= 20);  // a look at a sample
  CHECK(scene.copies().size() > 260);
  scene.settings.reconnects = 5;
  std::size_t fetched = 0;
  for (int i = 0; i < 4; ++i) {
    scene.clean();
    fetched += scene.pop.count("RETR");
  }
  // Those that came before the cut are read once more, so that they do not stand in the way of others for ever.
  CHECK(fetched >= 350);
  CHECK(scene.pop.messages.size() == 0);
  scene.check_whole();
}

TEST_CASE("54: POP3: dot-stuffing faults: nothing cut short is taken for a message, and the others come") {
  SUBCASE("a lone dot that was not doubled") {
    for (const bool pipelining : {true, false}) {
      Pop3Scene scene;
      if (!pipelining) scene.pop.capabilities = {"UIDL", "TOP"};
      scene.deliver(6);
      auto& bad = *std::next(scene.pop.messages.begin(), 2);
      bad.raw = true;
      scene.wanted.erase(scene.wanted.begin() + 2);
      const auto report = scene.run();
      CHECK(report.sum.delivered == 5);
      CHECK(report.sum.failed == 1);
      CHECK(!report.complete());
      scene.check_whole();
      bad.raw = false;
      scene.wanted.push_back(bad.wire);
      scene.clock.now += 2 * 3600;
      CHECK(scene.clean().sum.delivered == 1);
      scene.check_whole();
    }
  }
  SUBCASE("an end that is glued to the text") {
    for (const bool pipelining : {true, false}) {
      Pop3Scene scene;
      if (!pipelining) scene.pop.capabilities = {"UIDL", "TOP"};
      scene.deliver(6);
      auto& bad = *std::next(scene.pop.messages.begin(), 2);
      bad.end = ".\r\n";
      scene.wanted.erase(scene.wanted.begin() + 2);
      const auto report = scene.run();
      CHECK(report.sum.delivered == 5);
      CHECK(report.sum.failed == 1);
      scene.check_whole();
    }
  }
  SUBCASE("an end without CR") {
    Pop3Scene scene;
    scene.deliver(4);
    for (auto& message : scene.pop.messages) message.end = "\r\n.\n";
    CHECK(scene.clean().sum.delivered == 4);
    scene.check_whole();
  }
}

TEST_CASE("59: POP3: no CAPA, no UIDL, no TOP") {
  SUBCASE("no CAPA") {
    Pop3Scene scene;
    scene.pop.capa = false;
    scene.deliver(5);
    CHECK(scene.clean().sum.delivered == 5);
    CHECK(scene.pop.most_at_once == 1);
    scene.check_whole();
    scene.check_quiet();
  }
  SUBCASE("no UIDL: named by their headers") {
    Pop3Scene scene;
    scene.pop.uidl = false;
    scene.deliver(8);
    scene.pop.messages.back().wire = scene.wanted.back() = scene.pop.messages.front().wire;  // two equal ones
    CHECK(scene.clean().sum.delivered == 8);
    scene.check_whole();
    scene.pop.shuffled = true;
    scene.check_quiet();
    scene.deliver(1);
    for (auto& message : scene.pop.messages)  // what mbox servers do
      message.wire.insert(0, "Status: RO\r\nX-UIDL: abc\r\n");
    scene.wanted.back() = scene.pop.messages.back().wire;
    CHECK(scene.clean().sum.delivered == 1);
    scene.check_whole();
    scene.state.lose();
    scene.clean();
    CHECK(scene.pop.count("RETR") == 0);
    scene.check_whole();
  }
  SUBCASE("no TOP") {
    Pop3Scene scene;
    scene.pop.top = false;
    scene.deliver(5);
    CHECK(scene.clean().sum.delivered == 5);
    scene.check_quiet();
    for (auto& message : scene.pop.messages) message.uidl += "x";
    const auto report = scene.clean();  // read, as there is no other way, but not stored again
    CHECK(report.sum.delivered == 0);
    CHECK(report.mailboxes[0].rebound == 5);
    scene.check_whole();
  }
  SUBCASE("neither: read each time as long as that is little, refused where it is not") {
    Pop3Scene scene;
    scene.pop.top = scene.pop.uidl = false;
    scene.deliver(5);
    CHECK(scene.clean().sum.delivered == 5);
    scene.check_whole();
    CHECK(scene.clean().sum.delivered == 0);
    scene.check_whole();
    scene.pop.messages.front().listed = 100U << 20U;
    const auto report = scene.run();
    CHECK(!report.complete());
    CHECK(report.mailboxes[0].error.find("neither unique-ids") != std::string::npos);
    CHECK(scene.pop.count("RETR") == 0);
    CHECK(scene.pop.count("QUIT") == 0);
  }
}

TEST_CASE("59: POP3: EXPIRE 0 is shown, LOGIN-DELAY and IN-USE are waited for") {
  Pop3Scene scene;
  scene.pop.capabilities.emplace_back("EXPIRE 0");
  auto client = scene.pop.connect();
  REQUIRE(client);
  {
    collector::Pop3Source source(*std::move(client), scene.habits);
    CHECK(source.notice().find("EXPIRE 0") != std::string::npos);
    CHECK(!scene.habits->delays_logins);
  }
  CHECK(scene.pop.count("QUIT") == 1);  // nothing was read: a civil end
  scene.pop.capabilities.emplace_back("LOGIN-DELAY 300");
  scene.deliver(2);
  scene.pop.locked = "-ERR [IN-USE] locked";
  scene.pop.locks = 2;
  CHECK(scene.clean().sum.delivered == 2);
  CHECK(scene.waits == std::vector<std::int64_t>{30, 60});
  CHECK(scene.habits->delays_logins);
  scene.waits.clear();
  scene.pop.locked = "-ERR [LOGIN-DELAY] too soon";
  scene.pop.locks = 1;
  scene.clean();
  CHECK(scene.waits == std::vector<std::int64_t>{300});
}

TEST_CASE("59: POP3: double +OK to TOP, rounded sizes, another order in each session") {
  Pop3Scene scene;
  scene.pop.double_ok = true;
  scene.pop.shuffled = true;
  scene.deliver(20);
  for (auto& message : scene.pop.messages) message.listed = (message.wire.size() / 1024 + 1) * 1024;
  CHECK(scene.clean().sum.delivered == 20);
  scene.check_whole();
  scene.check_quiet();
  scene.state.lose();  // headers are compared
  scene.clean();
  CHECK(scene.pop.count("RETR") == 0);
  scene.check_whole();
  for (auto& message : scene.pop.messages) message.listed = message.wire.size();  // other sizes: headers, no bodies
  scene.clean();
  CHECK(scene.pop.count("TOP") == 20);
  CHECK(scene.pop.count("RETR") == 0);
  scene.check_quiet();
  CHECK(scene.pop.count("TOP") == 0);
}

TEST_CASE("POP3: a message that the server refuses fails alone, with its words, and is tried again") {
  Pop3Scene scene;
  scene.deliver(5);
  auto& bad = *std::next(scene.pop.messages.begin(), 2);
  bad.refusals = 1000;
  const auto report = scene.run();
  CHECK(report.sum.delivered == 4);
  CHECK(report.sum.failed == 1);
  REQUIRE(report.failures.size() == 1);
  CHECK(report.failures[0].reason.find("cannot open it") != std::string::npos);
  CHECK(scene.pop.count("QUIT") == 1);  // it was not read, the others are here
  bad.refusals = 0;
  scene.clock.now += 2 * 3600;
  CHECK(scene.clean().sum.delivered == 1);
  scene.check_whole();
}

TEST_CASE("POP3: what was read and could not be delivered keeps the session from its QUIT") {
  Pop3Scene scene;
  scene.pop.pops = true;  // what was read is hidden after QUIT
  scene.deliver(3);
  auto& bad = *std::next(scene.pop.messages.begin());
  const auto whole = std::exchange(bad.wire, "");  // its file is empty for now
  bad.listed = whole.size();
  const auto report = scene.run();
  CHECK(report.sum.delivered == 2);
  CHECK(report.sum.failed == 1);
  CHECK(scene.pop.count("QUIT") == 0);
  CHECK(scene.pop.messages.size() == 3);
  bad.wire = whole;
  scene.clock.now += 2 * 3600;
  CHECK(scene.clean().sum.delivered == 1);
  scene.check_whole();
}

TEST_CASE("POP3: filters by date and size look at headers only") {
  Pop3Scene scene;
  scene.deliver(6);
  scene.pop.messages.front().wire.replace(0, scene.pop.messages.front().wire.find("Message-ID"),
                                          "Date: Mon, 01 Jan 2001 00:00:00 +0000\r\n");
  scene.settings.policy.since = 1'600'000'000;
  const auto report = scene.clean();
  CHECK(report.sum.delivered == 5);
  CHECK(report.sum.excluded == 1);
  CHECK(scene.pop.count("RETR") == 5);
  CHECK(scene.clean().sum.excluded == 1);
  scene.settings.policy.max_size = 200;
  auto& undated = scene.pop.deliver(std::string(300, 'x') + "\r\n").wire;
  undated.erase(0, undated.find("Message-ID"));
  CHECK(scene.clean().sum.excluded == 2);
  CHECK(scene.pop.count("RETR") == 0);
}
