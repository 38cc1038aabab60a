#include "collector/service/access.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "store/registry/secrets.h"

namespace mailhaul::service {

using registry::Id;
using registry::Role;
using registry::UserRow;

namespace {

constexpr std::array<const char*, 3> kRoles{"owner", "operator", "viewer"};
constexpr std::array<const char*, 5> kScopes{"read", "write", "run", "admin", "metrics"};
constexpr std::int64_t kIdle = std::int64_t{12} * 3600;
constexpr std::int64_t kLongest = std::int64_t{7} * 86'400;
constexpr std::size_t kShortest = 12;
constexpr char kTokenPrefix[] = "mhl_";
constexpr std::chrono::seconds kMinute{60};

Refusal not_allowed(std::string what) { return {Why::NotAllowed, std::move(what), "Ask an owner of this service."}; }

Refusal wait_for(std::int64_t seconds) {
  Refusal refusal{Why::TooMany, "too many tries", "Wait a moment and try again."};
  refusal.wait = seconds;
  return refusal;
}

Accepted check_name(const std::string& name) {
  constexpr std::size_t kMost = 100;
  const bool odd = std::ranges::any_of(name, [](unsigned char c) { return c < 0x20 || c == 0x7f; });
  if (name.empty() || name.size() > kMost || odd || name.front() == ' ' || name.back() == ' ')
    return invalid("name", "a user's name has 1 to 100 characters and no line ends");
  return accepted();
}

Accepted check_password(const Secret& password, const std::string& name) {
  const auto& text = password.reveal();
  if (text.size() < kShortest || text.size() > 1000)
    return invalid("password", "a password has 12 to 1000 characters", "Four or five words make a good one.");
  const bool one_letter = std::ranges::all_of(text, [&](char c) { return c == text[0]; });
  if (one_letter || text.starts_with("password") || text.starts_with("12345678") || text.find(name) == 0)
    return invalid("password", "this password would be guessed at once", "Four or five words make a good one.");
  return accepted();
}

}  // namespace

std::vector<std::string> scope_names(Scopes scopes) {
  std::vector<std::string> out;
  for (std::size_t n = 0; n < kScopes.size(); ++n)
    if (scopes & (1U << n)) out.emplace_back(kScopes.at(n));
  return out;
}

std::optional<Scopes> scopes_from(const std::vector<std::string>& names) {
  Scopes scopes = 0;
  for (const auto& name : names) {
    const auto found = std::ranges::find(kScopes, name);
    if (found == kScopes.end()) return std::nullopt;
    scopes |= 1U << (found - kScopes.begin());
  }
  return scopes;
}

Scopes scopes_of(Role role) {
  switch (role) {
    case Role::Owner:
      return kRead | kWrite | kRun | kAdmin | kMetrics;
    case Role::Operator:
      return kRead | kWrite | kRun;
    case Role::Viewer:
      break;
  }
  return kRead;
}

std::string_view to_text(Role role) { return kRoles.at(static_cast<std::size_t>(role)); }

std::optional<Role> role_from(std::string_view text) {
  const auto found = std::ranges::find(kRoles, text);
  if (found == kRoles.end()) return std::nullopt;
  return static_cast<Role>(found - kRoles.begin());
}

Access::Access(registry::Registry& registry, const Clock& clock, EventLog& events, std::string data)
    : registry_(registry), clock_(clock), events_(events), data_(std::move(data)) {}

Result<std::string> Access::prepare() {
  auto users = registry_.users();
  if (!users) return users.error();
  const auto path = data_ + "/setup-token";
  if (std::ranges::any_of(*users, [](const UserRow& user) { return user.role == Role::Owner; })) {
    ::unlink(path.c_str());
    return std::string();
  }
  const std::lock_guard lock(mutex_);
  setup_token_ = registry::random_token(18);
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  const auto line = setup_token_ + "\n";
  const bool written = file >= 0 && ::write(file, line.data(), line.size()) == static_cast<ssize_t>(line.size());
  if (file >= 0) ::close(file);
  if (!written)
    return Error{Scope::Service, Retry::AfterUserAction, "the file " + path + " cannot be written",
                 "The data directory must be writable by the user who runs this program."};
  return setup_token_;
}

bool Access::setup_needed() {
  const std::lock_guard lock(mutex_);
  return !setup_token_.empty();
}

Outcome<LoggedIn> Access::set_up(std::string_view token, const std::string& name, const Secret& password,
                                 const std::string& address) {
  if (const auto wait = limit("setup", 10, kMinute)) return wait_for(*wait);
  {
    const std::lock_guard lock(mutex_);
    if (setup_token_.empty())
      return Refusal{Why::Conflict, "this service is set up already", "Log in, or ask its owner for an account."};
    if (!registry::equal_in_constant_time(registry::token_hash(token), registry::token_hash(setup_token_)))
      return invalid("token", "this is not the setup token",
                     "The service printed it when it started, and keeps it in the file setup-token of its data "
                     "directory.");
  }
  if (auto fine = check_name(name); !fine) return fine.refusal();
  if (auto fine = check_password(password, name); !fine) return fine.refusal();
  auto hash = registry::hash_password(password);
  if (!hash) return hash.error();
  UserRow user{0, name, *std::move(hash), Role::Owner, clock_.unix_seconds()};
  auto id = registry_.add_first(user);
  if (!id) return id.error();
  if (!*id) return Refusal{Why::Conflict, "this service is set up already", "Log in."};
  user.id = **id;
  {
    const std::lock_guard lock(mutex_);
    setup_token_.clear();
  }
  ::unlink((data_ + "/setup-token").c_str());
  return open_session(user, address);
}

Outcome<LoggedIn> Access::open_session(const UserRow& user, const std::string& address) {
  LoggedIn in;
  const auto now = clock_.unix_seconds();
  in.cookie = registry::random_token();
  in.viewer = {user.id,
               user.name,
               user.role,
               scopes_of(user.role),
               registry::random_token(18),
               registry::token_hash(in.cookie),
               address,
               now + kLongest};
  if (auto kept = registry_.add({in.viewer.session_hash, user.id, in.viewer.csrf, now, now}); !kept)
    return kept.error();
  note(in.viewer, "log in", "user " + std::to_string(user.id));
  return in;
}

Result<Viewer> Access::local() {
  constexpr char kName[] = "local";
  auto user = registry_.user(std::string_view(kName));
  if (!user) return user.error();
  if (!*user) {
    auto id = registry_.add(UserRow{0, kName, "", Role::Operator, clock_.unix_seconds()});
    if (!id) return id.error();
    user = registry_.user(*id);
    if (!user) return user.error();
  }
  return Viewer{(*user)->id, kName, Role::Operator, scopes_of(Role::Operator), "", "", "this machine", 0};
}

Outcome<LoggedIn> Access::log_in(const std::string& name, const Secret& password, const std::string& address) {
  if (const auto wait = limit("login from " + address, 10, kMinute)) return wait_for(*wait);
  if (const auto wait = limit("login as " + name, 10, kMinute)) return wait_for(*wait);
  auto user = registry_.user(std::string_view(name));
  if (!user) return user.error();
  if (!registry::password_matches(password, *user ? (*user)->password : std::string())) {
    Viewer nobody;
    nobody.name = name.substr(0, 100);
    nobody.address = address;
    note(nobody, "log in", "", "refused");
    return Refusal{Why::Invalid, "name and password do not match", "", "password"};
  }
  const auto now = clock_.unix_seconds();
  (void)registry_.expire_sessions(now - kLongest, now - kIdle);
  return open_session(**user, address);
}

Done Access::log_out(const Viewer& viewer) {
  note(viewer, "log out", "user " + std::to_string(viewer.user));
  auto out = registry_.remove_session(viewer.session_hash);
  ++withdrawals_;
  return out;
}

Outcome<Viewer> Access::by_session(std::string_view cookie, const std::string& address) {
  const auto hash = registry::token_hash(cookie);
  auto session = registry_.session(hash);
  if (!session) return session.error();
  const auto now = clock_.unix_seconds();
  const Refusal over{Why::NotAllowed, "the session is over", "Log in again."};
  if (!*session || now - (*session)->created > kLongest || now - (*session)->seen > kIdle) return over;
  auto user = registry_.user((*session)->user);
  if (!user) return user.error();
  if (!*user) return over;
  if (now - (*session)->seen > 60)
    if (auto touched = registry_.touch_session(hash, now); !touched) return touched.error();
  return Viewer{(*user)->id,
                (*user)->name,
                (*user)->role,
                scopes_of((*user)->role),
                (*session)->csrf,
                hash,
                address,
                (*session)->created + kLongest,
                0};
}

bool Access::still(const Viewer& viewer) {
  if (is_over(viewer)) return false;
  if (viewer.token == 0) {
    const auto session = registry_.session(viewer.session_hash);
    return !session || *session;  // trouble of ours withdraws nothing
  }
  const auto tokens = registry_.tokens(viewer.user);
  return !tokens || std::ranges::any_of(*tokens, [&](const auto& one) { return one.id == viewer.token; });
}

Outcome<Viewer> Access::by_token(std::string_view secret, const std::string& address) {
  auto token = registry_.token(registry::token_hash(secret));
  if (!token) return token.error();
  const auto now = clock_.unix_seconds();
  if (!*token || ((*token)->expires != 0 && (*token)->expires <= now))
    return Refusal{Why::NotAllowed, "this token is not known, or has expired", "Make another one."};
  auto user = registry_.user((*token)->user);
  if (!user) return user.error();
  if (!*user) return Refusal{Why::NotAllowed, "the token's user is no more"};
  if (now - (*token)->last_used > 60)
    if (auto touched = registry_.touch_token((*token)->id, now); !touched) return touched.error();
  std::vector<std::string> words;
  for (const auto& name : kScopes)
    if ((" " + (*token)->scopes + " ").find(" " + std::string(name) + " ") != std::string::npos)
      words.emplace_back(name);
  // A token never may what its user may not, whatever was written into it.
  const auto scopes = scopes_from(words).value_or(0) & scopes_of((*user)->role);
  return Viewer{(*user)->id, (*user)->name, (*user)->role, scopes, "", "", address, (*token)->expires, (*token)->id};
}

Outcome<std::vector<UserRow>> Access::users(const Viewer& viewer) {
  auto all = registry_.users();
  if (!all) return all.error();
  if (!viewer.may(kAdmin)) std::erase_if(*all, [&](const UserRow& user) { return user.id != viewer.user; });
  return *std::move(all);
}

Outcome<UserRow> Access::add_user(const Viewer& viewer, const std::string& name, const Secret& password, Role role) {
  if (!viewer.may(kAdmin)) return not_allowed("only an owner adds users");
  if (auto fine = check_name(name); !fine) return fine.refusal();
  if (auto fine = check_password(password, name); !fine) return fine.refusal();
  auto hash = registry::hash_password(password);
  if (!hash) return hash.error();
  UserRow user{0, name, *std::move(hash), role, clock_.unix_seconds()};
  auto id = registry_.add(user);
  if (!id && id.error().retry == Retry::AfterUserAction)
    return Refusal{Why::Conflict, id.error().what, "Choose another name.", "name"};
  if (!id) return id.error();
  user.id = *id;
  note(viewer, "add user", "user " + std::to_string(user.id));
  return user;
}

Outcome<UserRow> Access::change_user(const Viewer& viewer, Id id, const UserChange& change) {
  auto user = registry_.user(id);
  if (!user) return user.error();
  const bool self = id == viewer.user;
  if (!*user || (!self && !viewer.may(kAdmin))) return not_found("there is no such user");
  if (viewer.csrf.empty() && !viewer.may(kAdmin)) return not_allowed("an API token cannot change its user");
  auto row = **user;
  if (change.role && *change.role != row.role) {
    if (!viewer.may(kAdmin)) return not_allowed("only an owner changes roles");
    if (self) return Refusal{Why::Conflict, "one's own role cannot be changed", "Another owner can.", "role"};
    row.role = *change.role;
  }
  if (change.password) {
    if (self && !(change.old_password && registry::password_matches(*change.old_password, row.password)))
      return invalid("old_password", "this is not the old password");
    if (auto fine = check_password(*change.password, row.name); !fine) return fine.refusal();
    auto hash = registry::hash_password(*change.password);
    if (!hash) return hash.error();
    row.password = *std::move(hash);
  }
  if (auto updated = registry_.update(row); !updated) return updated.error();
  if (change.password)
    if (auto out = registry_.remove_sessions(id, viewer.session_hash); !out) return out.error();
  ++withdrawals_;
  note(viewer, "change user", "user " + std::to_string(id));
  return row;
}

Accepted Access::remove_user(const Viewer& viewer, Id id) {
  if (!viewer.may(kAdmin)) return not_allowed("only an owner removes users");
  if (id == viewer.user) return Refusal{Why::Conflict, "one cannot remove oneself", "Another owner can."};
  auto user = registry_.user(id);
  if (!user) return user.error();
  if (!*user) return not_found("there is no such user");
  auto removed = registry_.remove_user(id);
  ++withdrawals_;
  if (!removed) return removed.error();
  if (!*removed) return Refusal{Why::Conflict, "this user still owns accounts or destinations", "Remove those first."};
  note(viewer, "remove user", "user " + std::to_string(id));
  return accepted();
}

Outcome<std::vector<registry::TokenRow>> Access::tokens(const Viewer& viewer) {
  auto all = registry_.tokens(viewer.user);
  if (!all) return all.error();
  return *std::move(all);
}

Outcome<NewToken> Access::add_token(const Viewer& viewer, const std::string& name, Scopes scopes,
                                    std::int64_t expires) {
  // A token that could make tokens would outlive its own revocation.
  if (viewer.csrf.empty()) return not_allowed("tokens are made by people, not by tokens");
  if (auto fine = check_name(name); !fine) return invalid("name", "a token's name has 1 to 100 characters");
  if (!viewer.may(scopes)) return Refusal{Why::Invalid, "your own role does not have these scopes", "", "scopes"};
  const auto now = clock_.unix_seconds();
  if (expires != 0 && expires <= now) return invalid("expires", "this time has passed");
  NewToken made;
  made.secret = kTokenPrefix + registry::random_token();
  std::string words;
  for (const auto& word : scope_names(scopes)) words += (words.empty() ? "" : " ") + word;
  made.row = {0,   viewer.user, name, registry::token_hash(made.secret), made.secret.substr(0, 9), words,
              now, expires,     0};
  auto id = registry_.add(made.row);
  if (!id) return id.error();
  made.row.id = *id;
  note(viewer, "make token", "token " + std::to_string(*id));
  return made;
}

Accepted Access::remove_token(const Viewer& viewer, Id id) {
  auto removed = registry_.remove_token(id, viewer.user);
  ++withdrawals_;
  if (!removed) return removed.error();
  if (!*removed) return not_found("there is no such token");
  note(viewer, "revoke token", "token " + std::to_string(id));
  return accepted();
}

void Access::note(const Viewer& viewer, std::string what, std::string object, std::string result) {
  // A full disk must not keep anybody from logging in and mending it.
  registry::AuditRow row{
      0, clock_.unix_seconds(), viewer.name, std::move(what), std::move(object), std::move(result), viewer.address};
  const auto noted = registry_.add(row);
  if (noted) return;
  ++notes_lost_;
  events_.add({.kind = EventKind::Log,
               .level = Level::Error,
               .text = "not in the audit log: " + row.who + ", " + row.what + " " + row.object + " (" + row.result +
                       "): " + noted.error().what});
}

Outcome<std::vector<registry::AuditRow>> Access::audit(const Viewer& viewer, Id before, std::size_t limit) {
  if (!viewer.may(kAdmin)) return not_allowed("only an owner reads the audit log");
  auto rows = registry_.audit(before, limit);
  if (!rows) return rows.error();
  return *std::move(rows);
}

std::optional<std::int64_t> Access::limit(const std::string& who, std::size_t most, std::chrono::seconds span) {
  const std::lock_guard lock(mutex_);
  const auto now = clock_.steady();
  constexpr std::size_t kKept = 10'000;
  if (tries_.size() > kKept) tries_.clear();  // a flood of names: forget, rather than grow
  auto& tries = tries_[who];
  while (!tries.empty() && now - tries.front() >= span) tries.pop_front();
  if (tries.size() >= most)
    return std::chrono::duration_cast<std::chrono::seconds>(span - (now - tries.front())).count() + 1;
  tries.push_back(now);
  return std::nullopt;
}

}  // namespace mailhaul::service
