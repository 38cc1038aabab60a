// What came of a run, written down: its row, its job's, and what people are told.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "collector/service/notices.h"
#include "collector/service/notifier.h"
#include "collector/service/scheduler.h"

namespace mailhaul::service {

using registry::Id;
using registry::JobRow;
using registry::RunKind;
using registry::RunState;

namespace {

constexpr std::int64_t kNever = INT64_MAX;
constexpr std::int64_t kDay = 86'400;
constexpr std::size_t kRunsKept = 500;  // of a job

std::string counts_json(const Counts& c, std::size_t held) {
  return nlohmann::json{
      {"listed", c.listed},   {"delivered", c.delivered}, {"excluded", c.excluded}, {"failed", c.failed},
      {"pending", c.pending}, {"gone", c.gone},           {"octets", c.octets},     {"held", held}}
      .dump();
}

}  // namespace

// The run itself went as it went; that it is not written down must not pass in silence.
void Scheduler::tell_trouble(const Task& task, const Error& error) {
  events_.add({.kind = EventKind::Log,
               .owner = task.order.account.owner,
               .job = task.job,
               .run = task.run.id,
               .level = Level::Error,
               .text = "the run cannot be written down: " + error.what});
}

void Scheduler::settle(const Task& task, const Ran& ran) {
  bool sliced = false, cancelled = false;
  std::int64_t failures = 0;
  {
    const std::lock_guard lock(mutex_);
    if (const auto it = entries_.find(task.job); it != entries_.end()) {
      sliced = it->second.sliced && !it->second.cancelled;
      cancelled = it->second.cancelled;
      failures = it->second.row.failures;
    }
    ++totals_.runs;
    totals_.failed_runs += ran.state == RunState::Failed ? 1 : 0;
    totals_.messages += ran.delivered;
    totals_.octets += ran.octets;
  }
  auto row = task.run;
  // A series of failures leaves one row, not one a minute.
  const bool worth = row.id != 0 || ran.changed || ran.failed > 0 || (ran.state == RunState::Failed && failures == 0);
  if (worth && !(cancelled && row.id == 0)) {
    row.state = ran.state;
    row.ended = clock_.unix_seconds();
    row.delivered = ran.delivered;
    row.octets = ran.octets;
    row.failed = ran.failed;
    row.error = ran.error;
    row.advice = ran.advice;
    row.report = ran.report;
    if (row.id == 0) {
      auto id = registry_.add(row);
      if (id)
        row.id = *id;
      else
        tell_trouble(task, id.error());
    } else {
      if (auto kept = registry_.update(row); !kept) tell_trouble(task, kept.error());
    }
    (void)registry_.forget_runs(task.job, kRunsKept);
  }
  if (task.order.kind == RunKind::Collect) settle_collection(task, ran, row.id, sliced);
  const std::lock_guard lock(mutex_);
  busy_destinations_.erase(task.order.destination.id);
  if (--busy_hosts_[task.host] == 0) busy_hosts_.erase(task.host);
  const auto it = entries_.find(task.job);
  if (it == entries_.end()) return;
  it->second.running = false;
  it->second.meter.reset();
  run_again(it->second);
  if (row.id != 0)
    events_.add({.kind = EventKind::Run, .owner = task.order.account.owner, .job = task.job, .run = row.id});
  tell(it->second.row, &it->second);
}

void Scheduler::settle_collection(const Task& task, const Ran& ran, Id run, bool sliced) {
  const auto now = clock_.unix_seconds();
  Schedule schedule;
  JobRow before;
  {
    const std::lock_guard lock(mutex_);
    const auto it = entries_.find(task.job);
    if (it == entries_.end()) return;
    before = it->second.row;
  }
  (void)read_schedule(before.schedule, schedule);
  std::string counts = before.counts;
  if (run != 0 || counts.empty() || ran.held > 0)
    if (auto boxes = mailboxes_in(state_path(ground_.data, task.order.destination), identity_of(task.order.account))) {
      Counts sum;
      std::size_t held = 0;
      for (const auto& box : *boxes) {
        sum.add(box.counts);
        held += box.held.empty() ? 0 : 1;
      }
      counts = counts_json(sum, held);
    }
  const auto poll = next_poll(task, ran, schedule, now);
  std::int64_t due = kNever;
  const auto settle_row = [&](JobRow& row) {
    row.counts = counts;
    if (task.wished && row.wanted == before.wanted) row.wanted.clear();
    if (run != 0) row.last_run = run;
    if (ran.state == RunState::Stopped) {
      due = sliced ? now : poll.value_or(now + 60);
      row.next_run = sliced ? 0 : due;
      return;
    }
    if (ran.state == RunState::Failed) {
      ++row.failures;
      if (row.failing_since == 0) row.failing_since = now;
      row.attention = ran.retry == Retry::AfterUserAction || ran.retry == Retry::Never;
      row.error = ran.error;
      row.advice = ran.advice;
      const auto wait = ran.wait > now ? ran.wait - now : ran.wait;
      due = row.next_run = next_try(row.failures, ran.retry, wait, now, spread(task.job));
      return;
    }
    row.failures = row.failing_since = 0;
    row.attention = false;
    row.error = ran.error;
    row.advice = ran.advice;
    row.last_success = now;
    row.finished = schedule.when == When::Once && ran.state == RunState::Complete;
    due = row.next_run = poll.value_or(row.finished ? kNever : now + 600);
  };
  const auto apply_to = [&](JobRow& row) {
    settle_row(row);
    // Whoever changed the job or its password while it ran does not wait for the outcome of the old ones.
    if (row.version != task.version && due != kNever) row.next_run = due = std::min(due, now);
  };
  const auto told_of = [&](const JobRow& was, JobRow& is) {
    auto notices = worth_telling(was, is, task.order.account.name, now);
    for (auto& notice : notices) notice.key = new_message_id();
    return notices;
  };
  auto after = before;
  apply_to(after);
  const bool telling = !told_of(before, after).empty();
  // A poll that found all as it was leaves no trace: not even a write.
  const bool quiet = run == 0 && !telling && after.told == before.told && after.error == before.error &&
                     after.failures == before.failures && after.wanted == before.wanted &&
                     after.counts == before.counts && !after.finished && now - before.last_success < kDay;
  if (!quiet) {
    auto updated = registry_.update_job_and_tell(task.job, [&](JobRow& row) {
      const auto was = row;
      apply_to(row);
      return told_of(was, row);
    });
    if (updated && *updated) on_told_();
    if (!updated)
      events_.add({.kind = EventKind::Log,
                   .owner = before.owner,
                   .job = task.job,
                   .level = Level::Error,
                   .text = updated.error().what});
  }
  auto fresh = quiet ? Result<std::optional<JobRow>>(std::optional<JobRow>(before)) : registry_.job(task.job);
  const std::lock_guard lock(mutex_);
  const auto it = entries_.find(task.job);
  if (it == entries_.end()) return;
  if (fresh && !*fresh) {  // removed meanwhile
    entries_.erase(it);
    return;
  }
  if (fresh) it->second.row = **fresh;
  it->second.due = due;
  if (ran.state != RunState::Failed && ran.state != RunState::Stopped) it->second.last_success = now;
}

}  // namespace mailhaul::service
