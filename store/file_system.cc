// The machine's own file system.
#include "store/file_system.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <system_error>

#include "protocols/base/text.h"

namespace mailhaul::store {

Error file_error(int errno_value, std::string_view what) {
  Error error;
  error.scope = Scope::Service;
  error.what = std::string(what) + ": " + std::generic_category().message(errno_value);
  switch (errno_value) {
    case ENOSPC:
    case EDQUOT:
      error.what = "disk full: " + error.what;
      error.retry = Retry::AfterUserAction;
      error.advice =
          "Free some space (or raise the quota) and run it again; nothing is lost and nothing is fetched twice.";
      break;
    case EACCES:
    case EPERM:
      error.retry = Retry::AfterUserAction;
      error.advice = "Run as the owner of the directory, or give this user the right to write there.";
      break;
    case EROFS:
      error.retry = Retry::AfterUserAction;
      error.advice = "Mount the file system for writing, or choose another destination.";
      break;
    default:
      error.retry = Retry::Later;
  }
  return error;
}

namespace {

constexpr int kDirectoryFlags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
constexpr long kXfsMagic = 0x58465342;  // not in <linux/magic.h> of every version
constexpr long kBtrfsMagic = 0x9123683E;

class PosixHandle final : public Handle {
 public:
  explicit PosixHandle(int fd) : fd_(fd) {}
  PosixHandle(const PosixHandle&) = delete;
  PosixHandle& operator=(const PosixHandle&) = delete;
  ~PosixHandle() override { ::close(fd_); }
  [[nodiscard]] int fd() const { return fd_; }

