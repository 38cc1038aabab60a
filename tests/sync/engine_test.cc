// Runs of the engine that are told in full: what a clean run does, and one test for every bug that the simulation
// found.
#include <doctest/doctest.h>

#include <algorithm>

#include "protocols/mail/digest.h"
#include "tests/sync/scene.h"

namespace mailhaul::test {
namespace {

using store::MessageState;

TEST_CASE("engine: collects, then has nothing to do") {
  Scene scene;
  scene.inbox->deliver(letter("a"), flags({"\\Seen", "work"}), kDate);
  scene.inbox->deliver(letter("b", "bare\nline\r\n"), {}, kDate);
  const auto first = scene.clean();
  CHECK(first.sum.delivered == 2);
  CHECK(first.sum.bytes == letter("a").size() + letter("b", "bare\nline\r\n").size());
  CHECK(scene.copies() == "a S+work, b -");
  const auto bodies = scene.server.bodies();
  const auto effects = scene.fs.effects();
  const auto second = scene.clean();
  CHECK(second.sum.delivered == 0);
  CHECK(second.sum.already == 2);
  CHECK(second.sum.listed == 2);
  CHECK(scene.server.bodies() == bodies);
  CHECK(scene.fs.effects() == effects);
}

// The UIDs whose bodies are asked for, in their order; the run stops before the one numbered `stop_before`.
std::string fetched(Scene& scene, std::uint32_t stop_before = 0) {
  std::string order;
  scene.server.on_step = [&](std::string_view now) -> Done {
    if (!now.starts_with("fetch ")) return done();
    const auto uid = now.substr(6);
    if (uid == std::to_string(stop_before))
      return Error{Scope::Account, Retry::AfterUserAction, "the test stops here", ""};
    order += (order.empty() ? "" : " ") + std::string(uid);
    return done();
  };
  scene.run_process();
  scene.server.on_step = {};
  return order;
}

TEST_CASE("engine: what has arrived since the last run comes before what that one left") {
  Scene scene;
  for (const auto* name : {"a", "b", "c", "d"}) scene.inbox->deliver(letter(name), {}, kDate);
  CHECK(fetched(scene, 2) == "1");
  scene.inbox->deliver(letter("new"), {}, kDate);
  SUBCASE("by ascending UID") { CHECK(fetched(scene) == "5 2 3 4"); }
  SUBCASE("newest first") {
    scene.settings.newest_first = true;
    CHECK(fetched(scene) == "5 2 3 4");  // slice by slice: these are one
  }
  scene.clean();
  CHECK(scene.copies() == "a -, b -, c -, d -, new -");
}

TEST_CASE("engine: a flag that changes between the list of mailboxes and a look at other things still arrives") {
  Scene scene;
  scene.inbox->deliver(letter("a"), {}, kDate);
  auto& bad = scene.inbox->deliver(letter("b"), {}, kDate);
  bad.body = Body::Refused;
  CHECK(scene.run_process().report->sum.failed == 1);
  scene.server.on_step = [&](std::string_view now) -> Done {
    if (now == "examine INBOX") {
      scene.inbox->set_flags(scene.inbox->messages[0], flags({"\\Flagged"}));
      scene.server.on_step = {};
    }
    return done();
  };
  CHECK(scene.run_process().report->sum.failed == 1);
  scene.run_process();
  CHECK(scene.copies() == "a F");
}

TEST_CASE("engine: a flag that changes after a cut run, on mail above the floor, still arrives") {
  Scene scene;
  scene.inbox->deliver(letter("a"), {}, kDate);
  scene.clean();
  auto& b = scene.inbox->deliver(letter("b"), {}, kDate);
  scene.die_at_commit(3, false);  // listed, settled, but the cursors have not moved
  CHECK(scene.row(2).state == MessageState::Delivered);
  scene.fs.restart();
  scene.inbox->set_flags(b, flags({"\\Flagged"}));
  scene.clean();
  CHECK(scene.copies() == "a -, b F");
}

TEST_CASE("engine: a stop between the look and the plan moves no cursor") {
  Scene scene;
  scene.inbox->deliver(letter("a"), {}, kDate);
  std::stop_source stop;
  scene.server.on_step = [&](std::string_view step) -> Done {
    if (step == "flags of INBOX") stop.request_stop();
    return done();
  };
  const auto ending = scene.run_process(stop);
  REQUIRE(ending.report);
  CHECK(ending.report->stopped);
  scene.server.on_step = {};
  const auto report = scene.clean();
  CHECK(report.sum.delivered == 1);
  CHECK(scene.copies() == "a -");
}

TEST_CASE("engine: flags whose rename was not durable are not taken for settled") {
  for (const bool barrier : {true, false}) {
    Scene scene(barrier);
    auto& a = scene.inbox->deliver(letter("a"), flags({"\\Seen"}), kDate);
    scene.clean();
    scene.inbox->set_flags(a, flags({"\\Flagged"}));
    scene.fs.fail_at(scene.fs.effects() + 2, 5);  // renamed, but the directory could not be synced
    REQUIRE_FALSE(scene.run_process().report->error.empty());
    CHECK(scene.copies() == "a F");
    scene.clean();
    scene.fs.crash();
    CHECK(scene.copies() == "a F");
  }
}

TEST_CASE("engine: a copy that is adopted is read in the form in which it was stored") {
  const std::string all[] = {letter("a", "x\r\n"), letter("a", "x\r\r\ny\r\n"), letter("a", "x\ny\r\n"),
                             letter("a", "no end"), "Subject: <a@\n\nonly\nbare\n"};
  for (const auto& wire : all) {
    CAPTURE(wire);
    Scene scene;
    scene.inbox->deliver(wire, {}, kDate);
    scene.clean();
    scene.state.lose();
    const auto report = scene.clean();
    CHECK(report.mailboxes.at(0).adopted == 1);
    CHECK(scene.row(1).sha256 == mail::Sha256::of(wire));
    CHECK(scene.row(1).octets == wire.size());
    CHECK(scene.server.bodies() == 1);
  }
}

TEST_CASE("engine: a message that breaks the connection stops no other, even if its UID comes after its body") {
  for (const bool uid_after_body : {false, true}) {
    Scene scene;
    scene.server.traits.uid_after_body = uid_after_body;
    scene.inbox->deliver(letter("a"), {}, kDate);
    scene.inbox->deliver(letter("b"), {}, kDate).body = Body::Drops;
    scene.inbox->deliver(letter("c"), {}, kDate);
    const auto ending = scene.run_process();
    REQUIRE(ending.report);
    CHECK(ending.report->error.empty());
    CHECK(ending.report->sum.delivered == 2);
    CHECK(ending.report->sum.failed == 1);
    REQUIRE(ending.report->failures.size() == 1);
    CHECK(ending.report->failures[0].uid == 2);
    CHECK(scene.copies() == "a -, c -");
    scene.clock.now += 86'400;
    scene.inbox->find(mail::Uid{2})->body = Body::Fine;
    scene.clean();
    CHECK(scene.copies() == "a -, b -, c -");
  }
}

TEST_CASE("engine: a file whose row was not settled is found again after a new UIDVALIDITY") {
  Scene scene;
  scene.inbox->deliver(letter("a"), flags({"\\Seen"}), kDate);
  scene.inbox->deliver(letter("b", "x\r\r\n"), {}, kDate);
  scene.die_at_commit(5, false);  // the files are durable, their rows are only listed
  scene.fs.crash();
  REQUIRE(scene.copies() == "a S, b -");
  std::mt19937_64 luck(1);
  scene.inbox->renumber(luck);
  const auto report = scene.clean();
  CHECK(scene.copies() == "a S, b -");
  CHECK(report.sum.listed == 2);
}

TEST_CASE("engine: a UID that was used twice has a key for each message, even after a cut") {
  Scene scene;
  scene.inbox->deliver(letter("a"), {}, kDate);
  scene.clean();
  scene.state.lose();
  scene.inbox->messages.clear();
  scene.inbox->next_uid = 1;  // the mailbox was made anew under its old UIDVALIDITY
  scene.inbox->deliver(letter("b"), {}, kDate);
  scene.die_at_commit(5, false);  // b's file is durable, its row is only listed
  scene.fs.crash();
  REQUIRE(scene.copies() == "a -, b -");
  const auto bodies = scene.server.bodies();
  const auto report = scene.clean();
  CHECK(report.mailboxes.at(0).adopted == 1);
  CHECK(scene.server.bodies() == bodies);
  CHECK(scene.row(1).reuse == 1);
  scene.state.lose();
  scene.clean();
  CHECK(scene.copies() == "a -, b -");
  CHECK(scene.row(1).reuse == 1);
}

TEST_CASE("engine: what a server shows when it is asked for is not gone, and the mailbox is looked at again") {
  Scene scene;
  scene.inbox->deliver(letter("a"), {}, kDate);
  scene.inbox->deliver(letter("b"), {}, kDate);
  scene.clean();
  scene.inbox->expunge(mail::Uid{1});
  // The list is complete and leaves UID 1 out, but then the server cannot be asked for it.
  scene.server.on_step = [&](std::string_view step) -> Done {
    if (step == "probe INBOX") scene.inbox->refusals = 1;
    return done();
  };
  const auto ending = scene.run_process();
  REQUIRE(ending.report);
  CHECK_FALSE(ending.report->complete());
  CHECK(scene.row(1).state == MessageState::Delivered);
  scene.server.on_step = {};
  const auto report = scene.clean();
  CHECK(scene.row(1).state == MessageState::Vanished);
  CHECK(report.sum.gone == 1);
  CHECK(scene.copies() == "a -, b -");
}

TEST_CASE("engine: a message that a list leaves out after a new UIDVALIDITY is recognised when it shows") {
  Scene scene;
  scene.inbox->deliver(letter("a"), {}, kDate);
  scene.inbox->deliver(letter("b"), {}, kDate + 1);
  scene.clean();
  std::mt19937_64 luck(1);
  scene.inbox->renumber(luck);
  scene.inbox->hidden = {scene.inbox->messages.front().uid.value};
  scene.inbox->hiding_answers = 2;
  const auto ending = scene.run_process();
  REQUIRE(ending.report);
  CHECK_FALSE(ending.report->complete());
  scene.clean();
  CHECK(scene.copies() == "a -, b -");
  CHECK(scene.server.bodies() == 2);
}

TEST_CASE("engine: a keyword's name is as durable as its letter") {
  int failures = 0;
  for (std::uint64_t n = 1; n <= 12; ++n) {
    Scene scene(false);
    auto& a = scene.inbox->deliver(letter("a"), {}, kDate);
    scene.clean();
    scene.inbox->set_flags(a, flags({"work"}));
    scene.fs.fail_at(scene.fs.effects() + n, 5);
    const auto ending = scene.run_process();
    failures += ending.report && ending.report->error.empty() ? 0 : 1;
    scene.fs.fail_at(0, 0);
    scene.clean();
    scene.fs.crash();
    CHECK(scene.copies() == "a +work");
  }
  CHECK(failures > 3);
}

// Two runs with everything in them; the process dies at the n-th moment of its kind in one of them.
enum class Moment { Effect, BeforeCommit, AfterCommit, Step };

bool die_in(Scene& scene, Moment moment, std::uint64_t n) {
  bool reached = false;
  const auto die = [&] {
    reached = true;
    scene.fs.die_at(scene.fs.effects() + 1, MemoryFileSystem::Death::Errors);
  };
  if (moment == Moment::Effect) scene.fs.die_at(scene.fs.effects() + n);
  if (moment == Moment::BeforeCommit || moment == Moment::AfterCommit)
    scene.state.die_at_commit(n, moment == Moment::AfterCommit, die);
  scene.server.on_step = [&](std::string_view) -> Done {
    if (scene.state.dead()) return ModelServer::connection_lost();
    if (moment != Moment::Step || --n > 0) return done();
    reached = true;
    throw Crash{};
  };
  (void)scene.run_process();
  reached = reached || scene.fs.dead();
  scene.server.on_step = {};
  if (scene.state.dead()) scene.state.close();
  scene.state.die_at_commit(0, false, {});
  if (!scene.fs.dead()) scene.fs.die_at(0);
  return reached;
}

void recover(Scene& scene, std::uint64_t how) {
  std::mt19937_64 luck(how);
  if (how == 0) scene.fs.restart();
  if (how == 1) scene.fs.crash();
  if (how >= 2) scene.fs.crash(luck);
}

bool die_once(Moment moment, std::uint64_t n, bool in_second, std::uint64_t how, bool barrier) {
  Scene scene(barrier);
  scene.server.traits.condstore = how != 1;
  auto& a = scene.inbox->deliver(letter("a"), flags({"\\Seen"}), kDate);
  scene.inbox->deliver(letter("b", "x\n\r\n"), flags({"work"}), kDate);
  auto& work = scene.server.mailboxes.emplace_back();
  work.name = "Work";
  work.subscribed = true;
  work.deliver(letter("c"), {}, kDate);
  bool reached = true;
  if (!in_second) {
    reached = die_in(scene, moment, n);
    recover(scene, how);
  }
  scene.clean();
  CHECK(scene.copies() == "a S, b +work, c -");
  scene.inbox->set_flags(a, flags({"\\Flagged", "later"}));
  scene.inbox->deliver(letter("d"), {}, kDate);
  work.expunge(mail::Uid{1});
  if (in_second) {
    reached = die_in(scene, moment, n);
    recover(scene, how);
  }
  scene.clean();
  scene.fs.crash();
  CHECK(scene.copies() == "a F+later, b +work, c -, d -");
  CHECK(scene.clean().sum.delivered == 0);
  CHECK(scene.state.ledger().check());
  return reached;
}

TEST_CASE("engine: dies before every effect, around every commit and at every step of two runs") {
  std::uint64_t points = 0;
  for (const auto moment : {Moment::Effect, Moment::BeforeCommit, Moment::AfterCommit, Moment::Step})
    for (const bool in_second : {false, true})
      for (std::uint64_t how = 0; how < 4; ++how)
        for (const bool barrier : {true, false})
          for (std::uint64_t n = 1;; ++n, ++points) {
            CAPTURE(n);
            CAPTURE(how);
            CAPTURE(static_cast<int>(moment));
            CAPTURE(in_second);
            CAPTURE(barrier);
            if (!die_once(moment, n, in_second, how, barrier)) break;
          }
  MESSAGE(points << " deaths");
  CHECK(points > 800);
}

}  // namespace
}  // namespace mailhaul::test
