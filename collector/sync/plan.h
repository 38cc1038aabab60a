// The decision. plan() is a pure function: no I/O, no clock, no logging. The same arguments give the same plan, and
// planning again after the plan was executed yields nothing.
//
// clang-format off
// clang-format off
// | source           | ledger row               | destination       | action |
// |------------------|--------------------------|-------------------|----------------------------------------------------|
// | present          | none, listed             | its key is there  | Adopt, if its header agrees (else Deliver, reuse + 1) |
// | present          | none, listed             | nothing           | Deliver, or Exclude with a reason |
// | present          | none, listed, failed     | nothing           | Exclude, if it is kept elsewhere (Gmail's labels) |
// | present          | excluded                 | any               | judged again under today's policy |
// | present          | failed                   | nothing           | Deliver when its next try is due |
// | present          | gone                     | any               | as none: the server shows it again |
// | present          | delivered                | its key           | three-way flags: StoreFlags or nothing |
// | present          | delivered                | nothing           | the owner removed it, it stays removed (SettleFlags only) |
// | present          | vanished                 | any               | Revive, then as delivered; a mark $SourceGone goes |
// | present          | vanished, we removed it  | nothing           | Relist, then as listed |
// | proved vanished  | listed, excluded, failed | –                 | MarkGone |
// | proved vanished  | delivered                | any               | MarkVanished, then as vanished |
//
// and, where removals are allowed (the view clean, nothing held):
// | proved vanished  | vanished                 | its key           | keep: nothing; flag: StoreFlags with $SourceGone, once; |
// |                  |                          |                   | remove: Remove when the grace period is over |
// | proved vanished  | vanished                 | nothing           | NoteRemoved: the owner was first |
// | proved vanished  | vanished, removal meant  | nothing           | Remove: we were cut off after it |
// clang-format on
#pragma once
#include <string>
#include <variant>
#include <vector>

#include "collector/sync/model.h"

namespace mailhaul::sync {

struct Deliver {
  Uid uid;
  DeliveryKey key{};
  std::uint32_t reuse = 0;
  bool new_row = false;
};
struct Adopt {
  Uid uid;
  DeliveryKey key{};
  std::uint32_t reuse = 0;
  bool new_row = false;
};  // executor: only if the header digest agrees
struct Exclude {
  Uid uid;
  std::string reason;
};
struct StoreFlags {
  Uid uid;
  DeliveryKey key{};
  FlagSet flags;
  FlagSet base;
};  // flags: of the copy; base: agreed afterwards
struct SettleFlags {
  Uid uid;
  FlagSet base;
};  // nothing to do at the destination, both sides agree on base
struct Revive {
  Uid uid;
};
struct MarkGone {
  Uid uid;
};
struct MarkVanished {
  Uid uid;
};
struct Relist {
  Uid uid;
};  // its copy was removed by policy: it is delivered again
struct Remove {
  Uid uid;
  DeliveryKey key{};
};  // the file, if it is still there
struct NoteRemoved {
  Uid uid;
};
using Action = std::variant<Deliver, Adopt, Exclude, StoreFlags, SettleFlags, Revive, MarkGone, MarkVanished, Relist,
                            Remove, NoteRemoved>;

struct Plan {
  std::vector<Action> actions;  // by uid ascending
};

// `copies` sorted by key. `now` is Unix seconds, for what is due.
Plan plan(const Policy& policy, const SourceWindow& source, const LedgerWindow& ledger, const std::vector<Copy>& copies,
          const KeyOf& key_of, std::int64_t now);

// The fuse. Of a mailbox, or an account, `vanished` messages were lost lately (those that a person has let go not
// counted) and `left` are there: too many for removals to go on by themselves? More than max(50, 20 %), or all.
bool anomalous(const Policy& policy, std::uint64_t vanished, std::uint64_t left);

// Of a source that is not mirrored but emptied (POP3): may this message be deleted there now? What is asked of it:
struct Leaving {
  bool delivered_before = false;  // by an earlier session than this one
  bool copy_whole = false;        // the copy was read again just now, and its digest is what was delivered
  bool same_at_source = false;    // this session's list has it, under the same name and with the same size or header
  bool quiet = true;              // nothing odd in this run: no new validity, the list adds up
  std::int64_t first_seen = 0;    // Unix seconds
};
bool removable_at_source(const Policy& policy, const store::MessageRow& row, const Leaving& facts, std::int64_t now);

// Three-way, flag by flag, in one direction: what the source added or dropped since `base` is applied to the
// destination; flags that its owner set there stay.
FlagSet merged(const FlagSet& base, const FlagSet& source, const FlagSet& destination);

// The keys whose copies plan() will ask about, sorted: those of undelivered messages by identity, those of
// delivered ones by placement.
std::vector<DeliveryKey> keys_of_interest(const SourceWindow& source, const LedgerWindow& ledger, const KeyOf& key_of);

}  // namespace mailhaul::sync
