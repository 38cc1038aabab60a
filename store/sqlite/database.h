// SQLite as values: a connection, prepared statements, errors as Result. The only room that knows sqlite3.h; knows no
// table. A connection and its statements belong to one thread at a time (the caller serialises).
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>

#include "protocols/base/result.h"

struct sqlite3;
struct sqlite3_stmt;

namespace mailhaul::sqlite {

// What every error of one connection needs to speak clearly. Errors have Scope::Service and name the file:
//   full disk or quota → AfterUserAction · damaged → AfterUserAction, with the advice given at open · not writable →
//   AfterUserAction · locked by another program, I/O error, out of memory → Later · anything else → Never.
struct Core {
  sqlite3* handle = nullptr;
  std::string path;
  std::string advice_if_damaged;
  bool lost_write = false;  // a sync failed: what reached the disk cannot be known

  Core() = default;
  Core(const Core&) = delete;
  Core& operator=(const Core&) = delete;
  ~Core();
  Error error(int code);
};

// A prepared statement. Parameters count from 1, columns from 0. Bound text and blobs are not copied: they must live
// until step() is done. An error of preparing or binding comes out of the next step().
class Statement {
 public:
  Statement(Core& core, const char* sql);
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;
  ~Statement();

  void bind_integer(int parameter, std::int64_t value);
  void bind_text(int parameter, std::string_view text);
  void bind_blob(int parameter, std::span<const std::uint8_t> octets);
  void bind_null(int parameter);

  template <class T>
  requires std::is_integral_v<T> || std::is_enum_v<T>
  void bind(int parameter, T value) { bind_integer(parameter, static_cast<std::int64_t>(value)); }
  void bind(int parameter, std::string_view text) { bind_text(parameter, text); }
  template <class T>
  void bind(int parameter, const std::optional<T>& value) {
    if (value)
      bind(parameter, *value);
    else
      bind_null(parameter);
  }

  [[nodiscard]] bool prepared() const { return statement_ != nullptr; }
  Result<bool> step();  // true: a row is there; false: done, and the statement is reset
  Done run();           // to the end, for statements without rows
  void rewind();        // ready for another step(), with the values bound before
  void reset();         // forgets the bound values too

  [[nodiscard]] bool is_null(int column) const;
  [[nodiscard]] std::int64_t integer(int column) const;
  [[nodiscard]] std::string_view text(int column) const;               // valid until the next step() or reset()
  [[nodiscard]] std::span<const std::uint8_t> blob(int column) const;  // likewise

  template <class T>
  [[nodiscard]] T as(int column) const {  // integers come back with the bits they were bound with
    return static_cast<T>(integer(column));
  }

 private:
  Core& core_;
  sqlite3_stmt* statement_ = nullptr;
  int failed_ = 0;  // the first result code that was not OK
};

// A cached statement for one use: resets it at the end of the scope, so that no lock and no pointer stays behind.
class Use {
 public:
  explicit Use(Statement& statement) : statement_(statement) {}
  Use(const Use&) = delete;
  Use& operator=(const Use&) = delete;
  ~Use() { statement_.reset(); }
  Statement* operator->() { return &statement_; }
  Statement& operator*() { return statement_; }

 private:
  Statement& statement_;
};

class Database {
 public:
  struct Options {
    int cache_kib = 1024;
    int wal_pages = 1000;              // checkpoint once the WAL holds so many pages
    std::int64_t wal_limit = 8 << 20;  // octets of WAL kept after a checkpoint
    int max_pages = 0;                 // 0: no limit (tests provoke a full disk with it)
    std::int64_t application_id = 0;   // not 0: a file that has tables and another id is refused, untouched
    bool exclusive = false;            // no other connection, no shared memory: for network file systems
    std::string advice_if_damaged;
  };

  // Opens `path` (":memory:" too; the file must exist, maybe empty) for reading and writing: WAL, synchronous=FULL,
  // foreign keys on, five seconds of patience with other programs.
  static Result<std::unique_ptr<Database>> open(const std::string& path, const Options& options);
  ~Database();

  Done execute(const char* sql);  // one or more statements without parameters; rows are ignored
  // The statement of this literal, prepared at first use. `sql` is known by its address: pass constants only.
  Use use(const char* sql);
  Result<std::int64_t> query_integer(const char* sql);  // first column of the first row; no row: 0
  [[nodiscard]] std::int64_t changes() const;           // rows changed by the last statement
  [[nodiscard]] std::int64_t last_id() const;           // rowid of the last insert
  [[nodiscard]] bool in_transaction() const;            // SQLite ends one by itself after some errors
  [[nodiscard]] bool lost_write() const { return core_.lost_write; }
  // Other connections may read while this one writes (not in memory, not exclusive, not without a WAL).
  [[nodiscard]] bool shareable() const { return shareable_; }

  Done examine();  // the whole file's structure and foreign keys, page by page; slow

  Result<int> schema_version();
  // Runs one migration and sets the schema version, in one transaction.
  Done migrate(int version, const char* sql);

 private:
  Database() = default;
  Done check_owner(std::int64_t application_id);
  Core core_;
  std::unordered_map<const char*, Statement> statements_;
  bool shareable_ = false;
};

// Looks at a file without opening it as a database. Absent and empty files are Fresh; Damaged ones have lost their end
// (SQLite itself takes half a page for a whole one) or are empty beside a log that is not.
enum class FileKind { Fresh, Database, Damaged, Foreign };
Result<FileKind> kind_of_file(const std::string& path);
// Is the file's directory on a network (or FUSE) file system, where shared memory between processes cannot be had?
bool on_network(const std::string& path);

}  // namespace mailhaul::sqlite
