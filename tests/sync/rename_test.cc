// Mailboxes that are renamed, swapped, deleted and made anew at the source, told run by run.
#include <doctest/doctest.h>

#include "tests/sync/scene.h"

namespace mailhaul::test {
namespace {

using store::MessageState;

struct Renaming : Scene {
  ModelMailbox& box(const std::string& name, int messages, std::uint64_t validity) {
    auto& made = server.mailboxes.emplace_back();
    made.name = name;
    made.validity = validity;
    for (int i = 0; i < messages; ++i) made.deliver(letter(name + std::to_string(i)), {}, kDate + i);
    return made;
  }
  std::string in(const std::string& directory) {
    int n = 0;
    for (const auto& file : census().files) n += file.directory == directory ? 1 : 0;
    return directory + ": " + std::to_string(n);
  }
  sync::MailboxReport of(const sync::Report& report, const std::string& name) {
    const auto it = std::ranges::find(report.mailboxes, name, &sync::MailboxReport::name);
    REQUIRE(it != report.mailboxes.end());
    return *it;
  }
};

TEST_CASE("rename: a mailbox under a new name downloads nothing again, and goes on where it is") {
  for (const bool status : {true, false}) {
    Renaming scene;
    scene.server.traits.status = status;
    auto& work = scene.box("Work", 20, 7);
    auto& child = scene.box("Work/Old", 3, 8);
    scene.clean();
    work.name = "Projects";
    child.name = "Projects/Old";
    work.expunge(mail::Uid{4});
    work.deliver(letter("new"), flags({"\\Seen"}), kDate);
    const auto bodies = scene.server.bodies();
    const auto report = scene.clean();
    CHECK(scene.server.bodies() == bodies + 1);
    CHECK(scene.of(report, "Projects").renamed_from == "Work");
    CHECK(scene.of(report, "Projects").count.gone == 1);
    CHECK(scene.of(report, "Projects/Old").count.already == 3);
    CHECK(report.unlisted.empty());
    CHECK(scene.in(".Work") == ".Work: 21");
    CHECK(scene.in(".Work.Old") == ".Work.Old: 3");
    CHECK(scene.clean().sum.delivered == 0);
    CHECK(scene.of(scene.clean(), "Projects").renamed_from.empty());
  }
}

TEST_CASE("rename: a server that gives another UIDVALIDITY with the name") {
  Renaming scene;
  auto& work = scene.box("Work", 20, 7);
  scene.clean();
  std::mt19937_64 luck(1);
  work.name = "Projects";
  work.renumber(luck);
  const auto bodies = scene.server.bodies();
  const auto report = scene.clean();
  CHECK(scene.server.bodies() == bodies);
  CHECK(scene.of(report, "Projects").rebound == 20);
  CHECK(scene.in(".Work") == ".Work: 20");
}

TEST_CASE("rename: two mailboxes that change names") {
  Renaming scene;
  auto& a = scene.box("A", 5, 7);
  auto& b = scene.box("B", 9, 8);
  scene.clean();
  std::swap(a.name, b.name);
  const auto bodies = scene.server.bodies();
  const auto report = scene.clean();
  CHECK(scene.server.bodies() == bodies);
  CHECK(scene.of(report, "A").destination == ".B");
  CHECK(scene.of(report, "B").destination == ".A");
  CHECK(scene.in(".A") == ".A: 5");
  CHECK(scene.in(".B") == ".B: 9");
}

TEST_CASE("rename: MAILBOXID decides without a question, even where nothing was delivered yet") {
  Renaming scene;
  auto& work = scene.box("Work", 0, 7);
  auto& twin = scene.box("Twin", 3, 7);
  work.id = "F1";
  twin.id = "F2";
  scene.clean();
  work.name = "Projects";
  twin.name = "Other";
  const auto bodies = scene.server.bodies();
  const auto report = scene.clean();
  CHECK(scene.server.bodies() == bodies);
  CHECK(scene.of(report, "Projects").destination == ".Work");
  CHECK(scene.of(report, "Other").destination == ".Twin");

  twin.id = "F3";  // the same messages under the same UIDs, and yet the server says that it is another mailbox
  twin.name = "Third";
  CHECK(scene.of(scene.clean(), "Third").renamed_from.empty());
}

TEST_CASE("rename: the same UIDVALIDITY and UIDs alone are no evidence") {
  Renaming scene;
  scene.box("Work", 5, 7);
  scene.clean();
  scene.server.mailboxes.pop_back();
  scene.box("Other", 5, 7);
  const auto report = scene.clean();
  CHECK(scene.of(report, "Other").count.delivered == 5);
  CHECK(scene.of(report, "Other").renamed_from.empty());
  CHECK(report.unlisted == std::vector<std::string>{"Work"});
  CHECK(scene.in(".Work") == ".Work: 5");
  CHECK(scene.in(".Other") == ".Other: 5");
}

TEST_CASE("rename: a mailbox that shares half of its messages with one that is gone is another") {
  for (const std::uint64_t validity : {7U, 8U}) {
    CAPTURE(validity);
    Renaming scene;
    auto& work = scene.box("Work", 10, 7);
    scene.clean();
    const auto old = work.messages;
    std::erase_if(scene.server.mailboxes, [](const ModelMailbox& m) { return m.name == "Work"; });
    auto& other = scene.box("Other", 0, validity);
    for (int i = 0; i < 10; ++i)
      other.deliver(i % 2 == 0 ? old[static_cast<std::size_t>(i)].wire : letter("other" + std::to_string(i)), {},
                    kDate + i);
    const auto report = scene.clean();
    CHECK(scene.of(report, "Other").renamed_from.empty());
    CHECK(scene.in(".Other") == ".Other: 10");
    CHECK(scene.in(".Work") == ".Work: 10");
  }
}

TEST_CASE("rename: a mailbox deleted and made anew keeps the old copies and gets the new mail") {
  Renaming scene;
  scene.box("Work", 5, 7);
  scene.clean();
  scene.server.mailboxes.pop_back();
  scene.box("Work", 0, 9).deliver(letter("fresh"), {}, kDate);
  scene.clean();
  CHECK(scene.in(".Work") == ".Work: 6");
}

TEST_CASE("rename: the old name may be used again for another mailbox") {
  Renaming scene;
  auto& work = scene.box("Work", 5, 7);
  scene.clean();
  work.name = "Archive";
  scene.box("Work", 2, 9);
  const auto report = scene.clean();
  CHECK(scene.in(".Work") == ".Work: 5");
  CHECK(scene.of(report, "Archive").destination == ".Work");
  CHECK(scene.of(report, "Work").count.delivered == 2);
}

TEST_CASE("rename: files of a run that was cut off are found under the name they were meant for") {
  Renaming scene;
  auto& work = scene.box("Work", 5, 7);
  scene.clean();
  work.deliver(letter("late"), {}, kDate);
  scene.die_at_commit(2, false);  // listed, durable, not settled
  scene.fs.crash();
  REQUIRE(scene.in(".Work") == ".Work: 6");
  work.name = "Projects";
  const auto bodies = scene.server.bodies();
  scene.clean();
  CHECK(scene.in(".Work") == ".Work: 6");
  CHECK(scene.server.bodies() == bodies);
}

}  // namespace
}  // namespace mailhaul::test
