// Who one is, said to an IMAP server (RFC 9051 §6.2.2–6.2.3): which ways there are, and when the next one is tried.
#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "protocols/base/text.h"
#include "protocols/client/login.h"
#include "protocols/sasl/mechanism.h"

namespace mailhaul::client {
namespace {

using imap::Condition;
using imap::StatusText;

constexpr std::string_view kLoginCommand = "";  // among the names of mechanisms

class Authentication {
 public:
  Authentication(Connection& connection, const Account& account)
      : connection_(connection), session_(connection.session), account_(account) {}

  Done run() {
    who_ = {account_.user, account_.authzid,       account_.password,     {},
            false,         account_.endpoint.host, account_.endpoint.port};
    if (session_.secure()) {
      net::ChannelBinding from_tls = connection_.transport().channel_binding();
      binding_ = {std::move(from_tls.exporter), std::move(from_tls.end_point)};
      who_.certificate = from_tls.certificate;
    }
    if (!account_.token) return try_all();
    who_.password = Secret();
    for (const bool again : {false, true}) {
      Result<Secret> token = account_.token(who_.token);
      if (!token) return token.error();
      who_.token = *std::move(token);
      Done in = try_all();
      // A token can be refused before its time; once more with a fresh one tells that from a lost consent.
      if (in || again || !token_refused_) return in;
    }
    return done();
  }

 private:
  struct Answer {
    StatusText status;
    bool proved = true;  // the server knows whether the secret is right
    std::string said;
  };

  Done try_all();
  std::vector<std::string> ways() const;
  [[nodiscard]] Error no_way() const;
  Result<Answer> by_login();
  Result<Answer> by_mechanism(const std::string& name);
  [[nodiscard]] Error refused(const Answer& answer) const {
    return login_refused(answer.status, account_, answer.said, who_.token);
  }
  [[nodiscard]] bool other_way_may_work(const Answer& answer) const;
  [[nodiscard]] bool login_allowed() const {
    return !session_.has("LOGINDISABLED") && account_.authzid.empty() && !who_.password.empty();
  }

  Connection& connection_;
  imap::Session& session_;
  const Account& account_;
  sasl::Credentials who_;
  sasl::Binding binding_;
  bool token_refused_ = false;
};

// The LOGIN command is one round trip, the mechanism LOGIN is three.
std::vector<std::string> Authentication::ways() const {
  const auto offers = [&](std::string_view name) { return session_.has("AUTH=" + std::string(name)); };
  std::vector<std::string> out = sasl::choose(offers, who_, binding_);
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

Error Authentication::no_way() const {
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

Result<Authentication::Answer> Authentication::by_login() {
  const auto answer =
      connection_.run(imap::Login{account_.user, account_.password}, [&](const imap::Event& event) -> Result<bool> {
        if (const auto* bye = std::get_if<imap::Bye>(&event)) return login_refused(bye->status, account_);
        return false;
      });
  if (!answer) return answer.error();
  return Answer{*answer, true, {}};
}

Result<Authentication::Answer> Authentication::by_mechanism(const std::string& name) {
  auto made = sasl::mechanism(name, who_, binding_);
  if (!made) return made.error();
  sasl::Mechanism& mechanism = **made;
  imap::Authenticate command{std::string(mechanism.name()), std::nullopt};
  if (mechanism.client_first()) {
    Result<Secret> first = mechanism.initial();
    if (!first) return first.error();
    command.initial_response = *std::move(first);
  }
  const bool at_once = mechanism.client_first() && session_.has("SASL-IR");
  const bool one_message = name == "PLAIN" || name == "EXTERNAL";
  int asked = 0;
  std::optional<Error> broken;
  const auto answer = connection_.run(command, [&](const imap::Event& event) -> Result<bool> {
    if (const auto* bye = std::get_if<imap::Bye>(&event))
      return login_refused(bye->status, account_, mechanism.said(), who_.token);
    const auto* challenge = std::get_if<imap::Continuation>(&event);
    if (challenge == nullptr) return false;
    const std::string octets = unbase64(challenge->text).value_or(challenge->text);
    // Some servers ignore the initial response (RFC 4959) and ask for it; who asks twice wants something else.
    if (asked++ == 0 && at_once && (octets.empty() || one_message)) {
      session_.respond(command.initial_response->reveal());
      return true;
    }
    const Result<Secret> response = mechanism.respond(octets);
    if (response) {
      session_.respond(response->reveal());
    } else {
      if (mechanism.proved() || name.starts_with("SCRAM")) broken = response.error();
      session_.respond(std::nullopt);
    }
    return true;
  });
  if (!answer) return answer.error();
  if (answer->condition == Condition::Ok) {
    if (broken) return *broken;
    if (Done proved = mechanism.finish(); !proved) return proved.error();
  } else if (broken && !one_message && name != "LOGIN") {
    return *broken;
  }
  return Answer{*answer, mechanism.proved(), mechanism.said()};
}

// Refused for what it is, not for who asks.
bool Authentication::other_way_may_work(const Answer& answer) const {
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

Done Authentication::try_all() {
  const std::vector<std::string> all = ways();
  if (all.empty()) return no_way();
  token_refused_ = false;
  for (std::size_t i = 0; i < all.size(); ++i) {
    Result<Answer> answer = all[i] == kLoginCommand ? by_login() : by_mechanism(all[i]);
    if (!answer) return answer.error();
    if (answer->status.condition == Condition::Ok) return done();
    if (i + 1 < all.size() && other_way_may_work(*answer)) continue;
    Error error = refused(*answer);
    token_refused_ = account_.token && answer->status.condition == Condition::No && error.retry != Retry::Later;
    return error;
  }
  return no_way();
}

}  // namespace

Done authenticate(Connection& connection, const Account& account) { return Authentication(connection, account).run(); }

}  // namespace mailhaul::client
