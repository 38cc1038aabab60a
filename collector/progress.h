// Progress for people and scripts: a bar on a terminal, lines elsewhere, JSON for programs. The texts are pure
// functions of a snapshot, so that they can be tested; Debian packages no library for it.
#pragma once
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <mutex>
#include <string>

#include "collector/sync/events.h"

namespace mailhaul::collector {

struct Snapshot {
  std::uint64_t messages = 0;  // delivered so far
  std::uint64_t total = 0;     // to be delivered; 0: not known yet
  std::uint64_t octets = 0;
  double seconds = 0;   // since the first message was due
  std::string mailbox;  // being worked on
};

std::string human_octets(std::uint64_t octets);  // "4.1 MB"
std::string human_seconds(double seconds);       // "1:05", "2 h 3 min"
// At most `columns` wide, no line end: "[=====>    ]  1,204/20,000  48.1 MB  9,800/s  3.2 MB/s  ETA 0:02 Archive/2019".
std::string progress_bar(const Snapshot& snapshot, std::size_t columns);
std::string progress_line(const Snapshot& snapshot);

enum class ProgressStyle { Bar, Lines, Json };

// Listens to a run and writes to `out`. Thread-safe.
class Progress {
 public:
  Progress(std::FILE* out, ProgressStyle style);
  ~Progress();  // clears a bar that is still there
  void on(const sync::Event& event);

 private:
  void show(bool now);
  void line(const std::string& text);

  std::FILE* out_;
  ProgressStyle style_;
  std::mutex mutex_;
  Snapshot snapshot_;
  bool bar_visible_ = false;
  std::uint64_t failures_ = 0;
  std::chrono::steady_clock::time_point started_{};
  std::chrono::steady_clock::time_point shown_{};
};

}  // namespace mailhaul::collector
