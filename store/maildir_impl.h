// What the sources of the Maildir share (private to it).
#pragma once
#include <atomic>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "store/maildir.h"
#include "store/maildir_folders.h"
#include "store/maildir_incoming.h"
#include "store/maildir_keywords.h"

namespace mailhaul::store {

inline const std::string kKeywordsLock = "dovecot-uidlist.lock";  // what Dovecot locks before it changes its keywords
inline const std::string kSubscriptionsLock = "subscriptions.lock";

// One message of a batch, and where it goes.
struct BatchItem {
  Incoming* message = nullptr;
  Folder* to = nullptr;
  const DeliveryKey* key = nullptr;
  std::int64_t seconds = 0;
  const mail::FlagSet* flags = nullptr;
  std::size_t index = 0;  // in the caller's batch
  bool present = false;   // its key is in the mailbox already
};

struct Maildir::Impl {
  Impl(FileSystem& file_system, std::string where, const Options& how, HandlePtr root_directory);

  FileSystem& fs;
  const std::string path;
  const Options options;
  HandlePtr root;
  HandlePtr own;   // mailhaul/
  HandlePtr lock;  // mailhaul/lock
  std::atomic<std::uint64_t> keywords_left_out{0};
  Folders folders;
  Staging staging;
  bool closed = false;

  // Opening and closing (maildir.cc).
  Done prepare();
  Done require_maildir();
  Done recover();
  Done sweep(const std::string& directory, bool sync_too);
  Done mark_receiving();
  void close();
  Result<std::vector<std::string>> mailboxes();

  // Making mailboxes, receiving (maildir_create.cc).
  Done create(std::span<const std::string> directories);
  Result<bool> is_there(const std::string& directory);
  Done make(const std::string& directory, bool sync_too);
  void forget(const std::string& directory);  // it is no longer known to be there
  Result<EpochPtr> current_epoch();
  void end_epoch();  // the next message begins another one

  // Delivering (maildir_deliver.cc).
  Done deliver(std::vector<BatchItem>& items, std::vector<std::string>& names);
  Done prepare_names(std::span<BatchItem> group, std::vector<std::string>& names);
  Done mark_present(std::span<BatchItem> group);
  Done make_durable(std::span<BatchItem> items);
  Done publish(std::span<BatchItem> group, std::vector<std::string>& names);

  // One more name of files that are there (maildir_twins.cc).
  Done link(Folder& to, std::span<const Twin* const> group, std::span<std::string* const> names);

  // Looking (maildir_copies.cc).
  using VisitFile = std::function<void(std::string_view file, std::optional<MaildirName> name, bool in_new)>;
  Done scan(const Handles& handles, const VisitFile& visit);
  Done ensure_index(Folder& folder, const Handles& handles);  // with folder.mutex held
  Result<std::vector<FoundCopy>> find(const Handles& handles, std::span<const DeliveryKey> keys);  // sorted
  Result<std::vector<FoundCopy>> look(Folder& folder, std::span<const DeliveryKey> keys);

  // Keywords and flags (maildir_flags.cc).
  Done settle_shared(Folder& folder, const Handles& handles);
  Result<KeywordTable> table_with(Folder& folder, const Handles& handles, const std::set<std::string>& keywords);
  std::string letters_of(const mail::FlagSet& flags, const KeywordTable& table);
  Result<std::string> flagged(Folder& folder, const Handles& handles, const std::string& file,
                              const mail::FlagSet& flags);
  Done subscribe(std::span<const std::vector<std::string>> mailboxes);

 private:
  std::mutex marker_mutex_;
  std::atomic<bool> marked_{false};
  std::mutex create_mutex_;
  std::unordered_set<std::string> there_;     // known to be there and durable
  std::unordered_set<std::string> doubtful_;  // made, but the sync failed
  std::mutex epoch_mutex_;
  EpochPtr epoch_;
  std::uint64_t epochs_ = 0;
  std::mutex keywords_mutex_;  // one change of a dovecot-keywords or subscriptions at a time
};

// Writes a whole file durably: a new one in `tmp` under `tmp_name`, synced, put in the place of `name`, directory
// synced.
Done replace_file(FileSystem& fs, Handle& tmp, const std::string& tmp_name, Handle& directory, const std::string& name,
                  std::string_view content);
// The whole of a small file; nullopt: there is none.
Result<std::optional<std::string>> read_file(FileSystem& fs, Handle& directory, const std::string& name);

}  // namespace mailhaul::store
