#include "protocols/net/tls_server.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/sslerr.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <mutex>
#include <utility>

#include "protocols/net/tls_context.h"

namespace mailhaul::net {
namespace {

Error wrong(std::string what, std::string advice) {
  return {Scope::Service, Retry::AfterUserAction, std::move(what), std::move(advice)};
}

int no_passphrase(char*, int, int, void*) { return 0; }  // otherwise OpenSSL asks the terminal

// RFC 7301: nothing but HTTP/1.1 is spoken here.
int choose_protocol(SSL*, const unsigned char** out, unsigned char* length, const unsigned char* in, unsigned int size,
                    void*) {
  static constexpr unsigned char kHttp[] = "\x08http/1.1";
  unsigned char* chosen = nullptr;
  if (SSL_select_next_proto(&chosen, length, kHttp, sizeof kHttp - 1, in, size) != OPENSSL_NPN_NEGOTIATED)
    return SSL_TLSEXT_ERR_NOACK;
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

Result<SslContext> load(const std::string& certificate, const std::string& key) {
  ERR_clear_error();
  SslContext context(SSL_CTX_new(TLS_server_method()));
  if (!context) return wrong("TLS cannot be used: " + openssl_reason(), "");
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_mode(context.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_default_passwd_cb(context.get(), no_passphrase);
  SSL_CTX_set_alpn_select_cb(context.get(), choose_protocol, nullptr);
  if (SSL_CTX_use_certificate_chain_file(context.get(), certificate.c_str()) != 1)
    return wrong("the certificate " + certificate + " cannot be used: " + openssl_reason(),
                 "It is a PEM file, the server's own certificate first, then those between it and its authority.");
  if (SSL_CTX_use_PrivateKey_file(context.get(), key.c_str(), SSL_FILETYPE_PEM) != 1 ||
      SSL_CTX_check_private_key(context.get()) != 1)
    return wrong("the key " + key + " cannot be used: " + openssl_reason(),
                 "It is the certificate's own key, a PEM file without a passphrase.");
  return context;
}

class Session final : public TlsSession {
 public:
  Session(SSL_CTX* context, int socket) : ssl_(SSL_new(context)) {
    if (!ssl_ || SSL_set_fd(ssl_.get(), socket) != 1)
      failed_ = true;
    else
      SSL_set_accept_state(ssl_.get());
  }

  ssize_t receive(char* octets, std::size_t size) override {
    return carry_on([&] { return SSL_read(ssl_.get(), octets, as_int(size)); });
  }
  ssize_t send(const char* octets, std::size_t size) override {
    return carry_on([&] { return SSL_write(ssl_.get(), octets, as_int(size)); });
  }
  [[nodiscard]] bool wants_write() const override { return wants_write_; }
  [[nodiscard]] bool pending() const override { return !failed_ && SSL_has_pending(ssl_.get()) == 1; }
  [[nodiscard]] bool cleartext() const override { return cleartext_; }
  void end() override {
    ERR_clear_error();
    if (!failed_ && SSL_is_init_finished(ssl_.get()) == 1) SSL_shutdown(ssl_.get());
  }

 private:
  static int as_int(std::size_t size) { return static_cast<int>(std::min<std::size_t>(size, INT_MAX)); }

  template <class Step>
  ssize_t carry_on(const Step& step) {
    if (failed_) {
      errno = EPROTO;
      return -1;
    }
    ERR_clear_error();
    const int result = step();
    wants_write_ = false;
    if (result > 0) return result;
    switch (SSL_get_error(ssl_.get(), result)) {
      case SSL_ERROR_WANT_WRITE:
        wants_write_ = true;
        [[fallthrough]];
      case SSL_ERROR_WANT_READ:
        errno = EAGAIN;
        return -1;
      case SSL_ERROR_ZERO_RETURN:
        return 0;
      default:
        failed_ = true;
        cleartext_ = ERR_GET_REASON(ERR_peek_error()) == SSL_R_HTTP_REQUEST;
        errno = EPROTO;
        return -1;
    }
  }

  Ssl ssl_;
  bool failed_ = false, wants_write_ = false, cleartext_ = false;
};

class Server final : public TlsServer {
 public:
  Server(std::string certificate, std::string key, SslContext context)
      : certificate_(std::move(certificate)), key_(std::move(key)), context_(std::move(context)) {}

  Done reload() override {
    auto fresh = load(certificate_, key_);
    if (!fresh) return fresh.error();
    const std::lock_guard lock(mutex_);
    context_ = *std::move(fresh);  // sessions hold the one that they began with
    return done();
  }
  std::unique_ptr<TlsSession> accept(int socket) override {
    const std::lock_guard lock(mutex_);
    return std::make_unique<Session>(context_.get(), socket);
  }

 private:
  const std::string certificate_, key_;
  std::mutex mutex_;
  SslContext context_;
};

}  // namespace

Result<std::unique_ptr<TlsServer>> TlsServer::open(const std::string& certificate, const std::string& key) {
  auto context = load(certificate, key);
  if (!context) return context.error();
  return std::unique_ptr<TlsServer>(std::make_unique<Server>(certificate, key, *std::move(context)));
}

}  // namespace mailhaul::net
