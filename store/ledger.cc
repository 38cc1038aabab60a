#include "store/ledger.h"

#include "store/ledger_impl.h"

namespace mailhaul::store {
namespace {

constexpr std::size_t kWindow = 1000;

AccountRow read_account(const sqlite::Statement& q) {
  return {AccountId{q.integer(0)}, std::string(q.text(1)), std::string(q.text(2)), q.integer(3),
          q.as<std::uint32_t>(4),  q.integer(5),           q.as<std::uint64_t>(6)};
}

Result<std::vector<GenerationRow>> read_generations(sqlite::Database& db, MailboxId mailbox) {
  auto q = db.use("SELECT number, uid_validity, began, " MAILHAUL_TALLY_COLUMNS
                  " FROM generation WHERE mailbox = ?1 ORDER BY number");
  q->bind(1, mailbox.value);
  std::vector<GenerationRow> found;
  for (;;) {
    auto row = q->step();
    if (!row) return row.error();
    if (!*row) return found;
    GenerationRow& generation = found.emplace_back();
    generation.number = q->as<std::uint32_t>(0);
    if (!q->is_null(1)) generation.uid_validity = mail::UidValidity{q->as<std::uint64_t>(1)};
    generation.began = q->integer(2);
    generation.tally = rows::read_tally(*q, 3);
  }
}

struct Window {
  std::vector<MessageRow> messages;
  std::vector<PlacementRow> placements;
};

// Both reads in one snapshot, so that a row and its copies belong together.
Result<Window> read_window(sqlite::Database& db, const rows::Life& life, mail::Uid first) {
  if (auto ok = db.use("BEGIN")->run(); !ok) return ok.error();
  auto messages = rows::messages(db, life, first, mail::Uid{UINT32_MAX}, kWindow);
  const mail::Uid last = messages && !messages->empty() ? messages->back().uid : first;
  auto placements = rows::placements(db, life, first, last);
  if (auto ok = db.use("COMMIT")->run(); !ok) return ok.error();
  if (!messages) return messages.error();
  if (!placements) return placements.error();
  return Window{std::move(*messages), std::move(*placements)};
}

// Visits a window; false: the visitor wants no more.
bool visit_window(const Window& window, const MailboxRow& mailbox, std::uint32_t generation,
                  const Ledger::Visit& visit) {
  std::span<const PlacementRow> rest = window.placements;
  for (const auto& message : window.messages) {
    while (!rest.empty() && rest.front().uid.value < message.uid.value) rest = rest.subspan(1);
    std::size_t own = 0;
    while (own < rest.size() && rest[own].uid == message.uid) ++own;
    if (!visit(mailbox, generation, message, rest.first(own))) return false;
    rest = rest.subspan(own);
  }
  return true;
}

}  // namespace

Result<std::vector<AccountRow>> Ledger::accounts() {
  return impl_->read([](sqlite::Database& db) -> Result<std::vector<AccountRow>> {
    auto q =
        db.use("SELECT id, identity, uuid, rest_until, connections, day_began, day_octets FROM account ORDER BY id");
    std::vector<AccountRow> found;
    for (;;) {
      auto row = q->step();
      if (!row) return row.error();
      if (!*row) return found;
      found.push_back(read_account(*q));
    }
  });
}

Result<std::optional<AccountRow>> Ledger::account(std::string_view identity) {
  return impl_->read([&](sqlite::Database& db) -> Result<std::optional<AccountRow>> {
    auto q = db.use(
        "SELECT id, identity, uuid, rest_until, connections, day_began, day_octets FROM account WHERE identity = ?1");
    q->bind(1, identity);
    auto row = q->step();
    if (!row) return row.error();
    if (!*row) return std::optional<AccountRow>();
    return std::optional(read_account(*q));
  });
}

Result<std::vector<MailboxRow>> Ledger::mailboxes(AccountId account) {
  return impl_->read([&](sqlite::Database& db) { return rows::mailboxes(db, account); });
}

Result<std::vector<GenerationRow>> Ledger::generations(MailboxId mailbox) {
  return impl_->read([&](sqlite::Database& db) { return read_generations(db, mailbox); });
}

Result<std::vector<MessageRow>> Ledger::messages(MailboxId mailbox, std::uint32_t generation, mail::Uid first,
                                                 mail::Uid last, std::size_t limit) {
  return impl_->read_life(mailbox, generation, [&](sqlite::Database& db, const rows::Life& life) {
    return rows::messages(db, life, first, last, limit);
  });
}

Result<std::vector<MessageRow>> Ledger::newest(MailboxId mailbox, std::uint32_t generation, std::size_t limit) {
  return impl_->read_life(mailbox, generation,
                          [&](sqlite::Database& db, const rows::Life& life) { return rows::newest(db, life, limit); });
}

Result<mail::UidSet> Ledger::uids(MailboxId mailbox, std::uint32_t generation, std::span<const MessageState> states,
                                  std::int64_t due_by) {
  return impl_->read_life(mailbox, generation, [&](sqlite::Database& db, const rows::Life& life) {
    return rows::uids(db, life, states, due_by);
  });
}

Result<std::vector<PlacementRow>> Ledger::placements(MailboxId mailbox, std::uint32_t generation, mail::Uid first,
                                                     mail::Uid last) {
  return impl_->read_life(mailbox, generation, [&](sqlite::Database& db, const rows::Life& life) {
    return rows::placements(db, life, first, last);
  });
}

Result<mail::UidSet> Ledger::vanished_copies(MailboxId mailbox, std::uint32_t generation, std::int64_t by) {
  return impl_->read_life(mailbox, generation, [&](sqlite::Database& db, const rows::Life& life) {
    return rows::vanished_copies(db, life, by);
  });
}

Result<std::vector<Sibling>> Ledger::siblings(AccountId account, std::string_view email_id) {
  return impl_->read([&](sqlite::Database& db) { return rows::siblings(db, account, email_id); });
}

Result<std::uint64_t> Ledger::vanished_count(const MailboxRow& row, std::int64_t since, bool waiting) {
  return impl_->read_life(row.id, row.generation, [&](sqlite::Database& db, const rows::Life& life) {
    return rows::vanished_count(db, life, row, since, waiting);
  });
}

Result<std::vector<RunRow>> Ledger::runs(AccountId account, std::size_t limit) {
  return impl_->read([&](sqlite::Database& db) -> Result<std::vector<RunRow>> {
    auto q = db.use(
        "SELECT id, started, ended, outcome, delivered, octets, failed FROM run WHERE account = ?1 "
        "ORDER BY id DESC LIMIT ?2");
    q->bind(1, account.value);
    q->bind(2, limit);
    std::vector<RunRow> found;
    for (;;) {
      auto row = q->step();
      if (!row) return row.error();
      if (!*row) return found;
      found.push_back({RunId{q->integer(0)}, q->integer(1), q->integer(2), std::string(q->text(3)),
                       q->as<std::uint64_t>(4), q->as<std::uint64_t>(5), q->as<std::uint64_t>(6)});
    }
  });
}

Result<std::uint32_t> Ledger::rows_in_state(AccountId account, MessageState state) {
  return impl_->read([&](sqlite::Database& db) -> Result<std::uint32_t> {
    auto q = db.use("SELECT " MAILHAUL_TALLY_COLUMNS
                    " FROM mailbox JOIN generation ON generation.mailbox = mailbox.id WHERE mailbox.account = ?1");
    q->bind(1, account.value);
    std::uint64_t sum = 0;
    for (;;) {
      auto row = q->step();
      if (!row) return row.error();
      if (!*row) return static_cast<std::uint32_t>(sum);
      sum += rows::read_tally(*q, 0).of(state);
    }
  });
}

Done Ledger::each_message(AccountId account, const Visit& visit) {
  auto boxes = mailboxes(account);
  if (!boxes) return boxes.error();
  for (const auto& box : *boxes) {
    for (std::uint32_t generation = 1; generation <= box.generation; ++generation) {
      for (mail::Uid next{0};;) {
        auto window = impl_->read_life(box.id, generation, [&](sqlite::Database& db, const rows::Life& life) {
          return read_window(db, life, next);
        });
        if (!window) return window.error();
        if (window->messages.empty()) break;
        if (!visit_window(*window, box, generation, visit)) return done();
        const mail::Uid last = window->messages.back().uid;
        if (window->messages.size() < kWindow || last.value == UINT32_MAX) break;
        next = mail::Uid{last.value + 1};
      }
    }
  }
  return done();
}

Done Ledger::check() {
  return impl_->read([](sqlite::Database& db) -> Done {
    if (auto ok = db.examine(); !ok) return ok;
    return rows::recount(db);
  });
}

}  // namespace mailhaul::store
