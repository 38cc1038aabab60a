// The file system as a seam: the POSIX one, and in tests one that fails or dies at effect N and forgets what was not
// synced. Directory handles and relative names only: a name that is empty, ".", ".." or has a slash is refused, and no
// symbolic link is followed under a handle (a path given as a whole may lead through links: its owner chose it).
// Thread-safe: a directory handle may be shared by threads, a file handle belongs to one thread at a time.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
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
  std::int64_t modified = 0;      // Unix seconds
  std::uint32_t nanoseconds = 0;  // of `modified`
  Kind kind = Kind::File;
};

// What errno means to the layers above; `what` names the call and the path ("create /m/tmp/x: No space left on
// device").
Error file_error(int errno_value, std::string_view what);

// Errors: NoSpace (ENOSPC, EDQUOT) → Scope::Service, Retry::AfterUserAction, "disk full…" with advice; EACCES, EROFS →
// AfterUserAction; everything else Scope::Service, Retry::Later. Texts name path and errno.
class FileSystem {
 public:
  virtual ~FileSystem() = default;

  // nullptr: there is no such directory.
  virtual Result<HandlePtr> open_directory(const std::string& path) = 0;
  virtual Result<HandlePtr> open_directory(Handle& parent, const std::string& name) = 0;
  // Creates one directory (0700); exists already: true is returned as *created == false. Does not sync the parent.
  virtual Done make_directory(Handle& parent, const std::string& name, bool* created = nullptr) = 0;
  virtual Done make_directories(const std::string& path) = 0;  // with parents, each made durable in its parent

  // O_CREAT|O_EXCL|O_WRONLY, 0600. nullptr: the name is taken.
  virtual Result<HandlePtr> create(Handle& directory, const std::string& name) = 0;
  // An existing file, to sync it. nullptr: no such file.
  virtual Result<HandlePtr> open_file(Handle& directory, const std::string& name) = 0;
  virtual Done write(Handle& file, std::string_view octets) = 0;  // all of it; EINTR and short writes inside
  virtual Done set_modified(Handle& file, std::int64_t unix_seconds) = 0;
  virtual Done set_modified(Handle& directory, const std::string& name, std::int64_t unix_seconds) = 0;
  virtual Done sync(Handle& file) = 0;  // fsync(2) of a file: data and mtime
  virtual Done sync_directory(Handle& directory) = 0;
  // nullptr: this file system has none that can be trusted (use sync): a syncfs that neither waits nor reports errors.
  virtual Result<std::unique_ptr<Barrier>> open_barrier(Handle& directory) = 0;

  enum class Renamed { Yes, TargetExists, SourceMissing };
  virtual Result<Renamed> rename_new(Handle& from, const std::string& old_name, Handle& to,
                                     const std::string& new_name) = 0;  // RENAME_NOREPLACE
  // A second name of the same file (link(2)), which replaces nothing. Unsupported: this file system, or this file, has
  // no more names to give.
  enum class Linked { Yes, TargetExists, SourceMissing, Unsupported };
  virtual Result<Linked> link_new(Handle&, const std::string& /*old_name*/, Handle&, const std::string& /*new_name*/) {
    return Linked::Unsupported;
  }
  virtual Done replace(Handle& from, const std::string& old_name, Handle& to, const std::string& new_name) = 0;
  virtual Result<bool> remove(Handle& directory, const std::string& name) = 0;  // a file; false: there was none
  virtual Done list(Handle& directory, const std::function<void(const Entry&)>& visit) = 0;  // without . and ..
  virtual Result<Stat> stat(Handle& file_or_directory) = 0;
  virtual Result<std::optional<Stat>> stat(Handle& directory, const std::string& name) = 0;  // nullopt: nothing there
  // Reads from the start, chunk by chunk; visit returns false to stop. false: there is no such file.
  virtual Result<bool> read(Handle& directory, const std::string& name,
                            const std::function<bool(std::string_view)>& visit) = 0;
  // Advisory lock on a file that is created if absent (flock); nullptr: somebody else holds it.
  virtual Result<HandlePtr> try_lock(Handle& directory, const std::string& name) = 0;
};

// The machine's own; lives as long as the process.
FileSystem& posix_file_system();

}  // namespace mailhaul::store
