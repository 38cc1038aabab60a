// Durability: a crash at every effect of a delivery, syncs that fail, and proof that these tests would notice a sync
// that is left out.
#include <cerrno>
#include <random>
#include <set>

#include "tests/store/maildir_fixture.h"

namespace mailhaul::store {
namespace {

using Death = test::MemoryFileSystem::Death;

// Passes everything on, except the one promise that it breaks.
class LyingFileSystem final : public FileSystem {
 public:
  enum class Lie { None, NoBarrier, NoFileSync, NoDirectorySync };
  LyingFileSystem(FileSystem& inner, Lie lie) : inner_(inner), lie_(lie) {}

  Result<HandlePtr> open_directory(const std::string& p) override { return inner_.open_directory(p); }
  Result<HandlePtr> open_directory(Handle& d, const std::string& n) override { return inner_.open_directory(d, n); }
  Done make_directory(Handle& d, const std::string& n, bool* c) override { return inner_.make_directory(d, n, c); }
  Done make_directories(const std::string& p) override { return inner_.make_directories(p); }
  Result<HandlePtr> create(Handle& d, const std::string& n) override { return inner_.create(d, n); }
  Result<HandlePtr> open_file(Handle& d, const std::string& n) override { return inner_.open_file(d, n); }
  Done write(Handle& f, std::string_view o) override { return inner_.write(f, o); }
  Done set_modified(Handle& f, std::int64_t s) override { return inner_.set_modified(f, s); }
  Done set_modified(Handle& d, const std::string& n, std::int64_t s) override { return inner_.set_modified(d, n, s); }
  Done sync(Handle& f) override { return lie_ == Lie::NoFileSync ? done() : inner_.sync(f); }
  Done sync_directory(Handle& d) override { return lie_ == Lie::NoDirectorySync ? done() : inner_.sync_directory(d); }
  Result<std::unique_ptr<Barrier>> open_barrier(Handle& d) override {
    auto barrier = inner_.open_barrier(d);
    if (lie_ != Lie::NoBarrier || !barrier || !*barrier) return barrier;
    struct Idle final : Barrier {
      Done sync() override { return done(); }
    };
    return std::unique_ptr<Barrier>(std::make_unique<Idle>());
  }
  Result<Renamed> rename_new(Handle& f, const std::string& o, Handle& t, const std::string& n) override {
    return inner_.rename_new(f, o, t, n);
  }
  Done replace(Handle& f, const std::string& o, Handle& t, const std::string& n) override {
    return inner_.replace(f, o, t, n);
  }
  Result<bool> remove(Handle& d, const std::string& n) override { return inner_.remove(d, n); }
  Done list(Handle& d, const std::function<void(const Entry&)>& visit) override { return inner_.list(d, visit); }
  Result<Stat> stat(Handle& h) override { return inner_.stat(h); }
  Result<std::optional<Stat>> stat(Handle& d, const std::string& n) override { return inner_.stat(d, n); }
  Result<bool> read(Handle& d, const std::string& n, const std::function<bool(std::string_view)>& visit) override {
    return inner_.read(d, n, visit);
  }
  Result<HandlePtr> try_lock(Handle& d, const std::string& n) override { return inner_.try_lock(d, n); }

