#include <arpa/inet.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <climits>
#include <optional>
#include <system_error>
#include <utility>

#include "protocols/base/text.h"
#include "protocols/net/connector.h"
#include "protocols/net/socket.h"
#include "protocols/net/tls_context.h"

namespace mailhaul::net {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// OpenSSL's own socket BIO writes without MSG_NOSIGNAL; this one goes through Socket and counts what moved, because a
// record that trickles in is life even before it can be decrypted.
struct Wire {
  Socket& socket;
  std::uint64_t octets = 0;
  int error = 0;
  bool end = false;
};

int wire_write(BIO* bio, const char* data, int length) {
  auto* wire = static_cast<Wire*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  const auto moved = wire->socket.send({data, static_cast<std::size_t>(length)});
  if (moved.again) BIO_set_retry_write(bio);
  if (moved.error != 0) wire->error = moved.error;
  wire->octets += moved.octets;
  return moved.octets > 0 ? static_cast<int>(moved.octets) : -1;
}

int wire_read(BIO* bio, char* data, int length) {
  auto* wire = static_cast<Wire*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  const auto moved = wire->socket.receive({data, static_cast<std::size_t>(length)});
  if (moved.again) {
    BIO_set_retry_read(bio);
    return -1;
  }
  if (moved.error != 0) {
    wire->error = moved.error;
    return -1;
  }
  wire->octets += moved.octets;
  if (moved.octets == 0) wire->end = true;
  return static_cast<int>(moved.octets);
}

long wire_control(BIO* bio, int command, long, void*) {
  if (command == BIO_CTRL_FLUSH) return 1;
  if (command == BIO_CTRL_EOF) return static_cast<Wire*>(BIO_get_data(bio))->end ? 1 : 0;
  return 0;
}

BIO_METHOD* wire_method() {
  static BIO_METHOD* const method = [] {
    BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "mailhaul socket");
    if (made != nullptr) {
      BIO_meth_set_write(made, wire_write);
      BIO_meth_set_read(made, wire_read);
      BIO_meth_set_ctrl(made, wire_control);
    }
    return made;
  }();
  return method;
}

// RFC 6125 §6.4: a name is compared with the dNSName entries, an address with the iPAddress ones (RFC 5280 §4.2.1.6).
bool expect_peer(SSL* ssl, const std::string& host) {
  in6_addr address;
  if (::inet_pton(AF_INET, host.c_str(), &address) == 1 || ::inet_pton(AF_INET6, host.c_str(), &address) == 1)
    return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host.c_str()) == 1;
  std::string name = host;
  if (name.ends_with('.')) name.pop_back();  // the root label of DNS is not part of certificates or SNI
  SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  return SSL_set_tlsext_host_name(ssl, name.c_str()) == 1 && SSL_set1_host(ssl, name.c_str()) == 1;  // RFC 6066 §3
}

class TlsTransport final : public Transport {
 public:
  TlsTransport(std::unique_ptr<Socket> socket, Ssl ssl)
      : socket_(std::move(socket)), wire_{*socket_}, ssl_(std::move(ssl)) {}

  ~TlsTransport() override {
    // One close_notify if there is room for it; nobody waits for the answer (RFC 8446 §6.1).
    if (!failed_ && SSL_is_init_finished(ssl_.get()) == 1) SSL_shutdown(ssl_.get());
    ERR_clear_error();
  }
  TlsTransport(const TlsTransport&) = delete;
  TlsTransport& operator=(const TlsTransport&) = delete;

  Done handshake(const Endpoint& endpoint, const ConnectOptions& options);
  Result<Moved> move(std::string_view out, std::span<char> in, milliseconds idle) override;
  [[nodiscard]] int descriptor() const override { return socket_->descriptor(); }
  [[nodiscard]] ChannelBinding channel_binding() const override;
  [[nodiscard]] std::string security() const override {
    return std::string(SSL_get_version(ssl_.get())) + " " + SSL_get_cipher_name(ssl_.get());
  }

 private:
  enum class Outcome { Moved, WantsRead, WantsWrite, Closed, Failed };
  Outcome classify(int result);
  Outcome write(std::string_view out, Moved& moved);
  Outcome read(std::span<char> in, Moved& moved);
  [[nodiscard]] Error handshake_error(const Endpoint& endpoint, const ConnectOptions& options);

  std::unique_ptr<Socket> socket_;
  Wire wire_;
  Rejected rejected_;
  Ssl ssl_;
  bool failed_ = false;
  std::string why_;
};

