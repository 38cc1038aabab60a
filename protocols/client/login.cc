#include "protocols/client/login.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "protocols/base/text.h"
#include "protocols/imap/plea.h"

namespace mailhaul::client {
namespace {

using imap::Condition;
using imap::StatusText;

class Opening {
 public:
  Opening(Connection& connection, const Account& account)
      : connection_(connection), session_(connection.session), account_(account) {}

  Result<std::string> run() {
    Result<StatusText> greeting = greet();
    if (!greeting) return greeting.error();
    const bool in_clear = account_.security == Security::StartTls;  // anybody can have written it
    if (account_.security == Security::StartTls)
      if (Done secured = start_tls(); !secured) return secured.error();
    if (!session_.knows_capabilities())
      if (Done asked = ask_capabilities(); !asked) return asked.error();
    if (greeting->condition != Condition::PreAuth)
      if (Done let_in = say_who(in_clear ? std::string_view() : greeting->text); !let_in) return let_in.error();
    if (Done finished = finish(); !finished) return finished.error();
    return in_clear ? std::string() : greeting->text;
  }

 private:
  Result<StatusText> greet();
  [[nodiscard]] Error no_greeting(const Error& why) const;
  Done start_tls();
  Done ask_capabilities();
  Done say_who(std::string_view greeting) {
    could_compress_ = session_.has("COMPRESS=DEFLATE");
    return authenticate(connection_, account_, greeting);
  }
  Done finish();
  Done compress(const imap::Tag& tag);
  [[nodiscard]] Error not_now(const StatusText& status) const;

  Connection& connection_;
  imap::Session& session_;
  const Account& account_;
  bool could_compress_ = false;
};

// Servers may make callers wait before they greet; a minute is what they do, not what they may.
std::chrono::milliseconds greeting_patience(const ClientOptions& options) {
  return std::min(options.idle, 2 * options.connect.timeout);
}

// Anybody can write a text before TLS: it is not shown.
Error Opening::not_now(const StatusText& status) const {
  const auto wait = std::max(imap::plea_of(status).wait, imap::kUsualWait);
  Error error{Scope::Account, Retry::Later, "the server does not let anybody in now", "", wait};
  if (session_.secure() || account_.security != Security::StartTls) error.what += ": " + status.line();
  return error;
}

Result<StatusText> Opening::greet() {
  for (;;) {
    Result<std::optional<imap::Event>> event = connection_.next();
    if (!event) return not_imap(connection_.first_octets(), account_);
    if (*event) {
      if (const auto* bye = std::get_if<imap::Bye>(&**event)) return not_now(bye->status);
      const auto* greeting = std::get_if<imap::Greeting>(&**event);
      if (greeting == nullptr) continue;
      const StatusText& status = greeting->status;
      const bool in_clear = account_.security == Security::StartTls;
      if (status.condition == Condition::Ok || (status.condition == Condition::PreAuth && !in_clear)) return status;
      // RFC 9051 §11.1: after PREAUTH there is no STARTTLS any more, which is what an attacker would want.
      if (status.condition == Condition::PreAuth)
        return Error{Scope::Account, Retry::AfterUserAction,
                     "the server's greeting (PREAUTH) makes STARTTLS impossible",
                     "The connection may be tampered with. Use imaps://."};
      return not_now(status);
    }
    if (Done moved = connection_.pump(greeting_patience(connection_.options())); !moved)
      return no_greeting(moved.error());
  }
}

Error Opening::no_greeting(const Error& why) const {
  const std::string_view first = connection_.first_octets();
  if (why.what == net::kStopped) return why;
  Error error = not_imap(first, account_);
  if (!first.empty() && first[0] != '*') return error;
  error.retry = Retry::Later;
  if (!first.empty()) error.what = "no whole greeting came";
  error.what += " (" + why.what + ")";
  return error;
}

Done Opening::start_tls() {
  const Error refused{Scope::Account, Retry::AfterUserAction, "the server does not start TLS",
                      "Use imaps:// (port 993). Going on without encryption takes --allow-plaintext."};
  // Asked without looking at the capabilities: only the answer counts, and TLS is required either way.
  const Result<StatusText> answer = connection_.run(imap::StartTls{}, [&](const imap::Event& event) -> Result<bool> {
    if (const auto* bye = std::get_if<imap::Bye>(&event)) return not_now(bye->status);
    return false;
  });
  if (!answer) {
    Error error = answer.error();
    if (!session_.next_event()) error.what = "what the server says is no IMAP";  // without its words, again
    return error.in("STARTTLS");
  }
  if (answer->condition != Condition::Ok) return refused.in("STARTTLS");
  if (Done begun = session_.begin_tls(); !begun) return begun.error().in("STARTTLS");
  return connection_.rewrap([&](std::unique_ptr<net::Transport> plain) {
    return net::start_tls(std::move(plain), account_.endpoint, connection_.options().connect);
  });
}

Done Opening::ask_capabilities() {
  const Result<StatusText> answer = connection_.run(imap::Capability{});
  if (!answer) return answer.error().in("CAPABILITY");
  // A server that refuses this is one without extensions, or no server at all; the login will tell.
  return done();
}

// What is still to be asked leaves in one write.
Done Opening::finish() {
  const bool wanted = connection_.options().compress;
  const bool known = session_.knows_capabilities();
  std::optional<imap::Tag> capability;
  if (!known) {
    Result<imap::Tag> tag = connection_.submit(imap::Capability{});
    if (!tag) return tag.error().in("CAPABILITY");
    capability = *tag;
  }
  if (wanted && (known ? session_.has("COMPRESS=DEFLATE") : could_compress_)) {
    Result<imap::Tag> tag = connection_.submit(imap::Compress{});
    if (!tag) return tag.error().in("COMPRESS");
    if (capability)
      if (const auto answer = connection_.await(*capability); !answer) return answer.error().in("CAPABILITY");
    return compress(*tag);
  }
  if (capability)
    if (const auto answer = connection_.await(*capability); !answer) return answer.error().in("CAPABILITY");
  return done();
}

Done Opening::compress(const imap::Tag& tag) {
  const Result<StatusText> answer = connection_.await(tag);
  if (!answer) return answer.error().in("COMPRESS");
  if (answer->condition == Condition::Ok) {
    // RFC 4978 §3: the octet behind the OK's CRLF is compressed, even if it came in the same read.
    std::string raw(session_.take_unread());
    const Done wrapped =
        connection_.rewrap([&](std::unique_ptr<net::Transport> plain) -> Result<std::unique_ptr<net::Transport>> {
          return net::start_deflate(std::move(plain), std::move(raw));
        });
    if (!wrapped) return wrapped.error();
  }
  return done();
}

}  // namespace

Result<std::string> log_in(Connection& connection, const Account& account) {
  return Opening(connection, account).run();
}

}  // namespace mailhaul::client
