#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <system_error>

#include "store/ledger_impl.h"

namespace mailhaul::store {
namespace {

constexpr char kMemory[] = ":memory:";
constexpr std::int64_t kApplicationId = 0x4D48554C;  // "MHUL", as migration 1 writes it
constexpr char kDamaged[] =
    "Move the file away, together with those of the same name that end in -wal and -shm, and run it again: the state "
    "is rebuilt from the names in the Maildir, and mail that is there is not downloaded again.";

Error cannot(const std::string& what, int number) {
  const bool full = number == ENOSPC || number == EDQUOT;
  std::string advice = "The state file and its directory must be writable by the user who runs this program.";
  if (number == ENOENT || number == ENOTDIR) advice = "Create the directory first, or name another --state file.";
  if (number == ENOLCK || number == EOPNOTSUPP || number == ENOSYS)
    advice = "This file system has no locks: name a --state file on a local disk.";
  if (full) advice = "Free some space and run it again.";
  return {Scope::Service, Retry::AfterUserAction, what + ": " + std::generic_category().message(number), advice};
}

// The one name of a file that may be reached by several, so that they share a lock.
std::string canonical(const std::string& path) {
  std::error_code error;
  const auto resolved = std::filesystem::weakly_canonical(std::filesystem::absolute(path, error), error);
  return error ? path : resolved.string();
}

Done sync_directory_of(const std::string& path) {
  const auto parent = std::filesystem::path(path).parent_path().string();
  const int directory = ::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool synced = directory >= 0 && ::fsync(directory) == 0;
  const int number = errno;
  if (directory >= 0) ::close(directory);
  if (!synced) return cannot("sync " + parent, number);
  return done();
}

// SQLite gives its -wal and -shm the mode of the database, so the database has to be made with the right one.
Done create_private(const std::string& path) {
  const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0) return cannot("state " + path, errno);
  ::close(file);
  return sync_directory_of(path);
}

Done prepare_file(const std::string& path) {
  auto kind = sqlite::kind_of_file(path);
  if (!kind) return kind.error().in("state");
  switch (*kind) {
    case sqlite::FileKind::Fresh:
      return create_private(path);
    case sqlite::FileKind::Database:
      return done();
    case sqlite::FileKind::Damaged:
      return Error{Scope::Service, Retry::AfterUserAction,
                   "state " + path + ": the file is damaged: its end is missing", kDamaged};
    case sqlite::FileKind::Foreign:
      break;
  }
  return Error{Scope::Service, Retry::AfterUserAction, "state " + path + ": not a mailhaul state, or a damaged one",
               kDamaged};
}

Done upgrade(sqlite::Database& db, const std::string& path, std::span<const migrations::Migration> migrations) {
  auto version = db.schema_version();
  if (!version) return version.error();
  const int known = migrations.empty() ? 0 : migrations.back().number;
  if (*version > known)
    return Error{Scope::Service, Retry::AfterUserAction,
                 "state " + path + ": written by a newer mailhaul: its schema is version " + std::to_string(*version) +
                     ", this program knows versions up to " + std::to_string(known),
                 "Use the newer mailhaul, or name another --state file."};
  for (const auto& migration : migrations) {
    if (migration.number <= *version) continue;
    if (auto ok = db.migrate(migration.number, migration.sql); !ok)
      return ok.error().in("state: migration " + std::string(migration.name));
  }
  return done();
}

}  // namespace

StateLock::~StateLock() {
  if (file_ >= 0) ::close(file_);
}

Done StateLock::take(const std::string& state_path) {
  const std::string path = state_path + ".lock";
  file_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (file_ < 0) return cannot("state lock " + path, errno);
  while (::flock(file_, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EINTR) continue;
    if (errno == EWOULDBLOCK)
      return Error{Scope::Service, Retry::AfterUserAction, "another mailhaul is using the state " + state_path,
                   "Wait until it has ended, or stop it."};
    return cannot("state lock " + path, errno);
  }
  return done();
}

Result<std::unique_ptr<Ledger>> Ledger::open(const std::string& path) { return open(path, LedgerOptions{}); }

Result<std::unique_ptr<Ledger>> Ledger::open(const std::string& path, const LedgerOptions& options) {
  auto impl = std::make_unique<Impl>();
  const bool memory = path == kMemory;
  const std::string name = memory ? path : canonical(path);
  if (!memory) {
    if (auto ok = impl->lock.take(name); !ok) return ok.error();
    if (auto ok = prepare_file(name); !ok) return ok.error();
  }
  sqlite::Database::Options how;
  how.cache_kib = 384;  // rows are written in order and read in stretches: more is not faster
  how.exclusive = options.exclusive || (!memory && sqlite::on_network(name));
  how.max_pages = options.max_pages;
  how.application_id = kApplicationId;
  how.advice_if_damaged = kDamaged;
  auto writer = sqlite::Database::open(name, how);
  if (!writer) return writer.error().in("state");
  if (auto ok = upgrade(**writer, name, options.migrations); !ok) return ok.error();
  impl->writer = std::move(*writer);
  if (!memory && impl->writer->shareable()) {
    how.cache_kib = 256;
    how.max_pages = 0;
    auto reader = sqlite::Database::open(name, how);
    if (!reader) return reader.error().in("state");
    impl->reader = std::move(*reader);
  }
  return std::unique_ptr<Ledger>(new Ledger(std::move(impl)));
}

Result<std::unique_ptr<Ledger>> Ledger::look(const std::string& path) {
  const auto name = canonical(path);
  auto kind = sqlite::kind_of_file(name);
  if (!kind) return kind.error().in("state");
  const Error unreadable{Scope::Service, Retry::Later, "the state " + path + " cannot be looked at now", ""};
  if (*kind != sqlite::FileKind::Database || sqlite::on_network(name)) return unreadable;
  sqlite::Database::Options how;
  how.cache_kib = 512;
  how.application_id = kApplicationId;
  how.advice_if_damaged = kDamaged;
  auto db = sqlite::Database::open(name, how);
  if (!db) return db.error().in("state");
  auto version = (*db)->schema_version();
  if (!version) return version.error();
  if (*version != migrations::all().back().number) return unreadable;
  if (auto only = (*db)->execute("PRAGMA query_only=ON"); !only) return only.error();
  auto impl = std::make_unique<Impl>();
  impl->writer = *std::move(db);
  return std::unique_ptr<Ledger>(new Ledger(std::move(impl)));
}

Ledger::Ledger(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Ledger::~Ledger() = default;

}  // namespace mailhaul::store
