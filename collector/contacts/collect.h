// Contacts from a source into a vdir: list, say, fetch, place, settle. Stopped anywhere, by SIGKILL too, the next run
// neither loses nor repeats a card: what is listed is in the ledger before a cursor moves, and what a file is going to
// be is said before it changes.
#pragma once
#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "collector/contacts/plan.h"
#include "collector/contacts/source.h"
#include "protocols/base/types.h"
#include "store/card_ledger.h"
#include "store/vdir.h"

namespace mailhaul::contacts {

struct BookReport {
  std::string name;       // as people call it
  std::string directory;  // below the vdir; empty in a dry run into nothing
  // Of the cards that the ledger knows: listed = delivered + already + failed + pending + gone.
  std::uint64_t listed = 0, delivered = 0, already = 0, failed = 0, pending = 0, gone = 0;
  std::uint64_t bytes = 0;             // that were delivered
  std::uint64_t removed = 0;           // files, by the policy, in this run
  std::vector<std::string> conflicts;  // "<file> <second file>": both versions are kept
  std::vector<std::string> failures;   // "<path>: <reason>"
  std::string hold;                    // why removals are held
  std::string error;                   // the book could not be collected, or not to its end
};

struct Report {
  std::vector<BookReport> books;
  std::vector<std::string> vanished_books;  // collected once, no longer at the source; their cards stay
  std::size_t requests = 0;                 // to the server
  std::string error;                        // nothing could be collected
  [[nodiscard]] BookReport sum() const;
  [[nodiscard]] bool complete() const;  // nothing failed, nothing pending, no error
};

struct Settings {
  Policy policy;
  std::vector<std::string> release;  // books whose held removals may go ahead, by name
  bool dry_run = false;
  std::uint64_t max_card = std::uint64_t{256} << 20;  // octets; longer ones fail
};

struct Context {
  CardSource* source = nullptr;
  store::CardLedger* ledger = nullptr;  // dry run: may be one in memory
  store::FileSystem* files = nullptr;
  std::string vdir;  // the directory of the books
  const Clock* clock = nullptr;
  std::stop_token stop;
};

// Errors: of the account (no login, no address books). What befalls a book or a card is in the report.
Result<Report> collect(const Settings& settings, const Context& context);

std::string report_text(const Report& report);

}  // namespace mailhaul::contacts
