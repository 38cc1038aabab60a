// The planner's table for what vanishes and what comes back, and the fuse.
#include <doctest/doctest.h>

#include <array>

#include "tests/sync/plan_notation.h"

namespace mailhaul::sync {
namespace {

// Present again after it had vanished, under any policy.
constexpr std::array kAgain = std::to_array<Decision>({
    {"present", "vanished at=0", "0", "revive"},
    {"present", "vanished at=0 since=5", "nothing", "revive"},  // its owner has removed it: it stays removed
    {"present", "vanished at=0 removal=owner", "nothing", "revive"},
    {"present flags=S", "vanished base=- at=0", "0:-", "revive; store 0 S agree S"},
    // we removed it, or were about to: it comes again, unless the file is there all the same
    {"present", "vanished removal=done", "nothing", "relist; deliver 0"},
    {"present", "vanished removal=done reuse=2", "nothing", "relist; deliver 2"},
    {"present", "vanished removal=done", "0", "relist; adopt 0"},
    {"present size=101", "vanished removal=done", "nothing", "relist; deliver 0"},
    {"present", "vanished at=0 removal=meant", "0", "revive"},
    {"present", "vanished at=0 removal=meant", "nothing", "relist; deliver 0"},
    {"present", "vanished at=3 removal=meant", "0", "relist; adopt 0"},
    // the mark goes, even if the source says nothing of flags; what is not our mark stays
    {"present", "vanished base=S+$SourceGone at=0", "0:S+$SourceGone", "revive; store 0 S agree S"},
    {"present", "vanished base=S+$SourceGone at=0", "0:FS", "revive; store 0 FS agree S"},
    {"present flags=-", "vanished base=S+$SourceGone at=0", "0:S+$SourceGone", "revive; store 0 - agree -"},
    {"present", "vanished base=S next=S+$SourceGone at=0", "0:S+$SourceGone", "revive; store 0 S agree S"},
    {"present", "vanished base=S next=S+$SourceGone at=0", "0:S", "revive; store 0 S agree S"},
    {"present", "vanished base=S at=0", "0:S+$SourceGone", "revive"},  // its owner's own
    {"present", "vanished base=S+$SourceGone at=0", "nothing", "revive; agree S"},
    // a source that has the keyword itself is taken at its word
    {"present flags=+$SourceGone", "vanished base=+$SourceGone at=0", "0:+$SourceGone", "revive"},
});

TEST_CASE("plan: what comes back") {
  hold(kAgain);
  hold(kAgain, policy_of(OnSourceDelete::Flag));
  hold(kAgain, policy_of(OnSourceDelete::Remove));
}

// What is deleted at a source that is emptied: everything must speak for it.
TEST_CASE("plan: removable at the source") {
  constexpr std::int64_t kNow = 1'000'000, kWeek = 7 * 86'400;
  Policy policy;
  store::MessageRow row;
  row.state = store::MessageState::Delivered;
  row.sha256.emplace();
  const Leaving all{true, true, true, true, kNow - kWeek};
  CHECK(!removable_at_source(policy, row, all, kNow));  // for ever
  policy.leave = kWeek;
  CHECK(removable_at_source(policy, row, all, kNow));
  CHECK(!removable_at_source(policy, row, all, kNow - 1));
  policy.leave = 0;
  CHECK(removable_at_source(policy, row, all, kNow));
  for (const auto lacking :
       {&Leaving::delivered_before, &Leaving::copy_whole, &Leaving::same_at_source, &Leaving::quiet}) {
    auto facts = all;
    facts.*lacking = false;
    CHECK(!removable_at_source(policy, row, facts, kNow));
  }
  for (const auto state : {store::MessageState::Listed, store::MessageState::Excluded, store::MessageState::Failed,
                           store::MessageState::Gone, store::MessageState::Vanished, store::MessageState::Orphan}) {
    auto other = row;
    other.state = state;
    CHECK(!removable_at_source(policy, other, all, kNow));
  }
  row.sha256.reset();
  CHECK(!removable_at_source(policy, row, all, kNow));
}

TEST_CASE("plan: keep touches no copy") {
  hold(std::to_array<Decision>({
      {"vanished allowed", "delivered at=0", "0:S", "vanished"},
      {"vanished allowed", "vanished at=0 since=1", "0:S", ""},
      {"vanished allowed", "vanished at=0 since=1", "nothing", ""},
      {"vanished allowed", "vanished at=0 since=1 removal=meant", "nothing", ""},
  }));
}

TEST_CASE("plan: flag marks a copy once") {
  hold(std::to_array<Decision>({
           {"vanished allowed", "delivered base=S at=0", "0:S", "vanished; store 0 S+$SourceGone agree S+$SourceGone"},
           {"vanished allowed", "vanished base=S at=0", "0:FR", "store 0 FR+$SourceGone agree S+$SourceGone"},
           {"vanished allowed", "vanished base=S+$SourceGone at=0", "0:S+$SourceGone", ""},
           // who has taken the mark off wants it off
           {"vanished allowed", "vanished base=S+$SourceGone at=0", "0:S", ""},
           {"vanished allowed", "vanished base=S at=0", "nothing", "note removed"},
           {"vanished allowed", "vanished base=S at=0 removal=owner", "0:S", ""},
           {"vanished allowed", "vanished removal=done", "nothing", ""},
           // cut off between the intent and its settling, before the rename and after it
           {"vanished allowed", "vanished base=S next=S+$SourceGone at=0", "0:S",
            "store 0 S+$SourceGone agree S+$SourceGone"},
           {"vanished allowed", "vanished base=S next=S+$SourceGone at=0", "0:S+$SourceGone",
            "store 0 S+$SourceGone agree S+$SourceGone"},
           // cut off while a mark was taken off, and gone once more
           {"vanished allowed", "vanished base=+$SourceGone next=- at=0", "0:-",
            "store 0 +$SourceGone agree +$SourceGone"},
           {"vanished allowed", "vanished base=+$SourceGone next=- at=0", "0:+$SourceGone",
            "store 0 +$SourceGone agree +$SourceGone"},
           // not where nothing may be touched, nor what was never delivered
           {"vanished", "delivered base=S at=0", "0:S", "vanished"},
           {"vanished", "vanished base=S at=0", "0:S", ""},
           {"vanished allowed", "listed", "0:S", "gone"},
           {"vanished allowed", "orphan base=S at=0", "0:S", ""},
           {"present", "delivered base=S at=0", "0:S", ""},
       }),
       policy_of(OnSourceDelete::Flag));
}

TEST_CASE("plan: remove waits for the end of the grace period") {  // now is 1000
  hold(std::to_array<Decision>({
           {"vanished allowed", "delivered at=0", "0", "vanished"},
           {"vanished allowed", "vanished at=0 since=901", "0", ""},
           {"vanished allowed", "vanished at=0 since=900", "0", "remove 0"},
           {"vanished allowed", "vanished at=3 since=900", "0 3", "remove 3"},
           {"vanished allowed", "vanished at=0 since=2000", "0", ""},  // the clock went back
           // whatever flags its owner has set
           {"vanished allowed", "vanished base=- at=0 since=1", "0:FRS", "remove 0"},
           {"vanished allowed", "vanished base=+$SourceGone at=0 since=1", "0:S", "remove 0"},
           // its owner was first: it is not ours to bring back
           {"vanished allowed", "vanished at=0 since=1", "nothing", "note removed"},
           {"vanished allowed", "vanished at=0 since=1 removal=owner", "nothing", ""},
           {"vanished allowed", "vanished at=0 since=1 removal=owner", "0", ""},
           // cut off before the file went, and after it
           {"vanished allowed", "vanished at=0 since=1 removal=meant", "0", "remove 0"},
           {"vanished allowed", "vanished at=0 since=1 removal=meant", "nothing", "remove 0"},
           {"vanished allowed", "vanished at=0 since=950 removal=meant", "0", ""},  // the grace period grew
           {"vanished allowed", "vanished removal=done since=1", "nothing", ""},
           // not where nothing may be touched
           {"vanished", "vanished at=0 since=1", "0", ""},
           {"vanished", "vanished at=0 since=1 removal=meant", "0", ""},
           {"vanished", "vanished at=0 since=1", "nothing", ""},
           {"silent", "vanished at=0 since=1", "0", ""},
           {"vanished allowed", "listed", "0", "gone"},
           {"vanished allowed", "orphan at=0 since=1", "0", ""},
       }),
       policy_of(OnSourceDelete::Remove));
  hold(std::to_array<Decision>({
           {"vanished allowed", "delivered at=0", "0", "vanished; remove 0"},
           {"vanished", "delivered at=0", "0", "vanished"},
           {"vanished allowed", "vanished at=0 since=1000", "0", "remove 0"},
           {"vanished allowed", "vanished at=0 since=1001", "0", ""},
       }),
       policy_of(OnSourceDelete::Remove, 0));
}

TEST_CASE("plan: the fuse blows at more than max(50, 20 %), and when nothing is left") {
  const Policy policy;
  struct Case {
    std::uint64_t vanished, left;
    bool blows;
  };
  for (const auto& c : std::to_array<Case>({{0, 0, false},
                                            {0, 100, false},
                                            {1, 0, true},
                                            {50, 0, true},
                                            {1, 1, false},
                                            {50, 1, false},
                                            {51, 1, true},
                                            {51, 204, false},  // 20 % of 255
                                            {51, 203, true},
                                            {2000, 8000, false},
                                            {2001, 8000, true}})) {
    CAPTURE(c.vanished);
    CAPTURE(c.left);
    CHECK(anomalous(policy, c.vanished, c.left) == c.blows);
  }
}

}  // namespace
}  // namespace mailhaul::sync
