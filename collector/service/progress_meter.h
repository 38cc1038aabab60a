// Turns what a run tells into Progress: rate and estimate from what was made durable in the last minute.
#pragma once
#include <chrono>
#include <deque>
#include <mutex>

#include "collector/service/events.h"
#include "collector/sync/events.h"
#include "protocols/base/types.h"

namespace mailhaul::service {

// Thread-safe.
class ProgressMeter {
 public:
  explicit ProgressMeter(const Clock& clock) : clock_(clock) {}
  // True when the change is worth telling now: at most four times a second, states at once.
  bool on(const sync::Event& event);
  [[nodiscard]] Progress now() const;
  [[nodiscard]] bool found_something() const;

 private:
  struct Sample {
    std::chrono::steady_clock::time_point at;
    std::uint64_t octets, messages;
  };
  void measure();
  const Clock& clock_;
  mutable std::mutex mutex_;
  Progress progress_;
  std::deque<Sample> samples_;
  std::chrono::steady_clock::time_point told_{};
  bool found_ = false;
};

}  // namespace mailhaul::service
