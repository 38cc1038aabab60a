#include "collector/sync/plan.h"

#include <algorithm>

namespace mailhaul::sync {
namespace {

using store::MessageRow;
using store::MessageState;
using store::Removal;

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
        return again(message, *row);
      case MessageState::Delivered:
        return flags(message, *row, message.flags);
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
    if (!message.elsewhere.empty()) return "kept in " + message.elsewhere;
    if (message.size && *message.size > policy_.max_size)
      return "larger than " + std::to_string(policy_.max_size) + " octets";
    if (message.date && *message.date < policy_.since) return "older than the date asked for";
    return {};
  }

  void again(const SourceMessage& message, const MessageRow& row) {
    const auto* copy = placed_copy(message.uid);
    if (!placed_key(ledger_, message.uid) || (row.removal == Removal::Meant && !copy)) {
      act(Relist{message.uid});
      auto listed = row;
      listed.state = MessageState::Listed;
      return undelivered(message, &listed);
    }
    act(Revive{message.uid});
    if (message.flags) return flags(message, row, message.flags);
    const auto marked = row.base.united(row.next_base.value_or(FlagSet{})).has(kSourceGone);
    if (!marked) return;
    auto source = copy ? settled_base(row, copy->flags) : row.base;
    source.remove(kSourceGone);
    flags(message, row, source);
  }

  void flags(const SourceMessage& message, const MessageRow& row, const std::optional<FlagSet>& source) {
    if (!source) return;
    const auto* key = placed_key(ledger_, message.uid);
    const auto* copy = placed_copy(message.uid);
    if (!copy) {  // its owner removed it; remember what the source says all the same, or it is asked about for ever
      if (row.base != *source || row.next_base) act(SettleFlags{message.uid, *source});
      return;
    }
    const auto base = settled_base(row, copy->flags);
    if (*source == base && !row.next_base) return;
    // Also where the copy has them already: who renamed it, perhaps we before we were cut off, may not have made that
    // durable, and the executor does.
    act(StoreFlags{message.uid, *key, merged(base, *source, copy->flags), *source});
  }

  void vanished(const MessageRow& row) {
    switch (row.state) {
      case MessageState::Listed:
      case MessageState::Excluded:
      case MessageState::Failed:
        return act(MarkGone{row.uid});
      case MessageState::Delivered:
        act(MarkVanished{row.uid});
        return its_copy(row, now_);
      case MessageState::Vanished:
        return its_copy(row, row.missing_since);
      case MessageState::Gone:
      case MessageState::Orphan:
        return;
    }
  }

  // The copy of what vanished.
  void its_copy(const MessageRow& row, std::int64_t since) {
    if (!source_.removals || policy_.on_source_delete == OnSourceDelete::Keep) return;
    const auto* key = placed_key(ledger_, row.uid);
    const bool settled = row.removal == Removal::Done || row.removal == Removal::ByOwner;
    if (!key || (settled && row.state == MessageState::Vanished)) return;
    const auto* copy = find(*key);
    const bool flag = policy_.on_source_delete == OnSourceDelete::Flag;
    if (!flag && now_ - since < policy_.grace && copy) return;
    if (!copy) return row.removal == Removal::Meant ? act(Remove{row.uid, *key}) : act(NoteRemoved{row.uid});
    if (!flag) return act(Remove{row.uid, *key});
    const auto base = settled_base(row, copy->flags);
    if (base.has(kSourceGone) && !row.next_base) return;  // who has taken the mark off since wants it off
    auto source = base;
    source.add(kSourceGone);
    act(StoreFlags{row.uid, *key, merged(base, source, copy->flags), source});
  }

  [[nodiscard]] const Copy* placed_copy(Uid uid) const {
    const auto* key = placed_key(ledger_, uid);
    return key ? find(*key) : nullptr;
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

bool anomalous(const Policy& policy, std::uint64_t vanished, std::uint64_t left) {
  if (vanished == 0) return false;
  if (left == 0) return true;
  return vanished > policy.fuse_messages && vanished * 100 > (vanished + left) * policy.fuse_percent;
}

bool removable_at_source(const Policy& policy, const store::MessageRow& row, const Leaving& facts, std::int64_t now) {
  if (!policy.leave || row.state != MessageState::Delivered || !row.sha256) return false;
  if (!facts.delivered_before || !facts.copy_whole || !facts.same_at_source || !facts.quiet) return false;
  return now - facts.first_seen >= *policy.leave;
}

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
    const auto* key = row ? placed_key(ledger, message.uid) : nullptr;
    if (row && row->state == MessageState::Delivered) {
      // Flags that are as agreed need no look at the copy: on most days those are all.
      const bool agreed = !message.flags || (*message.flags == row->base && !row->next_base);
      if (key && !agreed) keys.push_back(*key);
    } else if (row && row->state == MessageState::Vanished && key) {
      keys.push_back(*key);
      if (row->removal == Removal::Meant) keys.push_back(key_of(message.uid, row->reuse));
    } else {
      keys.push_back(key_of(message.uid, row ? row->reuse : 0));
    }
  }
  if (source.removals)
    source.vanished.each([&](Uid uid) {
      if (const auto* key = placed_key(ledger, uid)) keys.push_back(*key);
    });
  std::ranges::sort(keys);
  keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
  return keys;
}

Plan plan(const Policy& policy, const SourceWindow& source, const LedgerWindow& ledger, const std::vector<Copy>& copies,
          const KeyOf& key_of, std::int64_t now) {
  return Planner(policy, source, ledger, copies, key_of, now).run();
}

}  // namespace mailhaul::sync
