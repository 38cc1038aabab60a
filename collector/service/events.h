// What the service tells while it works: states of jobs, progress, log lines. Kept in memory, the newest few thousand;
// whoever was away longer reads the objects again.
#pragma once
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "protocols/base/types.h"

namespace mailhaul::service {

enum class JobState { Queued, Running, Waiting, Idle, Paused, Failing, Attention, Finished };
enum class Phase { Connecting, Looking, Fetching, Verifying, Finishing };
enum class Level { Info, Warning, Error };

struct Progress {
  Phase phase = Phase::Connecting;
  std::string mailbox;
  std::uint64_t messages = 0, octets = 0;            // delivered by this run
  std::uint64_t todo_messages = 0, todo_octets = 0;  // found so far; octets 0: the server did not say
  std::uint64_t failed = 0;
  std::uint64_t octets_per_second = 0;
  std::int64_t eta = 0;  // Unix seconds; 0: cannot be told
  std::string waiting;   // why nothing moves; empty: it moves
};

enum class EventKind { Job, Progress, Run, Account, Log };

struct Event {
  std::uint64_t id = 0;
  std::int64_t at = 0;
  EventKind kind = EventKind::Log;
  std::int64_t owner = 0;  // whose it is; not told to others
  std::int64_t job = 0, run = 0, account = 0;
  JobState state = JobState::Idle;
  std::optional<Progress> progress{};
  Level level = Level::Info;
  std::string text{};
};

// Thread-safe.
class EventLog {
 public:
  explicit EventLog(const Clock& clock, std::size_t keep = 4096) : clock_(clock), keep_(keep) {}
  void add(Event event);
  struct Batch {
    std::vector<Event> events;
    std::uint64_t last = 0;
    bool reset = false;  // events after `since` are forgotten, or `since` is of another process
  };
  // Events after `since` of one owner (0: everybody's), oldest first, at most 500.
  [[nodiscard]] Batch after(std::uint64_t since, std::int64_t owner) const;
  [[nodiscard]] std::uint64_t last() const;
  // Called after every add(), from any thread; must not block. One listener, set before anything is added.
  void on_add(std::function<void()> listener) { listener_ = std::move(listener); }

 private:
  const Clock& clock_;
  const std::size_t keep_;
  mutable std::mutex mutex_;
  std::deque<Event> events_;
  std::uint64_t last_ = 0;
  std::function<void()> listener_;
};

}  // namespace mailhaul::service
