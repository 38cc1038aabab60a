// A certification authority for one test program, made by OpenSSL when it starts; nothing is kept in the repository
// that could expire there.
#pragma once
#include <openssl/ssl.h>

#include <memory>
#include <string>

namespace mailhaul::test {

enum class Certificate {
  Good,            // localhost, 127.0.0.1, ::1; signed by the authority
  Expired,         // since yesterday
  NotYetValid,     // from tomorrow on
  WrongName,       // elsewhere.example
  WithoutAddress,  // localhost only, no IP address
  UnknownIssuer,   // signed by an authority that ca_file() does not hold
  SelfSigned,      // itself alone
};

class Authority {
 public:
  // One for the process, made at first use. Thread-safe.
  static const Authority& instance();
  // The path of a PEM file with the authority's certificate; removed when the process ends.
  [[nodiscard]] const std::string& ca_file() const;
  // The same with the self-signed certificate alone.
  [[nodiscard]] const std::string& self_signed_file() const;
  // A fresh server context. `newest`: 0, or the newest protocol version it speaks, such as TLS1_1_VERSION.
  [[nodiscard]] std::shared_ptr<SSL_CTX> server_context(Certificate which, int newest = 0) const;
  ~Authority();

 private:
  Authority();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace mailhaul::test
