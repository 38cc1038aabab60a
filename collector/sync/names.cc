#include "collector/sync/names.h"

#include <algorithm>

#include "collector/sync/key.h"

namespace mailhaul::sync {

Result<std::shared_ptr<Names::Rows>> Names::load(UidValidity validity) {
  if (const auto it = loaded_.find(validity); it != loaded_.end()) return it->second;
  auto rows = std::make_shared<Rows>();
  if (ledger_ && row_.id.value != 0) {
    auto stored = ledger_->names(row_.id, validity);
    if (!stored) return stored.error();
    *rows = *std::move(stored);
  }
  loaded_.emplace(validity, rows);
  return rows;
}

Result<std::span<const store::NameRow>> Names::names(UidValidity validity) {
  auto rows = load(validity);
  if (!rows) return rows.error();
  return std::span<const store::NameRow>(**rows);
}

Done Names::add(UidValidity validity, std::vector<store::NameRow> names) {
  auto rows = load(validity);
  if (!rows) return rows.error();
  const auto now = clock_.unix_seconds();
  auto next = (*rows)->size();
  for (auto& row : names) {
    row.uid = Uid{static_cast<std::uint32_t>(++next)};
    row.first_seen = now;
  }
  if (!read_only_ && row_.id.value != 0) {
    auto transaction = ledger_->begin();
    if (!transaction) return transaction.error();
    if (auto r = transaction->add_names(row_.id, validity, names); !r) return r;
    if (auto r = transaction->commit(); !r) return r;
  }
  std::ranges::move(names, std::back_inserter(**rows));
  return done();
}

Done Names::update(UidValidity validity, const UidSet& uids, const std::function<void(store::NameRow&)>& change) {
  auto rows = load(validity);
  if (!rows) return rows.error();
  std::vector<store::NameRow> changed;
  uids.each([&](Uid uid) {
    if (uid.value == 0 || uid.value > (*rows)->size()) return;
    changed.push_back((**rows)[uid.value - 1]);
    change(changed.back());
  });
  if (!read_only_ && row_.id.value != 0) {
    auto transaction = ledger_->begin();
    if (!transaction) return transaction.error();
    for (const auto& row : changed)
      if (auto r = transaction->update_name(row_.id, validity, row); !r) return r;
    if (auto r = transaction->commit(); !r) return r;
  }
  for (auto& row : changed) (**rows)[row.uid.value - 1] = std::move(row);
  return done();
}

Done Names::note_octets(UidValidity validity, const std::map<Uid, std::uint64_t>& octets) {
  UidSet uids;
  for (const auto& [uid, size] : octets) uids.add(uid);
  return update(validity, uids, [&](store::NameRow& row) { row.octets = octets.at(row.uid); });
}

Done Names::mean_removal(UidValidity validity, const UidSet& uids) {
  const auto now = clock_.unix_seconds();
  return update(validity, uids, [&](store::NameRow& row) { row.removal_meant = now; });
}

Result<UidSet> Names::in_state(std::span<const store::MessageState> states) {
  if (!ledger_ || row_.id.value == 0) return UidSet{};
  return ledger_->uids(row_.id, row_.generation, states);
}

Result<std::vector<store::MessageRow>> Names::rows(const UidSet& uids) {
  std::vector<store::MessageRow> out;
  if (!ledger_ || row_.id.value == 0) return out;
  for (const auto& range : uids.ranges()) {
    auto rows = ledger_->messages(row_.id, row_.generation, Uid{range.first}, Uid{range.last}, SIZE_MAX >> 1);
    if (!rows) return rows;
    std::ranges::move(*rows, std::back_inserter(out));
  }
  return out;
}

Result<KeyOf> Names::key_maker(std::string account_uuid, std::string raw_mailbox, std::optional<UidValidity> validity) {
  auto rows = load(validity.value_or(UidValidity{0}));
  if (!rows) return rows.error();
  return KeyOf(
      [uuid = std::move(account_uuid), mailbox = std::move(raw_mailbox), names = *rows](Uid uid, std::uint32_t reuse) {
        // A row without a name can only come from a damaged ledger; its key then is nobody else's.
        const auto known = uid.value > 0 && uid.value <= names->size();
        return known ? named_delivery_key(uuid, mailbox, (*names)[uid.value - 1].name, reuse)
                     : delivery_key(uuid, mailbox, std::nullopt, uid, reuse);
      });
}

}  // namespace mailhaul::sync
