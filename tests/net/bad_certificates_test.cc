// Certificates that must not be accepted, each refused with its own reason, in the words that a person gets.
#include <doctest/doctest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "protocols/net/connector.h"
#include "tests/support/loopback.h"

using namespace mailhaul;
using namespace mailhaul::test;

namespace {

using Key = std::shared_ptr<EVP_PKEY>;
using Cert = std::shared_ptr<X509>;

struct Signed {
  Key key;
  Cert cert;
};

struct Wish {
  std::string name = "localhost";  // common name
  std::string dns = "localhost";   // octets of the one dNSName; empty: no alternative names
  std::vector<std::pair<int, std::string>> extensions{};
  const Signed* issuer = nullptr;  // nullptr: self-signed
  bool authority = false;
  std::string constraints{};  // instead of those that follow from `authority`
  long from = -86'400, until = 30 * 86'400L;
  int rsa = 0;  // bits; 0: P-256
  const EVP_MD* digest = EVP_sha256();
  bool unknown = false;  // a critical extension that nobody knows
};

void extend(X509* cert, X509* issuer, int kind, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, cert, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, kind, value.c_str());
  REQUIRE_MESSAGE(extension != nullptr, value);
  X509_add_ext(cert, extension, -1);
  X509_EXTENSION_free(extension);
}

// By hand, so that a NUL can be in it.
void add_dns_name(X509* cert, const std::string& octets) {
  GENERAL_NAMES* names = GENERAL_NAMES_new();
  GENERAL_NAME* name = GENERAL_NAME_new();
  ASN1_IA5STRING* text = ASN1_IA5STRING_new();
  ASN1_STRING_set(text, octets.data(), static_cast<int>(octets.size()));
  GENERAL_NAME_set0_value(name, GEN_DNS, text);
  sk_GENERAL_NAME_push(names, name);
  X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0, 0);
  GENERAL_NAMES_free(names);
}

Signed make(const Wish& wish) {
  static long serial = 7000;
  Signed made;
  made.key.reset(wish.rsa != 0 ? EVP_RSA_gen(static_cast<unsigned>(wish.rsa)) : EVP_EC_gen("P-256"), EVP_PKEY_free);
  made.cert.reset(X509_new(), X509_free);
  X509* cert = made.cert.get();
  X509_set_version(cert, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(cert), ++serial);
  X509_gmtime_adj(X509_getm_notBefore(cert), wish.from);
  X509_gmtime_adj(X509_getm_notAfter(cert), wish.until);
  X509_set_pubkey(cert, made.key.get());
  X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(wish.name.data()),
                             static_cast<int>(wish.name.size()), -1, 0);
  X509* issuer = wish.issuer != nullptr ? wish.issuer->cert.get() : cert;
  X509_set_issuer_name(cert, X509_get_subject_name(issuer));
  const std::string usual = wish.authority ? "critical,CA:TRUE" : "critical,CA:FALSE";
  extend(cert, issuer, NID_basic_constraints, wish.constraints.empty() ? usual : wish.constraints);
  if (!wish.dns.empty()) add_dns_name(cert, wish.dns);
  for (const auto& [kind, value] : wish.extensions) extend(cert, issuer, kind, value);
  if (wish.unknown) {
    X509_EXTENSION* extension = X509V3_EXT_conf(nullptr, nullptr, "1.3.6.1.4.1.55555.1", "critical,DER:05:00");
    REQUIRE(extension != nullptr);
    X509_add_ext(cert, extension, -1);
    X509_EXTENSION_free(extension);
  }
  EVP_PKEY* signer = wish.issuer != nullptr ? wish.issuer->key.get() : made.key.get();
  REQUIRE(X509_sign(cert, signer, wish.digest) > 0);
  return made;
}

struct Trust {  // a PEM file with one certificate
  explicit Trust(const Signed& root) {
    std::array<char, 40> name{"/tmp/mailhaul-bad-ca-XXXXXX"};
    const int fd = ::mkstemp(name.data());
    FILE* file = ::fdopen(fd, "w");
    PEM_write_X509(file, root.cert.get());
    std::fclose(file);
    path = name.data();
  }
  ~Trust() { ::unlink(path.c_str()); }
  Trust(const Trust&) = delete;
  Trust& operator=(const Trust&) = delete;
  std::string path;
};

struct Served {
  Signed own;
  std::vector<Signed> chain{};
  int newest = 0;
  const char* ciphers = nullptr;
  bool nameless = false;  // no certificate at all
};

std::string refusal(const Served& served, const Trust& trust, const std::string& host) {
  const std::shared_ptr<SSL_CTX> context(SSL_CTX_new(TLS_server_method()), SSL_CTX_free);
  SSL_CTX_set_security_level(context.get(), 0);
  if (!served.nameless) {
    SSL_CTX_use_certificate(context.get(), served.own.cert.get());
    SSL_CTX_use_PrivateKey(context.get(), served.own.key.get());
    for (const Signed& next : served.chain) SSL_CTX_add1_chain_cert(context.get(), next.cert.get());
  }
  if (served.newest != 0) {
    SSL_CTX_set_min_proto_version(context.get(), 0);
    SSL_CTX_set_max_proto_version(context.get(), served.newest);
  }
  if (served.ciphers != nullptr) SSL_CTX_set_cipher_list(context.get(), served.ciphers);
  bool told = false;
  std::string error;
  {
    Loopback server([&](Stream& stream, std::size_t) {
      if (stream.start_tls(context.get())) {
        std::string octets;
        told = stream.read(octets);
      }
    });
    const net::Endpoint endpoint{host, server.port()};
    net::ConnectOptions options;
    options.ca_file = trust.path;
    options.timeout = std::chrono::seconds(5);
    auto tcp = net::connect_tcp(endpoint, options, {});
    REQUIRE(tcp);
    const auto tls = net::start_tls(std::move(*tcp), endpoint, options);
    if (tls) return "accepted";
    error = tls.error().what;
    CHECK(tls.error().retry == Retry::AfterUserAction);
  }
  CHECK(!told);
  return error.substr(error.find(": ") + 2);
}

}  // namespace

