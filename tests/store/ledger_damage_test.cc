// What a state file can meet: another process, a newer or older program, a full disk, damage, a directory that cannot
// be written, SIGKILL.
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <functional>
#include <random>

#include "tests/store/ledger_fixture.h"

namespace mailhaul::store {
namespace {

constexpr std::array kListed{MessageState::Listed};

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}
void write_file(const std::string& path, const std::string& octets) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << octets;
}

Error refusal(const std::string& path, const LedgerOptions& options = {}) {
  auto ledger = Ledger::open(path, options);
  REQUIRE_FALSE(ledger);
  CHECK(ledger.error().retry == Retry::AfterUserAction);
  CHECK(ledger.error().scope == Scope::Service);
  CHECK_FALSE(ledger.error().advice.empty());
  CHECK(ledger.error().what.find('\n') == std::string::npos);
  return ledger.error();
}
bool says(const Error& error, std::string_view text) {
  INFO(error.what);
  const bool found = error.what.find(text) != std::string::npos;
  CHECK(found);
  return found;
}

// Runs `work` in a child process and returns the text that it returns.
std::string in_child(const std::function<std::string()>& work) {
  std::array<int, 2> ends{};
  REQUIRE(::pipe(ends.data()) == 0);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    const std::string text = work();
    const auto written = ::write(ends[1], text.data(), text.size());
    ::_exit(written == static_cast<ssize_t>(text.size()) ? 0 : 1);
  }
  ::close(ends[1]);
  std::string text;
  std::array<char, 512> buffer{};
  for (ssize_t n = 0; (n = ::read(ends[0], buffer.data(), buffer.size())) > 0;)
    text.append(buffer.data(), static_cast<std::size_t>(n));
  ::close(ends[0]);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  return text;
}

// A state with `count` listed rows, closed again.
Home make_state(const std::string& path, std::uint32_t count) {
  auto ledger = opened(path);
  Home home = make_home(*ledger);
  auto t = good(ledger->begin());
  good(t.list(home.inbox.id, 1, uid_set({{1, count}})));
  good(t.commit());
  return home;
}

TEST_CASE("a second opener is refused at once, also by another name, and may come when the first has gone") {
  Scratch scratch;
  (void)make_state(scratch.state(), 1);
  std::filesystem::create_symlink(scratch.state(), scratch.path() + "/alias.db");
  {
    auto first = opened(scratch.state());
    says(refusal(scratch.state()), "another mailhaul is using the state " + scratch.state());
    says(refusal(scratch.path() + "/alias.db"), "another mailhaul is using");
    CHECK(in_child([&] {
            auto second = Ledger::open(scratch.state());
            return second ? std::string("opened") : second.error().what;
          }).find("another mailhaul is using") == 0);
  }
  CHECK(opened(scratch.path() + "/alias.db") != nullptr);
}

TEST_CASE("migrations: a fresh file gets all, an older file the missing ones, a newer file is refused") {
  using migrations::Migration;
  Scratch scratch;
  const auto all = migrations::all();
  const auto next = static_cast<int>(all.size()) + 1;
  std::vector<Migration> more(all.begin(), all.end());
  more.push_back({next, "9998_note", "ALTER TABLE run ADD COLUMN note TEXT; CREATE TABLE extra (x);"});
  auto broken = more;
  broken.push_back({next + 1, "9999_broken", "CREATE TABLE more (x); INSERT INTO nowhere VALUES (1);"});
  LedgerOptions options;

  options.migrations = all.first(1);
  CHECK(opened(scratch.state(), options) != nullptr);
  Home home;
  {
    auto ledger = opened(scratch.state());
    home = make_home(*ledger);
  }
  options.migrations = more;
  CHECK(reread(*opened(scratch.state(), options), home).raw_name == "INBOX");

  options.migrations = broken;  // stops in the middle of its last step: nothing of that step stays
  auto stopped = Ledger::open(scratch.state(), options);
  REQUIRE_FALSE(stopped);
  says(stopped.error(), "migration 9999_broken");
  options.migrations = more;
  CHECK(reread(*opened(scratch.state(), options), home).raw_name == "INBOX");

  options.migrations = all;
  says(refusal(scratch.state(), options), "its schema is version " + std::to_string(next) +
                                              ", this program knows versions up to " + std::to_string(next - 1));
}

TEST_CASE("the embedded migrations count 1, 2, 3") {
  int expected = 1;
  for (const auto& migration : migrations::all()) CHECK(migration.number == expected++);
  CHECK(expected > 1);
}

TEST_CASE("what is not a state of ours is refused and left as it is") {
  Scratch scratch;
  const std::string text = "a letter, not a state";
  write_file(scratch.state(), text);
  says(refusal(scratch.state()), "not a mailhaul state");
  CHECK(read_file(scratch.state()) == text);

  const std::string foreign = scratch.path() + "/foreign.db";
  {
    write_file(foreign, "");
    auto database = good(sqlite::Database::open(foreign, {}));
    good(database->execute("CREATE TABLE recipe (cake); PRAGMA journal_mode=DELETE"));
  }
  const std::string octets = read_file(foreign);
  says(refusal(foreign), "of another program");
  CHECK(read_file(foreign) == octets);
  CHECK(refusal(scratch.path()).what.find("not a regular file") != std::string::npos);  // a directory
  says(refusal(scratch.path() + "/none/state.db"), "No such file");
}

