// Messages on their way into tmp/ (private to the Maildir).
#pragma once
#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "store/maildir.h"
#include "store/maildir_folders.h"
#include "store/maildir_line_ends.h"
#include "store/maildir_syncer.h"

namespace mailhaul::store {

// The stretch of time in which a batch is received, with the barrier that was opened at its start. A message belongs to
// the epoch in which its file was created; a barrier that fails voids every message of its epoch for ever.
struct Epoch {
  std::uint64_t serial = 0;
  std::unique_ptr<Barrier> barrier;  // null: files are synced one by one
  bool failed = false;               // only deliver() looks at it
};
using EpochPtr = std::shared_ptr<Epoch>;

// What it takes to read a message: big, and free again as soon as the message has come.
struct Workbench {
  static constexpr std::size_t kBuffer = 64 * 1024;
  std::unique_ptr<char[]> buffer{new char[kBuffer + 16]};
  mail::Sha256 sha;
  mail::HeaderScanner scanner;
};

// What messages in tmp/ share. Thread-safe.
class Staging {
 public:
  Staging(FileSystem& file_system, Folders& of, unsigned sync_threads);

  FileSystem& fs;
  Folders& folders;
  FileSyncer syncer;
  std::atomic<std::size_t> alive{0};     // messages that are neither delivered nor discarded
  std::atomic<bool> left_behind{false};  // a file in tmp/ could not be removed

  // Creates a file in `tmp` under a name of its own; `serial` tells which.
  Result<HandlePtr> create(Handle& tmp, std::uint64_t& serial);
  // "<random>.<serial>.mailhaul": nobody else's, and recognised when it is left behind.
  void name_of(std::uint64_t serial, std::string& out) const;
  [[nodiscard]] std::string name_of(std::uint64_t serial) const;
  [[nodiscard]] std::string new_name() { return name_of(next_++); }  // for other files that pass through tmp/
  static bool is_ours(std::string_view tmp_name);

  std::unique_ptr<Workbench> take_bench();
  void give_back(std::unique_ptr<Workbench> bench);

 private:
  std::string token_;
  std::atomic<std::uint64_t> next_{1};
  std::mutex mutex_;
  std::vector<std::unique_ptr<Workbench>> idle_;
};

// One message.
class Incoming final : public IncomingMessage::Body {
 public:
  Incoming(Staging& staging, Folder& folder, HandlesPtr handles, EpochPtr epoch, HandlePtr file, std::uint64_t serial);
  ~Incoming() override;
  Incoming(const Incoming&) = delete;
  Incoming& operator=(const Incoming&) = delete;

  Done write(std::string_view wire) override;
  Result<Received> finish(std::optional<std::int64_t> seconds) override;

  [[nodiscard]] bool finished() const { return state_ == State::Finished; }
  [[nodiscard]] Folder& folder() const { return folder_; }
  [[nodiscard]] const EpochPtr& epoch() const { return epoch_; }
  [[nodiscard]] std::uint64_t serial() const { return serial_; }
  [[nodiscard]] std::uint64_t disk_octets() const { return disk_octets_; }
  [[nodiscard]] std::uint64_t crlf_octets() const { return wire_octets_ + bare_.count(); }
  [[nodiscard]] const std::optional<std::int64_t>& seconds() const { return seconds_; }

  // The date turned out to be another one: sets it, and syncs anew where files are synced one by one.
  Done set_seconds(Handle& tmp, std::int64_t seconds);
  Done wait_until_synced();  // at once where there is a barrier
  void discard();            // removes the file; the destructor does it, too, unless it was delivered
  void mark_delivered() { leave(); }

 private:
  enum class State { Open, Finished, Gone };
  void leave();  // from here on nothing of `staging` is touched
  Done convert(std::string_view wire);
  Done append_raw(std::string_view octets);
  Done go_raw(std::string_view rest);
  Done flush();

  Staging& staging_;
  Folder& folder_;
  HandlesPtr handles_;  // until finish(): descriptors are scarcer than messages
  EpochPtr epoch_;
  HandlePtr file_;
  std::uint64_t serial_;
  std::unique_ptr<Workbench> bench_;
  std::size_t used_ = 0;  // octets in the bench's buffer
  std::uint64_t wire_octets_ = 0;
  std::uint64_t disk_octets_ = 0;
  CrlfToLf to_lf_;
  BareLfCounter bare_;
  StoredForm form_ = StoredForm::Lf;
  State state_ = State::Open;
  bool broken_ = false;  // a write failed: what is in the file is nothing
  std::optional<std::int64_t> seconds_;
  SyncTicket ticket_;
};

}  // namespace mailhaul::store
