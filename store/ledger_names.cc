// The names of messages at sources without UIDs.
#include "store/ledger_impl.h"

namespace mailhaul::store {
namespace {

std::span<const std::uint8_t> octets_of(const std::string& text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

}  // namespace

Result<std::vector<NameRow>> Ledger::names(MailboxId mailbox, mail::UidValidity validity) {
  return impl_->read([&](sqlite::Database& db) -> Result<std::vector<NameRow>> {
    auto q = db.use(
        "SELECT uid, name, octets, first_seen, removal_meant FROM name WHERE mailbox = ?1 AND validity = ?2 "
        "ORDER BY uid");
    q->bind(1, mailbox.value);
    q->bind(2, validity.value);
    std::vector<NameRow> out;
    for (;;) {
      auto row = q->step();
      if (!row) return row.error();
      if (!*row) return out;
      const auto name = q->blob(1);
      out.push_back({mail::Uid{q->as<std::uint32_t>(0)}, std::string(name.begin(), name.end()), q->as<std::uint64_t>(2),
                     q->integer(3), q->integer(4)});
      if (out.back().uid.value != out.size()) return rows::refused("the UIDs of a mailbox's names have a gap");
    }
  });
}

Done Ledger::Transaction::add_names(MailboxId mailbox, mail::UidValidity validity, std::span<const NameRow> names) {
  return impl_->attempt([&]() -> Done {
    auto q = impl_->db.use(
        "INSERT INTO name (mailbox, validity, uid, name, octets, first_seen, removal_meant) "
        "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)");
    for (const auto& row : names) {
      q->bind(1, mailbox.value);
      q->bind(2, validity.value);
      q->bind(3, row.uid.value);
      q->bind_blob(4, octets_of(row.name));
      q->bind(5, row.octets);
      q->bind(6, row.first_seen);
      q->bind(7, row.removal_meant);
      if (auto ok = q->run(); !ok) return ok;
    }
    return done();
  });
}

Done Ledger::Transaction::update_name(MailboxId mailbox, mail::UidValidity validity, const NameRow& row) {
  return impl_->attempt([&]() -> Done {
    auto q = impl_->db.use(
        "UPDATE name SET octets = ?4, removal_meant = ?5 WHERE mailbox = ?1 AND validity = ?2 AND uid = ?3");
    q->bind(1, mailbox.value);
    q->bind(2, validity.value);
    q->bind(3, row.uid.value);
    q->bind(4, row.octets);
    q->bind(5, row.removal_meant);
    if (auto ok = q->run(); !ok) return ok;
    return impl_->db.changes() == 1 ? done() : rows::refused("no name for UID " + std::to_string(row.uid.value));
  });
}

}  // namespace mailhaul::store
