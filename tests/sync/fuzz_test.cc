// Long random histories of a server on the wire: mail comes, goes and changes, mailboxes are renamed, deleted, given
// another UIDVALIDITY or restored from a backup, answers lie, and every so often a run is cut or killed. Whatever
// happens, at each stop nothing is there twice and nothing that was collected is missing; when the server behaves
// again, the oracle of the scenarios holds.
//
//   MAILHAUL_SEED=17 sync_test -tc='fuzz:*'    one seed, told step by step; MAILHAUL_SEEDS, MAILHAUL_STEPS: how much
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <random>

#include "tests/sync/stage.h"

namespace mailhaul::test {
namespace {

using Kind = Fault::Kind;

std::uint64_t number_from(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);  // NOLINT(concurrency-mt-unsafe)
  return text == nullptr || *text == '\0' ? otherwise : std::strtoull(text, nullptr, 10);
}

class Fuzz {
 public:
  Fuzz(std::uint64_t seed, bool aloud) : luck_(seed * 0x9E3779B97F4A7C15U + 5), aloud_(aloud) {
    static constexpr const char* kCapabilities[] = {
        "IMAP4rev1 ID ENABLE NAMESPACE ESEARCH LIST-EXTENDED LIST-STATUS CONDSTORE QRESYNC",
        "IMAP4rev1 ENABLE ESEARCH LIST-EXTENDED LIST-STATUS CONDSTORE QRESYNC OBJECTID",
        "IMAP4rev1 NAMESPACE ESEARCH LIST-EXTENDED LIST-STATUS CONDSTORE", "IMAP4rev1 NAMESPACE ESEARCH LIST-STATUS",
        "IMAP4rev1"};
    stage_.imap.capabilities = kCapabilities[dice(std::size(kCapabilities))];
    stage_.server.traits.condstore = stage_.imap.capabilities.find("CONDSTORE") != std::string::npos;
    ids_ = stage_.imap.capabilities.find("OBJECTID") != std::string::npos;
    stage_.settings.reconnects = 50;
    for (const auto* name : {"Work", "Sent"}) add(name);
    stage_.imap.answer = [this](const std::string& line) { return lie(line); };
    stage_.imap.noise = [this] { return noise(); };
  }

  void play(std::uint64_t steps) {
    constexpr std::uint64_t kPeace = 500;
    auto next_run = dice(30);
    for (std::uint64_t step = 1; step <= steps && !stage_.broken; ++step) {
      act();
      if (step >= next_run) {
        run();
        next_run = step + 1 + dice(60);
      }
      if (step % kPeace == 0 || step == steps) make_peace();
    }
  }
  [[nodiscard]] std::uint64_t runs() const { return runs_; }

 private:
  std::uint64_t dice(std::uint64_t sides) { return luck_() % sides; }
  bool chance(unsigned percent) { return dice(100) < percent; }
  void say(const std::string& what) const {
    if (aloud_) std::cout << "  " << what << "\n";
  }
  auto& boxes() { return stage_.server.mailboxes; }
  ModelMailbox& any_box() { return boxes()[dice(boxes().size())]; }
  ModelMessage* any_message(ModelMailbox& box) {
    return box.messages.empty() ? nullptr : &box.messages[dice(box.messages.size())];
  }

