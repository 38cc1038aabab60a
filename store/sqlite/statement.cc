#include <sqlite3.h>

#include "store/sqlite/database.h"

namespace mailhaul::sqlite {

Statement::Statement(Core& core, const char* sql) : core_(core) {
  failed_ = sqlite3_prepare_v3(core_.handle, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement_, nullptr);
}

Statement::~Statement() { sqlite3_finalize(statement_); }

// A null statement (its preparing failed) makes every bind a misuse, so the first failure has to be kept.
void Statement::bind_integer(int parameter, std::int64_t value) {
  const int code = sqlite3_bind_int64(statement_, parameter, value);
  if (failed_ == SQLITE_OK) failed_ = code;
}

void Statement::bind_text(int parameter, std::string_view text) {
  // A null pointer would bind NULL, not the empty text.
  const char* data = text.data() ? text.data() : "";
  const int code = sqlite3_bind_text64(statement_, parameter, data, text.size(), SQLITE_STATIC, SQLITE_UTF8);
  if (failed_ == SQLITE_OK) failed_ = code;
}

void Statement::bind_blob(int parameter, std::span<const std::uint8_t> octets) {
  const void* data = octets.data() ? static_cast<const void*>(octets.data()) : "";
  const int code = sqlite3_bind_blob64(statement_, parameter, data, octets.size(), SQLITE_STATIC);
  if (failed_ == SQLITE_OK) failed_ = code;
}

void Statement::bind_null(int parameter) {
  const int code = sqlite3_bind_null(statement_, parameter);
  if (failed_ == SQLITE_OK) failed_ = code;
}

Result<bool> Statement::step() {
  if (failed_ != SQLITE_OK) return core_.error(failed_);
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) {
    sqlite3_reset(statement_);
    return false;
  }
  Error error = core_.error(code);
  sqlite3_reset(statement_);
  return error;
}

Done Statement::run() {
  for (;;) {
    auto row = step();
    if (!row) return row.error();
    if (!*row) return done();
  }
}

void Statement::rewind() { sqlite3_reset(statement_); }

void Statement::reset() {
  if (!statement_) return;
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
  failed_ = SQLITE_OK;
}

bool Statement::is_null(int column) const { return sqlite3_column_type(statement_, column) == SQLITE_NULL; }

std::int64_t Statement::integer(int column) const { return sqlite3_column_int64(statement_, column); }

std::string_view Statement::text(int column) const {
  const auto* data = sqlite3_column_text(statement_, column);
  if (!data) return {};
  return {reinterpret_cast<const char*>(data), static_cast<std::size_t>(sqlite3_column_bytes(statement_, column))};
}

std::span<const std::uint8_t> Statement::blob(int column) const {
  const auto* data = static_cast<const std::uint8_t*>(sqlite3_column_blob(statement_, column));
  if (!data) return {};
  return {data, static_cast<std::size_t>(sqlite3_column_bytes(statement_, column))};
}

}  // namespace mailhaul::sqlite
