// Messages that are moved from mailbox to mailbox at the source, told run by run.
#include <doctest/doctest.h>

#include "tests/sync/scene.h"

namespace mailhaul::test {
namespace {

using sync::OnSourceDelete;

struct Moving : Scene {
  explicit Moving(OnSourceDelete what = OnSourceDelete::Keep) {
    settings.policy.on_source_delete = what;
    archive = &server.mailboxes.emplace_back();
    archive->name = "Archive";
    archive->deliver(letter("other"), {}, kDate);
  }
  void move(std::uint32_t uid) {
    const auto message = *inbox->find(mail::Uid{uid});
    inbox->expunge(mail::Uid{uid});
    archive->deliver(message.wire, message.flags, message.date);
  }
  std::string in(const std::string& directory) {
    std::string out;
    for (const auto& file : census().files)
      if (file.directory == directory) {
        const auto at = file.content.find('<') + 1;
        out += file.content.substr(at, file.content.find('@') - at) + file.flags.maildir_letters() + " ";
      }
    return out;
  }
  ModelMailbox* archive;
};

TEST_CASE("moves: a body that is here is not downloaded again") {
  for (const auto* form : {"x\r\n", "x\ny\r\n", "no end", ""}) {
    Moving scene;
    scene.inbox->deliver(letter("a", form), flags({"\\Seen"}), kDate + 1);
    scene.inbox->deliver(letter("b", form), {}, kDate + 2);
    scene.clean();
    scene.move(1);
    const auto bodies = scene.server.bodies();
    const auto report = scene.clean();
    CHECK(scene.server.bodies() == bodies);
    CHECK(report.sum.delivered == 1);
    CHECK(scene.in(".Archive").find("aS ") != std::string::npos);
    CHECK(scene.in("").find("aS ") != std::string::npos);  // keep: what vanishes there stays here
    for (const auto& row : scene.census().rows)
      if (row.mailbox == "Archive" && row.row.uid.value == 2)
        CHECK(row.row.sha256 == mail::Sha256::of(letter("a", form)));
    scene.fs.crash();
    CHECK(scene.clean().sum.delivered == 0);
    CHECK(scene.server.bodies() == bodies);
  }
}

TEST_CASE("moves: under remove the old copy goes at once, and a moved mailbox blows no fuse") {
  Moving scene(OnSourceDelete::Remove);
  for (int i = 0; i < 120; ++i) scene.inbox->deliver(letter("m" + std::to_string(i)), {}, kDate + i);
  scene.clean();
  for (std::uint32_t uid = 1; uid <= 120; ++uid) scene.move(uid);  // as RENAME INBOX does (RFC 9051 §6.3.6)
  const auto bodies = scene.server.bodies();
  const auto report = scene.clean();
  CHECK(scene.server.bodies() == bodies);
  for (const auto& m : report.mailboxes) CHECK(m.held.empty());
  CHECK(scene.in("").empty());
  CHECK(scene.census().files.size() == 121);
  scene.clock.now += 86'400;
  for (const auto& m : scene.clean().mailboxes) CHECK(m.held.empty());
}

TEST_CASE("moves: what arrives in a later run than it vanished in") {
  Moving scene;
  scene.inbox->deliver(letter("a"), {}, kDate + 1);
  scene.inbox->deliver(letter("b"), {}, kDate + 2);
  scene.clean();
  const auto message = *scene.inbox->find(mail::Uid{1});
  scene.inbox->expunge(mail::Uid{1});
  scene.clean();
  scene.archive->deliver(message.wire, message.flags, message.date);
  const auto bodies = scene.server.bodies();
  CHECK(scene.clean().sum.delivered == 1);
  CHECK(scene.server.bodies() == bodies);
}

TEST_CASE("moves: the owner's flags go with the message") {
  Moving scene(OnSourceDelete::Remove);
  scene.inbox->deliver(letter("a"), flags({"\\Seen"}), kDate + 1);
  scene.inbox->deliver(letter("b"), {}, kDate + 2);
  scene.clean();
  auto cur = scene.fs.open_directory(kRoot + "/cur");
  for (const auto& file : scene.census().files)
    if (file.directory.empty() && file.letters == "S")
      REQUIRE(*scene.fs.rename_new(**cur, file.name, **cur, file.name.substr(0, file.name.size() - 1) + "FS") ==
              store::FileSystem::Renamed::Yes);
  scene.move(1);
  scene.clean();
  CHECK(scene.in(".Archive").find("aFS ") != std::string::npos);
  CHECK(scene.in("") == "b ");
}

TEST_CASE("moves: evidence that is shared, a file that was changed or is gone, another size: all are downloaded") {
  for (int what = 0; what < 4; ++what) {
    CAPTURE(what);
    Moving scene;
    scene.inbox->deliver(letter("a"), {}, kDate + 1);
    if (what == 0) scene.inbox->deliver(letter("a"), {}, kDate + 1);
    scene.inbox->deliver(letter("b"), {}, kDate + 2);
    scene.clean();
    auto cur = scene.fs.open_directory(kRoot + "/cur");
    for (const auto& file : scene.census().files) {
      if (!file.directory.empty() || file.content.find("<a@") == file.content.npos) continue;
      if (what == 1 || what == 2) REQUIRE(*scene.fs.remove(**cur, file.name));
      if (what != 2) continue;
      auto changed = scene.fs.create(**cur, file.name);
      REQUIRE(scene.fs.write(**changed, file.content + "more"));
    }
    scene.move(1);
    if (what == 0) scene.move(2);
    if (what == 3) scene.archive->messages.back().wire += "tail\r\n";
    const auto bodies = scene.server.bodies();
    CHECK(scene.clean().sum.delivered == (what == 0 ? 2 : 1));
    CHECK(scene.server.bodies() == bodies + (what == 0 ? 2 : 1));
  }
}

TEST_CASE("moves: a run that dies anywhere neither loses nor doubles what was moved") {
  std::uint64_t points = 0;
  for (int moment = 0; moment < 3; ++moment)
    for (std::uint64_t how = 0; how < 4; ++how)
      for (std::uint64_t n = 1;; ++n, ++points) {
        CAPTURE(moment);
        CAPTURE(how);
        CAPTURE(n);
        Moving scene(OnSourceDelete::Remove);
        scene.inbox->deliver(letter("a"), {}, kDate + 1);
        scene.inbox->deliver(letter("b"), {}, kDate + 2);
        scene.clean();
        scene.move(1);
        if (moment == 0) scene.fs.die_at(scene.fs.effects() + n);
        if (moment != 0)
          scene.state.die_at_commit(n, moment == 2,
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
        scene.clean();
        scene.clock.now += 8 * 86'400;
        scene.clean();
        scene.fs.crash();
        CHECK(scene.in("") == "b ");
        CHECK(scene.in(".Archive").size() == std::string("other a ").size());
        CHECK(scene.clean().sum.delivered == 0);
        if (!reached) break;
      }
  CHECK(points > 50);
}

}  // namespace
}  // namespace mailhaul::test
