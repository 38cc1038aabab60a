#include "protocols/client/pop3_login.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "protocols/base/text.h"
#include "protocols/client/login.h"
#include "protocols/imap/plea.h"

namespace mailhaul::client {
namespace {

using pop3::Status;

struct Row {
  std::string_view sign;
  Retry retry;
  std::string_view what;
  std::string_view advice;
  std::int64_t wait;
};

constexpr std::int64_t kWait = 30;
constexpr std::string_view kCheckBoth = "Check both; many providers want an app password for programs.";

constexpr std::string_view kConsent = "Allow the access once more.";

constexpr std::array<Row, 5> kCodes{{
    {"IN-USE", Retry::Later, "the mailbox is locked by another session", "", kWait},
    {"LOGIN-DELAY", Retry::Later, "the server wants more time between two logins", "", 60},
    {"SYS/TEMP", Retry::Later, "the server has a passing fault", "", kWait},
    {"SYS/PERM", Retry::AfterUserAction, "the server has a fault that its operator must mend",
     "Ask the server's operator.", 0},
    {"SYS", Retry::Later, "the server has a fault", "", kWait},
}};

// Texts of servers without codes, lower case.
constexpr std::array<Row, 8> kTexts{{
    {"lock", Retry::Later, "the mailbox is locked by another session", "", kWait},
    {"in use", Retry::Later, "the mailbox is locked by another session", "", kWait},
    {"busy", Retry::Later, "the mailbox is locked by another session", "", kWait},
    {"too soon", Retry::Later, "the server wants more time between two logins", "", 60},
    {"login too frequent", Retry::Later, "the server wants more time between two logins", "", 60},
    {"minimum time", Retry::Later, "the server wants more time between two logins", "", 60},
    {"not enabled", Retry::AfterUserAction, "POP3 is switched off for this mailbox",
     "Switch it on in the provider's settings.", 0},
    {"disabled", Retry::AfterUserAction, "POP3 is switched off for this mailbox",
     "Switch it on in the provider's settings.", 0},
}};

std::string without_secrets(std::string text, const Account& account, const Secret& token) {
  const std::string& password = account.password.reveal();
  const std::string response = base64(std::string(1, '\0') + account.user + std::string(1, '\0') + password);
  for (const std::string& secret : {response, password, base64(password), token.reveal(), base64(token.reveal())})
    for (auto at = secret.empty() ? text.npos : text.find(secret); at != text.npos; at = text.find(secret, at))
      text.replace(at, secret.size(), "***");
  return text;
}

Error error_of(const Row& row, const std::string& said, std::int64_t login_delay) {
  const bool delay = row.wait > kWait;
  return {Scope::Account, row.retry, std::string(row.what) + ": " + said, std::string(row.advice),
          delay && login_delay > 0 ? login_delay : row.wait};
}

class Opening {
 public:
  Opening(Pop3Connection& connection, const Account& account, Pop3Opening& manner)
      : connection_(connection), session_(connection.session), account_(account), manner_(manner) {}

  Result<std::string> run() {
    auto greeting = greet();
    if (!greeting) return greeting.error();
    if (account_.security == Security::StartTls)
      if (Done secured = start_tls(); !secured) return secured.error();
    if (Done asked = capabilities(); !asked) return asked.error();
    if (Done let_in = authenticate(connection_, account_); !let_in) return let_in.error();
    if (session_.knows_capabilities())  // RFC 2449 §4: they may differ now
      if (Done asked = capabilities(); !asked) return asked.error();
    return account_.security == Security::StartTls ? std::string() : greeting->text;
  }

 private:
  Result<Status> greet();
  [[nodiscard]] Error refused(const Status& status) const;
  Done start_tls();
  Done capabilities();

