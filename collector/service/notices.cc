#include "collector/service/notices.h"

#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "protocols/base/text.h"

namespace mailhaul::service {

using nlohmann::json;
using registry::JobRow;
using registry::NoticeRow;

namespace {

constexpr std::int64_t kDay = 86'400;

std::size_t held_of(const JobRow& row) {
  const auto counts = json::parse(row.counts, nullptr, false);
  return counts.is_object() ? counts.value("held", std::size_t{0}) : 0;
}

struct Said {
  const char* topic;
  const char* type;
  std::string title, text;
};

NoticeRow notice(Said said, const json& data, std::int64_t now) {
  NoticeRow row;
  row.topic = said.topic;
  row.type = said.type;
  row.at = now;
  row.title = std::move(said.title);
  row.text = std::move(said.text);
  row.data = data.dump(-1, ' ', false, json::error_handler_t::replace);
  return row;
}

// What went wrong and what to do, as sentences below each other.
std::string reason(const JobRow& row) {
  return printable(row.error, 1000) + (row.advice.empty() ? "" : "\n" + printable(row.advice, 1000));
}

std::string mebibytes(std::uint64_t octets) { return std::to_string(octets >> 20) + " MiB"; }

}  // namespace

std::vector<NoticeRow> worth_telling(const JobRow& before, JobRow& after, std::string_view account, std::int64_t now) {
  std::vector<NoticeRow> out;
  const auto name = printable(account);
  const auto tell = [&](Said said) {
    json data{{"job", after.id}, {"account", name}};
    if (!after.error.empty()) data["error"] = printable(after.error, 1000);
    if (!after.advice.empty()) data["advice"] = after.advice;
    if (after.failing_since != 0) data["failing_since"] = after.failing_since;
    out.push_back(notice(std::move(said), data, now));
  };
  if (after.failures > 0) {
    if (after.attention && !(after.told & kToldNeedsLogin)) {
      after.told |= kToldNeedsLogin;
      tell({"needs_login", "job.needs_login", name + ": a person has to act", reason(after)});
    } else if (!(after.told & (kToldFailing | kToldNeedsLogin)) && now - after.failing_since >= kDay) {
      after.told |= kToldFailing;
      tell({"failing", "job.failing", name + ": failing for a day", reason(after)});
    }
  } else if (after.told & (kToldFailing | kToldNeedsLogin) && after.last_success >= now) {
    const auto* topic = after.told & kToldNeedsLogin ? "needs_login" : "failing";
    after.told &= ~(kToldFailing | kToldNeedsLogin);
    tell({topic, "job.recovered", name + ": works again", "Its mail is collected as before; nothing was lost."});
  }
  if (after.finished && !before.finished)
    tell({"finished", "job.finished", name + ": finished", "Everything of this account is collected."});
  const auto held = held_of(after);
  if (held > 0 && !(after.told & kToldHeld)) {
    after.told |= kToldHeld;
    tell({"held", "job.held", name + ": removals are held",
          "More vanished at the source than is usual, in mailboxes: " + std::to_string(held) +
              ". Nothing is removed until a person has looked and released it."});
  } else if (held == 0) {
    after.told &= ~kToldHeld;
  }
  return out;
}

std::optional<NoticeRow> worth_telling(bool told_low, std::uint64_t free, std::uint64_t reserve, std::int64_t now) {
  const json data{{"free", free}, {"reserve", reserve}};
  if (!told_low && free < reserve)
    return notice({"disk_low", "disk.low", "The disk is nearly full",
                   mebibytes(free) + " are left, " + mebibytes(reserve) +
                       " stay free: nothing is collected until there is space."},
                  data, now);
  if (told_low && free >= reserve + reserve / 5)
    return notice({"disk_low", "disk.recovered", "The disk has space again",
                   mebibytes(free) + " are free; collecting goes on by itself."},
                  data, now);
  return std::nullopt;
}

NoticeRow trial_notice(std::int64_t now) {
  return notice({"", "test", "A test of Mailhaul", "This is where you will be told of what happens."}, json::object(),
                now);
}

std::optional<std::int64_t> next_attempt(std::int64_t attempts, std::int64_t now) {
  constexpr std::int64_t kMinute = 60, kHour = 3600;
  constexpr std::array<std::int64_t, 9> kWaits{5,          5 * kMinute, 30 * kMinute, 2 * kHour, 5 * kHour,
                                               10 * kHour, 14 * kHour,  20 * kHour,   24 * kHour};
  if (attempts < 1 || static_cast<std::size_t>(attempts) > kWaits.size()) return std::nullopt;
  return now + kWaits.at(static_cast<std::size_t>(attempts - 1));
}

}  // namespace mailhaul::service
