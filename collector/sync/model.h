// What the planner looks at. Values only: no I/O, no clock. One window of UIDs of one mailbox at a time, so that memory
// does not grow with the mailbox.
#pragma once
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "protocols/mail/flags.h"
#include "protocols/mail/identity.h"
#include "store/destination.h"
#include "store/ledger.h"

namespace mailhaul::sync {

using mail::FlagSet;
using mail::Uid;
using mail::UidSet;
using mail::UidValidity;
using store::DeliveryKey;

struct SourceMessage {  // RFC 4549 §3: a descriptor, enough to decide without the body
  Uid uid;
  std::optional<FlagSet> flags;       // known only if it was asked for or has changed
  std::optional<std::uint64_t> size;  // RFC822.SIZE, a hint; asked for only when the policy needs it
  std::optional<std::int64_t> date;   // INTERNALDATE, Unix seconds; likewise
  std::string email_id{};   // where the server names messages across mailboxes, of those that are not delivered
  std::string elsewhere{};  // it is kept in this mailbox, and not here; empty: it is not
};

struct SourceWindow {
  std::vector<SourceMessage> messages;  // uid ascending: new, changed or due ones; silence about others means nothing
  UidSet vanished;                      // proved by two kinds of evidence to be gone from the source
  bool removals = false;                // the view is clean and nothing is held: the policy may touch their copies
};

struct LedgerWindow {  // the rows of the same UIDs, uid ascending
  std::vector<store::MessageRow> rows;
  std::vector<store::PlacementRow> placements;
};

struct Copy {  // a message that lies at the destination under one of our keys
  DeliveryKey key{};
  FlagSet flags;
};

// What happens to the copy of a message that has vanished from the source.
enum class OnSourceDelete : std::uint8_t {
  Keep,    // nothing
  Flag,    // it gets the keyword kSourceGone, until the message is there again
  Remove,  // it is removed after the grace period, whatever flags its owner has set
};
inline constexpr const char* kSourceGone = "$SourceGone";

struct Policy {
  std::uint64_t max_size = std::numeric_limits<std::uint64_t>::max();  // octets
  std::int64_t since = std::numeric_limits<std::int64_t>::min();       // Unix seconds; older mail is excluded
  OnSourceDelete on_source_delete = OnSourceDelete::Keep;
  std::int64_t grace = std::int64_t{7} * 86'400;  // seconds
  std::uint64_t fuse_messages = 50;               // the fuse: see anomalous()
  std::uint64_t fuse_percent = 20;
  std::optional<std::int64_t> leave{};  // named sources: seconds that a message stays there; nullopt: for ever
  [[nodiscard]] bool needs_descriptors() const { return max_size != Policy{}.max_size || since != Policy{}.since; }
  bool operator==(const Policy&) const = default;
};

// The key under which a message of this mailbox and generation is delivered; computed from identity alone.
using KeyOf = std::function<DeliveryKey(Uid uid, std::uint32_t reuse)>;

}  // namespace mailhaul::sync
