// One ledger, several threads.
#include <atomic>
#include <thread>

#include "tests/store/ledger_fixture.h"

namespace mailhaul::store {
namespace {

constexpr std::array kListed{MessageState::Listed};

// Adds ten rows, delivers the ten before them and moves the floor behind them, all in one transaction.
void haul(Ledger& ledger, MailboxId id) {
  auto t = good(ledger.begin());
  auto box = good(t.mailbox(id));
  const std::uint32_t first = box.floor.value;
  good(t.list(id, 1, uid_set({{first, first + 9}})));
  std::vector<Ledger::Transaction::Settled> batch;
  for (std::uint32_t uid = first > 10 ? first - 10 : first; uid < first; ++uid) {
    batch.push_back({{}, ".Dir", key_of(uid)});
    batch.back().row.uid = mail::Uid{uid};
  }
  good(t.settle(id, 1, batch));
  box.floor = mail::Uid{first + 10};
  good(t.update_mailbox(box));
  good(t.commit());
}

// Two writers and two readers; a reader must never see half a transaction. Returns how often readers looked.
std::size_t contend(Ledger& ledger, const Home& home, int rounds) {
  std::atomic<int> writers{2};
  std::atomic<std::size_t> looks{0};
  std::atomic<int> torn{0};
  const auto write = [&] {
    for (int i = 0; i < rounds; ++i) haul(ledger, home.inbox.id);
    --writers;
  };
  const auto read = [&] {
    std::uint32_t last = 1;
    do {
      const auto box = reread(ledger, home);
      const auto rows = box.tally.of(MessageState::Listed) + box.tally.of(MessageState::Delivered);
      if (rows != box.floor.value - 1 || box.floor.value < last) ++torn;
      if (box.floor.value > 1 && box.tally.of(MessageState::Listed) != 10) ++torn;
      last = box.floor.value;
      const auto listed = good(ledger.uids(home.inbox.id, 1, kListed));
      if (!listed.empty() && (listed.size() != 10 || listed.ranges().size() != 1)) ++torn;
      const auto window = good(ledger.messages(home.inbox.id, 1, mail::Uid{1}, mail::Uid{UINT32_MAX}, 50));
      if (window.size() != std::min<std::size_t>(50, window.empty() ? 0 : window.back().uid.value)) ++torn;
      ++looks;
    } while (writers.load() > 0);
  };
  {
    std::vector<std::jthread> threads;
    threads.emplace_back(write);
    threads.emplace_back(read);
    threads.emplace_back(write);
    threads.emplace_back(read);
  }
  CHECK(torn == 0);
  CHECK(reread(ledger, home).floor.value == 1u + 10u * 2u * static_cast<unsigned>(rounds));
  good(ledger.check());
  return looks;
}

TEST_CASE("readers and writers in several threads: on disk, with one exclusive connection, in memory") {
  Scratch scratch;
  LedgerOptions exclusive;
  exclusive.exclusive = true;
  {
    auto ledger = opened(scratch.state());
    CHECK(contend(*ledger, make_home(*ledger), 60) > 0);
  }
  {
    auto ledger = opened(scratch.path() + "/remote.db", exclusive);
    CHECK_FALSE(std::filesystem::exists(scratch.path() + "/remote.db-shm"));
    CHECK(contend(*ledger, make_home(*ledger), 60) > 0);
  }
  auto ledger = opened(":memory:");
  CHECK(contend(*ledger, make_home(*ledger), 60) > 0);
}

TEST_CASE("a reader does not wait for a transaction that another thread holds") {
  Scratch scratch;
  auto ledger = opened(scratch.state());
  const Home home = make_home(*ledger);
  auto t = good(ledger->begin());
  good(t.list(home.inbox.id, 1, uid_set({{1, 5000}})));
  std::jthread([&] {
    CHECK(reread(*ledger, home).tally == Tally{});
    CHECK(good(ledger->uids(home.inbox.id, 1, kListed)).empty());
  }).join();
  good(t.commit());
  CHECK(reread(*ledger, home).tally.of(MessageState::Listed) == 5000);
}

}  // namespace
}  // namespace mailhaul::store
