// Accounts of the service: adding, changing, trying, importing.
#include <algorithm>
#include <charconv>
#include <set>
#include <thread>
#include <utility>

#include "collector/service/service.h"

namespace mailhaul::service {

using registry::AccountRow;
using registry::Id;

namespace {

constexpr std::size_t kImportLines = 10'000;
constexpr std::size_t kTriedLines = 500;
constexpr std::size_t kTriedAtOnce = 8;

// RFC 4180: fields, quotes doubled, any line end. Empty lines are left out.
std::vector<std::pair<std::size_t, std::vector<std::string>>> read_csv(const std::string& text) {
  std::vector<std::pair<std::size_t, std::vector<std::string>>> rows;
  std::vector<std::string> row;
  std::string field;
  bool quoted = false;
  std::size_t line = 1, began = 1;
  const auto end_row = [&] {
    row.push_back(std::exchange(field, {}));
    if (row.size() > 1 || !row[0].empty()) rows.emplace_back(began, std::move(row));
    row.clear();
    began = line;
  };
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\n') ++line;
    if (quoted) {
      if (c != '"')
        field += c;
      else if (i + 1 < text.size() && text[i + 1] == '"')
        field += text[++i];
      else
        quoted = false;
    } else if (c == '"' && field.empty()) {
      quoted = true;
    } else if (c == ',') {
      row.push_back(std::exchange(field, {}));
    } else if (c == '\n') {
      end_row();
    } else if (c != '\r') {
      field += c;
    }
  }
  end_row();
  return rows;
}

bool same_place(const collector::SourceAddress& a, const collector::SourceAddress& b) {
  return a.host == b.host && a.port == b.port && a.user == b.user && a.security == b.security;
}

}  // namespace

Outcome<AccountView> Service::view(const AccountRow& row) {
  AccountView out;
  out.row = row;
  out.has_password = !row.password.empty();
  out.row.password.clear();
  if (auto source = collector::parse_source(row.source)) {
    out.source = *std::move(source);
    if (row.allow_plaintext) out.source.security = client::Security::Cleartext;
  }
  registry::Registry::Page page;
  page.account = row.id;
  page.limit = 1000;
  auto jobs = registry_->jobs(page);
  if (!jobs) return jobs.error();
  for (const auto& job : *jobs) out.jobs.push_back(job.id);
  out.owner = name_of(row.owner);
  return out;
}

Outcome<AccountRow> Service::own_account(const Viewer& viewer, Id id) {
  auto row = registry_->account(id);
  if (!row) return row.error();
  if (!*row || (viewer.sees() != 0 && (*row)->owner != viewer.sees())) return not_found("there is no such account");
  return **std::move(row);
}

Outcome<PageOf<AccountView>> Service::accounts(const Viewer& viewer, const PageRequest& request) {
  registry::Registry::Page page;
  page.owner = viewer.sees();
  page.limit = request.limit + 1;
  page.search = request.search;
  std::from_chars(request.cursor.data(), request.cursor.data() + request.cursor.size(), page.after);
  auto rows = registry_->accounts(page);
  if (!rows) return rows.error();
  return page_of<AccountView>(*rows, request.limit, [this](const auto& row) { return view(row); });
}

Outcome<AccountView> Service::account(const Viewer& viewer, Id id) {
  auto row = own_account(viewer, id);
  if (!row) return row.refusal();
  return view(*row);
}

// What is said of an account, checked; the password is sealed by the caller.
Accepted Service::take(const AccountChange& change, AccountRow& row) const {
  if (change.source) row.source = *change.source;
  if (change.allow_plaintext) row.allow_plaintext = *change.allow_plaintext;
  if (change.ca) row.ca = *change.ca;
  if (change.authzid) row.authzid = *change.authzid;
  auto source = collector::parse_source(row.source);
  if (!source) return invalid("source", source.error().what, source.error().advice);
  if (row.allow_plaintext && source->security == client::Security::Tls)
    return invalid("allow_plaintext", "a source with TLS has no use for it", "Leave it out, or write imap://.");
  if (!row.ca.empty() && row.ca.find("-----BEGIN CERTIFICATE-----") == std::string::npos)
    return invalid("ca", "these are no certificates", "Paste them in PEM form: -----BEGIN CERTIFICATE-----");
  if (change.name) row.name = *change.name;
  if (row.name.empty()) row.name = source->user;
  return accepted();
}

