// Private to the registry: rows to and from statements.
#pragma once
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "store/registry/registry.h"

namespace mailhaul::registry::rows {

template <class... Values>
void bind_all(sqlite::Statement& statement, const Values&... values) {
  int parameter = 0;
  (statement.bind(++parameter, values), ...);
}

inline std::string text(const sqlite::Statement& q, int column) { return std::string(q.text(column)); }

template <class Row>
Result<std::vector<Row>> all(sqlite::Statement& q, Row (*read)(const sqlite::Statement&)) {
  std::vector<Row> out;
  for (;;) {
    auto row = q.step();
    if (!row) return row.error();
    if (!*row) return out;
    out.push_back(read(q));
  }
}

template <class Row>
Result<std::optional<Row>> first(sqlite::Statement& q, Row (*read)(const sqlite::Statement&)) {
  auto row = q.step();
  if (!row) return row.error();
  if (!*row) return std::optional<Row>{};
  return std::optional<Row>(read(q));
}

// A name or a pair that must be unique is taken.
inline Done unless_taken(Done result, const char* taken) {
  if (result || result.error().what.find("UNIQUE") == std::string::npos) return result;
  return Error{Scope::Service, Retry::AfterUserAction, taken, ""};
}

// A row for each channel that wants it: of `owner` and of those that hear of everybody's jobs; owner 0: of all owners
// by role. False: there is none.
Result<bool> queue_notice(sqlite::Database& db, const NoticeRow& notice, Id owner);

}  // namespace mailhaul::registry::rows

namespace mailhaul::registry {

template <class F>
auto Registry::locked(F&& f) -> decltype(f(std::declval<sqlite::Database&>())) {
  const std::lock_guard hold(mutex_);
  return f(*db_);
}

template <class F>
auto Registry::whole(F&& f) -> decltype(f(std::declval<sqlite::Database&>())) {
  const std::lock_guard hold(mutex_);
  if (auto begun = db_->execute("BEGIN IMMEDIATE"); !begun) return begun.error();
  auto outcome = f(*db_);
  if (outcome)
    if (auto committed = db_->execute("COMMIT"); !committed) outcome = committed.error();
  if (!outcome && db_->in_transaction()) (void)db_->execute("ROLLBACK");
  return outcome;
}

}  // namespace mailhaul::registry
