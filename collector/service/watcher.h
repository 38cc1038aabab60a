// Listens for new mail: one thread holds the waiting connections (client::Watch) of all accounts that have a job of
// kind push, and says which account has news. A few others log in. What is heard is a hint and nothing more: jobs are
// polled besides, and an account whose server keeps silent about mail that a poll then finds is not believed for a
// while. Thread-safe; callbacks come from its own threads, with nothing locked.
#pragma once
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "protocols/base/types.h"
#include "protocols/client/watch.h"
#include "protocols/net/poller.h"
#include "store/registry/registry.h"

namespace mailhaul::service {

struct WatcherSettings {
  std::size_t connectors = 4;            // that log in at once
  std::chrono::seconds renew{28 * 60};   // RFC 2177 §3: at least every 29 minutes
  std::chrono::seconds answer{60};       // for which an answer is waited for; then the connection is dead
  std::chrono::milliseconds tick{1000};  // how often times are looked at
};

class Watcher {
 public:
  using Open = std::function<Result<std::unique_ptr<client::Watch>>(registry::Id account, const std::stop_token&)>;
  using Heard = std::function<void(registry::Id account, bool mail)>;  // mail: new messages; else: marks, removals

  Watcher(Open open, Heard heard, const Clock& clock, WatcherSettings settings);
  ~Watcher();
  void stop();

  void want(registry::Id account, bool anew);  // anew: forget what went wrong; the account was changed
  void forget(registry::Id account);
  // A run is about to log in. Where the server was seen to want fewer connections, ours makes room.
  void make_room(registry::Id account);
  // `refused`: the server wanted to be left alone; ours may be the connection that is one too many.
  void run_ended(registry::Id account, bool refused);
  // A poll found mail in INBOX that nobody has told of.
  void missed(registry::Id account);

  [[nodiscard]] bool listening(registry::Id account) const;
  struct Load {
    std::size_t wanted = 0, listening = 0;
    std::uint64_t heard = 0, lost = 0;  // news; connections that went away
  };
  [[nodiscard]] Load load() const;

 private:
  using Instant = std::chrono::steady_clock::time_point;
  enum class State { Waiting, Queued, Connecting, Listening };
  struct Entry {
    State state = State::Waiting;
    std::unique_ptr<client::Watch> watch;
    unsigned failures = 0, misses = 0;
    std::uint64_t generation = 0;
    bool alone = false, sending = false;
    std::size_t runs = 0;  // for which ours makes room
    Instant due{}, renew_at{}, answer_by{}, since{}, heard_at{};
  };
  void begin();
  void listen();
  void connect();
  void hear(registry::Id account, Entry& entry, std::vector<std::pair<registry::Id, bool>>& heard);
  void look_at_times(Instant now);
  void close(Entry& entry);
  void lose(registry::Id account, Entry& entry, const Error& why);
  void put_off(registry::Id account, Entry& entry, std::chrono::seconds pause);
  [[nodiscard]] std::chrono::milliseconds spread(registry::Id account, std::chrono::milliseconds span);

  const Open open_;
  const Heard heard_;
  const Clock& clock_;
  const WatcherSettings settings_;
  mutable std::mutex mutex_;
  std::condition_variable queued_;
  std::optional<net::Poller> poller_;
  std::map<registry::Id, Entry> entries_;
  std::deque<registry::Id> queue_;
  std::vector<char> room_;
  std::uint64_t generations_ = 0, luck_ = 0x9E3779B97F4A7C15U;
  Load counts_;
  std::int64_t wall_offset_ = 0;
  bool begun_ = false, stopping_ = false;
  std::stop_source stop_;
  std::vector<std::thread> threads_;
};

}  // namespace mailhaul::service
