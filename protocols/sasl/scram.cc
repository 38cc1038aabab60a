#include "protocols/sasl/scram.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <array>
#include <charconv>
#include <optional>
#include <utility>

#include "protocols/base/text.h"
#include "protocols/mail/mailbox_name.h"

namespace mailhaul::sasl {
namespace {

// A digest's worth of octets that is wiped when it dies.
class Digest {
 public:
  explicit Digest(std::size_t size) : size_(size) {}
  Digest(const Digest&) = default;
  Digest& operator=(const Digest&) = default;
  ~Digest() { OPENSSL_cleanse(octets_.data(), octets_.size()); }
  unsigned char* data() { return octets_.data(); }
  [[nodiscard]] const unsigned char* data() const { return octets_.data(); }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] std::string text() const { return {reinterpret_cast<const char*>(octets_.data()), size_}; }

 private:
  std::array<unsigned char, EVP_MAX_MD_SIZE> octets_{};
  std::size_t size_;
};

const unsigned char* octets(std::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); }

// RFC 5802 §5.1: a name stands between commas.
std::string sasl_name(std::string_view name) {
  std::string out;
  for (const char c : name) {
    if (c == ',')
      out += "=2C";
    else if (c == '=')
      out += "=3D";
    else
      out += c;
  }
  return out;
}

struct ServerFirst {
  std::string nonce, salt;
  unsigned iterations = 0;
};

class Scram final : public Mechanism {
 public:
  Scram(const Credentials& who, Secret password, ScramOptions options)
      : options_(std::move(options)),
        name_(std::string(options_.sha256 ? "SCRAM-SHA-256" : "SCRAM-SHA-1") +
              (options_.binding_type.empty() ? "" : "-PLUS")),
        password_(std::move(password)) {
    gs2_ = options_.binding_type.empty() ? (options_.could_bind ? "y," : "n,") : "p=" + options_.binding_type + ",";
    if (!who.authzid.empty()) gs2_ += "a=" + sasl_name(who.authzid);
    gs2_ += ',';
    first_bare_ = "n=" + sasl_name(who.user) + ",r=" + options_.nonce;
  }

  [[nodiscard]] std::string_view name() const override { return name_; }
  Result<Secret> initial() override { return Secret(gs2_ + first_bare_); }
  Result<Secret> respond(std::string_view challenge) override;
  Done finish() override;
  [[nodiscard]] std::string said() const override { return said_; }
  [[nodiscard]] bool proved() const override { return step_ != Step::First; }

 private:
  enum class Step { First, Final, Verified, Broken };

  [[nodiscard]] Error broken(std::string why) const {
    return {Scope::Account, Retry::AfterUserAction, name_ + ": " + std::move(why),
            "The server, or somebody on the way to it, does not follow RFC 5802."};
  }
  [[nodiscard]] const EVP_MD* md() const { return options_.sha256 ? EVP_sha256() : EVP_sha1(); }
  [[nodiscard]] std::size_t width() const { return static_cast<std::size_t>(EVP_MD_get_size(md())); }
  bool hmac(const Digest& key, std::string_view text, Digest& out) const {
    return HMAC(md(), key.data(), static_cast<int>(key.size()), octets(text), text.size(), out.data(), nullptr) !=
           nullptr;
  }
  Result<ServerFirst> parse(std::string_view challenge) const;
  Result<Secret> final_message(std::string_view server_first);
  Result<Secret> verify(std::string_view server_final);

  ScramOptions options_;
  std::string name_, gs2_, first_bare_, said_;
  Secret password_;
  Step step_ = Step::First;
  std::string server_signature_;
};

// RFC 5802 §7: server-first-message = [reserved-mext ","] nonce "," salt "," iteration-count ["," extensions]
Result<ServerFirst> Scram::parse(std::string_view challenge) const {
  ServerFirst first;
  std::string salt, iterations;
  std::array<std::pair<char, std::string*>, 3> wanted{{{'r', &first.nonce}, {'s', &salt}, {'i', &iterations}}};
  std::string_view rest = challenge;
  for (auto& [key, value] : wanted) {
    const std::string_view part = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(part.size() + 1, rest.size()));
    if (part.size() < 3 || part[0] != key || part[1] != '=')
      return broken("its first message is not understood");  // "m=" too: an extension that must be known, §5.1
    *value = part.substr(2);
  }
  // The server's part must follow, or it could replay an old exchange.
  if (first.nonce.size() <= options_.nonce.size() || !first.nonce.starts_with(options_.nonce))
    return broken("the server does not use this exchange's nonce");
  const auto decoded = unbase64(salt);
  if (!decoded || decoded->empty()) return broken("the salt is not base64");
  first.salt = *decoded;
  const char* end = iterations.data() + iterations.size();
  const auto [stop, failure] = std::from_chars(iterations.data(), end, first.iterations);
  if (failure == std::errc::result_out_of_range || first.iterations > kMostIterations)
    return broken("the server asks for more than " + std::to_string(kMostIterations) + " iterations");
  if (failure != std::errc{} || stop != end || first.iterations == 0)
    return broken("the number of iterations is not understood");
  return first;
}

