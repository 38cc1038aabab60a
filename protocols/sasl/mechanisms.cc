// The mechanisms that are one message or two, and the choice among all.
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <array>
#include <utility>

#include "protocols/base/text.h"
#include "protocols/sasl/mechanism.h"
#include "protocols/sasl/plain.h"
#include "protocols/sasl/scram.h"

namespace mailhaul::sasl {
namespace {

Error unusable(std::string_view name, std::string_view why) {
  return {Scope::Account, Retry::AfterUserAction, std::string(name) + ": " + std::string(why), ""};
}

// One message of the client, nothing to add.
class OneMessage final : public Mechanism {
 public:
  OneMessage(std::string name, Secret message) : name_(std::move(name)), message_(std::move(message)) {}
  [[nodiscard]] std::string_view name() const override { return name_; }
  Result<Secret> initial() override { return message_; }
  Result<Secret> respond(std::string_view) override {
    return unusable(name_, "the server asks for more than the mechanism has");
  }

 private:
  std::string name_;
  Secret message_;
};

// LOGIN (draft-murchison-sasl-login): the prompts differ, their order does not.
class Login final : public Mechanism {
 public:
  Login(std::string user, Secret password) : user_(std::move(user)), password_(std::move(password)) {}
  [[nodiscard]] std::string_view name() const override { return "LOGIN"; }
  [[nodiscard]] bool client_first() const override { return false; }
  [[nodiscard]] bool proved() const override { return asked_ >= 2; }
  Result<Secret> respond(std::string_view) override {
    ++asked_;
    if (asked_ == 1) return Secret(user_);
    if (asked_ == 2) return password_;
    return unusable("LOGIN", "the server asks for more than user and password");
  }

 private:
  std::string user_;
  Secret password_;
  int asked_ = 0;
};

class CramMd5 final : public Mechanism {  // RFC 2195 §2
 public:
  CramMd5(std::string user, Secret password) : user_(std::move(user)), password_(std::move(password)) {}
  [[nodiscard]] std::string_view name() const override { return "CRAM-MD5"; }
  [[nodiscard]] bool client_first() const override { return false; }
  // A server that keeps passwords in another form refuses the right one, too.
  [[nodiscard]] bool proved() const override { return false; }
  Result<Secret> respond(std::string_view challenge) override {
    if (challenge.empty() || challenge.size() > kLongestChallenge || answered_)
      return unusable("CRAM-MD5", "the challenge is not one");
    answered_ = true;
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned size = 0;
    const std::string& password = password_.reveal();
    if (HMAC(EVP_md5(), password.data(), static_cast<int>(password.size()),
             reinterpret_cast<const unsigned char*>(challenge.data()), challenge.size(), digest.data(),
             &size) == nullptr)
      return unusable("CRAM-MD5", "this machine's OpenSSL does not do MD5");
    static constexpr char kHex[] = "0123456789abcdef";
    std::string answer = user_ + " ";
    for (unsigned i = 0; i < size; ++i) answer += {kHex[digest.at(i) >> 4], kHex[digest.at(i) & 15]};
    return Secret(std::move(answer));
  }

 private:
  std::string user_;
  Secret password_;
  bool answered_ = false;
};

// A token in one message; a refusal is a challenge with JSON in it that wants an answer before the server says NO.
class Bearer final : public Mechanism {
 public:
  Bearer(std::string name, Secret message, std::string acknowledgement)
      : name_(std::move(name)), message_(std::move(message)), acknowledgement_(std::move(acknowledgement)) {}
  [[nodiscard]] std::string_view name() const override { return name_; }
  Result<Secret> initial() override { return message_; }
  Result<Secret> respond(std::string_view challenge) override {
    if (challenge.size() > kLongestChallenge || !said_.empty())
      return unusable(name_, "the server goes on behind its refusal");
    said_ = printable(challenge, 300);
    if (said_.empty()) said_ = "{}";
    return Secret(acknowledgement_);
  }
  [[nodiscard]] std::string said() const override { return said_; }

