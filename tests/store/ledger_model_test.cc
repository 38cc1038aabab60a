// Random histories against a model in a std::map: every row, every copy, every tally.
#include <map>
#include <random>
#include <set>
#include <tuple>

#include "tests/store/ledger_fixture.h"

namespace mailhaul::store {
namespace {

using Where = std::tuple<std::int64_t, std::uint32_t, std::uint32_t>;  // mailbox, generation, UID
using Copies = std::set<std::pair<std::string, DeliveryKey>>;

struct Model {
  std::map<std::int64_t, std::uint32_t> generations;  // mailbox → current
  std::map<Where, MessageRow> rows;
  std::map<Where, Copies> copies;

  [[nodiscard]] Tally tally(std::int64_t mailbox, std::uint32_t generation) const {
    Tally sum;
    for (auto i = rows.lower_bound({mailbox, generation, 0}); i != rows.end(); ++i) {
      if (std::get<0>(i->first) != mailbox || std::get<1>(i->first) != generation) break;
      ++sum.messages[static_cast<std::size_t>(i->second.state)];
      sum.octets[static_cast<std::size_t>(i->second.state)] += i->second.octets.value_or(0);
    }
    return sum;
  }
};

class History {
 public:
  explicit History(std::uint32_t seed) : random_(seed) {
    ledger_ = opened(scratch_.state());
    auto t = good(ledger_->begin());
    account_ = good(t.add_account("imap:m@example.org", "u")).id;
    for (const char* name : {"INBOX", "A", "B"}) {
      MailboxRow row;
      row.raw_name = name;
      model_.generations[good(t.add_mailbox(account_, row)).id.value] = 1;
    }
    good(t.commit());
  }

  void transaction() {
    const Model before = model_;
    {
      auto t = good(ledger_->begin());
      for (std::uint32_t n = pick(12); n > 0; --n) operation(t);
      if (pick(4) > 0) {
        good(t.commit());
        return;
      }
    }
    model_ = before;
  }

  void reopen() {
    ledger_.reset();
    ledger_ = opened(scratch_.state());
  }

  void compare() {
    good(ledger_->check());
    std::map<Where, MessageRow> rows;
    std::map<Where, Copies> copies;
    good(ledger_->each_message(account_, [&](const auto& box, auto generation, const auto& row, auto placements) {
      const Where where{box.id.value, generation, row.uid.value};
      rows.emplace(where, row);
      for (const auto& p : placements) copies[where].emplace(p.directory, p.key);
      return true;
    }));
    CHECK(rows == model_.rows);
    CHECK(copies == model_.copies);
    for (const auto& box : good(ledger_->mailboxes(account_))) {
      CHECK(box.generation == model_.generations.at(box.id.value));
      CHECK(box.tally == model_.tally(box.id.value, box.generation));
      for (const auto& generation : good(ledger_->generations(box.id))) {
        CHECK(generation.tally == model_.tally(box.id.value, generation.number));
        compare_sets(box.id, generation.number);
      }
    }
  }

 private:
  std::uint32_t pick(std::uint32_t n) { return std::uniform_int_distribution<std::uint32_t>(0, n - 1)(random_); }
  mail::Uid uid() { return {1 + pick(100)}; }
  std::uint32_t generation_of(MailboxId box) {  // mostly the current one
    const auto current = model_.generations[box.value];
    return pick(5) ? current : 1 + pick(current);
  }

