// Who one is, said to a POP3 server (RFC 5034, RFC 1939 §7): the ways there are, and when the next one is tried.
#include <algorithm>
#include <array>
#include <charconv>
#include <string>
#include <vector>

#include "protocols/base/text.h"
#include "protocols/client/authentication.h"
#include "protocols/client/pop3_login.h"

namespace mailhaul::client {
namespace {

using pop3::Status;

constexpr std::string_view kUserAndPass = "";  // among the names of mechanisms

class Pop3Speaker {
 public:
  struct Answer {
    Status status;
    bool proved = true;  // the server knows whether the secret is right
    std::string said;
  };

  Pop3Speaker(Pop3Connection& connection, const Account& account)
      : connection_(connection),
        session_(connection.session),
        account_(account),
        self_(account, connection.transport(), connection.session.secure()) {}

  [[nodiscard]] sasl::Credentials& who() { return self_.who; }
  [[nodiscard]] std::vector<std::string> ways() const;
  [[nodiscard]] Error no_way() const;
  Result<Answer> attempt(const std::string& way) {
    return way == kUserAndPass ? by_user_and_pass() : by_mechanism(way);
  }
  [[nodiscard]] static bool let_in(const Answer& answer) { return answer.status.ok; }
  [[nodiscard]] static bool other_way_may_work(const Answer& answer);
  [[nodiscard]] static bool about_token(const Answer&) { return true; }
  [[nodiscard]] static bool unreasoned(const Answer&) { return false; }  // most servers give no reason
  [[nodiscard]] Error refused(const Answer& answer) const;

 private:
  Result<Answer> by_user_and_pass();
  Result<Answer> by_mechanism(const std::string& name);

  Pop3Connection& connection_;
  pop3::Session& session_;
  const Account& account_;
  Identity self_;
};

// USER and PASS are two round trips, the mechanism LOGIN is three.
std::vector<std::string> Pop3Speaker::ways() const {
  const auto offered = " " + to_upper(session_.value_of("SASL").value_or("")) + " ";
  const auto offers = [&](std::string_view name) {
    return offered.find(" " + std::string(name) + " ") != std::string::npos;
  };
  std::vector<std::string> out = sasl::choose(offers, self_.who, self_.binding);
  if (account_.authzid.empty() && !self_.who.password.empty())
    out.insert(std::find(out.begin(), out.end(), "LOGIN"), std::string(kUserAndPass));
  return out;
}

Error Pop3Speaker::no_way() const {
  Error error{Scope::Account, Retry::AfterUserAction, "", ""};
  if (account_.token) {
    error.what = "the server takes no OAuth tokens (it offers neither OAUTHBEARER nor XOAUTH2)";
    error.advice = "Use a password for this account.";
  } else if (!account_.authzid.empty()) {
    error.what = "the server offers no login in which an administrator can name another user";
    error.advice = "It takes SASL PLAIN or SCRAM; Dovecot's master users also log in as user*master.";
  } else {
    error.what = "there is no password for this account";
  }
  return error;
}

Result<Pop3Speaker::Answer> Pop3Speaker::by_user_and_pass() {
  auto answer = connection_.run(pop3::User{account_.user});
  if (answer && answer->ok) answer = connection_.run(pop3::Pass{account_.password});
  if (!answer) return answer.error();
  return Answer{*std::move(answer), true, {}};
}

Result<Pop3Speaker::Answer> Pop3Speaker::by_mechanism(const std::string& name) {
  auto begun = Exchange::begin(name, self_.who, self_.binding);
  if (!begun) return begun.error();
  Exchange& exchange = *begun;
  const auto on_challenge = [&](std::string_view text) {
    return exchange.respond(unbase64(text).value_or(std::string(text)));
  };
  const auto answer = connection_.run(pop3::Auth{exchange.mechanism(), exchange.first}, nullptr, on_challenge);
  if (!answer) return answer.error();
  if (Done trusted = exchange.conclude(answer->ok); !trusted) return trusted.error();
  return Answer{*answer, exchange.proved(), exchange.said()};
}

Error Pop3Speaker::refused(const Answer& answer) const {
  std::int64_t delay = 0;
  if (const auto told = session_.value_of("LOGIN-DELAY"))
    (void)std::from_chars(told->data(), told->data() + told->size(), delay);
  Status status = answer.status;
  if (!answer.said.empty()) status.text += " (" + answer.said + ")";
  return pop3_refused(status, account_, std::clamp<std::int64_t>(delay, 0, 86'400), self_.who.token);
}

// Refused for what it is, not for who asks.
bool Pop3Speaker::other_way_may_work(const Answer& answer) {
  if (!answer.status.code.empty() && answer.status.code != "AUTH") return false;
  if (answer.said == "unsupported-channel-binding-type" || answer.said == "other-error") return true;  // RFC 5802 §7
  if (!answer.proved) return true;
  const auto text = to_lower(answer.status.text);
  constexpr std::array<std::string_view, 9> kSigns{"unknown",         "unsupported", "not supported",
                                                   "unrecogni",       "syntax",      "invalid command",
                                                   "not implemented", "malformed",   "authentication mechanism"};
  return std::ranges::any_of(kSigns, [&](std::string_view words) { return text.find(words) != std::string::npos; });
}

}  // namespace

Done authenticate(Pop3Connection& connection, const Account& account) {
  Pop3Speaker speaker(connection, account);
  return Authentication(speaker, account, speaker.who()).run();
}

}  // namespace mailhaul::client
