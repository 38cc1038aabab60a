// Who one is, said to an IMAP server (RFC 9051 §6.2.2–6.2.3): which ways there are, and when the next one is tried.
#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "protocols/base/text.h"
#include "protocols/client/authentication.h"
#include "protocols/client/login.h"

namespace mailhaul::client {
namespace {

using imap::Condition;
using imap::StatusText;

constexpr std::string_view kLoginCommand = "";  // among the names of mechanisms

class ImapSpeaker {
 public:
  struct Answer {
    StatusText status;
    bool proved = true;  // the server knows whether the secret is right
    std::string said;
  };

  ImapSpeaker(Connection& connection, const Account& account)
      : connection_(connection),
        session_(connection.session),
        account_(account),
        self_(account, connection.transport(), connection.session.secure()) {}

  [[nodiscard]] sasl::Credentials& who() { return self_.who; }
  [[nodiscard]] std::vector<std::string> ways() const;
  [[nodiscard]] Error no_way() const;
  Result<Answer> attempt(const std::string& way) { return way == kLoginCommand ? by_login() : by_mechanism(way); }
  [[nodiscard]] static bool let_in(const Answer& answer) { return answer.status.condition == Condition::Ok; }
  [[nodiscard]] bool other_way_may_work(const Answer& answer) const;
  [[nodiscard]] static bool about_token(const Answer& answer) { return answer.status.condition == Condition::No; }
  [[nodiscard]] bool unreasoned(const Answer& answer) const {
    return answer.status.condition == Condition::No && answer.status.code.empty() && answer.said.empty() &&
           refused(answer).retry != Retry::Later;
  }
  [[nodiscard]] Error refused(const Answer& answer) const {
    return login_refused(answer.status, account_, answer.said, self_.who.token);
  }

 private:
  Result<Answer> by_login();
  Result<Answer> by_mechanism(const std::string& name);
  [[nodiscard]] bool login_allowed() const {
    return !session_.has("LOGINDISABLED") && self_.who.authzid.empty() && !self_.who.password.empty();
  }

