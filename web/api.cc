#include "web/api.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <memory>
#include <sstream>
#include <utility>

#include "web/routes.h"

namespace mailhaul::web {

using service::Refusal;
using service::Why;

namespace {

constexpr std::string_view kRoot = "/api/v1";

int status_of(const Refusal& refusal) {
  switch (refusal.why) {
    case Why::Invalid:
      return 422;
    case Why::NotAllowed:
      return 403;
    case Why::NotFound:
      return 404;
    case Why::Conflict:
      return 409;
    case Why::Stale:
      return 412;
    case Why::TooMany:
      return 429;
    case Why::Trouble:
      break;
  }
  return 503;
}

const char* title_of(int status) {
  switch (status) {
    case 400:
      return "Bad request";
    case 401:
      return "Not logged in";
    case 403:
      return "Not allowed";
    case 404:
      return "Not found";
    case 405:
      return "Method not allowed";
    case 409:
      return "Conflict";
    case 412:
      return "Changed meanwhile";
    case 415:
      return "Unsupported media type";
    case 422:
      return "Invalid";
    case 429:
      return "Too many requests";
    default:
      return "Trouble";
  }
}

// Does `path` fit the pattern? Its ids go to `ids`.
bool fits(std::string_view pattern, std::string_view path, std::vector<std::int64_t>& ids) {
  ids.clear();
  while (!pattern.empty() && !path.empty()) {
    const auto next = [](std::string_view& rest) {
      rest.remove_prefix(1);
      const auto end = std::min(rest.find('/'), rest.size());
      const auto part = rest.substr(0, end);
      rest.remove_prefix(end);
      return part;
    };
    if (path.front() != '/') return false;
    const auto wanted = next(pattern), is = next(path);
    if (wanted != "{id}") {
      if (wanted != is) return false;
      continue;
    }
    std::int64_t id = 0;
    const auto [end, error] = std::from_chars(is.data(), is.data() + is.size(), id);
    if (error != std::errc() || end != is.data() + is.size() || id < 1) return false;
    ids.push_back(id);
  }
  return pattern.empty() && path.empty();
}

std::string cookie_value(const std::string& cookies, const std::string& wanted) {
  for (std::size_t at = 0; at < cookies.size();) {
    auto end = std::min(cookies.find(';', at), cookies.size());
    auto one = std::string_view(cookies).substr(at, end - at);
    while (one.starts_with(' ')) one.remove_prefix(1);
    if (one.starts_with(wanted + "=")) return std::string(one.substr(wanted.size() + 1));
    at = end + 1;
  }
  return {};
}

// A page of another site must not act with this one's cookie.
bool from_this_site(const Call& call) {
  const auto site = call.header("Sec-Fetch-Site");
  if (!site.empty() && site != "same-origin" && site != "none") return false;
  const auto origin = call.header("Origin");
  if (origin.empty()) return true;
  const auto host = origin.find("://");
  return host != std::string::npos && origin.substr(host + 3) == call.header("Host");
}

bool is_json(const std::string& type) {
  const auto bare = type.substr(0, type.find(';'));
  return bare == "application/json" || bare == "application/merge-patch+json";
}

}  // namespace

std::string cookie_name(bool secure) { return secure ? "__Host-mailhaul" : "mailhaul"; }

Reply problem(const Refusal& refusal, int status) {
  if (status == 0) status = status_of(refusal);
  Reply reply;
  reply.status = status;
  reply.type = "application/problem+json";
  reply.body = {{"type", "about:blank"}, {"title", title_of(status)}, {"status", status}, {"detail", refusal.what}};
  if (!refusal.advice.empty()) reply.body["advice"] = refusal.advice;
  if (!refusal.field.empty()) reply.body["field"] = refusal.field;
  if (refusal.wait > 0) reply.headers.emplace_back("Retry-After", std::to_string(refusal.wait));
  return reply;
}

Reply problem(int status, std::string title, std::string detail, std::string advice) {
  auto reply = problem(Refusal{Why::Invalid, std::move(detail), std::move(advice)}, status);
  if (!title.empty()) reply.body["title"] = std::move(title);
  return reply;
}

std::span<const Route> Api::routes() { return all_routes(); }

std::optional<Reply> Api::identify(Call& call, const Route& route) {
  const auto authorization = call.header("Authorization");
  const auto cookie = cookie_value(call.header("Cookie"), cookie_name(call.secure));
  const bool bearer = authorization.starts_with("Bearer ") || authorization.starts_with("bearer ");
  if (bearer || !cookie.empty()) {
    auto known = bearer ? service_.access().by_token(authorization.substr(7), call.remote)
                        : service_.access().by_session(cookie, call.remote);
    if (known)
      call.viewer = *std::move(known);
    else if (!route.open && known.refusal().why == Why::Trouble)
      return problem(known.refusal());
  }
  if (route.open) return std::nullopt;
  if (call.viewer.user == 0) {
    auto reply = problem(401, "", "log in, or send a token", "POST /session, or Authorization: Bearer TOKEN");
    reply.headers.emplace_back("WWW-Authenticate", "Bearer realm=\"mailhaul\"");
    return reply;
  }
  if (!call.viewer.csrf.empty() && call.method != "GET" &&
      (!from_this_site(call) || call.header("X-CSRF-Token") != call.viewer.csrf))
    return problem(403, "", "the request does not come from this page", "Send the session's csrf in X-CSRF-Token.");
  if (!call.viewer.may(route.scopes))
    return problem(Refusal{Why::NotAllowed, "this needs the scope " + service::scope_names(route.scopes).front(),
                           call.viewer.csrf.empty() ? "Make a token that has it." : "Ask an owner of this service."});
  return std::nullopt;
}

// RFC 9110 leaves it to us what a repeated POST does: with a key it is done once.
Reply Api::once(const Call& call, const Route& route) {
  const auto key = call.header("Idempotency-Key");
  if (key.empty() || call.method != "POST" || route.open) return route.handle(service_, call);
  constexpr std::size_t kLongest = 200;
  if (key.size() > kLongest) return problem(service::invalid("Idempotency-Key", "a key has at most 200 characters"));
  const auto request = call.method + " " + call.path + "\n" + call.body;
  // The same request twice at once is one request: the second learns the answer when the first has it.
  const auto mine = std::to_string(call.viewer.user) + " " + key;
  {
    const std::lock_guard lock(mutex_);
    if (!being_answered_.insert(mine).second)
      return problem(Refusal{Why::Conflict, "a request with this Idempotency-Key is being answered",
                             "Ask again in a moment, with the same key.", "Idempotency-Key", 1});
  }
  const std::unique_ptr<const std::string, std::function<void(const std::string*)>> finished(
      &mine, [&](const auto* one) {
        const std::lock_guard lock(mutex_);
        being_answered_.erase(*one);
      });
  auto before = service_.remembered(call.viewer, key, request);
  if (!before) return problem(before.refusal());
  if (*before) {
    Reply reply;
    reply.status = (*before)->status;
    reply.body = json::parse((*before)->body, nullptr, false);
    reply.headers.emplace_back("Idempotency-Replayed", "true");
    return reply;
  }
  auto reply = route.handle(service_, call);
  if (reply.status < 300) {
    auto kept = reply.body;  // a secret is given out once, and kept nowhere
    if (kept.contains("secret")) kept["secret"] = "";
    service_.remember(call.viewer, key, request, reply.status, kept.dump());
  }
  return reply;
}

Reply Api::handle(Call& call) {
  const auto path = std::string_view(call.path).substr(kRoot.size());
  std::string allowed;
  for (const auto& route : routes()) {
    if (!fits(route.path, path, call.ids)) continue;
    if (route.method != call.method) {
      allowed += (allowed.empty() ? "" : ", ") + std::string(route.method);
      continue;
    }
    if (auto refusal = identify(call, route)) return *std::move(refusal);
    const bool csv = std::string_view(route.path) == "/accounts/import";
    if (!call.body.empty() && !csv && !is_json(call.header("Content-Type")))
      return problem(415, "", "the body is not JSON", "Send Content-Type: application/json.");
    if (csv && !call.header("Content-Type").starts_with("text/csv"))
      return problem(415, "", "the body is not CSV", "Send Content-Type: text/csv.");
    return once(call, route);
  }
  if (allowed.empty())
    return problem(404, "", "there is nothing here",
                   "GET " + settings_.base_path + "/api/v1/openapi.json lists all there is.");
  auto reply = problem(405, "", "this can only be: " + allowed);
  reply.headers.emplace_back("Allow", allowed);
  return reply;
}

std::string metrics(const service::SystemView& view, std::size_t connections) {
  std::ostringstream out;
  const auto one = [&](const char* metric, const char* kind, const char* help, auto value) {
    out << "# HELP mailhaul_" << metric << ' ' << help << "\n# TYPE mailhaul_" << metric << ' ' << kind << "\nmailhaul_"
        << metric << ' ' << value << '\n';
  };
  one("runs_total", "counter", "Runs that have ended.", view.totals.runs);
  one("runs_failed_total", "counter", "Runs that could not run.", view.totals.failed_runs);
  one("messages_delivered_total", "counter", "Messages delivered.", view.totals.messages);
  one("delivered_bytes_total", "counter", "Octets of messages delivered.", view.totals.octets);
  one("jobs", "gauge", "Jobs there are.", view.load.jobs);
  one("jobs_running", "gauge", "Jobs that are running.", view.load.running);
  one("jobs_queued", "gauge", "Jobs that are due and wait for a worker.", view.load.queued);
  one("schedule_lag_seconds", "gauge", "How late the job is that has waited longest.", view.load.lag);
  one("watched_accounts", "gauge", "Accounts whose server is to tell of new mail.", view.watched.wanted);
  one("watched_connections", "gauge", "Connections that wait for new mail.", view.watched.listening);
  one("watched_news_total", "counter", "News that servers have told.", view.watched.heard);
  one("watched_lost_total", "counter", "Waiting connections that went away.", view.watched.lost);
  one("disk_free_bytes", "gauge", "Octets free where mail goes.", view.disk_free);
  one("resident_memory_bytes", "gauge", "Memory of this process.", view.memory);
  one("audit_notes_lost_total", "counter", "What could not be written into the audit log.", view.notes_lost);
  one("http_connections", "gauge", "Open connections to this service.", connections);
  one("start_time_seconds", "gauge", "When this process began.", view.started);
  return out.str();
}

}  // namespace mailhaul::web
