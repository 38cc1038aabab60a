#include "store/card_ledger.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "migrations/migrations.h"
#include "store/sqlite/database.h"

namespace mailhaul::store {
namespace {

constexpr std::int64_t kApplicationId = 0x4D484344;  // "MHCD", as migration 1 writes it
constexpr char kDamaged[] = "Remove it: the next run recognises the cards that are in place.";

#define CARD_COLUMNS                                                                                  \
  "path, url, state, wanted, etag, listed_octets, octets, sha256, file, reason, attempts, next_try, " \
  "missing_since, removed, kept_both, next_etag, next_sha256, next_file, next_octets"

std::optional<mail::Sha256Digest> digest_of(const sqlite::Statement& q, int column) {
  const auto blob = q.blob(column);
  mail::Sha256Digest out{};
  if (blob.size() != out.size()) return std::nullopt;
  std::ranges::copy(blob, out.begin());
  return out;
}

void bind_digest(sqlite::Statement& q, int parameter, const std::optional<mail::Sha256Digest>& digest) {
  if (digest)
    q.bind_blob(parameter, *digest);
  else
    q.bind_null(parameter);
}

CardRow row_of(const sqlite::Statement& q) {
  CardRow row;
  row.path = q.text(0);
  row.url = q.text(1);
  row.state = q.as<CardState>(2);
  row.wanted = q.text(3);
  row.etag = q.text(4);
  if (!q.is_null(5)) row.listed_octets = q.as<std::uint64_t>(5);
  row.octets = q.as<std::uint64_t>(6);
  row.sha256 = digest_of(q, 7);
  row.file = q.text(8);
  row.reason = q.text(9);
  row.attempts = q.as<std::uint32_t>(10);
  row.next_try = q.integer(11);
  row.missing_since = q.integer(12);
  row.removed = q.integer(13) != 0;
  row.kept_both = q.integer(14) != 0;
  row.next_etag = q.text(15);
  row.next_sha256 = digest_of(q, 16);
  row.next_file = q.text(17);
  row.next_octets = q.as<std::uint64_t>(18);
  return row;
}

BookRow book_of(const sqlite::Statement& q) {
  BookRow row;
  row.id = q.integer(0);
  row.path = q.text(1);
  row.directory = q.text(2);
  row.name = q.text(3);
  row.color = q.text(4);
  row.version = q.text(5);
  row.sync_token = q.text(6);
  row.hold = q.text(7);
  return row;
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

template <class Row>
Result<std::vector<Row>> all_of(sqlite::Statement& q, Row (*read)(const sqlite::Statement&)) {
  std::vector<Row> out;
  for (;;) {
    auto found = q.step();
    if (!found) return found.error();
    if (!*found) return out;
    out.push_back(read(q));
  }
}

}  // namespace

std::string_view to_text(CardState state) {
  switch (state) {
    case CardState::Listed:
      return "listed";
    case CardState::Delivered:
      return "delivered";
    case CardState::Failed:
      return "failed";
    case CardState::Gone:
      return "gone";
    case CardState::Vanished:
      return "vanished";
  }
  return "?";
}

CardLedger::CardLedger(std::unique_ptr<sqlite::Database> database) : db_(std::move(database)) {}
CardLedger::~CardLedger() = default;

Result<std::unique_ptr<CardLedger>> CardLedger::open(const std::string& path) {
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
  const auto all = migrations::cards();
  if (*version > all.back().number)
    return Error{Scope::Service, Retry::AfterUserAction, path + ": written by a newer mailhaul",
                 "Use the newer mailhaul."};
  for (const auto& migration : all)
    if (migration.number > *version)
      if (auto ok = (*db)->migrate(migration.number, migration.sql); !ok) return ok.error();
  return std::unique_ptr<CardLedger>(new CardLedger(*std::move(db)));
}

Result<CardAccount> CardLedger::account(std::string_view identity) {
  {
    auto insert = db_->use("INSERT OR IGNORE INTO account (identity) VALUES (?1)");
    insert->bind(1, identity);
    if (auto r = insert->run(); !r) return r.error();
  }
  auto q = db_->use("SELECT id, identity, home FROM account WHERE identity = ?1");
  q->bind(1, identity);
  if (auto found = q->step(); !found) return found.error();
  return CardAccount{q->integer(0), std::string(q->text(1)), std::string(q->text(2))};
}

Result<std::vector<CardAccount>> CardLedger::accounts() {
  auto q = db_->use("SELECT id, identity, home FROM account ORDER BY identity");
  return all_of<CardAccount>(*q, [](const sqlite::Statement& row) {
    return CardAccount{row.integer(0), std::string(row.text(1)), std::string(row.text(2))};
  });
}

Done CardLedger::set_home(std::int64_t account, std::string_view home) {
  auto q = db_->use("UPDATE account SET home = ?2 WHERE id = ?1 AND home <> ?2");
  q->bind(1, account);
  q->bind(2, home);
  return q->run();
}

Result<std::vector<BookRow>> CardLedger::books(std::int64_t account) {
  auto q = db_->use(
      "SELECT id, path, directory, name, color, version, sync_token, hold FROM book WHERE account = ?1 ORDER BY path");
  q->bind(1, account);
  return all_of<BookRow>(*q, book_of);
}

Result<BookRow> CardLedger::book(std::int64_t account, std::string_view path, std::string_view directory) {
  {
    auto insert = db_->use("INSERT OR IGNORE INTO book (account, path, directory) VALUES (?1, ?2, ?3)");
    insert->bind(1, account);
    insert->bind(2, path);
    insert->bind(3, directory);
    if (auto r = insert->run(); !r) return r.error();
  }
  auto q = db_->use(
      "SELECT id, path, directory, name, color, version, sync_token, hold FROM book WHERE account = ?1 AND path = ?2");
  q->bind(1, account);
  q->bind(2, path);
  if (auto found = q->step(); !found) return found.error();
  return book_of(*q);
}

Result<std::vector<CardRow>> CardLedger::cards(std::int64_t book) {
  auto q = db_->use("SELECT " CARD_COLUMNS " FROM card WHERE book = ?1 ORDER BY path");
  q->bind(1, book);
  return all_of<CardRow>(*q, row_of);
}

Done CardLedger::put(std::int64_t book, std::span<const CardRow> rows) {
  if (rows.empty()) return done();
  const auto write = [&]() -> Done {
    for (const auto& row : rows) {
      auto q = db_->use("INSERT OR REPLACE INTO card (book, " CARD_COLUMNS
                        ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, "
                        "?19, ?20)");
      q->bind(1, book);
      q->bind(2, std::string_view(row.path));
      q->bind(3, std::string_view(row.url));
      q->bind(4, row.state);
      q->bind(5, std::string_view(row.wanted));
      q->bind(6, std::string_view(row.etag));
      q->bind(7, row.listed_octets);
      q->bind(8, row.octets);
      bind_digest(*q, 9, row.sha256);
      q->bind(10, std::string_view(row.file));
      q->bind(11, std::string_view(row.reason));
      q->bind(12, row.attempts);
      q->bind(13, row.next_try);
      q->bind(14, row.missing_since);
      q->bind(15, row.removed);
      q->bind(16, row.kept_both);
      q->bind(17, std::string_view(row.next_etag));
      bind_digest(*q, 18, row.next_sha256);
      q->bind(19, std::string_view(row.next_file));
      q->bind(20, row.next_octets);
      if (auto r = q->run(); !r) return r;
    }
    return done();
  };
  if (auto begun = db_->execute("BEGIN IMMEDIATE"); !begun) return begun;
  Done written = write();
  if (written) written = db_->execute("COMMIT");
  if (!written && db_->in_transaction()) (void)db_->execute("ROLLBACK");
  return written;
}

Done CardLedger::put(const BookRow& book) {
  auto q = db_->use("UPDATE book SET name = ?2, color = ?3, version = ?4, sync_token = ?5, hold = ?6 WHERE id = ?1");
  q->bind(1, book.id);
  q->bind(2, std::string_view(book.name));
  q->bind(3, std::string_view(book.color));
  q->bind(4, std::string_view(book.version));
  q->bind(5, std::string_view(book.sync_token));
  q->bind(6, std::string_view(book.hold));
  return q->run();
}

}  // namespace mailhaul::store
