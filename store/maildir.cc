#include "store/maildir.h"

#include <algorithm>

#include "protocols/base/text.h"
#include "store/maildir_directory.h"
#include "store/maildir_impl.h"

namespace mailhaul::store {
namespace {

const std::string kOwn = "mailhaul";
const std::string kLock = "lock";
const std::string kReceiving = "receiving";
constexpr std::array<std::string_view, 3> kParts{"tmp", "new", "cur"};

Error not_a_maildir(const std::string& path, std::string_view why) {
  return Error{Scope::Service, Retry::AfterUserAction,
               "\"" + printable(path) + "\" is not a Maildir" + std::string(why),
               "Name an existing Maildir, or a directory that is empty or does not exist yet."};
}

}  // namespace

Maildir::Impl::Impl(FileSystem& file_system, std::string where, const Options& how, HandlePtr root_directory)
    : fs(file_system),
      path(std::move(where)),
      options(how),
      root(std::move(root_directory)),
      folders(file_system, *root),
      staging(file_system, folders, how.sync_threads) {}

// An empty directory may become a Maildir, and so may what a process left that died while it made one.
Done Maildir::Impl::require_maildir() {
  auto cur = fs.stat(*root, "cur");
  if (!cur) return cur.error();
  if (*cur && (*cur)->kind == Kind::Directory) return done();
  if (!options.create) return not_a_maildir(path, " (it has no cur/)");
  std::string foreign;
  auto listed = fs.list(*root, [&](const Entry& entry) {
    const bool part = std::find(kParts.begin(), kParts.end(), entry.name) != kParts.end();
    if (!part && entry.name != kOwn && entry.name != "lost+found") foreign = entry.name;
  });
  if (!listed) return listed;
  if (foreign.empty()) return done();
  return not_a_maildir(path, " and not empty (it has no cur/, but \"" + printable(foreign, 60) + "\")");
}

Done Maildir::Impl::prepare() {
  if (auto suitable = require_maildir(); !suitable) return suitable;
  if (auto made = fs.make_directory(*root, kOwn); !made) return made;
  auto opened = fs.open_directory(*root, kOwn);
  if (!opened) return opened.error();
  if (!*opened) return not_a_maildir(path, " (mailhaul/ has just been removed)");
  own = std::move(*opened);
  // The lock file is made once all this is durable, so its presence tells that nothing is to be done.
  auto used_before = fs.stat(*own, kLock);
  if (!used_before) return used_before.error();
  bool missing = !*used_before;
  for (const auto part : kParts) {
    bool created = false;
    if (auto made = fs.make_directory(*root, std::string(part), &created); !made) return made;
    missing = missing || created;
  }
  if (missing) {
    if (auto parents = fs.make_directories(path); !parents) return parents;
    if (auto synced = fs.sync_directory(*root); !synced) return synced;
  }
  auto locked = fs.try_lock(*own, kLock);
  if (!locked) return locked.error();
  if (!*locked)
    return Error{Scope::Service, Retry::Later, "another mailhaul is working on \"" + printable(path) + "\"",
                 "Wait until it has finished, or stop it; one destination has one writer at a time."};
  lock = std::move(*locked);
  auto unclean = fs.stat(*own, kReceiving);
  if (!unclean) return unclean.error();
  if (!*unclean) return done();
  marked_ = true;
  return recover();
}

Done Maildir::Impl::sweep(const std::string& directory, bool sync_too) {
  HandlePtr opened;
  Handle* self = root.get();
  if (!directory.empty()) {
    auto result = fs.open_directory(*root, directory);
    if (!result) return result.error();
    opened = std::move(*result);
    self = opened.get();
  }
  if (self == nullptr) return done();
  auto tmp = fs.open_directory(*self, "tmp");
  if (!tmp) return tmp.error();
  std::vector<std::string> ours;
  if (*tmp)
    if (auto listed = fs.list(**tmp,
                              [&](const Entry& entry) {
                                if (Staging::is_ours(entry.name)) ours.emplace_back(entry.name);
                              });
        !listed)
      return listed;
  for (const auto& name : ours)
    if (auto removed = fs.remove(**tmp, name); !removed) return removed.error();
  for (const auto& lock_name : {kKeywordsLock, kSubscriptionsLock})
    if (auto removed = DotLock::remove_dead(fs, *self, lock_name); !removed) return removed;
  if (!sync_too) return done();
  auto cur = fs.open_directory(*self, "cur");
  if (!cur) return cur.error();
  if (*cur)
    if (auto synced = fs.sync_directory(**cur); !synced) return synced;
  return fs.sync_directory(*self);
}

// The last process died in the middle. Its unfinished files go; what it renamed or made without a sync becomes durable
// now, because from here on it is taken for what it looks like.
Done Maildir::Impl::recover() {
  auto barrier = fs.open_barrier(*root);
  if (!barrier) return barrier.error();
  auto all = mailboxes();
  if (!all) return all.error();
  for (const auto& directory : *all)
    if (auto swept = sweep(directory, !*barrier); !swept) {
      if (!*barrier) return swept;
      staging.left_behind = true;  // one bad mailbox stops nobody; the marker stays for the next time
    }
  return *barrier ? (*barrier)->sync() : done();
}

Done Maildir::Impl::mark_receiving() {
  if (marked_) return done();
  const std::scoped_lock guard(marker_mutex_);
  if (marked_) return done();
  auto file = fs.create(*own, kReceiving);
  if (!file) return file.error();
  if (auto synced = fs.sync_directory(*own); !synced) return synced;
  marked_ = true;
  return done();
}

void Maildir::Impl::close() {
  if (closed) return;
  closed = true;
  const bool clean = staging.alive == 0 && !staging.left_behind && !folders.any_owed() && doubtful_.empty();
  // If this fails, the next process sweeps in vain.
  if (marked_ && clean) static_cast<void>(fs.remove(*own, kReceiving));
}

Result<std::vector<std::string>> Maildir::Impl::mailboxes() {
  std::vector<std::string> all{""};
  auto listed = fs.list(*root, [&](const Entry& entry) {
    if (entry.kind == Kind::Directory && is_directory_name(entry.name)) all.emplace_back(entry.name);
  });
  if (!listed) return listed.error();
  std::size_t kept = 1;
  for (std::size_t i = 1; i < all.size(); ++i) {
    auto directory = fs.open_directory(*root, all[i]);
    if (!directory || !*directory) continue;  // not ours to read: no mailbox of ours
    auto cur = fs.stat(**directory, "cur");
    if (!cur) return cur.error();
    if (*cur && (*cur)->kind == Kind::Directory) std::swap(all[kept++], all[i]);
  }
  all.resize(kept);
  std::sort(all.begin(), all.end());
  return all;
}

Result<std::unique_ptr<Maildir>> Maildir::open(FileSystem& fs, const std::string& path, const Options& options) {
  std::string where = path;
  while (where.size() > 1 && where.back() == '/') where.pop_back();
  if (where.empty()) return not_a_maildir(path, " (no path was given)");
  auto root = fs.open_directory(where);
  if (root && !*root) {
    if (!options.create) return not_a_maildir(path, " (there is no such directory)");
    if (auto made = fs.make_directories(where); !made) return made.error().in("make the Maildir");
    root = fs.open_directory(where);
  }
  if (!root) {
    Error error = root.error();
    error.retry = Retry::AfterUserAction;
    if (error.advice.empty()) error.advice = "Name a directory for the Maildir.";
    return error;
  }
  if (!*root) return not_a_maildir(path, " (it has just been removed)");
  auto impl = std::make_unique<Impl>(fs, where, options, std::move(*root));
  if (auto prepared = impl->prepare(); !prepared) return prepared.error().in("open the Maildir");
  return std::unique_ptr<Maildir>(new Maildir(std::move(impl)));
}

Maildir::Maildir(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Maildir::~Maildir() {
  try {
    impl_->close();
  } catch (...) {  // NOLINT(bugprone-empty-catch): the marker stays, and the next process sweeps
  }
}

void Maildir::close() { impl_->close(); }
const std::string& Maildir::path() const { return impl_->path; }

std::string Maildir::directory_name(std::span<const std::string> components) const {
  return store::directory_name(impl_->options.names, components);
}

std::optional<std::vector<std::string>> Maildir::components_of(std::string_view directory) const {
  return store::components_of(impl_->options.names, directory);
}

Result<std::vector<std::string>> Maildir::mailboxes() const { return impl_->mailboxes(); }

Result<std::optional<std::string>> Maildir::read_own(const std::string& name) {
  return read_file(impl_->fs, *impl_->own, name);
}

Done Maildir::write_own(const std::string& name, std::string_view content) {
  const std::string fresh = name + ".new";
  if (auto removed = impl_->fs.remove(*impl_->own, fresh); !removed) return removed.error();  // a dead process's
  return replace_file(impl_->fs, *impl_->own, fresh, *impl_->own, name, content);
}

Done replace_file(FileSystem& fs, Handle& tmp, const std::string& tmp_name, Handle& directory, const std::string& name,
                  std::string_view content) {
  auto file = fs.create(tmp, tmp_name);
  if (!file) return file.error();
  if (!*file) return Error{Scope::Service, Retry::Now, "create " + tmp_name + ": it is there already", ""};
  Done written = fs.write(**file, content);
  if (written) written = fs.sync(**file);
  file->reset();
  if (written) written = fs.replace(tmp, tmp_name, directory, name);
  if (!written) {
    static_cast<void>(fs.remove(tmp, tmp_name));  // the error that counts is the first
    return written;
  }
  return fs.sync_directory(directory);
}

Result<std::optional<std::string>> read_file(FileSystem& fs, Handle& directory, const std::string& name) {
  std::string content;
  auto read = fs.read(directory, name, [&](std::string_view chunk) {
    content += chunk;
    return content.size() < std::size_t{16} * 1024 * 1024;
  });
  if (!read) return read.error();
  if (!*read) return std::optional<std::string>();
  return std::optional(std::move(content));
}

}  // namespace mailhaul::store
