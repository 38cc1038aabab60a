#include "protocols/notify/submission.h"

#include <curl/curl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <memory>
#include <optional>

namespace mailhaul::notify {
namespace {

struct EasyCleanup {
  void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
};
struct ListFree {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};

// One mail to one server.
class Handing {
 public:
  Handing(const std::string& text, const Options& options, const std::stop_token& stop)
      : text_(text), options_(options), stop_(stop), easy_(curl_easy_init()) {}

  Done run(const Place& place, const ServerUrl& server) {
    if (!easy_ || !configure(place, server))
      return Error{Scope::Service, Retry::Later, "libcurl cannot be initialised", ""};
    const CURLcode code = curl_easy_perform(easy_.get());
    if (code == CURLE_OK) return done();
    if (kept_out_) return *kept_out_;
    const std::string detail = error_[0] != '\0' ? printable(error_.data()) : curl_easy_strerror(code);
    if (code == CURLE_LOGIN_DENIED)
      return Error{Scope::Account, Retry::Later, "the mail server refuses the login", "Enter the password again."};
    if (code == CURLE_USE_SSL_FAILED)
      return Error{Scope::Account, Retry::Later, "the mail server offers no TLS",
                   "Use smtps://, or allow plaintext for a server of your own network."};
    return Error{Scope::Account, Retry::Later, detail, ""};
  }

 private:
  bool configure(const Place& place, const ServerUrl& server);

  static std::size_t read(char* into, std::size_t size, std::size_t count, void* self) {
    auto& handing = *static_cast<Handing*>(self);
    const auto now = std::min(size * count, handing.text_.size() - handing.at_);
    std::copy_n(handing.text_.data() + handing.at_, now, into);
    handing.at_ += now;
    return now;
  }
  static std::size_t forget(char*, std::size_t, std::size_t count, void*) { return count; }
  static int progress(void* self, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
    return static_cast<Handing*>(self)->stop_.stop_requested() ? 1 : 0;
  }
  static curl_socket_t open_socket(void* self, curlsocktype purpose, curl_sockaddr* address) {
    auto& handing = *static_cast<Handing*>(self);
    const auto peer = net::Address::of(&address->addr);
    if (purpose != CURLSOCKTYPE_IPCXN || !peer) return CURL_SOCKET_BAD;
    if (const Done allowed = handing.options_.gate.check(*peer); !allowed) {
      handing.kept_out_ = allowed.error();
      return CURL_SOCKET_BAD;
    }
    return ::socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
  }

  const std::string& text_;
  const Options& options_;
  const std::stop_token& stop_;
  std::size_t at_ = 0;
  std::array<char, CURL_ERROR_SIZE> error_{};
  std::optional<Error> kept_out_;
  std::unique_ptr<curl_slist, ListFree> recipients_;
  std::unique_ptr<CURL, EasyCleanup> easy_;  // last: it uses the rest
};

bool Handing::configure(const Place& place, const ServerUrl& server) {
  constexpr unsigned kSubmission = 587, kSubmissions = 465;  // RFC 6409, RFC 8314
  CURL* easy = easy_.get();
  bool good = true;
  const auto set = [&](CURLoption option, auto value) {
    good = curl_easy_setopt(easy, option, value) == CURLE_OK && good;
  };
  const bool tls = server.scheme == "smtps";
  const auto port = server.port != 0 ? server.port : tls ? kSubmissions : kSubmission;
  const auto url = server.scheme + "://" + server.host + ":" + std::to_string(port);
  set(CURLOPT_URL, url.c_str());
  set(CURLOPT_PROTOCOLS_STR, "smtp,smtps");
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_QUICK_EXIT, 1L);
  set(CURLOPT_TIMEOUT_MS, static_cast<long>(options_.timeout.count()));
  set(CURLOPT_PROXY, "");
  set(CURLOPT_NETRC, static_cast<long>(CURL_NETRC_IGNORED));
  set(CURLOPT_USE_SSL, static_cast<long>(place.allow_plaintext ? CURLUSESSL_TRY : CURLUSESSL_ALL));
  set(CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  if (!place.ca.empty()) {
    curl_blob blob{const_cast<char*>(place.ca.data()), place.ca.size(), CURL_BLOB_COPY};
    set(CURLOPT_CAINFO_BLOB, &blob);
  }
  if (!server.user.empty()) {
    set(CURLOPT_USERNAME, server.user.c_str());
    set(CURLOPT_PASSWORD, place.secret.reveal().c_str());
  }
  recipients_.reset(curl_slist_append(nullptr, place.to.c_str()));
  set(CURLOPT_MAIL_FROM, place.from.c_str());
  set(CURLOPT_MAIL_RCPT, recipients_.get());
  set(CURLOPT_UPLOAD, 1L);
  set(CURLOPT_READFUNCTION, &Handing::read);
  set(CURLOPT_READDATA, static_cast<void*>(this));
  set(CURLOPT_WRITEFUNCTION, &Handing::forget);
  set(CURLOPT_OPENSOCKETFUNCTION, &Handing::open_socket);
  set(CURLOPT_OPENSOCKETDATA, static_cast<void*>(this));
  set(CURLOPT_NOPROGRESS, 0L);
  set(CURLOPT_XFERINFOFUNCTION, &Handing::progress);
  set(CURLOPT_XFERINFODATA, static_cast<void*>(this));
  set(CURLOPT_ERRORBUFFER, error_.data());
  return good;
}

}  // namespace

Done submit(const std::string& text, const Place& place, const Options& options, const std::stop_token& stop) {
  static const CURLcode initialised = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (initialised != CURLE_OK) return Error{Scope::Service, Retry::Later, "libcurl cannot be initialised", ""};
  const auto server = parse_url(place.url);
  if (!server) return Error{Scope::Account, Retry::Later, "not the address of a mail server", ""};
  return Handing(text, options, stop).run(place, *server);
}

}  // namespace mailhaul::notify