  MessageRow some_row(mail::Uid uid) {
    MessageRow row;
    row.uid = uid;
    row.state = static_cast<MessageState>(pick(7));
    row.base = mail::FlagSet(static_cast<std::uint8_t>(pick(32)), {});
    if (pick(3) == 0) row.base.add("$Junk");
    if (pick(4) == 0) row.next_base = mail::FlagSet(4, {"x"});
    if (pick(2)) row.octets = pick(8) ? pick(100'000) : UINT64_MAX - pick(3);  // a hostile size too
    if (pick(2)) row.internal_date = pick(1u << 31);
    if (pick(2)) row.sha256.emplace().fill(static_cast<std::uint8_t>(pick(256)));
    if (pick(2)) row.message_id = "<" + std::to_string(pick(1000)) + "@x>";
    if (pick(3) == 0) row.email_id = "E" + std::to_string(pick(1000));
    if (pick(3) == 0) row.reason = "why";
    row.attempts = pick(4);
    row.next_try = pick(100);
    if (pick(3) == 0) row.missing_since = pick(100);
    if (pick(3) == 0) row.removal = static_cast<Removal>(pick(4));
    return row;
  }

  void operation(Ledger::Transaction& t) {
    const MailboxId box{1 + pick(3)};
    const auto current = model_.generations[box.value];
    const auto generation = generation_of(box);
    switch (pick(14)) {
      case 0:
      case 1:
        return list(t, box, current);
      case 2:
      case 3: {
        const auto row = some_row(uid());
        good(t.put(box, generation, row));
        model_.rows[{box.value, generation, row.uid.value}] = row;
        return;
      }
      case 4:
      case 5:
      case 6:
        return settle(t, box, generation);
      case 7:
        return set_state(t, box, generation);
      case 8:
        return flags(t, box, generation);
      case 9: {
        const auto u = uid();
        good(t.remove_placement(box, generation, u));
        model_.copies.erase({box.value, generation, u.value});
        return;
      }
      case 12:
      case 13:
        return vanishing(t, box, generation);
      case 10:
        return pick(4) ? rebind(t, box, generation, current) : new_generation(t, box);
      default:
        return rebind(t, box, generation, current);
    }
  }

  void list(Ledger::Transaction& t, MailboxId box, std::uint32_t generation) {
    const auto first = uid();
    const mail::UidRange range{first.value, first.value + pick(50)};
    good(t.list(box, generation, uid_set({range})));
    for (auto u = range.first; u <= range.last; ++u)
      model_.rows.try_emplace({box.value, generation, u}).first->second.uid = mail::Uid{u};
  }

  void settle(Ledger::Transaction& t, MailboxId box, std::uint32_t generation) {
    const bool late = generation != model_.generations[box.value];
    std::vector<Ledger::Transaction::Settled> batch;
    for (auto n = pick(6); n > 0; --n) {
      auto row = some_row(uid());
      batch.push_back({row, pick(3) ? "" : ".A", key_of(pick(2) ? row.uid.value : pick(1000))});
      const Where where{box.value, generation, row.uid.value};
      model_.copies[where].emplace(batch.back().directory, batch.back().key);
      row.state = late ? MessageState::Orphan : MessageState::Delivered;
      row.reason.clear();
      row.attempts = 0;
      row.next_try = 0;
      auto& old = model_.rows[where];
      if (!row.octets) row.octets = old.octets;
      if (!row.internal_date) row.internal_date = old.internal_date;
      if (!row.sha256) row.sha256 = old.sha256;
      if (row.message_id.empty()) row.message_id = old.message_id;
      if (row.email_id.empty()) row.email_id = old.email_id;
      old = row;
    }
    good(t.settle(box, generation, batch));
  }

  void set_state(Ledger::Transaction& t, MailboxId box, std::uint32_t generation) {
    const auto found = model_.rows.find({box.value, generation, uid().value});
    if (found == model_.rows.end()) return;
    found->second.state = static_cast<MessageState>(pick(7));
    found->second.reason = pick(2) ? "said so" : "";
    good(t.set_state(box, generation, found->second.uid, found->second.state, found->second.reason));
  }

  void vanishing(Ledger::Transaction& t, MailboxId box, std::uint32_t generation) {
    const Where where{box.value, generation, uid().value};
    const auto found = model_.rows.find(where);
    if (found == model_.rows.end()) return;
    auto& row = found->second;
    switch (pick(5)) {
      case 4:
        good(t.not_missing(box, generation, row.uid));
        if (row.state == MessageState::Vanished) row.missing_since = 0;
        return;
      case 0: {
        const std::int64_t now = 1 + pick(100);
        good(t.vanish(box, generation, row.uid, now));
        if (row.state == MessageState::Vanished) return;
        row.missing_since = now;
        row.state = MessageState::Vanished;
        break;
      }
      case 1:
        good(t.revive(box, generation, row.uid));
        row.state = MessageState::Delivered;
        row.missing_since = 0;
        break;
      case 2:
        good(t.relist(box, generation, row.uid));
        row.state = MessageState::Listed;
        row.missing_since = 0;
        row.base = {};
        row.next_base.reset();
        model_.copies.erase(where);
        break;
      default: {
        const auto removal = static_cast<Removal>(pick(4));
        good(t.set_removal(box, generation, row.uid, removal));
        if (removal == Removal::Done) model_.copies.erase(where);
        if (row.state == MessageState::Vanished) row.removal = removal;
        return;
      }
    }
    row.reason.clear();
    row.removal = Removal::None;
  }

  void flags(Ledger::Transaction& t, MailboxId box, std::uint32_t generation) {
    const auto found = model_.rows.find({box.value, generation, uid().value});
    if (found == model_.rows.end()) return;
    const auto meant = some_row(found->second.uid).base;
    if (pick(2)) {
      good(t.intend_flags(box, generation, found->second.uid, meant));
      found->second.next_base = meant;
    } else {
      good(t.settle_flags(box, generation, found->second.uid, meant));
      found->second.base = meant;
      found->second.next_base.reset();
    }
  }

  void new_generation(Ledger::Transaction& t, MailboxId box) {
    auto& current = model_.generations[box.value];
    for (auto& [where, row] : model_.rows)
      if (std::get<0>(where) == box.value && std::get<1>(where) == current) row.state = MessageState::Orphan;
    ++current;
    good(t.new_generation(box, mail::UidValidity{pick(UINT32_MAX)}, 0));
  }

  void rebind(Ledger::Transaction& t, MailboxId box, std::uint32_t from_generation, std::uint32_t generation) {
    const Where from{box.value, from_generation, uid().value};
    const Where to{box.value, generation, uid().value};
    if (from == to || !model_.rows.contains(from) || model_.copies.contains(to)) return;
    good(t.rebind(box, from_generation, mail::Uid{std::get<2>(from)}, generation, mail::Uid{std::get<2>(to)}));
    MessageRow row = model_.rows[from];
    model_.rows.erase(from);
    row.uid = mail::Uid{std::get<2>(to)};
    row.reason.clear();
    row.attempts = 0;
    row.next_try = 0;
    row.missing_since = 0;
    row.removal = Removal::None;
    row.state = MessageState::Listed;
    if (auto moved = model_.copies.extract(from)) {
      row.state = MessageState::Delivered;
      moved.key() = to;
      model_.copies.insert(std::move(moved));
    }
    model_.rows[to] = row;
  }

  void compare_sets(MailboxId box, std::uint32_t generation) {
    std::vector<MessageState> wanted;
    for (std::size_t s = 0; s < kMessageStates; ++s)
      if (pick(2)) wanted.push_back(static_cast<MessageState>(s));
    const std::int64_t due_by = pick(2) ? INT64_MAX : 50;
    mail::UidSet expected;
    for (const auto& [where, row] : model_.rows) {
      if (std::get<0>(where) != box.value || std::get<1>(where) != generation) continue;
      if (std::find(wanted.begin(), wanted.end(), row.state) == wanted.end()) continue;
      if (row.state != MessageState::Failed || row.next_try <= due_by) expected.add(row.uid);
    }
    CHECK(good(ledger_->uids(box, generation, wanted, due_by)) == expected);
    compare_vanished(box, generation);
  }

  void compare_vanished(MailboxId box, std::uint32_t generation) {
    const std::int64_t by = pick(100), since = pick(100);
    const bool waiting = pick(2) == 0;
    MailboxRow mailbox;
    mailbox.id = box;
    mailbox.generation = generation;
    mailbox.released = pick(2) ? 0 : pick(100);
    mail::UidSet copies;
    std::uint64_t count = 0;
    for (const auto& [where, row] : model_.rows) {
      if (std::get<0>(where) != box.value || std::get<1>(where) != generation) continue;
      if (row.state != MessageState::Vanished) continue;
      const bool open = row.removal == Removal::None || row.removal == Removal::Meant;
      if (open && row.missing_since <= by && model_.copies.contains(where)) copies.add(row.uid);
      if (row.missing_since > mailbox.released && (row.missing_since > since || (waiting && open))) ++count;
    }
    CHECK(good(ledger_->vanished_copies(box, generation, by)) == copies);
    CHECK(good(ledger_->vanished_count(mailbox, since, waiting)) == count);
  }

  Scratch scratch_;
  std::mt19937 random_;
  std::unique_ptr<Ledger> ledger_;
  AccountId account_;
  Model model_;
};

TEST_CASE("random histories: rows, copies and tallies agree with a model") {
  for (std::uint32_t seed = 1; seed <= 12; ++seed) {
    CAPTURE(seed);
    History history(seed);
    for (int i = 0; i < 150; ++i) {
      history.transaction();
      if (i % 10 == 0) history.compare();
      if (i % 50 == 49) history.reopen();
    }
    history.compare();
  }
}

}  // namespace
}  // namespace mailhaul::store
