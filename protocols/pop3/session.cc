#include "protocols/pop3/session.h"

#include <algorithm>
#include <deque>
#include <utility>

#include "protocols/base/text.h"
#include "protocols/pop3/body.h"

namespace mailhaul::pop3 {
namespace {

Error broken(std::string what) { return {Scope::Account, Retry::Now, std::move(what), {}}; }
Error refused(std::string what) { return {Scope::Account, Retry::Never, std::move(what), {}}; }

bool has_control(std::string_view text) {
  return text.find_first_of(std::string_view("\r\n\0", 3)) != std::string_view::npos;
}

std::string_view first_word(std::string_view line) { return line.substr(0, line.find(' ')); }

}  // namespace

struct Session::Impl {
  explicit Impl(Limits the_limits) : limits(the_limits) {}
  ~Impl() {
    wipe(out);
    for (auto& command : waiting) wipe(command.wire);
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  struct Pending {
    CommandId id = 0;
    Command command;
    std::string wire;                   // empty: it is sent
    bool responded = false;             // AUTH: the response has gone out
    [[nodiscard]] bool fence() const {  // nothing goes out behind it: what comes next depends on its answer
      return is<Stls>(command) || is<User>(command) || is<Pass>(command) || is<Auth>(command) || is<Quit>(command);
    }
  };
  enum class Reading { Status, List, Message };

  [[nodiscard]] std::optional<Error> refusal(const Command& command) const;
  Pending prepare(const Command& command);
  void release();
  void answer(std::string_view octets);
  Result<std::optional<Event>> next();
  Result<bool> take_line();
  Result<std::optional<Event>> on_status_line();
  Result<std::optional<Event>> on_first_line(const Status& status);
  Result<std::optional<Event>> on_list_line();
  Result<std::optional<Event>> on_octets();
  Error fall_out_of_step(std::string_view text);
  Event finish();
  void learn(std::string_view line);
  [[nodiscard]] const std::string* find(std::string_view capability) const;

  const Limits limits;
  State state = State::Greeting;
  bool secure = false, cleartext_allowed = false, tls_due = false, in_lockstep = false, out_of_step = false;
  std::optional<Error> failed;

  std::deque<Pending> waiting, in_flight;  // not sent yet; sent, oldest first
  CommandId next_id = 1;
  std::string out;
  std::size_t out_sent = 0;

  std::string_view in;
  std::string line;
  bool line_done = false, bare_lf = false;
  Reading reading = Reading::Status;
  BodyReader body;
  std::uint64_t body_octets = 0;
  std::size_t list_lines = 0;

  std::vector<std::string> capabilities, learning, masked;
  bool capabilities_known = false;
};

std::optional<Error> Session::Impl::refusal(const Command& command) const {
  if (failed) return *failed;
  if (state == State::Greeting) return refused("a command before the greeting");
  if (state == State::Update) return refused("a command after QUIT");
  const bool opening = is<User>(command) || is<Pass>(command) || is<Auth>(command) || is<Stls>(command);
  const bool anywhere = is<Capa>(command) || is<Quit>(command) || is<Noop>(command);
  if (opening && state != State::Authorization) return refused(name_of(command) + " after the login");
  if (!opening && !anywhere && state != State::Transaction) return refused(name_of(command) + " before the login");
  if (is<Stls>(command) && (secure || !in_flight.empty() || !waiting.empty()))
    return refused("STLS where it cannot be");
  if ((is<Pass>(command) || is<Auth>(command)) && !secure && !cleartext_allowed)
    return refused("a password without encryption");
  if (const auto* user = std::get_if<User>(&command); user && has_control(user->name))
    return refused("the user name holds a line end");
  if (const auto* pass = std::get_if<Pass>(&command); pass && has_control(pass->password.reveal()))
    return refused("the password holds a line end");
  if (const auto* auth = std::get_if<Auth>(&command); auth && has_control(auth->mechanism))
    return refused("the mechanism holds a line end");
  return std::nullopt;
}

Session::Impl::Pending Session::Impl::prepare(const Command& command) {
  Pending pending{next_id++, command, name_of(command), false};
  if (const auto* pass = std::get_if<Pass>(&command)) {
    append_wiping(pending.wire, " ");
    append_wiping(pending.wire, pass->password.reveal());
  }
  if (const auto* auth = std::get_if<Auth>(&command); auth && auth->response) {
    auto encoded = base64(auth->response->reveal());
    constexpr std::size_t kLine = 255;  // RFC 5034 §4: what is longer waits for the challenge
    if (pending.wire.size() + 1 + encoded.size() + 2 <= kLine) {
      append_wiping(pending.wire, " ");
      append_wiping(pending.wire, encoded.empty() ? "=" : encoded);
      pending.responded = true;
    }
    wipe(encoded);
  }
  append_wiping(pending.wire, "\r\n");
  return pending;
}

// Moves to the output what may be sent now.
void Session::Impl::release() {
  while (!waiting.empty()) {
    const bool alone = in_flight.empty();
    const bool behind_fence =
        std::any_of(in_flight.begin(), in_flight.end(), [](const Pending& p) { return p.fence(); });
    const bool pipelining = !in_lockstep && find("PIPELINING") != nullptr && state == State::Transaction;
    if (!alone && (!pipelining || behind_fence)) return;
    append_wiping(out, waiting.front().wire);
    wipe(waiting.front().wire);
    in_flight.push_back(std::move(waiting.front()));
    waiting.pop_front();
  }
}

void Session::Impl::answer(std::string_view octets) {
  append_wiping(out, octets);
  append_wiping(out, "\r\n");
}

const std::string* Session::Impl::find(std::string_view capability) const {
  const auto same = [&](const std::string& word) { return equal_ignoring_case(word, capability); };
  if (std::any_of(masked.begin(), masked.end(), same)) return nullptr;
  const auto it = std::find_if(capabilities.begin(), capabilities.end(), [&](const std::string& line_of) {
    return equal_ignoring_case(first_word(line_of), capability);
  });
  return it == capabilities.end() ? nullptr : &*it;
}

// A line up to its LF, collected over several feeds; false: it is not whole yet.
Result<bool> Session::Impl::take_line() {
  if (line_done) {
    line.clear();
    line_done = false;
  }
  const auto end = in.find('\n');
  const auto part = in.substr(0, end);
  if (line.size() + part.size() > limits.line)
    return broken("a line is longer than the limit of " + std::to_string(limits.line) + " octets");
  line.append(part);
  in.remove_prefix(end == std::string_view::npos ? in.size() : end + 1);
  if (end == std::string_view::npos) return false;
  bare_lf = !line.ends_with('\r');
  if (!bare_lf) line.pop_back();
  line_done = true;
  return true;
}

Result<std::optional<Event>> Session::Impl::next() {
  for (;;) {
    if (in.empty()) return std::optional<Event>{};
    if (tls_due) return broken("the server goes on in clear after STLS (response injection)");
    if (reading == Reading::Message) {
      auto event = on_octets();
      if (!event || *event) return event;
      continue;
    }
    const auto whole = take_line();
    if (!whole) return whole.error();
    if (!*whole) return std::optional<Event>{};
    auto event = reading == Reading::List ? on_list_line() : on_status_line();
    if (!event || *event) return event;
  }
}

Error Session::Impl::fall_out_of_step(std::string_view text) {
  out_of_step = state == State::Transaction;
  std::string what = "the server's answer begins with neither +OK nor -ERR";
  if (secure || cleartext_allowed) what += ": \"" + printable(text, 60) + "\"";
  if (out_of_step) what += "; perhaps it does not escape dots in messages";
  return broken(std::move(what));
}

Result<std::optional<Event>> Session::Impl::on_status_line() {
  Status status;
  const bool understood = parse_status(line, status);
  if (state == State::Greeting) {
    if (!understood) return broken("this is not a POP3 server");
    if (status.ok) state = State::Authorization;
    return std::optional<Event>(Greeting{std::move(status)});
  }
  if (in_flight.empty()) {  // RFC 1939 §3: an autologout says nothing, but many servers do
    if (understood && !status.ok) return broken("the server ended the connection: " + status.line());
    return fall_out_of_step(line);
  }
  auto& pending = in_flight.front();
  if (is<Auth>(pending.command)) {
    // RFC 5034 §4 "+ "; some say +OK where they mean it.
    const bool challenge = (!understood && line.starts_with('+')) || (understood && status.ok && !pending.responded);
    const auto& auth = std::get<Auth>(pending.command);
    if (challenge && !pending.responded && auth.response) {
      pending.responded = true;
      auto encoded = base64(auth.response->reveal());
      answer(encoded);
      wipe(encoded);
      return std::optional<Event>{};
    }
    if (challenge) {
      std::string_view text = understood ? std::string_view() : std::string_view(line).substr(1);
      while (text.starts_with(' ')) text.remove_prefix(1);
      return std::optional<Event>(Challenge{text});
    }
  }
  if (!understood) return fall_out_of_step(line);
  return on_first_line(status);
}

Result<std::optional<Event>> Session::Impl::on_first_line(const Status& status) {
  const auto& pending = in_flight.front();
  Answered answered{pending.id, status};
  if (status.ok && multi_line(pending.command)) {
    list_lines = 0;
    body_octets = 0;
    learning.clear();
    reading = gives_message(pending.command) ? Reading::Message : Reading::List;
    if (reading == Reading::Message) body.begin(bare_lf);
    return std::optional<Event>(std::move(answered));
  }
  if (status.ok && is<Stls>(pending.command)) tls_due = true;
  if (status.ok && (is<Pass>(pending.command) || is<Auth>(pending.command))) state = State::Transaction;
  if (is<Quit>(pending.command)) state = State::Update;
  in_flight.pop_front();
  if (!tls_due) release();
  return std::optional<Event>(std::move(answered));
}

Event Session::Impl::finish() {
  const auto id = in_flight.front().id;
  if (is<Capa>(in_flight.front().command)) {
    capabilities = std::exchange(learning, {});
    capabilities_known = true;
  }
  in_flight.pop_front();
  reading = Reading::Status;
  release();
  return Finished{id};
}

void Session::Impl::learn(std::string_view text) {
  if (learning.size() < limits.capabilities && !text.empty()) learning.emplace_back(text);
}

Result<std::optional<Event>> Session::Impl::on_list_line() {
  if (line == ".") return std::optional<Event>(finish());
  if (++list_lines > limits.lines)
    return broken("a list has more than the limit of " + std::to_string(limits.lines) + " lines");
  std::string_view text = line;
  if (text.starts_with("..")) text.remove_prefix(1);
  if (is<Capa>(in_flight.front().command)) learn(text);
  return std::optional<Event>(Line{in_flight.front().id, text});
}

Result<std::optional<Event>> Session::Impl::on_octets() {
  const auto octets = body.next(in);
  if (body.ended()) return std::optional<Event>(finish());
  if (octets.empty()) return std::optional<Event>{};
  body_octets += octets.size();
  if (body_octets > limits.body)
    return broken("a message is longer than the limit of " + std::to_string(limits.body) + " octets");
  return std::optional<Event>(Octets{in_flight.front().id, octets});
}

Session::Session(Limits limits) : impl_(std::make_unique<Impl>(limits)) {}
Session::~Session() = default;
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;

Result<CommandId> Session::submit(const Command& command) {
  if (auto no = impl_->refusal(command)) return *no;
  impl_->waiting.push_back(impl_->prepare(command));
  const auto id = impl_->waiting.back().id;
  if (!impl_->tls_due) impl_->release();
  return id;
}

void Session::respond(std::optional<std::string_view> octets) {
  if (impl_->in_flight.empty() || !is<Auth>(impl_->in_flight.front().command)) return;
  impl_->in_flight.front().responded = true;
  if (!octets) return impl_->answer("*");
  auto encoded = base64(*octets);
  impl_->answer(encoded);
  wipe(encoded);
}

std::string_view Session::output() const { return std::string_view(impl_->out).substr(impl_->out_sent); }

void Session::sent(std::size_t octets) {
  impl_->out_sent += octets;
  if (impl_->out_sent < impl_->out.size()) return;
  wipe(impl_->out);
  impl_->out_sent = 0;
}

Done Session::feed(std::string_view received) {
  if (impl_->failed) return *impl_->failed;
  impl_->in = received;
  return done();
}

Result<std::optional<Event>> Session::next_event() {
  if (impl_->failed) return *impl_->failed;
  auto event = impl_->next();
  if (!event) impl_->failed = event.error();
  return event;
}

State Session::state() const { return impl_->state; }
bool Session::has(std::string_view capability) const { return impl_->find(capability) != nullptr; }

std::optional<std::string> Session::value_of(std::string_view capability) const {
  const auto* found = impl_->find(capability);
  if (!found) return std::nullopt;
  const auto space = found->find(' ');
  return space == std::string::npos ? std::string() : found->substr(space + 1);
}

bool Session::knows_capabilities() const { return impl_->capabilities_known; }
void Session::mask(std::string capability) { impl_->masked.push_back(std::move(capability)); }
void Session::lockstep() { impl_->in_lockstep = true; }
bool Session::pipelines() const { return !impl_->in_lockstep && has("PIPELINING"); }
std::size_t Session::pending() const { return impl_->waiting.size() + impl_->in_flight.size(); }
bool Session::out_of_step() const { return impl_->out_of_step; }

Done Session::begin_tls() {
  impl_->tls_due = false;
  impl_->capabilities.clear();
  impl_->capabilities_known = false;
  if (!impl_->in.empty() || (!impl_->line_done && !impl_->line.empty())) {
    impl_->failed = broken("octets came in clear behind the answer to STLS (response injection)");
    return *impl_->failed;
  }
  impl_->secure = true;
  impl_->release();
  return done();
}

void Session::secure_from_start() { impl_->secure = true; }
bool Session::secure() const { return impl_->secure; }
void Session::allow_cleartext() { impl_->cleartext_allowed = true; }

}  // namespace mailhaul::pop3