TEST_CASE("a truncated or garbled state is an error with advice, never a crash and never silently empty") {
  Scratch scratch;
  const Home home = make_state(scratch.state(), 20'000);
  const std::string whole = read_file(scratch.state());
  REQUIRE(whole.size() > 100'000);
  for (const std::size_t size : {std::size_t{1}, std::size_t{99}, std::size_t{100}, std::size_t{4096}, whole.size() / 2,
                                 whole.size() - 4096, whole.size() - 1}) {
    CAPTURE(size);
    write_file(scratch.state(), whole.substr(0, size));
    says(refusal(scratch.state()), "damaged");
  }
  // Emptied, while its log has something to say.
  write_file(scratch.state(), "");
  write_file(scratch.state() + "-wal", "something");
  says(refusal(scratch.state()), "damaged");
  std::filesystem::remove(scratch.state() + "-wal");

  std::mt19937 random(4711);
  int found = 0;
  for (int round = 0; round < 60; ++round) {
    std::string garbled = whole;
    for (std::size_t page = 4096 * (random() % (whole.size() / 4096)), i = 0; i < 4096; ++i)
      garbled[page + i] = static_cast<char>(random());
    write_file(scratch.state(), garbled);
    auto ledger = Ledger::open(scratch.state());
    const Done result = ledger ? (*ledger)->check() : Done(ledger.error());
    if (result) continue;
    CHECK(result.error().retry == Retry::AfterUserAction);
    CHECK_FALSE(result.error().advice.empty());
    ++found;
  }
  CHECK(found == 60);
  write_file(scratch.state(), whole);
  CHECK(good(opened(scratch.state())->uids(home.inbox.id, 1, kListed)).size() == 20'000);
}

TEST_CASE("a directory or a file that cannot be written is a clear error") {
  Scratch scratch;
  (void)make_state(scratch.state(), 1);
  REQUIRE(::chmod(scratch.path().c_str(), 0555) == 0);
  const auto tried = [&](const std::string& path) {
    return in_child([&]() -> std::string {
      if (::geteuid() == 0 && ::setresuid(65534, 65534, 65534) != 0) return "cannot become nobody";
      auto ledger = Ledger::open(path);
      return ledger ? std::string("opened") : ledger.error().what + "|" + ledger.error().advice;
    });
  };
  CHECK(tried(scratch.state()).find("Permission denied|The state file and its directory") != std::string::npos);
  CHECK(tried(scratch.path() + "/new.db").find("Permission denied|") != std::string::npos);
  REQUIRE(::chmod(scratch.path().c_str(), 0777) == 0);
  REQUIRE(::chmod((scratch.state() + ".lock").c_str(), 0666) == 0);
  REQUIRE(::chmod(scratch.state().c_str(), 0444) == 0);
  CHECK(tried(scratch.state()).find("cannot be written") != std::string::npos);
}

TEST_CASE("a full disk voids the transaction and nothing else, and work goes on when there is room") {
  Scratch scratch;
  const Home home = make_state(scratch.state(), 1000);
  LedgerOptions small;
  small.max_pages = 60;
  {
    auto ledger = opened(scratch.state(), small);
    auto t = good(ledger->begin());
    const auto full = t.list(home.inbox.id, 1, uid_set({{1, 200'000}}));
    REQUIRE_FALSE(full);
    CHECK(full.error().retry == Retry::AfterUserAction);
    CHECK(full.error().scope == Scope::Service);
    says(full.error(), "the disk is full");
    CHECK_FALSE(full.error().advice.empty());
    CHECK_FALSE(t.commit());
    auto u = good(ledger->begin());  // what fits, fits
    good(u.list(home.inbox.id, 1, uid_set({{1001, 1100}})));
    good(u.commit());
    CHECK(good(ledger->uids(home.inbox.id, 1, kListed)).wire() == "1:1100");
    good(ledger->check());
  }
  auto ledger = opened(scratch.state());
  auto t = good(ledger->begin());
  good(t.list(home.inbox.id, 1, uid_set({{1, 200'000}})));
  good(t.commit());
  good(ledger->check());
}

// On a real file system of 2 MiB, in a mount namespace of its own.
std::string fill_tmpfs(const std::string& path) {
  if (::unshare(CLONE_NEWNS) != 0 || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
      ::mount("tmpfs", path.c_str(), "tmpfs", 0, "size=2m") != 0)
    return "skipped";
  const std::string state = path + "/state.db";
  const Home home = make_state(state, 1000);
  const std::string ballast = path + "/ballast";
  {
    auto ledger = opened(state);
    for (int round = 0; round < 2; ++round) {
      std::ofstream(ballast, std::ios::binary) << std::string(round == 0 ? 1'000'000 : 4'000'000, 'x');
      auto t = good(ledger->begin());
      auto result = t.list(home.inbox.id, 1, uid_set({{1, 200'000}}));
      if (result) result = t.commit();
      if (result) return "200,000 rows fitted";
      if (result.error().what.find("the disk is full") == std::string::npos) return result.error().what;
    }
    if (good(ledger->uids(home.inbox.id, 1, kListed)).size() != 1000) return "rows of a failed transaction are seen";
    std::filesystem::remove(ballast);
    auto t = good(ledger->begin());
    good(t.list(home.inbox.id, 1, uid_set({{1001, 2000}})));
    good(t.commit());
  }
  auto ledger = opened(state);
  if (auto same = ledger->check(); !same) return same.error().what;
  return good(ledger->uids(home.inbox.id, 1, kListed)).wire();
}

TEST_CASE("a disk that is really full") {
  Scratch scratch;
  const std::string outcome = in_child([&] { return fill_tmpfs(scratch.path()); });
  if (outcome == "skipped") {
    MESSAGE("SKIPPED: mounting a small tmpfs needs root");
    return;
  }
  CHECK(outcome == "1:2000");
}

// Commits batch after batch and tells each on `told`, until it is killed. At `own_death` operations (0: never) it
// kills itself in the middle of a transaction.
[[noreturn]] void write_until_killed(const std::string& path, const Home& home, int told, std::uint32_t own_death) {
  auto ledger = Ledger::open(path);
  if (!ledger) ::_exit(1);
  auto boxes = (*ledger)->mailboxes(home.account.id);
  if (!boxes) ::_exit(2);
  MailboxRow box = boxes->front();
  const auto step = [&] {
    if (own_death != 0 && --own_death == 0) ::raise(SIGKILL);
  };
  for (;;) {
    auto t = (*ledger)->begin();
    if (!t) ::_exit(3);
    step();
    const std::uint32_t first = box.floor.value;
    std::vector<Ledger::Transaction::Settled> batch;
    for (std::uint32_t uid = first; uid < first + 50; ++uid) {
      batch.push_back({{}, "", key_of(uid)});
      batch.back().row.uid = mail::Uid{uid};
    }
    if (!t->list(box.id, 1, uid_set({{first, first + 99}}))) ::_exit(4);
    step();
    if (!t->settle(box.id, 1, batch)) ::_exit(5);
    step();
    box.floor = mail::Uid{first + 100};
    if (!t->update_mailbox(box)) ::_exit(6);
    step();
    if (!t->commit()) ::_exit(7);
    if (::write(told, &box.floor.value, sizeof box.floor.value) != sizeof box.floor.value) ::_exit(8);
    step();
  }
}

// Kills a writer after about so much work; the highest floor that it told as committed.
std::uint32_t killed_writer(const std::string& path, const Home& home, std::mt19937& random) {
  std::array<int, 2> ends{};
  REQUIRE(::pipe(ends.data()) == 0);
  const bool alone = random() % 2 == 0;
  const auto own_death = static_cast<std::uint32_t>(alone ? 1 + random() % 20 : 0);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    ::close(ends[0]);
    write_until_killed(path, home, ends[1], own_death);
  }
  ::close(ends[1]);
  std::uint32_t told = 0;
  std::uint32_t floor = 0;
  for (auto left = alone ? UINT32_MAX : random() % 8; left > 0; --left)
    if (::read(ends[0], &floor, sizeof floor) == sizeof floor)
      told = floor;
    else
      break;
  if (!alone) {  // somewhere in the transaction that follows
    const auto until = std::chrono::steady_clock::now() + std::chrono::microseconds(random() % 3000);
    while (std::chrono::steady_clock::now() < until) continue;
    ::kill(child, SIGKILL);
  }
  while (::read(ends[0], &floor, sizeof floor) == sizeof floor) told = floor;
  ::close(ends[0]);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFSIGNALED(status));
  CHECK(WTERMSIG(status) == SIGKILL);
  return told;
}

TEST_CASE("killed at any point: what was told as committed is there, and nothing is there by halves") {
  Scratch scratch;
  const Home home = make_state(scratch.state(), 0);
  std::mt19937 random(99);
  std::uint32_t last = 1;
  for (int round = 0; round < 40; ++round) {
    CAPTURE(round);
    const std::uint32_t told = killed_writer(scratch.state(), home, random);
    auto ledger = opened(scratch.state());
    good(ledger->check());
    const auto box = reread(*ledger, home);
    const std::uint32_t floor = box.floor.value;
    CHECK(floor >= std::max(told, last));
    CHECK(floor <= std::max(told, last) + 100);  // at most the one whose telling was cut off
    const std::uint64_t batches = (floor - 1) / 100;
    CHECK(box.tally.of(MessageState::Listed) == batches * 50);
    CHECK(box.tally.of(MessageState::Delivered) == batches * 50);
    CHECK(good(ledger->placements(box.id, 1, mail::Uid{0}, mail::Uid{UINT32_MAX})).size() == batches * 50);
    last = floor;
  }
  CHECK(last > 1);
}

}  // namespace
}  // namespace mailhaul::store
