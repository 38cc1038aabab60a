#include "collector/service/policy.h"

#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "collector/contacts_job.h"

namespace mailhaul::service {
namespace {

using nlohmann::json;

constexpr std::int64_t kHour = 3600;
constexpr std::int64_t kDay = 24 * kHour;

using Read = std::function<bool(const json& value)>;  // false: not of the right kind

Read words(std::vector<std::string>& into) {
  return [&into](const json& value) {
    constexpr std::size_t kMost = 1000;
    const auto is_word = [](const json& one) { return one.is_string(); };
    if (!value.is_array() || value.size() > kMost || !std::ranges::all_of(value, is_word)) return false;
    into = value.get<std::vector<std::string>>();
    return true;
  };
}
Read flag(bool& into) {
  return [&into](const json& value) {
    if (value.is_boolean()) into = value.get<bool>();
    return value.is_boolean();
  };
}
Read word(std::string& into) {
  return [&into](const json& value) {
    if (value.is_string()) into = value.get<std::string>();
    return value.is_string();
  };
}
template <class T>
Read number(T& into, std::uint64_t low, std::uint64_t high) {
  return [&into, low, high](const json& value) {
    if (!value.is_number_unsigned() || value.get<std::uint64_t>() < low || value.get<std::uint64_t>() > high)
      return false;
    into = static_cast<T>(value.get<std::uint64_t>());
    return true;
  };
}

Accepted read(std::string_view text, const std::string& what, const std::map<std::string, Read>& members) {
  const auto value = json::parse(text, nullptr, false);
  if (!value.is_object()) return invalid(what, what + " is a JSON object");
  for (const auto& [name, member] : value.items()) {
    const auto known = members.find(name);
    if (known == members.end()) return invalid(what + "." + name, what + " has no member '" + name + "'");
    if (!known->second(member)) return invalid(what + "." + name, what + "." + name + " cannot be this");
  }
  return accepted();
}

constexpr std::array<const char*, 4> kKinds{"every", "hours", "once", "push"};

}  // namespace

Accepted read_policy(std::string_view text, JobPolicy& into) {
  auto policy = into;
  auto outcome = read(text, "policy",
                      {{"include", words(policy.include)},
                       {"exclude", words(policy.exclude)},
                       {"map", words(policy.map)},
                       {"quirks", words(policy.quirks)},
                       {"all_namespaces", flag(policy.all_namespaces)},
                       {"special_use", flag(policy.special_use)},
                       {"since", word(policy.since)},
                       {"max_size", number(policy.max_size, 0, INT64_MAX)},
                       {"on_source_delete", word(policy.on_source_delete)},
                       {"grace_days", number(policy.grace_days, 0, 3650)},
                       {"newest_first", flag(policy.newest_first)},
                       {"connections", number(policy.connections, 1, 16)},
                       {"pop3_leave", word(policy.pop3_leave)},
                       {"gmail_labels", word(policy.gmail_labels)},
                       {"contacts", word(policy.contacts)}});
  if (!outcome) return outcome;
  collector::Job probe;
  if (auto understood = apply(policy, probe); !understood) return understood;
  into = std::move(policy);
  return accepted();
}

std::string to_json(const JobPolicy& p) {
  return json{{"include", p.include},
              {"exclude", p.exclude},
              {"map", p.map},
              {"quirks", p.quirks},
              {"all_namespaces", p.all_namespaces},
              {"special_use", p.special_use},
              {"since", p.since},
              {"max_size", p.max_size},
              {"on_source_delete", p.on_source_delete},
              {"grace_days", p.grace_days},
              {"connections", p.connections},
              {"newest_first", p.newest_first},
              {"pop3_leave", p.pop3_leave},
              {"gmail_labels", p.gmail_labels},
              {"contacts", p.contacts}}
      .dump();
}

Accepted read_schedule(std::string_view text, Schedule& into) {
  Schedule schedule;
  std::string kind(kKinds.at(static_cast<std::size_t>(into.when)));
  std::vector<unsigned> hours = into.hours;
  schedule.minutes = into.minutes;
  auto outcome = read(text, "schedule",
                      {{"kind", word(kind)},
                       {"minutes", number(schedule.minutes, 1, 7 * 24 * 60)},
                       {"hours", [&hours](const json& value) {
                          if (!value.is_array() || value.size() > 24) return false;
                          hours.clear();
                          for (const auto& one : value) {
                            if (!one.is_number_unsigned() || one.get<std::uint64_t>() > 23) return false;
                            hours.push_back(one.get<unsigned>());
                          }
                          return true;
                        }}});
  if (!outcome) return outcome;
  const auto found = std::ranges::find(kKinds, kind);
  if (found == kKinds.end()) return invalid("schedule.kind", "schedule.kind is every, hours, once or push");
  schedule.when = static_cast<When>(found - kKinds.begin());
  std::ranges::sort(hours);
  hours.erase(std::ranges::unique(hours).begin(), hours.end());
  schedule.hours = std::move(hours);
  if (schedule.when == When::Hours && schedule.hours.empty())
    return invalid("schedule.hours", "which hours of the day?", "name at least one, 0 to 23, UTC");
  into = std::move(schedule);
  return accepted();
}

std::string to_json(const Schedule& schedule) {
  json out{{"kind", kKinds.at(static_cast<std::size_t>(schedule.when))}};
  if (schedule.when == When::Every || schedule.when == When::Push) out["minutes"] = schedule.minutes;
  if (schedule.when == When::Hours) out["hours"] = schedule.hours;
  return out.dump();
}

Accepted apply(const JobPolicy& policy, collector::Job& job) {
  job.rules.include = policy.include;
  job.rules.exclude = policy.exclude;
  for (const auto& rule : policy.map) {
    auto parsed = collector::parse_map(rule);
    if (!parsed) return invalid("policy.map", parsed.error().what, parsed.error().advice);
    job.rules.map.push_back(*std::move(parsed));
  }
  job.rules.all_namespaces = policy.all_namespaces;
  job.rules.special_use = policy.special_use;
  for (const auto& quirk : policy.quirks)
    if (auto applied = collector::apply_quirk(quirk, job.quirks); !applied)
      return invalid("policy.quirks", applied.error().what, applied.error().advice);
  if (!policy.since.empty()) {
    auto since = collector::parse_day(policy.since);
    if (!since) return invalid("policy.since", since.error().what, since.error().advice);
    job.policy.since = *since;
  }
  if (policy.max_size > 0) job.policy.max_size = policy.max_size;
  using sync::OnSourceDelete;
  if (policy.on_source_delete == "keep")
    job.policy.on_source_delete = OnSourceDelete::Keep;
  else if (policy.on_source_delete == "flag")
    job.policy.on_source_delete = OnSourceDelete::Flag;
  else if (policy.on_source_delete == "remove")
    job.policy.on_source_delete = OnSourceDelete::Remove;
  else
    return invalid("policy.on_source_delete", "policy.on_source_delete is keep, flag or remove");
  job.policy.grace = static_cast<std::int64_t>(policy.grace_days) * kDay;
  job.connections = policy.connections;
  job.newest_first = policy.newest_first;
  auto leave = collector::parse_leave(policy.pop3_leave);
  if (!leave) return invalid("policy.pop3_leave", leave.error().what, leave.error().advice);
  job.policy.leave = *leave;
  if (policy.gmail_labels != "mailboxes" && policy.gmail_labels != "primary")
    return invalid("policy.gmail_labels", "policy.gmail_labels is mailboxes or primary");
  job.gmail_labels =
      policy.gmail_labels == "primary" ? collector::GmailLabels::Primary : collector::GmailLabels::Mailboxes;
  if (!policy.contacts.empty())
    if (auto understood = collector::is_contacts_place(policy.contacts); !understood)
      return invalid("policy.contacts", understood.error().what, understood.error().advice);
  return accepted();
}

std::optional<std::int64_t> next_run(const Schedule& schedule, std::int64_t now, double spread) {
  switch (schedule.when) {
    case When::Once:
      return std::nullopt;
    case When::Push:
    case When::Every: {
      const auto period = static_cast<std::int64_t>(schedule.minutes) * 60;
      return now + period + static_cast<std::int64_t>(spread * static_cast<double>(period) / 10);
    }
    case When::Hours:
      break;
  }
  const auto midnight = now - now % kDay;
  const auto late = static_cast<std::int64_t>(spread * 15 * 60);
  for (std::int64_t day = 0; day < 2; ++day)
    for (const auto hour : schedule.hours)
      if (const auto at = midnight + day * kDay + hour * kHour + late; at > now) return at;
  return now + kDay;
}

std::int64_t next_try(std::int64_t failures, Retry retry, std::int64_t wait, std::int64_t now, double spread) {
  auto pause = std::int64_t{60} << std::clamp<std::int64_t>(failures - 1, 0, 6);
  pause = std::min(pause, kHour);
  if (retry == Retry::AfterUserAction || retry == Retry::Never) pause = 6 * kHour;
  pause += static_cast<std::int64_t>(spread * static_cast<double>(pause) / 10);
  return now + std::max(pause, wait);
}

}  // namespace mailhaul::service