TlsTransport::Outcome TlsTransport::classify(int result) {
  switch (SSL_get_error(ssl_.get(), result)) {
    case SSL_ERROR_WANT_READ:
      return Outcome::WantsRead;
    case SSL_ERROR_WANT_WRITE:
      return Outcome::WantsWrite;
    case SSL_ERROR_ZERO_RETURN:
      return Outcome::Closed;
    default:
      break;
  }
  failed_ = true;
  if (wire_.error != 0)
    why_ = std::generic_category().message(wire_.error);
  else if (wire_.end)
    why_ = "closed in mid-stream";  // RFC 8446 §6.1: without close_notify the end may be an attacker's cut
  else
    why_ = "TLS: " + openssl_reason();
  return Outcome::Failed;
}

Done TlsTransport::handshake(const Endpoint& endpoint, const ConnectOptions& options) {
  BIO* bio = BIO_new(wire_method());
  if (bio == nullptr || !expect_peer(ssl_.get(), endpoint.host)) {
    BIO_free(bio);
    return Error{Scope::Account, Retry::AfterUserAction, "the host name does not suit TLS: " + openssl_reason(), ""};
  }
  BIO_set_data(bio, &wire_);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_.get(), bio, bio);
  SSL_set_app_data(ssl_.get(), &rejected_);
  const auto deadline = steady_clock::now() + options.timeout;
  for (;;) {
    if (socket_->stop_requested()) return stopped();
    ERR_clear_error();
    const int result = SSL_connect(ssl_.get());
    if (result == 1) return done();
    const int wants = SSL_get_error(ssl_.get(), result);
    if (wants != SSL_ERROR_WANT_READ && wants != SSL_ERROR_WANT_WRITE) return handshake_error(endpoint, options);
    const Done ready =
        socket_->wait(wants == SSL_ERROR_WANT_READ, wants == SSL_ERROR_WANT_WRITE, deadline, options.timeout);
    if (!ready) {
      failed_ = true;
      if (socket_->stop_requested()) return stopped();
      return Error{Scope::Account, Retry::Later, ready.error().what,
                   "The server does not answer in TLS; check that the port is the one for TLS (IMAP: 993)."};
    }
  }
}

Error TlsTransport::handshake_error(const Endpoint& endpoint, const ConnectOptions& options) {
  failed_ = true;
  const long verified = SSL_get_verify_result(ssl_.get());
  if (verified != X509_V_OK) {
    ERR_clear_error();
    return certificate_error(rejected_.certificate.get(), verified, endpoint, options);
  }
  const unsigned long code = ERR_peek_last_error();
  const int reason = ERR_GET_LIB(code) == ERR_LIB_SSL ? ERR_GET_REASON(code) : 0;
  Error error{Scope::Account, Retry::AfterUserAction, "", ""};
  switch (reason) {
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_UNKNOWN_PROTOCOL:
    case SSL_R_HTTP_REQUEST:
    case SSL_R_PACKET_LENGTH_TOO_LONG:
      error.what = "the server does not speak TLS here";
      error.advice = "Use the port for TLS (IMAP: 993), or imap:// for STARTTLS (IMAP: 143).";
      break;
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
    case SSL_R_VERSION_TOO_LOW:
      error.what = "the server offers no TLS version from 1.2 on";
      error.advice = "Older versions are broken (RFC 8996); the server's operator has to renew it.";
      break;
    default:
      if (wire_.error != 0 || wire_.end) {
        error.retry = Retry::Later;
        error.what =
            wire_.error != 0 ? std::generic_category().message(wire_.error) : "the server closed the connection";
        error.advice = "Check that the port is the one for TLS (IMAP: 993).";
      } else {
        error.what = code == 0 ? "failed" : openssl_reason();
      }
  }
  ERR_clear_error();
  return error;
}

// RFC 5929 §4.1: the certificate's digest by the algorithm of its signature, SHA-256 instead of what is weaker.
std::string end_point_of(X509* certificate) {
  int digest = NID_undef;
  if (certificate == nullptr || X509_get_signature_info(certificate, &digest, nullptr, nullptr, nullptr) != 1)
    return {};
  const EVP_MD* md = digest == NID_md5 || digest == NID_sha1 ? EVP_sha256() : EVP_get_digestbynid(digest);
  std::array<unsigned char, EVP_MAX_MD_SIZE> octets{};
  unsigned size = 0;
  if (md == nullptr || X509_digest(certificate, md, octets.data(), &size) != 1) return {};
  return {reinterpret_cast<const char*>(octets.data()), size};
}

