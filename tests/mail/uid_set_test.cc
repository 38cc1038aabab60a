#include <doctest/doctest.h>

#include <set>
#include <string>

#include "protocols/mail/identity.h"
#include "tests/mail/random.h"

using namespace mailhaul::mail;

namespace {

constexpr std::uint32_t kMax = UINT32_MAX;

UidSet set(const std::string& text) {
  const auto parsed = UidSet::parse(text);
  REQUIRE_MESSAGE(parsed.has_value(), text);
  return *parsed;
}

std::set<std::uint32_t> elements(const UidSet& s) {
  std::set<std::uint32_t> all;
  s.each([&](Uid uid) { all.insert(uid.value); });
  return all;
}

}  // namespace

TEST_CASE("parsing and writing") {
  CHECK(set("1:3,7,9:12").wire() == "1:3,7,9:12");
  CHECK(set("12:9,7,3:1").wire() == "1:3,7,9:12");
  CHECK(set("1,2,3,2:5,4294967295").wire() == "1:5,4294967295");
  CHECK(set("4294967295:1").wire() == "1:4294967295");
  CHECK(set("1:4294967295").size() == kMax);
  CHECK(UidSet().wire().empty());
  for (const char* bad : {"",   "0",    "0:5",   "5:0", "*",  "1:*", "1,",  ",1",         "1:",
                          ":1", "1::2", "1:2:3", "a",   "1 ", " 1",  "1;2", "4294967296", "99999999999999999999",
                          "-1", "+1",   "1,,2"})
    CHECK_FALSE_MESSAGE(UidSet::parse(bad).has_value(), bad);
  CHECK(UidSet::parse("1,3,5", 3).has_value());
  CHECK_FALSE(UidSet::parse("1,3,5", 2).has_value());
  CHECK(UidSet::parse("1,2,3,4", 1).has_value());  // they are one range
}

TEST_CASE("adding") {
  UidSet s;
  s.add(Uid{5});
  s.add(Uid{7});
  s.add(Uid{6});
  CHECK(s.wire() == "5:7");
  s.add(UidRange{1, 2});
  s.add(UidRange{kMax, kMax});
  s.add(UidRange{kMax - 1, kMax - 1});
  CHECK(s.wire() == "1:2,5:7,4294967294:4294967295");
  s.add(UidRange{2, kMax - 5});
  CHECK(s.wire() == "1:4294967290,4294967294:4294967295");
  s.add(UidRange{1, kMax});
  CHECK(s.wire() == "1:4294967295");
  UidSet odd;
  odd.add(Uid{0});
  odd.add(UidRange{5, 3});
  CHECK(odd.empty());
  odd.add(UidRange{0, 3});
  CHECK(odd.wire() == "1:3");
  CHECK(UidSet({{7, 9}, {1, 2}, {3, 3}, {0, 0}, {8, 20}, {9, 4}}).wire() == "1:3,7:20");
}

TEST_CASE("asking") {
  const UidSet s = set("1:3,7,4294967295");
  CHECK(s.contains(Uid{1}));
  CHECK(s.contains(Uid{3}));
  CHECK_FALSE(s.contains(Uid{4}));
  CHECK(s.contains(Uid{7}));
  CHECK(s.contains(Uid{kMax}));
  CHECK_FALSE(s.contains(Uid{0}));
  CHECK(s.highest() == Uid{kMax});
  CHECK_FALSE(UidSet().highest());
  CHECK(s.size() == 5);
  std::uint32_t last = 0;
  set("4294967294:4294967295").each([&](Uid uid) { last = uid.value; });  // ends
  CHECK(last == kMax);
}

TEST_CASE("algebra at the edges") {
  const UidSet all = set("1:4294967295");
  CHECK(all.minus(set("4294967295")).wire() == "1:4294967294");
  CHECK(all.minus(set("1")).wire() == "2:4294967295");
  CHECK(all.minus(all).empty());
  CHECK(all.minus(set("5:6,9")).wire() == "1:4,7:8,10:4294967295");
  CHECK(set("5:6").minus(all).empty());
  CHECK(all.intersect(set("4294967295")).wire() == "4294967295");
  CHECK(set("1:5,8:9").intersect(set("5:8")).wire() == "5,8");
  CHECK(set("1:5").minus(set("3")).wire() == "1:2,4:5");
  UidSet merged = set("1:2,10:11");
  merged.merge(set("3,12:4294967295"));
  CHECK(merged.wire() == "1:3,10:4294967295");
  merged.merge(UidSet());
  merged.merge(set("4:9"));
  CHECK(merged == all);
}

