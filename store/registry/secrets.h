// Secrets at rest and what proves who somebody is. Cryptography is libsodium's: XChaCha20-Poly1305 for passwords of
// accounts, Argon2id (RFC 9106) for passwords of users.
#pragma once
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/result.h"
#include "protocols/base/types.h"

namespace mailhaul::registry {

// Seals short texts, each bound to its place (table, row, field), so that it opens nowhere else. A sealed text begins
// with the id of its key. Values; thread-safe once made.
class SecretBox {
 public:
  // Reads the keys of `directory`/*.key, the newest by name seals; makes the first one if there is none. `given`: a
  // file with one key instead (32 octets, or 64 hexadecimal digits), from a secret store.
  static Result<SecretBox> open(const std::string& directory, const std::string& given);

  [[nodiscard]] Result<std::string> seal(const Secret& secret, std::string_view place) const;
  [[nodiscard]] Result<Secret> open_sealed(std::string_view sealed, std::string_view place) const;
  // Was it sealed with the key that seals today?
  [[nodiscard]] bool current(std::string_view sealed) const;
  [[nodiscard]] bool generated() const { return generated_; }  // the key lies beside the data

  // Makes a new key in `directory`, durable when it returns; it seals from now on, older ones still open.
  Done rotate(const std::string& directory);
  static Done remove_older(const std::string& directory);  // once nothing is sealed with them any more

 private:
  std::map<std::string, Secret> keys_;  // by key id, 8 octets
  std::string newest_;
  bool generated_ = true;
};

// An Argon2id string with its parameters; about 50 ms and 19 MiB. At most two at a time, others wait.
Result<std::string> hash_password(const Secret& password);
// Takes as long when `hash` is empty (no such user) as otherwise.
bool password_matches(const Secret& password, const std::string& hash);

std::string random_token(std::size_t octets = 32);                    // base64url
std::string token_hash(std::string_view token);                       // SHA-256, 32 octets
bool equal_in_constant_time(std::string_view a, std::string_view b);  // of texts of one length

}  // namespace mailhaul::registry
