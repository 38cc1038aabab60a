// The planner's values as short texts, so that a decision is one line of a table. Everything is about UID 7.
//
//   flags    letters D F R S T, then keywords: "FS+work+$junk"; "-" for none
//   source   "present [flags=…] [size=…] [date=…] [elsewhere=mailbox]" | "vanished" | "vanished allowed" (removals are)
//   | "silent" row      "none" | "<state> [base=…] [next=…] [reuse=n] [at=key] [try=t] [reason=…] [since=t]
//   [removal=meant|done|owner]"; at= is
//            the placement, by its reuse counter
//   copy     "nothing" | "n[:flags]": a file under the key with reuse counter n; several separated by blanks
//   plan     actions joined by "; ": "deliver 0 new", "adopt 0", "exclude: reason", "store 0 FS agree S",
//            "agree S", "revive", "gone", "vanished", "relist", "remove 0", "note removed"
#pragma once
#include <span>
#include <string>
#include <string_view>

#include "collector/sync/plan.h"

namespace mailhaul::sync {

inline constexpr Uid kSeven{7};

FlagSet flags_of(std::string_view text);
std::string to_text(const FlagSet& flags);

DeliveryKey key_of(Uid uid, std::uint32_t reuse);  // readable: the UID and the counter

struct Situation {
  Policy policy;
  SourceWindow source;
  LedgerWindow ledger;
  std::vector<Copy> copies;
  std::int64_t now = 1000;

  void set_source(std::string_view text);
  void set_row(std::string_view text);
  void set_copies(std::string_view text);
  [[nodiscard]] Plan decide() const;
};

std::string to_text(const Plan& plan);

// Carries a plan out as the engine would if everything succeeds: what is left is the situation after the run.
void execute(const Plan& plan, Situation& situation);

// A line of a table: source, row and copies, and the plan they lead to.
struct Decision {
  const char* source;
  const char* row;
  const char* copies;
  const char* plan;
};
void hold(std::span<const Decision> table, const Policy& policy = {});

Policy policy_of(OnSourceDelete what, std::int64_t grace = 100);

}  // namespace mailhaul::sync
