// The mailboxes of a Maildir as far as they are in use: their descriptors, at most 48 mailboxes at a time, and which
// keys they hold (private to the Maildir).
#pragma once
#include <atomic>
#include <list>
#include <map>
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

// The first 40 bits of every key in a mailbox, in four octets each: 8 bits choose a bucket, small enough that insertion
// moves little and growth needs no second copy of the whole. Not thread-safe.
class KeyIndex {
 public:
  [[nodiscard]] bool scanned() const { return scanned_; }
  [[nodiscard]] std::size_t size() const { return size_; }
  void start() { scanned_ = true; }
  void clear();
  void add(const DeliveryKey& key);
  // Those of `keys` that may be there.
  [[nodiscard]] std::vector<DeliveryKey> candidates(std::span<const DeliveryKey> keys) const;
  void drop(std::span<const DeliveryKey> keys);

 private:
  static std::uint32_t prefix(const DeliveryKey& key);

  bool scanned_ = false;
  std::size_t size_ = 0;
  std::map<std::uint8_t, std::vector<std::uint32_t>> buckets_;  // sorted, unique
};

struct Folder {
  explicit Folder(std::string name) : directory(std::move(name)) {}
  const std::string directory;
  std::atomic<bool> owed{false};       // something was renamed in cur/ whose sync has not succeeded yet
  std::atomic<bool> self_owed{false};  // the same of a file that was replaced in the directory itself

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
