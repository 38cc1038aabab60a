// The transaction as its users see it: each operation finds its rows and is carried out by Transaction::Impl.
#include "store/ledger_impl.h"

namespace mailhaul::store {
namespace {

Done changed_one(const sqlite::Database& db, const char* what) {
  if (db.changes() == 1) return done();
  return rows::refused(std::string("no row for ") + what);
}

}  // namespace

Result<Ledger::Transaction> Ledger::begin() {
  if (impl_->owner.load() == std::this_thread::get_id())
    return rows::refused("this thread holds a transaction already");
  auto impl = std::make_unique<Transaction::Impl>(*impl_);
  if (impl_->broken) return *impl_->broken;
  // IMMEDIATE: a lock that a foreign program holds shows here, not in the middle of the work.
  if (auto ok = impl->db.use("BEGIN IMMEDIATE")->run(); !ok) return ok.error();
  impl->begun = true;
  impl_->owner.store(std::this_thread::get_id());
  return Transaction(std::move(impl));
}

Ledger::Transaction::Transaction(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Ledger::Transaction::Transaction(Transaction&&) noexcept = default;
Ledger::Transaction::~Transaction() = default;

Done Ledger::Transaction::commit() {
  if (!impl_->begun) return rows::refused("commit of a transaction that has ended");
  if (auto ok = impl_->attempt([&] { return impl_->flush(); }); !ok) {
    (void)impl_->finish("ROLLBACK");  // the first error is the one to tell
    return ok;
  }
  return impl_->finish("COMMIT");
}

Result<AccountRow> Ledger::Transaction::add_account(std::string_view identity, std::string_view uuid) {
  return impl_->attempt([&]() -> Result<AccountRow> {
    auto q = impl_->db.use("INSERT INTO account (identity, uuid) VALUES (?1, ?2)");
    q->bind(1, identity);
    q->bind(2, uuid);
    if (auto ok = q->run(); !ok) return ok.error().in("add account " + printable(identity));
    return AccountRow{AccountId{impl_->db.last_id()}, std::string(identity), std::string(uuid)};
  });
}

Done Ledger::Transaction::update_account(const AccountRow& row) {
  return impl_->attempt([&] {
    auto q = impl_->db.use("UPDATE account SET rest_until = ?2, connections = ?3 WHERE id = ?1");
    q->bind(1, row.id.value);
    q->bind(2, row.rest_until);
    q->bind(3, row.connections);
    return q->run();
  });
}

Done Ledger::Transaction::spend(AccountId account, std::int64_t day_began, std::uint64_t day_octets) {
  return impl_->attempt([&] {
    auto q = impl_->db.use("UPDATE account SET day_began = ?2, day_octets = ?3 WHERE id = ?1");
    q->bind(1, account.value);
    q->bind(2, day_began);
    q->bind(3, day_octets);
    return q->run();
  });
}

Result<MailboxRow> Ledger::Transaction::add_mailbox(AccountId account, const MailboxRow& row) {
  return impl_->attempt([&] { return impl_->add_mailbox(account, row); });
}

Done Ledger::Transaction::update_mailbox(const MailboxRow& row) {
  return impl_->attempt([&] { return impl_->update_mailbox(row); });
}

Done Ledger::Transaction::new_generation(MailboxId mailbox, std::optional<mail::UidValidity> validity,
                                         std::int64_t now) {
  return impl_->attempt([&] { return impl_->new_generation(mailbox, validity, now); });
}

Done Ledger::Transaction::list(MailboxId mailbox, std::uint32_t generation, const mail::UidSet& uids) {
  return impl_->attempt([&]() -> Done {
    auto life = impl_->life(mailbox, generation);
    if (!life) return life.error();
    if (!(*life)->current) return rows::refused("UIDs listed for a generation that has ended");
    return impl_->list(**life, uids);
  });
}

Done Ledger::Transaction::put(MailboxId mailbox, std::uint32_t generation, const MessageRow& row) {
  return impl_->attempt([&]() -> Done {
    auto life = impl_->life(mailbox, generation);
    if (!life) return life.error();
    return impl_->put_one(**life, row);
  });
}

Done Ledger::Transaction::settle(MailboxId mailbox, std::uint32_t generation, std::span<const Settled> settled) {
  return impl_->attempt([&]() -> Done {
    auto life = impl_->life(mailbox, generation);
    if (!life) return life.error();
    return impl_->settle(**life, settled);
  });
}

Done Ledger::Transaction::set_state(MailboxId mailbox, std::uint32_t generation, mail::Uid uid, MessageState state,
                                    std::string_view reason) {
  return impl_->attempt([&]() -> Done {
    auto life = impl_->life(mailbox, generation);
    if (!life) return life.error();
    const auto key = (*life)->key(uid);
    auto before = impl_->stored(key);
    if (!before) return before.error();
    if (!*before) return rows::refused("no row for UID " + std::to_string(uid.value));
    auto q =
        impl_->db.use("UPDATE message SET state = ?2, reason = ?3 WHERE id = ?1 AND (state <> ?2 OR reason IS NOT ?3)");
    q->bind(1, key);
    q->bind(2, state);
    if (reason.empty())
      q->bind_null(3);
    else
      q->bind(3, reason);
    if (auto ok = q->run(); !ok) return ok;
    Impl::moved(**life, *before, Impl::Stored{state, (*before)->octets});
    return done();
  });
}

Done Ledger::Transaction::vanish(MailboxId mailbox, std::uint32_t generation, mail::Uid uid, std::int64_t now) {
  return impl_->attempt([&]() -> Done {
    auto life = impl_->life(mailbox, generation);
    if (!life) return life.error();
    return impl_->change(**life, uid, MessageState::Vanished,
                         "UPDATE message SET state = ?2, reason = NULL, missing_since = ?3, removal = 0 "
                         "WHERE id = ?1 AND state <> ?2",
                         now);
  });
}

Done Ledger::Transaction::revive(MailboxId mailbox, std::uint32_t generation, mail::Uid uid) {
  return impl_->attempt([&]() -> Done {
    auto life = impl_->life(mailbox, generation);
    if (!life) return life.error();
    return impl_->change(**life, uid, MessageState::Delivered,
                         "UPDATE message SET state = ?2, reason = NULL, missing_since = ?3, removal = 0 WHERE id = ?1",
                         0);
  });
}

Done Ledger::Transaction::relist(MailboxId mailbox, std::uint32_t generation, mail::Uid uid) {
  if (auto dropped = remove_placement(mailbox, generation, uid); !dropped) return dropped;
  return impl_->attempt([&]() -> Done {
    auto life = impl_->life(mailbox, generation);
    if (!life) return life.error();
    return impl_->change(**life, uid, MessageState::Listed,
                         "UPDATE message SET state = ?2, flags = 0, keywords = NULL, next_flags = NULL, next_keywords "
                         "= NULL, reason = NULL, missing_since = ?3, removal = 0 WHERE id = ?1",
                         0);
  });
}

Done Ledger::Transaction::not_missing(MailboxId mailbox, std::uint32_t generation, mail::Uid uid) {
  return impl_->attempt([&]() -> Done {
    auto life = impl_->life(mailbox, generation);
    if (!life) return life.error();
    return impl_->change(**life, uid, MessageState::Vanished,
                         "UPDATE message SET missing_since = ?3 WHERE id = ?1 AND state = ?2", 0);
  });
}

Done Ledger::Transaction::identify(MailboxId mailbox, std::uint32_t generation, mail::Uid uid,
                                   std::string_view email_id) {
  return impl_->attempt([&]() -> Done {
    auto life = impl_->life(mailbox, generation);
    if (!life) return life.error();
    auto q = impl_->db.use("UPDATE message SET email_id = ?2 WHERE id = ?1 AND email_id IS NOT ?2");
    q->bind(1, (*life)->key(uid));
    q->bind_text(2, email_id);
    return q->run();
  });
}

Done Ledger::Transaction::set_removal(MailboxId mailbox, std::uint32_t generation, mail::Uid uid, Removal removal) {
  if (removal == Removal::Done)
    if (auto dropped = remove_placement(mailbox, generation, uid); !dropped) return dropped;
  return impl_->attempt([&]() -> Done {
    auto life = impl_->life(mailbox, generation);
    if (!life) return life.error();
    return impl_->change(**life, uid, MessageState::Vanished,
                         "UPDATE message SET removal = ?3 WHERE id = ?1 AND state = ?2",
                         static_cast<std::int64_t>(removal));
  });
}

Done Ledger::Transaction::intend_flags(MailboxId mailbox, std::uint32_t generation, mail::Uid uid,
                                       const mail::FlagSet& next_base) {
  return impl_->attempt([&]() -> Done {
    auto life = impl_->life(mailbox, generation);
    if (!life) return life.error();
    const std::string keywords = rows::joined(next_base);
    auto q = impl_->db.use("UPDATE message SET next_flags = ?2, next_keywords = ?3 WHERE id = ?1");
    q->bind(1, (*life)->key(uid));
    rows::bind_flags(*q, 2, 3, next_base, keywords);
    if (auto ok = q->run(); !ok) return ok;
    return changed_one(impl_->db, "the flags meant");
  });
}

Done Ledger::Transaction::settle_flags(MailboxId mailbox, std::uint32_t generation, mail::Uid uid,
                                       const mail::FlagSet& base) {
  return impl_->attempt([&]() -> Done {
    auto life = impl_->life(mailbox, generation);
    if (!life) return life.error();
    const std::string keywords = rows::joined(base);
    auto q = impl_->db.use(
        "UPDATE message SET flags = ?2, keywords = ?3, next_flags = NULL, next_keywords = NULL WHERE id = ?1");
    q->bind(1, (*life)->key(uid));
    rows::bind_flags(*q, 2, 3, base, keywords);
    if (auto ok = q->run(); !ok) return ok;
    return changed_one(impl_->db, "the flags settled");
  });
}

Done Ledger::Transaction::remove_placement(MailboxId mailbox, std::uint32_t generation, mail::Uid uid) {
  return impl_->attempt([&]() -> Done {
    auto life = impl_->life(mailbox, generation);
    if (!life) return life.error();
    auto q = impl_->db.use("DELETE FROM placement WHERE message = ?1");
    q->bind(1, (*life)->key(uid));
    return q->run();
  });
}

Done Ledger::Transaction::rebind(MailboxId mailbox, std::uint32_t from_generation, mail::Uid from,
                                 std::uint32_t generation, mail::Uid to) {
  return impl_->attempt([&]() -> Done {
    auto old_life = impl_->life(mailbox, from_generation);
    if (!old_life) return old_life.error();
    auto new_life = impl_->life(mailbox, generation);
    if (!new_life) return new_life.error();
    return impl_->rebind(**old_life, from, **new_life, to);
  });
}

Result<RunId> Ledger::Transaction::start_run(AccountId account, std::int64_t now) {
  return impl_->attempt([&]() -> Result<RunId> {
    auto q = impl_->db.use("INSERT INTO run (account, started) VALUES (?1, ?2)");
    q->bind(1, account.value);
    q->bind(2, now);
    if (auto ok = q->run(); !ok) return ok.error();
    return RunId{impl_->db.last_id()};
  });
}

Done Ledger::Transaction::end_run(const RunRow& row) {
  return impl_->attempt([&]() -> Done {
    auto q = impl_->db.use(
        "UPDATE run SET ended = ?2, outcome = ?3, delivered = ?4, octets = ?5, failed = ?6 WHERE id = ?1");
    q->bind(1, row.id.value);
    q->bind(2, row.ended);
    q->bind(3, row.outcome);
    q->bind(4, row.delivered);
    q->bind(5, row.octets);
    q->bind(6, row.failed);
    if (auto ok = q->run(); !ok) return ok;
    return changed_one(impl_->db, "the run");
  });
}

Result<MailboxRow> Ledger::Transaction::mailbox(MailboxId mailbox) {
  return impl_->attempt([&]() -> Result<MailboxRow> {
    if (auto ok = impl_->flush(); !ok) return ok.error();
    return rows::mailbox(impl_->db, mailbox);
  });
}

Result<std::vector<MessageRow>> Ledger::Transaction::messages(MailboxId mailbox, std::uint32_t generation,
                                                              mail::Uid first, mail::Uid last, std::size_t limit) {
  return impl_->attempt([&]() -> Result<std::vector<MessageRow>> {
    auto life = impl_->life(mailbox, generation);
    if (!life) return life.error();
    return rows::messages(impl_->db, **life, first, last, limit);
  });
}

Result<mail::UidSet> Ledger::Transaction::uids(MailboxId mailbox, std::uint32_t generation,
                                               std::span<const MessageState> states, std::int64_t due_by) {
  return impl_->attempt([&]() -> Result<mail::UidSet> {
    auto life = impl_->life(mailbox, generation);
    if (!life) return life.error();
    return rows::uids(impl_->db, **life, states, due_by);
  });
}

Result<std::vector<PlacementRow>> Ledger::Transaction::placements(MailboxId mailbox, std::uint32_t generation,
                                                                  mail::Uid first, mail::Uid last) {
  return impl_->attempt([&]() -> Result<std::vector<PlacementRow>> {
    auto life = impl_->life(mailbox, generation);
    if (!life) return life.error();
    return rows::placements(impl_->db, **life, first, last);
  });
}

}  // namespace mailhaul::store
