#include "collector/service/events.h"

#include <algorithm>
#include <utility>

namespace mailhaul::service {

void EventLog::add(Event event) {
  {
    const std::lock_guard lock(mutex_);
    event.id = ++last_;
    event.at = clock_.unix_seconds();
    events_.push_back(std::move(event));
    if (events_.size() > keep_) events_.pop_front();
  }
  if (listener_) listener_();
}

EventLog::Batch EventLog::after(std::uint64_t since, std::int64_t owner) const {
  constexpr std::size_t kMost = 500;
  const std::lock_guard lock(mutex_);
  Batch batch;
  batch.last = last_;
  batch.reset = since > last_ || (!events_.empty() && since + 1 < events_.front().id);
  if (since > last_) since = 0;
  auto at = std::ranges::upper_bound(events_, since, {}, &Event::id);
  for (; at != events_.end(); ++at) {
    if (owner != 0 && at->owner != owner) continue;
    if (batch.events.size() == kMost) {
      batch.last = batch.events.back().id;
      break;
    }
    batch.events.push_back(*at);
  }
  return batch;
}

std::uint64_t EventLog::last() const {
  const std::lock_guard lock(mutex_);
  return last_;
}

}  // namespace mailhaul::service
