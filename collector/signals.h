// Signals of a process as a stop request. One object, made before any other thread.
#pragma once
#include <csignal>

#include <atomic>
#include <functional>
#include <stop_token>
#include <thread>

namespace mailhaul::collector {

// SIGINT and SIGTERM ask the run to stop; the second one ends the process at once.
class Signals {
 public:
  Signals();
  ~Signals();
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;
  std::stop_token token() { return stop_.get_token(); }
  [[nodiscard]] int caught() const { return caught_; }

 private:
  void wait();
  sigset_t set_{};
  std::stop_source stop_;
  std::atomic<int> caught_{0};
  std::atomic<bool> over_{false};
  std::thread thread_;
};

}  // namespace mailhaul::collector
