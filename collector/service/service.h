// The service: accounts, destinations, jobs and runs, as the REST API offers them and on behalf of a Viewer. What a
// viewer may not see is not there for them. Values in, values out; thread-safe.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "collector/service/access.h"
#include "collector/service/connection_test.h"
#include "collector/service/consent.h"
#include "collector/service/events.h"
#include "collector/service/ledger_view.h"
#include "collector/service/notifier.h"
#include "collector/service/outcome.h"
#include "collector/service/policy.h"
#include "collector/service/scheduler.h"
#include "collector/service/slow.h"
#include "protocols/discovery/discovery.h"

namespace mailhaul::service {

struct ServiceSettings {
  std::string data;        // our own directory
  std::string mail_root;   // destinations lie below it
  std::string master_key;  // a file; empty: a key beside the data
  std::string version;
  net::AddressGate gate;  // where accounts may lead
  SchedulerSettings scheduler;
};

struct AccountView {
  registry::AccountRow row;  // without the password
  collector::SourceAddress source;
  bool has_password = false;
  std::vector<registry::Id> jobs;
  std::string owner;
};

struct ChannelChange {  // absent: as it was; of a new channel: the default
  std::optional<std::string> name, url, from, to, ca;
  std::optional<std::vector<std::string>> topics;
  std::optional<Secret> secret;
  std::optional<bool> everyone, allow_plaintext;
};

struct ChannelView {
  registry::ChannelRow row;  // without the secret
  bool has_secret = false;
  std::string owner;
  std::string made_secret;  // of a webhook whose secret was made here: given out once
};

struct ChannelTrial {
  bool ok = false;
  std::string detail, advice;  // why not
};

struct DestinationView {
  registry::DestinationRow row;
  std::vector<registry::Id> jobs;
  std::string owner;
};

struct JobView {
  registry::JobRow row;
  std::string account_name, source, destination_path, owner;
  Scheduler::Now now;
  std::size_t held = 0;
};

struct RunView {
  registry::RunRow row;
  std::string account_name;
};

template <class T>
struct PageOf {
  std::vector<T> items;
  std::string next;  // cursor; empty: the last page
};

// One row more than the page was read, to know whether another page follows.
template <class T, class Row, class View>
Outcome<PageOf<T>> page_of(const std::vector<Row>& rows, std::size_t limit, View&& view) {
  PageOf<T> out;
  for (const auto& row : rows) {
    if (out.items.size() == limit) {
      out.next = std::to_string(out.items.back().row.id);
      break;
    }
    auto one = view(row);
    if (!one) return one.refusal();
    out.items.push_back(*std::move(one));
  }
  return out;
}

struct PageRequest {
  std::string cursor, search;
  std::size_t limit = 100;
  registry::Id job = 0, account = 0;
  std::optional<JobState> state;
};

struct AccountChange {  // absent: as it was; of a new account: the default
  std::optional<std::string> name, source, ca, authzid;
  std::optional<Secret> password;
  std::optional<bool> allow_plaintext;
};

struct JobChange {
  std::optional<std::string> policy, schedule;  // JSON
  std::optional<bool> paused;
};

struct ImportLine {
  std::size_t line = 0;
  std::string source;
  bool ok = false;
  std::string detail;
  registry::Id account = 0, job = 0;
};

struct SystemView {
  std::string version, mail_root;
  std::int64_t started = 0;
  std::uint64_t disk_free = 0, disk_reserve = 0, memory = 0;
  Scheduler::Load load;
  Totals totals;
  std::size_t workers = 0;
  Watcher::Load watched;
  bool key_generated = true;
  std::uint64_t notes_lost = 0;  // that are missing in the audit log
  Level log_level = Level::Info;
};

using Version = std::optional<std::int64_t>;  // the one that a change is meant for; nullopt: whatever there is

class Service {
 public:
  // Takes the data directory's lock, opens the database and the keys; nothing runs yet. One process a directory.
  static Result<std::unique_ptr<Service>> open(const ServiceSettings& settings, const Clock& clock);
  ~Service();
  // Puts a backup of the database in place of the one there is, which is kept beside it. Nothing may run; a backup that
  // is damaged, foreign or of a newer version changes nothing. Gives where the old one is kept, "": there was none.
  static Result<std::string> restore(const ServiceSettings& settings, const std::string& backup, const Clock& clock);
  Done start();
  void stop();  // runs end between two batches

