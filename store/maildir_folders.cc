#include "store/maildir_folders.h"

#include <algorithm>

#include "protocols/base/text.h"

namespace mailhaul::store {

std::uint32_t KeyIndex::prefix(const DeliveryKey& key) {
  std::uint32_t bits = 0;
  for (std::size_t i = 1; i < 5; ++i) bits = bits << 8 | key[i];
  return bits;
}

void KeyIndex::clear() {
  scanned_ = false;
  size_ = 0;
  buckets_.clear();
}

void KeyIndex::add(const DeliveryKey& key) {
  auto& bucket = buckets_[key[0]];
  const auto at = std::lower_bound(bucket.begin(), bucket.end(), prefix(key));
  if (at != bucket.end() && *at == prefix(key)) return;
  bucket.insert(at, prefix(key));
  ++size_;
}

std::vector<DeliveryKey> KeyIndex::candidates(std::span<const DeliveryKey> keys) const {
  std::vector<DeliveryKey> found;
  for (const auto& key : keys) {
    const auto bucket = buckets_.find(key[0]);
    if (bucket != buckets_.end() && std::binary_search(bucket->second.begin(), bucket->second.end(), prefix(key)))
      found.push_back(key);
  }
  return found;
}

void KeyIndex::drop(std::span<const DeliveryKey> keys) {
  for (const auto& key : keys) {
    const auto bucket = buckets_.find(key[0]);
    if (bucket == buckets_.end()) continue;
    const auto [first, last] = std::equal_range(bucket->second.begin(), bucket->second.end(), prefix(key));
    size_ -= static_cast<std::size_t>(last - first);
    bucket->second.erase(first, last);
  }
}

Folder& Folders::folder(const std::string& directory) {
  const std::scoped_lock lock(mutex_);
  auto& slot = folders_[directory];
  if (!slot) slot = std::make_unique<Folder>(directory);
  return *slot;
}

Result<HandlesPtr> Folders::open(Folder& folder) {
  const std::scoped_lock lock(mutex_);
  if (folder.handles_) {
    open_.splice(open_.begin(), open_, folder.place_);
    return folder.handles_;
  }
  auto handles = open_handles(folder.directory);
  if (!handles) {
    Error error = handles.error();
    if (!folder.directory.empty()) error.scope = Scope::Mailbox;  // the others may well be in order
    return error;
  }
  if (open_.size() >= kMostOpen) {
    open_.back()->handles_.reset();
    open_.pop_back();
  }
  folder.handles_ = *handles;
  open_.push_front(&folder);
  folder.place_ = open_.begin();
  return handles;
}

Result<HandlesPtr> Folders::open_handles(const std::string& directory) {
  auto handles = std::make_shared<Handles>();
  handles->self = &root_;
  if (!directory.empty()) {
    auto own = fs_.open_directory(root_, directory);
    if (!own) return own.error();
    handles->own = std::move(*own);
    handles->self = handles->own.get();
  }
  for (const auto& [name, slot] : {std::pair{"tmp", &handles->tmp}, {"cur", &handles->cur}, {"new", &handles->fresh}}) {
    if (handles->self == nullptr) break;
    auto opened = fs_.open_directory(*handles->self, name);
    if (!opened) return opened.error();
    *slot = std::move(*opened);
  }
  if (handles->tmp && handles->cur && handles->fresh) return HandlesPtr(std::move(handles));
  return Error{Scope::Mailbox, Retry::Later,
               "mailbox directory \"" + printable(directory) + "\" is not there or is no Maildir", ""};
}

void Folders::close(Folder& folder) {
  const std::scoped_lock lock(mutex_);
  if (!folder.handles_) return;
  folder.handles_.reset();
  open_.erase(folder.place_);
}

bool Folders::any_owed() {
  const std::scoped_lock lock(mutex_);
  return std::any_of(folders_.begin(), folders_.end(),
                     [](const auto& entry) { return entry.second->owed || entry.second->self_owed; });
}

void Folders::forget_keys() {
  const std::scoped_lock lock(mutex_);
  for (const auto& [name, folder] : folders_) {
    const std::scoped_lock keys_lock(folder->mutex);
    folder->keys.clear();
  }
}

void Folders::limit_keys(const Folder& in_use) {
  const std::scoped_lock lock(mutex_);
  std::size_t kept = 0;
  for (const auto& [name, folder] : folders_) {
    if (folder.get() == &in_use) continue;
    const std::scoped_lock keys_lock(folder->mutex);
    kept += folder->keys.size();
    if (kept > kMostKeys) folder->keys.clear();
  }
}

}  // namespace mailhaul::store
