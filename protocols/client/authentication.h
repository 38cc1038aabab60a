// Private to the room: what IMAP and POP3 have in common in saying who one is (RFC 4422): the ways that a server offers
// one after the other, the messages of a SASL exchange, and a token that is refused before its time.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "protocols/base/result.h"
#include "protocols/base/text.h"
#include "protocols/client/imap_client.h"
#include "protocols/net/transport.h"
#include "protocols/sasl/mechanism.h"

namespace mailhaul::client {

// One exchange by a mechanism of sasl::choose(). `first`: the message that may go with the command.
class Exchange {
 public:
  static Result<Exchange> begin(const std::string& name, const sasl::Credentials& who, const sasl::Binding& binding) {
    auto made = sasl::mechanism(name, who, binding);
    if (!made) return made.error();
    Exchange out(name, *std::move(made));
    if (!out.mechanism_->client_first()) return out;
    Result<Secret> message = out.mechanism_->initial();
    if (!message) return message.error();
    out.first = *std::move(message);
    return out;
  }

  std::optional<Secret> first;

  [[nodiscard]] std::string mechanism() const { return std::string(mechanism_->name()); }
  [[nodiscard]] bool one_message() const { return name_ == "PLAIN" || name_ == "EXTERNAL"; }
  [[nodiscard]] bool proved() const { return mechanism_->proved(); }
  [[nodiscard]] std::string said() const { return mechanism_->said(); }

  // nullopt: the exchange is to be cancelled.
  std::optional<Secret> respond(std::string_view challenge) {
    Result<Secret> response = mechanism_->respond(challenge);
    if (response) return *std::move(response);
    if (mechanism_->proved() || name_.starts_with("SCRAM")) broken_ = response.error();
    return std::nullopt;
  }
  // After the server's last word: an Error if the server could not be trusted, whatever it says.
  Done conclude(bool ok) {
    if (broken_ && (ok || (!one_message() && name_ != "LOGIN"))) return *broken_;
    return ok ? mechanism_->finish() : done();
  }

 private:
  Exchange(std::string name, std::unique_ptr<sasl::Mechanism> mechanism)
      : name_(std::move(name)), mechanism_(std::move(mechanism)) {}
  std::string name_;
  std::unique_ptr<sasl::Mechanism> mechanism_;
  std::optional<Error> broken_;
};

// `Speaker` says it in one protocol:
//   std::vector<std::string> ways()         the ways that server and credentials allow, the best first
//   Error no_way()                          why there is none
//   Result<Answer> attempt(way)             one login; an Error ends it all
//   bool let_in(answer), other_way_may_work(answer), about_token(answer)
//   bool unreasoned(answer)                 refused without a reason: perhaps what it keeps cannot be checked this way
//   Error refused(answer)                   what the refusal means
// about_token(): the refusal may be one of the token, rather than of the command.
template <class Speaker>
class Authentication {
 public:
  Authentication(Speaker& speaker, const Account& account, sasl::Credentials& who)
      : speaker_(speaker), account_(account), who_(who) {}

  Done run() {
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
  Done try_all() {
    const std::vector<std::string> all = speaker_.ways();
    token_refused_ = false;
    const auto in_clear = [](std::string_view way) { return !way.starts_with("SCRAM") && way != "CRAM-MD5"; };
    bool proofs_fail = false;
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (proofs_fail && !in_clear(all[i])) continue;
      auto answer = speaker_.attempt(all[i]);
      if (!answer) return answer.error();
      if (speaker_.let_in(*answer)) return done();
      if (i + 1 < all.size() && speaker_.other_way_may_work(*answer)) continue;
      // GNU mailutils offers SCRAM for passwords of which it has only a hash, and refuses every proof.
      if (!in_clear(all[i]) && in_clear(all.back()) && speaker_.unreasoned(*answer)) {
        proofs_fail = true;
        continue;
      }
      Error error = speaker_.refused(*answer);
      token_refused_ = account_.token && speaker_.about_token(*answer) && error.retry != Retry::Later;
      return error;
    }
    return speaker_.no_way();
  }

  Speaker& speaker_;
  const Account& account_;
  sasl::Credentials& who_;
  bool token_refused_ = false;
};

// Who logs in, and what ties it to the connection: nothing, without TLS.
struct Identity {
  Identity(const Account& account, net::Transport& transport, bool secure)
      : who{account.user, account.authzid, account.password, {}, false, account.endpoint.host, account.endpoint.port} {
    if (!secure) return;
    net::ChannelBinding from_tls = transport.channel_binding();
    binding = {std::move(from_tls.exporter), std::move(from_tls.end_point)};
    who.certificate = from_tls.certificate;
  }
  sasl::Credentials who;
  sasl::Binding binding;
};

}  // namespace mailhaul::client
