// Private to the room: the one SSL_CTX per trust store, and what a failed verification is called.
#pragma once
#include <openssl/ssl.h>

#include <memory>
#include <string>

#include "protocols/base/result.h"
#include "protocols/net/connector.h"

namespace mailhaul::net {

struct SslContextFree {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};
struct SslFree {
  void operator()(SSL* ssl) const { SSL_free(ssl); }
};
struct X509Free {
  void operator()(X509* certificate) const { X509_free(certificate); }
};
using SslContext = std::unique_ptr<SSL_CTX, SslContextFree>;
using Ssl = std::unique_ptr<SSL, SslFree>;

// Where the verification leaves the certificate that it rejects (OpenSSL does not keep it): hang it into the SSL with
// SSL_set_app_data() before the handshake.
struct Rejected {
  std::unique_ptr<X509, X509Free> certificate;
};

// A counted reference to the process's context for this trust store: made once, loaded again only when the file has
// changed. Thread-safe.
Result<SslContext> shared_context(const std::string& ca_file);

// One line and advice for a result of SSL_get_verify_result() that is not X509_V_OK. `certificate` may be nullptr.
Error certificate_error(X509* certificate, long verify_result, const Endpoint& endpoint, const ConnectOptions& options);

// The newest reason in OpenSSL's queue as text; empties the queue.
std::string openssl_reason();

}  // namespace mailhaul::net
