// What several connections bring is taken once.
#include "collector/sync/intake.h"

#include <doctest/doctest.h>

#include <atomic>
#include <thread>

#include "collector/sync/allowance.h"

namespace mailhaul::test {

TEST_CASE("intake: a body that two connections bring at the same time is taken from one of them") {
  sync::Allowance unlimited(0);
  sync::Arrivals arrivals(unlimited);
  constexpr std::uint32_t kCount = 2'000;
  sync::Wanted wanted;
  wanted.uids.add(mail::UidRange{1, kCount});
  arrivals.want(0, std::move(wanted));
  // Both have begun before either is done: what is expected twice is taken once.
  CHECK(arrivals.expects(0, mail::Uid{7}));
  CHECK(arrivals.take(0, mail::Uid{7}));
  CHECK_FALSE(arrivals.take(0, mail::Uid{7}));
  CHECK_FALSE(arrivals.take(0, mail::Uid{kCount + 1}));
  std::atomic<std::uint32_t> taken = 0;
  {
    const auto connection = [&] {
      for (std::uint32_t uid = 1; uid <= kCount; ++uid) taken += arrivals.take(0, mail::Uid{uid}) ? 1 : 0;
    };
    const std::jthread one(connection), two(connection);
  }
  CHECK(taken == kCount - 1);
  CHECK(arrivals.missing(0).empty());
}

}  // namespace mailhaul::test
