// The rules of a job as a user states them: what is collected, what becomes of it, and when. Values, their JSON (the
// REST API's `Policy` and `Schedule`, also what the database keeps), and the decision when a job is due. Pure.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "collector/job.h"
#include "collector/service/outcome.h"

namespace mailhaul::service {

struct JobPolicy {
  std::vector<std::string> include, exclude, map, quirks;
  bool all_namespaces = false, special_use = true;
  std::string since;           // YYYY-MM-DD; empty: everything
  std::uint64_t max_size = 0;  // 0: no limit
  std::string on_source_delete = "keep";
  unsigned grace_days = 7;
  unsigned connections = 1;
  bool newest_first = false;
  std::string pop3_leave = "forever";  // forever, delete, or a number of days
  std::string gmail_labels = "mailboxes";
  std::string contacts;  // empty: none; "found": looked for; https://…
  bool operator==(const JobPolicy&) const = default;
};

enum class When { Every, Hours, Once, Push };

struct Schedule {
  When when = When::Every;
  unsigned minutes = 15;        // Every; Push: between the polls that verify what is heard
  std::vector<unsigned> hours;  // Hours: of the day, UTC, ascending
  bool operator==(const Schedule&) const = default;
};

// Members that are absent stay as they are in `into`: a PATCH. Unknown members are refused.
Accepted read_policy(std::string_view json, JobPolicy& into);
Accepted read_schedule(std::string_view json, Schedule& into);
std::string to_json(const JobPolicy& policy);
std::string to_json(const Schedule& schedule);

// Fills the rules of `job`; refuses what cannot be understood, by the field's name.
Accepted apply(const JobPolicy& policy, collector::Job& job);

// When a job that ended at `now` runs again; nullopt: not by itself (Once). `spread` in [0, 1) keeps jobs of one
// schedule apart: up to a tenth of the period, or 15 minutes after a full hour.
std::optional<std::int64_t> next_run(const Schedule& schedule, std::int64_t now, double spread);

// When a job that could not run is tried again: 1, 2, 4 … 60 minutes, never given up. Where only a person can help,
// four times a day, for passwords are changed back and servers repaired. `wait`: seconds that the server asked for.
std::int64_t next_try(std::int64_t failures, Retry retry, std::int64_t wait, std::int64_t now, double spread);

}  // namespace mailhaul::service
