#include "store/copy_book.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "migrations/migrations.h"
#include "store/sqlite/database.h"

namespace mailhaul::store {
namespace {

constexpr std::int64_t kApplicationId = 0x4D484342;  // "MHCB", as migration 1 writes it
constexpr char kDamaged[] = "Remove it: the next run finds its copies again by what is in the mailboxes.";

#define COLUMNS "key, state, uid, uid_floor, meant_at, octets, seconds, sha256, message_id, header_digest"

template <std::size_t N>
std::array<std::uint8_t, N> octets_of(std::span<const std::uint8_t> blob) {
  std::array<std::uint8_t, N> out{};
  std::copy_n(blob.begin(), std::min(N, blob.size()), out.begin());
  return out;
}

CopyRow row_of(const sqlite::Statement& q) {
  CopyRow row;
  row.key = octets_of<16>(q.blob(0));
  row.state = q.as<CopyState>(1);
  row.uid = mail::Uid{q.as<std::uint32_t>(2)};
  row.floor = mail::Uid{q.as<std::uint32_t>(3)};
  row.meant_at = q.integer(4);
  row.octets = q.as<std::uint64_t>(5);
  row.seconds = q.integer(6);
  row.sha256 = octets_of<32>(q.blob(7));
  row.message_id = std::string(q.text(8));
  row.header_digest = octets_of<16>(q.blob(9));
  return row;
}

std::span<const std::uint8_t> blob(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

Done make_private(const std::string& path) {
  const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (file >= 0) {
    ::close(file);
    return done();
  }
  return Error{Scope::Service, Retry::AfterUserAction, path + ": " + std::generic_category().message(errno),
               "Its directory must be there and writable by the user who runs this program."};
}

}  // namespace

CopyBook::CopyBook(std::unique_ptr<sqlite::Database> database) : db_(std::move(database)) {}
CopyBook::~CopyBook() = default;

Result<std::unique_ptr<CopyBook>> CopyBook::open(const std::string& path) {
  sqlite::Database::Options how;
  how.application_id = kApplicationId;
  how.advice_if_damaged = kDamaged;
  if (path != ":memory:") {
    if (auto made = make_private(path); !made) return made.error();
    how.exclusive = sqlite::on_network(path);
  }
  auto db = sqlite::Database::open(path, how);
  if (!db) return db.error();
  auto version = (*db)->schema_version();
  if (!version) return version.error();
  const auto all = migrations::copies();
  if (*version > all.back().number)
    return Error{Scope::Service, Retry::AfterUserAction, path + ": written by a newer mailhaul",
                 "Use the newer mailhaul."};
  for (const auto& migration : all)
    if (migration.number > *version)
      if (auto ok = (*db)->migrate(migration.number, migration.sql); !ok) return ok.error();
  return std::unique_ptr<CopyBook>(new CopyBook(*std::move(db)));
}

Done CopyBook::in_transaction(const std::function<Done()>& work) {
  if (auto begun = db_->execute("BEGIN IMMEDIATE"); !begun) return begun;
  Done worked = work();
  if (worked) worked = db_->execute("COMMIT");
  if (!worked && db_->in_transaction()) (void)db_->execute("ROLLBACK");
  return worked;
}

Result<CopyBook::MailboxNumber> CopyBook::mailbox(std::string_view name) {
  const std::lock_guard lock(mutex_);
  {
    auto q = db_->use("SELECT id FROM mailbox WHERE name = ?1");
    q->bind_blob(1, blob(name));
    auto found = q->step();
    if (!found) return found.error();
    if (*found) return q->integer(0);
  }
  auto q = db_->use("INSERT INTO mailbox (name) VALUES (?1)");
  q->bind_blob(1, blob(name));
  if (auto r = q->run(); !r) return r.error();
  return db_->last_id();
}

Result<std::optional<mail::UidValidity>> CopyBook::validity(MailboxNumber mailbox) {
  const std::lock_guard lock(mutex_);
  auto q = db_->use("SELECT validity FROM mailbox WHERE id = ?1");
  q->bind(1, mailbox);
  auto found = q->step();
  if (!found) return found.error();
  if (!*found || q->is_null(0)) return std::optional<mail::UidValidity>();
  return std::optional(mail::UidValidity{q->as<decltype(mail::UidValidity::value)>(0)});
}

Done CopyBook::set_validity(MailboxNumber mailbox, mail::UidValidity validity) {
  const std::lock_guard lock(mutex_);
  return in_transaction([&]() -> Done {
    auto unnamed = db_->use("UPDATE copy SET state = 2, uid = 0, uid_floor = 1 WHERE mailbox = ?1 AND state = 1");
    unnamed->bind(1, mailbox);
    if (auto r = unnamed->run(); !r) return r;
    auto floors = db_->use("UPDATE copy SET uid_floor = 1 WHERE mailbox = ?1 AND state <> 1");
    floors->bind(1, mailbox);
    if (auto r = floors->run(); !r) return r;
    auto q = db_->use("UPDATE mailbox SET validity = ?2 WHERE id = ?1");
    q->bind(1, mailbox);
    q->bind(2, validity.value);
    return q->run();
  });
}

Result<std::vector<CopyRow>> CopyBook::find(MailboxNumber mailbox, std::span<const DeliveryKey> keys) {
  const std::lock_guard lock(mutex_);
  std::vector<CopyRow> out;
  for (const auto& key : keys) {
    auto q = db_->use("SELECT " COLUMNS " FROM copy WHERE mailbox = ?1 AND key = ?2");
    q->bind(1, mailbox);
    q->bind_blob(2, key);
    auto found = q->step();
    if (!found) return found.error();
    if (*found) out.push_back(row_of(*q));
  }
  return out;
}

Result<std::vector<CopyRow>> CopyBook::unsettled(MailboxNumber mailbox) {
  const std::lock_guard lock(mutex_);
  std::vector<CopyRow> out;
  auto q = db_->use("SELECT " COLUMNS
                    " FROM copy WHERE mailbox = ?1 AND state <> 1 ORDER BY uid_floor, meant_at, seconds, key");
  q->bind(1, mailbox);
  for (;;) {
    auto found = q->step();
    if (!found) return found.error();
    if (!*found) return out;
    out.push_back(row_of(*q));
  }
}

Result<bool> CopyBook::doubts(MailboxNumber mailbox) {
  const std::lock_guard lock(mutex_);
  auto q = db_->use("SELECT 1 FROM copy WHERE mailbox = ?1 AND state <> 1 AND state = 0 LIMIT 1");
  q->bind(1, mailbox);
  return q->step();
}

Result<mail::UidSet> CopyBook::known_uids(MailboxNumber mailbox) {
  const std::lock_guard lock(mutex_);
  mail::UidSet out;
  auto q = db_->use("SELECT uid FROM copy WHERE mailbox = ?1 AND uid > 0 ORDER BY uid");
  q->bind(1, mailbox);
  for (;;) {
    auto found = q->step();
    if (!found) return found.error();
    if (!*found) return out;
    out.add(mail::Uid{q->as<std::uint32_t>(0)});
  }
}

Done CopyBook::put(MailboxNumber mailbox, std::span<const CopyRow> rows) {
  if (rows.empty()) return done();
  const std::lock_guard lock(mutex_);
  return in_transaction([&]() -> Done {
    for (const auto& row : rows) {
      auto q = db_->use("INSERT OR REPLACE INTO copy (mailbox, " COLUMNS
                        ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)");
      q->bind(1, mailbox);
      q->bind_blob(2, row.key);
      q->bind(3, row.state);
      q->bind(4, row.uid.value);
      q->bind(5, row.floor.value);
      q->bind(6, row.meant_at);
      q->bind(7, row.octets);
      q->bind(8, row.seconds);
      q->bind_blob(9, row.sha256);
      q->bind(10, std::string_view(row.message_id));
      q->bind_blob(11, row.header_digest);
      if (auto r = q->run(); !r) return r;
    }
    return done();
  });
}

Done CopyBook::forget(MailboxNumber mailbox, std::span<const DeliveryKey> keys) {
  if (keys.empty()) return done();
  const std::lock_guard lock(mutex_);
  return in_transaction([&]() -> Done {
    for (const auto& key : keys) {
      auto q = db_->use("DELETE FROM copy WHERE mailbox = ?1 AND key = ?2");
      q->bind(1, mailbox);
      q->bind_blob(2, key);
      if (auto r = q->run(); !r) return r;
    }
    return done();
  });
}

Result<std::optional<std::string>> CopyBook::read_own(std::string_view name) {
  const std::lock_guard lock(mutex_);
  auto q = db_->use("SELECT content FROM own WHERE name = ?1");
  q->bind(1, name);
  auto found = q->step();
  if (!found) return found.error();
  if (!*found) return std::optional<std::string>();
  const auto content = q->blob(0);
  return std::optional(std::string(content.begin(), content.end()));
}

Done CopyBook::write_own(std::string_view name, std::string_view content) {
  const std::lock_guard lock(mutex_);
  auto q = db_->use("INSERT OR REPLACE INTO own (name, content) VALUES (?1, ?2)");
  q->bind(1, name);
  q->bind_blob(2, blob(content));
  return q->run();
}

#undef COLUMNS

}  // namespace mailhaul::store
