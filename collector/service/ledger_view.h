// What the ledger of a job says, for people: where every mailbox stands, and single messages. Reads beside a run.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "protocols/base/result.h"
#include "store/ledger.h"

namespace mailhaul::service {

struct Counts {  // listed = delivered + excluded + failed + pending + gone
  std::uint64_t listed = 0, delivered = 0, excluded = 0, failed = 0, pending = 0, gone = 0;
  std::uint64_t octets = 0;  // of delivered ones
  void add(const Counts& other);
};

struct MailboxView {
  std::string name, destination;
  Counts counts;
  std::optional<std::uint64_t> exists;
  std::string held;  // why its removals wait for a person; empty: they do not
};

struct MessageView {
  std::string mailbox;
  std::uint32_t generation = 0;
  store::MessageRow row;
};

struct MessageFilter {
  std::optional<store::MessageState> state;
  std::string mailbox;  // empty: all
  std::string cursor;   // empty: from the start
  std::size_t limit = 100;
};

struct MessagePage {
  std::vector<MessageView> messages;
  std::string next;  // empty: the end
};

// Of the source `identity` ("imap:user@host") in the ledger at `path`. Nothing collected yet: empty.
Result<std::vector<MailboxView>> mailboxes_in(const std::string& path, const std::string& identity);
Result<MessagePage> messages_in(const std::string& path, const std::string& identity, const MessageFilter& filter);
// Failed messages are tried again by the next run. Not while a run is on.
Done make_failed_due(const std::string& path, const std::string& identity);

}  // namespace mailhaul::service
