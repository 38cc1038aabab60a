// The decision. plan() is a pure function: no I/O, no clock, no logging. The same arguments give the same plan, and
// planning again after the plan was executed yields nothing.
//
// clang-format off
// | source          | ledger row               | destination      | action                                                    |
// |-----------------|--------------------------|------------------|-----------------------------------------------------------|
// | present         | none, listed             | its key is there | Adopt, if its header agrees (else Deliver, reuse + 1)     |
// | present         | none, listed             | nothing          | Deliver, or Exclude with a reason                         |
// | present         | excluded                 | any              | judged again under today's policy                         |
// | present         | failed                   | nothing          | Deliver when its next try is due                          |
// | present         | gone                     | any              | as none: the server shows it again                        |
// | present         | delivered                | its key          | three-way flags: StoreFlags or nothing                    |
// | present         | delivered                | nothing          | the owner removed it, it stays removed (SettleFlags only) |
// | present         | vanished                 | any              | Revive, then as delivered                                 |
// | proved vanished | listed, excluded, failed | –                | MarkGone                                                  |
// | proved vanished | delivered                | any              | MarkVanished; the copy is kept                            |
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
using Action = std::variant<Deliver, Adopt, Exclude, StoreFlags, SettleFlags, Revive, MarkGone, MarkVanished>;

struct Plan {
  std::vector<Action> actions;  // by uid ascending
};

// `copies` sorted by key. `now` is Unix seconds, for what is due.
Plan plan(const Policy& policy, const SourceWindow& source, const LedgerWindow& ledger, const std::vector<Copy>& copies,
          const KeyOf& key_of, std::int64_t now);

// Three-way, flag by flag, in one direction: what the source added or dropped since `base` is applied to the
// destination; flags that its owner set there stay.
FlagSet merged(const FlagSet& base, const FlagSet& source, const FlagSet& destination);

// The keys whose copies plan() will ask about, sorted: those of undelivered messages by identity, those of
// delivered ones by placement.
std::vector<DeliveryKey> keys_of_interest(const SourceWindow& source, const LedgerWindow& ledger, const KeyOf& key_of);

}  // namespace mailhaul::sync