 private:
  int fd_;
};

int fd_of(const Handle& handle) { return static_cast<const PosixHandle&>(handle).fd(); }

// A handle keeps no path, which would cost an allocation a message; the kernel knows it when a text needs it.
std::string path_of(int fd) {
  std::array<char, 4096> path{};
  std::array<char, 48> link{};
  std::snprintf(link.data(), link.size(), "/proc/self/fd/%d", fd);
  const ssize_t n = ::readlink(link.data(), path.data(), path.size());
  return n > 0 ? std::string(path.data(), static_cast<std::size_t>(n)) : "file " + std::to_string(fd);
}

Error failed(std::string_view call, const Handle& directory, std::string_view name = {}) {
  const int saved = errno;
  std::string what = std::string(call) + " " + path_of(fd_of(directory));
  if (!name.empty()) what += "/" + printable(name, 300);
  return file_error(saved, what);
}

Error failed(std::string_view call, const std::string& path) {
  const int saved = errno;
  return file_error(saved, std::string(call) + " " + printable(path, 300));
}

bool plain(const std::string& name) {
  if (!name.empty() && name != "." && name != ".." && name.find('/') == std::string::npos &&
      name.find('\0') == std::string::npos)
    return true;
  errno = EINVAL;
  return false;
}

template <class Call>
auto again(Call call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

class PosixBarrier final : public Barrier {
 public:
  explicit PosixBarrier(HandlePtr directory) : directory_(std::move(directory)) {}
  Done sync() override {
    if (::syncfs(fd_of(*directory_)) != 0) return failed("syncfs", *directory_);
    return done();
  }

 private:
  HandlePtr directory_;
};

// syncfs(2) reports write-back errors since Linux 5.8 only; before that its success means nothing.
bool syncfs_reports_errors() {
  static const bool reports = [] {
    utsname name{};
    int major = 0;
    int minor = 0;
    if (::uname(&name) != 0) return false;
    char* rest = nullptr;
    major = static_cast<int>(std::strtol(name.release, &rest, 10));
    if (rest != nullptr && *rest == '.') minor = static_cast<int>(std::strtol(rest + 1, nullptr, 10));
    return major > 5 || (major == 5 && minor >= 8);
  }();
  return reports;
}

Kind kind_of(mode_t mode) { return S_ISREG(mode) ? Kind::File : S_ISDIR(mode) ? Kind::Directory : Kind::Other; }

Stat to_stat(const struct ::stat& from) {
  Stat to;
  to.size = static_cast<std::uint64_t>(from.st_size);
  to.modified = from.st_mtim.tv_sec;
  to.nanoseconds = static_cast<std::uint32_t>(from.st_mtim.tv_nsec);
  to.kind = kind_of(from.st_mode);
  return to;
}

Kind kind_of(int directory, const dirent& entry) {
  switch (entry.d_type) {
    case DT_REG:
      return Kind::File;
    case DT_DIR:
      return Kind::Directory;
    case DT_UNKNOWN:
      break;  // some file systems do not say
    default:
      return Kind::Other;
  }
  struct ::stat status {};
  if (::fstatat(directory, entry.d_name, &status, AT_SYMLINK_NOFOLLOW) != 0) return Kind::Other;
  return kind_of(status.st_mode);
}

// Where RENAME_NOREPLACE is unknown (NFS, SMB, some FUSE): link(2) does not replace either; without hard links there is
// only looking first, which is no worse than what other mail programs do there.
int rename_without_flag(int from, const char* old_name, int to, const char* new_name) {
  if (::linkat(from, old_name, to, new_name, 0) == 0) return ::unlinkat(from, old_name, 0);
  if (errno != EPERM && errno != EOPNOTSUPP && errno != ENOSYS && errno != EMLINK) return -1;
  if (::faccessat(to, new_name, F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
    errno = EEXIST;
    return -1;
  }
  return ::renameat(from, old_name, to, new_name);
}

std::array<timespec, 2> only_modified(std::int64_t unix_seconds) {
  return {timespec{0, UTIME_OMIT}, timespec{static_cast<time_t>(unix_seconds), 0}};
}

class PosixFileSystem final : public FileSystem {
 public:
  Result<HandlePtr> open_directory(const std::string& path) override {
    const int fd = again([&] { return ::open(path.c_str(), kDirectoryFlags); });
    if (fd < 0 && errno == ENOENT) return HandlePtr();
    if (fd < 0) return failed("open directory", path);
    return HandlePtr(std::make_unique<PosixHandle>(fd));
  }

  Result<HandlePtr> open_directory(Handle& parent, const std::string& name) override {
    return open_at("open directory", parent, name, kDirectoryFlags, ENOENT);
  }

  Done make_directory(Handle& parent, const std::string& name, bool* created) override {
    if (created != nullptr) *created = false;
    if (!plain(name)) return failed("create directory", parent, name);
    if (::mkdirat(fd_of(parent), name.c_str(), 0700) == 0) {
      if (created != nullptr) *created = true;
      return done();
    }
    if (errno != EEXIST) return failed("create directory", parent, name);
    struct ::stat status {};
    if (::fstatat(fd_of(parent), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(status.st_mode))
      return done();
    errno = ENOTDIR;
    return failed("create directory", parent, name);
  }

  Done make_directories(const std::string& path) override {
    for (std::size_t end = 0; end != std::string::npos;) {
      end = path.find('/', end + 1);
      const std::string prefix = path.substr(0, end);
      if (prefix.empty()) continue;
      if (::mkdir(prefix.c_str(), 0700) != 0) {
        const int error = errno;  // some file systems say EACCES or EROFS before EEXIST
        struct ::stat status {};
        if (::stat(prefix.c_str(), &status) != 0 || !S_ISDIR(status.st_mode)) {
          errno = error == EEXIST ? ENOTDIR : error;
          return failed("create directory", prefix);
        }
        // The last one may be from a process that died before it could sync the parent.
        if (end != std::string::npos) continue;
      }
      const std::size_t slash = prefix.find_last_of('/');
      auto parent = open_directory(slash == std::string::npos ? "." : slash == 0 ? "/" : prefix.substr(0, slash));
      if (!parent) return parent.error();
      if (!*parent) return file_error(ENOENT, "create directory " + printable(prefix, 300));
      if (auto synced = sync_directory(**parent); !synced) return synced;
    }
    return done();
  }

  Result<HandlePtr> create(Handle& directory, const std::string& name) override {
    return open_at("create", directory, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, EEXIST);
  }

  Result<HandlePtr> open_file(Handle& directory, const std::string& name) override {
    return open_at("open", directory, name, O_RDONLY | O_CLOEXEC, ENOENT);
  }

  Done write(Handle& file, std::string_view octets) override {
    while (!octets.empty()) {
      const ssize_t n = again([&] { return ::write(fd_of(file), octets.data(), octets.size()); });
      if (n < 0) return failed("write", file);
      octets.remove_prefix(static_cast<std::size_t>(n));
    }
    return done();
  }

  Done set_modified(Handle& file, std::int64_t unix_seconds) override {
    if (::futimens(fd_of(file), only_modified(unix_seconds).data()) != 0) return failed("set time of", file);
    return done();
  }

  Done set_modified(Handle& directory, const std::string& name, std::int64_t unix_seconds) override {
    const auto times = only_modified(unix_seconds);
    if (!plain(name) || ::utimensat(fd_of(directory), name.c_str(), times.data(), AT_SYMLINK_NOFOLLOW) != 0)
      return failed("set time of", directory, name);
    return done();
  }

  Done sync(Handle& file) override {
    if (again([&] { return ::fsync(fd_of(file)); }) != 0) return failed("fsync", file);
    return done();
  }

  Done sync_directory(Handle& directory) override { return sync(directory); }

  Result<std::unique_ptr<Barrier>> open_barrier(Handle& directory) override {
    struct ::statfs status {};
    if (::fstatfs(fd_of(directory), &status) != 0) return failed("statfs", directory);
    const auto type = static_cast<long>(status.f_type);
    const bool waits = type == EXT4_SUPER_MAGIC || type == kXfsMagic || type == kBtrfsMagic;
    if (!waits || !syncfs_reports_errors()) return std::unique_ptr<Barrier>();
    const int fd = again([&] { return ::openat(fd_of(directory), ".", kDirectoryFlags); });
    if (fd < 0) return failed("open directory", directory);
    return std::unique_ptr<Barrier>(std::make_unique<PosixBarrier>(std::make_unique<PosixHandle>(fd)));
  }

  Result<Renamed> rename_new(Handle& from, const std::string& old_name, Handle& to,
                             const std::string& new_name) override {
    if (!plain(old_name) || !plain(new_name)) return failed("rename to", to, new_name);
    if (::renameat2(fd_of(from), old_name.c_str(), fd_of(to), new_name.c_str(), RENAME_NOREPLACE) == 0)
      return Renamed::Yes;
    if ((errno == EINVAL || errno == ENOSYS) &&
        rename_without_flag(fd_of(from), old_name.c_str(), fd_of(to), new_name.c_str()) == 0)
      return Renamed::Yes;
    if (errno == EEXIST) return Renamed::TargetExists;
    if (errno == ENOENT) return Renamed::SourceMissing;
    return failed("rename to", to, new_name);
  }

  Result<Linked> link_new(Handle& from, const std::string& old_name, Handle& to, const std::string& new_name) override {
    if (!plain(old_name) || !plain(new_name)) return failed("link to", to, new_name);
    if (::linkat(fd_of(from), old_name.c_str(), fd_of(to), new_name.c_str(), 0) == 0) return Linked::Yes;
    if (errno == EEXIST) return Linked::TargetExists;
    if (errno == ENOENT) return Linked::SourceMissing;
    if (errno == EPERM || errno == EOPNOTSUPP || errno == ENOSYS || errno == EMLINK || errno == EXDEV)
      return Linked::Unsupported;
    return failed("link to", to, new_name);
  }

  Done replace(Handle& from, const std::string& old_name, Handle& to, const std::string& new_name) override {
    if (!plain(old_name) || !plain(new_name) ||
        ::renameat(fd_of(from), old_name.c_str(), fd_of(to), new_name.c_str()) != 0)
      return failed("replace", to, new_name);
    return done();
  }

  Result<bool> remove(Handle& directory, const std::string& name) override {
    if (plain(name) && ::unlinkat(fd_of(directory), name.c_str(), 0) == 0) return true;
    if (errno == ENOENT) return false;
    return failed("remove", directory, name);
  }

  Done list(Handle& directory, const std::function<void(const Entry&)>& visit) override {
    // A stream of its own: the position belongs to the open file, and a handle may be shared.
    const int fd = again([&] { return ::openat(fd_of(directory), ".", kDirectoryFlags); });
    if (fd < 0) return failed("open directory", directory);
    const auto close = [](DIR* stream) { ::closedir(stream); };
    const std::unique_ptr<DIR, decltype(close)> stream(::fdopendir(fd), close);
    if (!stream) {
      auto error = failed("read directory", directory);
      ::close(fd);
      return error;
    }
    for (;;) {
      errno = 0;
      const dirent* entry = ::readdir(stream.get());
      if (entry == nullptr) break;
      const std::string_view name = entry->d_name;
      if (name != "." && name != "..") visit(Entry{name, kind_of(fd, *entry)});
    }
    if (errno != 0) return failed("read directory", directory);
    return done();
  }

  Result<Stat> stat(Handle& handle) override {
    struct ::stat status {};
    if (::fstat(fd_of(handle), &status) != 0) return failed("stat", handle);
    return to_stat(status);
  }

  Result<std::optional<Stat>> stat(Handle& directory, const std::string& name) override {
    struct ::stat status {};
    if (plain(name) && ::fstatat(fd_of(directory), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0)
      return std::optional(to_stat(status));
    if (errno == ENOENT) return std::optional<Stat>();
    return failed("stat", directory, name);
  }

  Result<bool> read(Handle& directory, const std::string& name,
                    const std::function<bool(std::string_view)>& visit) override {
    auto file = open_file(directory, name);
    if (!file) return file.error();
    if (!*file) return false;
    std::array<char, 65536> buffer;  // NOLINT: filled by read(2) before it is looked at
    for (;;) {
      const ssize_t n = again([&] { return ::read(fd_of(**file), buffer.data(), buffer.size()); });
      if (n < 0) return failed("read", **file);
      if (n == 0 || !visit(std::string_view(buffer.data(), static_cast<std::size_t>(n)))) return true;
    }
  }

  Result<HandlePtr> try_lock(Handle& directory, const std::string& name) override {
    auto file = open_at("open lock", directory, name, O_RDWR | O_CREAT | O_CLOEXEC);
    if (!file) return file.error();
    if (again([&] { return ::flock(fd_of(**file), LOCK_EX | LOCK_NB); }) == 0) return file;
    if (errno == EWOULDBLOCK) return HandlePtr();
    return failed("lock", **file);
  }

 private:
  // `absent`: the errno that means nullptr instead of an error.
  static Result<HandlePtr> open_at(std::string_view call, Handle& directory, const std::string& name, int flags,
                                   int absent = 0) {
    if (!plain(name)) return failed(call, directory, name);
    const int fd = again([&] { return ::openat(fd_of(directory), name.c_str(), flags | O_NOFOLLOW, 0600); });
    if (fd < 0 && errno == absent) return HandlePtr();
    if (fd < 0) return failed(call, directory, name);
    return HandlePtr(std::make_unique<PosixHandle>(fd));
  }
};

}  // namespace

FileSystem& posix_file_system() {
  static PosixFileSystem file_system;
  return file_system;
}

}  // namespace mailhaul::store
