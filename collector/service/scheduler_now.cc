// What others ask of the scheduler: states, progress, load.
#include <algorithm>

#include "collector/service/scheduler.h"

namespace mailhaul::service {

using registry::Id;
using registry::JobRow;

namespace {

constexpr std::int64_t kNever = INT64_MAX;
constexpr std::int64_t kDay = 86'400;

}  // namespace

JobState Scheduler::state_of(const Entry& entry, std::int64_t now) const {
  const auto& row = entry.row;
  if (entry.running) {
    return entry.meter && !entry.meter->now().waiting.empty() ? JobState::Waiting : JobState::Running;
  }
  if (row.paused) return JobState::Paused;
  if (!entry.extra.empty() || !row.wanted.empty()) return JobState::Queued;
  if (row.finished) return JobState::Finished;
  if (row.attention) return JobState::Attention;
  if (row.failures > 0) return now - row.failing_since >= kDay ? JobState::Failing : JobState::Waiting;
  return entry.due <= now ? JobState::Queued : JobState::Idle;
}

void Scheduler::tell(const JobRow& row, const Entry* entry) {
  events_.add({.kind = EventKind::Job,
               .owner = row.owner,
               .job = row.id,
               .state = entry ? state_of(*entry, clock_.unix_seconds()) : JobState::Idle});
}

Scheduler::Now Scheduler::now(Id job) const {
  const std::lock_guard lock(mutex_);
  const auto it = entries_.find(job);
  if (it == entries_.end()) return {};
  const auto& entry = it->second;
  Now now;
  now.state = state_of(entry, clock_.unix_seconds());
  now.next_run = entry.due == kNever || entry.row.paused ? 0 : entry.due;
  now.last_success = entry.last_success;
  now.listening = entry.when == When::Push && watcher_.listening(entry.row.account);
  if (entry.running && entry.meter) now.progress = entry.meter->now();
  return now;
}

Scheduler::Load Scheduler::load() const {
  const std::lock_guard lock(mutex_);
  const auto now = clock_.unix_seconds();
  Load load;
  load.jobs = entries_.size();
  for (const auto& [id, entry] : entries_) {
    if (entry.running) ++load.running;
    if (!wants(entry, now)) continue;
    ++load.queued;
    if (entry.due > 0 && entry.due <= now) load.lag = std::max(load.lag, now - entry.due);
  }
  return load;
}

Totals Scheduler::totals() const {
  const std::lock_guard lock(mutex_);
  return totals_;
}

}  // namespace mailhaul::service
