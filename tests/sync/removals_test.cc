// What becomes of the copies of messages that vanish at the source, told run by run.
#include <doctest/doctest.h>

#include "tests/sync/scene.h"

namespace mailhaul::test {
namespace {

using store::MessageState;
using store::Removal;
using sync::OnSourceDelete;

constexpr std::int64_t kDay = 86'400;

struct Removing : Scene {
  explicit Removing(OnSourceDelete what, std::int64_t grace = 7 * kDay, bool barrier = true) : Scene(barrier) {
    settings.policy.on_source_delete = what;
    settings.policy.grace = grace;
  }
  void deliver(std::uint32_t messages) {
    for (std::uint32_t i = 0; i < messages; ++i) {
      ++count_;
      inbox->deliver(letter("m" + std::to_string(count_)), {}, kDate + count_);
    }
  }
  void expunge(std::uint32_t first, std::uint32_t last) {
    for (auto uid = first; uid <= last; ++uid) inbox->expunge(mail::Uid{uid});
  }
  // As a server does that was restored from a backup.
  void restore(ModelMessage message) {
    message.modseq = ++inbox->modseq;
    inbox->messages.insert(std::ranges::lower_bound(inbox->messages, message.uid, {}, &ModelMessage::uid), message);
  }
  sync::Report run_after(std::int64_t seconds) {
    clock.now += seconds;
    return clean();
  }
  std::size_t files() { return census().files.size(); }
  std::string held() { return census().mailboxes.at(0).held; }
  void owner_takes_the_mark_off() {
    auto cur = fs.open_directory(kRoot + "/cur");
    const auto files = census().files;
    const auto marked = std::ranges::find_if(files, [](const auto& f) { return f.flags.has(sync::kSourceGone); });
    REQUIRE(marked != files.end());
    REQUIRE(*fs.rename_new(**cur, marked->name, **cur, marked->name.substr(0, marked->name.find(":2,") + 3)) ==
            store::FileSystem::Renamed::Yes);
  }

