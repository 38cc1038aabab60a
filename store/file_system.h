// The file system as a seam: the POSIX one, and in tests one that fails or dies at effect N and forgets what was not
// synced. Directory handles and relative names only, so that no name can leave its directory; no symbolic link is
// followed in the last component. Thread-safe as far as one handle is used by one thread at a time.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "protocols/base/result.h"

namespace mailhaul::store {

// An open file or directory; closing is the destructor's. An error of close() after a successful sync is no loss.
class Handle {
 public:
  virtual ~Handle() = default;
};
using HandlePtr = std::unique_ptr<Handle>;

// Makes everything written to one file system since it was opened durable, or says that it cannot be known.
class Barrier {
 public:
  virtual ~Barrier() = default;
  // syncfs(2) on a descriptor that was opened before the writes, so that any write-back failure since then is seen; an
  // error voids every file written meanwhile (fsync that failed once "succeeds" the second time).
  virtual Done sync() = 0;
};

enum class Kind { File, Directory, Other };
struct Entry {
  std::string_view name;  // valid during the visit
  Kind kind;
};
struct Stat {
  std::uint64_t size = 0;
  std::int64_t modified = 0;  // Unix seconds
  Kind kind = Kind::File;
};

// Errors: NoSpace (ENOSPC, EDQUOT) → Scope::Service, Retry::AfterUserAction, "disk full…" with advice; EACCES, EROFS →
// AfterUserAction; everything else Scope::Service, Retry::Later. Texts name path and errno.
class FileSystem {
 public:
  virtual ~FileSystem() = default;

  virtual Result<HandlePtr> open_directory(const std::string& path) = 0;
  virtual Result<HandlePtr> open_directory(Handle& parent, const std::string& name) = 0;
  // Creates one directory (0700); exists already: true is returned as *created == false. Does not sync the parent.
  virtual Done make_directory(Handle& parent, const std::string& name, bool* created = nullptr) = 0;
  virtual Done make_directories(const std::string& path) = 0;  // with parents, each made durable in its parent

  virtual Result<HandlePtr> create(Handle& directory, const std::string& name) = 0;  // O_CREAT|O_EXCL|O_WRONLY, 0600
  virtual Done write(Handle& file, std::string_view octets) = 0;                     // all of it; EINTR and short writes inside
  virtual Done set_modified(Handle& file, std::int64_t unix_seconds) = 0;
  virtual Done sync(Handle& file) = 0;            // fsync(2) of a file: data and mtime
  virtual Done sync_directory(Handle& directory) = 0;
  virtual Result<std::unique_ptr<Barrier>> open_barrier(Handle& directory) = 0;  // nullptr: this file system has none (use sync)

  virtual Done rename_new(Handle& from, const std::string& old_name, Handle& to, const std::string& new_name) = 0;  // RENAME_NOREPLACE
  virtual Done replace(Handle& from, const std::string& old_name, Handle& to, const std::string& new_name) = 0;
  virtual Done remove(Handle& directory, const std::string& name) = 0;
  virtual Done list(Handle& directory, const std::function<void(const Entry&)>& visit) = 0;  // without . and ..
  virtual Result<Stat> stat(Handle& directory, const std::string& name) = 0;
  // Reads from the start, chunk by chunk; visit returns false to stop.
  virtual Done read(Handle& directory, const std::string& name, const std::function<bool(std::string_view)>& visit) = 0;
  [[nodiscard]] virtual Result<bool> exists(Handle& directory, const std::string& name) = 0;
  // Advisory lock on a file that is created if absent (flock); nullptr: somebody else holds it.
  virtual Result<HandlePtr> try_lock(Handle& directory, const std::string& name) = 0;
};

// The machine's own; lives as long as the process.
FileSystem& posix_file_system();

}  // namespace mailhaul::store
