// Private to the ledger: its connections, and the transaction's insides.
#pragma once
#include <atomic>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "store/ledger_rows.h"

namespace mailhaul::store {

// An flock(2) on a file beside the state, given up when the process ends, however it ends. The file stays: removing it
// would let two processes lock two files of one name.
class StateLock {
 public:
  StateLock() = default;
  StateLock(const StateLock&) = delete;
  StateLock& operator=(const StateLock&) = delete;
  ~StateLock();
  Done take(const std::string& state_path);

 private:
  int file_ = -1;
};

struct Ledger::Impl {
  StateLock lock;  // first, so that it is given up last
  std::mutex writing;
  std::unique_ptr<sqlite::Database> writer;
  std::atomic<std::thread::id> owner{};  // the thread that holds a Transaction
  std::optional<Error> broken;           // guarded by `writing`
  std::mutex reading;
  std::unique_ptr<sqlite::Database> reader;  // nullptr: there can be one connection only

  template <class F>
  auto read(F&& f) -> decltype(f(*writer)) {
    if (reader) {
      const std::lock_guard hold(reading);
      return f(*reader);
    }
    if (owner.load() == std::this_thread::get_id())
      return rows::refused("a read while this thread holds a transaction");
    const std::lock_guard hold(writing);
    return f(*writer);
  }
  // As read(), for the rows of one generation.
  template <class F>
  auto read_life(MailboxId mailbox, std::uint32_t generation, F&& f) {
    return read([&](sqlite::Database& db) -> decltype(f(db, rows::Life{})) {
      auto life = rows::find_life(db, mailbox, generation);
      if (!life) return life.error();
      return f(db, *life);
    });
  }
};

struct Ledger::Transaction::Impl {
  struct OpenLife : rows::Life {
    Tally change;  // to be added, modulo 2^64, to the stored tally at commit
  };
  struct Stored {  // what a tally needs to know of a row as it is in the table
    MessageState state = MessageState::Listed;
    std::optional<std::uint64_t> octets;
  };

  explicit Impl(Ledger::Impl& of) : ledger(of), hold(of.writing), db(*of.writer) {}
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl();

  Ledger::Impl& ledger;
  std::unique_lock<std::mutex> hold;
  sqlite::Database& db;
  bool begun = false;
  std::optional<Error> failed;  // the first one
  std::map<std::pair<std::int64_t, std::uint32_t>, OpenLife> lives;
  std::map<std::string, std::int64_t, std::less<>> directories;

  // Runs one operation unless an earlier one failed, and remembers its failure.
  template <class F>
  auto attempt(F&& f) -> decltype(f()) {
    if (failed) return *failed;
    auto result = f();
    if (!result) failed = result.error();
    return result;
  }

  Result<OpenLife*> life(MailboxId mailbox, std::uint32_t generation);
  // Every change of a row's state or size goes through here: nullopt stands for a row that is not there.
  static void moved(OpenLife& life, const std::optional<Stored>& before, const std::optional<Stored>& after);
  Result<std::optional<Stored>> stored(std::int64_t key);
  static Result<std::optional<Stored>> stored(sqlite::Statement& select, std::int64_t key);
  Result<std::int64_t> directory(std::string_view name);
  Result<bool> has_copy(std::int64_t key);
  // One existing row: ?1 its id, ?2 its state afterwards, ?3 `value`.
  Done change(OpenLife& life, mail::Uid uid, MessageState state, const char* sql, std::int64_t value);
  Done flush();  // the tallies' changes into the table
  Done orphan_all(OpenLife& life);
  Done list(OpenLife& life, const mail::UidSet& uids);
  Done settle(OpenLife& life, std::span<const Settled> batch);
  Done put_one(OpenLife& life, const MessageRow& row);
  Done new_generation(MailboxId mailbox, std::optional<mail::UidValidity> validity, std::int64_t now);
  Done rebind(OpenLife& old_life, mail::Uid from, OpenLife& new_life, mail::Uid to);
  Result<MailboxRow> add_mailbox(AccountId account, const MailboxRow& row);
  Done update_mailbox(const MailboxRow& row);
  Done add_generation(MailboxId mailbox, std::uint32_t number, std::optional<mail::UidValidity> validity,
                      std::int64_t began);
  Done finish(const char* how);  // COMMIT or ROLLBACK
};

}  // namespace mailhaul::store