  Connection& connection_;
  imap::Session& session_;
  const Account& account_;
  Identity self_;
};

// The LOGIN command is one round trip, the mechanism LOGIN is three.
std::vector<std::string> ImapSpeaker::ways() const {
  const auto offers = [&](std::string_view name) { return session_.has("AUTH=" + std::string(name)); };
  std::vector<std::string> out = sasl::choose(offers, self_.who, self_.binding);
  if (!login_allowed()) return out;
  out.insert(std::find(out.begin(), out.end(), "LOGIN"), std::string(kLoginCommand));
  // Exchange takes "domain\user/mailbox" by the LOGIN command only.
  if (account_.user.find_first_of("\\/") != std::string::npos) {
    const auto command = std::find(out.begin(), out.end(), kLoginCommand);
    const auto plain = std::find(out.begin(), out.end(), "PLAIN");
    if (plain < command) std::iter_swap(plain, command);
  }
  return out;
}

Error ImapSpeaker::no_way() const {
  Error error{Scope::Account, Retry::AfterUserAction, "", ""};
  if (account_.token) {
    error.what = "the server takes no OAuth tokens (it offers neither OAUTHBEARER nor XOAUTH2)";
    error.advice = "Use a password for this account.";
  } else if (!account_.authzid.empty()) {
    error.what = "the server offers no login in which an administrator can name another user";
    error.advice = "It takes AUTH=PLAIN or SCRAM; Dovecot's master users also log in as user*master.";
  } else if (!session_.secure()) {
    error.what = "the server takes no password without encryption";
    error.advice = "Use imaps://, or imap:// with STARTTLS.";
  } else {
    error.what = "the server takes no password (LOGINDISABLED)";
    error.advice = "It may want OAuth, which this account is not set up for.";
  }
  return error;
}

Result<ImapSpeaker::Answer> ImapSpeaker::by_login() {
  const auto answer =
      connection_.run(imap::Login{account_.user, account_.password}, [&](const imap::Event& event) -> Result<bool> {
        if (const auto* bye = std::get_if<imap::Bye>(&event)) return login_refused(bye->status, account_);
        return false;
      });
  if (!answer) return answer.error();
  return Answer{*answer, true, {}};
}

Result<ImapSpeaker::Answer> ImapSpeaker::by_mechanism(const std::string& name) {
  auto begun = Exchange::begin(name, self_.who, self_.binding);
  if (!begun) return begun.error();
  Exchange& exchange = *begun;
  const imap::Authenticate command{exchange.mechanism(), exchange.first};
  const bool at_once = exchange.first && session_.has("SASL-IR");
  int asked = 0;
  const auto answer = connection_.run(command, [&](const imap::Event& event) -> Result<bool> {
    if (const auto* bye = std::get_if<imap::Bye>(&event))
      return login_refused(bye->status, account_, exchange.said(), self_.who.token);
    const auto* challenge = std::get_if<imap::Continuation>(&event);
    if (challenge == nullptr) return false;
    const std::string octets = unbase64(challenge->text).value_or(challenge->text);
    // Some servers ignore the initial response (RFC 4959) and ask for it; who asks twice wants something else.
    if (asked++ == 0 && at_once && (octets.empty() || exchange.one_message())) {
      session_.respond(exchange.first->reveal());
      return true;
    }
    if (const auto response = exchange.respond(octets))
      session_.respond(response->reveal());
    else
      session_.respond(std::nullopt);
    return true;
  });
  if (!answer) return answer.error();
  if (Done trusted = exchange.conclude(answer->condition == Condition::Ok); !trusted) return trusted.error();
  return Answer{*answer, exchange.proved(), exchange.said()};
}

// Refused for what it is, not for who asks.
bool ImapSpeaker::other_way_may_work(const Answer& answer) const {
  if (answer.status.condition == Condition::Bad) return refused(answer).retry != Retry::Later;
  if (answer.status.condition != Condition::No) return false;
  if (answer.status.code == "CANNOT") return true;                                                     // RFC 5530 §3
  if (answer.said == "unsupported-channel-binding-type" || answer.said == "other-error") return true;  // RFC 5802 §7
  if (to_lower(answer.status.text).find("authentication mechanism") != std::string::npos)
    return true;  // Dovecot's LOGIN
  // A server that keeps the password in a form that the mechanism cannot use says just this.
  const bool plain_no = answer.status.code.empty() || answer.status.code == "AUTHENTICATIONFAILED";
  return !answer.proved && plain_no && refused(answer).retry != Retry::Later;
}

// Sun's and Oracle's Messaging Server says so by the names that it has from Netscape; CommuniGate only in its greeting.
bool has_proxyauth(const imap::Session& session, std::string_view greeting) {
  for (const auto* capability : {"PROXYAUTH", "X-PROXYAUTH", "X-NETSCAPE", "X-SUN-IMAP"})
    if (session.has(capability)) return true;
  return greeting.find("CommuniGate Pro") != std::string_view::npos;
}

}  // namespace

Done authenticate(Connection& connection, const Account& account, std::string_view greeting) {
  ImapSpeaker speaker(connection, account);
  const bool by_command = !account.authzid.empty() && has_proxyauth(connection.session, greeting);
  if (by_command) speaker.who().authzid.clear();
  if (Done in = Authentication(speaker, account, speaker.who()).run(); !in || !by_command) return in;
  const auto answer = connection.run(imap::ProxyAuth{account.authzid});
  if (!answer) return answer.error().in("PROXYAUTH");
  if (answer->condition == Condition::Ok) return done();
  // Going on would collect the administrator's own mail.
  return Error{
      Scope::Account, Retry::AfterUserAction,
      "the server does not let the administrator act for " + printable(account.authzid) + ": " + answer->line(),
      "Check that user's name, and that the administrator may act for others there."};
}

}  // namespace mailhaul::client