 private:
  FileSystem& inner_;
  Lie lie_;
};

using Lie = LyingFileSystem::Lie;

std::vector<Letter> some_letters() {
  std::string bare = crlf_message("bare") + "a bare\nLF\r\n";
  return {{"a1", "", crlf_message("a1"), mail::FlagSet(8, {})},
          {"a2", "", crlf_message("a2", 8000), {}},  // more than one write
          {"b1", ".B", crlf_message("b1"), mail::FlagSet(0, {"$Junk", "mine"})},
          {"b2", ".B", bare, {}},
          {"c1", ".C.D", crlf_message("c1"), mail::FlagSet(4, {})}};
}

StoredForm form_of(const Letter& letter) { return letter.name == "b2" ? StoredForm::AsReceived : StoredForm::Lf; }

// The rules of the planner in short: what is there under its key is adopted, the rest is delivered. Gives which names
// were acknowledged, by either way.
std::set<std::string> collect(Maildir& maildir, const std::vector<Letter>& letters) {
  std::set<std::string> acknowledged;
  std::vector<Letter> missing;
  for (const auto& letter : letters) {
    if (!maildir.create(letter.mailbox)) return acknowledged;
    const std::vector<DeliveryKey> keys{key_of(letter.name)};
    auto found = maildir.look(letter.mailbox, keys);
    if (!found) return acknowledged;
    if (found->empty())
      missing.push_back(letter);
    else
      acknowledged.insert(letter.name);
  }
  auto delivered = deliver_all(maildir, missing);
  if (!delivered) return acknowledged;
  for (std::size_t i = 0; i < missing.size(); ++i)
    if (!(*delivered)[i].empty()) acknowledged.insert(missing[i].name);
  return acknowledged;
}

// Everything in cur/ is whole, nothing is there twice, everything acknowledged is there.
std::string complaint(Maildir& maildir, const std::vector<Letter>& letters, const std::set<std::string>& acknowledged) {
  std::map<DeliveryKey, int> copies;
  std::map<DeliveryKey, const Letter*> by_key;
  for (const auto& letter : letters) by_key[key_of(letter.name)] = &letter;
  for (const auto& mailbox : must(maildir.mailboxes())) {
    must(maildir.create(mailbox));  // half of it may be lost
    for (const auto& copy : copies_in(maildir, mailbox)) {
      ++copies[copy.name.key];
      const Letter& letter = *by_key.at(copy.name.key);
      if (letter.mailbox != mailbox) return letter.name + " is in the wrong mailbox";
      if (wire_of(maildir, mailbox, copy, form_of(letter)) != letter.wire) return letter.name + " is not whole";
    }
  }
  for (const auto& letter : letters) {
    const int n = copies[key_of(letter.name)];
    if (n > 1) return letter.name + " is there twice";
    if (n == 0 && acknowledged.contains(letter.name)) return letter.name + " was acknowledged and is lost";
  }
  return {};
}

struct Scenario {
  bool barrier = true;
  Lie lie = Lie::None;
  bool power_cut = true;           // otherwise only the process dies
  bool with_luck = false;          // otherwise everything that may be lost is lost
  std::uint64_t second_death = 0;  // effects after the restart; 0: none
};

// Collects, dies at effect `n`, recovers, perhaps dies again, collects to the end. True once `n` is past the end.
bool survive(const Scenario& scenario, std::uint64_t n, std::string& wrong) {
  const auto letters = some_letters();
  test::MemoryFileSystem memory({.barrier = scenario.barrier});
  LyingFileSystem fs(memory, scenario.lie);
  std::mt19937_64 luck(n * 7919 + scenario.second_death);
  std::set<std::string> acknowledged;
  bool finished = false;
  memory.die_at(n);
  try {
    auto maildir = Maildir::open(fs, "/m", quick_options());
    if (maildir) {
      acknowledged = collect(**maildir, letters);
      (*maildir)->close();
      finished = !memory.dead();
    }
  } catch (const test::Crash&) {  // NOLINT(bugprone-empty-catch): that is what is tested
  }
  const auto die = [&] {
    if (!scenario.power_cut)
      memory.restart();
    else if (scenario.with_luck)
      memory.crash(luck);
    else
      memory.crash();
  };
  die();
  if (scenario.second_death != 0) {
    memory.die_at(memory.effects() + scenario.second_death);
    try {
      auto maildir = Maildir::open(fs, "/m", quick_options());
      if (maildir) acknowledged.merge(collect(**maildir, letters));
    } catch (const test::Crash&) {  // NOLINT(bugprone-empty-catch): as above
    }
    // The power cut takes along what the process before it wrote and did not sync.
    memory.crash();
  }
  auto maildir = open_maildir(fs);
  wrong = complaint(*maildir, letters, acknowledged);
  if (!wrong.empty()) return finished;
  const auto all = collect(*maildir, letters);
  if (all.size() != letters.size()) wrong = "not everything could be delivered after the restart";
  if (wrong.empty()) wrong = complaint(*maildir, letters, all);
  if (wrong.empty() && count_ending(memory.files(), ".mailhaul") != 0 && n > 60) wrong = "leftovers in tmp/";
  return finished;
}

std::string first_complaint(Scenario scenario, std::uint64_t* deaths = nullptr) {
  for (std::uint64_t n = 1; n < 1000; ++n) {
    std::string wrong;
    const bool finished = survive(scenario, n, wrong);
    if (!wrong.empty()) return "death at effect " + std::to_string(n) + ": " + wrong;
    if (deaths != nullptr) *deaths = n;
    if (finished) return {};
  }
  return "it never ended";
}

TEST_CASE("a crash at every effect of a delivery: whole or absent, exactly one copy in the end") {
  for (const bool barrier : {true, false})
    for (const bool power_cut : {true, false}) {
      std::uint64_t deaths = 0;
      CHECK(first_complaint({.barrier = barrier, .power_cut = power_cut}, &deaths).empty());
      CHECK(deaths > 50);
    }
}

TEST_CASE("a crash at every effect, with luck: what was not synced survives by chance") {
  for (const bool barrier : {true, false}) CHECK(first_complaint({.barrier = barrier, .with_luck = true}).empty());
}

TEST_CASE("a kill at every effect, then a power cut at any effect of the run after it") {
  for (const bool barrier : {true, false})
    for (std::uint64_t second = 1; second < 90; second += 4) {
      const auto wrong = first_complaint({.barrier = barrier, .power_cut = false, .second_death = second});
      CHECK_MESSAGE(wrong.empty(), "second death " << second << ": " << wrong);
    }
}

TEST_CASE("these tests notice every sync that is left out") {
  CHECK_FALSE(first_complaint({.lie = Lie::NoBarrier}).empty());
  CHECK_FALSE(first_complaint({.barrier = false, .lie = Lie::NoFileSync}).empty());
  for (const bool barrier : {true, false})
    CHECK_FALSE(first_complaint({.barrier = barrier, .lie = Lie::NoDirectorySync}).empty());
}

TEST_CASE("an error at every effect: an error or the truth, and exactly one copy after trying again") {
  const auto letters = some_letters();
  for (const int error : {EIO, ENOSPC})
    for (const bool barrier : {true, false}) {
      bool past_the_end = false;
      for (std::uint64_t n = 1; !past_the_end; ++n) {
        CAPTURE(n);
        REQUIRE(n < 1000);
        test::MemoryFileSystem fs({.barrier = barrier});
        fs.fail_at(n, error);
        std::set<std::string> acknowledged;
        if (auto maildir = Maildir::open(fs, "/m", quick_options())) {
          acknowledged = collect(**maildir, letters);
          past_the_end = fs.effects() < n;
          acknowledged.merge(collect(**maildir, letters));  // the same process tries again
          CHECK(acknowledged.size() == letters.size());
          CHECK(complaint(**maildir, letters, acknowledged).empty());
        }
        fs.crash();
        auto maildir = open_maildir(fs);
        CHECK(complaint(*maildir, letters, acknowledged).empty());
        CHECK(collect(*maildir, letters).size() == letters.size());
      }
    }
}

TEST_CASE("a sync that fails voids its batch, leaves nothing behind, and is not repeated as a success") {
  for (const bool barrier : {true, false}) {
    test::MemoryFileSystem fs({.barrier = barrier});
    auto maildir = open_maildir(fs);
    must(maildir->create(".B"));
    auto incoming = must(maildir->receive(".B"));
    must(incoming.write(crlf_message("x")));
    if (!barrier) fs.fail_at(fs.effects() + 3, EIO);  // write, utimens, fsync
    must(incoming.finish(5));
    Batch batch;
    batch.emplace_back(".B", Delivery{std::move(incoming), key_of("m"), 5, {}});
    if (barrier) fs.fail_at(fs.effects() + 1, EIO);
    const auto failed = maildir->deliver(batch);
    REQUIRE_FALSE(failed);
    CHECK(failed.error().what.find("deliver") == 0);
    CHECK(count_ending(fs.files(), ".mailhaul") == 0);
    CHECK_FALSE(maildir->deliver(batch));  // the same batch again: fetch it again
    must(deliver_all(*maildir, {{"m", ".B", crlf_message("x"), {}}}));
    CHECK(copies_in(*maildir, ".B").size() == 1);
  }
}

TEST_CASE("a write-back error voids what was being received meanwhile, whoever is told of it") {
  const Letter early{"early", "", crlf_message("early"), {}};
  const Letter open_then{"open then", "", crlf_message("open then"), {}};
  const Letter late{"late", "", crlf_message("late"), {}};
  for (const bool told_before : {true, false}) {
    CAPTURE(told_before);
    test::MemoryFileSystem fs;
    auto maildir = open_maildir(fs);
    Batch first, second, third;
    first.emplace_back("", must(received(*maildir, early)));
    auto half = must(maildir->receive(""));
    must(half.write(open_then.wire.substr(0, 10)));
    if (told_before) {
      fs.fail_write_back();
      CHECK_FALSE(maildir->deliver(first));
    } else {
      must(maildir->deliver(first));
      fs.fail_write_back();  // hits the file of `half`, although nothing has been written to it yet
    }
    must(half.write(open_then.wire.substr(10)));
    must(half.finish(1));
    second.emplace_back("", Delivery{std::move(half), key_of(open_then.name), 1, {}});
    CHECK_FALSE(maildir->deliver(second));
    third.emplace_back("", must(received(*maildir, late)));
    must(maildir->deliver(third));
    CHECK(copies_in(*maildir, "").size() == (told_before ? 1 : 2));
  }
}

TEST_CASE("a batch of messages that began in different epochs is checked against the oldest") {
  test::MemoryFileSystem fs;
  auto maildir = open_maildir(fs);
  auto slow = must(maildir->receive(""));
  must(slow.write("Subject: slow\r\n"));
  must(deliver_all(*maildir, {{"one", "", crlf_message("x"), {}}}));  // the next epoch begins behind this
  fs.fail_write_back();
  auto quick = must(received(*maildir, {"quick", "", crlf_message("x"), {}}));
  must(slow.finish(1));
  Batch batch;
  batch.emplace_back("", std::move(quick));
  batch.emplace_back("", Delivery{std::move(slow), key_of("slow"), 1, {}});
  CHECK_FALSE(maildir->deliver(batch));
  CHECK(copies_in(*maildir, "").size() == 1);
}

TEST_CASE("the same key again: no second copy, whatever its flags, and the others are delivered") {
  test::MemoryFileSystem fs;
  auto maildir = open_maildir(fs);
  must(deliver_all(*maildir, {{"m", "", crlf_message("x"), mail::FlagSet(8, {})}}));
  for (const bool reopened : {false, true}) {
    if (reopened) {
      maildir.reset();
      maildir = open_maildir(fs);
    }
    const std::string other = reopened ? "o2" : "o1";
    const auto names = must(deliver_all(*maildir, {{"m", "", crlf_message("x"), mail::FlagSet(2, {})},
                                                   {other, "", crlf_message("x"), {}},
                                                   {other, "", crlf_message("x"), mail::FlagSet(1, {})}}));
    CHECK(names[0].empty());
    CHECK(names[1].ends_with(":2,"));
    CHECK(names[2].empty());
  }
  CHECK(copies_in(*maildir, "").size() == 3);
  CHECK(count_ending(fs.files(), ".mailhaul") == 0);
}

TEST_CASE("the order of a batch: a lock, keywords, data, names, directories") {
  test::MemoryFileSystem fs({.trace = true});
  auto maildir = open_maildir(fs);
  must(maildir->create(std::vector<std::string>{".A", ".B"}));
  Batch batch;
  for (const char* name : {"1", "2", "3"})
    batch.emplace_back(".A", must(received(*maildir, {name, ".A", crlf_message("x"), mail::FlagSet(0, {"k"})})));
  batch.emplace_back(".B", must(received(*maildir, {"4", ".B", crlf_message("x"), {}})));
  fs.clear_trace();
  must(maildir->deliver(batch));
  std::string order;
  for (const auto& line : fs.trace()) {
    if (line.starts_with("rename")) order += 'r';
    if (line == "barrier") order += 'B';
    if (line == "fsync directory") order += 'd';
    if (line == "fsync") order += 'f';
    if (line.starts_with("replace")) order += 'k';
  }
  CHECK(order == "rfkdBrrrrdd");

  // A message costs: create, write, utimens, rename.
  fs.clear_trace();
  batch.clear();
  for (int i = 10; i < 20; ++i)
    batch.emplace_back(".A", must(received(*maildir, {std::to_string(i), ".A", crlf_message("x"), {}})));
  must(maildir->deliver(batch));
  CHECK(fs.trace().size() == 10 * 4 + 2);
}

TEST_CASE("dates: of finish(), of deliver() when they differ, and none before 1970") {
  for (const bool barrier : {true, false}) {
    test::MemoryFileSystem fs({.barrier = barrier});
    auto maildir = open_maildir(fs);
    const std::vector<std::pair<std::optional<std::int64_t>, std::int64_t>> cases{
        {5, 5}, {5, 9}, {std::nullopt, 7}, {-3, -3}};
    for (const auto& [early, final] : cases) {
      auto incoming = must(maildir->receive(""));
      must(incoming.write("x"));
      must(incoming.finish(early));
      Batch batch;
      batch.emplace_back("", Delivery{std::move(incoming), key_of(std::to_string(final)), final, {}});
      const auto names = must(maildir->deliver(batch));
      auto cur = must(fs.open_directory("/m/cur"));
      CHECK(must(fs.stat(*cur, names[0]))->modified == std::max<std::int64_t>(final, 0));
      CHECK(names[0].starts_with(std::to_string(std::max<std::int64_t>(final, 0)) + ".K"));
    }
    fs.crash();
    maildir = open_maildir(fs);
    auto cur = must(fs.open_directory("/m/cur"));
    for (const auto& copy : copies_in(*maildir, ""))
      CHECK(must(fs.stat(*cur, copy.file))->modified == copy.name.seconds);
    CHECK(copies_in(*maildir, "").size() == 4);
  }
}

TEST_CASE("leftovers: a message that is dropped leaves nothing; a killed process's are swept, others' are not") {
  test::MemoryFileSystem fs;
  auto maildir = open_maildir(fs);
  must(maildir->create(".A"));
  {
    auto dropped = must(maildir->receive(".A"));
    must(dropped.write("x"));
  }
  CHECK(count_ending(fs.files(), ".mailhaul") == 0);
  auto alive = must(maildir->receive(".A"));
  must(alive.write("x"));
  must(alive.finish());
  fs.die_at(fs.effects() + 1, Death::Errors);
  static_cast<void>(maildir->create(".dies"));
  { auto gone = std::move(alive); }
  maildir.reset();
  fs.restart();
  CHECK(count_ending(fs.files(), ".mailhaul") == 1);
  {
    auto tmp = must(fs.open_directory("/m/.A/tmp"));
    for (const char* name : {"1700000000.M1P2.host", "0123456789abcdef.x.mailhaul", "0123456789abcdef.1.other"})
      must(fs.create(*tmp, name));
  }
  CHECK(fs.files().contains("/m/mailhaul/receiving"));
  maildir = open_maildir(fs);
  CHECK_FALSE(fs.files().contains("/m/.A/tmp/0123456789abcdef.1.mailhaul"));
  CHECK(count_ending(fs.files(), ".mailhaul") == 1);  // the one that only looks like ours
  CHECK(fs.files().contains("/m/.A/tmp/1700000000.M1P2.host"));
  maildir.reset();
  CHECK_FALSE(fs.files().contains("/m/mailhaul/receiving"));
  const auto before = fs.effects();
  maildir = open_maildir(fs);  // nothing to sweep: opening and closing changes nothing
  maildir.reset();
  CHECK(fs.effects() == before);
}

TEST_CASE("the marker of an unclean end is durable before the first file, and stays while something is owed") {
  test::MemoryFileSystem fs;
  auto maildir = open_maildir(fs);
  auto cut = must(maildir->receive(""));
  {
    auto tmp = must(fs.open_directory("/m/tmp"));
    must(fs.sync_directory(*tmp));  // the kernel may do so at any time
  }
  fs.crash();
  { auto gone = std::move(cut); }
  maildir.reset();
  CHECK(count_ending(fs.files(), ".mailhaul") == 1);
  maildir = open_maildir(fs);
  CHECK(count_ending(fs.files(), ".mailhaul") == 0);

  Batch batch;
  batch.emplace_back("", must(received(*maildir, {"m", "", crlf_message("x"), {}})));
  fs.fail_at(fs.effects() + 3, EIO);  // barrier, rename, fsync of the directory
  CHECK_FALSE(maildir->deliver(batch));
  CHECK(copies_in(*maildir, "").size() == 1);
  maildir.reset();
  CHECK(fs.files().contains("/m/mailhaul/receiving"));
  maildir = open_maildir(fs);
  fs.crash();  // the file was not acknowledged, but a process that saw it may have adopted it
  maildir.reset();
  maildir = open_maildir(fs);
  CHECK(copies_in(*maildir, "").size() == 1);
}

TEST_CASE("a full disk in memory: an error that says so, no leftovers, and on it goes") {
  test::MemoryFileSystem fs({.space = 100'000});
  auto maildir = open_maildir(fs);
  std::vector<Letter> letters;
  letters.reserve(10);
  for (int i = 0; i < 10; ++i) letters.push_back({"m" + std::to_string(i), "", crlf_message("x", 2000), {}});
  auto full = deliver_all(*maildir, letters);
  REQUIRE_FALSE(full);
  CHECK(full.error().retry == Retry::AfterUserAction);
  CHECK(full.error().scope == Scope::Service);
  CHECK(copies_in(*maildir, "").empty());
  CHECK(count_ending(fs.files(), ".mailhaul") == 0);
  must(deliver_all(*maildir, {letters[0], letters[1]}));
  CHECK(copies_in(*maildir, "").size() == 2);
}

}  // namespace
}  // namespace mailhaul::store
