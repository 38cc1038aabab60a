// Private to the ledger: rows in and out of SQLite, and the reads that a Ledger and a Transaction share. Everything
// here works on a connection that the caller holds.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "migrations/migrations.h"
#include "store/ledger.h"
#include "store/sqlite/database.h"

namespace mailhaul::store {

struct LedgerOptions {
  std::span<const migrations::Migration> migrations = migrations::all();
  bool exclusive = false;  // as if the file were on a network file system
  int max_pages = 0;       // 0: no limit; else a full disk at so many pages
};

namespace rows {

Error refused(std::string what);  // the request contradicts the rows

// One generation as the message table knows it.
struct Life {
  std::int64_t id = 0;  // generation.id
  std::uint32_t number = 0;
  bool current = false;
  [[nodiscard]] std::int64_t key(mail::Uid uid) const { return id << 32 | static_cast<std::int64_t>(uid.value); }
};
inline mail::Uid uid_of(std::int64_t key) { return mail::Uid{static_cast<std::uint32_t>(key & 0xFFFFFFFF)}; }
Result<Life> find_life(sqlite::Database& db, MailboxId mailbox, std::uint32_t generation);  // 0: the current one

// The columns of `message` after id, in the order that bind_message() and read_message() use.
#define MAILHAUL_MESSAGE_COLUMNS                                                                  \
  "state, flags, keywords, next_flags, next_keywords, octets, internal_date, date_source, form, " \
  "sha256, message_id, header_digest, email_id, reuse, reason, attempts, next_try, missing_since, removal"

// Binds id to parameter 1 and the columns to 2 … 20. Lives until the statement has been stepped, with `row`.
class BoundMessage {
 public:
  void bind(sqlite::Statement& statement, std::int64_t key, const MessageRow& row);

 private:
  std::string keywords_, next_keywords_;
};
MessageRow read_message(const sqlite::Statement& statement);  // columns: id, then as above
std::string joined(const mail::FlagSet& flags);               // its keywords as stored
void bind_flags(sqlite::Statement& statement, int bits, int keywords, const mail::FlagSet& flags,
                const std::string& text);

// The tally columns of `generation`, as SELECT list and as fourteen columns from `first` on.
#define MAILHAUL_TALLY_COLUMNS                                                                         \
  "generation.listed, generation.delivered, generation.excluded, generation.failed, generation.gone, " \
  "generation.vanished, generation.orphan, generation.listed_octets, generation.delivered_octets, "    \
  "generation.excluded_octets, generation.failed_octets, generation.gone_octets, "                     \
  "generation.vanished_octets, generation.orphan_octets"
Tally read_tally(const sqlite::Statement& statement, int first);

Result<std::vector<MailboxRow>> mailboxes(sqlite::Database& db, AccountId account);
Result<MailboxRow> mailbox(sqlite::Database& db, MailboxId id);
void bind_mailbox(sqlite::Statement& statement, const MailboxRow& row);  // parameters 1 … 12, as in mailbox_columns
Result<std::vector<MessageRow>> messages(sqlite::Database& db, const Life& life, mail::Uid first, mail::Uid last,
                                         std::size_t limit);
Result<std::vector<MessageRow>> newest(sqlite::Database& db, const Life& life, std::size_t limit);
Result<mail::UidSet> uids(sqlite::Database& db, const Life& life, std::span<const MessageState> states,
                          std::int64_t due_by);
Result<std::vector<PlacementRow>> placements(sqlite::Database& db, const Life& life, mail::Uid first, mail::Uid last);
Result<std::vector<Sibling>> siblings(sqlite::Database& db, AccountId account, std::string_view email_id);
Result<mail::UidSet> vanished_copies(sqlite::Database& db, const Life& life, std::int64_t by);
Result<std::uint64_t> vanished_count(sqlite::Database& db, const Life& life, const MailboxRow& row, std::int64_t since,
                                     bool waiting);
Done recount(sqlite::Database& db);  // every tally against the rows, in one snapshot

}  // namespace rows
}  // namespace mailhaul::store
