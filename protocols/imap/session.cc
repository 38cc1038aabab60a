#include "protocols/imap/session.h"

#include <algorithm>
#include <array>
#include <utility>

#include "protocols/base/text.h"
#include "protocols/imap/broken.h"
#include "protocols/imap/command_writer.h"
#include "protocols/imap/session_impl.h"

namespace mailhaul::imap {
namespace {

enum class Need { Any, NotAuthenticated, Authenticated, Selected };  // RFC 9051 §6: the states a command is valid in

constexpr std::array<Need, std::variant_size_v<Command>> kNeeds = [] {
  std::array<Need, std::variant_size_v<Command>> needs{};
  needs.fill(Need::Authenticated);
  needs[kind_of<Capability>()] = needs[kind_of<Noop>()] = needs[kind_of<Logout>()] = needs[kind_of<Id>()] = Need::Any;
  needs[kind_of<StartTls>()] = needs[kind_of<Login>()] = needs[kind_of<Authenticate>()] = Need::NotAuthenticated;
  needs[kind_of<UidFetch>()] = needs[kind_of<UidSearch>()] = Need::Selected;
  needs[kind_of<UidStore>()] = needs[kind_of<UidExpunge>()] = Need::Selected;
  return needs;
}();

bool allowed(Need need, State state) {
  switch (need) {
    case Need::Any:
      return true;
    case Need::NotAuthenticated:
      return state == State::NotAuthenticated;
    case Need::Authenticated:
      return state == State::Authenticated || state == State::Selected;
    case Need::Selected:
      return state == State::Selected;
  }
  return false;
}

Error refused(const Command& command, std::string_view why) {
  return {Scope::Account, Retry::Never, std::string(name_of(command)) + ": " + std::string(why), {}};
}

}  // namespace

bool Session::Impl::has(std::string_view capability) const {
  return contains(capabilities, capability) && !contains(masked, capability);
}

std::optional<Error> Session::Impl::credentials_refusal(const Command& command) const {
  const bool login = std::holds_alternative<Login>(command);
  if (!login && !std::holds_alternative<Authenticate>(command)) return std::nullopt;
  if (!secure && !cleartext_allowed) {
    Error error = refused(command, "the connection is not encrypted");
    error.retry = Retry::AfterUserAction;
    error.advice = "Use TLS, or allow plaintext for this account.";
    return error;
  }
  if (login && has("LOGINDISABLED"))
    return refused(command, "the server has disabled it (LOGINDISABLED)");  // RFC 9051 §6.2.3
  return std::nullopt;
}

std::optional<Error> Session::Impl::refusal(const Command& command) const {
  if (failed) return *failed;
  if (state == State::Greeting) return refused(command, "the server has not greeted yet");
  if (state == State::Logout) return refused(command, "the server has said BYE");
  if (fence || tls_due || appending != 0)
    return refused(command, "a command is pending behind which nothing may be sent");
  if (!allowed(kNeeds[command.index()], planned)) return refused(command, "not in this state of the session");
  if (std::holds_alternative<StartTls>(command)) {
    if (secure) return refused(command, "the connection is encrypted already");
    if (!pending.empty() || !outbox.empty()) return refused(command, "other commands are pending");  // RFC 9051 §6.2.1
  }
  return credentials_refusal(command);
}

// Notes what the command will change if it succeeds.
void Session::Impl::expect(const Pending& added, const Command& command) {
  if (added.is<Login>() || added.is<Authenticate>()) planned = State::Authenticated;
  if (added.is<Examine>()) planned = State::Selected;
  if (const auto* enable = std::get_if<Enable>(&command))
    enabling.insert(enabling.end(), enable->extensions.begin(), enable->extensions.end());
  const auto* authenticate = std::get_if<Authenticate>(&command);
  const bool at_once = authenticate != nullptr && authenticate->initial_response && has("SASL-IR");
  if (authenticate != nullptr && !at_once) initial_response = authenticate->initial_response;
  if (added.is<Idle>()) idling = false;
  if (const auto* append = std::get_if<Append>(&command);
      append != nullptr && append->message.size() < append->octets) {
    appending = added.id;
    append_left = append->octets - append->message.size();
  }
  // RFC 9051 §6.2.1, RFC 4978 §3, RFC 2177 §3; behind an AUTHENTICATE that has to be answered, a command would be taken
  // for the answer.
  if (added.is<StartTls>() || added.is<Compress>() || added.is<Logout>() || added.is<Idle>() ||
      (authenticate != nullptr && !at_once))
    fence = added.id;
}

void Session::Impl::respond(std::optional<std::string_view> octets) {
  const Pending* command = pending_of<Authenticate>();
  if (command == nullptr) return;
  std::string line = octets ? base64(*octets) : "*";  // RFC 9051 §6.2.2
  append_wiping(line, "\r\n");
  outbox.put(command->id, line, false);
}

Session::Session(std::string tag_prefix, Limits limits)
    : impl_(std::make_unique<Impl>(std::move(tag_prefix), limits)) {}
Session::~Session() = default;
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;

Result<Tag> Session::submit(const Command& command) {
  if (auto error = impl_->refusal(command)) return *error;
  const Syntax syntax{impl_->has("LITERAL+"), impl_->has("LITERAL-"), impl_->has("SASL-IR")};
  std::string tag = impl_->prefix + std::to_string(impl_->next_id);
  auto parts = write_command(tag, command, syntax);
  if (!parts) return parts.error().in(name_of(command));

  const Impl::Pending pending{impl_->next_id++, command.index(), impl_->capability_count};
  impl_->pending.push_back(pending);
  impl_->expect(pending, command);
  bool gated = false;
  for (auto& part : *parts) {
    impl_->outbox.put(pending.id, part, gated);
    gated = true;
  }
  return Tag{std::move(tag)};
}

Done Session::append(std::string_view octets) {
  if (impl_->failed) return *impl_->failed;
  if (impl_->appending == 0 || octets.size() > impl_->append_left)
    return Error{Scope::Account, Retry::Never, "APPEND: more octets than were announced", {}};
  impl_->append_left -= octets.size();
  std::string part(octets);
  if (impl_->append_left == 0) part += "\r\n";
  impl_->outbox.put(impl_->appending, part, false);
  if (impl_->append_left == 0) impl_->appending = 0;
  return done();
}

bool Session::drained() const { return impl_->outbox.empty(); }

void Session::respond(std::optional<std::string_view> octets) { impl_->respond(octets); }

void Session::end_idle() {
  const auto* idle = impl_->pending_of<Idle>();
  if (idle == nullptr || impl_->fence != idle->id) return;
  impl_->fence.reset();
  std::string line = "DONE\r\n";
  impl_->outbox.put(idle->id, line, !impl_->idling);  // RFC 2177 §3: not before the server's "+"
}

std::string_view Session::output() const { return impl_->outbox.ready(); }
void Session::sent(std::size_t octets) { impl_->outbox.sent(octets); }

Done Session::feed(std::string_view received) {
  if (impl_->failed) return *impl_->failed;
  if (received.empty()) return done();
  if (!impl_->reader.unread().empty())
    return Error{Scope::Account, Retry::Never, "octets were fed before the last ones were read", {}};
  if (!impl_->greeting_begun) {
    // Said at once, so that a server of another protocol is not waited for: every greeting begins with "*".
    const std::size_t first = received.find_first_not_of(std::string_view("\0 \t\r\n", 5));
    impl_->greeting_begun = first != std::string_view::npos;
    if (impl_->greeting_begun && received[first] != '*') {
      impl_->failed = impl_->not_imap(received.substr(first));
      return *impl_->failed;
    }
  }
  impl_->reader.feed(received);
  return done();
}

Result<std::optional<Event>> Session::next_event() {
  if (impl_->failed) return *impl_->failed;
  auto event = impl_->next();
  if (!event) impl_->failed = event.error();
  return event;
}

std::string_view Session::take_unread() { return impl_->reader.take_unread(); }

State Session::state() const { return impl_->state; }
bool Session::has(std::string_view capability) const { return impl_->has(capability); }
std::optional<std::string> Session::value_of(std::string_view capability) const {
  if (contains(impl_->masked, capability)) return std::nullopt;
  for (const auto& own : impl_->capabilities)
    if (own.size() > capability.size() && own[capability.size()] == '=' &&
        equal_ignoring_case(std::string_view(own).substr(0, capability.size()), capability))
      return own.substr(capability.size() + 1);
  return std::nullopt;
}
bool Session::knows_capabilities() const { return impl_->capabilities_known; }
bool Session::enabled(std::string_view extension) const { return contains(impl_->enabled, extension); }
void Session::mask(std::string capability) { impl_->masked.push_back(std::move(capability)); }
std::size_t Session::pending() const { return impl_->pending.size(); }

Done Session::begin_tls() {
  if (impl_->failed) return *impl_->failed;
  if (!impl_->tls_due) return Error{Scope::Account, Retry::Never, "TLS without an OK to STARTTLS", {}};
  // RFC 9051 §11.1: what came before TLS is worth nothing, and what came behind the OK was put there by somebody else.
  if (!impl_->reader.unread().empty() || !impl_->reader.between_responses()) {
    impl_->failed = Impl::injected();
    return *impl_->failed;
  }
  impl_->tls_due = false;
  impl_->secure = true;
  impl_->forget_capabilities();
  impl_->enabled.clear();
  return done();
}

void Session::secure_from_start() { impl_->secure = true; }
bool Session::secure() const { return impl_->secure; }
void Session::allow_cleartext() { impl_->cleartext_allowed = true; }
std::uint64_t Session::octets_examined() const { return impl_->work; }

}  // namespace mailhaul::imap
