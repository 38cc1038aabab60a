#include "protocols/net/tls_context.h"

#include <dirent.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include <cstdlib>
#include <map>
#include <mutex>
#include <string_view>

#include "protocols/base/text.h"

namespace mailhaul::net {
namespace {

// A record is at most 16 KiB, and some servers send 4 KiB ones: one read for many of them.
constexpr std::size_t kReadAhead = 64 * 1024;

bool has_hashed_certificates(const char* directory) {
  DIR* dir = ::opendir(directory);
  if (dir == nullptr) return false;
  bool found = false;
  while (const dirent* entry = ::readdir(dir)) {
    if (std::string_view(entry->d_name).ends_with(".0")) {
      found = true;
      break;
    }
  }
  ::closedir(dir);
  return found;
}

// The hashed directory is looked up certificate by certificate when one is needed; the bundle would cost a megabyte
// and a half of parsed certificates that nobody asks for.
bool load_system_store(SSL_CTX* context) {
  const char* directory = std::getenv(X509_get_default_cert_dir_env());
  if (directory == nullptr) directory = X509_get_default_cert_dir();
  const bool hashed = has_hashed_certificates(directory);
  bool good = SSL_CTX_set_default_verify_dir(context) == 1;
  if (!hashed || std::getenv(X509_get_default_cert_file_env()) != nullptr)
    good = SSL_CTX_set_default_verify_file(context) == 1 && good;
  return good;
}

int on_verify(int good, X509_STORE_CTX* store) {
  if (good == 1) return 1;
  auto* ssl = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  auto* rejected = static_cast<Rejected*>(SSL_get_app_data(ssl));
  X509* certificate = X509_STORE_CTX_get_current_cert(store);
  if (rejected != nullptr && certificate != nullptr && X509_up_ref(certificate) == 1)
    rejected->certificate.reset(certificate);
  return 0;
}

Result<SslContext> make_context(const std::string& ca_file) {
  SslContext context(SSL_CTX_new(TLS_client_method()));
  if (!context) return Error{Scope::Service, Retry::Later, "TLS cannot be initialised: " + openssl_reason(), ""};
  SSL_CTX* ctx = context.get();
  SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);  // RFC 8314 §4.1, RFC 8996
  SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, on_verify);
  SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_read_ahead(ctx, 1);
  SSL_CTX_set_default_read_buffer_len(ctx, kReadAhead);
  if (ca_file.empty()) {
    if (!load_system_store(ctx))
      return Error{Scope::Service, Retry::AfterUserAction,
                   "the system's certificates cannot be loaded: " + openssl_reason(),
                   "Install the package ca-certificates, or use --ca-file."};
  } else {
    if (SSL_CTX_load_verify_file(ctx, ca_file.c_str()) != 1)
      return Error{Scope::Account, Retry::AfterUserAction,
                   "no certificate in CA file " + printable(ca_file) + ": " + openssl_reason(),
                   "--ca-file takes a file of PEM certificates."};
    // A file may hold just the server's own certificate; trusting exactly that one is what its owner means.
    X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ctx), X509_V_FLAG_PARTIAL_CHAIN);
  }
  ERR_clear_error();
  return context;
}

struct FileState {
  dev_t device = 0;
  ino_t inode = 0;
  off_t size = 0;
  std::int64_t modified = 0;
  bool operator==(const FileState&) const = default;
};

FileState state_of(const std::string& file) {
  struct stat status {};
  if (file.empty() || ::stat(file.c_str(), &status) != 0) return {};
  return {status.st_dev, status.st_ino, status.st_size, status.st_mtim.tv_sec * 1'000'000'000 + status.st_mtim.tv_nsec};
}

std::string text_of_time(const ASN1_TIME* time) {
  tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return "an unreadable date";
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M UTC", &parts);
  return text;
}

std::string names_of(X509* certificate) {
  std::string names;
  auto* list = static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr));
  for (int i = 0; i < sk_GENERAL_NAME_num(list); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(list, i);
    if (name->type != GEN_DNS) continue;
    if (!names.empty()) names += ", ";
    names.append(reinterpret_cast<const char*>(ASN1_STRING_get0_data(name->d.dNSName)),
                 static_cast<std::size_t>(ASN1_STRING_length(name->d.dNSName)));
    if (names.size() > 160) break;
  }
  GENERAL_NAMES_free(list);
  return printable(names);
}

std::string issuer_of(X509* certificate) {
  char text[256] = "";
  X509_NAME_oneline(X509_get_issuer_name(certificate), text, sizeof text);
  return printable(text, 120);
}

}  // namespace

std::string openssl_reason() {
  const unsigned long code = ERR_peek_last_error();
  const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  std::string text = reason != nullptr ? reason : code == 0 ? "no reason given" : "error " + std::to_string(code);
  ERR_clear_error();
  return text;
}

Result<SslContext> shared_context(const std::string& ca_file) {
  struct Entry {
    FileState state;
    SslContext context;
  };
  static std::mutex mutex;
  static std::map<std::string, Entry> contexts;
  const std::lock_guard lock(mutex);
  const FileState now = state_of(ca_file);
  auto found = contexts.find(ca_file);
  if (found == contexts.end() || found->second.state != now) {
    Result<SslContext> made = make_context(ca_file);
    if (!made) return made.error();
    found = contexts.insert_or_assign(ca_file, Entry{now, std::move(*made)}).first;
  }
  SSL_CTX_up_ref(found->second.context.get());
  return SslContext(found->second.context.get());
}

Error certificate_error(X509* certificate, long verify_result, const Endpoint& endpoint,
                        const ConnectOptions& options) {
  Error error{Scope::Account, Retry::AfterUserAction, "", ""};
  const std::string retrust = options.ca_file.empty()
                                  ? "If this is your own server, give its certificate with --ca-file."
                                  : "Check that --ca-file holds the certificate that signed the server's.";
  switch (verify_result) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
      error.what = "the certificate has expired";
      if (certificate != nullptr && X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0)
        error.what += " on " + text_of_time(X509_get0_notAfter(certificate));
      error.advice = "Tell the server's operator; check this machine's date, too.";
      break;
    case X509_V_ERR_CERT_NOT_YET_VALID:
      error.what = "the certificate is not valid yet";
      if (certificate != nullptr) error.what += "; it starts on " + text_of_time(X509_get0_notBefore(certificate));
      error.advice = "Check this machine's date.";
      break;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
      error.what = "the certificate is not for " + printable(endpoint.host);
      if (certificate != nullptr)
        if (const std::string names = names_of(certificate); !names.empty()) error.what += " but for " + names;
      error.advice = "Use the host name that the certificate has.";
      break;
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
      error.what = "the certificate is self-signed and not trusted";
      error.advice = retrust;
      break;
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_CERT_UNTRUSTED:
      error.what = "the certificate's issuer is unknown";
      if (certificate != nullptr) error.what += " (" + issuer_of(certificate) + ")";
      error.advice = retrust;
      break;
    default:
      error.what = std::string("the certificate is not acceptable: ") + X509_verify_cert_error_string(verify_result);
      error.advice = retrust;
  }
  return error;
}

}  // namespace mailhaul::net
