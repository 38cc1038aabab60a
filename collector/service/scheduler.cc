#include "collector/service/scheduler.h"

#include <sys/statvfs.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <utility>

namespace mailhaul::service {

using registry::Cause;
using registry::Id;
using registry::JobRow;
using registry::RunKind;
using registry::RunRow;
using registry::RunState;

namespace {

constexpr std::int64_t kNever = INT64_MAX;

std::optional<std::uint64_t> free_octets(const std::string& path) {
  std::error_code error;
  auto there = std::filesystem::path(path);
  while (!there.empty() && there != there.root_path() && !std::filesystem::exists(there, error))
    there = there.parent_path();
  struct statvfs info {};
  if (::statvfs(there.c_str(), &info) != 0) return std::nullopt;
  return std::uint64_t{info.f_bavail} * info.f_frsize;
}

}  // namespace

Scheduler::Scheduler(registry::Registry& registry, const Ground& ground, EventLog& events, const Clock& clock,
                     SchedulerSettings settings, std::function<void()> on_told)
    : registry_(registry),
      ground_(ground),
      events_(events),
      clock_(clock),
      settings_(settings),
      on_told_(std::move(on_told)),
      watcher_([this](Id account, const std::stop_token& stop) { return open_watch(account, stop); },
               [this](Id account, bool mail) { heard(account, mail); }, clock, settings.watcher) {}

Scheduler::~Scheduler() { stop(); }

Done Scheduler::start() {
  if (auto ended = registry_.end_broken_runs(clock_.unix_seconds()); !ended) return ended;
  registry::Registry::Page page;
  page.limit = 1000;
  for (;;) {
    auto jobs = registry_.jobs(page);
    if (!jobs) return jobs.error();
    for (const auto& job : *jobs)
      if (auto loaded = load_job(job.id, true); !loaded) return loaded;
    if (jobs->size() < page.limit) break;
    page.after = jobs->back().id;
  }
  for (std::size_t n = 0; n < settings_.workers; ++n) threads_.emplace_back([this] { work(false); });
  for (std::size_t n = 0; n < settings_.express; ++n) threads_.emplace_back([this] { work(true); });
  threads_.emplace_back([this] { keep_slices(); });
  return done();
}

void Scheduler::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    for (auto& [id, entry] : entries_) entry.stop.request_stop();
  }
  woken_.notify_all();
  watcher_.stop();
  for (auto& thread : threads_) thread.join();
  threads_.clear();
}

