#include "web/json.h"

#include <algorithm>
#include <array>
#include <sstream>
#include <utility>

#include "protocols/mail/digest.h"

namespace mailhaul::web {
namespace {

constexpr std::array<const char*, 8> kJobStates{"queued", "running", "waiting",   "idle",
                                                "paused", "failing", "attention", "finished"};
constexpr std::array<const char*, 5> kPhases{"connecting", "looking", "fetching", "verifying", "finishing"};
constexpr std::array<const char*, 3> kSecurity{"tls", "starttls", "cleartext"};
constexpr std::array<const char*, 3> kRunKinds{"collect", "preview", "verify"};
constexpr std::array<const char*, 6> kRunStates{"queued", "running", "complete", "incomplete", "stopped", "failed"};
constexpr std::array<const char*, 4> kCauses{"schedule", "person", "retry", "push"};
constexpr std::array<const char*, 5> kEventKinds{"job", "progress", "run", "account", "log"};
constexpr std::array<const char*, 3> kChannelKinds{"webhook", "ntfy", "mail"};  // notify::Kind
constexpr std::array<const char*, 3> kLevels{"info", "warning", "error"};

template <class Names, class Value>
const char* name(const Names& names, Value value) {
  return names.at(static_cast<std::size_t>(value));
}

void set_if(json& out, const char* member, const std::string& text) {
  if (!text.empty()) out[member] = text;
}
void set_if(json& out, const char* member, std::int64_t number) {
  if (number != 0) out[member] = number;
}

// Servers write what they like; JSON is UTF-8.
std::string clean(const std::string& text) {
  return json::parse(json(text).dump(-1, ' ', false, json::error_handler_t::replace)).get<std::string>();
}

json parsed(const std::string& text) {
  auto value = json::parse(text, nullptr, false);
  return value.is_discarded() ? json::object() : value;
}

}  // namespace

json to_json(const service::AccountView& view) {
  json out{{"id", view.row.id},
           {"name", view.row.name},
           {"source", view.row.source},
           {"user", view.source.user},
           {"host", view.source.host},
           {"port", view.source.port},
           {"security", name(kSecurity, view.source.security)},
           {"has_password", view.has_password},
           {"has_ca", !view.row.ca.empty()},
           {"jobs", view.jobs},
           {"owner", view.owner},
           {"created", view.row.created},
           {"updated", view.row.updated},
           {"version", view.row.version}};
  set_if(out, "authzid", view.row.authzid);
  return out;
}

json to_json(const service::DestinationView& view) {
  const auto& row = view.row;
  json out{{"id", row.id},
           {"name", clean(row.name)},
           {"kind", row.account == 0 ? "maildir" : "imap"},
           {"path", clean(row.place())},
           {"names", row.names},
           {"jobs", view.jobs},
           {"owner", view.owner},
           {"created", row.created}};
  set_if(out, "account", row.account);
  return out;
}

json to_json(const service::ChannelView& view) {
  const auto& row = view.row;
  json topics = json::array();
  std::istringstream words(row.topics);
  for (std::string word; words >> word;) topics.push_back(word);
  json out{{"id", row.id},
           {"name", row.name},
           {"kind", name(kChannelKinds, row.kind)},
           {"url", row.url},
           {"topics", std::move(topics)},
           {"everyone", row.everyone},
           {"allow_plaintext", row.allow_plaintext},
           {"has_secret", view.has_secret},
           {"has_ca", !row.ca.empty()},
           {"owner", view.owner},
           {"created", row.created},
           {"updated", row.updated},
           {"version", row.version}};
  set_if(out, "from", row.sender);
  set_if(out, "to", row.recipient);
  set_if(out, "told", row.told);
  set_if(out, "error", clean(row.error));
  set_if(out, "secret", view.made_secret);
  return out;
}

json to_json(const service::ChannelTrial& trial) {
  json out{{"ok", trial.ok}};
  set_if(out, "detail", clean(trial.detail));
  set_if(out, "advice", trial.advice);
  return out;
}

json to_json(const service::Counts& c) {
  return {{"listed", c.listed},   {"delivered", c.delivered}, {"excluded", c.excluded}, {"failed", c.failed},
          {"pending", c.pending}, {"gone", c.gone},           {"octets", c.octets}};
}

json to_json(const service::Progress& p) {
  json out{{"phase", name(kPhases, p.phase)},         {"messages", p.messages},       {"octets", p.octets},
           {"todo_messages", p.todo_messages},        {"todo_octets", p.todo_octets}, {"failed", p.failed},
           {"octets_per_second", p.octets_per_second}};
  set_if(out, "mailbox", clean(p.mailbox));
  set_if(out, "eta", p.eta);
  set_if(out, "waiting", clean(p.waiting));
  return out;
}

json to_json(const service::JobView& view) {
  const auto& row = view.row;
  json out{{"id", row.id},
           {"account", row.account},
           {"account_name", view.account_name},
           {"source", view.source},
           {"destination", row.destination},
           {"destination_path", view.destination_path},
           {"policy", parsed(row.policy)},
           {"schedule", parsed(row.schedule)},
           {"state", name(kJobStates, view.now.state)},
           {"paused", row.paused},
           {"held", view.held},
           {"counts", row.counts.empty() ? to_json(service::Counts{}) : parsed(row.counts)},
           {"owner", view.owner},
           {"created", row.created},
           {"updated", row.updated},
           {"version", row.version}};
  set_if(out, "next_run", view.now.next_run);
  set_if(out, "last_success", row.last_success);
  set_if(out, "last_run", row.last_run);
  set_if(out, "error", clean(row.error));
  set_if(out, "advice", row.advice);
  set_if(out, "failing_since", row.failing_since);
  if (view.now.listening) out["listening"] = true;
  if (view.now.progress) out["progress"] = to_json(*view.now.progress);
  return out;
}

json to_json(const service::RunView& view, bool with_report) {
  const auto& row = view.row;
  json out{{"id", row.id},
           {"job", row.job},
           {"account_name", view.account_name},
           {"kind", name(kRunKinds, row.kind)},
           {"state", name(kRunStates, row.state)},
           {"trigger", name(kCauses, row.cause)},
           {"started", row.started},
           {"delivered", row.delivered},
           {"octets", row.octets},
           {"failed", row.failed}};
  set_if(out, "ended", row.ended);
  set_if(out, "error", clean(row.error));
  set_if(out, "advice", row.advice);
  if (with_report && !row.report.empty()) out["report"] = parsed(row.report);
  return out;
}

json to_json(const service::MailboxView& view) {
  json out{{"name", clean(view.name)}, {"destination", clean(view.destination)}, {"counts", to_json(view.counts)}};
  if (view.exists) out["exists"] = *view.exists;
  set_if(out, "held", clean(view.held));
  return out;
}

json to_json(const service::MessageView& view) {
  const auto& row = view.row;
  json out{{"mailbox", clean(view.mailbox)},
           {"generation", view.generation},
           {"uid", row.uid.value},
           {"state", std::string(store::to_text(row.state))},
           {"attempts", row.attempts}};
  if (row.octets) out["octets"] = *row.octets;
  if (row.internal_date) out["date"] = *row.internal_date;
  if (row.sha256) out["sha256"] = mail::hex(*row.sha256);
  set_if(out, "message_id", clean(row.message_id));
  set_if(out, "reason", clean(row.reason));
  set_if(out, "next_try", row.next_try);
  set_if(out, "missing_since", row.missing_since);
  return out;
}

json to_json(const service::Event& event) {
  json out{{"id", event.id}, {"at", event.at}, {"kind", name(kEventKinds, event.kind)}};
  set_if(out, "job", event.job);
  set_if(out, "run", event.run);
  set_if(out, "account", event.account);
  if (event.kind == service::EventKind::Job || event.kind == service::EventKind::Progress)
    out["state"] = name(kJobStates, event.state);
  if (event.progress) out["progress"] = to_json(*event.progress);
  if (event.kind == service::EventKind::Log) {
    out["level"] = name(kLevels, event.level);
    out["text"] = clean(event.text);
  }
  return out;
}

json to_json(const service::TestReport& report) {
  json steps = json::array(), boxes = json::array();
  for (const auto& step : report.steps) {
    json one{{"step", step.step}, {"ok", step.ok}, {"milliseconds", step.milliseconds}};
    set_if(one, "detail", clean(step.detail));
    set_if(one, "advice", clean(step.advice));
    steps.push_back(std::move(one));
  }
  for (const auto& box : report.mailboxes) {
    json one{{"name", clean(box.name)}};
    if (box.messages) one["messages"] = *box.messages;
    if (box.octets) one["octets"] = *box.octets;
    boxes.push_back(std::move(one));
  }
  return {{"ok", report.ok()}, {"steps", std::move(steps)}, {"mailboxes", std::move(boxes)}};
}

json to_json(const discovery::Findings& findings) {
  json steps = json::array(), settings = json::array();
  for (const auto& step : findings.steps)
    steps.push_back({{"step", clean(step.what)},
                     {"ok", step.outcome == discovery::Step::Outcome::Found},
                     {"milliseconds", step.took.count()},
                     {"detail", clean(step.result)}});
  const auto add = [&](const discovery::Settings& one) {
    settings.push_back({{"source", one.url()}, {"from", clean(one.source)}, {"confirm", one.confirm}});
  };
  if (findings.chosen) add(findings.settings[*findings.chosen]);
  for (std::size_t n = 0; n < findings.settings.size(); ++n)
    if (findings.settings[n].works && n != findings.chosen) add(findings.settings[n]);
  json out{{"address", findings.address}, {"steps", std::move(steps)}, {"settings", std::move(settings)}};
  if (findings.provider) {
    out["provider"] = findings.provider->name;
    set_if(out, "help", findings.provider->help());
    set_if(out, "help_url", findings.provider->link);
    out["logins"] = findings.provider->auth;
  }
  return out;
}

json to_json(const service::ConsentView& view) {
  constexpr std::array<const char*, 5> kStates{"none", "waiting", "allowed", "needed", "failed"};
  json out{{"state", name(kStates, view.state)}};
  set_if(out, "provider", view.provider);
  set_if(out, "url", view.url);
  set_if(out, "user_code", view.user_code);
  set_if(out, "url_complete", view.url_complete);
  set_if(out, "expires", view.expires);
  set_if(out, "error", clean(view.error));
  set_if(out, "advice", view.advice);
  return out;
}

json to_json(const service::SystemView& view) {
  return {{"version", view.version},
          {"started", view.started},
          {"mail_root", view.mail_root},
          {"disk_free", view.disk_free},
          {"disk_reserve", view.disk_reserve},
          {"jobs", view.load.jobs},
          {"running", view.load.running},
          {"queued", view.load.queued},
          {"workers", view.workers},
          {"listening", view.watched.listening},
          {"memory", view.memory},
          {"audit_lost", view.notes_lost},
          {"log_level", name(kLevels, view.log_level)},
          {"key", view.key_generated ? "generated" : "given"}};
}

json to_json(const registry::UserRow& row) {
  return {
      {"id", row.id}, {"name", row.name}, {"role", std::string(service::to_text(row.role))}, {"created", row.created}};
}

json to_json(const registry::TokenRow& row) {
  json scopes = json::array();
  for (std::size_t at = 0; at < row.scopes.size();) {
    const auto end = std::min(row.scopes.find(' ', at), row.scopes.size());
    scopes.push_back(row.scopes.substr(at, end - at));
    at = end + 1;
  }
  json out{{"id", row.id}, {"name", row.name}, {"prefix", row.prefix}, {"scopes", scopes}, {"created", row.created}};
  set_if(out, "expires", row.expires);
  set_if(out, "last_used", row.last_used);
  return out;
}

json to_json(const registry::AuditRow& row) {
  json out{{"id", row.id}, {"at", row.at}, {"who", clean(row.who)}, {"what", row.what}, {"result", row.result}};
  set_if(out, "object", clean(row.object));
  set_if(out, "address", row.address);
  return out;
}

json to_json(const service::Viewer& viewer) {
  json out{{"user", viewer.name},
           {"user_id", viewer.user},
           {"role", std::string(service::to_text(viewer.role))},
           {"scopes", service::scope_names(viewer.scopes)},
           {"csrf", viewer.csrf}};
  set_if(out, "expires", viewer.expires);
  return out;
}

std::optional<notify::Kind> channel_kind_from(const std::string& text) {
  const auto found = std::ranges::find(kChannelKinds, text);
  if (found == kChannelKinds.end()) return std::nullopt;
  return static_cast<notify::Kind>(found - kChannelKinds.begin());
}

std::optional<service::Level> level_from(const std::string& text) {
  const auto found = std::ranges::find(kLevels, text);
  if (found == kLevels.end()) return std::nullopt;
  return static_cast<service::Level>(found - kLevels.begin());
}

std::optional<service::JobState> job_state_from(const std::string& text) {
  const auto found = std::ranges::find(kJobStates, text);
  if (found == kJobStates.end()) return std::nullopt;
  return static_cast<service::JobState>(found - kJobStates.begin());
}

std::optional<store::MessageState> message_state_from(const std::string& text) {
  for (std::size_t n = 0; n < store::kMessageStates; ++n)
    if (store::to_text(static_cast<store::MessageState>(n)) == text) return static_cast<store::MessageState>(n);
  return std::nullopt;
}

Members::Members(const std::string& body, bool may_be_empty) {
  constexpr int kDeepest = 16;
  bool deep = false;
  const auto depth_limit = [&](int depth, json::parse_event_t, json&) {
    deep = deep || depth > kDeepest;
    return !deep;
  };
  value_ = may_be_empty && body.empty() ? json::object() : json::parse(body, depth_limit, false);
  if (value_.is_object() && !deep) return;
  value_ = json::object();
  complaint_ = service::invalid("", "the body is not a JSON object", "Send Content-Type: application/json.");
}

const json* Members::take(const char* member, bool required) {
  read_.emplace_back(member);
  const auto it = value_.find(member);
  if (it == value_.end()) {
    if (required) complain(member, std::string(member) + " is missing");
    return nullptr;
  }
  return &*it;
}

void Members::complain(const std::string& field, const std::string& what) {
  if (!complaint_) complaint_ = service::invalid(field, what);
}

std::optional<std::string> Members::text(const char* member, std::size_t most, bool required, std::size_t least) {
  const auto* value = take(member, required);
  if (!value) return std::nullopt;
  if (!value->is_string() || value->get_ref<const std::string&>().size() > most ||
      value->get_ref<const std::string&>().size() < least ||
      value->get_ref<const std::string&>().find('\0') != std::string::npos) {
    complain(member, std::string(member) + " is a text of " + std::to_string(least) + " to " + std::to_string(most) +
                         " octets");
    return std::nullopt;
  }
  return value->get<std::string>();
}

std::optional<Secret> Members::secret(const char* member, std::size_t most, bool required) {
  auto value = text(member, most, required);
  if (!value) return std::nullopt;
  if (value->find_first_of("\r\n") != std::string::npos) {
    complain(member, std::string(member) + " has a line end in it");
    return std::nullopt;
  }
  if (const auto it = value_.find(member); it != value_.end()) wipe(it->get_ref<std::string&>());
  return Secret(*std::move(value));
}

std::optional<bool> Members::flag(const char* member) {
  const auto* value = take(member, false);
  if (!value) return std::nullopt;
  if (!value->is_boolean()) {
    complain(member, std::string(member) + " is true or false");
    return std::nullopt;
  }
  return value->get<bool>();
}

std::optional<std::int64_t> Members::number(const char* member, bool required) {
  const auto* value = take(member, required);
  if (!value) return std::nullopt;
  if (!value->is_number_unsigned() || value->get<std::uint64_t>() > INT64_MAX) {
    complain(member, std::string(member) + " is a whole number, not negative");
    return std::nullopt;
  }
  return value->get<std::int64_t>();
}

std::optional<std::string> Members::object(const char* member) {
  const auto* value = take(member, false);
  if (!value) return std::nullopt;
  if (!value->is_object()) {
    complain(member, std::string(member) + " is an object");
    return std::nullopt;
  }
  return value->dump(-1, ' ', false, json::error_handler_t::replace);
}

std::optional<std::vector<std::string>> Members::words(const char* member, bool required) {
  const auto* value = take(member, required);
  if (!value) return std::nullopt;
  const auto is_text = [](const json& one) { return one.is_string(); };
  if (!value->is_array() || !std::ranges::all_of(*value, is_text)) {
    complain(member, std::string(member) + " is a list of texts");
    return std::nullopt;
  }
  return value->get<std::vector<std::string>>();
}

std::optional<service::Refusal> Members::complaint() {
  for (const auto& [member, value] : value_.items())
    if (std::ranges::find(read_, member) == read_.end()) {
      complain(member, "there is no member '" + printable(member) + "' here");
      break;
    }
  return complaint_;
}

}  // namespace mailhaul::web
