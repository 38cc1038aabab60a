#include "web/system_routes.h"

#include "web/replies.h"

namespace mailhaul::web {

using namespace replies;  // NOLINT(google-build-using-namespace): what all routes have in common
using service::Outcome;
using service::Service;

namespace {

template <class Rows>
Reply list(const Outcome<Rows>& rows) {
  if (!rows) return problem(rows.refusal());
  json items = json::array();
  for (const auto& row : *rows) items.push_back(to_json(row));
  return ok({{"items", std::move(items)}});
}

}  // namespace

Reply list_users(Service& service, const Call& call) { return list(service.access().users(call.viewer)); }
Reply add_user(Service& service, const Call& call) {
  Members m(call.body);
  const auto name = m.text("name", 100, true, 1), role_text = m.text("role", 20, true);
  const auto password = m.secret("password", 1000, true);
  if (auto bad = m.complaint()) return problem(*bad);
  const auto role = service::role_from(*role_text);
  if (!role) return problem(service::invalid("role", "role is owner, operator or viewer"));
  return answer(service.access().add_user(call.viewer, *name, *password, *role), 201);
}
Reply change_user(Service& service, const Call& call) {
  Members m(call.body);
  const auto role_text = m.text("role", 20);
  service::Access::UserChange change;
  change.password = m.secret("password", 1000);
  change.old_password = m.secret("old_password", 1000);
  if (auto bad = m.complaint()) return problem(*bad);
  if (role_text) {
    change.role = service::role_from(*role_text);
    if (!change.role) return problem(service::invalid("role", "role is owner, operator or viewer"));
  }
  return answer(service.access().change_user(call.viewer, call.ids[0], change));
}
Reply remove_user(Service& service, const Call& call) {
  return answer(service.access().remove_user(call.viewer, call.ids[0]));
}
Reply list_tokens(Service& service, const Call& call) { return list(service.access().tokens(call.viewer)); }
Reply add_token(Service& service, const Call& call) {
  Members m(call.body);
  const auto name = m.text("name", 100, true, 1);
  const auto words = m.words("scopes", true);
  const auto expires = m.number("expires");
  if (auto bad = m.complaint()) return problem(*bad);
  const auto scopes = service::scopes_from(*words);
  if (!scopes || *scopes == 0)
    return problem(service::invalid("scopes", "scopes are read, write, run, admin and metrics; at least one"));
  auto made = service.access().add_token(call.viewer, *name, *scopes, expires.value_or(0));
  if (!made) return problem(made.refusal());
  return ok({{"token", to_json(made->row)}, {"secret", made->secret}}, 201);
}
Reply remove_token(Service& service, const Call& call) {
  return answer(service.access().remove_token(call.viewer, call.ids[0]));
}
Reply list_audit(Service& service, const Call& call) {
  service::PageRequest request;
  if (auto bad = read_page(call, request)) return problem(*bad);
  const auto before = number(request.cursor, 1, INT64_MAX).value_or(0);
  auto rows = service.access().audit(call.viewer, before, request.limit + 1);
  if (!rows) return problem(rows.refusal());
  json items = json::array(), body;
  const bool more = rows->size() > request.limit;
  if (more) rows->pop_back();
  for (const auto& row : *rows) items.push_back(to_json(row));
  body["items"] = std::move(items);
  if (more) body["next"] = std::to_string(rows->back().id);
  return ok(std::move(body));
}
Reply get_system(Service& service, const Call&) { return ok(to_json(service.system())); }

Reply change_system(Service& service, const Call& call) {
  Members m(call.body);
  const auto text = m.text("log_level", 20, true);
  if (auto bad = m.complaint()) return problem(*bad);
  const auto level = level_from(*text);
  if (!level) return problem(service::invalid("log_level", "log_level is info, warning or error"));
  return ok(to_json(service.set_log_level(call.viewer, *level)));
}

// --- channels

namespace {

std::optional<service::Refusal> read_channel(Members& m, service::ChannelChange& change, bool fresh) {
  change.name = m.text("name", 200);
  change.url = m.text("url", 1000, fresh, 1);
  change.from = m.text("from", 254);
  change.to = m.text("to", 254);
  change.ca = m.text("ca", 65536);
  change.topics = m.words("topics");
  change.secret = m.secret("secret", 4000);
  change.everyone = m.flag("everyone");
  change.allow_plaintext = m.flag("allow_plaintext");
  return m.complaint();
}

}  // namespace

Reply list_channels(Service& service, const Call& call) {
  service::PageRequest request;
  if (auto bad = read_page(call, request)) return problem(*bad);
  return page(service.channels(call.viewer, request), [](const auto& one) { return to_json(one); });
}
Reply add_channel(Service& service, const Call& call) {
  Members m(call.body);
  service::ChannelChange change;
  const auto kind_text = m.text("kind", 20, true);
  if (auto bad = read_channel(m, change, true)) return problem(*bad);
  const auto kind = channel_kind_from(*kind_text);
  if (!kind) return problem(service::invalid("kind", "kind is webhook, ntfy or mail"));
  return versioned(service.add_channel(call.viewer, *kind, change), 201);
}
Reply get_channel(Service& service, const Call& call) { return versioned(service.channel(call.viewer, call.ids[0])); }
Reply change_channel(Service& service, const Call& call) {
  Members m(call.body);
  service::ChannelChange change;
  service::Version version;
  if (auto bad = read_channel(m, change, false)) return problem(*bad);
  if (auto bad = read_version(call, version)) return problem(*bad);
  return versioned(service.change_channel(call.viewer, call.ids[0], change, version));
}
Reply remove_channel(Service& service, const Call& call) {
  return answer(service.remove_channel(call.viewer, call.ids[0]));
}
Reply test_channel(Service& service, const Call& call) { return answer(service.try_channel(call.viewer, call.ids[0])); }

}  // namespace mailhaul::web