TEST_CASE("bad certificates: each is refused with its own reason") {
  const Signed root = make({.name = "Root", .dns = "", .authority = true});
  const Trust trust(root);
  const auto leaf = [&](Wish wish) {
    if (wish.issuer == nullptr) wish.issuer = &root;
    return make(wish);
  };
  const Signed stranger = make({.name = "Stranger", .dns = "", .authority = true});
  const Signed middle = make({.name = "Middle", .dns = "", .issuer = &root, .authority = true});
  const Signed old_middle = make({.name = "Old middle",
                                  .dns = "",
                                  .issuer = &root,
                                  .authority = true,
                                  .from = -90 * 86'400L,
                                  .until = -50 * 86'400L});
  const Signed no_authority = make({.name = "No authority", .dns = "", .issuer = &root});
  const Signed narrow =
      make({.name = "Narrow", .dns = "", .issuer = &root, .constraints = "critical,CA:TRUE,pathlen:0"});
  const Signed below = make({.name = "Below", .dns = "", .issuer = &narrow, .authority = true});
  const Signed tied = make({.name = "Tied",
                            .dns = "",
                            .extensions = {{NID_name_constraints, "critical,permitted;DNS:example.org"}},
                            .issuer = &root,
                            .authority = true});
  Signed forged = leaf({});
  {  // signed for another key than the root's, under the root's name
    const Signed impostor = make({.name = "Root", .dns = "", .authority = true});
    forged = make({.issuer = &impostor});
  }
  const Signed good = leaf({});
  const std::string nul("localhost\0.evil.example", 23);

  struct Case {
    const char* what;
    Served served;
    std::string reason;
    std::string host = "localhost";
  };
  const Case cases[] = {
      {"expired", {leaf({.from = -20 * 86'400L, .until = -86'400})}, "the certificate has expired on "},
      {"from the future", {leaf({.from = 86'400})}, "the certificate is not valid yet; it starts on "},
      {"another name",
       {leaf({.dns = "elsewhere.example"})},
       "the certificate is not for localhost but for elsewhere.example"},
      {"cve_2009_2666: NUL in the name",
       {leaf({.name = "x", .dns = nul})},
       "the certificate is not for localhost but for localhost\\x00.evil.example"},
      {"NUL in the common name", {leaf({.name = nul, .dns = ""})}, "the certificate is not for localhost"},
      {"a wildcard for everything",
       {leaf({.name = "x", .dns = "*"})},
       "the certificate is not for localhost but for *"},
      {"a partial wildcard", {leaf({.name = "x", .dns = "l*t"})}, "the certificate is not for localhost but for l*t"},
      {"a name that only begins right",
       {leaf({.name = "x", .dns = "localhost.evil.example"})},
       "the certificate is not for localhost but for localhost.evil.example"},
      {"an address that is not in it", {good}, "the certificate is not for 127.0.0.1", "127.0.0.1"},
      {"self-signed", {make({})}, "the certificate is self-signed and not trusted"},
      {"an unknown issuer", {make({.issuer = &stranger})}, "the certificate's issuer is unknown (/CN=Stranger)"},
      {"a missing link", {make({.issuer = &middle})}, "the certificate's issuer is unknown (/CN=Middle)"},
      {"an expired link", {make({.issuer = &old_middle}), {old_middle}}, "the certificate has expired on "},
      {"a key that is too short", {leaf({.rsa = 1024})}, "key too weak"},
      {"SHA-1", {leaf({.digest = EVP_sha1()})}, "digest algorithm too weak"},
      {"for clients only", {leaf({.extensions = {{NID_ext_key_usage, "clientAuth"}}})}, "certificate purpose"},
      {"an issuer that is no authority", {make({.issuer = &no_authority}), {no_authority}}, "invalid CA certificate"},
      {"a longer chain than allowed", {make({.issuer = &below}), {below, narrow}}, "path length constraint exceeded"},
      {"outside of what its issuer may", {make({.issuer = &tied}), {tied}}, "permitted subtree violation"},
      {"a demand that is not understood", {leaf({.unknown = true})}, "unhandled critical extension"},
      {"a signature that is not the root's", {forged}, "signature failure"},
      {"TLS 1.0", {good, {}, TLS1_VERSION}, "the server offers no TLS version from 1.2 on"},
      {"no certificate", {good, {}, TLS1_2_VERSION, "aNULL", true}, "alert handshake failure"},
  };
  std::set<std::string> reasons;
  for (const Case& c : cases) {
    CAPTURE(std::string(c.what));
    const std::string reason = refusal(c.served, trust, c.host);
    CHECK_MESSAGE(reason.find(c.reason) != std::string::npos, reason);
    CHECK_MESSAGE(reasons.insert(reason).second, reason);
  }
  CHECK(reasons.size() >= 20);
  CHECK(refusal({good}, trust, "localhost") == "accepted");
  CHECK(refusal({make({.issuer = &middle}), {middle}}, trust, "localhost") == "accepted");
}
