// A file system in memory that can fail or die at any effect and that, on crash(), forgets what was not made durable:
// the data and time of a file not covered by sync() or a barrier, a directory's entries (each name by itself) not
// covered by sync_directory() or a barrier. What may survive a crash in reality may be lost here.
//
// An effect is an operation that changes something or makes it durable, counted from 1. A sync that fails has thrown
// the data away: the next sync of the same file "succeeds" and the old data come back after a crash, as on Linux.
// Thread-safe (one lock); handles of a life before crash() fail every operation.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <vector>

#include "store/file_system.h"

namespace mailhaul::test {

struct Crash {};  // thrown by the effect at which the process dies

class MemoryFileSystem final : public store::FileSystem {
 public:
  struct Options {
    bool barrier = true;      // false: open_barrier() gives nullptr, as on tmpfs or NFS
    bool trace = false;       // record each effect as a line of text
    bool links = true;        // false: link_new() has nothing to give, as on FAT or over SMB
    std::uint64_t space = 0;  // octets of file data that fit; 0: no limit (ENOSPC beyond)
  };
  MemoryFileSystem() : MemoryFileSystem(Options{}) {}
  explicit MemoryFileSystem(const Options& options);
  ~MemoryFileSystem() override;
  MemoryFileSystem(const MemoryFileSystem&) = delete;
  MemoryFileSystem& operator=(const MemoryFileSystem&) = delete;

  // Effect `n` (counted from the start of this object) does nothing and fails with this errno; later ones work again.
  void fail_at(std::uint64_t n, int errno_value);
  // Effect `n` is not carried out: the process is dead. With `how` Throw, Crash is thrown (once: destructors that run
  // meanwhile see errors); with Errors, this and every later operation fails, as if the disk had gone away.
  enum class Death { Throw, Errors };
  void die_at(std::uint64_t n, Death how = Death::Throw);
  [[nodiscard]] bool dead() const { return dead_; }

  // The disk loses what was written but not yet synced, as when write-back fails in the background: nobody is told
  // until the next sync of such a file, or of a barrier that was opened before.
  void fail_write_back();

  // The machine lost power and is up again: whatever was not made durable is gone. With `luck`, every change that was
  // not made durable survives or not by the toss of a coin, file data perhaps in part. Locks are free, dead() is false.
  void crash();
  void crash(std::mt19937_64& luck);
  // The process died, the machine did not (SIGKILL): everything stays as it is; locks are free, dead() is false.
  void restart();

  [[nodiscard]] std::uint64_t effects() const { return effects_; }
  [[nodiscard]] const std::vector<std::string>& trace() const { return trace_; }
  void clear_trace() { trace_.clear(); }

  // For assertions: every path below the root with its content; directories end in '/'. Costs no effect.
  [[nodiscard]] std::map<std::string, std::string> files() const;
  [[nodiscard]] std::size_t open_handles() const { return open_handles_; }
  [[nodiscard]] std::size_t most_open_handles() const { return most_open_handles_; }

  Result<store::HandlePtr> open_directory(const std::string& path) override;
  Result<store::HandlePtr> open_directory(store::Handle& parent, const std::string& name) override;
  Done make_directory(store::Handle& parent, const std::string& name, bool* created) override;
  Done make_directories(const std::string& path) override;
  Result<store::HandlePtr> create(store::Handle& directory, const std::string& name) override;
  Result<store::HandlePtr> open_file(store::Handle& directory, const std::string& name) override;
  Done write(store::Handle& file, std::string_view octets) override;
  Done set_modified(store::Handle& file, std::int64_t unix_seconds) override;
  Done set_modified(store::Handle& directory, const std::string& name, std::int64_t unix_seconds) override;
  Done sync(store::Handle& file) override;
  Done sync_directory(store::Handle& directory) override;
  Result<std::unique_ptr<store::Barrier>> open_barrier(store::Handle& directory) override;
  Result<Renamed> rename_new(store::Handle& from, const std::string& old_name, store::Handle& to,
                             const std::string& new_name) override;
  Result<Linked> link_new(store::Handle& from, const std::string& old_name, store::Handle& to,
                          const std::string& new_name) override;
  Done replace(store::Handle& from, const std::string& old_name, store::Handle& to,
               const std::string& new_name) override;
  Result<bool> remove(store::Handle& directory, const std::string& name) override;
  Done list(store::Handle& directory, const std::function<void(const store::Entry&)>& visit) override;
  Result<store::Stat> stat(store::Handle& handle) override;
  Result<std::optional<store::Stat>> stat(store::Handle& directory, const std::string& name) override;
  Result<bool> read(store::Handle& directory, const std::string& name,
                    const std::function<bool(std::string_view)>& visit) override;
  Result<store::HandlePtr> try_lock(store::Handle& directory, const std::string& name) override;

 private:
  struct Node;
  using NodePtr = std::shared_ptr<Node>;
  class OpenNode;
  class MemoryBarrier;

  // The bookkeeping of one effect: an Error if it must fail, Crash if the process dies here.
  Done effect(std::string_view what, const std::string& name);
  Result<NodePtr> node_of(store::Handle& handle);
  Result<NodePtr> directory_of(store::Handle& handle);
  store::HandlePtr open(NodePtr node);
  void touch(const NodePtr& node);
  void sync_all();
  void lose_unsynced_data();
  void collect(const Node& directory, const std::string& path, std::map<std::string, std::string>& out) const;
  void revert(std::mt19937_64* luck);

  Options options_;
  mutable std::mutex mutex_;
  NodePtr root_;
  std::vector<NodePtr> dirty_;  // nodes with something not durable
  std::uint64_t effects_ = 0;
  std::uint64_t fail_at_ = 0;
  int fail_errno_ = 0;
  std::uint64_t die_at_ = 0;
  Death death_ = Death::Throw;
  bool dead_ = false;
  std::uint64_t life_ = 1;
  std::uint64_t write_back_errors_ = 0;  // what errseq_t is to Linux
  std::int64_t ticks_ = 0;               // a clock for directory times
  std::uint64_t used_ = 0;
  std::size_t open_handles_ = 0;
  std::size_t most_open_handles_ = 0;
  std::vector<std::string> trace_;
};

}  // namespace mailhaul::test