  void add(const std::string& name) {
    auto& box = stage_.mailbox(name);
    box.validity = 1 + dice(1'000'000);
    if (ids_) box.id = "F" + std::to_string(luck_());
  }
  void deliver() {
    auto& box = any_box();
    stage_.deliver(box, 1);
    auto& message = box.messages.back();
    if (ids_) message.email_id = "M" + std::to_string(luck_());
    if (chance(10)) message.wire += std::string(dice(3000), 'x') + "\r\n";
    message.date += static_cast<std::int64_t>(dice(1000)) * 10'000;
    message.flags = some_flags();
    if (chance(8)) {
      message.body = static_cast<Body>(1 + dice(6));
      message.bad_answers = static_cast<int>(1 + dice(6));
    }
    say("deliver " + box.name + " " + std::to_string(message.uid.value) + " " + message.wire.substr(12, 6));
  }
  mail::FlagSet some_flags() {
    mail::FlagSet out;
    for (const auto* flag : {"\\Seen", "\\Flagged", "\\Answered", "work", "$Label1"})
      if (chance(25)) out.add(flag);
    return out;
  }
  // What has been collected stays; of the rest nobody can say.
  void leaves(const ModelMessage& message) {
    if (collected_.contains(message.wire))
      stage_.kept(message.wire);
    else
      stage_.maybe(message.wire);
  }
  void expunge() {
    auto& box = any_box();
    const auto* message = any_message(box);
    if (!message) return;
    say("expunge " + box.name + " " + std::to_string(message->uid.value));
    leaves(*message);
    box.expunge(mail::Uid{message->uid.value});
  }
  void flag() {
    auto& box = any_box();
    if (auto* message = any_message(box)) box.set_flags(*message, some_flags());
  }
  void rename() {
    auto& box = any_box();
    if (box.name == "INBOX") return;
    const auto name = "Box " + std::to_string(++names_);
    say("rename " + box.name + " to " + name);
    box.name = name;
    if (chance(30)) box.renumber(luck_);
  }
  void remove_or_add() {
    if (boxes().size() < 4) return add("New " + std::to_string(++names_));
    auto it = boxes().begin() + static_cast<std::ptrdiff_t>(1 + dice(boxes().size() - 1));
    say("delete " + it->name);
    for (const auto& message : it->messages) leaves(message);
    boxes().erase(it);
    stage_.inbox = &boxes().front();
  }
  void renumber() {
    auto& box = any_box();
    say("renumber " + box.name);
    box.renumber(luck_);
  }
  // The newest messages are lost, and their UIDs will be given out again.
  void restore() {
    auto& box = any_box();
    const auto many = std::min<std::size_t>(box.messages.size(), 1 + dice(3));
    say("restore " + box.name + " without " + std::to_string(many));
    for (std::size_t i = 0; i < many; ++i) {
      leaves(box.messages.back());
      box.next_uid = box.messages.back().uid.value;
      box.messages.pop_back();
    }
    box.expunged.clear();
    box.modseq = box.modseq > 5 ? box.modseq - 4 : 1;
    for (auto& message : box.messages) message.modseq = std::min(message.modseq, box.modseq);
  }
  void misbehave() {
    auto& box = any_box();
    const auto times = static_cast<int>(1 + dice(2));
    switch (dice(6)) {
      case 0:
        box.exists_lie = static_cast<int>(dice(7)) - 3;
        box.lying_answers = times;
        break;
      case 1:
        box.exists_lie = -static_cast<int>(box.messages.size());
        box.lying_answers = 1;
        break;
      case 2:
        box.refusals = times;
        break;
      case 3:
        if (const auto* message = any_message(box)) box.hidden = {message->uid.value};
        box.hiding_answers = times;
        break;
      case 4:
        if (const auto* message = any_message(box)) box.expunged.emplace_back(box.modseq, message->uid.value);
        break;
      default:
        if (const auto* message = any_message(box))
          stage_.imap.literal_lie = {{message->uid.value, static_cast<int>(dice(60)) + 3}};
        stage_.imap.lying_literals = times;
    }
  }
  void act() {
    const bool crowded = stage_.server.mailboxes.size() > 6 || total() > 120;
    const auto what = dice(100);
    if (what < 40) return crowded ? expunge() : deliver();
    if (what < 70) return flag();
    if (what < 84) return expunge();
    if (what < 92) return misbehave();
    if (what < 94) return remove_or_add();
    if (what < 97) return renumber();
    if (what < 98) return restore();
    liar_ = static_cast<int>(dice(9));
    lies_ = 1 + static_cast<int>(dice(3));
  }
  std::size_t total() {
    std::size_t n = 0;
    for (const auto& box : boxes()) n += box.messages.size();
    return n;
  }

  // Answers from a list, for the commands that they fit.
  Answer lie(const std::string& line) {
    if (lies_ <= 0) return std::nullopt;
    const auto is = [&](std::string_view verb) { return line.starts_with(verb); };
    const char* says = nullptr;
    switch (liar_) {
      case 0:
        if (is("LIST")) says = "NO [SERVERBUG] Internal error occurred.";
        break;
      case 1:
        if (is("UID SEARCH")) says = "OK nothing to say";
        break;
      case 2:
        if (is("UID FETCH")) says = "OK nothing to say";
        break;
      case 3:
        if (is("UID FETCH")) says = "NO [UNAVAILABLE] Server error while fetching messages";
        break;
      case 4:
        if (is("EXAMINE")) says = "BAD Request is throttled. Suggested Backoff Time: 2961 milliseconds";
        break;
      case 5:
        if (is("UID")) says = "* BYE bye\nclose";
        break;
      case 6:
        if (is("UID SEARCH")) says = "BAD not now";
        break;
      case 7:
        if (is("EXAMINE")) says = "* 0 EXISTS\n* OK [UIDVALIDITY 5]\nNO [INUSE] locked";
        break;
      default:
        if (is("LIST")) says = "* LIST () \"/\" INBOX\nOK that is all";
    }
    if (says == nullptr) return std::nullopt;
    say("  lie to " + line.substr(0, 60) + ": " + std::string(says).substr(0, 30));
    --lies_;
    return says;
  }
  std::string noise() {
    // Behind a literal that was announced too long it could be taken for the end of the message, by anybody.
    if (peace_ || !stage_.imap.literal_lie.empty() || !chance(3)) return "";
    static constexpr const char* kNoise[] = {"* OK Still here\r\n",
                                             "* 3 EXPUNGE\r\n",
                                             "* 0 FETCH (FLAGS ())\r\n",
                                             "* NO disk nearly full\r\n",
                                             "\r\n",
                                             "* FOO\r\n",
                                             "* 77 FETCH (UID 999999 FLAGS (\\Seen))\r\n"};
    return kNoise[dice(std::size(kNoise))];
  }

