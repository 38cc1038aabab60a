// A server whose mailboxes are labels, as Gmail's are: every message in each of its labels and in the mailbox with
// \All, under one X-GM-MSGID. The oracle is the list of labels that the test gave, and the count of bodies that went
// out.
#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>

#include "collector/imap_source.h"
#include "tests/support/imap_model.h"
#include "tests/sync/account_scene.h"
#include "tests/sync/scene.h"

namespace mailhaul::test {
namespace {

using collector::GmailLabels;

const std::string kAll = "[Gmail]/Alle Nachrichten", kTrash = "[Gmail]/Papierkorb", kSpam = "[Gmail]/Spam",
                  kStarred = "[Gmail]/Markiert", kChats = "[Gmail]/Chats";

// The labels of an account, and the mailboxes that show them.
struct Labels {
  explicit Labels(ModelServer& the_server) : server(the_server) {
    for (const auto& name :
         {std::string("INBOX"), std::string("Work"), std::string("Home"), kAll, kTrash, kSpam, kStarred, kChats})
      server.mailboxes.emplace_back().name = name;
    server.find(kChats)->deliver("no mail", {}, kDate).body = Body::Nil;
  }

  void send(const std::string& id, const std::set<std::string>& labels) {
    wire[id] = letter(id, "body of " + id + "\r\n");
    number[id] = std::to_string(1278455344230334865 + static_cast<std::int64_t>(number.size()));
    for (const auto& label : labels) add(id, label);
    if (!labels.contains(kTrash) && !labels.contains(kSpam)) add(id, kAll);
    if (labels.size() % 2 == 0) add(id, kStarred);
  }
  void add(const std::string& id, const std::string& label) {
    auto& message = server.find(label)->deliver(wire[id], {}, kDate);
    message.email_id = number[id];
    if (label != kAll && label != kStarred) of[id].insert(label);
    of[id];
  }
  void take_off(const std::string& id, const std::string& label) {
    auto& box = *server.find(label);
    for (const auto& message : box.messages)
      if (message.email_id == number[id]) {
        box.expunge(message.uid);
        break;
      }
    of[id].erase(label);
  }
  // RFC 6154: what is what.
  std::string listing() const {
    const std::map<std::string, std::string> uses{
        {kAll, "\\All"}, {kTrash, "\\Trash"}, {kSpam, "\\Junk"}, {kStarred, "\\Flagged"}};
    std::string out;
    for (const auto& box : server.mailboxes) {
      const auto use = hide_all && box.name == kAll ? uses.end() : uses.find(box.name);
      if (hide_all && box.name == kAll) continue;
      out += "* LIST (" + (use == uses.end() ? std::string() : use->second) + ") \"/\" \"" + box.name + "\"\n";
    }
    return out + "OK done";
  }
  static std::string home(const std::string& label) {
    if (label == kTrash) return "Trash";
    return label == kSpam ? "Junk" : label;
  }
  // What should be there: "mailbox: message", sorted.
  [[nodiscard]] std::vector<std::string> expected(GmailLabels layout) const {
    std::vector<std::string> out;
    for (const auto& [id, labels] : of) {
      if (labels.empty() && !hide_all) out.push_back("Archive: " + id);
      const auto first = labels.contains("INBOX") ? "INBOX" : labels.contains("Home") ? "Home" : "Work";
      for (const auto& label : labels)
        if (layout == GmailLabels::Mailboxes || labels.size() == 1 || label == first)
          out.push_back(home(label) + ": " + id);
    }
    std::ranges::sort(out);
    return out;
  }
  void fill() {
    for (int i = 0; i < 24; ++i) {
      std::set<std::string> labels;
      if (i % 2 == 0) labels.insert("INBOX");
      if (i % 3 == 0) labels.insert("Work");
      if (i % 5 == 0) labels.insert("Home");
      if (i % 11 == 10) labels = {kTrash};
      if (i % 11 == 9) labels = {kSpam};
      send("m" + std::to_string(i), labels);
    }
  }

