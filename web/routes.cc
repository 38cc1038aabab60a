#include "web/routes.h"

#include <array>
#include <map>
#include <utility>

#include "web/replies.h"
#include "web/system_routes.h"

namespace mailhaul::web {

using namespace replies;  // NOLINT(google-build-using-namespace): what all routes have in common
using service::Outcome;
using service::Refusal;
using service::Service;

namespace {

// --- first start, session

Reply logged_in(const Outcome<service::LoggedIn>& outcome, const Call& call) {
  if (!outcome) return problem(outcome.refusal(), outcome.refusal().field == "password" ? 422 : 0);
  auto reply = ok(to_json(outcome->viewer), 201);
  reply.headers.emplace_back("Set-Cookie", cookie_name(call.secure) + "=" + outcome->cookie +
                                               "; Path=/; HttpOnly; SameSite=Strict; Max-Age=604800" +
                                               (call.secure ? "; Secure" : ""));
  return reply;
}

Reply get_setup(Service& service, const Call&) {
  return ok({{"needed", service.access().setup_needed()}, {"version", service.system().version}});
}

Reply set_up(Service& service, const Call& call) {
  Members m(call.body);
  const auto token = m.text("token", 200, true), name = m.text("name", 100, true, 1);
  const auto password = m.secret("password", 1000, true);
  if (auto bad = m.complaint()) return problem(*bad);
  return logged_in(service.access().set_up(*token, *name, *password, call.remote), call);
}

Reply get_session(Service&, const Call& call) { return ok(to_json(call.viewer)); }

Reply log_in(Service& service, const Call& call) {
  Members m(call.body);
  const auto name = m.text("name", 100, true);
  const auto password = m.secret("password", 1000, true);
  if (auto bad = m.complaint()) return problem(*bad);
  return logged_in(service.access().log_in(*name, *password, call.remote), call);
}

Reply log_out(Service& service, const Call& call) {
  if (call.viewer.session_hash.empty()) return problem(409, "", "a token has no session", "Revoke the token instead.");
  if (auto out = service.access().log_out(call.viewer); !out) return problem(service::refused(out.error()));
  auto reply = nothing();
  reply.headers.emplace_back(
      "Set-Cookie",
      cookie_name(call.secure) + "=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0" + (call.secure ? "; Secure" : ""));
  return reply;
}

// --- accounts

std::optional<Refusal> read_account(const Call& call, service::AccountChange& change, bool fresh) {
  Members m(call.body);
  change.name = m.text("name", 200);
  change.source = m.text("source", 500, fresh);
  change.password = m.secret("password", 4000);
  change.allow_plaintext = m.flag("allow_plaintext");
  change.ca = m.text("ca", 65536);
  change.authzid = m.text("authzid", 200);
  return m.complaint();
}

Reply list_accounts(Service& service, const Call& call) {
  service::PageRequest request;
  if (auto bad = read_page(call, request)) return problem(*bad);
  return page(service.accounts(call.viewer, request), [](const auto& one) { return to_json(one); });
}
Reply add_account(Service& service, const Call& call) {
  service::AccountChange change;
  if (auto bad = read_account(call, change, true)) return problem(*bad);
  return versioned(service.add_account(call.viewer, change), 201);
}
Reply get_account(Service& service, const Call& call) { return versioned(service.account(call.viewer, call.ids[0])); }
Reply change_account(Service& service, const Call& call) {
  service::AccountChange change;
  service::Version version;
  if (auto bad = read_account(call, change, false)) return problem(*bad);
  if (auto bad = read_version(call, version)) return problem(*bad);
  return versioned(service.change_account(call.viewer, call.ids[0], change, version));
}
Reply remove_account(Service& service, const Call& call) {
  return answer(service.remove_account(call.viewer, call.ids[0]));
}
Reply test_account(Service& service, const Call& call) { return answer(service.test(call.viewer, call.ids[0])); }
Reply test_settings(Service& service, const Call& call) {
  service::AccountChange change;
  if (auto bad = read_account(call, change, true)) return problem(*bad);
  return answer(service.test(call.viewer, change));
}
Reply get_consent(Service& service, const Call& call) { return answer(service.consent(call.viewer, call.ids[0])); }
Reply begin_consent(Service& service, const Call& call) {
  Members m(call.body);
  service::ConsentRequest request;
  request.flow = m.text("flow", 10, true).value_or("");
  request.issuer = m.text("issuer", 500).value_or("");
  request.scope = m.text("scope", 500).value_or("");
  request.client_id = m.text("client_id", 300).value_or("");
  request.client_secret = m.secret("client_secret", 1000).value_or(Secret());
  request.redirect = m.text("redirect", 500).value_or("");
  if (auto bad = m.complaint()) return problem(*bad);
  if (request.flow != "device" && request.flow != "code")
    return problem(service::invalid("flow", "flow is device or code"));
  return answer(service.begin_consent(call.viewer, call.ids[0], request), 201);
}
Reply finish_consent(Service& service, const Call& call) {
  Members m(call.body);
  const auto query = m.text("query", 8000, true, 1);
  if (auto bad = m.complaint()) return problem(*bad);
  return answer(service.finish_consent(call.viewer, call.ids[0], *query));
}
Reply import_accounts(Service& service, const Call& call) {
  const auto dry = query(call, "dry_run");
  if (!dry.empty() && dry != "true" && dry != "false")
    return problem(service::invalid("dry_run", "dry_run is true or false"));
  auto lines = service.import(call.viewer, call.body, dry == "true");
  if (!lines) return problem(lines.refusal());
  json out = json::array();
  std::size_t good = 0;
  for (const auto& line : *lines) {
    json one{{"line", line.line}, {"source", line.source}, {"ok", line.ok}, {"detail", line.detail}};
    if (line.account != 0) one["account"] = line.account;
    if (line.job != 0) one["job"] = line.job;
    good += line.ok ? 1 : 0;
    out.push_back(std::move(one));
  }
  return ok({{"lines", std::move(out)}, {"added", good}, {"failed", lines->size() - good}});
}

Reply discover(Service& service, const Call& call) {
  Members m(call.body);
  const auto address = m.text("address", 320, true, 3);
  if (auto bad = m.complaint()) return problem(*bad);
  return answer(service.discover(call.viewer, *address));
}

// --- destinations

Reply list_destinations(Service& service, const Call& call) {
  service::PageRequest request;
  if (auto bad = read_page(call, request)) return problem(*bad);
  return page(service.destinations(call.viewer, request), [](const auto& one) { return to_json(one); });
}
Reply add_destination(Service& service, const Call& call) {
  Members m(call.body);
  const auto name = m.text("name", 200), path = m.text("path", 1000, false, 1), names = m.text("names", 10);
  const auto account = m.number("account");
  if (auto bad = m.complaint()) return problem(*bad);
  if (path.has_value() == account.has_value())
    return problem(service::invalid(path ? "account" : "path", "either a path or an account", "Give one of the two."));
  if (account) return answer(service.add_destination(call.viewer, name.value_or(""), *account), 201);
  return answer(service.add_destination(call.viewer, name.value_or(""), *path, names.value_or("utf7")), 201);
}
Reply get_destination(Service& service, const Call& call) {
  return answer(service.destination(call.viewer, call.ids[0]));
}
Reply remove_destination(Service& service, const Call& call) {
  return answer(service.remove_destination(call.viewer, call.ids[0]));
}

// --- jobs

Reply list_jobs(Service& service, const Call& call) {
  service::PageRequest request;
  if (auto bad = read_page(call, request)) return problem(*bad);
  return page(service.jobs(call.viewer, request), [](const auto& one) { return to_json(one); });
}
Reply add_job(Service& service, const Call& call) {
  Members m(call.body);
  const auto account = m.number("account", true), destination = m.number("destination", true);
  service::JobChange change{m.object("policy"), m.object("schedule"), m.flag("paused")};
  if (auto bad = m.complaint()) return problem(*bad);
  return versioned(service.add_job(call.viewer, *account, *destination, change), 201);
}
Reply get_job(Service& service, const Call& call) { return versioned(service.job(call.viewer, call.ids[0])); }
Reply change_job(Service& service, const Call& call) {
  Members m(call.body);
  service::JobChange change{m.object("policy"), m.object("schedule"), m.flag("paused")};
  service::Version version;
  if (auto bad = m.complaint()) return problem(*bad);
  if (auto bad = read_version(call, version)) return problem(*bad);
  return versioned(service.change_job(call.viewer, call.ids[0], change, version));
}
Reply remove_job(Service& service, const Call& call) { return answer(service.remove_job(call.viewer, call.ids[0])); }
Reply run_job(Service& service, const Call& call) {
  Members m(call.body, true);
  const auto retry = m.flag("retry_failed");
  if (auto bad = m.complaint()) return problem(*bad);
  return versioned(service.run_job(call.viewer, call.ids[0], retry.value_or(false)), 202);
}
Reply cancel_run(Service& service, const Call& call) {
  return versioned(service.cancel_job(call.viewer, call.ids[0]), 202);
}
Reply queued(const Outcome<service::RunView>& outcome) {
  if (!outcome) return problem(outcome.refusal());
  return ok(to_json(*outcome, false), 202);
}
Reply preview_job(Service& service, const Call& call) { return queued(service.preview(call.viewer, call.ids[0])); }
Reply verify_job(Service& service, const Call& call) {
  Members m(call.body, true);
  const auto deep = m.flag("deep");
  if (auto bad = m.complaint()) return problem(*bad);
  return queued(service.verify(call.viewer, call.ids[0], deep.value_or(false)));
}
Reply release_hold(Service& service, const Call& call) {
  Members m(call.body);
  const auto mailbox = m.text("mailbox", 1000, true, 1);
  if (auto bad = m.complaint()) return problem(*bad);
  return versioned(service.release(call.viewer, call.ids[0], *mailbox), 202);
}
Reply list_mailboxes(Service& service, const Call& call) {
  auto boxes = service.mailboxes(call.viewer, call.ids[0]);
  if (!boxes) return problem(boxes.refusal());
  json items = json::array();
  for (const auto& box : *boxes) items.push_back(to_json(box));
  return ok({{"items", std::move(items)}});
}
Reply list_messages(Service& service, const Call& call) {
  auto shared = call;
  shared.query.erase("state");
  service::PageRequest request;
  if (auto bad = read_page(shared, request)) return problem(*bad);
  service::MessageFilter filter;
  filter.cursor = request.cursor;
  filter.limit = request.limit;
  filter.mailbox = query(call, "mailbox");
  if (const auto state = query(call, "state"); !state.empty()) {
    filter.state = message_state_from(state);
    if (!filter.state) return problem(service::invalid("state", "there is no such state"));
  }
  auto found = service.messages(call.viewer, call.ids[0], filter);
  if (!found) return problem(found.refusal());
  json items = json::array();
  for (const auto& one : found->messages) items.push_back(to_json(one));
  json body{{"items", std::move(items)}};
  if (!found->next.empty()) body["next"] = found->next;
  return ok(std::move(body));
}

// --- runs and events

Reply list_runs(Service& service, const Call& call) {
  service::PageRequest request;
  if (auto bad = read_page(call, request)) return problem(*bad);
  return page(service.runs(call.viewer, request), [](const auto& one) { return to_json(one, false); });
}
Reply get_run(Service& service, const Call& call) {
  auto run = service.run(call.viewer, call.ids[0]);
  if (!run) return problem(run.refusal());
  return ok(to_json(*run, true));
}

json batch_json(const service::EventLog::Batch& batch) {
  // Of a job's progress only the latest matters to somebody who was away.
  std::map<std::int64_t, std::uint64_t> latest;
  for (const auto& event : batch.events)
    if (event.kind == service::EventKind::Progress) latest[event.job] = event.id;
  json items = json::array();
  for (const auto& event : batch.events)
    if (event.kind != service::EventKind::Progress || latest[event.job] == event.id) items.push_back(to_json(event));
  return items;
}

Reply get_events(Service& service, const Call& call) {
  auto since_text = call.header("Last-Event-ID");
  if (since_text.empty()) since_text = query(call, "since");
  const auto since = since_text.empty() ? std::optional<std::int64_t>(0) : number(since_text, 0, INT64_MAX);
  if (!since) return problem(service::invalid("since", "since is the id of an event"));
  const auto owner = call.viewer.sees();
  if (call.header("Accept").find("text/event-stream") == std::string::npos) {
    const auto batch = service.events().after(static_cast<std::uint64_t>(*since), owner);
    json body{{"items", batch_json(batch)}, {"last", batch.last}};
    if (batch.reset) body["reset"] = true;
    return ok(std::move(body));
  }
  Reply reply;
  reply.type = "text/event-stream";
  reply.stream = [&service, owner, viewer = call.viewer, known = service.access().withdrawals(),
                  at = static_cast<std::uint64_t>(*since), first = true]() mutable -> std::optional<std::string> {
    // Whoever was logged out, or whose token was revoked, hears no more.
    if (const auto now = service.access().withdrawals(); now != known || service.access().is_over(viewer)) {
      if (!service.access().still(viewer)) return std::nullopt;
      known = now;
    }
    const auto batch = service.events().after(at, owner);
    std::string out;
    if (first) out = "retry: 2000\n\n";
    first = false;
    if (batch.reset) out += "data: {\"reset\":true,\"last\":" + std::to_string(batch.last) + "}\n\n";
    for (const auto& item : batch_json(batch))
      out +=
          "id: " + item["id"].dump() + "\ndata: " + item.dump(-1, ' ', false, json::error_handler_t::replace) + "\n\n";
    at = batch.last;
    return out;
  };
  return reply;
}

using service::kAdmin;
using service::kRead;
using service::kRun;
using service::kWrite;

constexpr std::array kRoutes{
    Route{"GET", "/setup", 0, true, get_setup},
    Route{"POST", "/setup", 0, true, set_up},
    Route{"GET", "/session", 0, false, get_session},
    Route{"POST", "/session", 0, true, log_in},
    Route{"DELETE", "/session", 0, false, log_out},
    Route{"GET", "/accounts", kRead, false, list_accounts},
    Route{"POST", "/accounts", kWrite, false, add_account},
    Route{"POST", "/accounts/test", kWrite, false, test_settings},
    Route{"POST", "/accounts/import", kWrite, false, import_accounts},
    Route{"GET", "/accounts/{id}", kRead, false, get_account},
    Route{"PATCH", "/accounts/{id}", kWrite, false, change_account},
    Route{"DELETE", "/accounts/{id}", kWrite, false, remove_account},
    Route{"POST", "/accounts/{id}/test", kRun, false, test_account},
    Route{"GET", "/accounts/{id}/consent", kRead, false, get_consent},
    Route{"POST", "/accounts/{id}/consent", kWrite, false, begin_consent},
    Route{"POST", "/accounts/{id}/consent/finish", kWrite, false, finish_consent},
    Route{"POST", "/discovery", kWrite, false, discover},
    Route{"GET", "/destinations", kRead, false, list_destinations},
    Route{"POST", "/destinations", kWrite, false, add_destination},
    Route{"GET", "/destinations/{id}", kRead, false, get_destination},
    Route{"DELETE", "/destinations/{id}", kWrite, false, remove_destination},
    Route{"GET", "/channels", kRead, false, list_channels},
    Route{"POST", "/channels", kWrite, false, add_channel},
    Route{"GET", "/channels/{id}", kRead, false, get_channel},
    Route{"PATCH", "/channels/{id}", kWrite, false, change_channel},
    Route{"DELETE", "/channels/{id}", kWrite, false, remove_channel},
    Route{"POST", "/channels/{id}/test", kRun, false, test_channel},
    Route{"GET", "/jobs", kRead, false, list_jobs},
    Route{"POST", "/jobs", kWrite, false, add_job},
    Route{"GET", "/jobs/{id}", kRead, false, get_job},
    Route{"PATCH", "/jobs/{id}", kWrite, false, change_job},
    Route{"DELETE", "/jobs/{id}", kWrite, false, remove_job},
    Route{"POST", "/jobs/{id}/run", kRun, false, run_job},
    Route{"POST", "/jobs/{id}/cancel", kRun, false, cancel_run},
    Route{"POST", "/jobs/{id}/preview", kRun, false, preview_job},
    Route{"POST", "/jobs/{id}/verify", kRun, false, verify_job},
    Route{"POST", "/jobs/{id}/release", kWrite, false, release_hold},
    Route{"GET", "/jobs/{id}/mailboxes", kRead, false, list_mailboxes},
    Route{"GET", "/jobs/{id}/messages", kRead, false, list_messages},
    Route{"GET", "/runs", kRead, false, list_runs},
    Route{"GET", "/runs/{id}", kRead, false, get_run},
    Route{"GET", "/events", kRead, false, get_events},
    Route{"GET", "/users", kRead, false, list_users},
    Route{"POST", "/users", kAdmin, false, add_user},
    Route{"PATCH", "/users/{id}", kRead, false, change_user},
    Route{"DELETE", "/users/{id}", kAdmin, false, remove_user},
    Route{"GET", "/tokens", 0, false, list_tokens},
    Route{"POST", "/tokens", 0, false, add_token},
    Route{"DELETE", "/tokens/{id}", 0, false, remove_token},
    Route{"GET", "/audit", kAdmin, false, list_audit},
    Route{"GET", "/system", kRead, false, get_system},
    Route{"PATCH", "/system", kAdmin, false, change_system},
};

}  // namespace

std::span<const Route> all_routes() { return kRoutes; }

}  // namespace mailhaul::web