Outcome<discovery::Findings> Service::discover(const Viewer& viewer, const std::string& address) {
  if (const auto wait = access_->limit("discovery by " + std::to_string(viewer.user), 30, std::chrono::seconds(60)))
    return Refusal{Why::TooMany, "too many discoveries", "Wait a moment.", "", *wait};
  if (auto ascii = discovery::ascii_address(address); !ascii)
    return invalid("address", ascii.error().what, ascii.error().advice);
  const Slow slow(slow_);
  if (!slow) return Slow::refusal();
  discovery::Options options;
  options.stop = stopping_.get_token();
  options.connect.gate = settings_.gate;
  options.total = std::chrono::seconds(30);
  auto found = discovery::discover(address, options);
  if (!found) return found.error();
  return *std::move(found);
}

Accepted Service::complete(const Viewer& viewer, AccountChange& change) {
  if (!change.source) return invalid("source", "which account?", "For example you@example.org.");
  if (change.source->find("://") != std::string::npos) return accepted();
  auto found = discover(viewer, *change.source);
  if (!found) {
    auto why = found.refusal();
    if (why.field == "address") why.field = "source";
    return why;
  }
  if (!found->chosen)
    return invalid("source", "no mail server was found for " + printable(*change.source),
                   "Write imaps://" + printable(*change.source) + "@SERVER, with the server's name.");
  change.source = found->settings[*found->chosen].url();
  return accepted();
}

Outcome<AccountView> Service::add_account(const Viewer& viewer, const AccountChange& asked) {
  AccountRow row;
  row.owner = viewer.user;
  row.created = row.updated = clock_.unix_seconds();
  auto change = asked;
  if (auto completed = complete(viewer, change); !completed) return completed.refusal();
  if (auto taken = take(change, row); !taken) return taken.refusal();
  auto id = registry_->add(row, [&](Id fresh) -> Result<std::string> {
    if (!change.password || change.password->empty()) return std::string();
    return secrets_->seal(*change.password, place_of_password(fresh));
  });
  if (!id) return id.error();
  access_->note(viewer, "add account", "account " + std::to_string(*id));
  events_.add({.kind = EventKind::Account, .owner = row.owner, .account = *id});
  return account(viewer, *id);
}

Outcome<AccountView> Service::change_account(const Viewer& viewer, Id id, const AccountChange& change,
                                             Version version) {
  auto row = own_account(viewer, id);
  if (!row) return row.refusal();
  if (version && *version != row->version)
    return Refusal{Why::Stale, "somebody else has changed this account", "Read it again."};
  const auto before = *row;
  if (auto taken = take(change, *row); !taken) return taken.refusal();
  const auto was = collector::parse_source(before.source), is = collector::parse_source(row->source);
  const bool weaker = row->allow_plaintext && !before.allow_plaintext;
  const bool trusts = row->ca != before.ca;
  const bool elsewhere = !was || !is || !same_place(*was, *is) || weaker || trusts;
  // A password goes only where its owner meant it to go.
  if (elsewhere && !row->password.empty() && !change.password)
    return invalid("password", "another server, user or protection wants the password again",
                   "Give the password together with this change.");
  if (change.password) {
    row->password.clear();
    if (!change.password->empty()) {
      auto sealed = secrets_->seal(*change.password, place_of_password(id));
      if (!sealed) return sealed.error();
      row->password = *std::move(sealed);
    }
  }
  row->updated = clock_.unix_seconds();
  if (auto updated = registry_->update(*row); !updated) return updated.error();
  access_->note(viewer, "change account", "account " + std::to_string(id));
  events_.add({.kind = EventKind::Account, .owner = row->owner, .account = id});
  if (change.password) consents_->forget(id);
  auto shown = account(viewer, id);
  if (!shown) return shown;
  if (change.password || elsewhere) {
    try_at_once(id);
  } else {
    for (const auto job : shown->jobs)
      if (auto told = scheduler_->changed(job); !told) return told.error();
  }
  return shown;
}

