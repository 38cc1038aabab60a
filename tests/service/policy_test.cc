#include "collector/service/policy.h"

#include <doctest/doctest.h>

namespace mailhaul::service {
namespace {

constexpr std::int64_t kMidnight = 1'767'225'600;  // 2026-01-01 00:00 UTC
constexpr std::int64_t kHour = 3600;

TEST_CASE("a policy is read, kept and read again; what is absent stays") {
  JobPolicy policy;
  REQUIRE(read_policy(R"({"include": ["INBOX*"], "max_size": 1000, "map": ["A=B"], "since": "2024-02-01"})", policy));
  CHECK(policy.include.size() == 1);
  REQUIRE(read_policy(R"({"exclude": ["Junk"]})", policy));
  CHECK(policy.include.size() == 1);
  JobPolicy again;
  REQUIRE(read_policy(to_json(policy), again));
  CHECK(again == policy);
  collector::Job job;
  REQUIRE(apply(policy, job));
  CHECK(job.policy.max_size == 1000);
  CHECK(job.rules.map.size() == 1);
}

TEST_CASE("a policy that cannot be understood names the field, and changes nothing") {
  const auto field = [](const char* json) {
    JobPolicy policy;
    const auto outcome = read_policy(json, policy);
    CHECK(policy == JobPolicy{});
    return outcome ? std::string("fine") : outcome.refusal().field;
  };
  CHECK(field(R"({"inlcude": []})") == "policy.inlcude");
  CHECK(field(R"({"include": [1]})") == "policy.include");
  CHECK(field(R"({"include": "INBOX"})") == "policy.include");
  CHECK(field(R"({"max_size": -1})") == "policy.max_size");
  CHECK(field(R"({"connections": 17})") == "policy.connections");
  CHECK(field(R"({"since": "yesterday"})") == "policy.since");
  CHECK(field(R"({"map": ["nothing"]})") == "policy.map");
  CHECK(field(R"({"quirks": ["+nonsense"]})") == "policy.quirks");
  CHECK(field(R"({"on_source_delete": "burn"})") == "policy.on_source_delete");
  CHECK(field("[]") == "policy");
}

TEST_CASE("when a job is due") {
  Schedule every;
  REQUIRE(read_schedule(R"({"kind": "every", "minutes": 30})", every));
  CHECK(next_run(every, kMidnight, 0) == kMidnight + 1800);
  CHECK(next_run(every, kMidnight, 0.5) == kMidnight + 1800 + 90);
  Schedule hours;
  REQUIRE(read_schedule(R"({"kind": "hours", "hours": [22, 4, 4]})", hours));
  CHECK(hours.hours == std::vector<unsigned>{4, 22});
  CHECK(next_run(hours, kMidnight + kHour, 0) == kMidnight + 4 * kHour);
  CHECK(next_run(hours, kMidnight + 4 * kHour, 0) == kMidnight + 22 * kHour);
  CHECK(next_run(hours, kMidnight + 23 * kHour, 0) == kMidnight + 28 * kHour);
  Schedule once;
  REQUIRE(read_schedule(R"({"kind": "once"})", once));
  CHECK(!next_run(once, kMidnight, 0));
  CHECK(!read_schedule(R"({"kind": "hours"})", once));
  CHECK(!read_schedule(R"({"kind": "every", "minutes": 0})", once));
  CHECK(!read_schedule(R"({"kind": "sometimes"})", once));
  CHECK(once.when == When::Once);
}

TEST_CASE("failures are tried again, later and later, and never given up") {
  CHECK(next_try(1, Retry::Later, 0, 0, 0) == 60);
  CHECK(next_try(2, Retry::Now, 0, 0, 0) == 120);
  CHECK(next_try(50, Retry::Later, 0, 0, 0) == kHour);
  CHECK(next_try(1, Retry::Later, 7200, 0, 0) == 7200);
  CHECK(next_try(1, Retry::AfterUserAction, 0, 0, 0) == 6 * kHour);
  CHECK(next_try(999, Retry::Never, 0, 0, 0.999) < 7 * kHour);
}

}  // namespace
}  // namespace mailhaul::service