  void run() {
    ++runs_;
    stage_.clock.now += static_cast<std::int64_t>(dice(6 * 3600));
    Fault fault;
    if (!peace_ && chance(60)) {
      fault.kind = static_cast<Kind>(1 + dice(5));
      const std::uint64_t most[] = {1, 150, 6000, 80, 8, 8};
      fault.at = 1 + dice(most[static_cast<std::size_t>(fault.kind)]);
      fault.memory = dice(4);
    }
    say("run, fault " + std::to_string(static_cast<int>(fault.kind)) + " at " + std::to_string(fault.at) + " memory " +
        std::to_string(fault.memory));
    stage_.disturb(fault);
    const auto from = stage_.imap.lines.size();
    const auto ending = stage_.attempt();
    if (ending.report)
      for (const auto& box : ending.report->mailboxes)
        say("  " + box.name + ": " + std::to_string(box.count.delivered) + " delivered, " +
            std::to_string(box.rebound) + " rebound, " + std::to_string(box.count.gone) + " gone, " +
            std::to_string(box.count.pending + box.count.failed) + " missing " + box.error);
    say("  " + (ending.report ? ending.report->error : ending.error));
    for (auto i = from; i < stage_.imap.lines.size(); ++i)
      say("    C: " + stage_.imap.lines[i].substr(0, 60) + " … " +
          stage_.imap.lines[i].substr(stage_.imap.lines[i].size() -
                                      std::min<std::size_t>(stage_.imap.lines[i].size(), 40)));
    if (aloud_) {
      std::map<std::string, int> counts;
      for (const auto& row : stage_.census().rows)
        ++counts[row.mailbox + " V" + std::to_string(row.validity.value_or(0)) + (row.current ? " now " : " old ") +
                 std::string(store::to_text(row.row.state)) + (row.row.sha256 ? " sha" : "")];
      for (const auto& [what, n] : counts) say("    rows: " + what + " " + std::to_string(n));
    }
    collected_ = stage_.check_no_more_than_expected();
    if (chance(4)) tidy();
  }
  // The owner throws away copies of what the source has no more.
  void tidy() {
    say("tidy");
    for (const auto& wire : stage_.owner_throws_away_kept()) collected_.erase(wire);
  }
  void make_peace() {
    peace_ = true;
    lies_ = 0;
    stage_.imap.literal_lie.clear();
    for (auto& box : boxes()) {
      box.lying_answers = box.hiding_answers = box.refusals = 0;
      for (auto& message : box.messages) message.body = Body::Fine;
    }
    say("peace");
    for (int i = 0; i < 3; ++i) {
      stage_.clock.now += 8 * 86'400;
      run();
    }
    stage_.verify();
    // A new name is recognised by what is in the mailbox; where that changes along with it, or the list of mailboxes
    // lies, it is another mailbox, and everything comes once more.
    rename();
    run();
    stage_.verify();
    peace_ = false;
  }

  std::mt19937_64 luck_;
  Stage stage_;
  std::set<std::string> collected_;
  bool aloud_, peace_ = false, ids_ = false;
  int liar_ = 0, lies_ = 0, names_ = 0;
  std::uint64_t runs_ = 0;
};

TEST_CASE("fuzz: long histories of a server on the wire") {
  const auto steps = number_from("MAILHAUL_STEPS", 10'000);
  if (const auto seed = number_from("MAILHAUL_SEED", 0)) {
    Fuzz(seed, true).play(steps);
    return;
  }
  const auto seeds = number_from("MAILHAUL_SEEDS", 5);
  std::uint64_t runs = 0;
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    INFO("MAILHAUL_SEED=" << seed << " MAILHAUL_STEPS=" << steps);
    Fuzz fuzz(seed, false);
    fuzz.play(steps);
    runs += fuzz.runs();
  }
  MESSAGE(seeds << " seeds of " << steps << " steps, " << runs << " runs");
}

}  // namespace
}  // namespace mailhaul::test
