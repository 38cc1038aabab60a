// What people are told of jobs and disks: when, and in which words. Pure: a row before and after a change, and the
// time.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "store/registry/registry.h"

namespace mailhaul::service {

// What a channel can want to hear of.
inline constexpr std::array<std::string_view, 5> kTopics{"finished", "failing", "needs_login", "held", "disk_low"};

// Bits of JobRow::told.
inline constexpr std::int64_t kToldFailing = 1, kToldNeedsLogin = 2, kToldHeld = 4;

// Of one job, and once each until it is over:
//   job.finished     of kind once, and complete
//   job.failing      every try of 24 hours has failed
//   job.needs_login  trying again alone will not help: a login that is refused, for one. At once
//   job.recovered    it works again, after one of these two; to those who hear of that one
//   job.held         removals wait for a person
// `after.told` is brought up to date. Ids are the caller's to fill in.
std::vector<registry::NoticeRow> worth_telling(const registry::JobRow& before, registry::JobRow& after,
                                               std::string_view account, std::int64_t now);

// disk.low and disk.recovered; nullopt: it is as it was told. A fifth above the reserve counts as recovered.
std::optional<registry::NoticeRow> worth_telling(bool told_low, std::uint64_t free, std::uint64_t reserve,
                                                 std::int64_t now);

registry::NoticeRow trial_notice(std::int64_t now);  // for "send a test"

// When a message that did not go is tried again: 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h, as Standard
// Webhooks has it; nullopt: after that it is given up. `attempts`: so far, this one included.
std::optional<std::int64_t> next_attempt(std::int64_t attempts, std::int64_t now);

}  // namespace mailhaul::service
