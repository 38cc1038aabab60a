#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include "store/ledger.h"

#include <sys/stat.h>

#include <fstream>
#include <limits>

#include "tests/store/ledger_fixture.h"

namespace mailhaul::store {
namespace {

constexpr std::array kPending{MessageState::Listed, MessageState::Failed};

MessageRow full_row() {
  MessageRow row;
  row.uid = mail::Uid{7};
  row.state = MessageState::Failed;
  row.base = mail::FlagSet(8 | 2, {"$Junk", "zebra"});
  row.next_base = mail::FlagSet(1, {"\xC3\xA4"});
  row.octets = 1'234'567'890'123;
  row.internal_date = -86'400;
  row.date_source = 3;
  row.form = StoredForm::AsReceived;
  row.sha256.emplace().fill(0xC0);
  row.message_id = "<a b@\xFF>";
  row.header_digest.fill(0x17);
  row.email_id = "M123";
  row.reuse = 2;
  row.reason = "NO [LIMIT] \"too big\"";
  row.attempts = 3;
  row.next_try = 1'900'000'000;
  row.missing_since = 1'800'000'000;
  row.removal = Removal::ByOwner;
  return row;
}

TEST_CASE("every field of a message comes back, and a bare one comes back bare") {
  Scratch scratch;
  auto ledger = opened(scratch.state());
  const Home home = make_home(*ledger);
  MessageRow bare;
  bare.uid = mail::Uid{8};
  MessageRow intent_of_no_flags = bare;
  intent_of_no_flags.uid = mail::Uid{9};
  intent_of_no_flags.next_base = mail::FlagSet();
  auto t = good(ledger->begin());
  good(t.put(home.inbox.id, 1, full_row()));
  good(t.put(home.inbox.id, 1, bare));
  good(t.put(home.inbox.id, 1, intent_of_no_flags));
  good(t.commit());
  ledger.reset();

  ledger = opened(scratch.state());
  const auto rows = good(ledger->messages(home.inbox.id, 1, mail::Uid{1}, mail::Uid{UINT32_MAX}, 10));
  REQUIRE(rows.size() == 3);
  CHECK(rows[0] == full_row());
  CHECK(rows[1] == bare);
  CHECK(rows[2] == intent_of_no_flags);
  good(ledger->check());
}

TEST_CASE("every field of a mailbox comes back, numbers at their limits too") {
  Scratch scratch;
  auto ledger = opened(scratch.state());
  const Home home = make_home(*ledger);
  CHECK(home.inbox.generation == 1);
  MailboxRow row;
  row.raw_name = std::string("R&AOk-\0\xFF", 8);
  row.destination = ".R&AOk-";
  row.uid_validity = mail::UidValidity{UINT64_MAX};
  row.floor = mail::Uid{UINT32_MAX};
  row.modseq = mail::ModSeq{INT64_MAX};
  row.exists_seen = 0;
  row.uid_next_seen = std::uint64_t{UINT32_MAX} + 1;
  row.mailbox_id = "F2212ea87-6097-4256-9d51-71338625";
  row.last_full_audit = 1'700'000'000;
  row.held = "900 of 1000 vanished";
  auto t = good(ledger->begin());
  row = good(t.add_mailbox(home.account.id, row));
  good(t.commit());
  CHECK(good(ledger->mailboxes(home.account.id)).at(1) == row);
  CHECK(row.uid_validity->value == UINT64_MAX);
  CHECK(row.raw_name.size() == 8);
  CHECK_FALSE(row.delimiter.has_value());

  row.uid_validity.reset();
  row.modseq.reset();
  row.mailbox_id.reset();
  row.held.clear();
  row.raw_name = "Renamed";
  auto u = good(ledger->begin());
  good(u.update_mailbox(row));
  good(u.commit());
  CHECK(good(ledger->mailboxes(home.account.id)).at(1) == row);
  CHECK(good(ledger->generations(row.id)).size() == 1);
}

TEST_CASE("UIDs up to 2^32-1 keep to their mailbox and generation") {
  auto ledger = opened(":memory:");
  const Home home = make_home(*ledger);
  MailboxRow second;
  second.raw_name = "Second";
  const auto ends = uid_set({{1, 2}, {UINT32_MAX - 1, UINT32_MAX}});
  auto t = good(ledger->begin());
  second = good(t.add_mailbox(home.account.id, second));
  good(t.list(home.inbox.id, 1, ends));
  good(t.list(second.id, 1, uid_set({{1, 1}})));
  good(t.commit());
  CHECK(good(ledger->uids(home.inbox.id, 1, kPending)) == ends);
  CHECK(good(ledger->messages(home.inbox.id, 0, mail::Uid{0}, mail::Uid{UINT32_MAX}, 100)).size() == 4);
  CHECK(good(ledger->uids(second.id, 1, kPending)) == uid_set({{1, 1}}));
  std::size_t visited = 0;
  good(ledger->each_message(home.account.id, [&](const auto&, auto, const auto&, auto) { return ++visited > 0; }));
  CHECK(visited == 5);
}

TEST_CASE("list leaves existing rows alone") {
  auto ledger = opened(":memory:");
  const Home home = make_home(*ledger);
  auto t = good(ledger->begin());
  good(t.put(home.inbox.id, 1, full_row()));
  good(t.list(home.inbox.id, 1, uid_set({{5, 9}})));
  good(t.list(home.inbox.id, 1, uid_set({{5, 9}})));
  good(t.commit());
  CHECK(good(ledger->messages(home.inbox.id, 1, mail::Uid{7}, mail::Uid{7}, 1)).at(0) == full_row());
  CHECK(reread(*ledger, home).tally.of(MessageState::Listed) == 4);
  good(ledger->check());
}

TEST_CASE("settle delivers, keeps evidence that it was not given, and forgets why it failed") {
  auto ledger = opened(":memory:");
  const Home home = make_home(*ledger);
  MessageRow settled;
  settled.uid = mail::Uid{7};
  settled.base = mail::FlagSet(8, {});
  settled.reuse = 2;
  settled.octets = 99;
  const Ledger::Transaction::Settled batch[]{{settled, ".A", key_of(7)}};
  auto t = good(ledger->begin());
  good(t.put(home.inbox.id, 1, full_row()));
  good(t.settle(home.inbox.id, 1, batch));
  good(t.settle(home.inbox.id, 1, batch));  // again: one copy still
  good(t.commit());
  const auto row = good(ledger->messages(home.inbox.id, 1, mail::Uid{7}, mail::Uid{7}, 1)).at(0);
  CHECK(row.state == MessageState::Delivered);
  CHECK(row.octets == 99);
  CHECK(row.sha256 == full_row().sha256);
  CHECK(row.message_id == full_row().message_id);
  CHECK(row.email_id == "M123");
  CHECK(row.base == settled.base);
  CHECK(row.reason.empty());
  CHECK(row.attempts == 0);
  CHECK(row.next_try == 0);
  CHECK(good(ledger->placements(home.inbox.id, 1, mail::Uid{1}, mail::Uid{9})) ==
        std::vector<PlacementRow>{{mail::Uid{7}, ".A", key_of(7)}});
  CHECK(reread(*ledger, home).tally.octets[1] == 99);
  good(ledger->check());
}

TEST_CASE("a directory without a name is INBOX, however its emptiness is spelled") {
  auto ledger = opened(":memory:");
  const Home home = make_home(*ledger);
  MessageRow row;
  row.uid = mail::Uid{1};
  const Ledger::Transaction::Settled batch[]{{row, std::string_view(), key_of(1)}, {row, "", key_of(1)}};
  auto t = good(ledger->begin());
  good(t.settle(home.inbox.id, 1, batch));
  good(t.commit());
  CHECK(good(ledger->placements(home.inbox.id, 1, mail::Uid{1}, mail::Uid{1})) ==
        std::vector<PlacementRow>{{mail::Uid{1}, "", key_of(1)}});
}

TEST_CASE("failed rows are pending once they are due") {
  auto ledger = opened(":memory:");
  const Home home = make_home(*ledger);
  auto t = good(ledger->begin());
  good(t.list(home.inbox.id, 1, uid_set({{1, 3}})));
  MessageRow row = full_row();
  row.uid = mail::Uid{5};
  row.next_try = 100;
  good(t.put(home.inbox.id, 1, row));
  good(t.commit());
  CHECK(good(ledger->uids(home.inbox.id, 1, kPending, 99)).wire() == "1:3");
  CHECK(good(ledger->uids(home.inbox.id, 1, kPending, 100)).wire() == "1:3,5");
  CHECK(good(ledger->uids(home.inbox.id, 1, kPending)).wire() == "1:3,5");
}

TEST_CASE("flags: the intent, then the base") {
  auto ledger = opened(":memory:");
  const Home home = make_home(*ledger);
  const mail::FlagSet meant(2, {"later"});
  auto t = good(ledger->begin());
  good(t.put(home.inbox.id, 1, full_row()));
  good(t.intend_flags(home.inbox.id, 1, mail::Uid{7}, meant));
  auto row = good(t.messages(home.inbox.id, 1, mail::Uid{7}, mail::Uid{7}, 1)).at(0);
  CHECK(row.next_base == meant);
  CHECK(row.base == full_row().base);
  good(t.settle_flags(home.inbox.id, 1, mail::Uid{7}, meant));
  row = good(t.messages(home.inbox.id, 1, mail::Uid{7}, mail::Uid{7}, 1)).at(0);
  CHECK(row.base == meant);
  CHECK_FALSE(row.next_base.has_value());
  good(t.commit());
}

TEST_CASE("a new generation orphans the old rows; a rebound row takes its copy along") {
  auto ledger = opened(":memory:");
  const Home home = make_home(*ledger);
  MessageRow delivered;
  delivered.uid = mail::Uid{2};
  delivered.octets = 10;
  const Ledger::Transaction::Settled batch[]{{delivered, "", key_of(2)}};
  auto t = good(ledger->begin());
  good(t.list(home.inbox.id, 1, uid_set({{1, 3}})));
  good(t.settle(home.inbox.id, 1, batch));
  good(t.new_generation(home.inbox.id, mail::UidValidity{0x1'0000'0001}, 0));
  auto row = good(t.mailbox(home.inbox.id));
  CHECK(row.generation == 2);
  CHECK(row.uid_validity == mail::UidValidity{0x1'0000'0001});
  CHECK(row.tally == Tally{});
  good(t.list(home.inbox.id, 2, uid_set({{50, 51}})));
  good(t.rebind(home.inbox.id, 1, mail::Uid{2}, 2, mail::Uid{50}));
  good(t.commit());
  good(ledger->check());

  row = reread(*ledger, home);
  CHECK(row.tally.of(MessageState::Delivered) == 1);
  CHECK(row.tally.of(MessageState::Listed) == 1);
  CHECK(good(ledger->placements(home.inbox.id, 2, mail::Uid{0}, mail::Uid{99})) ==
        std::vector<PlacementRow>{{mail::Uid{50}, "", key_of(2)}});
  const std::array orphan{MessageState::Orphan};
  CHECK(good(ledger->uids(home.inbox.id, 1, orphan)).wire() == "1,3");
  CHECK(good(ledger->rows_in_state(home.account.id, MessageState::Orphan)) == 2);
  CHECK(good(ledger->generations(home.inbox.id)).at(0).tally.of(MessageState::Orphan) == 2);

  // A batch of the old life that comes late belongs to the old life: its rows wait to be matched.
  delivered.uid = mail::Uid{3};
  const Ledger::Transaction::Settled late[]{{delivered, "", key_of(3)}};
  auto u = good(ledger->begin());
  good(u.settle(home.inbox.id, 1, late));
  good(u.commit());
  CHECK(good(ledger->uids(home.inbox.id, 1, orphan)).wire() == "1,3");
  good(ledger->check());
}

TEST_CASE("requests that contradict the rows are refused, and void their transaction") {
  auto ledger = opened(":memory:");
  const Home home = make_home(*ledger);
  MessageRow delivered;
  delivered.uid = mail::Uid{4};
  const Ledger::Transaction::Settled batch[]{{delivered, "", key_of(4)}};
  {
    auto t = good(ledger->begin());
    good(t.list(home.inbox.id, 1, uid_set({{1, 3}})));
    good(t.settle(home.inbox.id, 1, batch));
    good(t.new_generation(home.inbox.id, std::nullopt, 0));
    good(t.settle(home.inbox.id, 2, batch));
    good(t.commit());
  }
  MailboxRow stale = home.inbox;  // generation 1
  using T = Ledger::Transaction;
  const std::vector<std::function<Done(T&)>> bad{
      [&](T& t) {
        return t.list(home.inbox.id, 1, uid_set({{9, 9}}));
      },
      [&](T& t) {
        return t.list(home.inbox.id, 3, uid_set({{9, 9}}));
      },
      [&](T& t) { return t.put(home.inbox.id, 2, {}); },  // UID 0
      [&](T& t) { return t.settle(home.inbox.id, 2, std::array{Ledger::Transaction::Settled{}}); },
      [&](T& t) {
        return t.list(MailboxId{99}, 1, uid_set({{9, 9}}));
      },
      [&](T& t) { return t.update_mailbox(stale); },
      [&](T& t) { return t.set_state(home.inbox.id, 2, mail::Uid{77}, MessageState::Gone); },
      [&](T& t) { return t.intend_flags(home.inbox.id, 2, mail::Uid{77}, {}); },
      [&](T& t) { return t.settle_flags(home.inbox.id, 2, mail::Uid{77}, {}); },
      [&](T& t) { return t.rebind(home.inbox.id, 1, mail::Uid{77}, 2, mail::Uid{1}); },
      [&](T& t) { return t.rebind(home.inbox.id, 1, mail::Uid{1}, 2, mail::Uid{4}); },  // which has a copy
      [&](T& t) { return t.rebind(home.inbox.id, 2, mail::Uid{4}, 2, mail::Uid{4}); },
      [&](T& t) { return t.end_run({.id = RunId{5}, .outcome = {}}); },
      [&](T& t) -> Done {
        auto again = t.add_account("imap:me@example.org", "another");
        return again ? done() : Done(again.error());
      },
  };
  for (std::size_t i = 0; i < bad.size(); ++i) {
    CAPTURE(i);
    {
      auto t = good(ledger->begin());
      good(t.list(home.inbox.id, 2, uid_set({{100, 200}})));
      const auto refused = bad[i](t);
      REQUIRE_FALSE(refused);
      CHECK(refused.error().retry == Retry::Never);
      CHECK_FALSE(t.list(home.inbox.id, 2, uid_set({{5, 5}})));
      const auto committed = t.commit();
      REQUIRE_FALSE(committed);
      CHECK(committed.error().what == refused.error().what);
    }
    CHECK(good(ledger->uids(home.inbox.id, 2, kPending)).empty());
  }
  CHECK_FALSE(ledger->messages(home.inbox.id, 9, mail::Uid{1}, mail::Uid{2}, 1));
  CHECK_FALSE(ledger->uids(MailboxId{99}, 0, kPending));
  good(ledger->check());
}

TEST_CASE("a transaction that is not committed leaves nothing, a second one in the same thread is refused") {
  Scratch scratch;
  auto ledger = opened(scratch.state());
  const Home home = make_home(*ledger);
  {
    auto t = good(ledger->begin());
    good(t.list(home.inbox.id, 1, uid_set({{1, 1000}})));
    CHECK_FALSE(ledger->begin());
    CHECK(good(ledger->uids(home.inbox.id, 1, kPending)).empty());  // reads see what is committed
    CHECK(good(t.uids(home.inbox.id, 1, kPending)).size() == 1000);
  }
  CHECK(good(ledger->uids(home.inbox.id, 1, kPending)).empty());
  CHECK(reread(*ledger, home).tally == Tally{});
  // A directory that was noted in a transaction that was rolled back must not be taken as known in the next.
  MessageRow row;
  row.uid = mail::Uid{1};
  const Ledger::Transaction::Settled batch[]{{row, ".New", key_of(1)}};
  for (const bool commit : {false, true}) {
    auto t = good(ledger->begin());
    good(t.settle(home.inbox.id, 1, batch));
    if (commit) good(t.commit());
  }
  CHECK(good(ledger->placements(home.inbox.id, 0, mail::Uid{1}, mail::Uid{1})).at(0).directory == ".New");
  good(ledger->check());
}

TEST_CASE("in memory a read inside one's own transaction is an error, not a deadlock") {
  auto ledger = opened(":memory:");
  const Home home = make_home(*ledger);
  auto t = good(ledger->begin());
  CHECK_FALSE(ledger->mailboxes(home.account.id));
  CHECK_FALSE(ledger->check());
}

TEST_CASE("runs come newest first; one that was cut off has no end") {
  auto ledger = opened(":memory:");
  const Home home = make_home(*ledger);
  auto t = good(ledger->begin());
  RunRow run;
  run.id = good(t.start_run(home.account.id, 1000));
  run.started = 1000;
  run.ended = 1010;
  run.outcome = "complete";
  run.delivered = 5;
  run.octets = std::uint64_t{1} << 40;
  run.failed = 1;
  good(t.end_run(run));
  (void)good(t.start_run(home.account.id, 2000));
  good(t.commit());
  const auto runs = good(ledger->runs(home.account.id, 10));
  REQUIRE(runs.size() == 2);
  CHECK(runs[0].started == 2000);
  CHECK(runs[0].ended == 0);
  CHECK(runs[1].outcome == "complete");
  CHECK(runs[1].octets == std::uint64_t{1} << 40);
  CHECK(good(ledger->runs(home.account.id, 1)).size() == 1);
}

TEST_CASE("each_message gives every row of every generation once, with its copies, and stops when told") {
  Scratch scratch;
  auto ledger = opened(scratch.state());
  const Home home = make_home(*ledger);
  auto t = good(ledger->begin());
  good(t.list(home.inbox.id, 1, uid_set({{1, 2500}})));
  std::vector<Ledger::Transaction::Settled> batch;
  for (std::uint32_t uid = 2; uid <= 2500; uid += 2) {
    MessageRow row;
    row.uid = mail::Uid{uid};
    batch.push_back({row, ".A", key_of(uid)});
    if (uid % 100 == 0) batch.push_back({row, ".B", key_of(uid)});  // a second copy: a label
  }
  good(t.settle(home.inbox.id, 1, batch));
  good(t.new_generation(home.inbox.id, std::nullopt, 0));
  good(t.list(home.inbox.id, 2, uid_set({{10, 11}})));
  good(t.commit());

  std::vector<std::pair<std::uint32_t, std::uint32_t>> seen;
  bool right = true;
  good(ledger->each_message(home.account.id, [&](const auto& box, auto generation, const auto& row, auto copies) {
    right = right && box.raw_name == "INBOX";
    const std::size_t expected = generation == 2 || row.uid.value % 2 ? 0 : row.uid.value % 100 ? 1 : 2;
    right = right && copies.size() == expected;
    for (const auto& copy : copies) right = right && copy.uid == row.uid && copy.key == key_of(row.uid.value);
    seen.emplace_back(generation, row.uid.value);
    return true;
  }));
  CHECK(right);
  CHECK(seen.size() == 2502);
  CHECK(std::is_sorted(seen.begin(), seen.end()));
  CHECK(std::adjacent_find(seen.begin(), seen.end()) == seen.end());
  std::size_t visits = 0;
  good(ledger->each_message(home.account.id, [&](const auto&, auto, const auto&, auto) { return ++visits < 3; }));
  CHECK(visits == 3);
}

TEST_CASE("accounts are found by identity") {
  auto ledger = opened(":memory:");
  CHECK_FALSE(good(ledger->account("imap:me@example.org")).has_value());
  const Home home = make_home(*ledger);
  CHECK(good(ledger->account("imap:me@example.org"))->uuid == home.account.uuid);
  CHECK(good(ledger->accounts()).size() == 1);
}

TEST_CASE("opening and looking writes nothing, and neither does a transaction without changes") {
  Scratch scratch;
  Home home;
  {
    auto ledger = opened(scratch.state());
    home = make_home(*ledger);
    auto t = good(ledger->begin());
    good(t.list(home.inbox.id, 1, uid_set({{1, 100}})));
    good(t.commit());
  }
  const auto octets = [&] {
    std::ifstream file(scratch.state(), std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  };
  const std::string before = octets();
  auto ledger = opened(scratch.state());
  const auto row = reread(*ledger, home);
  auto t = good(ledger->begin());
  good(t.update_mailbox(row));
  good(t.list(home.inbox.id, 1, uid_set({{1, 100}})));
  good(t.set_state(home.inbox.id, 1, mail::Uid{5}, MessageState::Listed));
  good(t.commit());
  CHECK(std::filesystem::file_size(scratch.state() + "-wal") == 0);
  ledger.reset();
  CHECK(octets() == before);
}

TEST_CASE("files of the state are private") {
  Scratch scratch;
  const auto old = ::umask(0);
  auto ledger = opened(scratch.state());
  (void)make_home(*ledger);
  ::umask(old);
  for (const char* end : {"", "-wal", "-shm", ".lock"}) {
    struct stat status {};
    REQUIRE(::stat((scratch.state() + end).c_str(), &status) == 0);
    CHECK((status.st_mode & 0777) == 0600);
  }
}

}  // namespace
}  // namespace mailhaul::store