  ModelServer& server;
  std::map<std::string, std::string> wire, number;
  std::map<std::string, std::set<std::string>> of;  // message → labels
  bool hide_all = false;
};

constexpr const char* kCapabilities = "IMAP4rev1 X-GM-EXT-1 ID NAMESPACE SPECIAL-USE LIST-EXTENDED ESEARCH CONDSTORE";

sync::Placing at_home(const sync::SourceMailbox& m) { return {m.home.empty() ? m.path : m.home, false}; }

struct Gmail : Machine {
  explicit Gmail(GmailLabels how = GmailLabels::Mailboxes, bool links = true)
      : Machine(1, file(), disk(links)), labels(server), imap(server), layout(how) {
    state.lose();
    (void)fs.make_directories("/home");
    settings.place = at_home;
    imap.capabilities = kCapabilities;
    imap.answer = [this](const std::string& command) -> std::optional<std::string> {
      if (cut_at > 0 && --cut_at == 0) return "";
      if (command.starts_with("LIST")) return labels.listing();
      return std::nullopt;
    };
    connect = [this]() -> Result<std::unique_ptr<sync::Source>> {
      auto client = imap.connect();
      if (!client) return client.error();
      return std::unique_ptr<sync::Source>(
          std::make_unique<collector::ImapSource>(*std::move(client), collector::ImapSourceOptions{"", {}, layout}));
    };
  }
  sync::Report clean() {
    auto ending = run_process();
    REQUIRE_MESSAGE(ending.report, ending.error);
    CHECK(ending.report->error.empty());
    CHECK(ending.report->complete());
    return *ending.report;
  }
  std::vector<std::string> found() {
    std::vector<std::string> out;
    for (const auto& one : census().files) {
      const auto at = one.content.find('<') + 1;
      const auto id = one.content.substr(at, one.content.find('@') - at);
      CHECK(wire_of(one.content, store::StoredForm::Lf) == labels.wire[id]);
      CHECK(one.seconds == kDate);
      CHECK(one.modified == kDate);
      out.push_back((one.directory.empty() ? "INBOX" : one.directory.substr(1)) + ": " + id);
    }
    std::ranges::sort(out);
    return out;
  }
  // As many bodies as there are messages; nothing to do for another run.
  void check_whole() {
    CHECK(found() == labels.expected(layout));
    const auto bodies = imap.bodies;
    const auto effects = fs.effects();
    CHECK(clean().sum.delivered == 0);
    CHECK(imap.bodies == bodies);
    CHECK(fs.effects() == effects);
  }

  Labels labels;
  ImapModel imap;
  GmailLabels layout;
  std::size_t cut_at = 0;  // the connection ends instead of the n-th command

