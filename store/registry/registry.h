// What the service remembers beside mail: who may use it, accounts, destinations, jobs and how they went. One SQLite
// file. Rows as values; JSON columns (policy, schedule, counts, report) are the caller's, passwords come sealed. Every
// call is one transaction and durable when it returns. Thread-safe. Errors: Scope::Service, as store/sqlite makes them.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/result.h"
#include "store/sqlite/database.h"

namespace mailhaul::registry {

using Id = std::int64_t;  // > 0, never given again

enum class Role { Owner, Operator, Viewer };  // stored

struct UserRow {
  Id id = 0;
  std::string name;
  std::string password;  // an argon2id string
  Role role = Role::Viewer;
  std::int64_t created = 0;
};

struct SessionRow {
  std::string hash;  // SHA-256 of the cookie's value
  Id user = 0;
  std::string csrf;
  std::int64_t created = 0, seen = 0;
};

struct TokenRow {
  Id id = 0, user = 0;
  std::string name;
  std::string hash;    // SHA-256 of the secret
  std::string prefix;  // its first characters, for people
  std::string scopes;  // words, one space between
  std::int64_t created = 0, expires = 0, last_used = 0;
};

struct DestinationRow {  // a Maildir at `path`, or the mailbox of an account
  Id id = 0, owner = 0;
  std::string name, path, names;
  std::int64_t created = 0;
  Id account = 0;      // 0: a Maildir
  std::string source;  // the account's; read, never written
  [[nodiscard]] const std::string& place() const { return account == 0 ? path : source; }  // for people
};

struct AccountRow {
  Id id = 0, owner = 0;
  std::string name, source;
  bool allow_plaintext = false;
  std::string ca, authzid;
  std::string password;  // sealed; empty: none
  std::int64_t created = 0, updated = 0, version = 1;
};

struct JobRow {
  Id id = 0, owner = 0, account = 0, destination = 0;
  std::string policy, schedule;  // JSON
  bool paused = false;
  std::int64_t created = 0, updated = 0, version = 1;
  // How it goes; not part of `version`.
  std::string wanted;         // JSON: what a person asked for that has not begun yet; empty: nothing
  bool finished = false;      // of kind once, and complete
  std::int64_t next_run = 0;  // 0: as soon as can be
  std::int64_t failures = 0;  // runs in a row that could not run
  std::int64_t failing_since = 0;
  bool attention = false;  // trying again alone will not help
  std::string error, advice;
  std::int64_t last_success = 0;
  Id last_run = 0;
  std::string counts;     // JSON
  std::int64_t told = 0;  // what its owner was told and has not been revoked: bits of the caller's
};

enum class RunKind { Collect, Preview, Verify };                                 // stored
enum class RunState { Queued, Running, Complete, Incomplete, Stopped, Failed };  // stored
enum class Cause { Schedule, Person, Retry, Push };                              // stored

struct RunRow {
  Id id = 0, job = 0;
  RunKind kind = RunKind::Collect;
  RunState state = RunState::Queued;
  Cause cause = Cause::Schedule;
  std::int64_t started = 0, ended = 0;
  std::uint64_t delivered = 0, octets = 0, failed = 0;
  std::string error, advice;
  std::string options, report;  // JSON
};

struct AuditRow {
  Id id = 0;
  std::int64_t at = 0;
  std::string who, what, object, result, address;
};

struct ChannelRow {  // where somebody is told of what happens
  Id id = 0, owner = 0;
  std::string name;
  int kind = 0;  // the caller's
  std::string url, sender, recipient, ca;
  std::string topics;     // words, one space between
  bool everyone = false;  // of everybody's jobs, not of the owner's alone
  bool allow_plaintext = false;
  std::string secret;  // sealed; empty: none
  std::int64_t created = 0, updated = 0, version = 1;
  // How it goes; not part of `version`.
  std::int64_t told = 0;  // when something last went through
  std::string error;      // why the last try failed; empty: it did not
};

struct NoticeRow {  // one message that one channel has not taken yet
  Id id = 0, channel = 0;
  std::string key;    // random; the same at each try, and for each channel
  std::string topic;  // a word of ChannelRow::topics; not kept
  std::string type;
  std::int64_t at = 0;
  std::string title, text;
  std::string data;  // JSON
  std::int64_t attempts = 0, next_try = 0;
};

enum class Sealed { Password, ChannelSecret };  // of an account, of a channel

struct IdempotencyRow {
  std::string key;
  Id user = 0;
  std::string request;  // SHA-256 of method, path and body
  int status = 0;
  std::string body;
  std::int64_t created = 0;
};

class Registry {
 public:
  // Creates the file if need be, mode 0600; its directory must exist. The caller holds the data directory's lock.
  // Before the schema of an existing file is changed, a copy is left beside it (…before-NNNN).
  static Result<std::unique_ptr<Registry>> open(const std::string& path);
  ~Registry();

  Result<std::string> setting(std::string_view name);  // "": not set
  Done set(std::string_view name, std::string_view value);

  Result<std::vector<UserRow>> users();
  Result<std::optional<UserRow>> user(Id id);
  Result<std::optional<UserRow>> user(std::string_view name);
  Result<Id> add(const UserRow& row);  // a name that is taken: Retry::AfterUserAction
  // The first owner, and only that: nullopt if there is one already.
  Result<std::optional<Id>> add_first(const UserRow& row);
  Done update(const UserRow& row);
  Result<bool> remove_user(Id id);  // false: it owns something

