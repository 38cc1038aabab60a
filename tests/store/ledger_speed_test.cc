// How fast and how large: the figures are printed, what is asserted does not depend on the machine's speed.
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "tests/store/ledger_fixture.h"

namespace mailhaul::store {
namespace {

constexpr std::array kPending{MessageState::Listed, MessageState::Failed};

#if defined(__has_feature)
#define MAILHAUL_HAS(feature) __has_feature(feature)
#else
#define MAILHAUL_HAS(feature) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || MAILHAUL_HAS(address_sanitizer) || \
    MAILHAUL_HAS(thread_sanitizer)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif
constexpr std::uint32_t kRows = kSanitized ? 20'000 : 200'000;

struct Time {
  double wall = 0, cpu = 0;  // seconds; cpu of this thread: what a busy machine leaves comparable
  Time& operator+=(const Time& other) {
    wall += other.wall;
    cpu += other.cpu;
    return *this;
  }
};

class Watch {
 public:
  Time lap() {
    const Time now = read();
    const Time passed{now.wall - start_.wall, now.cpu - start_.cpu};
    start_ = now;
    return passed;
  }

 private:
  static double seconds(clockid_t clock) {
    timespec t{};
    ::clock_gettime(clock, &t);
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
  }
  static Time read() { return {seconds(CLOCK_MONOTONIC), seconds(CLOCK_THREAD_CPUTIME_ID)}; }
  Time start_ = read();
};

void print(const char* what, Time time, std::uint32_t rows) {
  std::printf("  %-40s %8.1f ms, %8.1f ms of CPU", what, time.wall * 1e3, time.cpu * 1e3);
  if (rows > 0) std::printf(", %5.0f k rows/s (CPU: %5.0f)", rows / time.wall / 1e3, rows / time.cpu / 1e3);
  std::printf("\n");
}

MessageRow delivered_row(std::uint32_t uid) {
  MessageRow row;
  row.uid = mail::Uid{uid};
  row.base = mail::FlagSet(8, {});
  row.octets = 4000 + uid % 5000;
  row.internal_date = 1'700'000'000 + uid;
  row.sha256.emplace().fill(static_cast<std::uint8_t>(uid));
  row.header_digest.fill(static_cast<std::uint8_t>(uid * 7));
  row.message_id = "<20231114." + std::to_string(uid) + ".abcdef@mail.example.org>";
  return row;
}

struct Spent {
  Time inside;  // in settle()
  Time whole;   // with begin and commit
};
Spent settle_all(Ledger& ledger, MailboxId mailbox, std::uint32_t rows, std::uint32_t batch_size) {
  Spent spent;
  std::vector<Ledger::Transaction::Settled> batch;
  for (std::uint32_t uid = 1; uid <= rows;) {
    batch.clear();
    for (; uid <= rows && batch.size() < batch_size; ++uid)
      batch.push_back({delivered_row(uid), ".Gro&AN8-", key_of(uid)});
    Watch whole;
    auto t = good(ledger.begin());
    Watch inside;
    good(t.settle(mailbox, 1, batch));
    spent.inside += inside.lap();
    good(t.commit());
    spent.whole += whole.lap();
  }
  return spent;
}

void collect(const std::string& path, std::uint32_t rows, bool loud) {
  auto ledger = opened(path);
  const Home home = make_home(*ledger);
  Watch watch;
  {
    auto t = good(ledger->begin());
    watch.lap();
    good(t.list(home.inbox.id, 1, uid_set({{1, rows}})));
    if (loud) print("list, in the transaction", watch.lap(), rows);
    watch.lap();
    good(t.commit());
    if (loud) print("its commit", watch.lap(), 0);
  }
  const Spent spent = settle_all(*ledger, home.inbox.id, rows, 2000);
  if (loud) print("settle by 2,000, in the transactions", spent.inside, rows);
  if (loud) print("with their begins and commits", spent.whole, rows);
  watch.lap();
  const std::array delivered{MessageState::Delivered};
  CHECK(good(ledger->uids(home.inbox.id, 1, delivered)).size() == rows);
  if (loud) print("uids delivered", watch.lap(), rows);
  watch.lap();
  CHECK(good(ledger->uids(home.inbox.id, 1, kPending)).empty());
  if (loud) print("uids pending (there are none)", watch.lap(), 0);
  watch.lap();
  std::uint32_t seen = 0;
  for (mail::Uid next{1}; seen < rows;) {
    const auto window = good(ledger->messages(home.inbox.id, 1, next, mail::Uid{UINT32_MAX}, 2000));
    REQUIRE_FALSE(window.empty());
    seen += static_cast<std::uint32_t>(window.size());
    next = mail::Uid{window.back().uid.value + 1};
  }
  if (loud) print("messages by windows of 2,000", watch.lap(), rows);
  watch.lap();
  good(ledger->check());
  if (loud) print("check", watch.lap(), rows);
}

TEST_CASE("speed: a first collection") {
  Scratch scratch;
  const char* asked = std::getenv("MAILHAUL_LEDGER_ROWS");
  const std::uint32_t rows = asked ? static_cast<std::uint32_t>(std::strtoul(asked, nullptr, 10)) : kRows;
  std::printf("ledger, %u rows in one mailbox:\n", rows);
  collect(scratch.state(), rows, true);
  const auto size = std::filesystem::file_size(scratch.state());
  std::printf("  file %.1f MB, %.0f octets a row\n", static_cast<double>(size) / 1e6, static_cast<double>(size) / rows);
  CHECK(size / rows < 250);
  Watch watch;
  auto ledger = opened(scratch.state());
  print("open", watch.lap(), 0);
}

TEST_CASE("speed: a thousand mailboxes") {
  Scratch scratch;
  Home home;
  {
    auto ledger = opened(scratch.state());
    home = make_home(*ledger);
    auto t = good(ledger->begin());
    for (int i = 0; i < 999; ++i) {
      MailboxRow row;
      row.raw_name = "Archive/Folder " + std::to_string(i);
      row.destination = ".Archive.Folder " + std::to_string(i);
      row.uid_validity = mail::UidValidity{1'700'000'000};
      row.delimiter = '/';
      const auto id = good(t.add_mailbox(home.account.id, row)).id;
      good(t.list(id, 1, uid_set({{1, 200}})));
    }
    good(t.commit());
  }
  std::printf("ledger, 1,000 mailboxes, 200,000 rows:\n");
  Watch watch;
  auto ledger = opened(scratch.state());
  print("open", watch.lap(), 0);
  watch.lap();
  const auto boxes = good(ledger->mailboxes(home.account.id));
  print("mailboxes", watch.lap(), 1000);
  CHECK(boxes.size() == 1000);
  CHECK(boxes.back().tally.of(MessageState::Listed) == 200);
}

// The peak of this process's memory, in KiB.
long peak() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;)
    if (word == "VmHWM:") {
      long kib = 0;
      status >> kib;
      return kib;
    }
  return 0;
}

long peak_of_collecting(std::uint32_t rows) {
  std::array<int, 2> ends{};
  REQUIRE(::pipe(ends.data()) == 0);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  long kib = 0;
  if (child == 0) {
    Scratch scratch;
    std::ofstream("/proc/self/clear_refs") << "5";  // forgets the parent's peak
    const long before = peak();
    collect(scratch.state(), rows, false);
    kib = peak() - before;
    std::filesystem::remove_all(scratch.path());
    ::_exit(::write(ends[1], &kib, sizeof kib) == sizeof kib ? 0 : 1);
  }
  ::close(ends[1]);
  CHECK(::read(ends[0], &kib, sizeof kib) == sizeof kib);
  ::close(ends[0]);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  return kib;
}

TEST_CASE("memory does not grow with the rows") {
  if (kSanitized) return;  // a sanitizer's own memory does grow
  const long few = peak_of_collecting(20'000);
  const long many = peak_of_collecting(200'000);
  std::printf("ledger, peak memory beyond the start: 20,000 rows %ld KiB, 200,000 rows %ld KiB\n", few, many);
  CHECK(many < few + 2048);
  CHECK(many < 10'240);
}

}  // namespace
}  // namespace mailhaul::store