// In [0, 1), the same for a job each time: spreads those of one schedule.
double Scheduler::spread(Id job) const {
  auto mixed = static_cast<std::uint64_t>(job) * 0x9E3779B97F4A7C15U;
  mixed ^= mixed >> 32;
  return static_cast<double>(mixed % 10'000) / 10'000;
}

Done Scheduler::load_job(Id job, bool at_start) {
  auto row = registry_.job(job);
  if (!row) return row.error();
  const std::lock_guard lock(mutex_);
  if (!*row) {
    if (const auto it = entries_.find(job); it != entries_.end()) {
      listen_for(it->second, false, false);
      it->second.stop.request_stop();
      if (!it->second.running) entries_.erase(it);
    }
    return done();
  }
  auto account = registry_.account((*row)->account);
  if (!account) return account.error();
  const auto now = clock_.unix_seconds();
  auto& entry = entries_[job];
  const bool fresh = entry.row.id == 0;
  const bool rescheduled = !fresh && (entry.row.schedule != (*row)->schedule || entry.row.version != (*row)->version);
  entry.row = **row;
  Schedule schedule;
  (void)read_schedule(entry.row.schedule, schedule);
  entry.when = schedule.when;
  const bool polls = schedule.when == When::Every || schedule.when == When::Push;
  entry.period = std::chrono::minutes(polls ? schedule.minutes : 0);
  if (*account) {
    auto source = collector::parse_source((*account)->source);
    entry.host = source ? source->host : (*account)->source;
  }
  entry.last_success = std::max(entry.last_success, entry.row.last_success);
  if (fresh) {
    entry.due = entry.row.next_run;
    if (at_start && entry.due <= now && entry.row.last_success > 0)
      entry.due = now + static_cast<std::int64_t>(spread(job) * 60);  // not all in the first second
    if (entry.row.finished) entry.due = kNever;
  } else if (rescheduled && !entry.row.finished) {
    entry.due = std::min(entry.due, now);
  }
  if (entry.row.paused && entry.running) entry.stop.request_stop();
  listen_for(entry, true, rescheduled);
  return done();
}

Done Scheduler::changed(Id job) {
  if (auto loaded = load_job(job, false); !loaded) return loaded;
  {
    const std::lock_guard lock(mutex_);
    if (const auto it = entries_.find(job); it != entries_.end()) tell(it->second.row, &it->second);
  }
  woken_.notify_all();
  return done();
}

Done Scheduler::enqueue(const RunRow& run) {
  {
    const std::lock_guard lock(mutex_);
    const auto it = entries_.find(run.job);
    if (it == entries_.end())
      return Error{Scope::Service, Retry::Never, "there is no job " + std::to_string(run.job), ""};
    it->second.extra.push_back(run);
  }
  woken_.notify_all();
  return done();
}

void Scheduler::cancel(Id job) {
  std::deque<RunRow> dropped;
  {
    const std::lock_guard lock(mutex_);
    const auto it = entries_.find(job);
    if (it == entries_.end()) return;
    it->second.cancelled = it->second.running;
    it->second.stop.request_stop();
    dropped.swap(it->second.extra);
  }
  for (auto& run : dropped) {
    run.state = RunState::Stopped;
    run.ended = clock_.unix_seconds();
    (void)registry_.update(run);
  }
}

bool Scheduler::wants(const Entry& entry, std::int64_t now) const {
  if (entry.running) return false;
  if (!entry.extra.empty() || !entry.row.wanted.empty()) return true;
  return !entry.row.paused && !entry.row.finished && entry.due <= now;
}

Scheduler::Entry* Scheduler::most_urgent(std::int64_t now, bool express) {
  Entry* best = nullptr;
  const auto rank = [](const Entry& e) { return e.extra.empty() && e.row.wanted.empty() && !e.pushed; };
  for (auto& [id, entry] : entries_) {
    if (!wants(entry, now) || busy_destinations_.contains(entry.row.destination)) continue;
    // The first collection of an account is long: not on the fast lane.
    if (express && (!entry.pushed || entry.last_success == 0)) continue;
    const auto most = settings_.per_host + (entry.pushed ? settings_.express : 0);
    if (const auto busy = busy_hosts_.find(entry.host); busy != busy_hosts_.end() && busy->second >= most) continue;
    if (!best || std::pair(rank(entry), entry.due) < std::pair(rank(*best), best->due)) best = &entry;
  }
  return best;
}

// Rows are read under the lock: they are few, and a job must not change between the choice and the start.
Result<Scheduler::Task> Scheduler::prepare(Entry& entry) {
  Task task;
  task.job = entry.row.id;
  task.version = entry.row.version;
  task.host = entry.host;
  if (!entry.extra.empty()) {
    task.run = entry.extra.front();
    entry.extra.pop_front();
    task.order.kind = task.run.kind;
    task.order.deep = task.run.options == "deep";
  } else {
    task.order.wish = read_wish(entry.row.wanted);
    task.wished = !entry.row.wanted.empty();
    task.pushed = std::exchange(entry.pushed, false);
    task.run.cause = task.wished              ? Cause::Person
                     : entry.row.failures > 0 ? Cause::Retry
                     : task.pushed            ? Cause::Push
                                              : Cause::Schedule;
  }
  task.order.contacts = task.run.cause != Cause::Push;  // the server spoke of mail
  task.run.job = entry.row.id;
  task.run.started = clock_.unix_seconds();
  if (auto understood = read_policy(entry.row.policy, task.order.policy); !understood)
    return Error{Scope::Account, Retry::AfterUserAction, understood.refusal().what, understood.refusal().advice};
  auto account = registry_.account(entry.row.account);
  if (!account) return account.error();
  auto destination = registry_.destination(entry.row.destination);
  if (!destination) return destination.error();
  if (!*account || !*destination) return Error{Scope::Account, Retry::Never, "the account was removed", ""};
  task.order.account = **std::move(account);
  task.order.destination = **std::move(destination);
  if (task.order.destination.account != 0) {
    auto into = registry_.account(task.order.destination.account);
    if (!into) return into.error();
    task.order.into = *std::move(into);
  }
  return task;
}

std::optional<Scheduler::Task> Scheduler::take(std::unique_lock<std::mutex>& lock, bool express) {
  for (;;) {
    if (stopping_) return std::nullopt;
    auto* entry = most_urgent(clock_.unix_seconds(), express);
    if (!entry) {
      woken_.wait_for(lock, std::chrono::seconds(1));
      continue;
    }
    auto task = prepare(*entry);
    if (!task) {
      entry->due = clock_.unix_seconds() + 60;
      entry->row.wanted.clear();
      events_.add({.kind = EventKind::Log,
                   .owner = entry->row.owner,
                   .job = entry->row.id,
                   .level = Level::Error,
                   .text = task.error().what});
      continue;
    }
    entry->running = true;
    entry->collecting = task->order.kind == RunKind::Collect;
    entry->sliced = entry->cancelled = entry->again = entry->again_for_mail = false;
    entry->stop = std::stop_source();
    entry->meter = std::make_shared<ProgressMeter>(clock_);
    entry->began = clock_.steady();
    task->meter = entry->meter;
    task->stop = entry->stop.get_token();
    busy_destinations_.insert(entry->row.destination);
    ++busy_hosts_[entry->host];
    tell(entry->row, entry);
    return *std::move(task);
  }
}

void Scheduler::work(bool express) {
  for (;;) {
    std::optional<Task> task;
    {
      std::unique_lock lock(mutex_);
      task = take(lock, express);
    }
    if (!task) return;
    const auto account = task->order.account.id;
    watcher_.make_room(account);
    const auto ran = run(*task);
    watcher_.run_ended(account, ran.state == RunState::Failed && ran.retry == Retry::Later && ran.wait > 0);
    settle(*task, ran);
    woken_.notify_all();
  }
}

// Lets others run once somebody has had a worker for long, and follows the wall clock when it jumps.
void Scheduler::keep_slices() {
  auto offset = clock_.unix_seconds() -
                std::chrono::duration_cast<std::chrono::seconds>(clock_.steady().time_since_epoch()).count();
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    woken_.wait_for(lock, std::chrono::seconds(1));
    const auto now = clock_.unix_seconds();
    const auto steady = clock_.steady();
    const auto shifted =
        now - std::chrono::duration_cast<std::chrono::seconds>(steady.time_since_epoch()).count() - offset;
    constexpr std::int64_t kJump = 30;
    if (std::abs(shifted) > kJump) {
      offset += shifted;
      for (auto& [id, entry] : entries_)
        if (entry.due != kNever && entry.due != 0) entry.due += shifted;
    }
    make_way(steady);
    look_again(steady);
    const auto running = std::ranges::count_if(entries_, [](const auto& e) { return e.second.running; });
    if (static_cast<std::size_t>(running) < settings_.workers) continue;
    const auto waits = [&](const auto& e) { return wants(e.second, now); };
    if (std::ranges::none_of(entries_, waits)) continue;
    for (auto& [id, entry] : entries_)
      if (entry.running && !entry.sliced && steady - entry.began > settings_.slice) {
        entry.sliced = true;
        entry.stop.request_stop();
      }
  }
}