// New credentials are tried at once, whatever was waited for.
void Service::try_at_once(Id account) {
  registry::Registry::Page page;
  page.account = account;
  page.limit = 1000;
  const auto from = registry_->jobs(page);
  if (!from) return;
  std::vector<Id> jobs;
  for (const auto& job : *from) jobs.push_back(job.id);
  if (const auto place = registry_->destination_of_account(account); place && *place)
    if (const auto into = registry_->jobs_of_destination((*place)->id); into)
      jobs.insert(jobs.end(), into->begin(), into->end());
  for (const auto job : jobs) {
    (void)registry_->update_job(job, [](registry::JobRow& row) {
      row.next_run = 0;
      row.attention = false;
      ++row.version;
    });
    (void)scheduler_->changed(job);
  }
  events_.add({.kind = EventKind::Account, .account = account});
}

Accepted Service::remove_account(const Viewer& viewer, Id id) {
  auto there = account(viewer, id);
  if (!there) return there.refusal();
  auto place = registry_->destination_of_account(id);
  if (!place) return place.error();
  if (*place) return Refusal{Why::Conflict, "mail is collected into this account", "Remove that destination first."};
  for (const auto job : there->jobs) scheduler_->cancel(job);
  if (auto removed = registry_->remove_account(id); !removed) return removed.error();
  for (const auto job : there->jobs)
    if (auto told = scheduler_->changed(job); !told) return told.error();
  access_->note(viewer, "remove account", "account " + std::to_string(id));
  consents_->forget(id);
  events_.add({.kind = EventKind::Account, .owner = there->row.owner, .account = id});
  return accepted();
}

Outcome<ConsentView> Service::begin_consent(const Viewer& viewer, Id id, const ConsentRequest& request) {
  auto row = own_account(viewer, id);
  if (!row) return row.refusal();
  if (const auto wait = access_->limit("consent by " + std::to_string(viewer.user), 20, std::chrono::seconds(60)))
    return Refusal{Why::TooMany, "too many attempts", "Wait a moment.", "", *wait};
  const Slow slow(slow_);
  if (!slow) return Slow::refusal();
  auto source = collector::parse_source(row->source);
  if (!source) return invalid("source", source.error().what, source.error().advice);
  auto begun = consents_->begin(id, source->host, source->protocol == collector::Protocol::Pop3, source->user, request);
  if (begun) access_->note(viewer, "ask for consent", "account " + std::to_string(id));
  return begun;
}

Outcome<ConsentView> Service::finish_consent(const Viewer& viewer, Id id, const std::string& query) {
  auto row = own_account(viewer, id);
  if (!row) return row.refusal();
  const Slow slow(slow_);
  if (!slow) return Slow::refusal();
  auto finished = consents_->finish(id, query);
  if (finished) access_->note(viewer, "consent given", "account " + std::to_string(id));
  return finished;
}

Outcome<ConsentView> Service::consent(const Viewer& viewer, Id id) {
  auto row = own_account(viewer, id);
  if (!row) return row.refusal();
  return consents_->view(*row);
}

Outcome<TestReport> Service::test(const Viewer& viewer, Id id) {
  auto row = own_account(viewer, id);
  if (!row) return row.refusal();
  if (const auto wait = access_->limit("test by " + std::to_string(viewer.user), 30, std::chrono::seconds(60)))
    return Refusal{Why::TooMany, "too many tests", "Wait a moment.", "", *wait};
  const Slow slow(slow_);
  if (!slow) return Slow::refusal();
  Order order;
  order.account = *row;
  auto job = engine_job(ground(), order);
  if (!job) return job.error();
  return test_connection(*job, stopping_.get_token());
}

Outcome<TestReport> Service::test(const Viewer& viewer, const AccountChange& asked) {
  if (const auto wait = access_->limit("test by " + std::to_string(viewer.user), 30, std::chrono::seconds(60)))
    return Refusal{Why::TooMany, "too many tests", "Wait a moment.", "", *wait};
  const Slow slow(slow_);
  if (!slow) return Slow::refusal();
  return try_settings(viewer, asked);
}

Outcome<TestReport> Service::try_settings(const Viewer& viewer, const AccountChange& asked) {
  AccountRow row;
  auto change = asked;
  if (auto completed = complete(viewer, change); !completed) return completed.refusal();
  if (auto taken = take(change, row); !taken) return taken.refusal();
  Order order;
  order.account = row;
  auto job = engine_job(ground(), order);
  if (!job) return job.error();
  if (change.password) job->password = *change.password;
  return test_connection(*job, stopping_.get_token());
}