  Pop3Connection& connection_;
  pop3::Session& session_;
  const Account& account_;
  Pop3Opening& manner_;
};

// Anybody can write a text before TLS: it is not shown.
Error Opening::refused(const Status& status) const {
  if (!session_.secure() && account_.security == Security::StartTls)
    return {Scope::Account, Retry::Later, "the server does not let anybody in now", "", kWait};
  std::int64_t delay = 0;
  if (const auto said = session_.value_of("LOGIN-DELAY"))
    (void)std::from_chars(said->data(), said->data() + said->size(), delay);
  return pop3_refused(status, account_, std::clamp<std::int64_t>(delay, 0, 86'400), {});
}

Result<Status> Opening::greet() {
  for (;;) {
    auto event = connection_.next();
    if (!event) return not_pop3(connection_.first_octets(), account_);
    if (*event) {
      const auto* greeting = std::get_if<pop3::Greeting>(&**event);
      if (greeting == nullptr) continue;
      if (greeting->status.ok) return greeting->status;
      auto error = refused(greeting->status);
      if (error.retry != Retry::Later && greeting->status.code != "SYS/PERM") {  // nobody has given a password yet
        error.retry = Retry::Later;
        error.wait = kWait;
        error.what = "the server does not let anybody in now";
        error.advice.clear();
        if (session_.secure() || account_.security != Security::StartTls) error.what += ": " + greeting->status.line();
      }
      return error;
    }
    if (Done moved = connection_.pump(std::min(connection_.options().idle, 2 * connection_.options().connect.timeout));
        !moved) {
      if (moved.error().what == net::kStopped) return moved.error();
      const auto& first = connection_.first_octets();
      auto error = not_pop3(first, account_);
      if (!first.empty() && first[0] != '+' && first[0] != '-') return error;
      error.retry = Retry::Later;
      if (!first.empty()) error.what = "no whole greeting came";
      error.what += " (" + moved.error().what + ")";
      return error;
    }
  }
}

Done Opening::start_tls() {
  // Asked without looking at the capabilities: only the answer counts, and TLS is required either way.
  const auto answer = connection_.run(pop3::Stls{});
  if (!answer) {
    Error error = answer.error();
    if (!session_.next_event()) error.what = "what the server says is no POP3";  // anybody may have written it
    return error.in("STLS");
  }
  if (!answer->ok)
    return Error{Scope::Account, Retry::AfterUserAction, "STLS: the server does not start TLS",
                 "Use pop3s:// (port 995). Going on without encryption takes --allow-plaintext."};
  if (Done begun = session_.begin_tls(); !begun) return begun.error().in("STLS");
  return connection_.rewrap([&](std::unique_ptr<net::Transport> clear) {
    return net::start_tls(std::move(clear), account_.endpoint, connection_.options().connect);
  });
}

Done Opening::capabilities() {
  if (!manner_.ask_capabilities) return done();
  const auto answer = connection_.run(pop3::Capa{});
  if (answer) return done();  // refused: a server without extensions
  manner_.died_at_capa = session_.state() == pop3::State::Authorization && answer.error().what != net::kStopped;
  return answer.error().in("CAPA");
}

}  // namespace

// Whatever is not known to pass is taken as a refusal: trying a wrong password again and again locks accounts.
Error pop3_refused(const Status& status, const Account& account, std::int64_t login_delay, const Secret& token) {
  const std::string said = without_secrets(status.line(), account, token);
  // Google says [SYS/PERM] where POP3 is switched off.
  const bool wordy = status.code.empty() || status.code == "AUTH" || status.code == "SYS/PERM";
  const auto in_words = wordy ? pop3_refused_in_words(status.text, said, account, bool(account.token)) : std::nullopt;
  const bool busy =
      status.code.empty() && imap::plea_of({imap::Condition::No, "", "", status.text}).plea != imap::Plea::None;
  if (in_words && !busy) return *in_words;
  for (const auto& row : kCodes)
    if (status.code == row.sign || status.code.starts_with(std::string(row.sign) + "/"))
      return error_of(row, said, login_delay);
  if (status.code.empty() || status.code == "AUTH") {
    const auto asked = imap::plea_of({imap::Condition::No, "", "", status.text});
    if (asked.plea != imap::Plea::None && status.code.empty())
      return {Scope::Account, Retry::Later, "the server does not let anybody in now: " + said, "",
              std::max(asked.wait, kWait)};
    const auto text = to_lower(status.text);
    for (const auto& row : kTexts)
      if (text.find(row.sign) != std::string::npos) return error_of(row, said, login_delay);
  }
  return {Scope::Account, Retry::AfterUserAction,
          (account.token ? "the server refuses the token: " : "the server refuses user name or password: ") + said,
          account.help.empty() ? std::string(account.token ? kConsent : kCheckBoth) : account.help};
}

Error not_pop3(std::string_view first, const Account& account) {
  Error error{Scope::Account, Retry::AfterUserAction, "", "Check host and port (POP3: 995 with TLS, 110 with STLS)."};
  const auto record = first.empty() ? 0 : static_cast<unsigned char>(first[0]);
  if (first.empty()) {
    error.retry = Retry::Later;
    error.what = "the server does not greet";
    if (account.security != Security::Tls)
      error.advice = "If this port expects TLS from the first octet, use pop3s://.";
  } else if (first.size() >= 2 && (record == 0x15 || record == 0x16) && first[1] == 3) {
    error.what = "the server speaks TLS from the first octet here";
    error.advice = "Use pop3s://.";
  } else if (first.starts_with("* OK") || first.starts_with("* PREAUTH") || first.starts_with("* BYE")) {
    error.what = "this is an IMAP server, not a POP3 server";
    error.advice = "Use imaps:// or imap://.";
  } else if (first.starts_with("HTTP/") || first.starts_with("<")) {
    error.what = "this is a web server, not a POP3 server";
  } else if (first.starts_with("220") || first.starts_with("554") || first.starts_with("421")) {
    error.what = "this is an SMTP or FTP server, not a POP3 server";
  } else if (first.starts_with("SSH-")) {
    error.what = "this is an SSH server, not a POP3 server";
  } else {
    error.what = "this is not a POP3 server";
    // Before STLS anybody may have written it.
    if (account.security != Security::StartTls) error.what += ": it begins with \"" + printable(first, 60) + "\"";
  }
  return error;
}

Result<std::string> log_in(Pop3Connection& connection, const Account& account, Pop3Opening& opening) {
  return Opening(connection, account, opening).run();
}

}  // namespace mailhaul::client
