// Jobs of the service and their runs.
#include <algorithm>
#include <charconv>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "collector/service/service.h"

namespace mailhaul::service {

using registry::Id;
using registry::JobRow;
using registry::RunKind;
using registry::RunRow;

Outcome<JobRow> Service::own_job(const Viewer& viewer, Id id) {
  auto row = registry_->job(id);
  if (!row) return row.error();
  if (!*row || (viewer.sees() != 0 && (*row)->owner != viewer.sees())) return not_found("there is no such job");
  return **std::move(row);
}

Outcome<JobView> Service::view(const JobRow& row) {
  JobView out;
  out.row = row;
  auto account = registry_->account(row.account);
  if (!account) return account.error();
  if (*account) {
    out.account_name = (*account)->name;
    out.source = (*account)->source;
  }
  auto destination = registry_->destination(row.destination);
  if (!destination) return destination.error();
  if (*destination) out.destination_path = (*destination)->place();
  out.owner = name_of(row.owner);
  out.now = scheduler_->now(row.id);
  out.row.last_success = std::max(out.row.last_success, out.now.last_success);
  if (const auto counts = nlohmann::json::parse(row.counts, nullptr, false); counts.is_object())
    out.held = counts.value("held", std::size_t{0});
  return out;
}

Outcome<PageOf<JobView>> Service::jobs(const Viewer& viewer, const PageRequest& request) {
  registry::Registry::Page page;
  page.owner = viewer.sees();
  page.limit = request.limit + 1;
  page.search = request.search;
  page.account = request.account;
  std::from_chars(request.cursor.data(), request.cursor.data() + request.cursor.size(), page.after);
  PageOf<JobView> out;
  for (;;) {
    auto rows = registry_->jobs(page);
    if (!rows) return rows.error();
    for (const auto& row : *rows) {
      if (request.state && scheduler_->now(row.id).state != *request.state) continue;
      if (out.items.size() == request.limit) {
        out.next = std::to_string(out.items.back().row.id);
        return out;
      }
      auto one = view(row);
      if (!one) return one.refusal();
      out.items.push_back(*std::move(one));
    }
    if (rows->size() < page.limit) return out;
    page.after = rows->back().id;
  }
}

Outcome<JobView> Service::job(const Viewer& viewer, Id id) {
  auto row = own_job(viewer, id);
  if (!row) return row.refusal();
  return view(*row);
}

Outcome<JobView> Service::add_job(const Viewer& viewer, Id account_id, Id destination_id, const JobChange& change) {
  auto from = own_account(viewer, account_id);
  if (!from) return invalid("account", "there is no such account");
  auto to = destination(viewer, destination_id);
  if (!to) return invalid("destination", "there is no such destination");
  if (to->row.account == account_id)
    return invalid("destination", "this is the account itself", "Choose another destination.");
  JobRow row;
  row.owner = from->owner;
  row.account = account_id;
  row.destination = destination_id;
  row.created = row.updated = clock_.unix_seconds();
  row.paused = change.paused.value_or(false);
  JobPolicy policy;
  if (change.policy)
    if (auto read = read_policy(*change.policy, policy); !read) return read.refusal();
  Schedule schedule;
  if (change.schedule)
    if (auto read = read_schedule(*change.schedule, schedule); !read) return read.refusal();
  row.policy = to_json(policy);
  row.schedule = to_json(schedule);
  auto id = registry_->add(row);
  if (!id && id.error().retry == Retry::AfterUserAction)
    return Refusal{Why::Conflict, id.error().what, "Change that job, or choose another destination.", "destination"};
  if (!id) return id.error();
  access_->note(viewer, "add job", "job " + std::to_string(*id));
  if (auto told = scheduler_->changed(*id); !told) return told.error();
  return job(viewer, *id);
}

Outcome<JobView> Service::change_job(const Viewer& viewer, Id id, const JobChange& change, Version version) {
  auto row = own_job(viewer, id);
  if (!row) return row.refusal();
  JobPolicy policy;
  (void)read_policy(row->policy, policy);
  if (change.policy)
    if (auto read = read_policy(*change.policy, policy); !read) return read.refusal();
  Schedule schedule;
  (void)read_schedule(row->schedule, schedule);
  if (change.schedule)
    if (auto read = read_schedule(*change.schedule, schedule); !read) return read.refusal();
  bool stale = false;
  auto updated = registry_->update_job(id, [&](JobRow& now) {
    stale = version && *version != now.version;
    if (stale) return;
    const bool rescheduled = change.schedule && now.schedule != to_json(schedule);
    now.policy = to_json(policy);
    now.schedule = to_json(schedule);
    if (change.paused) now.paused = *change.paused;
    if (rescheduled) now.finished = false;
    now.updated = clock_.unix_seconds();
    ++now.version;
  });
  if (!updated) return updated.error();
  if (stale) return Refusal{Why::Stale, "somebody else has changed this job", "Read it again."};
  access_->note(viewer, change.paused ? (*change.paused ? "pause job" : "resume job") : "change job",
                "job " + std::to_string(id));
  if (auto told = scheduler_->changed(id); !told) return told.error();
  return job(viewer, id);
}

Accepted Service::remove_job(const Viewer& viewer, Id id) {
  auto row = own_job(viewer, id);
  if (!row) return row.refusal();
  scheduler_->cancel(id);
  if (auto removed = registry_->remove_job(id); !removed) return removed.error();
  if (auto told = scheduler_->changed(id); !told) return told.error();
  access_->note(viewer, "remove job", "job " + std::to_string(id));
  return accepted();
}

Outcome<JobView> Service::wish(const Viewer& viewer, Id id, const Wish& more) {
  auto row = own_job(viewer, id);
  if (!row) return row.refusal();
  auto updated = registry_->update_job(id, [&](JobRow& now) {
    auto all = read_wish(now.wanted);
    all.run = all.run || more.run;
    all.retry_failed = all.retry_failed || more.retry_failed;
    for (const auto& mailbox : more.release)
      if (std::ranges::find(all.release, mailbox) == all.release.end()) all.release.push_back(mailbox);
    now.wanted = to_json(all);
  });
  if (!updated) return updated.error();
  if (auto told = scheduler_->changed(id); !told) return told.error();
  return job(viewer, id);
}

Outcome<JobView> Service::run_job(const Viewer& viewer, Id id, bool retry_failed) {
  auto asked = wish(viewer, id, {true, retry_failed, {}});
  if (asked) access_->note(viewer, retry_failed ? "retry failed" : "run job", "job " + std::to_string(id));
  return asked;
}

Outcome<JobView> Service::release(const Viewer& viewer, Id id, const std::string& mailbox) {
  auto boxes = mailboxes(viewer, id);
  if (!boxes) return boxes.refusal();
  const auto held = std::ranges::find_if(*boxes, [&](const MailboxView& one) { return one.name == mailbox; });
  if (held == boxes->end() || held->held.empty())
    return invalid("mailbox", "no removals are held in a mailbox of this name");
  auto asked = wish(viewer, id, {true, false, {mailbox}});
  if (asked) access_->note(viewer, "release hold", "job " + std::to_string(id) + " " + mailbox);
  return asked;
}

Outcome<JobView> Service::cancel_job(const Viewer& viewer, Id id) {
  auto row = own_job(viewer, id);
  if (!row) return row.refusal();
  if (auto updated = registry_->update_job(id, [](JobRow& now) { now.wanted.clear(); }); !updated)
    return updated.error();
  scheduler_->cancel(id);
  if (auto told = scheduler_->changed(id); !told) return told.error();
  access_->note(viewer, "cancel run", "job " + std::to_string(id));
  return job(viewer, id);
}

Outcome<RunView> Service::queue(const Viewer& viewer, Id job, RunKind kind, const std::string& options) {
  auto row = own_job(viewer, job);
  if (!row) return row.refusal();
  RunRow run;
  run.job = job;
  run.kind = kind;
  run.cause = registry::Cause::Person;
  run.started = clock_.unix_seconds();
  run.options = options;
  auto id = registry_->add(run);
  if (!id) return id.error();
  run.id = *id;
  if (auto queued = scheduler_->enqueue(run); !queued) return queued.error();
  access_->note(viewer, kind == RunKind::Verify ? "verify job" : "preview job", "job " + std::to_string(job));
  return view(run);
}

Outcome<RunView> Service::preview(const Viewer& viewer, Id id) { return queue(viewer, id, RunKind::Preview, ""); }
Outcome<RunView> Service::verify(const Viewer& viewer, Id id, bool deep) {
  return queue(viewer, id, RunKind::Verify, deep ? "deep" : "");
}

Outcome<std::vector<MailboxView>> Service::mailboxes(const Viewer& viewer, Id id) {
  auto row = own_job(viewer, id);
  if (!row) return row.refusal();
  auto account = registry_->account(row->account);
  if (!account) return account.error();
  auto destination = registry_->destination(row->destination);
  if (!destination) return destination.error();
  if (!*account || !*destination) return not_found("there is no such job");
  auto boxes = mailboxes_in(state_path(settings_.data, **destination), identity_of(**account));
  if (!boxes) return boxes.error();
  return *std::move(boxes);
}

Outcome<MessagePage> Service::messages(const Viewer& viewer, Id id, const MessageFilter& filter) {
  auto row = own_job(viewer, id);
  if (!row) return row.refusal();
  auto account = registry_->account(row->account);
  if (!account) return account.error();
  auto destination = registry_->destination(row->destination);
  if (!destination) return destination.error();
  if (!*account || !*destination) return not_found("there is no such job");
  auto page = messages_in(state_path(settings_.data, **destination), identity_of(**account), filter);
  if (!page) return page.error();
  return *std::move(page);
}

Outcome<RunView> Service::view(const RunRow& row) {
  RunView out;
  out.row = row;
  auto job = registry_->job(row.job);
  if (!job) return job.error();
  if (!*job) return out;
  auto account = registry_->account((*job)->account);
  if (!account) return account.error();
  if (*account) out.account_name = (*account)->name;
  return out;
}

Outcome<PageOf<RunView>> Service::runs(const Viewer& viewer, const PageRequest& request) {
  registry::Registry::Page page;
  page.owner = viewer.sees();
  page.limit = request.limit + 1;
  page.job = request.job;
  std::from_chars(request.cursor.data(), request.cursor.data() + request.cursor.size(), page.after);
  auto rows = registry_->runs(page);
  if (!rows) return rows.error();
  return page_of<RunView>(*rows, request.limit, [this](const auto& row) { return view(row); });
}

Outcome<RunView> Service::run(const Viewer& viewer, Id id) {
  auto row = registry_->run(id);
  if (!row) return row.error();
  if (!*row) return not_found("there is no such run");
  if (auto own = own_job(viewer, (*row)->job); !own) return not_found("there is no such run");
  return view(**row);
}

}  // namespace mailhaul::service