  Done add(const SessionRow& row);
  Result<std::optional<SessionRow>> session(std::string_view hash);
  Done touch_session(std::string_view hash, std::int64_t now);
  Done remove_session(std::string_view hash);
  Done remove_sessions(Id user, std::string_view but);            // all of a user's, but this one
  Done expire_sessions(std::int64_t created, std::int64_t seen);  // made or last seen before

  Result<std::vector<TokenRow>> tokens(Id user);
  Result<std::optional<TokenRow>> token(std::string_view hash);
  Result<Id> add(const TokenRow& row);
  Done touch_token(Id id, std::int64_t now);
  Result<bool> remove_token(Id id, Id user);

  // Lists: by id, after `after`, at most `limit`; owner 0: everybody's. `search`: a part of what people see.
  struct Page {
    Id owner = 0;
    Id after = 0;
    std::size_t limit = 100;
    std::string search;
    Id job = 0;      // of runs
    Id account = 0;  // of jobs
  };
  Result<std::vector<DestinationRow>> destinations(const Page& page);
  Result<std::optional<DestinationRow>> destination(Id id);
  Result<std::optional<DestinationRow>> destination_at(std::string_view path);
  Result<std::optional<DestinationRow>> destination_of_account(Id account);
  Result<Id> add(const DestinationRow& row);
  Result<bool> remove_destination(Id id);  // false: a job uses it

  Result<std::vector<AccountRow>> accounts(const Page& page);
  Result<std::optional<AccountRow>> account(Id id);
  // `seal` gives the password as it is to be kept, bound to the row's id.
  using Seal = std::function<Result<std::string>(Id id)>;
  Result<Id> add(const AccountRow& row, const Seal& seal);
  Done update(const AccountRow& row);  // counts `version` up
  // Everything that is sealed, once more; nothing is changed if one of them fails.
  Done reseal(const std::function<Result<std::string>(Sealed what, Id id, const std::string& sealed)>& again);
  Done keep_password(Id id, std::string_view sealed);  // nothing else of the account changes, its version neither
  Done remove_account(Id id);                          // and its jobs

  Result<std::vector<JobRow>> jobs(const Page& page);
  Result<std::optional<JobRow>> job(Id id);
  Result<std::vector<Id>> jobs_of_destination(Id destination);
  Result<Id> add(const JobRow& row);  // the pair of account and destination is taken: AfterUserAction
  Done update_job(Id id, const std::function<void(JobRow&)>& change);  // read, changed, written as one
  // The same, and what it gives is told to the channels of the job's owner, in one transaction. True: somebody is told.
  Result<bool> update_job_and_tell(Id id, const std::function<std::vector<NoticeRow>(JobRow&)>& change);
  Done remove_job(Id id);

  Result<std::vector<RunRow>> runs(const Page& page);  // newest first, without report; `after`: before that id
  Result<std::optional<RunRow>> run(Id id);
  Result<Id> add(const RunRow& row);
  Done update(const RunRow& row);
  Done forget_runs(Id job, std::size_t keep);  // all but the newest
  Done end_broken_runs(std::int64_t now);      // what ran when the process died has stopped

  Result<std::vector<ChannelRow>> channels(const Page& page);
  Result<std::optional<ChannelRow>> channel(Id id);
  Result<Id> add(const ChannelRow& row, const Seal& seal);
  Done update(const ChannelRow& row);  // counts `version` up
  Done remove_channel(Id id);          // and what it was still to be told
  // For the channels of all owners (by role) that want the topic; `setting` gets `value` in the same transaction. True:
  // somebody is told.
  Result<bool> tell_owners(const NoticeRow& notice, std::string_view setting, std::string_view value);
  // The next message that is due: the oldest of its channel, so that each channel hears things in their order.
  Result<std::optional<NoticeRow>> due_notice(std::int64_t now);
  Result<std::optional<std::int64_t>> next_notice();            // when one is due; nullopt: there is none
  Done settle_told(const NoticeRow& notice, std::int64_t now);  // it was taken
  Done settle_untold(const NoticeRow& notice, std::int64_t next_try, std::string_view error);  // 0: not tried again

  Done add(const AuditRow& row);
  Result<std::vector<AuditRow>> audit(Id before, std::size_t limit);  // newest first; before 0: from the newest
  Result<bool> audit_is_whole();                                      // the chain of digests from the first to the last

  Result<std::optional<IdempotencyRow>> idempotency(Id user, std::string_view key);
  Done add(const IdempotencyRow& row);
  Done expire_idempotency(std::int64_t created);

  // A consistent copy of the database as it is now, at `path`, which must not exist. Others go on meanwhile.
  Done backup(const std::string& path);
  Done examine();          // the whole file, page by page; an Error says that it is damaged
  Result<bool> answers();  // is the database there and readable? For readiness

 private:
  explicit Registry(std::unique_ptr<sqlite::Database> db) : db_(std::move(db)) {}
  template <class F>
  auto locked(F&& f) -> decltype(f(std::declval<sqlite::Database&>()));
  template <class F>
  auto whole(F&& f) -> decltype(f(std::declval<sqlite::Database&>()));  // in one transaction

  std::mutex mutex_;
  std::unique_ptr<sqlite::Database> db_;
};

}  // namespace mailhaul::registry
