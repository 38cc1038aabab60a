// Who may do what: the first start, users, sessions, API tokens, limits against guessing, and the audit log.
// Thread-safe.
#pragma once
#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "collector/service/events.h"
#include "collector/service/outcome.h"
#include "protocols/base/types.h"
#include "store/registry/registry.h"

namespace mailhaul::service {

enum Permission : unsigned { kRead = 1, kWrite = 2, kRun = 4, kAdmin = 8, kMetrics = 16 };
using Scopes = unsigned;  // of Permission
std::vector<std::string> scope_names(Scopes scopes);
std::optional<Scopes> scopes_from(const std::vector<std::string>& names);
Scopes scopes_of(registry::Role role);  // what a person of that role may do
std::string_view to_text(registry::Role role);
std::optional<registry::Role> role_from(std::string_view text);

struct Viewer {  // on whose behalf something is asked
  registry::Id user = 0;
  std::string name;
  registry::Role role = registry::Role::Viewer;
  Scopes scopes = 0;
  std::string csrf;          // of a session; empty: an API token
  std::string session_hash;  // likewise
  std::string address;       // where from
  std::int64_t expires = 0;
  registry::Id token = 0;  // of an API token
  [[nodiscard]] bool may(Scopes scope) const { return (scopes & scope) == scope; }
  // Owners see everything, others what is theirs. 0: everybody's.
  [[nodiscard]] registry::Id sees() const { return role == registry::Role::Owner ? 0 : user; }
};

struct LoggedIn {
  Viewer viewer;
  std::string cookie;  // the session's secret; given out once
};

struct NewToken {
  registry::TokenRow row;
  std::string secret;
};

class Access {
 public:
  Access(registry::Registry& registry, const Clock& clock, EventLog& events, std::string data);

  // Makes a setup token if there is no owner yet, and leaves it in `data`/setup-token. Empty: it is not needed.
  Result<std::string> prepare();
  [[nodiscard]] bool setup_needed();
  Outcome<LoggedIn> set_up(std::string_view token, const std::string& name, const Secret& password,
                           const std::string& address);

  // Whoever may write into the data directory: a user without a password, so that nobody logs in as it.
  Result<Viewer> local();
  Outcome<LoggedIn> log_in(const std::string& name, const Secret& password, const std::string& address);
  Done log_out(const Viewer& viewer);
  Outcome<Viewer> by_session(std::string_view cookie, const std::string& address);
  Outcome<Viewer> by_token(std::string_view secret, const std::string& address);

  // Is this session or token still good? Asks the database; withdrawals() says when it is worth asking again.
  bool still(const Viewer& viewer);
  [[nodiscard]] bool is_over(const Viewer& viewer) const {
    return viewer.expires != 0 && viewer.expires <= clock_.unix_seconds();
  }
  [[nodiscard]] std::uint64_t withdrawals() const { return withdrawals_; }

  Outcome<std::vector<registry::UserRow>> users(const Viewer& viewer);
  Outcome<registry::UserRow> add_user(const Viewer& viewer, const std::string& name, const Secret& password,
                                      registry::Role role);
  struct UserChange {
    std::optional<registry::Role> role;
    std::optional<Secret> password, old_password;
  };
  Outcome<registry::UserRow> change_user(const Viewer& viewer, registry::Id id, const UserChange& change);
  Accepted remove_user(const Viewer& viewer, registry::Id id);

  Outcome<std::vector<registry::TokenRow>> tokens(const Viewer& viewer);
  Outcome<NewToken> add_token(const Viewer& viewer, const std::string& name, Scopes scopes, std::int64_t expires);
  Accepted remove_token(const Viewer& viewer, registry::Id id);

  // What cannot be written down is done all the same, and told: in the log, to owners, and as a number.
  void note(const Viewer& viewer, std::string what, std::string object, std::string result = "done");
  [[nodiscard]] std::uint64_t notes_lost() const { return notes_lost_; }
  Outcome<std::vector<registry::AuditRow>> audit(const Viewer& viewer, registry::Id before, std::size_t limit);

  // May `who` do this once more? At most `most` times in `span`; else the seconds to wait.
  std::optional<std::int64_t> limit(const std::string& who, std::size_t most, std::chrono::seconds span);

 private:
  Outcome<LoggedIn> open_session(const registry::UserRow& user, const std::string& address);
  registry::Registry& registry_;
  const Clock& clock_;
  EventLog& events_;
  const std::string data_;
  std::atomic<std::uint64_t> withdrawals_{0}, notes_lost_{0};
  std::mutex mutex_;
  std::string setup_token_;
  std::map<std::string, std::deque<std::chrono::steady_clock::time_point>> tries_;
};

}  // namespace mailhaul::service
