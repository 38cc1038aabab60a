// The server's side of SCRAM, for tests: it knows the password, checks the proof, and signs.
#pragma once
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <string>
#include <string_view>

#include "protocols/base/text.h"

namespace mailhaul::test {

class ScramServer {
 public:
  explicit ScramServer(bool sha256, std::string password = "hunter2", unsigned iterations = 64)
      : md_(sha256 ? EVP_sha256() : EVP_sha1()), password_(std::move(password)), iterations_(iterations) {}

  std::string salt = "salt and pepper";

  // server-first for a client-first.
  std::string first(std::string_view client_first) {
    const auto bare = client_first.find(",n=") + 1;
    gs2_ = client_first.substr(0, bare);
    bare_ = client_first.substr(bare);
    nonce_ = bare_.substr(bare_.find(",r=") + 3) + "Server";
    server_first_ = "r=" + nonce_ + ",s=" + base64(salt) + ",i=" + std::to_string(iterations_);
    return server_first_;
  }
  // server-final for a client-final: "v=…", or "e=…" if the proof or the binding is wrong.
  std::string final(std::string_view client_final, const std::string& binding = "") {
    const auto proof_at = client_final.rfind(",p=");
    const std::string without(client_final.substr(0, proof_at));
    if (without != "c=" + base64(gs2_ + binding) + ",r=" + nonce_) return "e=channel-bindings-dont-match";
    std::string salted(static_cast<std::size_t>(EVP_MD_get_size(md_)), '\0');
    PKCS5_PBKDF2_HMAC(password_.data(), static_cast<int>(password_.size()),
                      reinterpret_cast<const unsigned char*>(salt.data()), static_cast<int>(salt.size()),
                      static_cast<int>(iterations_), md_, static_cast<int>(salted.size()),
                      reinterpret_cast<unsigned char*>(salted.data()));
    const std::string auth = bare_ + "," + server_first_ + "," + without;
    const std::string client_key = hmac(salted, "Client Key");
    std::string stored(salted.size(), '\0');
    EVP_Digest(client_key.data(), client_key.size(), reinterpret_cast<unsigned char*>(stored.data()), nullptr, md_,
               nullptr);
    std::string proof = hmac(stored, auth);
    for (std::size_t i = 0; i < proof.size(); ++i) proof[i] = static_cast<char>(proof[i] ^ client_key[i]);
    if (client_final.substr(proof_at + 3) != base64(proof)) return "e=invalid-proof";
    return "v=" + base64(hmac(hmac(salted, "Server Key"), auth));
  }

 private:
  [[nodiscard]] std::string hmac(const std::string& key, const std::string& text) const {
    std::string out(static_cast<std::size_t>(EVP_MD_get_size(md_)), '\0');
    HMAC(md_, key.data(), static_cast<int>(key.size()), reinterpret_cast<const unsigned char*>(text.data()),
         text.size(), reinterpret_cast<unsigned char*>(out.data()), nullptr);
    return out;
  }
  const EVP_MD* md_;
  std::string password_, gs2_, bare_, nonce_, server_first_;
  unsigned iterations_;
};

}  // namespace mailhaul::test