ImportLine Service::import_line(const Viewer& viewer, const std::vector<std::string>& names,
                                const std::vector<std::string>& values, bool dry_run) {
  ImportLine out;
  AccountChange account;
  JobChange job;
  std::string path;
  for (std::size_t n = 0; n < names.size() && n < values.size(); ++n) {
    const auto& value = values[n];
    if (value.empty()) continue;
    if (names[n] == "source") account.source = out.source = value;
    if (names[n] == "password") account.password = Secret(value);
    if (names[n] == "name") account.name = value;
    if (names[n] == "destination") path = value;
    if (names[n] == "minutes") job.schedule = R"({"kind":"every","minutes":)" + value + "}";
    if (names[n] == "paused") job.paused = value == "true" || value == "1" || value == "yes";
  }
  const auto refuse = [&](const Refusal& why) {
    out.detail = why.what + (why.advice.empty() ? "" : ". " + why.advice);
    return out;
  };
  if (dry_run) {
    auto report = try_settings(viewer, account);
    if (!report) return refuse(report.refusal());
    out.ok = report->ok();
    const auto& last = report->steps.back();
    out.detail = last.detail + (last.advice.empty() ? "" : ". " + last.advice);
    return out;
  }
  auto added = add_account(viewer, account);
  if (!added) return refuse(added.refusal());
  out.account = added->row.id;
  if (path.empty()) path = added->source.user;
  const auto undo = [&](const Refusal& why) {
    (void)remove_account(viewer, out.account);
    out.account = 0;
    return refuse(why);
  };
  auto below = path_below_root(path);
  if (!below) return undo(below.refusal());
  auto there = registry_->destination_at(*below);
  if (!there) return undo(refused(there.error()));
  Id destination_id = 0;
  if (*there) {
    auto own = destination(viewer, (*there)->id);
    if (!own) return undo(Refusal{Why::Conflict, "this destination is somebody else's"});
    destination_id = own->row.id;
  } else {
    auto made = add_destination(viewer, "", path, "utf7");
    if (!made) return undo(made.refusal());
    destination_id = made->row.id;
  }
  auto made = add_job(viewer, out.account, destination_id, job);
  if (!made) return undo(made.refusal());
  out.job = made->row.id;
  out.ok = true;
  out.detail = "added";
  return out;
}

Outcome<std::vector<ImportLine>> Service::import(const Viewer& viewer, const std::string& csv, bool dry_run) {
  auto rows = read_csv(csv);
  if (rows.empty()) return invalid("body", "the file is empty", "Its first line names the columns: source,password,…");
  if (rows.size() > kImportLines + 1) return invalid("body", "more than 10,000 lines", "Split the file.");
  const auto names = std::move(rows.front().second);
  const std::set<std::string> known{"source", "password", "destination", "name", "minutes", "paused"};
  for (const auto& name : names)
    if (!known.contains(name))
      return invalid("body", "there is no column '" + printable(name) + "'",
                     "Columns are source, password, destination, name, minutes, paused.");
  if (std::ranges::find(names, "source") == names.end())
    return invalid("body", "the first line names no column 'source'", "For example: source,password,destination");
  if (dry_run && rows.size() > kTriedLines + 1)
    return invalid("body", "more than 500 lines to try at once",
                   "Split the file, or import it: each line tells its result.");
  const Slow slow(slow_);
  if (dry_run && !slow) return Slow::refusal();
  std::vector<ImportLine> out(rows.size() - 1);
  std::atomic<std::size_t> next{0};
  const auto work = [&] {
    for (std::size_t n = next++; n < out.size(); n = next++) {
      auto& [line, values] = rows[n + 1];
      out[n] = import_line(viewer, names, values, dry_run);
      out[n].line = line;
      for (auto& value : values) wipe(value);
    }
  };
  {
    std::vector<std::jthread> more;  // logging in is waiting
    for (std::size_t n = 1; dry_run && n < std::min(kTriedAtOnce, out.size()); ++n) more.emplace_back(work);
    work();
  }
  access_->note(viewer, dry_run ? "try import" : "import", std::to_string(out.size()) + " lines");
  return out;
}

}  // namespace mailhaul::service