  Access& access() { return *access_; }
  EventLog& events() { return events_; }

  Outcome<PageOf<AccountView>> accounts(const Viewer& viewer, const PageRequest& page);
  Outcome<AccountView> account(const Viewer& viewer, registry::Id id);
  Outcome<AccountView> add_account(const Viewer& viewer, const AccountChange& change);
  Outcome<AccountView> change_account(const Viewer& viewer, registry::Id id, const AccountChange& change,
                                      Version version);
  Accepted remove_account(const Viewer& viewer, registry::Id id);
  Outcome<TestReport> test(const Viewer& viewer, registry::Id id);
  Outcome<TestReport> test(const Viewer& viewer, const AccountChange& settings);
  // The server settings for an address; takes as long as the net does.
  Outcome<discovery::Findings> discover(const Viewer& viewer, const std::string& address);
  Outcome<std::vector<ImportLine>> import(const Viewer& viewer, const std::string& csv, bool dry_run);

  // OAuth instead of a password; a person allows it at the provider.
  Outcome<ConsentView> begin_consent(const Viewer& viewer, registry::Id account, const ConsentRequest& request);
  Outcome<ConsentView> finish_consent(const Viewer& viewer, registry::Id account, const std::string& query);
  Outcome<ConsentView> consent(const Viewer& viewer, registry::Id account);

  Outcome<PageOf<DestinationView>> destinations(const Viewer& viewer, const PageRequest& page);
  Outcome<DestinationView> destination(const Viewer& viewer, registry::Id id);
  // The mailbox of an IMAP account.
  Outcome<DestinationView> add_destination(const Viewer& viewer, const std::string& name, registry::Id account);
  Outcome<DestinationView> add_destination(const Viewer& viewer, const std::string& name, const std::string& path,
                                           const std::string& names);
  Accepted remove_destination(const Viewer& viewer, registry::Id id);

  // Where people are told of what happens; everybody's own. Changing where to wants the secret again.
  Outcome<PageOf<ChannelView>> channels(const Viewer& viewer, const PageRequest& page);
  Outcome<ChannelView> channel(const Viewer& viewer, registry::Id id);
  Outcome<ChannelView> add_channel(const Viewer& viewer, notify::Kind kind, const ChannelChange& change);
  Outcome<ChannelView> change_channel(const Viewer& viewer, registry::Id id, const ChannelChange& change,
                                      Version version);
  Accepted remove_channel(const Viewer& viewer, registry::Id id);
  Outcome<ChannelTrial> try_channel(const Viewer& viewer, registry::Id id);  // sends a message there, now

  Outcome<PageOf<JobView>> jobs(const Viewer& viewer, const PageRequest& page);
  Outcome<JobView> job(const Viewer& viewer, registry::Id id);
  Outcome<JobView> add_job(const Viewer& viewer, registry::Id account, registry::Id destination,
                           const JobChange& change);
  Outcome<JobView> change_job(const Viewer& viewer, registry::Id id, const JobChange& change, Version version);
  Accepted remove_job(const Viewer& viewer, registry::Id id);
  Outcome<JobView> run_job(const Viewer& viewer, registry::Id id, bool retry_failed);
  Outcome<JobView> cancel_job(const Viewer& viewer, registry::Id id);
  Outcome<JobView> release(const Viewer& viewer, registry::Id id, const std::string& mailbox);
  Outcome<RunView> preview(const Viewer& viewer, registry::Id id);
  Outcome<RunView> verify(const Viewer& viewer, registry::Id id, bool deep);
  Outcome<std::vector<MailboxView>> mailboxes(const Viewer& viewer, registry::Id job);
  Outcome<MessagePage> messages(const Viewer& viewer, registry::Id job, const MessageFilter& filter);

