#include "protocols/mail/digest.h"

#include <openssl/evp.h>

#include <new>
#include <span>

namespace mailhaul::mail {
namespace {

// Fetched once: an EVP_MD that is looked up for every message costs more than hashing a short one.
const EVP_MD* sha256() {
  static const EVP_MD* const algorithm = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  if (algorithm == nullptr) throw std::bad_alloc();
  return algorithm;
}

// OpenSSL's digest calls fail on a bug or exhausted memory only.
void demand(int succeeded) {
  if (succeeded != 1) throw std::bad_alloc();
}

std::string hex_of(std::span<const unsigned char> octets) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(octets.size() * 2);
  for (const unsigned char octet : octets) text += {kDigits[octet >> 4], kDigits[octet & 15]};
  return text;
}

}  // namespace

struct Sha256::Impl {
  Impl() : context(EVP_MD_CTX_new()) {
    if (context == nullptr) throw std::bad_alloc();
  }
  ~Impl() { EVP_MD_CTX_free(context); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  EVP_MD_CTX* context;
};

Sha256::Sha256() : impl_(std::make_unique<Impl>()) { demand(EVP_DigestInit_ex2(impl_->context, sha256(), nullptr)); }
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;

void Sha256::reset() { demand(EVP_DigestInit_ex2(impl_->context, nullptr, nullptr)); }
void Sha256::update(std::string_view octets) { demand(EVP_DigestUpdate(impl_->context, octets.data(), octets.size())); }

Sha256Digest Sha256::finish() {
  Sha256Digest digest;
  demand(EVP_DigestFinal_ex(impl_->context, digest.data(), nullptr));
  return digest;
}

Sha256Digest Sha256::of(std::string_view octets) {
  static thread_local Sha256 hash;
  hash.reset();
  hash.update(octets);
  return hash.finish();
}

std::string hex(std::string_view octets) {
  return hex_of({reinterpret_cast<const unsigned char*>(octets.data()), octets.size()});
}
std::string hex(const Sha256Digest& digest) { return hex_of(digest); }

}  // namespace mailhaul::mail
