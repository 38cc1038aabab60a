// Tries a source step by step, so that a person sees how far it goes and what to do.
#pragma once
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "collector/job.h"

namespace mailhaul::service {

struct TestStep {
  std::string step;  // "address", "connect", "secure", "log in", "mailboxes"
  bool ok = false;
  std::int64_t milliseconds = 0;
  std::string detail, advice;
};

struct TestMailbox {
  std::string name;
  std::optional<std::uint64_t> messages, octets;
};

struct TestReport {
  std::vector<TestStep> steps;  // up to the first that fails
  std::vector<TestMailbox> mailboxes;
  [[nodiscard]] bool ok() const { return !steps.empty() && steps.back().ok; }
};

// Takes as long as the server does, 30 s a step at most; `stop` ends it sooner.
TestReport test_connection(const collector::Job& job, const std::stop_token& stop);

}  // namespace mailhaul::service
