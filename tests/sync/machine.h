// A machine with a Maildir and a state, on which the engine can run, and the server it talks to. One life of the
// process a run; what survives it is up to the caller.
#pragma once
#include <chrono>
#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>

#include "collector/sync/run.h"
#include "tests/support/memory_file_system.h"
#include "tests/support/model_source.h"
#include "tests/sync/census.h"
#include "tests/sync/state_file.h"

namespace mailhaul::test {

inline const std::string kRoot = "/home/me/Mail";

struct Ending {
  bool crashed = false;
  std::optional<sync::Report> report;
  std::string error;  // why there is no report
};

class TestClock final : public Clock {
 public:
  std::int64_t now = 1'800'000'000;
  std::int64_t step = 100;  // milliseconds that each look at the steady clock takes
  [[nodiscard]] std::int64_t unix_seconds() const override { return now; }
  [[nodiscard]] std::chrono::steady_clock::time_point steady() const override {
    return std::chrono::steady_clock::time_point(std::chrono::milliseconds(ticks_ += step));
  }

 private:
  mutable std::int64_t ticks_ = 1;
};

class Machine {
 public:
  Machine(std::uint64_t seed, StateFile& state, const MemoryFileSystem::Options& disk);

  ModelServer server;
  MemoryFileSystem fs;
  StateFile& state;
  TestClock clock;
  sync::RunSettings settings;
  sync::SourceFactory connect;      // empty: the model server's own
  std::vector<std::int64_t> waits;  // seconds; the clock goes on meanwhile
  std::vector<std::string> troubles;

  // A Crash that the file system or the server's hook throws ends the process, and comes out as one.
  Ending run_process(std::stop_source& stop);
  Ending run_process();
  Census census();
};

}  // namespace mailhaul::test