  Outcome<PageOf<RunView>> runs(const Viewer& viewer, const PageRequest& page);
  Outcome<RunView> run(const Viewer& viewer, registry::Id id);

  // The answer that a POST with this key got before; nullopt: none yet. Another request under it is a Conflict.
  struct Remembered {
    int status = 0;
    std::string body;
  };
  Outcome<std::optional<Remembered>> remembered(const Viewer& viewer, const std::string& key,
                                                const std::string& request);
  void remember(const Viewer& viewer, const std::string& key, const std::string& request, int status,
                const std::string& body);

  // A new key for everything that is sealed; the old ones are removed when nothing needs them. Nothing may run.
  Done rotate_key();
  // Opens every sealed password; an Error names the accounts whose password has to be entered again.
  Done verify_key();
  Done backup(const std::string& path);  // of the service's database, while others go on

  [[nodiscard]] SystemView system();
  // What is less is not logged, until the process ends; events for pages are not concerned.
  SystemView set_log_level(const Viewer& viewer, Level level);
  [[nodiscard]] Level log_level() const { return log_level_; }
  Result<bool> ready();  // database and disks

 private:
  struct Lock;
  Service(const ServiceSettings& settings, const Clock& clock);
  Outcome<registry::AccountRow> own_account(const Viewer& viewer, registry::Id id);
  Outcome<registry::JobRow> own_job(const Viewer& viewer, registry::Id id);
  Outcome<registry::ChannelRow> own_channel(const Viewer& viewer, registry::Id id);
  Accepted take(const Viewer& viewer, const ChannelChange& change, const Secret& secret,
                registry::ChannelRow& row) const;
  ChannelView view(const registry::ChannelRow& row);
  void try_at_once(registry::Id account);
  [[nodiscard]] Ground ground() const { return {settings_.data, &*secrets_, settings_.gate, consents_.get()}; }
  Outcome<AccountView> view(const registry::AccountRow& row);
  Outcome<DestinationView> view(const registry::DestinationRow& row);
  Outcome<DestinationView> keep(const Viewer& viewer, registry::DestinationRow row, const char* field);
  Outcome<JobView> view(const registry::JobRow& row);
  Outcome<RunView> view(const registry::RunRow& row);
  Outcome<std::string> path_below_root(const std::string& path) const;
  Accepted take(const AccountChange& change, registry::AccountRow& row) const;
  // An address alone becomes a source by discovery.
  Accepted complete(const Viewer& viewer, AccountChange& change);
  Outcome<RunView> queue(const Viewer& viewer, registry::Id job, registry::RunKind kind, const std::string& options);
  Outcome<JobView> wish(const Viewer& viewer, registry::Id job, const Wish& more);
  ImportLine import_line(const Viewer& viewer, const std::vector<std::string>& names,
                         const std::vector<std::string>& values, bool dry_run);
  std::string name_of(registry::Id user);
  [[nodiscard]] std::uint64_t disk_free() const;
  Outcome<TestReport> try_settings(const Viewer& viewer, const AccountChange& asked);

  const ServiceSettings settings_;
  const Clock& clock_;
  std::int64_t started_ = 0;
  std::atomic<int> slow_{0};
  std::atomic<Level> log_level_{Level::Info};
  std::stop_source stopping_;
  std::unique_ptr<Lock> lock_;  // first taken, last given up
  std::unique_ptr<registry::Registry> registry_;
  std::optional<registry::SecretBox> secrets_;
  EventLog events_;
  std::unique_ptr<Consents> consents_;
  std::unique_ptr<Access> access_;
  std::unique_ptr<Notifier> notifier_;
  std::unique_ptr<Scheduler> scheduler_;
};

}  // namespace mailhaul::service
