// One run: one account into one destination, mailbox by mailbox, in groups that are observed together so that round
// trips do not add up. Observe → plan → say → adopt → level flags → fetch, deliver, settle → move the cursors.
#pragma once
#include <chrono>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "collector/sync/events.h"
#include "collector/sync/model.h"
#include "collector/sync/ports.h"
#include "collector/sync/report.h"
#include "protocols/base/result.h"
#include "protocols/base/types.h"
#include "store/destination.h"
#include "store/ledger.h"

namespace mailhaul::sync {

using SourceFactory = std::function<Result<std::unique_ptr<Source>>()>;

// Where a mailbox goes: hierarchy components at the destination. Two of one account meet there only if a person asked
// for it; otherwise the run gives the second another name.
struct Placing {
  std::vector<std::string> components;
  bool asked_for = false;
};

struct RunSettings {
  std::string identity;  // "imap:user@host[:port]": names the account in the ledger and beside the mail
  Policy policy;
  std::function<bool(const SourceMailbox&)> wanted;
  std::function<Placing(const SourceMailbox&)> place;
  std::vector<std::string> release;  // mailboxes, named as in the report, whose held removals may go ahead
  std::size_t connections = 1;
  std::uint64_t daily_octets = 0;          // bodies received in 24 hours; 0: no limit
  bool newest_first = false;               // of each mailbox; by ascending UID otherwise
  bool dry_run = false;                    // plans, reports, writes nothing
  bool threaded = true;                    // false: everything on the caller's thread (simulation)
  std::size_t reconnects = 5;              // in a row without progress
  std::chrono::seconds patience{15 * 60};  // waiting that the server asks for, without progress in between
};

struct RunContext {
  SourceFactory connect;
  store::Destination* destination = nullptr;  // nullptr: dry run into a destination that does not exist yet
  store::Ledger* ledger = nullptr;            // nullptr: dry run without a state
  EventSink events;
  const Clock* clock = nullptr;
  std::function<void(std::chrono::milliseconds)> wait;  // between reconnects; returns early on a stop
  std::stop_token stop;
};

// An Error is given only when nothing could be run at all (no connection, no login, no state); whatever happens later
// is in the report.
Result<Report> run(const RunSettings& settings, const RunContext& context);

// The ledger's row for this account in this very Maildir; an Error if nothing was ever collected from it here.
Result<store::AccountRow> find_account(store::Destination& destination, store::Ledger& ledger,
                                       const std::string& identity);

}  // namespace mailhaul::sync
