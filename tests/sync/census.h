// What is really there, read without the code under test: the files of a Maildir by their names and bytes, and the rows
// of the ledger.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "store/ledger.h"
#include "tests/support/memory_file_system.h"

namespace mailhaul::test {

struct CensusFile {
  std::string directory;  // "" is INBOX
  std::string part;       // "cur" or "new"
  std::string name;
  std::string key;      // its 26 letters; empty: not a name of ours
  std::string letters;  // after ":2,"
  std::string content;
  mail::FlagSet flags;  // letters, and keywords by the directory's dovecot-keywords
  std::int64_t seconds = 0, modified = 0;
  std::uint64_t disk = 0, crlf = 0;  // S= and W=
};

struct CensusRow {
  std::string mailbox;  // raw name
  std::string destination;
  std::optional<std::uint64_t> validity;
  bool current = false;  // of the mailbox's current generation
  store::MessageRow row;
  std::vector<store::PlacementRow> copies;
  bool operator==(const CensusRow&) const = default;
};

struct Census {
  std::vector<CensusFile> files;
  std::vector<CensusRow> rows;
  std::vector<store::MailboxRow> mailboxes;
  std::map<std::string, std::string> everything;  // every path in the Maildir with its content
  std::string trouble;                            // something could not be read, or is malformed
};

// Rows: of the accounts whose identity begins with `identity`.
Census take_census(MemoryFileSystem& fs, const std::string& root, store::Ledger& ledger, const std::string& identity);

std::string to_text(const Census& census);  // for people who look for a bug

// What the letters of a name mean in its directory.
mail::FlagSet flags_by_letters(const CensusFile& file, const Census& all);

// The wire octets of a stored message.
std::string wire_of(const std::string& content, store::StoredForm form);

}  // namespace mailhaul::test
