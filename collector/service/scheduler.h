// Runs jobs when they are due, on a few threads: never two at once into one destination, only so many at once from one
// host, people's wishes first, then what has waited longest. A run that lasts while others wait is stopped between two
// batches and goes on later: one giant mailbox starves nobody. What is due is decided by rows and the clock alone, so a
// process that dies loses nothing but its queue, which is made anew.
#pragma once
#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "collector/service/events.h"
#include "collector/service/progress_meter.h"
#include "collector/service/runner.h"
#include "collector/service/watcher.h"

namespace mailhaul::service {

struct SchedulerSettings {
  std::size_t workers = 16;
  std::size_t per_host = 4;
  std::size_t express = 2;  // workers that only fetch mail that was told of
  std::chrono::seconds slice{600};
  std::uint64_t disk_reserve = 256U << 20;  // octets that stay free at a destination
  WatcherSettings watcher;
};

struct Totals {  // since the process began; counters for monitoring
  std::uint64_t runs = 0, failed_runs = 0, messages = 0, octets = 0, failed_messages = 0;
};

class Scheduler {
 public:
  // `on_told`: something was put into the queue of messages to people; called from any thread.
  Scheduler(registry::Registry& registry, const Ground& ground, EventLog& events, const Clock& clock,
            SchedulerSettings settings, std::function<void()> on_told);
  ~Scheduler();  // stops

  Done start();  // reads the jobs and begins
  // Runs stop between two batches; returns when all have ended.
  void stop();

  // The job was added, changed, removed or wished for: its row is read again.
  Done changed(registry::Id job);
  // A preview or a verification, whose run row is Queued.
  Done enqueue(const registry::RunRow& run);
  void cancel(registry::Id job);  // the run that is on, and what is wished or enqueued

  struct Now {
    JobState state = JobState::Idle;
    std::int64_t next_run = 0;
    std::int64_t last_success = 0;
    std::optional<Progress> progress;  // while it runs
    bool listening = false;            // its server tells of new mail
  };
  [[nodiscard]] Now now(registry::Id job) const;
  struct Load {
    std::size_t jobs = 0, running = 0, queued = 0;
    std::int64_t lag = 0;  // seconds that the job that has waited longest is late
  };
  [[nodiscard]] Load load() const;
  [[nodiscard]] Totals totals() const;
  [[nodiscard]] Watcher::Load watched() const { return watcher_.load(); }
  [[nodiscard]] const SchedulerSettings& settings() const { return settings_; }

 private:
  struct Entry {
    registry::JobRow row;
    std::string host;
    std::int64_t due = 0;  // INT64_MAX: not by itself
    bool running = false;
    bool sliced = false;  // stopped to let others run
    bool cancelled = false;
    When when = When::Every;
    std::chrono::seconds period{0};  // between polls; 0: none of its own
    bool collecting = false;
    bool pushed = false;                         // its server has told of new mail
    bool again = false, again_for_mail = false;  // … while it ran
    std::chrono::steady_clock::time_point pushed_at{};
    std::int64_t last_success = 0;
    std::stop_source stop;
    std::shared_ptr<ProgressMeter> meter;
    std::chrono::steady_clock::time_point began{};
    std::deque<registry::RunRow> extra;  // previews and verifications
  };
  struct Task {
    registry::Id job = 0;
    std::int64_t version = 0;  // of the job, when it began
    Order order;
    registry::RunRow run;  // id 0: a row is written only if there is something to tell
    bool wished = false, pushed = false;
    std::shared_ptr<ProgressMeter> meter;
    std::stop_token stop;
    std::string host;
  };
  void work(bool express);
  void keep_slices();
  std::optional<Task> take(std::unique_lock<std::mutex>& lock, bool express);
  Entry* most_urgent(std::int64_t now, bool express);
  [[nodiscard]] bool wants(const Entry& entry, std::int64_t now) const;
  Result<Task> prepare(Entry& entry);
  Ran run(Task& task);
  void settle(const Task& task, const Ran& ran);
  void settle_collection(const Task& task, const Ran& ran, registry::Id run, bool sliced);
  void tell_trouble(const Task& task, const Error& error);
  void tell(const registry::JobRow& row, const Entry* entry);
  [[nodiscard]] JobState state_of(const Entry& entry, std::int64_t now) const;
  [[nodiscard]] double spread(registry::Id job) const;
  Done load_job(registry::Id job, bool at_start);
  Result<std::unique_ptr<client::Watch>> open_watch(registry::Id account, const std::stop_token& stop);
  void listen_for(const Entry& entry, bool there, bool anew);
  void heard(registry::Id account, bool mail);
  void run_again(Entry& entry);
  void look_again(std::chrono::steady_clock::time_point now);
  void make_way(std::chrono::steady_clock::time_point now);
  std::optional<std::int64_t> next_poll(const Task& task, const Ran& ran, const Schedule& schedule, std::int64_t now);

  registry::Registry& registry_;
  const Ground ground_;
  EventLog& events_;
  const Clock& clock_;
  const SchedulerSettings settings_;
  const std::function<void()> on_told_;
  mutable std::mutex mutex_;
  std::condition_variable woken_;
  std::map<registry::Id, Entry> entries_;
  std::set<registry::Id> busy_destinations_;
  std::map<std::string, std::size_t> busy_hosts_;
  bool stopping_ = false;
  Totals totals_;
  std::map<registry::Id, std::set<registry::Id>> listeners_;  // account → its jobs of kind push
  std::vector<std::thread> threads_;
  Watcher watcher_;  // last: its threads use the rest
};

}  // namespace mailhaul::service
