#include "collector/sync/plan.h"

#include <algorithm>

namespace mailhaul::sync {
namespace {

using store::MessageRow;
using store::MessageState;

// Flag by flag, where the old and the next base differ, the copy shows which one holds: we may have stopped between
// telling the destination and settling the row.
FlagSet settled_base(const MessageRow& row, const FlagSet& copy) {
  if (!row.next_base) return row.base;
  const auto agreed = row.base.intersected(*row.next_base);
  const auto disputed = row.base.united(*row.next_base).minus(agreed);
  return agreed.united(disputed.intersected(copy));
}

const MessageRow* find_row(const LedgerWindow& ledger, Uid uid) {
  const auto it = std::ranges::lower_bound(ledger.rows, uid, {}, &MessageRow::uid);
  return it != ledger.rows.end() && it->uid == uid ? &*it : nullptr;
}

const DeliveryKey* placed_key(const LedgerWindow& ledger, Uid uid) {
  const auto it = std::ranges::lower_bound(ledger.placements, uid, {}, &store::PlacementRow::uid);
  return it != ledger.placements.end() && it->uid == uid ? &it->key : nullptr;
}

class Planner {
 public:
  Planner(const Policy& policy, const SourceWindow& source, const LedgerWindow& ledger, const std::vector<Copy>& copies,
          const KeyOf& key_of, std::int64_t now)
      : policy_(policy), source_(source), ledger_(ledger), copies_(copies), key_of_(key_of), now_(now) {}

  Plan run() {
    for (const auto& message : source_.messages) present(message, find_row(ledger_, message.uid));
    source_.vanished.each([&](Uid uid) {
      if (const auto* row = find_row(ledger_, uid)) vanished(*row);
    });
    return std::move(plan_);
  }

 private:
  void present(const SourceMessage& message, const MessageRow* row) {
    if (!row) return undelivered(message, nullptr);
    switch (row->state) {
      case MessageState::Listed:
      case MessageState::Excluded:
      case MessageState::Failed:
      case MessageState::Gone:
        return undelivered(message, row);
      case MessageState::Vanished:
        act(Revive{message.uid});
        [[fallthrough]];
      case MessageState::Delivered:
        return flags(message, *row);
      case MessageState::Orphan:
        return;  // belongs to another generation; never in this window
    }
  }

  void undelivered(const SourceMessage& message, const MessageRow* row) {
    const auto reuse = row ? row->reuse : 0;
    const auto key = key_of_(message.uid, reuse);
    if (find(key)) return act(Adopt{message.uid, key, reuse, !row});
    if (auto reason = unwanted(message); !reason.empty()) {
      if (!row || row->state != MessageState::Excluded || row->reason != reason)
        act(Exclude{message.uid, std::move(reason)});
      return;
    }
    if (row && row->state == MessageState::Failed && row->next_try > now_) return;
    act(Deliver{message.uid, key, reuse, !row});
  }

  [[nodiscard]] std::string unwanted(const SourceMessage& message) const {
    if (message.size && *message.size > policy_.max_size)
      return "larger than " + std::to_string(policy_.max_size) + " octets";
    if (message.date && *message.date < policy_.since) return "older than the date asked for";
    return {};
  }

  void flags(const SourceMessage& message, const MessageRow& row) {
    if (!message.flags) return;
    const auto* key = placed_key(ledger_, message.uid);
    const auto* copy = key ? find(*key) : nullptr;
    if (!copy) {  // its owner removed it; remember what the source says all the same, or it is asked about for ever
      if (row.base != *message.flags || row.next_base) act(SettleFlags{message.uid, *message.flags});
      return;
    }
    const auto base = settled_base(row, copy->flags);
    if (*message.flags == base && !row.next_base) return;
    // Also where the copy has them already: who renamed it, perhaps we before we were cut off, may not have made that
    // durable, and the executor does.
    act(StoreFlags{message.uid, *key, merged(base, *message.flags, copy->flags), *message.flags});
  }

  void vanished(const MessageRow& row) {
    switch (row.state) {
      case MessageState::Listed:
      case MessageState::Excluded:
      case MessageState::Failed:
        return act(MarkGone{row.uid});
      case MessageState::Delivered:
        return act(MarkVanished{row.uid});
      case MessageState::Gone:
      case MessageState::Vanished:
      case MessageState::Orphan:
        return;
    }
  }

  [[nodiscard]] const Copy* find(const DeliveryKey& key) const {
    const auto it = std::ranges::lower_bound(copies_, key, {}, &Copy::key);
    return it != copies_.end() && it->key == key ? &*it : nullptr;
  }

  void act(Action action) { plan_.actions.push_back(std::move(action)); }

  const Policy& policy_;
  const SourceWindow& source_;
  const LedgerWindow& ledger_;
  const std::vector<Copy>& copies_;
  const KeyOf& key_of_;
  std::int64_t now_;
  Plan plan_;
};

}  // namespace

FlagSet merged(const FlagSet& base, const FlagSet& source, const FlagSet& destination) {
  const auto dropped = base.minus(source);
  const auto added = source.minus(base);
  return destination.minus(dropped).united(added);
}

std::vector<DeliveryKey> keys_of_interest(const SourceWindow& source, const LedgerWindow& ledger, const KeyOf& key_of) {
  std::vector<DeliveryKey> keys;
  keys.reserve(source.messages.size());
  for (const auto& message : source.messages) {
    const auto* row = find_row(ledger, message.uid);
    if (row && (row->state == MessageState::Delivered || row->state == MessageState::Vanished)) {
      const auto* key = message.flags ? placed_key(ledger, message.uid) : nullptr;
      if (key) keys.push_back(*key);
    } else {
      keys.push_back(key_of(message.uid, row ? row->reuse : 0));
    }
  }
  std::ranges::sort(keys);
  return keys;
}

Plan plan(const Policy& policy, const SourceWindow& source, const LedgerWindow& ledger, const std::vector<Copy>& copies,
          const KeyOf& key_of, std::int64_t now) {
  return Planner(policy, source, ledger, copies, key_of, now).run();
}

}  // namespace mailhaul::sync
