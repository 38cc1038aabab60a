#include "tests/sync/stage.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>

#include "protocols/mail/mailbox_name.h"
#include "tests/support/loopback.h"

namespace mailhaul::test {

using store::MessageState;

// The line to the model, which breaks where the fault says so.
class Stage::Cutting final : public net::Transport {
 public:
  Cutting(Stage& stage, std::unique_ptr<net::Transport> inner) : stage_(stage), inner_(std::move(inner)) {}
  Result<net::Moved> move(std::string_view out, std::span<char> in, std::chrono::milliseconds idle) override {
    if (broken_ || stage_.fs.dead() || stage_.state.dead()) return ModelServer::connection_lost();
    auto moved = inner_->move(out, in, idle);
    if (!moved || !stage_.armed_) return moved;
    for (std::size_t i = 0; i < moved->received; ++i) {
      ++stage_.octets_;
      stage_.lines_ += in[i] == '\n' ? 1 : 0;
      const bool line = stage_.fault_.kind == Fault::Kind::CutAfterLine && in[i] == '\n';
      const auto at = line ? stage_.lines_ : stage_.octets_;
      if (stage_.struck_ || (!line && stage_.fault_.kind != Fault::Kind::CutAfterOctet) || at != stage_.fault_.at)
        continue;
      moved->received = i + 1;
      broken_ = stage_.struck_ = true;
    }
    return moved;
  }
  [[nodiscard]] std::string security() const override { return "memory"; }

 private:
  Stage& stage_;
  std::unique_ptr<net::Transport> inner_;
  bool broken_ = false;
};

// The model behind a listening socket.
class Stage::Listening {
 public:
  explicit Listening(ImapModel& model) : loopback_([&](Stream& stream, std::size_t) { serve(model, stream); }) {}
  [[nodiscard]] std::uint16_t port() const { return loopback_.port(); }
  void called() { ++calls_; }
  // Everybody who has called has been served: what the story says of the model now and what the server has done of it
  // do not meet.
  void settle() {
    std::unique_lock lock(mutex_);
    REQUIRE(served_changed_.wait_for(lock, std::chrono::seconds(60), [&] { return served_ == calls_; }));
  }

