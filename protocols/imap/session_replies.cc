#include <algorithm>
#include <charconv>
#include <utility>

#include "protocols/base/text.h"
#include "protocols/imap/broken.h"
#include "protocols/imap/session_impl.h"

namespace mailhaul::imap {
namespace {

constexpr std::optional<Event> kNoEvent = std::nullopt;

}  // namespace

bool contains(const std::vector<std::string>& list, std::string_view word) {
  return std::any_of(list.begin(), list.end(),
                     [word](const std::string& own) { return equal_ignoring_case(own, word); });
}

Error Session::Impl::injected() {
  return {Scope::Account, Retry::Later,
          "octets came behind the OK of STARTTLS: somebody may be tampering with the connection",
          "Use TLS from the start (imaps), or ask who runs the network."};
}

Error Session::Impl::not_imap(std::string_view text) {
  const std::string_view line = text.substr(0, text.find_first_of("\r\n"));
  return {Scope::Account, Retry::AfterUserAction,
          "this is not an IMAP server: it greets with \"" + printable(line, 80) + "\"", "Check host and port."};
}

Result<std::optional<Event>> Session::Impl::next() {
  for (;;) {
    if (tls_due && !reader.unread().empty()) return injected();
    auto frame = reader.next();
    if (!frame) return frame.error();
    if (!*frame) return kNoEvent;
    if (std::holds_alternative<ResponseReader::LineRead>(**frame)) {
      auto event = on_line();
      if (!event || *event) return event;
      continue;
    }
    if (state == State::Greeting) return not_imap(reader.line().text);
    if (muted()) continue;
    return std::visit(
        [](auto&& part) -> std::optional<Event> {
          if constexpr (std::is_same_v<std::decay_t<decltype(part)>, ResponseReader::LineRead>)
            return std::nullopt;
          else
            return Event(std::forward<decltype(part)>(part));
        },
        **std::move(frame));
  }
}

// Before login no mailbox exists: what a server, or somebody in its place, says of one then is not believed.
bool Session::Impl::muted() const {
  return !inside && (planned == State::NotAuthenticated || planned == State::Logout);
}

Result<std::optional<Event>> Session::Impl::on_line() {
  const std::string_view content = std::string_view(reader.line().text).substr(reader.content());
  const auto kind = reader.kind();
  if (state == State::Greeting) {
    if (kind != ResponseReader::Kind::Status) return not_imap(reader.line().text);
    return on_greeting(parse_status(content));
  }
  switch (kind) {
    case ResponseReader::Kind::Tagged:
      return on_tagged(content);
    case ResponseReader::Kind::Continuation:
      return on_continuation(content);
    case ResponseReader::Kind::Status:
      return on_status(parse_status(content));
    case ResponseReader::Kind::Data:
      break;
  }
  return on_data();
}

Result<std::optional<Event>> Session::Impl::on_greeting(StatusText status) {  // RFC 9051 §7.1
  work += reader.line().text.size();
  if (status.condition == Condition::Ok)
    state = State::NotAuthenticated;
  else if (status.condition == Condition::PreAuth)
    state = State::Authenticated;
  else
    state = State::Logout;  // BYE; some servers say NO or BAD
  inside = state == State::Authenticated;
  planned = state;
  learn_from(status);
  return std::optional<Event>(Greeting{std::move(status)});
}

std::optional<Event> Session::Impl::on_status(StatusText status) {
  work += reader.line().text.size();
  learn_from(status);
  if (status.condition != Condition::Bye) return Notice{std::move(status)};
  state = planned = State::Logout;
  return Bye{std::move(status)};
}

std::optional<Event> Session::Impl::on_continuation(std::string_view text) {
  work += text.size();
  if (const auto* command = pending_of<Authenticate>()) {
    if (outbox.untouched(command->id)) return kNoEvent;
    if (!initial_response) return Continuation{std::string(text)};
    respond(initial_response->reveal());
    initial_response.reset();
    return kNoEvent;
  }
  outbox.release();
  if (const auto* idle = pending_of<Idle>(); idle != nullptr && !outbox.untouched(idle->id)) {
    idling = true;
    return Continuation{std::string(text)};
  }
  return kNoEvent;  // a literal may go on; or one "+" too many, which Exchange sends
}

Result<std::optional<Event>> Session::Impl::on_tagged(std::string_view text) {
  work += text.size();
  const std::string_view tag = text.substr(0, text.find_first_of(" \t"));
  std::string_view rest = text.substr(tag.size());
  rest.remove_prefix(std::min(rest.find_first_not_of(" \t"), rest.size()));
  std::uint64_t id = 0;
  if (tag.substr(0, prefix.size()) == prefix) {
    const std::string_view number = tag.substr(prefix.size());
    const auto [end, failure] = std::from_chars(number.data(), number.data() + number.size(), id);
    if (failure != std::errc{} || end != number.data() + number.size() || number[0] == '0') id = 0;
  }
  const auto found = std::find_if(pending.begin(), pending.end(), [id](const Pending& p) { return p.id == id; });
  if (found == pending.end()) return broken("a reply to no command: \"" + printable(text, 60) + "\"");
  const auto condition = condition_of(rest);
  if (!condition || *condition == Condition::PreAuth)
    return broken("a tagged reply that is neither OK nor NO nor BAD: \"" + printable(rest, 60) + "\"");
  // A reply can come before the end of its command only to refuse a literal, or where the command is a conversation.
  const bool conversation = found->is<Authenticate>() || found->is<Idle>();
  const bool whole = outbox.wholly_sent(id) && appending != id;
  if (outbox.untouched(id) || (*condition == Condition::Ok && !conversation && !whole))
    return broken("a reply to a command that has not been sent yet");
  outbox.drop(id);
  if (appending == id) appending = 0;

  const Pending command = *found;
  pending.erase(found);
  StatusText status = parse_status(rest);
  completed(command, status);
  return std::optional<Event>(Completed{Tag{std::string(tag)}, std::move(status)});
}

void Session::Impl::completed(const Pending& command, const StatusText& status) {
  const bool ok = status.condition == Condition::Ok;
  if (fence == command.id) fence.reset();
  if (command.is<Authenticate>()) initial_response.reset();
  if (command.is<Enable>() && pending_of<Enable>() == nullptr) enabling.clear();
  if (ok && (command.is<Login>() || command.is<Authenticate>()))
    logged_in(command, status);
  else
    learn_from(status);
  if (ok && command.is<StartTls>()) tls_due = true;
  if ((ok && command.is<Logout>()) || status.condition == Condition::Bye) state = State::Logout;
  const bool logged_in_before = state == State::Authenticated || state == State::Selected;
  if (command.is<Examine>() && command.id > opened_by && (ok || logged_in_before) && state != State::Logout) {
    opened_by = command.id;
    state = ok ? State::Selected : State::Authenticated;  // RFC 9051 §6.3.2: a failed one deselects
  }
  // What is still pending may change the state further.
  planned = state;
  if (state == State::Logout) return;
  for (const auto& other : pending) {
    if (planned == State::NotAuthenticated && (other.is<Login>() || other.is<Authenticate>()))
      planned = State::Authenticated;
    if (other.is<Examine>() && planned == State::Authenticated) planned = State::Selected;
  }
}

void Session::Impl::logged_in(const Pending& command, const StatusText& status) {
  inside = true;
  if (state == State::NotAuthenticated) state = State::Authenticated;
  // RFC 9051 §6.2.2: what was said before login is out of date, unless it was said anew meanwhile.
  if (status.code == "CAPABILITY")
    learn_from(status);
  else if (capability_count == command.capabilities_before)
    forget_capabilities();
}

Result<std::optional<Event>> Session::Impl::on_data() {
  const std::string_view content = std::string_view(reader.line().text).substr(reader.content());
  const std::size_t name = std::min(content.find_first_of(" \t"), content.size());
  if (equal_ignoring_case(content.substr(0, name), "CAPABILITY")) {
    work += content.size();
    learn(parse_capabilities(content.substr(name), limits.words));
    return std::optional<Event>(Capabilities{});
  }
  auto parsed = parse_data(reader.line(), reader.content(), limits, work);
  if (!parsed || !*parsed) return parsed;
  auto* event = &**parsed;
  if (muted() && !std::holds_alternative<IdReply>(*event)) return kNoEvent;
  if (const auto* said = std::get_if<Enabled>(event)) {
    if (pending_of<Enable>() == nullptr) return kNoEvent;  // RFC 5161 §3.2: only as an answer
    for (const auto& extension : enabling)
      if (contains(said->extensions, extension)) enabled.push_back(extension);
  }
  return parsed;
}

void Session::Impl::learn(std::vector<std::string> list) {
  capabilities = std::move(list);
  capabilities_known = true;
  ++capability_count;
}

void Session::Impl::learn_from(const StatusText& status) {
  if (status.code == "CAPABILITY") learn(parse_capabilities(status.arguments, limits.words));
}

void Session::Impl::forget_capabilities() {
  capabilities.clear();
  capabilities_known = false;
}

}  // namespace mailhaul::imap
