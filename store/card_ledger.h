// What is known of contacts: one row a card, in exactly one state, beside the ledger of the mail (`state.db.cards`).
// SQLite in WAL with synchronous=FULL. Knows rows; knows no protocol. Its owner holds the ledger's lock.
//
// Belongs to one thread at a time. Errors: Scope::Service, as the ledger's.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/result.h"
#include "protocols/mail/digest.h"

namespace mailhaul::sqlite {
class Database;
}

namespace mailhaul::store {

enum class CardState : std::uint8_t {
  Listed = 0,     // known, not yet delivered
  Delivered = 1,  // `file` has what the source had under `etag`
  Failed = 3,     // for `reason`; tried again from `next_try` on
  Gone = 4,       // vanished before it was delivered
  Vanished = 5,   // delivered, and no longer at the source since `missing_since`
};
std::string_view to_text(CardState state);

struct CardRow {
  std::string path;  // identity within its book
  std::string url;   // where it is fetched
  CardState state = CardState::Listed;
  std::string wanted;  // the source's ETag, as it was seen last
  std::string etag;    // the ETag of what is delivered
  std::optional<std::uint64_t> listed_octets;
  std::uint64_t octets = 0;
  std::optional<mail::Sha256Digest> sha256;  // of what was delivered: the base
  std::string file;                          // its name in the book's directory
  std::string reason;
  std::uint32_t attempts = 0;
  std::int64_t next_try = 0;       // Unix seconds
  std::int64_t missing_since = 0;  // Unix seconds; 0: it is there
  bool removed = false;            // its file was removed by the policy
  bool kept_both = false;          // the owner's version stands beside it
  // Said before a file changes, and taken back when the row is settled; empty name: nothing is under way.
  std::string next_etag;
  std::optional<mail::Sha256Digest> next_sha256;
  std::string next_file;
  std::uint64_t next_octets = 0;
};

struct BookRow {
  std::int64_t id = 0;
  std::string path;       // identity within its account
  std::string directory;  // below the vdir
  std::string name, color;
  std::string version;     // what the source last said of its state, once all of that was in the rows
  std::string sync_token;  // likewise
  std::string hold;        // why removals are held; empty: they are not
};

struct CardAccount {
  std::int64_t id = 0;
  std::string identity;  // "carddav:user@https://host", "vcf:/path"
  std::string home;      // where its address books were found
};

class CardLedger {
 public:
  static Result<std::unique_ptr<CardLedger>> open(const std::string& path);  // creates it, too; ":memory:" for tests
  ~CardLedger();

  Result<CardAccount> account(std::string_view identity);  // made if there is none
  Result<std::vector<CardAccount>> accounts();
  Done set_home(std::int64_t account, std::string_view home);

  Result<std::vector<BookRow>> books(std::int64_t account);
  Result<BookRow> book(std::int64_t account, std::string_view path, std::string_view directory);  // made if none
  Result<std::vector<CardRow>> cards(std::int64_t book);                                          // by path

  // Inserts or replaces, all or nothing.
  Done put(std::int64_t book, std::span<const CardRow> rows);
  Done put(const BookRow& book);

 private:
  explicit CardLedger(std::unique_ptr<sqlite::Database> database);
  std::unique_ptr<sqlite::Database> db_;
};

}  // namespace mailhaul::store
