// Making mailboxes, and beginning messages in them.
#include "protocols/base/text.h"
#include "store/maildir_directory.h"
#include "store/maildir_impl.h"

namespace mailhaul::store {
namespace {

Done valid(const std::string& directory) {
  if (is_directory_name(directory)) return done();
  return Error{Scope::Mailbox, Retry::Never, "\"" + printable(directory) + "\" is no mailbox directory", ""};
}

}  // namespace

Result<bool> Maildir::Impl::is_there(const std::string& directory) {
  auto own_handle = fs.open_directory(*root, directory);
  if (!own_handle) return own_handle.error();
  if (!*own_handle) return false;
  for (const auto* name : {"tmp", "new", "cur"}) {
    auto stat = fs.stat(**own_handle, name);
    if (!stat) return stat.error();
    if (!*stat) return false;
  }
  return true;
}

Done Maildir::Impl::make(const std::string& directory, bool sync_too) {
  if (auto made = fs.make_directory(*root, directory); !made) return made;
  auto own_handle = fs.open_directory(*root, directory);
  if (!own_handle) return own_handle.error();
  if (!*own_handle) return Error{Scope::Mailbox, Retry::Later, "the mailbox directory has just been removed", ""};
  for (const auto* name : {"tmp", "new", "cur"})
    if (auto made = fs.make_directory(**own_handle, name); !made) return made;
  auto mark = fs.create(**own_handle, "maildirfolder");  // what Courier knows a Maildir++ folder by
  if (!mark) return mark.error();
  if (!sync_too) return done();
  if (*mark)
    if (auto synced = fs.sync(**mark); !synced) return synced;
  return fs.sync_directory(**own_handle);
}

Done Maildir::Impl::create(std::span<const std::string> directories) {
  const std::scoped_lock guard(create_mutex_);
  std::vector<std::string> missing;
  for (const auto& directory : directories) {
    if (directory.empty() || there_.contains(directory)) continue;
    if (auto fine = valid(directory); !fine) return fine;
    auto there = is_there(directory);
    if (!there) return there.error().in(printable(directory));
    if (*there && !doubtful_.contains(directory))
      there_.insert(directory);
    else
      missing.push_back(directory);
  }
  if (missing.empty()) return done();
  if (auto marked = mark_receiving(); !marked) return marked;
  auto barrier = fs.open_barrier(*root);
  if (!barrier) return barrier.error();
  for (const auto& directory : missing) {
    doubtful_.insert(directory);
    if (auto made = make(directory, !*barrier); !made) return made.error().in("make mailbox " + printable(directory));
  }
  if (auto synced = *barrier ? (*barrier)->sync() : fs.sync_directory(*root); !synced) return synced;
  for (auto& directory : missing) {
    doubtful_.erase(directory);
    there_.insert(std::move(directory));
  }
  return done();
}

void Maildir::Impl::forget(const std::string& directory) {
  const std::scoped_lock guard(create_mutex_);
  there_.erase(directory);
}

Result<EpochPtr> Maildir::Impl::current_epoch() {
  const std::scoped_lock guard(epoch_mutex_);
  if (epoch_) return epoch_;
  auto barrier = fs.open_barrier(*root);
  if (!barrier) return barrier.error();
  epoch_ = std::make_shared<Epoch>();
  epoch_->serial = ++epochs_;
  epoch_->barrier = std::move(*barrier);
  return epoch_;
}

Done Maildir::create(const std::string& directory) { return impl_->create({&directory, 1}); }
Done Maildir::create(std::span<const std::string> directories) { return impl_->create(directories); }

Result<IncomingMessage> Maildir::receive(const std::string& directory, const Announced*) {
  if (auto fine = valid(directory); !fine) return fine.error();
  if (auto marked = impl_->mark_receiving(); !marked) return marked.error();
  // The barrier is opened before the file is made: it sees every error that the file can meet.
  auto epoch = impl_->current_epoch();
  if (!epoch) return epoch.error();
  Folder& folder = impl_->folders.folder(directory);
  for (bool again = false;; again = true) {
    auto handles = impl_->folders.open(folder);
    if (!handles) {
      impl_->forget(directory);
      return handles.error();
    }
    std::uint64_t serial = 0;
    auto file = impl_->staging.create(*(*handles)->tmp, serial);
    if (file)
      return IncomingMessage(std::make_unique<Incoming>(impl_->staging, folder, std::move(*handles), std::move(*epoch),
                                                        std::move(*file), serial));
    if (again || file.error().retry == Retry::AfterUserAction) return file.error();
    // Its owner may have removed the mailbox, which a descriptor of it does not show.
    impl_->folders.close(folder);
  }
}

}  // namespace mailhaul::store