 private:
  int count_ = 0;
};

TEST_CASE("removals: keep keeps, whatever vanishes and however long ago") {
  Removing scene(OnSourceDelete::Keep);
  scene.deliver(3);
  scene.clean();
  scene.expunge(1, 3);
  scene.run_after(1);
  const auto report = scene.run_after(400 * kDay);
  CHECK(report.sum.gone == 3);
  CHECK(report.mailboxes.at(0).removed == 0);
  CHECK(report.mailboxes.at(0).held.empty());
  CHECK(scene.files() == 3);
}

TEST_CASE("removals: a copy goes when the grace period is over, not a second before, and comes back with its message") {
  Removing scene(OnSourceDelete::Remove);
  scene.deliver(3);
  scene.clean();
  const auto kept = *scene.inbox->find(mail::Uid{2});
  scene.expunge(2, 2);
  CHECK(scene.run_after(0).sum.gone == 1);
  CHECK(scene.row(2).missing_since == scene.clock.now);
  CHECK(scene.run_after(7 * kDay - 1).mailboxes.at(0).removed == 0);
  CHECK(scene.copies() == "m1 -, m2 -, m3 -");
  CHECK(scene.run_after(1).mailboxes.at(0).removed == 1);
  CHECK(scene.copies() == "m1 -, m3 -");
  CHECK(scene.row(2).state == MessageState::Vanished);
  CHECK(scene.row(2).removal == Removal::Done);
  scene.fs.crash();
  CHECK(scene.copies() == "m1 -, m3 -");

  scene.restore(kept);
  CHECK(scene.clean().sum.delivered == 1);
  CHECK(scene.copies() == "m1 -, m2 -, m3 -");
  CHECK(scene.row(2).state == MessageState::Delivered);
  CHECK(scene.row(2).missing_since == 0);
}

TEST_CASE("removals: what is there again within the grace period is not touched, and its time begins anew") {
  Removing scene(OnSourceDelete::Remove);
  scene.deliver(3);
  scene.clean();
  const auto kept = *scene.inbox->find(mail::Uid{2});
  scene.expunge(2, 2);
  scene.run_after(0);
  scene.restore(kept);
  scene.run_after(8 * kDay);
  CHECK(scene.row(2).state == MessageState::Delivered);
  scene.expunge(2, 2);
  CHECK(scene.run_after(0).mailboxes.at(0).removed == 0);
  CHECK(scene.run_after(7 * kDay).mailboxes.at(0).removed == 1);
  CHECK(scene.server.bodies() == 3);
}

TEST_CASE("engine: one that comes back while another goes is no clean exchange") {
  Removing scene(OnSourceDelete::Keep);
  scene.deliver(3);
  scene.clean();
  const auto kept = *scene.inbox->find(mail::Uid{2});
  scene.expunge(2, 2);
  scene.clean();
  scene.restore(kept);
  scene.expunge(3, 3);
  const auto report = scene.clean();
  CHECK(report.sum.gone == 1);
  CHECK(scene.row(2).state == MessageState::Delivered);
  CHECK(scene.row(3).state == MessageState::Vanished);
}

TEST_CASE("removals: a message that the server shows again when it is asked for loses no copy") {
  Removing scene(OnSourceDelete::Remove);
  SUBCASE("its flags come") {}
  SUBCASE("nothing tells of it") { scene.inbox->hides_flags = true; }
  scene.deliver(3);
  scene.clean();
  const auto kept = *scene.inbox->find(mail::Uid{2});
  scene.expunge(2, 2);
  scene.run_after(0);
  scene.restore(kept);
  scene.inbox->hidden = {2};  // the list leaves it out, and EXISTS agrees with the list
  scene.inbox->hiding_answers = 1;
  scene.inbox->exists_lie = -1;
  scene.inbox->lying_answers = 1;
  scene.clock.now += 7 * kDay;
  CHECK(scene.run_process().report);
  CHECK(scene.copies() == "m1 -, m2 -, m3 -");
}

TEST_CASE("removals: a list that contradicts EXISTS removes nothing") {
  Removing scene(OnSourceDelete::Remove, 0);
  scene.deliver(3);
  scene.clean();
  scene.expunge(2, 2);
  scene.inbox->exists_lie = 2;
  scene.inbox->lying_answers = 2;
  CHECK(scene.run_process().report);
  CHECK(scene.files() == 3);
  CHECK(scene.clean().mailboxes.at(0).removed == 1);
}

TEST_CASE("removals: not by a list that contradicts EXISTS either when the grace period ends") {
  Removing scene(OnSourceDelete::Remove);
  scene.deliver(3);
  scene.clean();
  scene.expunge(2, 2);
  scene.run_after(0);
  scene.inbox->exists_lie = 1;
  scene.inbox->lying_answers = 100;
  scene.clock.now += 8 * kDay;
  CHECK(scene.run_process().report);
  CHECK(scene.files() == 3);
  scene.inbox->lying_answers = 0;
  CHECK(scene.clean().mailboxes.at(0).removed == 1);
}

TEST_CASE("removals: the fuse counts what vanished in the whole grace period, whatever was done with the copies") {
  for (const auto what : {OnSourceDelete::Flag, OnSourceDelete::Remove}) {
    Removing scene(what);
    scene.deliver(300);
    scene.clean();
    scene.expunge(1, 40);
    CHECK(scene.run_after(0).mailboxes.at(0).held.empty());
    scene.expunge(41, 61);
    CHECK(scene.run_after(3 * kDay).mailboxes.at(0).held == "61 of 300 messages vanished");
  }
}

TEST_CASE("removals: what its owner removed stays removed, what its owner flagged goes all the same") {
  Removing scene(OnSourceDelete::Remove, 0);
  scene.deliver(4);
  scene.clean();
  auto cur = scene.fs.open_directory(kRoot + "/cur");
  const auto files = scene.census().files;
  const auto name_of = [&](const std::string& id) {
    return std::ranges::find_if(files, [&](const auto& f) { return f.content.find("<" + id) != f.content.npos; })->name;
  };
  REQUIRE(*scene.fs.remove(**cur, name_of("m1")));
  REQUIRE(*scene.fs.rename_new(**cur, name_of("m2"), **cur, name_of("m2") + "F") == store::FileSystem::Renamed::Yes);
  const auto first = *scene.inbox->find(mail::Uid{1});
  scene.expunge(1, 2);
  CHECK(scene.clean().mailboxes.at(0).removed == 1);
  CHECK(scene.copies() == "m3 -, m4 -");
  CHECK(scene.row(1).removal == Removal::ByOwner);
  scene.restore(first);
  scene.clean();
  CHECK(scene.copies() == "m3 -, m4 -");
}

TEST_CASE("removals: flag marks a copy, its owner may take the mark off, and it goes when the message is there again") {
  Removing scene(OnSourceDelete::Flag);
  scene.deliver(4);
  scene.inbox->set_flags(*scene.inbox->find(mail::Uid{1}), flags({"\\Seen"}));
  scene.clean();
  const auto first = *scene.inbox->find(mail::Uid{1});
  scene.expunge(1, 1);
  CHECK(scene.clean().mailboxes.at(0).marked == 1);
  CHECK(scene.copies() == "m1 S+$SourceGone, m2 -, m3 -, m4 -");
  const auto effects = scene.fs.effects();
  CHECK(scene.run_after(kDay).mailboxes.at(0).marked == 0);
  CHECK(scene.fs.effects() == effects);
  scene.restore(first);
  scene.clean();
  CHECK(scene.copies() == "m1 S, m2 -, m3 -, m4 -");
  CHECK(scene.row(1).state == MessageState::Delivered);

  scene.expunge(2, 2);
  scene.clean();
  scene.owner_takes_the_mark_off();
  scene.run_after(kDay);
  CHECK(scene.copies() == "m1 S, m2 -, m3 -, m4 -");
  CHECK(scene.row(2).base.has(sync::kSourceGone));
}

TEST_CASE("removals: who loses a little in each run is stopped, too, until a person says so") {
  Removing scene(OnSourceDelete::Remove, kDay);
  scene.deliver(300);
  scene.clean();
  std::uint32_t gone = 0;
  for (int i = 0; i < 3; ++i) {  // 57 in three hours, 19 at a time
    scene.expunge(gone + 1, gone + 19);
    gone += 19;
    CHECK(scene.run_after(3600).mailboxes.at(0).held.empty());  // 57 of 300 are less than 20 %
  }
  scene.expunge(gone + 1, gone + 4);  // 61 are more
  CHECK(scene.run_after(3600).mailboxes.at(0).held == "61 of 300 messages vanished");
  scene.deliver(1);
  const auto held = scene.run_after(3 * kDay);
  CHECK(held.sum.delivered == 1);  // collection goes on
  CHECK(held.mailboxes.at(0).removed == 0);
  CHECK(scene.files() == 301);

  scene.settings.release = {"INBOX"};
  scene.expunge(gone + 5, gone + 5);  // vanished after the decision: not meant by it
  const auto released = scene.clean();
  CHECK(released.mailboxes.at(0).held.empty());
  CHECK(released.mailboxes.at(0).removed == 61);
  scene.settings.release.clear();
  CHECK(scene.run_after(kDay + 1).mailboxes.at(0).removed == 1);
  CHECK(scene.files() == 239);
}

TEST_CASE("removals: the fuse of the account, where each mailbox alone loses little") {
  Removing scene(OnSourceDelete::Remove, kDay);
  scene.deliver(30);
  for (int i = 0; i < 4; ++i) {
    auto& box = scene.server.mailboxes.emplace_back();
    box.name = "Box " + std::to_string(i);
    for (int m = 0; m < 40; ++m) box.deliver(letter(box.name + std::to_string(m)), {}, kDate + m);
  }
  scene.clean();
  for (auto& box : scene.server.mailboxes)
    for (std::uint32_t uid = 1; uid <= 13 && box.name != "INBOX"; ++uid) box.expunge(mail::Uid{uid});
  const auto report = scene.clean();
  int held = 0;
  for (const auto& m : report.mailboxes) held += m.held == "52 of 190 messages vanished from the account" ? 1 : 0;
  CHECK(held == 4);
  for (const auto& m : report.mailboxes) CHECK(m.held.empty() == (m.name == "INBOX"));
}

TEST_CASE("removals: an empty mailbox and a new UIDVALIDITY hold, and neither removes anything") {
  for (const auto what : {OnSourceDelete::Flag, OnSourceDelete::Remove}) {
    Removing scene(what, 0);
    scene.deliver(3);
    scene.clean();
    const auto all = scene.inbox->messages;
    scene.inbox->messages.clear();
    ++scene.inbox->modseq;
    CHECK(scene.clean().mailboxes.at(0).held == "3 of 3 messages vanished");
    for (const auto& message : all) scene.restore(message);
    CHECK_FALSE(scene.run_after(kDay).mailboxes.at(0).held.empty());  // a person has to look
    scene.settings.release = {"INBOX"};
    CHECK(scene.clean().mailboxes.at(0).held.empty());
    scene.settings.release.clear();
    CHECK(scene.copies() == "m1 -, m2 -, m3 -");

    std::mt19937_64 luck(1);
    scene.inbox->messages.pop_back();
    scene.inbox->renumber(luck);
    CHECK(scene.clean().mailboxes.at(0).held == "its UIDVALIDITY changed");
    scene.inbox->expunge(scene.inbox->messages.front().uid);
    CHECK(scene.run_after(kDay).mailboxes.at(0).removed == 0);
    CHECK(scene.copies() == "m1 -, m2 -, m3 -");
    CHECK(scene.server.bodies() == 3);
  }
}

TEST_CASE("removals: switching from keep to remove takes the copies kept so far only when the fuse lets them") {
  Removing scene(OnSourceDelete::Keep);
  scene.deliver(200);
  scene.clean();
  scene.expunge(1, 100);
  scene.run_after(0);
  scene.settings.policy.on_source_delete = OnSourceDelete::Remove;
  CHECK(scene.run_after(90 * kDay).mailboxes.at(0).held == "100 of 200 messages vanished");
  CHECK(scene.files() == 200);
  scene.settings.release = {"INBOX"};
  CHECK(scene.clean().mailboxes.at(0).removed == 100);
}

TEST_CASE("removals: a mailbox that is not listed is unknown, and said to be") {
  Removing scene(OnSourceDelete::Remove, 0);
  scene.deliver(2);
  auto& work = scene.server.mailboxes.emplace_back();
  work.name = "Work";
  work.deliver(letter("w"), {}, kDate);
  scene.clean();
  scene.server.mailboxes.pop_back();
  const auto report = scene.run_after(30 * kDay);
  CHECK(report.unlisted == std::vector<std::string>{"Work"});
  CHECK(scene.files() == 3);
}

TEST_CASE("removals: a name that is not there is not released") {
  Removing scene(OnSourceDelete::Remove);
  scene.deliver(1);
  scene.clean();
  scene.settings.release = {"INBOXX"};
  CHECK(scene.run_process().error == "there is no mailbox 'INBOXX' to release");
}

TEST_CASE("audit: a message that a list left out just when another one went is found within a day") {
  Scene scene;
  scene.inbox->deliver(letter("a"), {}, kDate);
  scene.inbox->deliver(letter("b"), {}, kDate);
  scene.clean();
  scene.inbox->expunge(mail::Uid{1});
  scene.inbox->deliver(letter("c"), {}, kDate);
  scene.inbox->hidden = {3};  // the delta lacks c; b and the vanished a make up EXISTS
  scene.inbox->hiding_answers = 1;
  scene.clean();
  CHECK(scene.copies() == "a -, b -");
  scene.clock.now += kDay - 1;
  scene.clean();
  CHECK(scene.copies() == "a -, b -");
  scene.clock.now += 1;
  const auto report = scene.clean();
  CHECK(scene.copies() == "a -, b -, c -");
  CHECK(report.sum.gone == 1);
}

TEST_CASE("audit: a flag that no mod-sequence told of arrives within a day") {
  Scene scene;
  auto& a = scene.inbox->deliver(letter("a"), {}, kDate);
  scene.clean();
  a.flags = flags({"\\Flagged"});
  scene.clean();
  CHECK(scene.copies() == "a -");
  scene.clock.now += kDay;
  scene.clean();
  CHECK(scene.copies() == "a F");
}

// A run that removes or marks dies at its n-th moment; what it left is settled by the next one, and a message that is
// there again afterwards has its copy again.
enum class Moment { Effect, BeforeCommit, AfterCommit };

bool die_removing(OnSourceDelete what, Moment moment, std::uint64_t n, std::uint64_t how, bool back, bool barrier) {
  Removing scene(what, 0, barrier);
  scene.deliver(4);
  scene.clean();
  const auto second = *scene.inbox->find(mail::Uid{2});
  scene.expunge(2, 2);
  if (moment == Moment::Effect) scene.fs.die_at(scene.fs.effects() + n);
  if (moment != Moment::Effect)
    scene.state.die_at_commit(n, moment == Moment::AfterCommit,
                              [&] { scene.fs.die_at(scene.fs.effects() + 1, MemoryFileSystem::Death::Errors); });
  (void)scene.run_process();
  const bool reached = scene.fs.dead() || scene.state.dead();
  if (scene.state.dead()) scene.state.close();
  scene.state.die_at_commit(0, false, {});
  scene.fs.die_at(0);
  std::mt19937_64 luck(how);
  if (how == 0) scene.fs.restart();
  if (how == 1) scene.fs.crash();
  if (how >= 2) scene.fs.crash(luck);
  const auto gone = what == OnSourceDelete::Remove ? "m1 -, m3 -, m4 -" : "m1 -, m2 +$SourceGone, m3 -, m4 -";
  if (!back) {
    scene.clean();
    scene.fs.crash();
    CHECK(scene.copies() == gone);
  }
  scene.restore(second);
  scene.clean();
  scene.fs.crash();
  CHECK(scene.copies() == "m1 -, m2 -, m3 -, m4 -");
  CHECK(scene.clean().sum.delivered == 0);
  CHECK(scene.row(2).removal == Removal::None);
  scene.expunge(2, 2);
  scene.clean();
  CHECK(scene.copies() == gone);
  CHECK(scene.state.ledger().check());
  return reached;
}

TEST_CASE("removals: a run that dies anywhere loses nothing and leaves nothing half done") {
  std::uint64_t points = 0;
  for (const auto what : {OnSourceDelete::Flag, OnSourceDelete::Remove})
    for (const auto moment : {Moment::Effect, Moment::BeforeCommit, Moment::AfterCommit})
      for (std::uint64_t how = 0; how < 4; ++how)
        for (const bool back : {false, true})
          for (const bool barrier : {true, false})
            for (std::uint64_t n = 1;; ++n, ++points) {
              CAPTURE(static_cast<int>(what));
              CAPTURE(static_cast<int>(moment));
              CAPTURE(n);
              CAPTURE(how);
              CAPTURE(back);
              if (!die_removing(what, moment, n, how, back, barrier)) break;
            }
  MESSAGE(points << " deaths");
  CHECK(points > 200);
}

TEST_CASE("removals: one that was cut off before UIDVALIDITY changed is not taken for its owner's") {
  for (const bool after : {false, true}) {
    bool died = true;
    for (std::uint64_t n = 1; died; ++n) {
      CAPTURE(after);
      CAPTURE(n);
      Removing scene(OnSourceDelete::Remove, 0);
      scene.deliver(4);
      scene.clean();
      const auto second = *scene.inbox->find(mail::Uid{2});
      scene.expunge(2, 2);
      scene.state.die_at_commit(n, after,
                                [&] { scene.fs.die_at(scene.fs.effects() + 1, MemoryFileSystem::Death::Errors); });
      (void)scene.run_process();
      died = scene.state.dead();
      if (died) scene.state.close();
      scene.state.die_at_commit(0, false, {});
      scene.fs.die_at(0);
      scene.fs.restart();
      scene.restore(second);
      std::mt19937_64 luck(n);
      scene.inbox->renumber(luck);
      scene.clean();
      CHECK(scene.copies() == "m1 -, m2 -, m3 -, m4 -");
    }
  }
}

}  // namespace
}  // namespace mailhaul::test
