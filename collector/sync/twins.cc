// Messages that came with the octets of another one. Two that really are the same are both delivered; where the
// server's own headers show that they are two, the wrong one has not come and is asked for again.
#include <algorithm>
#include <map>

#include "collector/sync/engine.h"

namespace mailhaul::sync {
namespace {

using Digest = std::array<std::uint8_t, 16>;
using Told = std::map<std::pair<std::size_t, Uid>, Digest>;  // by the server's headers

// Items of one mailbox with the same octets; true: it is the message of its UID, or nobody can tell.
std::vector<bool> judge(std::span<const BatchItem* const> group, const Told& told, const Arrivals& arrivals) {
  std::vector<bool> right, known, out;
  for (const auto* item : group) {
    const auto it = told.find({item->mailbox, item->row.uid});
    known.push_back(it != told.end());
    right.push_back(known.back() && it->second == item->row.header_digest);
  }
  const bool any = std::ranges::find(right, true) != right.end();
  for (std::size_t i = 0; i < group.size(); ++i) {
    const auto* wanted = arrivals.wanted(group[i]->mailbox);
    const bool doubtful = wanted && wanted->doubtful.contains(group[i]->row.uid);
    // A server whose header fields are none of these octets' may write them in another way.
    out.push_back(!known[i] || right[i] || (!any && !doubtful));
  }
  return out;
}

}  // namespace

Done Engine::judge_twins(Arrivals& arrivals, Committer& committer) {
  auto held = arrivals.take_held();
  if (held.empty()) return done();
  std::vector<std::pair<BatchItem*, std::string*>> all;
  std::map<std::size_t, UidSet> uids;
  for (auto& batch : held)
    for (std::size_t i = 0; i < batch.items.size(); ++i) {
      all.emplace_back(&batch.items[i], &batch.directories[i]);
      uids[batch.items[i].mailbox].add(batch.items[i].row.uid);
    }
  Told told;
  for (const auto& box : uids) {
    const auto index = box.first;
    const auto& of = box.second;
    auto headers = on_source([&](Source& source) { return source.headers(works_[index].fetch(index, of)); });
    if (!headers && headers.error().scope == Scope::Mailbox) continue;
    if (!headers) return headers.error();
    for (const auto& header : *headers) told[{index, header.uid}] = header.evidence.header_digest;
  }
  const auto key = [](const auto& one) { return std::pair(one.first->mailbox, one.first->row.sha256); };
  std::ranges::sort(all, {}, key);
  Batch good;
  for (std::size_t i = 0; i < all.size();) {
    std::vector<const BatchItem*> group;
    const auto first = i;
    for (; i < all.size() && key(all[i]) == key(all[first]); ++i) group.push_back(all[i].first);
    const auto verdicts = judge(group, told, arrivals);
    for (std::size_t n = 0; n < group.size(); ++n) {
      auto& [item, directory] = all[first + n];
      if (!verdicts[n]) {
        arrivals.doubt(item->mailbox, item->row.uid);
        continue;
      }
      good.octets += item->row.octets.value_or(0);
      good.directories.push_back(std::move(*directory));
      good.items.push_back(std::move(*item));
    }
  }
  return good.items.empty() ? done() : committer.submit(std::move(good));
}

// Of these an earlier run was sent another message.
Result<UidSet> Engine::doubtful(const Work& work) {
  constexpr store::MessageState kFailed[] = {store::MessageState::Failed};
  auto failed = context_.ledger->uids(work.row.id, work.row.generation, kFailed);
  if (!failed) return failed;
  UidSet out;
  for (const auto& range : failed->intersect(work.todo.deliver).ranges()) {
    auto rows =
        context_.ledger->messages(work.row.id, work.row.generation, Uid{range.first}, Uid{range.last}, SIZE_MAX >> 1);
    if (!rows) return rows.error();
    for (const auto& row : *rows)
      if (row.reason == kAnotherMessage) out.add(row.uid);
  }
  return out;
}

}  // namespace mailhaul::sync
