#include "store/sqlite/database.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <system_error>

#include "protocols/base/types.h"

namespace mailhaul::sqlite {
namespace {

constexpr char kMustBeWritable[] = "The file and its directory must be writable by the user who runs this program.";

std::string errno_text(int number) { return std::generic_category().message(number); }

Error made(Retry retry, std::string what, std::string advice = {}) {
  return {Scope::Service, retry, std::move(what), std::move(advice)};
}

// Counting every allocation under a mutex costs a tenth of the speed and tells us nothing.
void configure_once() {
  static std::once_flag once;
  std::call_once(once, [] { sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0); });
}

}  // namespace

Core::~Core() { sqlite3_close_v2(handle); }

Error Core::error(int code) {
  const int extended = handle && code != SQLITE_MISUSE ? sqlite3_extended_errcode(handle) : code;
  const int number = handle ? sqlite3_system_errno(handle) : 0;
  // Any prepared statement may be asked for its error after another call has succeeded: then the code speaks.
  const int exact = (extended & 0xff) == (code & 0xff) ? extended : code;
  const std::string text = printable(handle ? sqlite3_errmsg(handle) : sqlite3_errstr(code));
  switch (code & 0xff) {
    case SQLITE_FULL:
      break;
    case SQLITE_IOERR:
      lost_write = lost_write || exact == SQLITE_IOERR_FSYNC || exact == SQLITE_IOERR_DIR_FSYNC;
      if (number == ENOSPC || number == EDQUOT || exact == SQLITE_IOERR_SHMSIZE) break;
      return made(Retry::Later, path + ": " + text + (number ? " (" + errno_text(number) + ")" : ""),
                  "Look at the disk's health and at the system log.");
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return made(Retry::AfterUserAction, path + ": the file is damaged: " + text, advice_if_damaged);
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
    case SQLITE_CANTOPEN:
      return made(Retry::AfterUserAction, path + ": cannot be written: " + text, kMustBeWritable);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
      return made(Retry::Later, path + ": locked by another program: " + text);
    case SQLITE_NOMEM:
      return made(Retry::Later, path + ": " + text);
    default:
      return made(Retry::Never, path + ": " + text);
  }
  return made(Retry::AfterUserAction, path + ": the disk is full" + (number ? " (" + errno_text(number) + ")" : ""),
              "Free some space and run it again; nothing that was confirmed is lost.");
}

Result<std::unique_ptr<Database>> Database::open(const std::string& path, const Options& options) {
  configure_once();
  std::unique_ptr<Database> database(new Database);
  Core& core = database->core_;
  core.path = path;
  core.advice_if_damaged = options.advice_if_damaged;
  int code = sqlite3_open_v2(path.c_str(), &core.handle,
                             SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, nullptr);
  if (code != SQLITE_OK) return core.error(code);
  sqlite3_busy_timeout(core.handle, 5000);
  // SQLite falls back to reading only when it may not write; finding that out at the first commit is too late.
  if (sqlite3_db_readonly(core.handle, "main") == 1) return core.error(SQLITE_READONLY);

  // Nothing up to the check of the owner touches the file. Exclusive has to be said before the journal mode: the index
  // of the WAL then lives in this process's memory, not in a shared file.
  std::string first = "PRAGMA trusted_schema=OFF;PRAGMA foreign_keys=ON;PRAGMA mmap_size=0;PRAGMA temp_store=FILE;";
  first += "PRAGMA cache_size=-" + std::to_string(options.cache_kib) + ";";
  if (options.exclusive) first += "PRAGMA locking_mode=EXCLUSIVE;";
  if (auto ok = database->execute(first.c_str()); !ok) return ok.error();
  if (auto ok = database->check_owner(options.application_id); !ok) return ok.error();
  std::string second = "PRAGMA journal_mode=WAL;PRAGMA synchronous=FULL;";
  second += "PRAGMA wal_autocheckpoint=" + std::to_string(options.wal_pages) + ";";
  second += "PRAGMA journal_size_limit=" + std::to_string(options.wal_limit) + ";";
  if (options.max_pages > 0) second += "PRAGMA max_page_count=" + std::to_string(options.max_pages) + ";";
  if (auto ok = database->execute(second.c_str()); !ok) return ok.error();
  Statement mode(core, "PRAGMA journal_mode");
  auto row = mode.step();
  if (!row) return row.error();
  database->shareable_ = *row && mode.text(0) == "wal" && !options.exclusive;
  return database;
}

Database::~Database() = default;

Done Database::check_owner(std::int64_t application_id) {
  if (application_id == 0) return done();
  auto id = query_integer("PRAGMA application_id");
  if (!id) return id.error();
  if (*id == application_id) return done();
  auto tables = query_integer("SELECT count(*) FROM sqlite_schema");
  if (!tables) return tables.error();
  if (*id == 0 && *tables == 0) return done();
  return made(Retry::AfterUserAction, core_.path + ": a SQLite database of another program", "Name another file.");
}