TEST_CASE("algebra against a plain set of numbers") {
  mailhaul::mail::testing::Random random(7);
  const auto some = [&](std::uint32_t base) {
    UidSet s;
    for (int i = 0; i < 12; ++i) {
      const std::uint32_t first = base + random() % 80;
      s.add(UidRange{first, first + random() % 6});
    }
    return s;
  };
  for (int round = 0; round < 2000; ++round) {
    const std::uint32_t base = round % 2 == 0 ? 1 : kMax - 90;
    const UidSet a = some(base), b = some(base);
    const auto in_a = elements(a), in_b = elements(b);
    std::set<std::uint32_t> both, only_a, either = in_a;
    for (const auto uid : in_a) (in_b.count(uid) ? both : only_a).insert(uid);
    either.insert(in_b.begin(), in_b.end());
    UidSet merged = a;
    merged.merge(b);
    REQUIRE(elements(a.intersect(b)) == both);
    REQUIRE(elements(a.minus(b)) == only_a);
    REQUIRE(elements(merged) == either);
    REQUIRE(a.size() == in_a.size());
    REQUIRE(set(a.wire()) == a);
    for (std::size_t i = 1; i < merged.ranges().size(); ++i)
      REQUIRE(std::uint64_t{merged.ranges()[i - 1].last} + 1 < merged.ranges()[i].first);
  }
}

TEST_CASE("taking from the back: so many UIDs, the highest") {
  UidSet s = set("1:10,20,30:40");
  CHECK(s.take_back(3).wire() == "38:40");
  CHECK(s.take_back(10).wire() == "10,20,30:37");
  CHECK(s.take_front(2).wire() == "1:2");
  CHECK(s.take_back(100).wire() == "3:9");
  CHECK(s.empty());
  CHECK(s.take_back(1).empty());
  s.add(Uid{3});
  CHECK(s.wire() == "3");
}

TEST_CASE("taking from the front: so many UIDs, so much text, at least one") {
  UidSet s = set("1:10,20,30:40");
  CHECK(s.take_front(3).wire() == "1:3");
  CHECK(s.take_front(8).wire() == "4:10,20");
  CHECK(s.wire() == "30:40");
  CHECK(s.take_front(100, 5).wire() == "30:40");
  CHECK(s.empty());
  CHECK(s.take_front(5).empty());
  s.add(Uid{3});
  CHECK(s.wire() == "3");

  UidSet tight = set("100:200,300,400:500");
  CHECK(tight.take_front(100, 1).wire() == "100");  // nothing fits, one comes all the same
  CHECK(tight.take_front(100, 6).wire() == "101");  // "101:200" would be seven octets
  CHECK(tight.take_front(1000, 11).wire() == "102:200,300");
  CHECK(tight.take_front(0).empty());
  CHECK(tight.wire() == "400:500");

  UidSet end = set("4294967290:4294967295");
  CHECK(end.take_front(SIZE_MAX, SIZE_MAX).wire() == "4294967290:4294967295");

  mailhaul::mail::testing::Random random(3);
  for (int round = 0; round < 300; ++round) {
    UidSet left;
    for (int i = 0; i < 30; ++i) {
      const std::uint32_t first = 1 + random() % 5000;
      left.add(UidRange{first, first + random() % 40});
    }
    const UidSet whole = left;
    UidSet taken;
    while (!left.empty()) {
      const std::size_t messages = 1 + random() % 50, octets = 12 + random() % 60;
      const UidSet part = left.take_front(messages, octets);
      REQUIRE(part.size() >= 1);
      REQUIRE(part.size() <= messages);
      REQUIRE(part.wire().size() <= octets);
      REQUIRE((taken.empty() || taken.highest()->value < part.ranges().front().first));
      REQUIRE(left.intersect(part).empty());
      if (!left.empty()) REQUIRE(left == set(left.wire()));  // still a set like any other in between
      taken.merge(part);
    }
    REQUIRE(taken == whole);
  }
}

TEST_CASE("a set that was moved from, and the ranges of a temporary, are safe to use") {
  UidSet a = set("1,3,5,7,9,11");
  a.take_front(2);
  UidSet b = std::move(a);
  CHECK(b.wire() == "5,7,9,11");
  CHECK(a.empty());  // NOLINT(bugprone-use-after-move): that it is empty is the promise
  a.add(Uid{4});
  CHECK(a.wire() == "4");
  const auto ranges = set("1:2,4").ranges();
  CHECK(ranges.size() == 2);
  b.add(Uid{6});
  CHECK(b.wire() == "5:7,9,11");
  b.add(Uid{1});
  CHECK(b.wire() == "1,5:7,9,11");
}
