// What the routes have in common: replies, and what is read of a call. Private to the routes.
#pragma once
#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "web/api.h"

namespace mailhaul::web::replies {

inline Reply ok(json body, int status = 200) {
  Reply reply;
  reply.status = status;
  reply.body = std::move(body);
  return reply;
}
inline Reply nothing() {
  Reply reply;
  reply.status = 204;
  return reply;
}
inline Reply tagged(json body, std::int64_t version, int status = 200) {
  auto reply = ok(std::move(body), status);
  reply.headers.emplace_back("ETag", "\"" + std::to_string(version) + "\"");
  return reply;
}

template <class T>
inline Reply answer(const service::Outcome<T>& outcome, int status = 200) {
  if (!outcome) return problem(outcome.refusal());
  return ok(to_json(*outcome), status);
}
template <class T>
inline Reply versioned(const service::Outcome<T>& outcome, int status = 200) {
  if (!outcome) return problem(outcome.refusal());
  return tagged(to_json(*outcome), outcome->row.version, status);
}
inline Reply answer(const service::Accepted& outcome) { return outcome ? nothing() : problem(outcome.refusal()); }

template <class T, class F>
inline Reply page(const service::Outcome<service::PageOf<T>>& outcome, F&& convert) {
  if (!outcome) return problem(outcome.refusal());
  json items = json::array();
  for (const auto& item : outcome->items) items.push_back(convert(item));
  json body{{"items", std::move(items)}};
  if (!outcome->next.empty()) body["next"] = outcome->next;
  return ok(std::move(body));
}

inline std::string query(const Call& call, const char* name) {
  const auto it = call.query.find(name);
  return it == call.query.end() ? std::string() : it->second;
}

inline std::optional<std::int64_t> number(const std::string& text, std::int64_t low, std::int64_t high) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < low || value > high) return std::nullopt;
  return value;
}

// What lists have in common. A cursor is a number of ours, or of the ledger ("7.1.4711").
inline std::optional<service::Refusal> read_page(const Call& call, service::PageRequest& request) {
  if (const auto limit = query(call, "limit"); !limit.empty()) {
    const auto value = number(limit, 1, 500);
    if (!value) return service::invalid("limit", "limit is 1 to 500");
    request.limit = static_cast<std::size_t>(*value);
  }
  request.cursor = query(call, "cursor");
  if (request.cursor.size() > 60 || request.cursor.find_first_not_of("0123456789.") != std::string::npos)
    return service::invalid("cursor", "this is no cursor", "Take `next` of the page before.");
  request.search = query(call, "search");
  if (request.search.size() > 200) return service::invalid("search", "search is too long");
  for (const auto& [name, into] : {std::pair("job", &request.job), std::pair("account", &request.account)})
    if (const auto id = query(call, name); !id.empty()) {
      const auto value = number(id, 1, INT64_MAX);
      if (!value) return service::invalid(name, std::string(name) + " is an id");
      *into = *value;
    }
  if (const auto state = query(call, "state"); !state.empty()) {
    request.state = job_state_from(state);
    if (!request.state) return service::invalid("state", "there is no such state");
  }
  return std::nullopt;
}

inline std::optional<service::Refusal> read_version(const Call& call, service::Version& version) {
  auto text = call.header("If-Match");
  if (text.empty() || text == "*") return std::nullopt;
  if (text.starts_with("W/")) text.erase(0, 2);
  std::erase(text, '"');
  const auto value = number(text, 0, INT64_MAX);
  if (!value) return service::Refusal{service::Why::Stale, "If-Match is not an ETag of this object", "Read it again."};
  version = *value;
  return std::nullopt;
}

}  // namespace mailhaul::web::replies