 private:
  static StateFile& file() {
    static StateFile one;
    return one;
  }
  static MemoryFileSystem::Options disk(bool links) {
    MemoryFileSystem::Options options;
    options.links = links;
    return options;
  }
};

constexpr GmailLabels kLayouts[] = {GmailLabels::Mailboxes, GmailLabels::Primary};

TEST_CASE("gmail: each body comes once, and every label is right") {
  for (const auto layout : kLayouts)
    for (const bool links : {true, false}) {
      CAPTURE(static_cast<int>(layout));
      CAPTURE(links);
      Gmail scene(layout, links);
      scene.labels.fill();
      const auto report = scene.clean();
      CHECK(scene.imap.bodies == scene.labels.of.size());
      CHECK(report.sum.delivered == scene.labels.expected(layout).size());
      scene.check_whole();
      CHECK(scene.imap.bodies == scene.labels.of.size());
    }
}

TEST_CASE("gmail: without links there are more writes") {  // else the test above would not test them
  std::uint64_t effects[2] = {};
  for (const bool links : {true, false}) {
    Gmail scene(GmailLabels::Mailboxes, links);
    scene.labels.fill();
    scene.clean();
    effects[links ? 1 : 0] = scene.fs.effects();
  }
  CHECK(effects[1] < effects[0]);
}

TEST_CASE("gmail: labels that are added and taken off are followed without a download") {
  for (const auto layout : kLayouts) {
    CAPTURE(static_cast<int>(layout));
    Gmail scene(layout);
    scene.settings.policy.on_source_delete = sync::OnSourceDelete::Remove;
    scene.settings.policy.grace = 0;
    scene.labels.fill();
    scene.clean();
    const auto bodies = scene.imap.bodies;
    scene.labels.add("m2", "Work");        // beside INBOX
    scene.labels.take_off("m4", "INBOX");  // archived
    scene.labels.take_off("m6", "INBOX");  // INBOX and Work: Work is left
    scene.labels.take_off("m8", "INBOX");  // moved
    scene.labels.add("m8", "Home");
    for (int n = 0; n < 3; ++n) {
      scene.clock.now += 3600;
      scene.clean();
    }
    CHECK(scene.imap.bodies == bodies);
    scene.check_whole();
  }
}

TEST_CASE("gmail: a message that arrives later, with its labels, comes once") {
  for (const auto layout : kLayouts) {
    Gmail scene(layout);
    scene.labels.fill();
    scene.clean();
    const auto bodies = scene.imap.bodies;
    scene.labels.send("late", {"INBOX", "Work"});
    scene.labels.send("archived", {});
    scene.clean();
    CHECK(scene.imap.bodies == bodies + 2);
    scene.check_whole();
  }
}

TEST_CASE("gmail: where \\All is hidden each label's mailbox is collected, and still each body once") {
  Gmail scene;
  scene.labels.hide_all = true;
  scene.labels.fill();
  scene.clean();
  // What has no label cannot be seen; Starred shows some of them, and is not told from a label without \All.
  std::set<std::string> seen;
  for (const auto& one : scene.found()) seen.insert(one.substr(one.find(": ") + 2));
  for (const auto& [id, labels] : scene.labels.of)
    if (!labels.empty()) CHECK(seen.contains(id));
  CHECK(scene.imap.bodies == seen.size());
}

TEST_CASE("gmail: a body that fails in one label is asked for in another") {
  Gmail scene;
  scene.labels.send("a", {"INBOX", "Work"});
  scene.imap.answer = [&, usual = scene.imap.answer, selected = std::string()](const std::string& command) mutable {
    if (command.starts_with("EXAMINE ")) selected = command.substr(8);
    const bool refused =
        selected.find("INBOX") != std::string::npos && command.find(" BODY.PEEK[") != std::string::npos;
    return refused ? std::optional<std::string>("NO [SERVERBUG] not now") : usual(command);
  };
  auto ending = scene.run_process();
  REQUIRE(ending.report);
  std::string all;
  for (const auto& one : scene.found()) all += one + "; ";
  CHECK(all == "Work: a; ");
}

TEST_CASE("gmail: a day's allowance runs out between labels") {
  Gmail scene;
  scene.labels.fill();
  scene.settings.daily_octets = 600;
  for (int day = 0; day < 40; ++day) {
    auto ending = scene.run_process();
    REQUIRE(ending.report);
    if (ending.report->complete()) break;
    scene.clock.now += 86'401;
  }
  CHECK(scene.imap.bodies == scene.labels.of.size());
  scene.check_whole();
}

TEST_CASE("gmail: killed anywhere, nothing is lost and nothing doubled") {
  std::uint64_t points = 0;
  const bool whole = std::getenv("MAILHAUL_WHOLE") != nullptr;  // NOLINT(concurrency-mt-unsafe)
  for (const auto layout : kLayouts)
    for (int moment = 0; moment < 3; ++moment)
      for (std::uint64_t how = 0; how < 3; ++how)
        for (std::uint64_t n = 1 + (whole ? 0 : how);; n += whole ? 1 : 5, ++points) {
          CAPTURE(static_cast<int>(layout));
          CAPTURE(moment);
          CAPTURE(how);
          CAPTURE(n);
          Gmail scene(layout);
          scene.labels.send("a", {"INBOX", "Work"});
          scene.labels.send("b", {"Work", "Home"});
          scene.labels.send("c", {});
          scene.labels.send("d", {"INBOX", "Work", "Home"});
          if (moment == 0) scene.fs.die_at(scene.fs.effects() + n);
          if (moment != 0)
            scene.state.die_at_commit(
                n, moment == 2, [&] { scene.fs.die_at(scene.fs.effects() + 1, MemoryFileSystem::Death::Errors); });
          (void)scene.run_process();
          const bool reached = scene.fs.dead() || scene.state.dead();
          if (scene.state.dead()) scene.state.close();
          scene.state.die_at_commit(0, false, {});
          scene.fs.die_at(0);
          std::mt19937_64 luck(n);
          if (how == 0) scene.fs.restart();
          if (how == 1) scene.fs.crash();
          if (how == 2) scene.fs.crash(luck);
          scene.clean();
          scene.fs.crash();
          scene.clean();  // a crash may bring back what says that there is something to sweep
          scene.check_whole();
          if (!reached) break;
        }
  CHECK(points > 30);
}

TEST_CASE("gmail: a connection that ends instead of any answer costs nothing") {
  for (const auto layout : kLayouts)
    for (std::size_t n = 1;; ++n) {
      CAPTURE(static_cast<int>(layout));
      CAPTURE(n);
      Gmail scene(layout);
      scene.labels.send("a", {"INBOX", "Work"});
      scene.labels.send("b", {"Work", "Home"});
      scene.labels.send("c", {});
      scene.cut_at = n;
      (void)scene.run_process();
      const bool reached = scene.cut_at == 0;
      scene.cut_at = 0;
      scene.clean();
      CHECK(scene.imap.bodies == scene.labels.of.size());
      scene.check_whole();
      if (!reached) break;
    }
}

// Into an account: copies are read back from there and appended, each exactly once.
struct IntoAccount : AccountScene {
  IntoAccount() {
    source.mailboxes.clear();
    labels.emplace(source);
    settings.place = at_home;
    imap.capabilities = kCapabilities;
    imap.answer = [this](const std::string& command) -> std::optional<std::string> {
      if (command.starts_with("LIST")) return labels->listing();
      return std::nullopt;
    };
  }
  bool run_once() {
    try {
      auto destination = collector::ImapDestination::open(how(), book);
      if (!destination) return false;
      sync::RunContext context;
      context.connect = [this]() -> Result<std::unique_ptr<sync::Source>> {
        auto client = imap.connect();
        if (!client) return client.error();
        return std::unique_ptr<sync::Source>(std::make_unique<collector::ImapSource>(*std::move(client)));
      };
      context.wait = [this](std::chrono::milliseconds pause) { clock.now += pause.count() / 1000; };
      context.destination = destination->get();
      context.ledger = &state().ledger();
      context.clock = &clock;
      auto report = sync::run(settings, context);
      return report && report->complete() && report->error.empty();
    } catch (const Crash&) {
      return false;
    }
  }
  std::vector<std::string> found() {
    std::vector<std::string> out;
    for (const auto& [name, box] : account.mailboxes)
      for (const auto& m : box.messages) {
        const auto at = m.wire.find('<') + 1;
        const auto id = m.wire.substr(at, m.wire.find('@') - at);
        CHECK(m.wire == labels->wire[id]);
        CHECK(m.date == kDate);
        out.push_back(name + ": " + id);
      }
    std::ranges::sort(out);
    return out;
  }
  std::optional<Labels> labels;
  ImapModel imap{source};
};

TEST_CASE("gmail: into an IMAP account, each body once") {
  IntoAccount scene;
  scene.labels->fill();
  CHECK(scene.run_once());
  CHECK(scene.imap.bodies == scene.labels->of.size());
  CHECK(scene.found() == scene.labels->expected(GmailLabels::Mailboxes));
  const auto appends = scene.account.appends;
  CHECK(scene.run_once());
  CHECK(scene.account.appends == appends);
}

TEST_CASE("gmail: into an IMAP account whose answers are lost") {
  for (std::size_t n = 1; n < 30; ++n) {
    CAPTURE(n);
    IntoAccount scene;
    scene.labels->send("a", {"INBOX", "Work"});
    scene.labels->send("b", {"Work", "Home"});
    scene.labels->send("c", {});
    scene.account.on_append = [count = n](const std::string&, const std::string&) mutable {
      return --count == 0 ? std::string("store") : std::string();
    };
    bool complete = false;
    for (int run = 0; run < 4 && !complete; ++run) complete = scene.run_once();
    CHECK(complete);
    CHECK(scene.found() == scene.labels->expected(GmailLabels::Mailboxes));
    if (n > scene.account.appends + 1) break;
  }
}

}  // namespace
}  // namespace mailhaul::test