Ran Scheduler::run(Task& task) {
  if (task.order.kind == RunKind::Collect) {
    const auto& disk = task.order.into ? ground_.data : task.order.destination.path;
    const auto free = free_octets(disk);
    if (free && *free < settings_.disk_reserve) {
      Ran ran;
      ran.error = "the disk of " + disk + " is nearly full: " + std::to_string(*free >> 20) + " MiB are left, " +
                  std::to_string(settings_.disk_reserve >> 20) + " MiB stay free";
      ran.advice = "Free some space; nothing is lost, collecting goes on by itself.";
      return ran;
    }
  }
  const auto owner = task.order.account.owner;
  const auto announce = [&] {  // a row, once there is something to tell
    task.run.state = RunState::Running;
    if (task.run.id == 0) {
      auto id = registry_.add(task.run);
      if (id) task.run.id = *id;
    } else {
      (void)registry_.update(task.run);
    }
    events_.add({.kind = EventKind::Run, .owner = owner, .job = task.job, .run = task.run.id});
  };
  if (task.wished || task.run.id != 0) announce();
  return carry_out(
      ground_, task.order,
      [&](const sync::Event& event) {
        const bool telling = task.meter->on(event);
        if (task.run.id == 0 && task.meter->found_something()) announce();
        if (const auto* trouble = std::get_if<sync::Trouble>(&event))
          events_.add({.kind = EventKind::Log,
                       .owner = owner,
                       .job = task.job,
                       .run = task.run.id,
                       .level = Level::Warning,
                       .text = trouble->text});
        if (const auto* failed = std::get_if<sync::MessageFailed>(&event))
          events_.add({.kind = EventKind::Log,
                       .owner = owner,
                       .job = task.job,
                       .run = task.run.id,
                       .level = Level::Warning,
                       .text = failed->mailbox + " UID " + std::to_string(failed->uid) + ": " + failed->reason});
        if (telling)
          events_.add({.kind = EventKind::Progress,
                       .owner = owner,
                       .job = task.job,
                       .run = task.run.id,
                       .state = JobState::Running,
                       .progress = task.meter->now()});
      },
      task.stop);
}

}  // namespace mailhaul::service
