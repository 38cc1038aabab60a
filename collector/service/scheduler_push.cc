// Jobs whose server tells of new mail: who is listened to, and what becomes of what is heard.
#include <algorithm>

#include "collector/reach.h"
#include "collector/service/scheduler.h"

namespace mailhaul::service {

using registry::Id;

Result<std::unique_ptr<client::Watch>> Scheduler::open_watch(Id account, const std::stop_token& stop) {
  auto row = registry_.account(account);
  if (!row) return row.error();
  if (!*row) return Error{Scope::Account, Retry::Never, "the account was removed", ""};
  Order order;
  order.account = **std::move(row);
  auto job = engine_job(ground_, order);
  if (!job) return job.error();
  if (job->source.protocol != collector::Protocol::Imap)
    return Error{Scope::Account, Retry::Never, "a POP3 server cannot tell of new mail", ""};
  auto client = collector::connect_imap(*job, stop);
  if (!client) return client.error();
  return client::Watch::begin(*std::move(client), "INBOX");
}

// Called with the lock held.
void Scheduler::listen_for(const Entry& entry, bool there, bool anew) {
  const auto job = entry.row.id, account = entry.row.account;
  const bool wanted = there && entry.when == When::Push && !entry.row.paused && !stopping_;
  if (wanted) {
    listeners_[account].insert(job);
    watcher_.want(account, anew);
  } else if (const auto it = listeners_.find(account); it != listeners_.end() && it->second.erase(job) > 0) {
    if (!it->second.empty()) return;
    listeners_.erase(it);
    watcher_.forget(account);
  }
}

void Scheduler::heard(Id account, bool mail) {
  constexpr std::int64_t kSoon = 30, kAfterFailure = 60;
  {
    const std::lock_guard lock(mutex_);
    const auto it = listeners_.find(account);
    if (it == listeners_.end()) return;
    const auto now = clock_.unix_seconds();
    for (const auto job : it->second) {
      const auto found = entries_.find(job);
      if (found == entries_.end()) continue;
      auto& entry = found->second;
      if (entry.row.paused || entry.row.attention) continue;
      if (entry.running) {
        entry.again = true;
        entry.again_for_mail = entry.again_for_mail || mail;
        continue;
      }
      const auto wait = entry.row.failures > 0 ? kAfterFailure : mail ? 0 : kSoon;
      entry.due = std::min(entry.due, now + wait);
      if (wait == 0 && !std::exchange(entry.pushed, true)) entry.pushed_at = clock_.steady();
    }
  }
  if (mail) woken_.notify_all();
}

// A run has ended during which there was news: once more, at once.
void Scheduler::run_again(Entry& entry) {
  if (!std::exchange(entry.again, false)) return;
  const bool mail = std::exchange(entry.again_for_mail, false);
  if (entry.row.failures > 0 || entry.row.attention || entry.row.paused) return;
  constexpr std::int64_t kSoon = 30;
  entry.due = std::min(entry.due, clock_.unix_seconds() + (mail ? 0 : kSoon));
  entry.pushed = mail;
  entry.pushed_at = clock_.steady();
}

// New mail waits neither for a backlog of its own job nor for that of another one into the same destination: a run that
// lasts is stopped between two batches, and goes on afterwards.
void Scheduler::make_way(std::chrono::steady_clock::time_point now) {
  constexpr std::chrono::seconds kPatience{1}, kLasting{10};
  const auto stop = [&](Entry& entry) {
    if (!entry.running || entry.sliced || now - entry.began < kLasting) return;
    entry.sliced = true;
    entry.stop.request_stop();
  };
  for (auto& [id, entry] : entries_) {
    if (entry.running && entry.again_for_mail) stop(entry);
    if (!entry.pushed || entry.running || now - entry.pushed_at < kPatience) continue;
    if (!busy_destinations_.contains(entry.row.destination)) continue;
    for (auto& [other_id, other] : entries_)
      if (other.running && other.row.destination == entry.row.destination) stop(other);
  }
}

// A run that outlasts the time between two polls begins anew: what has arrived meanwhile comes before the backlog.
void Scheduler::look_again(std::chrono::steady_clock::time_point now) {
  for (auto& [id, entry] : entries_) {
    if (!entry.running || !entry.collecting || entry.sliced || entry.period.count() == 0) continue;
    if (now - entry.began < std::max(entry.period, settings_.slice)) continue;
    entry.sliced = true;
    entry.stop.request_stop();
  }
}

// A poll that finds mail in INBOX, of which nobody has told, is a reason to listen no more; where nobody is listened
// to, polls come more often.
std::optional<std::int64_t> Scheduler::next_poll(const Task& task, const Ran& ran, const Schedule& schedule,
                                                 std::int64_t now) {
  auto as_asked = schedule;
  if (schedule.when == When::Push) {
    if (!task.pushed && !task.wished && ran.delivered_inbox > 0) watcher_.missed(task.order.account.id);
    constexpr unsigned kDeaf = 5;
    if (!watcher_.listening(task.order.account.id)) as_asked.minutes = std::min(schedule.minutes, kDeaf);
  }
  return next_run(as_asked, now, spread(task.job));
}

}  // namespace mailhaul::service