 private:
  void serve(ImapModel& model, Stream& stream) {
    talk(model, stream);
    const std::lock_guard lock(mutex_);
    ++served_;
    served_changed_.notify_all();
  }
  void talk(ImapModel& model, Stream& stream) {
    std::unique_ptr<net::Transport> line;
    std::string heard, room(1 << 16, '\0');
    for (bool open = true; open;) {
      std::string out;
      {
        const std::lock_guard lock(mutex_);  // the model is single-threaded
        if (!line) line = model.transport();
        for (std::string_view rest = heard; open;) {
          const auto moved = line->move(rest, std::span<char>(room.data(), room.size()), {});
          if (!moved) {
            open = moved.error().what.find("timed out") != std::string::npos;
            break;
          }
          rest.remove_prefix(moved->sent);
          out.append(room.data(), moved->received);
        }
        if (!open) line.reset();
      }
      if (!out.empty() && !stream.write(out)) break;
      heard.clear();
      if (open && !stream.read(heard)) break;
    }
    if (line) {
      const std::lock_guard lock(mutex_);
      line.reset();
    }
  }
  std::mutex mutex_;
  std::condition_variable served_changed_;
  std::uint64_t served_ = 0;
  std::atomic<std::uint64_t> calls_{0};
  Loopback loopback_;
};

StateFile& Stage::file() {
  static StateFile one;
  return one;
}

Stage::Stage(Fault fault, Wire wire) : Machine(1, file(), {}), imap(server), fault_(fault) {
  options.idle = std::chrono::seconds(20);
  options.manners = std::make_shared<client::Manners>();
  state.lose();
  (void)fs.make_directories("/home");
  inbox = &server.mailboxes.emplace_back();
  inbox->name = "INBOX";
  if (wire == Wire::Socket) socket_ = std::make_unique<Listening>(imap);
  connect = [this]() -> Result<std::unique_ptr<sync::Source>> {
    auto client = connection();
    if (!client) return client.error();
    return std::unique_ptr<sync::Source>(std::make_unique<collector::ImapSource>(*std::move(client), about));
  };
}

Stage::~Stage() { state.die_at_commit(0, false, {}); }

Result<std::unique_ptr<client::ImapClient>> Stage::connection() {
  if (!socket_) return imap.connect(std::make_unique<Cutting>(*this, imap.transport()), options);
  socket_->called();
  return client::ImapClient::connect(
      {{"127.0.0.1", socket_->port()}, client::Security::Cleartext, "me@example.org", Secret("hunter2")}, options, {});
}

ModelMailbox& Stage::mailbox(const std::string& name, int messages) {
  auto& box = server.mailboxes.emplace_back();
  box.name = name;
  deliver(box, messages);
  return box;
}

std::string Stage::letter(const std::string& body, const std::string& id) {
  const auto number = std::to_string(++delivered_);
  return "Message-ID: <" + (id.empty() ? number : id) + "@example.org>\r\nSubject: " + number + "\r\n\r\n" +
         (body.empty() ? "body of " + number + "\r\n" : body);
}

void Stage::deliver(ModelMailbox& box, int n) {
  for (int i = 0; i < n; ++i) {
    auto wire = letter();
    box.deliver(std::move(wire), {}, 1'700'000'000 + delivered_);
  }
}

void Stage::expunge(ModelMailbox& box, std::uint32_t uid) {
  const auto* message = box.find(mail::Uid{uid});
  REQUIRE(message);
  const auto now = census();
  const bool collected = std::ranges::any_of(now.rows, [&](const CensusRow& row) {
    return row.current && row.mailbox == box.name && row.row.uid.value == uid &&
           row.row.state == MessageState::Delivered;
  });
  (collected ? kept_ : maybe_).push_back(message->wire);
  box.expunge(mail::Uid{uid});
}

void Stage::arm() {
  if (std::exchange(armed_, true)) return;
  first_commit_ = state.commits();
  first_effect_ = fs.effects();
  if (fault_.kind == Fault::Kind::DieAtEffect) {
    fs.die_at(first_effect_ + fault_.at);
    state.refuse_while([this] { return fs.dead(); });
  }
  if (fault_.kind == Fault::Kind::DieBeforeCommit || fault_.kind == Fault::Kind::DieAfterCommit)
    state.die_at_commit(fault_.at, fault_.kind == Fault::Kind::DieAfterCommit,
                        [this] { fs.die_at(fs.effects() + 1, MemoryFileSystem::Death::Errors); });
}

bool Stage::recover(const Ending& ending) {
  if (!ending.crashed && !fs.dead() && !state.dead()) return false;
  struck_ = true;
  state.close();
  state.die_at_commit(0, false, {});
  fs.die_at(0);
  std::mt19937_64 luck(fault_.memory + fault_.at);
  if (fault_.memory == 0) fs.restart();
  if (fault_.memory == 1) fs.crash();
  if (fault_.memory >= 2) fs.crash(luck);
  return true;
}

void Stage::settle() {
  if (socket_) socket_->settle();
}

Ending Stage::attempt() {
  arm();
  for (;;) {
    const bool before = struck_;
    settle();
    auto ending = run_process();
    settle();
    recover(ending);
    if (struck_ == before) return ending;
  }
}

sync::Report Stage::run() {
  auto ending = attempt();
  REQUIRE_MESSAGE(ending.report, ending.error);
  return *ending.report;
}

Moments Stage::moments() const {
  return {lines_, octets_, fs.effects() - first_effect_, state.commits() - first_commit_};
}

std::string Stage::row_states() {
  std::map<std::string, int> states;
  for (const auto& row : census().rows)
    if (row.current && row.mailbox == "INBOX") ++states[std::string(store::to_text(row.row.state))];
  std::string out;
  for (const auto& [name, n] : states) out += (out.empty() ? "" : ", ") + std::to_string(n) + " " + name;
  return out;
}

mail::FlagSet Stage::flags_of(std::uint32_t uid) {
  const auto now = census();
  for (const auto& row : now.rows)
    if (row.current && row.mailbox == "INBOX" && row.row.uid.value == uid && !row.copies.empty())
      for (const auto& file : now.files)
        if (file.key == store::to_text(row.copies[0].key)) return file.flags;
  FAIL("no copy of UID " << uid);
  return {};
}

void Stage::owner_sets(std::uint32_t uid, const std::string& letters) {
  const auto now = census();
  for (const auto& row : now.rows)
    for (const auto& file : now.files) {
      if (!row.current || row.mailbox != "INBOX" || row.row.uid.value != uid || row.copies.empty()) continue;
      if (file.key != store::to_text(row.copies[0].key)) continue;
      auto directory =
          fs.open_directory(kRoot + "/" + (file.directory.empty() ? "" : file.directory + "/") + file.part);
      REQUIRE(directory);
      const auto name = file.name.substr(0, file.name.rfind(":2,")) + ":2," + letters;
      try {
        const auto renamed = fs.rename_new(**directory, file.name, **directory, name);
        const auto synced = fs.sync_directory(**directory);
        REQUIRE((renamed && synced));
      } catch (const Crash&) {  // the machine fails while its owner works
        recover({true, {}, {}});
        owner_sets(uid, letters);
      }
      return;
    }
  FAIL("no copy of UID " << uid);
}

// --- the oracle ---

// CHECK_MESSAGE that costs nothing where all is well: the sweeps ask millions of times.
#define HOLDS(condition, ...) \
  if (!(condition)) FAIL_CHECK(#condition << ": " << __VA_ARGS__)

std::vector<std::string> Stage::expected() const {
  auto out = kept_;
  for (const auto& box : server.mailboxes)
    for (const auto& message : box.messages)
      if (box.selectable && !never_.contains({box.name, message.uid.value})) out.push_back(message.wire);
  std::ranges::sort(out);
  return out;
}

// Every message lies there once, to the octet; nothing else does. Not `all`: some are still on their way.
std::vector<std::string> Stage::check_copies(const Census& now, bool all) {
  std::map<std::string, store::StoredForm> forms;
  for (const auto& row : now.rows)
    for (const auto& copy : row.copies) forms[store::to_text(copy.key)] = row.row.form;
  std::vector<std::string> got, missing, unexpected;
  for (const auto& one : now.files) {
    HOLDS(forms.contains(one.key), "a file without a row: " << one.name);
    got.push_back(wire_of(one.content, forms[one.key]));
    HOLDS(one.disk == one.content.size(), one.name);
  }
  std::ranges::sort(got);
  auto wanted = expected();
  auto due = all ? wanted : kept_;
  std::ranges::sort(due);
  std::ranges::set_difference(due, got, std::back_inserter(missing));
  std::ranges::set_difference(got, wanted, std::back_inserter(unexpected));
  for (const auto& wire : maybe_)
    if (const auto it = std::ranges::find(unexpected, wire); it != unexpected.end()) unexpected.erase(it);
  broken = broken || !missing.empty() || !unexpected.empty();
  CHECK_MESSAGE(missing.empty(), missing.size() << " lost, such as: " << missing.front().substr(0, 200));
  CHECK_MESSAGE(unexpected.empty(), unexpected.size()
                                        << " twice or wrong, such as: " << unexpected.front().substr(0, 200));
  return got;
}

// What the ledger says is so.
void Stage::check_rows(const Census& now, const sync::Report& report) {
  CHECK(now.trouble.empty());
  CHECK(state.ledger().check());
  std::map<std::string, const CensusFile*> files;
  for (const auto& one : now.files) HOLDS(files.emplace(one.key, &one).second, "twice: " << one.name);
  std::set<std::pair<std::string, std::uint32_t>> known;
  for (const auto& row : now.rows) {
    if (row.row.state == MessageState::Delivered && row.current) {
      HOLDS(row.row.sha256, row.mailbox);
      HOLDS(row.copies.size() == 1, row.mailbox << " " << row.row.uid.value);
      if (row.copies.empty()) continue;
    }
    if (!row.current) continue;
    known.emplace(row.mailbox, row.row.uid.value);
    auto* box = server.find(row.mailbox);
    const auto* message = box ? box->find(row.row.uid) : nullptr;
    if (!message || row.row.state != MessageState::Delivered) continue;
    HOLDS(row.row.octets == message->wire.size(), row.row.uid.value);
    const auto it = files.find(store::to_text(row.copies[0].key));
    if (it == files.end()) continue;
    if (!imap.date_as.contains(message->uid.value))
      HOLDS(it->second->modified == message->date, it->second->modified << " of " << row.row.uid.value);
    if (!owner_has_a_say) {
      HOLDS(it->second->flags == message->flags, row.mailbox << " " << row.row.uid.value << ": "
                                                             << it->second->flags.wire() << " is not "
                                                             << message->flags.wire());
      HOLDS(row.row.base == message->flags, row.row.uid.value);
      HOLDS(!row.row.next_base, row.row.uid.value);
    }
  }
  for (const auto& row : now.mailboxes)  // I3: what is below the floor has a row
    if (const auto* box = server.find(row.raw_name); box && box->selectable)
      for (const auto& message : box->messages)
        if (message.uid < row.floor)
          HOLDS(known.contains({row.raw_name, message.uid.value}), row.raw_name << " " << message.uid.value);
  for (const auto& box : report.mailboxes) CHECK_MESSAGE(box.sums_up(), box.name);  // I4
}

// Whatever is not delivered is named, or counted with a reason.
void Stage::check_report(const Census& now, const sync::Report& report) {
  for (const auto& one : never_) {
    const auto shown = mail::display_name(one.first);
    const auto uid = one.second;
    const bool named = std::ranges::any_of(report.failures, [&](const sync::Failure& failure) {
      return failure.uid == uid && failure.mailbox == shown && !failure.reason.empty();
    });
    const bool box_named = std::ranges::any_of(report.mailboxes, [&](const sync::MailboxReport& box) {
      return box.name == shown && (!box.error.empty() || box.count.excluded > 0);
    });
    HOLDS(named || box_named || !report.error.empty(), "nobody speaks of " << shown << " " << uid);
  }
  std::uint64_t there = 0;
  for (const auto& row : now.rows)
    there += row.current && server.find(row.mailbox) != nullptr &&
                     (row.row.state == MessageState::Delivered || row.row.state == MessageState::Vanished)
                 ? 1
                 : 0;
  CHECK(report.sum.delivered + report.sum.already + report.sum.gone >= there);
  CHECK(report.complete() == never_.empty());
}

// Nothing was ever asked that changes a source, or that marks a message as read.
void Stage::check_source() {
  for (const auto& line : imap.lines) {
    const auto is = [&](std::string_view verb) { return line.starts_with(verb); };
    const bool changes = is("STORE") || is("UID STORE") || is("EXPUNGE") || is("UID EXPUNGE") || is("CLOSE") ||
                         is("UID MOVE") || is("UID COPY") || is("APPEND") || is("DELETE") || is("RENAME") ||
                         is("CREATE");
    HOLDS(!changes, line);
    HOLDS(line.find("BODY[") == std::string::npos, line);
    HOLDS(!is("FETCH"), line);
    HOLDS(line.size() < 8500, line.size());
  }
}

void Stage::verify() {
  auto report = run();
  armed_ = false;
  auto now = census();
  (void)check_copies(now, true);
  check_rows(now, report);
  check_report(now, report);
  const auto bodies = imap.bodies;
  const auto effects = fs.effects();
  report = run();
  if (!restless) {
    CHECK(report.sum.delivered == 0);
    CHECK(imap.bodies == bodies);
    CHECK(fs.effects() == effects);
  }
  check_source();
}

void Stage::disturb(Fault fault) {
  fault_ = fault;
  armed_ = struck_ = false;
  lines_ = octets_ = 0;
  fs.die_at(0);
  state.die_at_commit(0, false, {});
}

std::set<std::string> Stage::check_no_more_than_expected() {
  const auto got = check_copies(census(), false);
  return {got.begin(), got.end()};
}

std::vector<std::string> Stage::owner_throws_away_kept() {
  disturb({});
  const auto now = census();
  std::map<std::string, store::StoredForm> forms;
  for (const auto& row : now.rows)
    for (const auto& copy : row.copies) forms[store::to_text(copy.key)] = row.row.form;
  auto kept = std::exchange(kept_, {});
  std::multiset<std::string> left(kept.begin(), kept.end());
  for (const auto& box : server.mailboxes)
    for (const auto& message : box.messages)
      if (left.contains(message.wire)) left.erase(message.wire), kept_.push_back(message.wire);
  for (const auto& one : now.files) {
    const auto it = left.find(wire_of(one.content, forms[one.key]));
    if (it == left.end()) continue;
    left.erase(it);
    auto directory = fs.open_directory(kRoot + "/" + (one.directory.empty() ? "" : one.directory + "/") + one.part);
    REQUIRE(directory);
    REQUIRE(fs.remove(**directory, one.name));
    REQUIRE(fs.sync_directory(**directory));
  }
  CHECK(left.empty());
  return kept;
}

std::string Story::number() const {
  const std::string text = name;
  return text.substr(0, text.find(' '));
}

std::vector<Story>& stories() {
  static std::vector<Story> all;
  return all;
}

void tell(void (*play)(Stage&)) {
  for (const auto wire : {Stage::Wire::Memory, Stage::Wire::Socket}) {
    const auto* name = wire == Stage::Wire::Memory ? "in memory" : "over a socket";
    CAPTURE(name);
    Stage stage({}, wire);
    play(stage);
    stage.verify();
  }
}

Moments tell(const Story& story, Fault fault) {
  Stage stage(fault);
  story.play(stage);
  const auto moments = stage.moments();
  stage.verify();
  return moments;
}

}  // namespace mailhaul::test
