// Who one is, said to a POP3 server (RFC 5034, RFC 1939 §7): the ways there are, and when the next one is tried.
#include <algorithm>
#include <array>
#include <charconv>
#include <string>
#include <vector>

#include "protocols/base/text.h"
#include "protocols/client/pop3_login.h"
#include "protocols/sasl/mechanism.h"

namespace mailhaul::client {
namespace {

using pop3::Status;

constexpr std::string_view kUserAndPass = "";  // among the names of mechanisms

class Authentication {
 public:
  Authentication(Pop3Connection& connection, const Account& account)
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
    Status status;
    bool proved = true;  // the server knows whether the secret is right
    std::string said;
  };

  Done try_all();
  [[nodiscard]] std::vector<std::string> ways() const;
  [[nodiscard]] Error no_way() const;
  Result<Answer> by_user_and_pass();
  Result<Answer> by_mechanism(const std::string& name);
  [[nodiscard]] Error refused(const Answer& answer) const;
  [[nodiscard]] static bool other_way_may_work(const Answer& answer);

  Pop3Connection& connection_;
  pop3::Session& session_;
  const Account& account_;
  sasl::Credentials who_;
  sasl::Binding binding_;
  bool token_refused_ = false;
};

// USER and PASS are two round trips, the mechanism LOGIN is three.
std::vector<std::string> Authentication::ways() const {
  const auto offered = " " + to_upper(session_.value_of("SASL").value_or("")) + " ";
  const auto offers = [&](std::string_view name) {
    return offered.find(" " + std::string(name) + " ") != std::string::npos;
  };
  std::vector<std::string> out = sasl::choose(offers, who_, binding_);
  if (account_.authzid.empty() && !who_.password.empty())
    out.insert(std::find(out.begin(), out.end(), "LOGIN"), std::string(kUserAndPass));
  return out;
}

Error Authentication::no_way() const {
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

Result<Authentication::Answer> Authentication::by_user_and_pass() {
  auto answer = connection_.run(pop3::User{account_.user});
  if (answer && answer->ok) answer = connection_.run(pop3::Pass{account_.password});
  if (!answer) return answer.error();
  return Answer{*std::move(answer), true, {}};
}

Result<Authentication::Answer> Authentication::by_mechanism(const std::string& name) {
  auto made = sasl::mechanism(name, who_, binding_);
  if (!made) return made.error();
  sasl::Mechanism& mechanism = **made;
  pop3::Auth command{std::string(mechanism.name()), std::nullopt};
  if (mechanism.client_first()) {
    Result<Secret> first = mechanism.initial();
    if (!first) return first.error();
    command.response = *std::move(first);
  }
  const bool one_message = name == "PLAIN" || name == "EXTERNAL";
  std::optional<Error> broken;
  const auto on_challenge = [&](std::string_view text) -> std::optional<Secret> {
    const Result<Secret> response = mechanism.respond(unbase64(text).value_or(std::string(text)));
    if (response) return *response;
    if (mechanism.proved() || name.starts_with("SCRAM")) broken = response.error();
    return std::nullopt;
  };
  const auto answer = connection_.run(command, nullptr, on_challenge);
  if (!answer) return answer.error();
  if (answer->ok) {
    if (broken) return *broken;
    if (Done proved = mechanism.finish(); !proved) return proved.error();
  } else if (broken && !one_message && name != "LOGIN") {
    return *broken;
  }
  return Answer{*answer, mechanism.proved(), mechanism.said()};
}

Error Authentication::refused(const Answer& answer) const {
  std::int64_t delay = 0;
  if (const auto told = session_.value_of("LOGIN-DELAY"))
    (void)std::from_chars(told->data(), told->data() + told->size(), delay);
  Status status = answer.status;
  if (!answer.said.empty()) status.text += " (" + answer.said + ")";
  return pop3_refused(status, account_, std::clamp<std::int64_t>(delay, 0, 86'400), who_.token);
}

// Refused for what it is, not for who asks.
bool Authentication::other_way_may_work(const Answer& answer) {
  if (!answer.status.code.empty() && answer.status.code != "AUTH") return false;
  if (answer.said == "unsupported-channel-binding-type" || answer.said == "other-error") return true;  // RFC 5802 §7
  if (!answer.proved) return true;
  const auto text = to_lower(answer.status.text);
  constexpr std::array<std::string_view, 9> kSigns{"unknown",         "unsupported", "not supported",
                                                   "unrecogni",       "syntax",      "invalid command",
                                                   "not implemented", "malformed",   "authentication mechanism"};
  return std::ranges::any_of(kSigns, [&](std::string_view words) { return text.find(words) != std::string::npos; });
}

Done Authentication::try_all() {
  const std::vector<std::string> all = ways();
  token_refused_ = false;
  for (std::size_t i = 0; i < all.size(); ++i) {
    Result<Answer> answer = all[i] == kUserAndPass ? by_user_and_pass() : by_mechanism(all[i]);
    if (!answer) return answer.error();
    if (answer->status.ok) return done();
    if (i + 1 < all.size() && other_way_may_work(*answer)) continue;
    Error error = refused(*answer);
    token_refused_ = account_.token && error.retry != Retry::Later;
    return error;
  }
  return no_way();
}

}  // namespace

Done authenticate(Pop3Connection& connection, const Account& account) {
  return Authentication(connection, account).run();
}

}  // namespace mailhaul::client
