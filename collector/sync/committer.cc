#include "collector/sync/committer.h"

#include <map>
#include <utility>

namespace mailhaul::sync {

static constexpr std::int64_t kTryRefusedAgain = std::int64_t{7} * 86'400;  // seconds: a destination rarely changes
static constexpr std::size_t kSettleAtOnce = 256;                           // rows copied out of a batch at a time

Committer::Committer(store::Destination& destination, store::Ledger& ledger, const Clock& clock, bool threaded,
                     std::function<void(const Settled&)> on_settled)
    : destination_(destination), ledger_(ledger), clock_(clock), on_settled_(std::move(on_settled)) {
  if (threaded) thread_ = std::jthread([this](const std::stop_token& stop) { work(stop); });
}

Committer::~Committer() {
  if (!thread_.joinable()) return;
  (void)finish();  // a caller that wanted the outcome has asked for it
  thread_.request_stop();
  changed_.notify_all();
}

Done Committer::submit(Batch batch) {
  if (batch.items.empty()) return done();
  if (!thread_.joinable()) {
    if (outcome_) outcome_ = commit(batch);
    return outcome_;
  }
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return (waiting_.empty() && !busy_) || !outcome_; });
  if (outcome_) {
    waiting_.push_back(std::move(batch));
    changed_.notify_all();
  }
  return outcome_;
}

Done Committer::finish() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return (waiting_.empty() && !busy_) || !outcome_; });
  changed_.wait(lock, [&] { return !busy_; });
  return outcome_;
}

void Committer::work(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (changed_.wait(lock, stop, [&] { return !waiting_.empty(); })) {
    Batch batch = std::move(waiting_.front());
    waiting_.pop_front();
    busy_ = true;
    changed_.notify_all();
    lock.unlock();
    auto outcome = commit(batch);
    batch = {};
    lock.lock();
    busy_ = false;
    if (!outcome) {
      outcome_ = std::move(outcome);
      waiting_.clear();
    }
    changed_.notify_all();
    if (!outcome_) return;
  }
}

Done Committer::commit(Batch& batch) {
  std::vector<std::pair<std::string, store::Delivery>> deliveries;
  deliveries.reserve(batch.items.size());
  for (std::size_t i = 0; i < batch.items.size(); ++i)
    deliveries.emplace_back(batch.directories[i], std::move(batch.items[i].delivery));
  std::vector<bool> delivered(batch.items.size());
  {
    auto files = destination_.deliver(deliveries);
    if (!files) return files.error();
    // No file name: the key was there already, and the next run adopts what lies under it.
    for (std::size_t i = 0; i < files->size(); ++i) delivered[i] = !(*files)[i].empty();
  }

  auto transaction = ledger_.begin();
  if (!transaction) return transaction.error();
  std::vector<store::Ledger::Transaction::Settled> rows;
  std::map<std::size_t, Settled> sums;
  for (std::size_t i = 0; i < batch.items.size();) {  // items of one mailbox stand together
    const auto& first = batch.items[i];
    rows.clear();
    for (; i < batch.items.size() && batch.items[i].mailbox == first.mailbox && rows.size() < kSettleAtOnce; ++i) {
      if (const auto why = deliveries[i].second.message.refused(); !delivered[i] && !why.empty()) {
        auto& row = batch.items[i].row;
        row.state = store::MessageState::Failed;
        row.reason = why;
        row.attempts = 1;
        row.next_try = clock_.unix_seconds() + kTryRefusedAgain;
        if (auto put = transaction->put(first.mailbox_id, first.generation, row); !put) return put;
      }
      if (!delivered[i]) continue;
      auto& sum = sums[first.mailbox];
      sum.mailbox = first.mailbox;
      ++sum.messages;
      sum.octets += batch.items[i].row.octets.value_or(0);
      rows.push_back({std::move(batch.items[i].row), batch.directories[i], deliveries[i].second.key});
    }
    if (auto settled = transaction->settle(first.mailbox_id, first.generation, rows); !settled) return settled;
  }
  if (auto committed = transaction->commit(); !committed) return committed;
  for (const auto& [mailbox, sum] : sums) on_settled_(sum);
  return done();
}

}  // namespace mailhaul::sync
