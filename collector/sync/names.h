// The NameBook on the ledger: which name has which UID, and the delivery keys that follow from the names.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "collector/sync/ports.h"
#include "store/ledger.h"

namespace mailhaul::sync {

class Names final : public NameBook {
 public:
  // Without a ledger, or with `read_only`, what add() gives lives in memory alone (dry runs, verify).
  Names(store::Ledger* ledger, const Clock& clock, bool read_only)
      : ledger_(ledger), clock_(clock), read_only_(read_only || ledger == nullptr) {}

  // The mailbox as it is stored now; id 0: it is not.
  void bind(const store::MailboxRow& row) { row_ = row; }

  [[nodiscard]] std::optional<UidValidity> validity() const override { return row_.uid_validity; }
  Result<std::span<const store::NameRow>> names(UidValidity validity) override;
  Done add(UidValidity validity, std::vector<store::NameRow> names) override;
  Done note_octets(UidValidity validity, const std::map<Uid, std::uint64_t>& octets) override;
  Result<UidSet> in_state(std::span<const store::MessageState> states) override;
  Result<std::vector<store::MessageRow>> rows(const UidSet& uids) override;

  // Says that the deletion of these messages at the source is meant.
  Done mean_removal(UidValidity validity, const UidSet& uids);
  // Keys of the messages under this validity. It must not outlive the book.
  Result<KeyOf> key_maker(std::string account_uuid, std::string raw_mailbox, std::optional<UidValidity> validity);

 private:
  using Rows = std::vector<store::NameRow>;
  Result<std::shared_ptr<Rows>> load(UidValidity validity);
  Done update(UidValidity validity, const UidSet& uids, const std::function<void(store::NameRow&)>& change);

  store::Ledger* ledger_;
  const Clock& clock_;
  bool read_only_;
  store::MailboxRow row_;
  std::map<UidValidity, std::shared_ptr<Rows>> loaded_;
};

}  // namespace mailhaul::sync