Result<Secret> Scram::final_message(std::string_view server_first) {
  Result<ServerFirst> first = parse(server_first);
  if (!first) return first.error();
  const std::string without_proof =
      "c=" + base64(options_.binding_type.empty() ? gs2_ : gs2_ + options_.binding_data) + ",r=" + first->nonce;
  const std::string auth = first_bare_ + "," + std::string(server_first) + "," + without_proof;

  // RFC 5802 §3
  Digest salted(width()), client_key(width()), stored_key(width()), signature(width()), server_key(width()),
      proof(width());
  const std::string& password = password_.reveal();
  bool good = PKCS5_PBKDF2_HMAC(password.data(), static_cast<int>(password.size()), octets(first->salt),
                                static_cast<int>(first->salt.size()), static_cast<int>(first->iterations), md(),
                                static_cast<int>(width()), salted.data()) == 1;
  good = good && hmac(salted, "Client Key", client_key) && hmac(salted, "Server Key", server_key);
  good = good && EVP_Digest(client_key.data(), width(), stored_key.data(), nullptr, md(), nullptr) == 1;
  good = good && hmac(stored_key, auth, signature);
  for (std::size_t i = 0; i < width(); ++i)
    proof.data()[i] = static_cast<unsigned char>(client_key.data()[i] ^ signature.data()[i]);
  Digest server_signature(width());
  good = good && hmac(server_key, auth, server_signature);
  if (!good) return Error{Scope::Service, Retry::Never, name_ + ": OpenSSL cannot compute it", ""};
  server_signature_ = server_signature.text();
  password_ = Secret();
  step_ = Step::Final;
  return Secret(without_proof + ",p=" + base64(proof.text()));
}

// RFC 5802 §7: server-final-message = (server-error / verifier) ["," extensions]
Result<Secret> Scram::verify(std::string_view server_final) {
  step_ = Step::Broken;
  const std::string_view part = server_final.substr(0, server_final.find(','));
  if (part.starts_with("e=")) {  // the refusal itself comes with the end of the exchange
    said_ = printable(part.substr(2), 80);
    return Secret();
  }
  const auto signature = part.starts_with("v=") ? unbase64(part.substr(2)) : std::nullopt;
  if (!signature || signature->size() != server_signature_.size() ||
      CRYPTO_memcmp(signature->data(), server_signature_.data(), server_signature_.size()) != 0)
    return broken("the server cannot prove that it knows the password");
  step_ = Step::Verified;
  return Secret();
}

Result<Secret> Scram::respond(std::string_view challenge) {
  if (challenge.size() > kLongestChallenge) return broken("the challenge is too long");
  if (step_ == Step::Final) return verify(challenge);
  if (step_ != Step::First) return broken("the server goes on behind the end");
  if (challenge.starts_with("e=")) {  // not the grammar's place for it, but some servers know no other
    said_ = printable(challenge.substr(2, challenge.find(',') - 2), 80);
    return broken("refused (" + said_ + ")");
  }
  return final_message(challenge);
}

Done Scram::finish() {
  if (step_ == Step::Verified) return done();
  return broken("the server lets in without having proved that it knows the password");
}

}  // namespace

Result<Secret> prepared_password(const Secret& password) {
  const std::string& text = password.reveal();
  const auto control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; };
  bool ascii = true;
  for (const char c : text) {
    if (control(c))  // RFC 3454 table C.2.1
      return Error{Scope::Account, Retry::AfterUserAction, "SCRAM: the password holds a control character", ""};
    ascii = ascii && static_cast<unsigned char>(c) < 0x80;
  }
  if (ascii || !is_utf8(text)) return password;
  return Secret(mail::to_nfkc(text));  // RFC 4013 §2.2; NFKC makes plain spaces of the others (§2.1), too
}

Result<std::unique_ptr<Mechanism>> scram(const Credentials& who, ScramOptions options) {
  for (const std::string* part : {&who.user, &who.authzid, &who.password.reveal()})
    if (part->find('\0') != std::string::npos)
      return Error{Scope::Account, Retry::AfterUserAction, "SCRAM: user name and password cannot hold a NUL octet", ""};
  if (who.user.empty() || who.password.empty())
    return Error{Scope::Account, Retry::AfterUserAction, "SCRAM: the user name or the password is empty", ""};
  Result<Secret> password = prepared_password(who.password);
  if (!password) return password.error();
  return std::unique_ptr<Mechanism>(std::make_unique<Scram>(who, std::move(*password), std::move(options)));
}

}  // namespace mailhaul::sasl
