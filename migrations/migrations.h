// The schema's history, embedded in the binary at build time from migrations/NNNN_name.sql.
#pragma once
#include <span>

namespace mailhaul::migrations {

struct Migration {
  int number;        // 1, 2, 3 …; never reused, never edited once released
  const char* name;  // "0001_initial"
  const char* sql;   // may hold several statements
};

// All migrations this binary knows, ascending: of a ledger, of the service's own database, of what is kept of an
// IMAP destination (store/copy_book.h), and of contacts (store/card_ledger.h).
std::span<const Migration> all();
std::span<const Migration> service();
std::span<const Migration> copies();
std::span<const Migration> cards();

}  // namespace mailhaul::migrations
