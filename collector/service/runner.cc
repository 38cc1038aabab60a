#include "collector/service/runner.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "collector/collect.h"
#include "collector/contacts_job.h"
#include "collector/report_text.h"
#include "collector/service/consent.h"
#include "collector/verify.h"
#include "protocols/base/text.h"

namespace mailhaul::service {

using nlohmann::json;
using registry::RunKind;
using registry::RunState;

namespace {

Error from(const Refusal& refusal) { return {Scope::Account, Retry::AfterUserAction, refusal.what, refusal.advice}; }

Ran could_not(const Error& error, bool stopped) {
  Ran ran;
  ran.state = stopped ? RunState::Stopped : RunState::Failed;
  ran.retry = error.retry;
  ran.wait = error.wait;
  ran.error = error.what;
  ran.advice = error.advice;
  return ran;
}

// The engine reads certificates from a file.
Result<std::string> certificates(const Ground& ground, const registry::AccountRow& account) {
  if (account.ca.empty()) return std::string();
  const auto directory = ground.data + "/certificates";
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  const auto path = directory + "/" + std::to_string(account.id) + ".pem";
  std::ifstream in(path, std::ios::binary);
  if (in && std::string{std::istreambuf_iterator<char>(in), {}} == account.ca) return path;
  const auto fresh = path + ".new";
  std::ofstream out(fresh, std::ios::binary | std::ios::trunc);
  out << account.ca;
  out.close();
  if (!out || std::rename(fresh.c_str(), path.c_str()) != 0)
    return Error{Scope::Service, Retry::Later, "the file " + path + " cannot be written", "Free some space."};
  return path;
}

struct Login {
  Secret password;
  client::TokenSource token;
  std::string ca_file;
};

Result<Login> login_of(const Ground& ground, const registry::AccountRow& account,
                       const collector::SourceAddress& address) {
  Login login;
  auto ca = certificates(ground, account);
  if (!ca) return ca.error();
  login.ca_file = *std::move(ca);
  if (account.password.empty()) return login;
  auto password = ground.secrets->open_sealed(account.password, place_of_password(account.id));
  if (!password) return password.error();
  if (!Consents::are_tokens(*password)) {
    login.password = *std::move(password);
    return login;
  }
  if (ground.consents == nullptr) return Error{Scope::Service, Retry::Never, "no tokens here", ""};
  auto token = ground.consents->source(account.id, address.host, *password);
  if (!token) return token.error();
  login.token = *std::move(token);
  return login;
}

Result<collector::SourceAddress> address_of(const registry::AccountRow& account) {
  auto address = collector::parse_source(account.source);
  if (!address) return address.error();
  address->authzid = account.authzid;
  if (account.allow_plaintext) address->security = client::Security::Cleartext;
  return address;
}

Done lead_into(const Ground& ground, const Order& order, collector::Job& job) {
  auto address = address_of(*order.into);
  if (!address) return address.error();
  if (address->identity() == job.source.identity())
    return Error{Scope::Account, Retry::AfterUserAction, "source and destination are the same account",
                 "Choose another destination."};
  auto login = login_of(ground, *order.into, *address);
  if (!login) return login.error();
  job.account = *std::move(address);
  job.account_password = std::move(login->password);
  job.account_token = std::move(login->token);
  job.account_ca_file = std::move(login->ca_file);
  job.state = state_path(ground.data, order.destination);
  return done();
}

Ran collected(const collector::Job& job, const sync::EventSink& events, const std::stop_token& stop) {
  auto report = collector::collect(job, events, stop);
  if (!report) return could_not(report.error(), stop.stop_requested());
  Ran ran;
  ran.delivered = report->sum.delivered;
  ran.octets = report->sum.bytes;
  ran.failed = report->sum.failed;
  ran.error = report->error;
  ran.wait = report->come_back;
  ran.report = collector::report_json(*report, job.dry_run);
  ran.state = stop.stop_requested() || report->stopped ? RunState::Stopped
              : !report->error.empty()                 ? RunState::Failed
              : report->complete() || job.dry_run      ? RunState::Complete
                                                       : RunState::Incomplete;
  for (const auto& box : report->mailboxes) {
    ran.held += box.held.empty() ? 0 : 1;
    if (equal_ignoring_case(box.name, "INBOX")) ran.delivered_inbox += box.count.delivered;
    ran.changed = ran.changed ||
                  box.flags + box.removed + box.marked + box.adopted + box.rebound + box.moved + box.deleted > 0 ||
                  !box.renamed_from.empty();
  }
  ran.changed = ran.changed || ran.delivered > 0;
  return ran;
}

Ran verified(const collector::Job& job, bool deep, const sync::EventSink& events, const std::stop_token& stop) {
  auto outcome = collector::verify(job, deep, events, stop);
  if (!outcome) return could_not(outcome.error(), stop.stop_requested());
  Ran ran;
  ran.state = outcome->stopped               ? RunState::Stopped
              : outcome->differences.empty() ? RunState::Complete
                                             : RunState::Incomplete;
  ran.failed = outcome->differences.size();
  ran.report = collector::verification_json(*outcome, deep);
  return ran;
}

void take_in(Ran& ran, const char* member, const std::string& object) {
  if (const auto end = ran.report.rfind('}'); end != ran.report.npos)
    ran.report.replace(end, 1, std::string(",\"") + member + "\":" + object + "}");
}

// A run that did what there was to do with the mail goes on to the contacts; what befalls them leaves the mail's
// figures.
void collect_contacts_too(Ran& ran, const collector::ContactsJob& job, const std::stop_token& stop) {
  auto report = collector::collect_contacts(job, stop);
  if (!report) {
    ran.error = "contacts: " + report.error().what;
    ran.advice = report.error().advice;
  } else {
    const auto sum = report->sum();
    ran.changed = ran.changed || sum.delivered + sum.removed > 0;
    for (const auto& book : report->books) ran.held += book.hold.empty() ? 0 : 1;
    take_in(ran, "contacts", collector::contacts_json(*report));
    if (report->complete() || stop.stop_requested()) return;
    ran.error = "contacts: " + (report->error.empty() ? "some could not be collected" : report->error);
  }
  if (ran.state == RunState::Complete) ran.state = RunState::Incomplete;
}

void verify_contacts_too(Ran& ran, const collector::ContactsJob& job, bool deep, const std::stop_token& stop) {
  auto outcome = collector::verify_contacts(job, deep, stop);
  if (!outcome) {
    ran.error = "contacts: " + outcome.error().what;
    ran.advice = outcome.error().advice;
    ran.state = RunState::Incomplete;
    return;
  }
  auto differences = json::array();
  for (const auto& one : outcome->differences)
    differences.push_back({{"book", one.book}, {"card", one.card}, {"what", one.what}});
  std::uint64_t compared = 0;
  for (const auto& book : outcome->books) compared += book.compared;
  take_in(
      ran, "contacts",
      json{{"compared", compared}, {"differences", differences}}.dump(-1, ' ', false, json::error_handler_t::replace));
  ran.failed += outcome->differences.size();
  if (!outcome->differences.empty() && ran.state == RunState::Complete) ran.state = RunState::Incomplete;
}

}  // namespace

Wish read_wish(const std::string& text) {
  Wish wish;
  const auto value = json::parse(text, nullptr, false);
  if (!value.is_object()) return wish;
  wish.run = value.value("run", false);
  wish.retry_failed = value.value("retry_failed", false);
  wish.release = value.value("release", std::vector<std::string>{});
  return wish;
}

std::string to_json(const Wish& wish) {
  if (wish == Wish{}) return {};
  return json{{"run", wish.run}, {"retry_failed", wish.retry_failed}, {"release", wish.release}}.dump();
}

std::string place_of_password(registry::Id account) { return "account/" + std::to_string(account) + "/password"; }

std::string state_path(const std::string& data, const registry::DestinationRow& destination) {
  if (destination.account == 0) return destination.path + "/mailhaul/state.db";
  auto source = collector::parse_source(destination.source);
  auto name = source ? source->identity() : destination.source;
  std::ranges::replace(name, '/', '_');
  return data + "/destinations/" + name + "/state.db";
}

std::string identity_of(const registry::AccountRow& account) {
  auto source = collector::parse_source(account.source);
  return source ? source->identity() : account.source;
}

Result<collector::Job> engine_job(const Ground& ground, const Order& order) {
  collector::Job job;
  auto source = address_of(order.account);
  if (!source) return source.error();
  job.source = *std::move(source);
  job.gate = ground.gate;
  if (auto understood = apply(order.policy, job); !understood) return from(understood.refusal());
  if (auto suits = collector::suits_protocol(job.source, job.policy); !suits) return suits.error();
  auto login = login_of(ground, order.account, job.source);
  if (!login) return login.error();
  job.password = std::move(login->password);
  job.token = std::move(login->token);
  job.ca_file = std::move(login->ca_file);
  if (order.into) {
    if (auto led = lead_into(ground, order, job); !led) return led.error().in("destination");
  } else {
    job.maildir = order.destination.path;
  }
  job.names = order.destination.names == "utf8" ? store::MaildirNames::Utf8 : store::MaildirNames::Utf7;
  job.release = order.wish.release;
  job.dry_run = order.kind == RunKind::Preview;
  return job;
}

Ran carry_out(const Ground& ground, const Order& order, const sync::EventSink& events, const std::stop_token& stop) {
  auto job = engine_job(ground, order);
  if (!job) return could_not(job.error(), false);
  if (order.kind != RunKind::Preview && !job->account) {
    std::error_code error;  // the engine makes the Maildir, not what lies above it
    std::filesystem::create_directories(std::filesystem::path(job->maildir).parent_path(), error);
  }
  if (order.kind == RunKind::Collect && order.wish.retry_failed)
    if (auto due = make_failed_due(state_path(ground.data, order.destination), job->source.identity()); !due)
      return could_not(due.error(), false);
  auto ran = order.kind == RunKind::Verify ? verified(*job, order.deep, events, stop) : collected(*job, events, stop);
  const bool went_well = ran.state == RunState::Complete || ran.state == RunState::Incomplete;
  if (order.policy.contacts.empty() || !order.contacts || !went_well) return ran;
  const auto contacts = collector::contacts_beside(*job, order.policy.contacts);
  if (order.kind == RunKind::Verify)
    verify_contacts_too(ran, contacts, order.deep, stop);
  else
    collect_contacts_too(ran, contacts, stop);
  return ran;
}

}  // namespace mailhaul::service
