// Users, sessions, tokens, what they did, and what they must not do twice.
#include <span>
#include <utility>

#include "protocols/mail/digest.h"
#include "store/registry/rows.h"

namespace mailhaul::registry {

using rows::bind_all;
using rows::text;

namespace {

UserRow read_user(const sqlite::Statement& q) {
  return {q.integer(0), text(q, 1), text(q, 2), q.as<Role>(3), q.integer(4)};
}
constexpr char kTaken[] = "there is a user of that name already";

SessionRow read_session(const sqlite::Statement& q) {
  return {text(q, 0), q.integer(1), text(q, 2), q.integer(3), q.integer(4)};
}

TokenRow read_token(const sqlite::Statement& q) {
  return {q.integer(0), q.integer(1), text(q, 2),   text(q, 3),  text(q, 4),
          text(q, 5),   q.integer(6), q.integer(7), q.integer(8)};
}

AuditRow read_audit(const sqlite::Statement& q) {
  return {q.integer(0), q.integer(1), text(q, 2), text(q, 3), text(q, 4), text(q, 5), text(q, 6)};
}

std::string link(std::string_view before, const AuditRow& row) {
  std::string all(before);
  for (const auto& part : {std::to_string(row.at), row.who, row.what, row.object, row.result, row.address})
    all += std::to_string(part.size()) + ":" + part;
  const auto digest = mail::Sha256::of(all);
  return {digest.begin(), digest.end()};
}

std::string_view blob(const sqlite::Statement& q, int column) {
  const auto octets = q.blob(column);
  return {reinterpret_cast<const char*>(octets.data()), octets.size()};
}

}  // namespace

Result<std::vector<UserRow>> Registry::users() {
  return locked([](sqlite::Database& db) {
    auto q = db.use("SELECT id, name, password, role, created FROM user ORDER BY id");
    return rows::all(*q, read_user);
  });
}

Result<std::optional<UserRow>> Registry::user(Id id) {
  return locked([&](sqlite::Database& db) {
    auto q = db.use("SELECT id, name, password, role, created FROM user WHERE id = ?1");
    bind_all(*q, id);
    return rows::first(*q, read_user);
  });
}

Result<std::optional<UserRow>> Registry::user(std::string_view name) {
  return locked([&](sqlite::Database& db) {
    auto q = db.use("SELECT id, name, password, role, created FROM user WHERE name = ?1");
    bind_all(*q, name);
    return rows::first(*q, read_user);
  });
}

Result<Id> Registry::add(const UserRow& row) {
  return locked([&](sqlite::Database& db) -> Result<Id> {
    auto q = db.use("INSERT INTO user (name, password, role, created) VALUES (?1, ?2, ?3, ?4)");
    bind_all(*q, std::string_view(row.name), std::string_view(row.password), row.role, row.created);
    if (auto added = rows::unless_taken(q->run(), kTaken); !added) return added.error();
    return db.last_id();
  });
}

Result<std::optional<Id>> Registry::add_first(const UserRow& row) {
  return locked([&](sqlite::Database& db) -> Result<std::optional<Id>> {
    auto q = db.use(
        "INSERT INTO user (name, password, role, created) SELECT ?1, ?2, ?3, ?4 WHERE NOT EXISTS (SELECT 1 FROM "
        "user WHERE role = 0)");
    bind_all(*q, std::string_view(row.name), std::string_view(row.password), row.role, row.created);
    if (auto added = q->run(); !added) return added.error();
    return db.changes() == 1 ? std::optional<Id>(db.last_id()) : std::nullopt;
  });
}

Done Registry::update(const UserRow& row) {
  return locked([&](sqlite::Database& db) {
    auto q = db.use("UPDATE user SET name = ?2, password = ?3, role = ?4 WHERE id = ?1");
    bind_all(*q, row.id, std::string_view(row.name), std::string_view(row.password), row.role);
    return rows::unless_taken(q->run(), kTaken);
  });
}

Result<bool> Registry::remove_user(Id id) {
  return locked([&](sqlite::Database& db) -> Result<bool> {
    auto q = db.use(
        "DELETE FROM user WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM account WHERE owner = ?1) AND NOT EXISTS "
        "(SELECT 1 FROM destination WHERE owner = ?1) AND NOT EXISTS (SELECT 1 FROM job WHERE owner = ?1)");
    bind_all(*q, id);
    if (auto removed = q->run(); !removed) return removed.error();
    return db.changes() == 1;
  });
}

Done Registry::add(const SessionRow& row) {
  return locked([&](sqlite::Database& db) {
    auto q = db.use("INSERT INTO session (hash, user, csrf, created, seen) VALUES (CAST(?1 AS BLOB), ?2, ?3, ?4, ?5)");
    bind_all(*q, std::string_view(row.hash), row.user, std::string_view(row.csrf), row.created, row.seen);
    return q->run();
  });
}

Result<std::optional<SessionRow>> Registry::session(std::string_view hash) {
  return locked([&](sqlite::Database& db) {
    auto q = db.use("SELECT hash, user, csrf, created, seen FROM session WHERE hash = CAST(?1 AS BLOB)");
    bind_all(*q, hash);
    return rows::first(*q, read_session);
  });
}

Done Registry::touch_session(std::string_view hash, std::int64_t now) {
  return locked([&](sqlite::Database& db) {
    auto q = db.use("UPDATE session SET seen = ?2 WHERE hash = CAST(?1 AS BLOB)");
    bind_all(*q, hash, now);
    return q->run();
  });
}

Done Registry::remove_session(std::string_view hash) {
  return locked([&](sqlite::Database& db) {
    auto q = db.use("DELETE FROM session WHERE hash = CAST(?1 AS BLOB)");
    bind_all(*q, hash);
    return q->run();
  });
}

Done Registry::remove_sessions(Id user, std::string_view but) {
  return locked([&](sqlite::Database& db) {
    auto q = db.use("DELETE FROM session WHERE user = ?1 AND hash <> CAST(?2 AS BLOB)");
    bind_all(*q, user, but);
    return q->run();
  });
}

Done Registry::expire_sessions(std::int64_t created, std::int64_t seen) {
  return locked([&](sqlite::Database& db) {
    auto q = db.use("DELETE FROM session WHERE created < ?1 OR seen < ?2");
    bind_all(*q, created, seen);
    return q->run();
  });
}

#define MAILHAUL_TOKEN "SELECT id, user, name, hash, prefix, scopes, created, expires, last_used FROM token "

Result<std::vector<TokenRow>> Registry::tokens(Id user) {
  return locked([&](sqlite::Database& db) {
    auto q = db.use(MAILHAUL_TOKEN "WHERE user = ?1 ORDER BY id");
    bind_all(*q, user);
    return rows::all(*q, read_token);
  });
}

Result<std::optional<TokenRow>> Registry::token(std::string_view hash) {
  return locked([&](sqlite::Database& db) {
    auto q = db.use(MAILHAUL_TOKEN "WHERE hash = CAST(?1 AS BLOB)");
    bind_all(*q, hash);
    return rows::first(*q, read_token);
  });
}

Result<Id> Registry::add(const TokenRow& row) {
  return locked([&](sqlite::Database& db) -> Result<Id> {
    auto q = db.use(
        "INSERT INTO token (user, name, hash, prefix, scopes, created, expires) VALUES (?1, ?2, CAST(?3 AS BLOB), ?4, "
        "?5, ?6, ?7)");
    bind_all(*q, row.user, std::string_view(row.name), std::string_view(row.hash), std::string_view(row.prefix),
             std::string_view(row.scopes), row.created, row.expires);
    if (auto added = q->run(); !added) return added.error();
    return db.last_id();
  });
}

Done Registry::touch_token(Id id, std::int64_t now) {
  return locked([&](sqlite::Database& db) {
    auto q = db.use("UPDATE token SET last_used = ?2 WHERE id = ?1");
    bind_all(*q, id, now);
    return q->run();
  });
}

Result<bool> Registry::remove_token(Id id, Id user) {
  return locked([&](sqlite::Database& db) -> Result<bool> {
    auto q = db.use("DELETE FROM token WHERE id = ?1 AND user = ?2");
    bind_all(*q, id, user);
    if (auto removed = q->run(); !removed) return removed.error();
    return db.changes() == 1;
  });
}

Done Registry::add(const AuditRow& row) {
  return whole([&](sqlite::Database& db) -> Done {
    std::string before;
    {
      auto q = db.use("SELECT chain FROM audit ORDER BY id DESC LIMIT 1");
      auto found = q->step();
      if (!found) return found.error();
      if (*found) before = blob(*q, 0);
    }
    const auto chain = link(before, row);
    auto q = db.use(
        "INSERT INTO audit (at, who, what, object, result, address, chain) VALUES (?1, ?2, ?3, ?4, ?5, ?6, "
        "CAST(?7 AS BLOB))");
    bind_all(*q, row.at, std::string_view(row.who), std::string_view(row.what), std::string_view(row.object),
             std::string_view(row.result), std::string_view(row.address), std::string_view(chain));
    return q->run();
  });
}

Result<std::vector<AuditRow>> Registry::audit(Id before, std::size_t limit) {
  return locked([&](sqlite::Database& db) {
    auto q =
        db.use("SELECT id, at, who, what, object, result, address FROM audit WHERE id < ?1 ORDER BY id DESC LIMIT ?2");
    bind_all(*q, before > 0 ? before : INT64_MAX, limit);
    return rows::all(*q, read_audit);
  });
}

Result<bool> Registry::audit_is_whole() {
  return locked([&](sqlite::Database& db) -> Result<bool> {
    auto q = db.use("SELECT id, at, who, what, object, result, address, chain FROM audit ORDER BY id");
    std::string before;
    for (;;) {
      auto row = q->step();
      if (!row) return row.error();
      if (!*row) return true;
      before = link(before, read_audit(*q));
      if (before != blob(*q, 7)) return false;
    }
  });
}

Result<std::optional<IdempotencyRow>> Registry::idempotency(Id user, std::string_view key) {
  return locked([&](sqlite::Database& db) -> Result<std::optional<IdempotencyRow>> {
    auto q = db.use("SELECT request, status, body, created FROM idempotency WHERE user = ?1 AND key = ?2");
    bind_all(*q, user, key);
    auto row = q->step();
    if (!row) return row.error();
    if (!*row) return std::optional<IdempotencyRow>{};
    return std::optional<IdempotencyRow>(
        {std::string(key), user, std::string(blob(*q, 0)), q->as<int>(1), std::string(q->text(2)), q->integer(3)});
  });
}

Done Registry::add(const IdempotencyRow& row) {
  return locked([&](sqlite::Database& db) {
    auto q = db.use(
        "INSERT INTO idempotency (key, user, request, status, body, created) VALUES (?1, ?2, CAST(?3 AS BLOB), ?4, ?5, "
        "?6) ON CONFLICT DO NOTHING");
    bind_all(*q, std::string_view(row.key), row.user, std::string_view(row.request), row.status,
             std::string_view(row.body), row.created);
    return q->run();
  });
}

Done Registry::expire_idempotency(std::int64_t created) {
  return locked([&](sqlite::Database& db) {
    auto q = db.use("DELETE FROM idempotency WHERE created < ?1");
    bind_all(*q, created);
    return q->run();
  });
}

}  // namespace mailhaul::registry