 private:
  std::string name_;
  Secret message_;
  std::string acknowledgement_, said_;
};

// RFC 7628 §3.1; a name with a comma or an equals sign is written as in SCRAM (RFC 5801 §4).
Secret oauthbearer_message(const Credentials& who) {
  std::string out = "n,a=";
  for (const char c : who.authzid.empty() ? who.user : who.authzid)
    append_wiping(out, c == ',' ? "=2C" : c == '=' ? "=3D" : std::string_view(&c, 1));
  append_wiping(out, ",\x01host=" + who.host + "\x01port=" + std::to_string(who.port) + "\x01" + "auth=Bearer ");
  append_wiping(out, who.token.reveal());
  append_wiping(out, "\x01\x01");
  return Secret(std::move(out));
}

// Google's and Microsoft's mechanism, the same idea before it had an RFC.
Secret xoauth2_message(const Credentials& who) {
  std::string out = "user=" + (who.authzid.empty() ? who.user : who.authzid) + "\x01" + "auth=Bearer ";
  append_wiping(out, who.token.reveal());
  append_wiping(out, "\x01\x01");
  return Secret(std::move(out));
}

std::string fresh_nonce() {
  std::array<unsigned char, 18> octets{};
  if (RAND_bytes(octets.data(), static_cast<int>(octets.size())) != 1) return {};
  return base64({reinterpret_cast<const char*>(octets.data()), octets.size()});
}

Result<std::unique_ptr<Mechanism>> bearer(std::string_view name, const Credentials& who) {
  for (const std::string* part : {&who.user, &who.authzid, &who.host, &who.token.reveal()})
    for (const char c : *part)
      if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F)  // ^A parts the fields
        return unusable(name, "a control character in the user name or the token");
  if (who.user.empty() || who.token.empty()) return unusable(name, "the user name or the token is missing");
  if (name == "XOAUTH2")
    return std::unique_ptr<Mechanism>(std::make_unique<Bearer>("XOAUTH2", xoauth2_message(who), ""));
  return std::unique_ptr<Mechanism>(std::make_unique<Bearer>("OAUTHBEARER", oauthbearer_message(who), "\x01"));
}

Result<std::unique_ptr<Mechanism>> scram_by_name(std::string_view name, const Credentials& who, const Binding& binding,
                                                 std::string nonce) {
  ScramOptions options;
  options.sha256 = name.starts_with("SCRAM-SHA-256");
  options.nonce = nonce.empty() ? fresh_nonce() : std::move(nonce);
  if (options.nonce.empty()) return unusable(name, "this machine has no random numbers");
  options.could_bind = name.ends_with("/bindable");
  const bool end_point = name.ends_with("/end-point");
  if (wire_name(name).ends_with("-PLUS")) {
    options.binding_type = end_point ? "tls-server-end-point" : "tls-exporter";
    options.binding_data = end_point ? binding.end_point : binding.exporter;
    if (options.binding_data.empty()) return unusable(name, "this connection has no channel binding");
  }
  return scram(who, std::move(options));
}

}  // namespace

std::string_view wire_name(std::string_view chosen) { return chosen.substr(0, chosen.find('/')); }

Result<std::unique_ptr<Mechanism>> mechanism(std::string_view name, const Credentials& who, const Binding& binding,
                                             std::string nonce) {
  if (name.starts_with("SCRAM-SHA-1") || name.starts_with("SCRAM-SHA-256"))
    return scram_by_name(name, who, binding, std::move(nonce));
  if (name == "XOAUTH2" || name == "OAUTHBEARER") return bearer(name, who);
  if (name == "EXTERNAL") {  // RFC 4422 appendix A
    if (who.authzid.find('\0') != std::string::npos) return unusable(name, "a NUL octet in the user name");
    return std::unique_ptr<Mechanism>(std::make_unique<OneMessage>("EXTERNAL", Secret(who.authzid)));
  }
  Result<Secret> message = plain(who.authzid, who.user, who.password);  // its checks are those of the other two
  if (!message) return message.error();
  if (name == "PLAIN") return std::unique_ptr<Mechanism>(std::make_unique<OneMessage>("PLAIN", std::move(*message)));
  if (name == "CRAM-MD5") return std::unique_ptr<Mechanism>(std::make_unique<CramMd5>(who.user, who.password));
  if (name == "LOGIN") return std::unique_ptr<Mechanism>(std::make_unique<Login>(who.user, who.password));
  return unusable(name, "not a mechanism that is known here");
}

std::vector<std::string> choose(const std::function<bool(std::string_view)>& offers, const Credentials& who,
                                const Binding& binding) {
  std::vector<std::string> out;
  const auto add = [&](std::string_view name) {
    if (offers(wire_name(name))) out.emplace_back(name);
  };
  if (!who.token.empty()) {
    add("OAUTHBEARER");
    add("XOAUTH2");
    return out;
  }
  if (who.certificate) add("EXTERNAL");
  if (who.password.empty()) return out;
  const bool can_bind = !binding.exporter.empty() || !binding.end_point.empty();
  bool binds = false;
  for (const std::string name : {"SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS"}) {
    binds = binds || offers(name);
    if (!binding.exporter.empty()) add(name);
    if (!binding.end_point.empty()) add(name + "/end-point");
  }
  // RFC 5802 §6: "y" tells a server that offers binding that somebody has struck its offer out; where it does offer
  // one of the two ways that failed, "n" is the truth.
  for (const std::string name : {"SCRAM-SHA-256", "SCRAM-SHA-1"}) add(can_bind && !binds ? name + "/bindable" : name);
  if (who.authzid.empty()) add("CRAM-MD5");
  add("PLAIN");
  if (who.authzid.empty()) add("LOGIN");
  return out;
}

}  // namespace mailhaul::sasl
