// Scenarios of polls: what has changed, by every means that servers offer, by their numbers.
#include "tests/sync/stage.h"

#include <algorithm>
#include <random>

namespace mailhaul::test {
namespace {

constexpr const char* kCondstore = "IMAP4rev1 NAMESPACE ESEARCH LIST-EXTENDED LIST-STATUS CONDSTORE";
constexpr const char* kNeither = "IMAP4rev1 NAMESPACE ESEARCH LIST-EXTENDED LIST-STATUS";
constexpr std::int64_t kDay = 86'400;

mail::FlagSet flags(std::initializer_list<const char*> names) {
  mail::FlagSet out;
  for (const auto* name : names) out.add(name);
  return out;
}

void without_modseq(Stage& stage) {
  stage.imap.capabilities = kNeither;
  stage.server.traits.condstore = false;
}

STORY("C42 QRESYNC: VANISHED with huge ranges and unknown UIDs, in several lines, inside another command") {
  stage.deliver(12);
  stage.run();
  for (const std::uint32_t uid : {12U, 3U, 4U}) stage.expunge(*stage.inbox, uid);
  stage.deliver(1);
  stage.imap.noise = [&]() -> std::string {
    if (stage.imap.lines.back().find("INBOX") == std::string::npos || ++stage.count > 3) return "";
    return stage.count == 1   ? "* VANISHED (EARLIER) 3:4,500:4294967295\r\n"
           : stage.count == 2 ? "* VANISHED (EARLIER) 12\r\n"
                              : "* VANISHED 4000000000:4000000003\r\n";
  };
  stage.run();
  stage.imap.noise = {};
  const auto report = stage.run();
  CHECK(report.sum.gone == 3);
}

STORY("C42 the highest UID is expunged, and '*' names the one below it") {
  stage.deliver(10);
  stage.run();
  stage.expunge(*stage.inbox, 10);
  const auto report = stage.run();
  TELLS(report.sum.gone == 1);
}

STORY("C43 VANISHED for living messages, and no ENABLED: nothing is gone") {
  stage.deliver(10);
  stage.run();
  stage.deliver(1);
  stage.inbox->expunged.emplace_back(stage.inbox->modseq, 5);
  auto report = stage.run();
  CHECK(report.sum.gone == 0);
  stage.imap.answer = [](const std::string& line) -> Answer {
    return line.starts_with("ENABLE") ? Answer("OK sure") : std::nullopt;
  };
  stage.deliver(1);
  report = stage.run();
  CHECK(report.sum.gone == 0);
}

STORY("C44 CONDSTORE: as many come as go, flags alone change, CHANGEDSINCE is refused") {
  stage.imap.capabilities = kCondstore;
  stage.deliver(10);
  stage.run();
  stage.expunge(*stage.inbox, 2);
  stage.expunge(*stage.inbox, 9);
  stage.deliver(2);
  auto report = stage.run();
  CHECK(report.sum.gone == 2);
  stage.inbox->set_flags(stage.inbox->messages[0], flags({"\\Flagged", "work"}));
  report = stage.run();
  TELLS(report.mailboxes[0].flags == 1);
  stage.imap.answer = [](const std::string& line) -> Answer {
    return line.find("CHANGEDSINCE") != std::string::npos ? Answer("BAD what is this") : std::nullopt;
  };
  stage.inbox->set_flags(stage.inbox->messages[3], flags({"\\Seen"}));
  stage.run();
}

STORY("C45 neither: new, deleted and changed mail; UNSEEN tells of a flag") {
  without_modseq(stage);
  stage.deliver(10);
  stage.run();
  stage.expunge(*stage.inbox, 4);
  stage.deliver(1);
  stage.inbox->set_flags(stage.inbox->messages[2], flags({"\\Seen"}));
  const auto report = stage.run();
  CHECK(report.sum.gone == 1);
  CHECK(stage.flags_of(3) == flags({"\\Seen"}));
}

STORY("C46 LIST-STATUS leaves a mailbox out, STATUS of one is refused, RETURN is BAD") {
  without_modseq(stage);
  stage.deliver(3);
  stage.mailbox("Other", 2);
  stage.mailbox("Bad", 2);
  stage.imap.no_status_of = {"Other", "Bad"};
  stage.imap.answer = [](const std::string& line) -> Answer {
    if (line.starts_with("STATUS \"Bad\"")) return "NO [SERVERBUG] no";
    return line.find("RETURN (SUBSCRIBED") != std::string::npos ? Answer("BAD Unknown option") : std::nullopt;
  };
  CHECK(stage.run().complete());
}

STORY("C46 LIST without INBOX (Strato)") {
  without_modseq(stage);
  stage.deliver(3);
  stage.imap.answer = [](const std::string& line) -> Answer {
    return line.starts_with("LIST") ? Answer("OK nothing to list") : std::nullopt;
  };
  CHECK(stage.run().complete());
}

STORY("C47 restored from a backup: the newest are lost, their UIDs given out again at once") {
  stage.deliver(20);
  stage.run();
  for (const std::uint32_t uid : {20U, 19U, 18U}) stage.expunge(*stage.inbox, uid);
  stage.inbox->expunged.clear();
  stage.inbox->next_uid = 18;
  stage.inbox->modseq = 17;
  stage.deliver(2);
  stage.run();
}

STORY("C47 restored from a backup, and more mail comes than was lost before the next poll") {
  stage.deliver(20);
  stage.run();
  for (const std::uint32_t uid : {20U, 19U, 18U}) stage.expunge(*stage.inbox, uid);
  stage.inbox->expunged.clear();
  stage.inbox->next_uid = 18;
  stage.deliver(40);
  for (auto& message : stage.inbox->messages)
    if (message.uid.value >= 18) message.date += 86'400;
  CHECK(stage.run().complete());
}

STORY("C47 restored from a backup, noticed before new mail comes") {
  without_modseq(stage);
  stage.deliver(20);
  stage.run();
  for (const std::uint32_t uid : {20U, 19U, 18U}) stage.expunge(*stage.inbox, uid);
  stage.inbox->next_uid = 18;
  stage.run();
  stage.deliver(3);
  stage.run();
}

STORY("C48 flags three ways: each side keeps what it changed") {
  stage.deliver(3);
  stage.inbox->set_flags(stage.inbox->messages[1], flags({"\\Flagged"}));
  stage.run();
  stage.owner_has_a_say = true;
  stage.owner_sets(1, "S");
  stage.owner_sets(2, "FS");
  stage.inbox->set_flags(stage.inbox->messages[0], flags({"\\Answered"}));
  stage.inbox->set_flags(stage.inbox->messages[1], {});
  stage.run();
  CHECK(stage.flags_of(1) == flags({"\\Answered", "\\Seen"}));
  CHECK(stage.flags_of(2) == flags({"\\Seen"}));
  CHECK(stage.flags_of(3).empty());
}

STORY("C48 a keyword beyond the 26 that a Maildir holds does not flap") {
  for (int i = 0; i < 30; ++i)
    stage.inbox->deliver(stage.letter(), flags({("key" + std::to_string(i)).c_str()}), 1'700'000'100);
  stage.owner_has_a_say = true;
  stage.run();
  stage.run();
}

STORY("C49 a mailbox is renamed, the server has MAILBOXID") {
  stage.imap.capabilities += " OBJECTID";
  auto& box = stage.mailbox("Work", 8);
  box.id = "F1";
  stage.inbox->id = "F0";
  stage.run();
  box.name = "Projects";
  stage.deliver(box, 1);
  const auto bodies = stage.imap.bodies;
  const auto report = stage.run();
  TELLS(stage.imap.bodies == bodies + 1);
  CHECK(report.unlisted.empty());
}

STORY("C49 a mailbox is renamed, with its UIDVALIDITY and without an ID") {
  auto& box = stage.mailbox("Work", 8);
  box.validity = 77;
  stage.run();
  box.name = "Projects";
  const auto bodies = stage.imap.bodies;
  stage.run();
  TELLS(stage.imap.bodies == bodies);
}

STORY("C49 a mailbox is renamed and gets another UIDVALIDITY") {
  auto& box = stage.mailbox("Work", 8);
  stage.run();
  box.name = "Projects";
  std::mt19937_64 luck(1);
  box.renumber(luck);
  stage.run();
}

STORY("C49 a mailbox is renamed, and the headers are refused: it waits, nothing is downloaded again") {
  auto& box = stage.mailbox("Work", 8);
  box.validity = 77;
  stage.run();
  box.name = "Projects";
  stage.imap.answer = [](const std::string& line) -> Answer {
    return line.find("HEADER") != std::string::npos ? Answer("NO [UNAVAILABLE] later") : std::nullopt;
  };
  const auto bodies = stage.imap.bodies;
  const auto report = stage.run();
  CHECK(!report.complete());
  stage.imap.answer = {};
  CHECK(stage.run().complete());
  CHECK(stage.imap.bodies == bodies);
}

STORY("C49 two mailboxes change names") {
  auto& a = stage.mailbox("A", 6);
  auto& b = stage.mailbox("B", 9);
  a.validity = 7;
  b.validity = 8;
  stage.run();
  std::swap(a.name, b.name);
  const auto bodies = stage.imap.bodies;
  stage.run();
  TELLS(stage.imap.bodies == bodies);
}

STORY("C49 RENAME INBOX moves its messages and leaves it empty") {
  stage.settings.policy.on_source_delete = sync::OnSourceDelete::Remove;
  stage.settings.policy.grace = kDay;
  stage.deliver(10);
  stage.run();
  auto& old = stage.mailbox("Old");
  old.validity = 900;
  // Cut off while it brings them over, a run finds them at both places, and a person decides: all of INBOX is missing.
  for (const auto& message : stage.inbox->messages) stage.maybe(message.wire);
  old.messages = std::exchange(stage.inbox->messages, {});
  old.next_uid = stage.inbox->next_uid;
  stage.run();
  stage.clock.now += 3 * kDay;
  stage.run();
}

STORY("C49 a mailbox is deleted and made anew under its name") {
  auto& box = stage.mailbox("Work", 6);
  box.validity = 7;
  stage.run();
  for (std::uint32_t uid = 1; uid <= 6; ++uid) stage.expunge(box, uid);
  box.expunged.clear();
  box.next_uid = 1;
  box.validity = 8;
  stage.deliver(box, 4);
  stage.run();
}

STORY("C49 twenty mailboxes with one UIDVALIDITY, one of them renamed") {
  for (int i = 0; i < 20; ++i) stage.mailbox("box" + std::to_string(i), 2);
  stage.run();
  stage.server.find("box7")->name = "box-seven";
  stage.run();
}

}  // namespace
}  // namespace mailhaul::test