Done Database::execute(const char* sql) {
  const int code = sqlite3_exec(core_.handle, sql, nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return core_.error(code);
  return done();
}

Use Database::use(const char* sql) {
  auto found = statements_.try_emplace(sql, core_, sql).first;
  if (!found->second.prepared()) {  // it may have failed for a reason that has passed
    statements_.erase(found);
    found = statements_.try_emplace(sql, core_, sql).first;
  }
  return Use(found->second);
}

Result<std::int64_t> Database::query_integer(const char* sql) {
  Statement statement(core_, sql);
  auto row = statement.step();
  if (!row) return row.error();
  return *row ? statement.integer(0) : 0;
}

std::int64_t Database::changes() const { return sqlite3_changes64(core_.handle); }
std::int64_t Database::last_id() const { return sqlite3_last_insert_rowid(core_.handle); }
bool Database::in_transaction() const { return sqlite3_get_autocommit(core_.handle) == 0; }

Done Database::examine() {
  Statement structure(core_, "PRAGMA quick_check(1)");
  auto row = structure.step();
  if (!row) return row.error();
  if (*row && structure.text(0) != "ok")
    return made(Retry::AfterUserAction, core_.path + ": the file is damaged: " + printable(structure.text(0)),
                core_.advice_if_damaged);
  structure.reset();
  Statement references(core_, "PRAGMA foreign_key_check");
  row = references.step();
  if (!row) return row.error();
  if (*row)
    return made(Retry::AfterUserAction,
                core_.path + ": the file is damaged: a row of " + printable(references.text(0)) +
                    " refers to a row that is not there",
                core_.advice_if_damaged);
  return done();
}

Result<int> Database::schema_version() {
  auto version = query_integer("PRAGMA user_version");
  if (!version) return version.error();
  return static_cast<int>(*version);
}

Done Database::migrate(int version, const char* sql) {
  const std::string all =
      "BEGIN IMMEDIATE;\n" + std::string(sql) + "\n;PRAGMA user_version=" + std::to_string(version) + ";COMMIT;";
  if (auto ok = execute(all.c_str()); !ok) {
    Error error = ok.error();
    if (in_transaction()) (void)execute("ROLLBACK");  // the first error is the one to tell
    return error;
  }
  return done();
}

Result<FileKind> kind_of_file(const std::string& path) {
  struct stat status {};
  const bool logged = ::stat((path + "-wal").c_str(), &status) == 0 && status.st_size > 0;
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0) {
    if (errno == ENOENT) return logged ? FileKind::Damaged : FileKind::Fresh;
    return made(Retry::AfterUserAction, path + ": cannot be read: " + errno_text(errno), kMustBeWritable);
  }
  std::array<char, 100> header{};  // https://www.sqlite.org/fileformat.html section 1.3
  const bool regular = ::fstat(file, &status) == 0 && S_ISREG(status.st_mode);
  const ssize_t got = regular ? ::pread(file, header.data(), header.size(), 0) : -1;
  ::close(file);
  if (!regular) return made(Retry::AfterUserAction, path + ": not a regular file", "Name another file.");
  if (status.st_size == 0) return logged ? FileKind::Damaged : FileKind::Fresh;
  static constexpr char kMagic[] = "SQLite format 3";  // the closing NUL is part of it
  const auto known = std::min(sizeof kMagic, static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
  if (std::memcmp(header.data(), kMagic, known) != 0) return FileKind::Foreign;
  if (got < static_cast<ssize_t>(header.size())) return FileKind::Damaged;
  const auto byte = [&](std::size_t i) { return static_cast<unsigned>(static_cast<unsigned char>(header[i])); };
  const unsigned page = byte(16) << 8 | byte(17);  // 1 stands for 65536
  // With a log, the end may still be on its way from there into the file.
  if (!logged && page > 1 && status.st_size % page != 0) return FileKind::Damaged;
  return FileKind::Database;
}

bool on_network(const std::string& path) {
  static constexpr std::array<std::uint32_t, 9> kTypes{0x6969,       // NFS
                                                       0x517B,       // SMB
                                                       0xFF534D42,   // CIFS
                                                       0xFE534D42,   // SMB2
                                                       0x01021997,   // 9P
                                                       0x5346414F,   // AFS
                                                       0x00C36400,   // Ceph
                                                       0x564C,       // NCP
                                                       0x65735546};  // FUSE: sshfs and the like
  struct statfs status {};
  const auto parent = std::filesystem::path(path).parent_path().string();
  if (::statfs(parent.empty() ? "." : parent.c_str(), &status) != 0) return false;
  return std::find(kTypes.begin(), kTypes.end(), static_cast<std::uint32_t>(status.f_type)) != kTypes.end();
}

}  // namespace mailhaul::sqlite
