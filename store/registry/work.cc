// Destinations, accounts, jobs and their runs.
#include <utility>

#include "store/registry/rows.h"

namespace mailhaul::registry {

using rows::bind_all;
using rows::text;

namespace {

DestinationRow read_destination(const sqlite::Statement& q) {
  return {q.integer(0), q.integer(1), text(q, 2), text(q, 3), text(q, 4), q.integer(5), q.integer(6), text(q, 7)};
}

AccountRow read_account(const sqlite::Statement& q) {
  const auto sealed = q.blob(7);
  return {q.integer(0),      q.integer(1),
          text(q, 2),        text(q, 3),
          q.integer(4) != 0, text(q, 5),
          text(q, 6),        std::string(reinterpret_cast<const char*>(sealed.data()), sealed.size()),
          q.integer(8),      q.integer(9),
          q.integer(10)};
}

JobRow read_job(const sqlite::Statement& q) {
  JobRow row;
  row.id = q.integer(0);
  row.owner = q.integer(1);
  row.account = q.integer(2);
  row.destination = q.integer(3);
  row.policy = q.text(4);
  row.schedule = q.text(5);
  row.paused = q.integer(6) != 0;
  row.created = q.integer(7);
  row.updated = q.integer(8);
  row.version = q.integer(9);
  row.wanted = q.text(10);
  row.finished = q.integer(11) != 0;
  row.next_run = q.integer(12);
  row.failures = q.integer(13);
  row.failing_since = q.integer(14);
  row.attention = q.integer(15) != 0;
  row.error = q.text(16);
  row.advice = q.text(17);
  row.last_success = q.integer(18);
  row.last_run = q.integer(19);
  row.counts = q.text(20);
  row.told = q.integer(21);
  return row;
}

RunRow read_run(const sqlite::Statement& q) {
  return {q.integer(0),
          q.integer(1),
          q.as<RunKind>(2),
          q.as<RunState>(3),
          q.as<Cause>(4),
          q.integer(5),
          q.integer(6),
          q.as<std::uint64_t>(7),
          q.as<std::uint64_t>(8),
          q.as<std::uint64_t>(9),
          text(q, 10),
          text(q, 11),
          text(q, 12),
          text(q, 13)};
}

// A pattern for LIKE with ESCAPE '\'.
std::string part(std::string_view search) {
  std::string out = "%";
  for (const char c : search) {
    if (c == '%' || c == '_' || c == '\\') out += '\\';
    out += c;
  }
  return out + "%";
}

#define MAILHAUL_DESTINATION                                                                                  \
  "SELECT id, owner, name, path, names, created, coalesce(account, 0), coalesce((SELECT source FROM account " \
  "WHERE account.id = destination.account), '') FROM destination "
#define MAILHAUL_ACCOUNT \
  "SELECT id, owner, name, source, allow_plaintext, ca, authzid, password, created, updated, version FROM account "
#define MAILHAUL_JOB                                                                                             \
  "SELECT job.id, job.owner, job.account, job.destination, policy, schedule, paused, job.created, job.updated, " \
  "job.version, wanted, finished, next_run, failures, failing_since, attention, error, advice, last_success, "   \
  "last_run, counts, told FROM job "
#define MAILHAUL_RUN \
  "SELECT id, job, kind, state, cause, started, ended, delivered, octets, failed, error, advice, options, "

}  // namespace

Result<std::vector<DestinationRow>> Registry::destinations(const Page& page) {
  return locked([&](sqlite::Database& db) {
    auto q = db.use(MAILHAUL_DESTINATION "WHERE id > ?1 AND (?2 = 0 OR owner = ?2) ORDER BY id LIMIT ?3");
    bind_all(*q, page.after, page.owner, page.limit);
    return rows::all(*q, read_destination);
  });
}

Result<std::optional<DestinationRow>> Registry::destination(Id id) {
  return locked([&](sqlite::Database& db) {
    auto q = db.use(MAILHAUL_DESTINATION "WHERE id = ?1");
    bind_all(*q, id);
    return rows::first(*q, read_destination);
  });
}

Result<std::optional<DestinationRow>> Registry::destination_at(std::string_view path) {
  return locked([&](sqlite::Database& db) {
    auto q = db.use(MAILHAUL_DESTINATION "WHERE path = ?1");
    bind_all(*q, path);
    return rows::first(*q, read_destination);
  });
}

Result<std::optional<DestinationRow>> Registry::destination_of_account(Id account) {
  return locked([&](sqlite::Database& db) {
    auto q = db.use(MAILHAUL_DESTINATION "WHERE account = ?1");
    bind_all(*q, account);
    return rows::first(*q, read_destination);
  });
}

Result<Id> Registry::add(const DestinationRow& row) {
  const auto path = row.account == 0 ? row.path : "account:" + std::to_string(row.account);
  const auto* taken = row.account == 0 ? "this path is a destination already" : "this account is a destination already";
  return locked([&](sqlite::Database& db) -> Result<Id> {
    auto q = db.use(
        "INSERT INTO destination (owner, name, path, names, created, account) VALUES (?1, ?2, ?3, ?4, ?5, nullif(?6, "
        "0))");
    bind_all(*q, row.owner, std::string_view(row.name), std::string_view(path), std::string_view(row.names),
             row.created, row.account);
    if (auto added = rows::unless_taken(q->run(), taken); !added) return added.error();
    return db.last_id();
  });
}

Result<bool> Registry::remove_destination(Id id) {
  return locked([&](sqlite::Database& db) -> Result<bool> {
    auto q = db.use("DELETE FROM destination WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM job WHERE destination = ?1)");
    bind_all(*q, id);
    if (auto removed = q->run(); !removed) return removed.error();
    return db.changes() == 1;
  });
}

Result<std::vector<AccountRow>> Registry::accounts(const Page& page) {
  const auto like = part(page.search);
  return locked([&](sqlite::Database& db) {
    auto q = db.use(MAILHAUL_ACCOUNT
                    "WHERE id > ?1 AND (?2 = 0 OR owner = ?2) AND (name LIKE ?4 ESCAPE '\\' OR source LIKE ?4 ESCAPE "
                    "'\\') ORDER BY id LIMIT ?3");
    bind_all(*q, page.after, page.owner, page.limit, std::string_view(like));
    return rows::all(*q, read_account);
  });
}

Result<std::optional<AccountRow>> Registry::account(Id id) {
  return locked([&](sqlite::Database& db) {
    auto q = db.use(MAILHAUL_ACCOUNT "WHERE id = ?1");
    bind_all(*q, id);
    return rows::first(*q, read_account);
  });
}

Result<Id> Registry::add(const AccountRow& row, const Seal& seal) {
  return whole([&](sqlite::Database& db) -> Result<Id> {
    Id id = 0;
    {
      auto q = db.use(
          "INSERT INTO account (owner, name, source, allow_plaintext, ca, authzid, password, created, updated, "
          "version) "
          "VALUES (?1, ?2, ?3, ?4, ?5, ?6, x'', ?7, ?7, 1)");
      bind_all(*q, row.owner, std::string_view(row.name), std::string_view(row.source), row.allow_plaintext,
               std::string_view(row.ca), std::string_view(row.authzid), row.created);
      if (auto added = q->run(); !added) return added.error();
      id = db.last_id();
    }
    auto sealed = seal(id);
    if (!sealed) return sealed.error();
    auto q = db.use("UPDATE account SET password = CAST(?2 AS BLOB) WHERE id = ?1");
    bind_all(*q, id, std::string_view(*sealed));
    if (auto kept = q->run(); !kept) return kept.error();
    return id;
  });
}

Done Registry::update(const AccountRow& row) {
  return locked([&](sqlite::Database& db) {
    auto q = db.use(
        "UPDATE account SET name = ?2, source = ?3, allow_plaintext = ?4, ca = ?5, authzid = ?6, password = CAST(?7 AS "
        "BLOB), updated = ?8, version = version + 1 WHERE id = ?1");
    bind_all(*q, row.id, std::string_view(row.name), std::string_view(row.source), row.allow_plaintext,
             std::string_view(row.ca), std::string_view(row.authzid), std::string_view(row.password), row.updated);
    return q->run();
  });
}

Done Registry::keep_password(Id id, std::string_view sealed) {
  return locked([&](sqlite::Database& db) {
    auto q = db.use("UPDATE account SET password = CAST(?2 AS BLOB) WHERE id = ?1");
    bind_all(*q, id, sealed);
    return q->run();
  });
}

Done Registry::remove_account(Id id) {
  return locked([&](sqlite::Database& db) {
    auto q = db.use("DELETE FROM account WHERE id = ?1");
    bind_all(*q, id);
    return q->run();
  });
}

Result<std::vector<JobRow>> Registry::jobs(const Page& page) {
  const auto like = part(page.search);
  return locked([&](sqlite::Database& db) {
    auto q = db.use(MAILHAUL_JOB
                    "JOIN account ON account.id = job.account WHERE job.id > ?1 AND (?2 = 0 OR job.owner = ?2) AND (?5 "
                    "= 0 OR job.account = ?5) AND (account.name LIKE ?4 ESCAPE '\\' OR account.source LIKE ?4 ESCAPE "
                    "'\\') ORDER BY job.id LIMIT ?3");
    bind_all(*q, page.after, page.owner, page.limit, std::string_view(like), page.account);
    return rows::all(*q, read_job);
  });
}

Result<std::optional<JobRow>> Registry::job(Id id) {
  return locked([&](sqlite::Database& db) {
    auto q = db.use(MAILHAUL_JOB "WHERE job.id = ?1");
    bind_all(*q, id);
    return rows::first(*q, read_job);
  });
}

Result<std::vector<Id>> Registry::jobs_of_destination(Id destination) {
  return locked([&](sqlite::Database& db) {
    auto q = db.use("SELECT id FROM job WHERE destination = ?1 ORDER BY id");
    bind_all(*q, destination);
    return rows::all<Id>(*q, [](const sqlite::Statement& row) -> Id { return row.integer(0); });
  });
}

Result<Id> Registry::add(const JobRow& row) {
  return locked([&](sqlite::Database& db) -> Result<Id> {
    auto q = db.use(
        "INSERT INTO job (owner, account, destination, policy, schedule, paused, created, updated, version) VALUES "
        "(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7, 1)");
    bind_all(*q, row.owner, row.account, row.destination, std::string_view(row.policy), std::string_view(row.schedule),
             row.paused, row.created);
    auto added = rows::unless_taken(q->run(), "this account is collected into this destination already");
    if (!added) return added.error();
    return db.last_id();
  });
}

Done Registry::update_job(Id id, const std::function<void(JobRow&)>& change) {
  auto updated = update_job_and_tell(id, [&change](JobRow& row) {
    change(row);
    return std::vector<NoticeRow>{};
  });
  return updated ? done() : Done(updated.error());
}

Result<bool> Registry::update_job_and_tell(Id id, const std::function<std::vector<NoticeRow>(JobRow&)>& change) {
  return whole([&](sqlite::Database& db) -> Result<bool> {
    std::optional<JobRow> row;
    {
      auto q = db.use(MAILHAUL_JOB "WHERE job.id = ?1");
      bind_all(*q, id);
      auto found = rows::first(*q, read_job);
      if (!found) return found.error();
      row = *std::move(found);
    }
    if (!row) return false;  // removed meanwhile
    const auto notices = change(*row);
    {
      auto q = db.use(
          "UPDATE job SET policy = ?2, schedule = ?3, paused = ?4, updated = ?5, version = ?6, wanted = ?7, finished = "
          "?8, next_run = ?9, failures = ?10, failing_since = ?11, attention = ?12, error = ?13, advice = ?14, "
          "last_success = ?15, last_run = ?16, counts = ?17, told = ?18 WHERE id = ?1");
      bind_all(*q, row->id, std::string_view(row->policy), std::string_view(row->schedule), row->paused, row->updated,
               row->version, std::string_view(row->wanted), row->finished, row->next_run, row->failures,
               row->failing_since, row->attention, std::string_view(row->error), std::string_view(row->advice),
               row->last_success, row->last_run, std::string_view(row->counts), row->told);
      if (auto updated = q->run(); !updated) return updated.error();
    }
    bool told = false;
    for (const auto& notice : notices) {
      auto queued = rows::queue_notice(db, notice, row->owner);
      if (!queued) return queued;
      told = told || *queued;
    }
    return told;
  });
}

Done Registry::remove_job(Id id) {
  return locked([&](sqlite::Database& db) {
    auto q = db.use("DELETE FROM job WHERE id = ?1");
    bind_all(*q, id);
    return q->run();
  });
}

Result<std::vector<RunRow>> Registry::runs(const Page& page) {
  return locked([&](sqlite::Database& db) {
    auto q = db.use(MAILHAUL_RUN
                    "'' FROM run WHERE id < ?1 AND (?2 = 0 OR job = ?2) AND (?3 = 0 OR job IN (SELECT id FROM job "
                    "WHERE owner = ?3)) ORDER BY id DESC LIMIT ?4");
    bind_all(*q, page.after > 0 ? page.after : INT64_MAX, page.job, page.owner, page.limit);
    return rows::all(*q, read_run);
  });
}

Result<std::optional<RunRow>> Registry::run(Id id) {
  return locked([&](sqlite::Database& db) {
    auto q = db.use(MAILHAUL_RUN "report FROM run WHERE id = ?1");
    bind_all(*q, id);
    return rows::first(*q, read_run);
  });
}

Result<Id> Registry::add(const RunRow& row) {
  return locked([&](sqlite::Database& db) -> Result<Id> {
    auto q = db.use(
        "INSERT INTO run (job, kind, state, cause, started, ended, delivered, octets, failed, error, advice, options, "
        "report) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)");
    bind_all(*q, row.job, row.kind, row.state, row.cause, row.started, row.ended, row.delivered, row.octets, row.failed,
             std::string_view(row.error), std::string_view(row.advice), std::string_view(row.options),
             std::string_view(row.report));
    if (auto added = q->run(); !added) return added.error();
    return db.last_id();
  });
}

Done Registry::update(const RunRow& row) {
  return locked([&](sqlite::Database& db) {
    auto q = db.use(
        "UPDATE run SET state = ?2, started = ?3, ended = ?4, delivered = ?5, octets = ?6, failed = ?7, error = ?8, "
        "advice = ?9, report = ?10 WHERE id = ?1");
    bind_all(*q, row.id, row.state, row.started, row.ended, row.delivered, row.octets, row.failed,
             std::string_view(row.error), std::string_view(row.advice), std::string_view(row.report));
    return q->run();
  });
}

Done Registry::forget_runs(Id job, std::size_t keep) {
  return locked([&](sqlite::Database& db) {
    auto q = db.use(
        "DELETE FROM run WHERE job = ?1 AND id <= (SELECT id FROM run WHERE job = ?1 ORDER BY id DESC LIMIT 1 OFFSET "
        "?2)");
    bind_all(*q, job, keep);
    return q->run();
  });
}

Done Registry::end_broken_runs(std::int64_t now) {
  return locked([&](sqlite::Database& db) {
    auto q = db.use("UPDATE run SET state = ?1, ended = ?2, error = 'the service was stopped' WHERE state <= ?3");
    bind_all(*q, RunState::Stopped, now, RunState::Running);
    return q->run();
  });
}

}  // namespace mailhaul::registry
