// Channels, what they are still to be told, and everything that is sealed.
#include <utility>

#include "store/registry/rows.h"

namespace mailhaul::registry {

using rows::bind_all;
using rows::text;

namespace {

std::string octets(const sqlite::Statement& q, int column) {
  const auto blob = q.blob(column);
  return {reinterpret_cast<const char*>(blob.data()), blob.size()};
}

ChannelRow read_channel(const sqlite::Statement& q) {
  ChannelRow row;
  row.id = q.integer(0);
  row.owner = q.integer(1);
  row.name = q.text(2);
  row.kind = static_cast<int>(q.integer(3));
  row.url = q.text(4);
  row.sender = q.text(5);
  row.recipient = q.text(6);
  row.ca = q.text(7);
  row.topics = q.text(8);
  row.everyone = q.integer(9) != 0;
  row.allow_plaintext = q.integer(10) != 0;
  row.secret = octets(q, 11);
  row.created = q.integer(12);
  row.updated = q.integer(13);
  row.version = q.integer(14);
  row.told = q.integer(15);
  row.error = q.text(16);
  return row;
}

NoticeRow read_notice(const sqlite::Statement& q) {
  return {q.integer(0), q.integer(1), text(q, 2), {},           text(q, 3),  q.integer(4),
          text(q, 5),   text(q, 6),   text(q, 7), q.integer(8), q.integer(9)};
}

#define MAILHAUL_CHANNEL                                                                                           \
  "SELECT id, owner, name, kind, url, sender, recipient, ca, topics, everyone, allow_plaintext, secret, created, " \
  "updated, version, told, error FROM channel "

Done reseal_column(sqlite::Database& db, const char* read, const char* write,
                   const std::function<Result<std::string>(Id, const std::string&)>& again) {
  std::vector<std::pair<Id, std::string>> all;
  {
    auto q = db.use(read);
    for (;;) {
      auto row = q->step();
      if (!row) return row.error();
      if (!*row) break;
      all.emplace_back(q->integer(0), octets(*q, 1));
    }
  }
  for (const auto& [id, sealed] : all) {
    auto anew = again(id, sealed);
    if (!anew) return anew.error();
    auto q = db.use(write);
    bind_all(*q, id, std::string_view(*anew));
    if (auto kept = q->run(); !kept) return kept;
  }
  return done();
}

}  // namespace

Result<bool> rows::queue_notice(sqlite::Database& db, const NoticeRow& notice, Id owner) {
  auto q = db.use(
      "INSERT INTO notice (channel, key, type, at, title, text, data) SELECT channel.id, ?1, ?2, ?3, ?4, ?5, ?6 FROM "
      "channel JOIN user ON user.id = channel.owner WHERE CASE WHEN ?7 = 0 THEN user.role = ?9 ELSE channel.owner = ?7 "
      "OR (channel.everyone AND user.role = ?9) END AND instr(' ' || channel.topics || ' ', ' ' || ?8 || ' ') > 0");
  bind_all(*q, std::string_view(notice.key), std::string_view(notice.type), notice.at, std::string_view(notice.title),
           std::string_view(notice.text), std::string_view(notice.data), owner, std::string_view(notice.topic),
           static_cast<std::int64_t>(Role::Owner));
  if (auto queued = q->run(); !queued) return queued.error();
  return db.changes() > 0;
}

Result<std::vector<ChannelRow>> Registry::channels(const Page& page) {
  return locked([&](sqlite::Database& db) {
    auto q = db.use(MAILHAUL_CHANNEL "WHERE id > ?1 AND (?2 = 0 OR owner = ?2) ORDER BY id LIMIT ?3");
    bind_all(*q, page.after, page.owner, page.limit);
    return rows::all(*q, read_channel);
  });
}

Result<std::optional<ChannelRow>> Registry::channel(Id id) {
  return locked([&](sqlite::Database& db) {
    auto q = db.use(MAILHAUL_CHANNEL "WHERE id = ?1");
    bind_all(*q, id);
    return rows::first(*q, read_channel);
  });
}

Result<Id> Registry::add(const ChannelRow& row, const Seal& seal) {
  return whole([&](sqlite::Database& db) -> Result<Id> {
    Id id = 0;
    {
      auto q = db.use(
          "INSERT INTO channel (owner, name, kind, url, sender, recipient, ca, topics, everyone, allow_plaintext, "
          "secret, created, updated, version) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, X'', ?11, ?12, 1)");
      bind_all(*q, row.owner, std::string_view(row.name), std::int64_t{row.kind}, std::string_view(row.url),
               std::string_view(row.sender), std::string_view(row.recipient), std::string_view(row.ca),
               std::string_view(row.topics), row.everyone, row.allow_plaintext, row.created, row.updated);
      if (auto added = q->run(); !added) return added.error();
      id = db.last_id();
    }
    auto sealed = seal(id);
    if (!sealed) return sealed.error();
    auto q = db.use("UPDATE channel SET secret = CAST(?2 AS BLOB) WHERE id = ?1");
    bind_all(*q, id, std::string_view(*sealed));
    if (auto kept = q->run(); !kept) return kept.error();
    return id;
  });
}

Done Registry::update(const ChannelRow& row) {
  return locked([&](sqlite::Database& db) {
    auto q = db.use(
        "UPDATE channel SET name = ?2, url = ?3, sender = ?4, recipient = ?5, ca = ?6, topics = ?7, everyone = ?8, "
        "allow_plaintext = ?9, secret = CAST(?10 AS BLOB), updated = ?11, version = version + 1 WHERE id = ?1");
    bind_all(*q, row.id, std::string_view(row.name), std::string_view(row.url), std::string_view(row.sender),
             std::string_view(row.recipient), std::string_view(row.ca), std::string_view(row.topics), row.everyone,
             row.allow_plaintext, std::string_view(row.secret), row.updated);
    return q->run();
  });
}

Done Registry::remove_channel(Id id) {
  return locked([&](sqlite::Database& db) {
    auto q = db.use("DELETE FROM channel WHERE id = ?1");
    bind_all(*q, id);
    return q->run();
  });
}

Result<bool> Registry::tell_owners(const NoticeRow& notice, std::string_view setting, std::string_view value) {
  return whole([&](sqlite::Database& db) -> Result<bool> {
    {
      auto q = db.use("INSERT INTO setting VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = excluded.value");
      bind_all(*q, setting, value);
      if (auto set = q->run(); !set) return set.error();
    }
    return rows::queue_notice(db, notice, 0);
  });
}

Result<std::optional<NoticeRow>> Registry::due_notice(std::int64_t now) {
  return locked([&](sqlite::Database& db) {
    auto q = db.use(
        "SELECT id, channel, key, type, at, title, text, data, attempts, next_try FROM notice WHERE next_try <= ?1 AND "
        "id IN (SELECT min(id) FROM notice GROUP BY channel) ORDER BY next_try, id LIMIT 1");
    bind_all(*q, now);
    return rows::first(*q, read_notice);
  });
}

Result<std::optional<std::int64_t>> Registry::next_notice() {
  return locked([](sqlite::Database& db) -> Result<std::optional<std::int64_t>> {
    auto q = db.use(
        "SELECT next_try FROM notice WHERE id IN (SELECT min(id) FROM notice GROUP BY channel) ORDER BY next_try LIMIT "
        "1");
    auto row = q->step();
    if (!row) return row.error();
    return *row ? std::optional(q->integer(0)) : std::nullopt;
  });
}

Done Registry::settle_told(const NoticeRow& notice, std::int64_t now) {
  return whole([&](sqlite::Database& db) -> Done {
    {
      auto q = db.use("DELETE FROM notice WHERE id = ?1");
      bind_all(*q, notice.id);
      if (auto removed = q->run(); !removed) return removed;
    }
    auto q = db.use("UPDATE channel SET told = ?2, error = '' WHERE id = ?1");
    bind_all(*q, notice.channel, now);
    return q->run();
  });
}

Done Registry::settle_untold(const NoticeRow& notice, std::int64_t next_try, std::string_view error) {
  return whole([&](sqlite::Database& db) -> Done {
    {
      auto q = db.use("UPDATE notice SET attempts = attempts + 1, next_try = ?2 WHERE id = ?1");
      bind_all(*q, notice.id, next_try);
      if (auto settled = q->run(); !settled) return settled;
    }
    if (next_try == 0) {
      auto q = db.use("DELETE FROM notice WHERE id = ?1");
      bind_all(*q, notice.id);
      if (auto removed = q->run(); !removed) return removed;
    }
    auto q = db.use("UPDATE channel SET error = ?2 WHERE id = ?1");
    bind_all(*q, notice.channel, error);
    return q->run();
  });
}

Done Registry::reseal(const std::function<Result<std::string>(Sealed, Id, const std::string&)>& again) {
  return whole([&](sqlite::Database& db) -> Done {
    auto passwords =
        reseal_column(db, "SELECT id, password FROM account WHERE length(password) > 0",
                      "UPDATE account SET password = CAST(?2 AS BLOB) WHERE id = ?1",
                      [&](Id id, const std::string& sealed) { return again(Sealed::Password, id, sealed); });
    if (!passwords) return passwords;
    return reseal_column(db, "SELECT id, secret FROM channel WHERE length(secret) > 0",
                         "UPDATE channel SET secret = CAST(?2 AS BLOB) WHERE id = ?1",
                         [&](Id id, const std::string& sealed) { return again(Sealed::ChannelSecret, id, sealed); });
  });
}

}  // namespace mailhaul::registry
