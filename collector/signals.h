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
  // `hangups`: SIGHUP is counted instead of ending the program.
  explicit Signals(bool hangups = false);
  ~Signals();
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;
  std::stop_token token() { return stop_.get_token(); }
  [[nodiscard]] int caught() const { return caught_; }
  [[nodiscard]] const std::atomic<int>& hangups() const { return hangups_; }

 private:
  void wait();
  sigset_t set_{};
  std::stop_source stop_;
  std::atomic<int> caught_{0}, hangups_{0};
  std::atomic<bool> over_{false};
  std::thread thread_;
};

}  // namespace mailhaul::collector
