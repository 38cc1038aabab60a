// Private to the room: a run's working state per mailbox, and what a window's plan boils down to.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "collector/sync/key.h"
#include "collector/sync/plan.h"
#include "collector/sync/ports.h"
#include "collector/sync/report.h"
#include "store/destination.h"
#include "store/ledger.h"

namespace mailhaul::sync {

// A mailbox's plans, folded: 200,000 deliveries are a few ranges, not 200,000 actions.
struct Intentions {
  UidSet list;  // rows to be written as listed
  UidSet deliver;
  UidSet follow;  // to be copied from what lies here, or what comes under another name in this group
  std::map<Uid, std::uint32_t> reuse;  // where it is not 0
  std::vector<Adopt> adopt;            // of the current window only
  std::vector<std::pair<Exclude, SourceMessage>> exclude;
  std::vector<std::pair<StoreFlags, store::FoundCopy>> flags;
  std::vector<SettleFlags> settle_flags;
  std::vector<Uid> revive, gone, vanished, relist;
  std::vector<Uid> revive_levelled;  // revived once their flags are: the mark goes first
  std::vector<std::pair<Remove, std::optional<store::FoundCopy>>> remove;
  std::vector<Uid> note_removed;
  [[nodiscard]] bool says_something() const {
    return !list.empty() || !exclude.empty() || !flags.empty() || !settle_flags.empty() || !revive.empty() ||
           !gone.empty() || !vanished.empty();
  }
};

// Rows whose messages are at the source, as far as is known.
inline std::uint64_t alive_rows(const store::Tally& tally) {
  using store::MessageState;
  return tally.of(MessageState::Listed) + tally.of(MessageState::Delivered) + tally.of(MessageState::Excluded) +
         tally.of(MessageState::Failed);
}

struct Work {
  SourceMailbox source;
  store::MailboxRow row;  // as stored; id 0: not stored (dry run)
  KeyOf key_of;
  MailboxReport report;
  MailboxView view;
  bool observed = false;
  bool clean = false;    // the observation accounts for EXISTS
  bool planned = false;  // all of what was observed
  bool beyond = false;   // there are rows from the floor upwards: an earlier run was cut short
  bool fresh_generation = false;
  bool needed = false;
  bool removals = false;   // windows planned now are of vanished messages whose copies may be touched
  bool audit = false;      // the whole list and all flags, whatever STATUS says
  std::string by_content;  // why its UIDs are not trusted from one run to the next; empty: they are
  bool replaced = false;   // another message lies under a known UID
  bool suspect = false;    // the server seems to have gone back in time: are the UIDs still the same messages?
  UidSet told_gone;        // alive rows that the server calls vanished, while the count bears it out
  UidSet vanished;         // proved
  UidSet had;              // named mailboxes: delivered before this run
  UidSet postponed;        // new ones that may be old ones: the server did not show what they are
  Intentions todo;
  std::uint64_t delivered_before = 0;

  [[nodiscard]] FetchQueue::Mailbox fetch(std::size_t index, UidSet uids) const {
    return {index, source.raw_name, view.validity, std::move(uids)};
  }
};

}  // namespace mailhaul::sync
