// The mailboxes of a Maildir as far as they are in use: their descriptors, at most 48 mailboxes at a time, and which
// keys they hold (private to the Maildir).
#pragma once
#include <atomic>
#include <list>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "store/maildir.h"

namespace mailhaul::store {

// The descriptors of one mailbox. Never changed once made; kept alive by whoever uses it.
struct Handles {
  HandlePtr own;           // null for the root, whose handle the Maildir keeps
  Handle* self = nullptr;  // the mailbox's directory
  HandlePtr tmp, cur, fresh;
};
using HandlesPtr = std::shared_ptr<const Handles>;

// The first 64 bits of every key in a mailbox. Not thread-safe.
class KeyIndex {
 public:
  [[nodiscard]] bool scanned() const { return scanned_; }
  [[nodiscard]] std::size_t size() const { return sorted_.size() + tail_.size(); }
  void start() { scanned_ = true; }
  void clear();
  void add(const DeliveryKey& key) { tail_.push_back(prefix(key)); }
  // Those of `keys` (sorted) that may be there.
  std::vector<DeliveryKey> candidates(std::span<const DeliveryKey> keys);
  void drop(std::span<const DeliveryKey> keys);  // sorted

 private:
  static std::uint64_t prefix(const DeliveryKey& key);
  void settle();  // merges the tail

  bool scanned_ = false;
  std::vector<std::uint64_t> sorted_;
  std::vector<std::uint64_t> tail_;
};

struct Folder {
  explicit Folder(std::string name) : directory(std::move(name)) {}
  const std::string directory;
  std::atomic<bool> owed{false};  // something was renamed in cur/ whose sync has not succeeded yet

  std::mutex mutex;  // for:
  KeyIndex keys;

 private:
  friend class Folders;
  HandlesPtr handles_;
  std::list<Folder*>::iterator place_;
};

// Thread-safe.
class Folders {
 public:
  static constexpr std::size_t kMostOpen = 48;  // four descriptors each
  static constexpr std::size_t kMostKeys = 2'000'000;

  Folders(FileSystem& fs, Handle& root) : fs_(fs), root_(root) {}

  Folder& folder(const std::string& directory);  // lives as long as this object
  // A mailbox that is not there, or is none, is an Error of Scope::Mailbox.
  Result<HandlesPtr> open(Folder& folder);
  void close(Folder& folder);  // its owner has removed the directory: look anew
  [[nodiscard]] bool any_owed();
  void forget_keys();                     // of every mailbox
  void limit_keys(const Folder& in_use);  // of the others, when there are too many in all

 private:
  Result<HandlesPtr> open_handles(const std::string& directory);

  FileSystem& fs_;
  Handle& root_;
  std::mutex mutex_;
  std::unordered_map<std::string, std::unique_ptr<Folder>> folders_;
  std::list<Folder*> open_;  // the one used last in front
};

}  // namespace mailhaul::store
