// Random histories, a crash or another mishap anywhere in any run, a file system that forgets what was not synced.
//   MAILHAUL_HISTORIES=n   so many (default 20,000)
//   MAILHAUL_SEED=n        this one alone, with its story
//   MAILHAUL_FAILURES=n    end after so many broken promises (default 5)
#include <doctest/doctest.h>

#include <cstdlib>
#include <iostream>

#include "tests/sync/world.h"

namespace mailhaul::test {
namespace {

std::optional<std::uint64_t> number_from(const char* name) {
  const char* text = std::getenv(name);  // NOLINT(concurrency-mt-unsafe)
  if (text == nullptr || *text == '\0') return std::nullopt;
  return std::strtoull(text, nullptr, 10);
}

constexpr std::uint64_t kReopen = 64;  // histories that share a state file

TEST_CASE("simulation: exactly once, whatever happens") {
  StateFile state;
  if (const auto seed = number_from("MAILHAUL_SEED")) {
    World world(*seed, state);
    const bool kept = world.play();
    std::cout << world.story();
    CHECK(kept);
    return;
  }
  const auto histories = number_from("MAILHAUL_HISTORIES").value_or(20'000);
  const auto limit = static_cast<int>(number_from("MAILHAUL_FAILURES").value_or(5));
  std::map<std::string, int> counts;
  int failures = 0;
  for (std::uint64_t seed = 1; seed <= histories; ++seed) {
    if (seed % kReopen == 0) state.lose();
    World world(seed, state);
    if (!world.play()) {
      FAIL_CHECK("MAILHAUL_SEED=" << seed << "\n" << world.story());
      if (++failures >= limit) return;
    }
    for (const auto& [what, n] : world.counts()) counts[what] += n;
  }
  CHECK(failures == 0);
  for (const auto& [what, n] : counts) std::cout << "  " << n << " runs: " << what << "\n";
  if (histories >= 1000)
    for (const auto& [what, n] : counts) CHECK(n > static_cast<int>(histories / 100));
}

}  // namespace
}  // namespace mailhaul::test
