#include "tests/support/certificates.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>

namespace mailhaul::test {
namespace {

using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
using Cert = std::unique_ptr<X509, decltype(&X509_free)>;

struct Pair {
  Key key{nullptr, EVP_PKEY_free};
  Cert cert{nullptr, X509_free};
};

void need(bool good, const char* what) {
  if (!good) throw std::runtime_error(std::string("test certificates: ") + what);
}

void extend(X509* cert, X509* issuer, int kind, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, cert, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, kind, value);
  need(extension != nullptr && X509_add_ext(cert, extension, -1) == 1, value);
  X509_EXTENSION_free(extension);
}

struct Wish {
  const char* name;
  const char* alternatives = nullptr;  // subjectAltName
  long from = -86'400, until = 30 * 86'400L;
  const Pair* issuer = nullptr;  // nullptr: self-signed
  bool authority = false;
};

Pair make(const Wish& wish) {
  static long serial = 1000;
  Pair pair;
  pair.key.reset(EVP_EC_gen("P-256"));
  pair.cert.reset(X509_new());
  X509* cert = pair.cert.get();
  need(pair.key && cert != nullptr, "no key");
  X509_set_version(cert, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(cert), ++serial);
  X509_gmtime_adj(X509_getm_notBefore(cert), wish.from);
  X509_gmtime_adj(X509_getm_notAfter(cert), wish.until);
  X509_set_pubkey(cert, pair.key.get());
  X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(wish.name), -1, -1, 0);
  X509* issuer = wish.issuer != nullptr ? wish.issuer->cert.get() : cert;
  X509_set_issuer_name(cert, X509_get_subject_name(issuer));
  extend(cert, issuer, NID_basic_constraints, wish.authority ? "critical,CA:TRUE" : "critical,CA:FALSE");
  extend(cert, issuer, NID_subject_key_identifier, "hash");
  if (wish.alternatives != nullptr) extend(cert, issuer, NID_subject_alt_name, wish.alternatives);
  EVP_PKEY* signer = wish.issuer != nullptr ? wish.issuer->key.get() : pair.key.get();
  need(X509_sign(cert, signer, EVP_sha256()) > 0, "not signed");
  return pair;
}

std::string write_pem(X509* cert) {
  const char* directory = std::getenv("TMPDIR");
  std::string path = std::string(directory != nullptr ? directory : "/tmp") + "/mailhaul-test-ca-XXXXXX";
  const int fd = ::mkstemp(path.data());
  need(fd >= 0, "no temporary file");
  FILE* file = ::fdopen(fd, "w");
  need(file != nullptr && PEM_write_X509(file, cert) == 1 && std::fclose(file) == 0, "not written");
  return path;
}

constexpr const char* kHere = "DNS:localhost,IP:127.0.0.1,IP:::1";

}  // namespace

struct Authority::Impl {
  Pair root = make({.name = "Mailhaul test authority", .authority = true});
  Pair stranger = make({.name = "Mailhaul test stranger", .authority = true});
  std::array<Pair, 7> pairs{
      make({.name = "localhost", .alternatives = kHere, .issuer = &root}),
      make({.name = "localhost", .alternatives = kHere, .from = -20 * 86'400L, .until = -86'400, .issuer = &root}),
      make({.name = "localhost", .alternatives = kHere, .from = 86'400, .issuer = &root}),
      make({.name = "elsewhere.example", .alternatives = "DNS:elsewhere.example", .issuer = &root}),
      make({.name = "localhost", .alternatives = "DNS:localhost", .issuer = &root}),
      make({.name = "localhost", .alternatives = kHere, .issuer = &stranger}),
      make({.name = "localhost", .alternatives = kHere}),
  };
  std::string ca_file = write_pem(root.cert.get());
  std::string self_signed_file = write_pem(pairs[static_cast<std::size_t>(Certificate::SelfSigned)].cert.get());
};

Authority::Authority() : impl_(std::make_unique<Impl>()) {}

Authority::~Authority() {
  ::unlink(impl_->ca_file.c_str());
  ::unlink(impl_->self_signed_file.c_str());
}

const Authority& Authority::instance() {
  static const Authority authority;
  return authority;
}

const std::string& Authority::ca_file() const { return impl_->ca_file; }
const std::string& Authority::self_signed_file() const { return impl_->self_signed_file; }

std::shared_ptr<SSL_CTX> Authority::server_context(Certificate which, int newest) const {
  std::shared_ptr<SSL_CTX> context(SSL_CTX_new(TLS_server_method()), SSL_CTX_free);
  const Pair& pair = impl_->pairs.at(static_cast<std::size_t>(which));
  need(SSL_CTX_use_certificate(context.get(), pair.cert.get()) == 1, "certificate not taken");
  need(SSL_CTX_use_PrivateKey(context.get(), pair.key.get()) == 1, "key not taken");
  if (newest != 0) {
    SSL_CTX_set_security_level(context.get(), 0);
    SSL_CTX_set_min_proto_version(context.get(), 0);
    need(SSL_CTX_set_max_proto_version(context.get(), newest) == 1, "version not taken");
  }
  return context;
}

}  // namespace mailhaul::test
