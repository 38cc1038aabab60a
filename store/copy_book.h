// What lies where in an IMAP account that mail is delivered to: the keys that its copies have no room for. One row a
// copy: meant before the APPEND is sent, stored once its UID is known. SQLite in WAL with synchronous=FULL, a file of
// its own beside the ledger. Knows rows; knows no protocol.
//
// Thread-safe. Errors: Scope::Service, as the ledger's.
#pragma once
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/result.h"
#include "protocols/mail/digest.h"
#include "protocols/mail/identity.h"
#include "store/destination.h"

namespace mailhaul::sqlite {
class Database;
}

namespace mailhaul::store {

enum class CopyState : std::uint8_t {
  Meant = 0,    // it may or may not be there: in doubt until somebody has looked
  Stored = 1,   // under `uid`
  Unnamed = 2,  // it is there (the server said OK), under a UID that nobody has told
};

struct CopyRow {
  DeliveryKey key{};
  CopyState state = CopyState::Meant;
  mail::Uid uid{0};           // 0: not known
  mail::Uid floor{1};         // its UID is not below this
  std::int64_t meant_at = 0;  // Unix seconds
  std::uint64_t octets = 0;   // as it was sent
  std::int64_t seconds = 0;   // INTERNALDATE
  mail::Sha256Digest sha256{};
  std::string message_id;
  std::array<std::uint8_t, 16> header_digest{};
};

class CopyBook {
 public:
  using MailboxNumber = std::int64_t;

  // Creates the file, too. ":memory:" for tests.
  static Result<std::unique_ptr<CopyBook>> open(const std::string& path);
  ~CopyBook();

  Result<MailboxNumber> mailbox(std::string_view name);  // the row is made if there is none
  Result<std::optional<mail::UidValidity>> validity(MailboxNumber mailbox);
  // Another UIDVALIDITY: no UID is known any more, what was stored is Unnamed with floor 1.
  Done set_validity(MailboxNumber mailbox, mail::UidValidity validity);

  Result<std::vector<CopyRow>> find(MailboxNumber mailbox, std::span<const DeliveryKey> keys);  // in their order
  Result<std::vector<CopyRow>> unsettled(MailboxNumber mailbox);  // Meant or Unnamed, in the order they were meant
  Result<bool> doubts(MailboxNumber mailbox);                     // is there any that is Meant?
  Result<mail::UidSet> known_uids(MailboxNumber mailbox);

  Done put(MailboxNumber mailbox, std::span<const CopyRow> rows);  // one transaction; insert or replace
  Done forget(MailboxNumber mailbox, std::span<const DeliveryKey> keys);

  Result<std::optional<std::string>> read_own(std::string_view name);
  Done write_own(std::string_view name, std::string_view content);

 private:
  explicit CopyBook(std::unique_ptr<sqlite::Database> database);
  Done in_transaction(const std::function<Done()>& work);
  std::unique_ptr<sqlite::Database> db_;
  std::mutex mutex_;
};

}  // namespace mailhaul::store