ChannelBinding TlsTransport::channel_binding() const {
  ChannelBinding binding;
  SSL* ssl = ssl_.get();
  binding.end_point = end_point_of(SSL_get0_peer_certificate(ssl));
  constexpr std::string_view kLabel = "EXPORTER-Channel-Binding";
  std::array<unsigned char, 32> octets{};
  // RFC 9266 §3: without the extended master secret the exporter of TLS 1.2 is not unique.
  if ((SSL_version(ssl) >= TLS1_3_VERSION || SSL_get_extms_support(ssl) == 1) &&
      SSL_export_keying_material(ssl, octets.data(), octets.size(), kLabel.data(), kLabel.size(), octets.data(), 0,
                                 1) == 1)
    binding.exporter.assign(reinterpret_cast<const char*>(octets.data()), octets.size());
  binding.certificate = SSL_get_certificate(ssl) != nullptr;
  ERR_clear_error();
  return binding;
}

TlsTransport::Outcome TlsTransport::write(std::string_view out, Moved& moved) {
  while (moved.sent < out.size()) {
    ERR_clear_error();
    const std::size_t left = std::min<std::size_t>(out.size() - moved.sent, INT_MAX);
    const int n = SSL_write(ssl_.get(), out.data() + moved.sent, static_cast<int>(left));
    if (n <= 0) return classify(n);
    moved.sent += static_cast<std::size_t>(n);
  }
  return Outcome::Moved;
}

TlsTransport::Outcome TlsTransport::read(std::span<char> in, Moved& moved) {
  while (moved.received < in.size()) {
    // The first read may ask the kernel; later ones only go on with what already sits inside OpenSSL.
    if (moved.received > 0 && SSL_has_pending(ssl_.get()) == 0) break;
    ERR_clear_error();
    const std::size_t left = std::min<std::size_t>(in.size() - moved.received, INT_MAX);
    const int n = SSL_read(ssl_.get(), in.data() + moved.received, static_cast<int>(left));
    if (n <= 0) return classify(n);
    moved.received += static_cast<std::size_t>(n);
  }
  return Outcome::Moved;
}

Result<Moved> TlsTransport::move(std::string_view out, std::span<char> in, milliseconds idle) {
  auto deadline = steady_clock::now() + idle;
  for (;;) {
    if (failed_) return connection_lost(why_);
    if (socket_->stop_requested()) return stopped();
    Moved moved;
    const auto before = wire_.octets;
    const Outcome writing = out.empty() ? Outcome::Moved : write(out, moved);
    Outcome reading = Outcome::Moved;
    if (!in.empty() && (writing != Outcome::Failed || wire_.error != 0)) reading = read(in, moved);
    moved.closed = reading == Outcome::Closed;
    // An error behind octets waits for the next move, so that a last BYE is heard.
    if (moved.sent > 0 || moved.received > 0 || moved.closed) return moved;
    if (failed_) return connection_lost(why_);
    if ((out.empty() && in.empty()) || idle == milliseconds::zero()) return moved;
    if (wire_.octets != before) deadline = steady_clock::now() + idle;
    const bool readable = reading == Outcome::WantsRead || writing == Outcome::WantsRead;
    const bool writable = reading == Outcome::WantsWrite || writing == Outcome::WantsWrite;
    if (Done ready = socket_->wait(readable, writable, deadline, idle); !ready) return ready.error();
  }
}

}  // namespace

Result<std::unique_ptr<Transport>> start_tls(std::unique_ptr<Transport> tcp, const Endpoint& endpoint,
                                             const ConnectOptions& options) {
  const std::string where = "TLS with " + printable(endpoint.host) + ":" + std::to_string(endpoint.port);
  auto* plain = dynamic_cast<TcpTransport*>(tcp.get());
  if (plain == nullptr) return Error{Scope::Service, Retry::Never, "not a TCP connection", ""}.in(where);
  Result<SslContext> context = shared_context(options.ca_file);
  if (!context) return context.error().in(where);
  Ssl ssl(SSL_new(context->get()));
  if (!ssl) return Error{Scope::Service, Retry::Later, openssl_reason(), ""}.in(where);
  if (const std::string& file = options.client_certificate; !file.empty()) {
    if (SSL_use_certificate_chain_file(ssl.get(), file.c_str()) != 1 ||
        SSL_use_PrivateKey_file(ssl.get(), file.c_str(), SSL_FILETYPE_PEM) != 1 ||
        SSL_check_private_key(ssl.get()) != 1)
      return Error{Scope::Account, Retry::AfterUserAction,
                   "the client certificate " + printable(file) + " cannot be used: " + openssl_reason(),
                   "It is a PEM file with the certificate, then its chain, and the key."}
          .in(where);
  }
  auto transport = std::make_unique<TlsTransport>(plain->release(), std::move(ssl));
  if (Done shaken = transport->handshake(endpoint, options); !shaken) return shaken.error().in(where);
  return std::unique_ptr<Transport>(std::move(transport));
}

}  // namespace mailhaul::net
