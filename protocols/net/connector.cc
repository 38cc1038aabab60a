#include "protocols/net/connector.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <fcntl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <system_error>
#include <utility>

#include "protocols/base/text.h"
#include "protocols/net/socket.h"

namespace mailhaul::net {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

struct EasyCleanup {
  void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
};
struct MultiCleanup {
  void operator()(CURLM* multi) const { curl_multi_cleanup(multi); }
};

bool is_ipv6_literal(const std::string& host) {
  in6_addr address;
  return ::inet_pton(AF_INET6, host.c_str(), &address) == 1;
}

// What may stand in the authority of a URL without meaning anything else there; underscores occur in private DNS.
bool is_host_name(const std::string& host) {
  return !host.empty() && host.size() <= 255 && std::all_of(host.begin(), host.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' ||
           c == '_';
  });
}

std::string place(const Endpoint& endpoint) {
  const std::string host = is_ipv6_literal(endpoint.host) ? "[" + endpoint.host + "]" : endpoint.host;
  return printable(host) + ":" + std::to_string(endpoint.port);
}

// A TLS proxy is missing on purpose: its TLS would be libcurl's and would not survive taking over the descriptor.
bool is_known_proxy_kind(const std::string& proxy) {
  const auto colon = proxy.find("://");
  if (colon == std::string::npos) return true;  // libcurl takes it as http
  const std::string scheme = proxy.substr(0, colon);
  static constexpr std::array<std::string_view, 5> kKinds{"http", "socks4", "socks4a", "socks5", "socks5h"};
  return std::find(kKinds.begin(), kKinds.end(), scheme) != kKinds.end();
}

// A proxy's password is part of its URL and must not get into an error.
std::string without_credentials(const std::string& proxy) {
  const auto at = proxy.rfind('@');
  if (at == std::string::npos) return printable(proxy);
  const auto scheme = proxy.find("://");
  return printable((scheme == std::string::npos ? "" : proxy.substr(0, scheme + 3)) + proxy.substr(at + 1));
}

class Connecting {
 public:
  Connecting(const Endpoint& endpoint, const ConnectOptions& options, const StopSignal& stop)
      : endpoint_(endpoint), options_(options), stop_(stop) {}

  Result<Descriptor> run() {
    // Only what plain TCP and proxies need: TLS is not libcurl's business here.
    static const CURLcode initialised = curl_global_init(CURL_GLOBAL_NOTHING);
    easy_.reset(curl_easy_init());
    multi_.reset(curl_multi_init());
    if (initialised != CURLE_OK || !easy_ || !multi_)
      return Error{Scope::Service, Retry::Later, "libcurl cannot be initialised", ""};
    if (!is_known_proxy_kind(options_.proxy) || !configure()) return bad_proxy();
    if (curl_multi_add_handle(multi_.get(), easy_.get()) != CURLM_OK)
      return Error{Scope::Service, Retry::Later, "libcurl refused the connection", ""};
    Result<Descriptor> result = drive();
    curl_multi_remove_handle(multi_.get(), easy_.get());
    return result;
  }

 private:
  bool configure() {
    const std::string host = is_ipv6_literal(endpoint_.host) ? "[" + endpoint_.host + "]" : endpoint_.host;
    const std::string url = "http://" + host + ":" + std::to_string(endpoint_.port);
    const auto timeout = static_cast<long>(options_.timeout.count());
    CURL* easy = easy_.get();
    bool good = true;
    const auto set = [&](CURLoption option, auto value) {
      good = curl_easy_setopt(easy, option, value) == CURLE_OK && good;
    };
    set(CURLOPT_URL, url.c_str());
    set(CURLOPT_CONNECT_ONLY, 1L);
    set(CURLOPT_HTTPPROXYTUNNEL, 1L);
    set(CURLOPT_PROXY, options_.proxy.c_str());  // "" overrides http_proxy and all_proxy as well
    set(CURLOPT_NOPROXY, "");
    set(CURLOPT_CONNECTTIMEOUT_MS, timeout);
    set(CURLOPT_NOSIGNAL, 1L);
    set(CURLOPT_QUICK_EXIT, 1L);  // a cancelled look-up is left behind, not waited for
    set(CURLOPT_OPENSOCKETFUNCTION, &Connecting::open_socket);
    set(CURLOPT_OPENSOCKETDATA, static_cast<void*>(this));
    set(CURLOPT_ERRORBUFFER, error_.data());
    set(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    set(
        CURLOPT_WRITEFUNCTION, +[](char*, std::size_t size, std::size_t n, void*) { return size * n; });
    return good;
  }

  // The gate: every address that libcurl is about to connect to passes here first, so that nothing can be looked up
  // anew between the check and the connect.
  static curl_socket_t open_socket(void* connecting, curlsocktype purpose, curl_sockaddr* address) {
    auto& self = *static_cast<Connecting*>(connecting);
    if (purpose != CURLSOCKTYPE_IPCXN) return CURL_SOCKET_BAD;
    const auto peer = Address::of(&address->addr);
    const Done allowed = peer ? self.options_.gate.check(*peer) : Done(stopped());
    if (!allowed && !self.options_.gate.open()) {
      self.refused_ = allowed.error();
      return CURL_SOCKET_BAD;
    }
    self.let_through_ = true;
    return ::socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
  }

  Result<Descriptor> drive() {
    const auto deadline = steady_clock::now() + options_.timeout;
    for (;;) {
      int running = 0;
      if (const CURLMcode code = curl_multi_perform(multi_.get(), &running); code != CURLM_OK)
        return Error{Scope::Account, Retry::Later, curl_multi_strerror(code), ""};
      if (running == 0) break;
      if (stop_.requested()) return stopped();
      const auto left = std::chrono::ceil<milliseconds>(deadline - steady_clock::now());
      if (left.count() <= 0) return failure(CURLE_OPERATION_TIMEDOUT);
      curl_waitfd wake{stop_.descriptor(), CURL_WAIT_POLLIN, 0};
      curl_multi_poll(multi_.get(), &wake, 1, static_cast<int>(std::min<long long>(left.count(), 1000)), nullptr);
    }
    CURLcode code = CURLE_COULDNT_CONNECT;
    int queued = 0;
    while (const CURLMsg* message = curl_multi_info_read(multi_.get(), &queued))
      if (message->msg == CURLMSG_DONE) code = message->data.result;
    if (code != CURLE_OK) return failure(code);
    curl_socket_t active = CURL_SOCKET_BAD;
    curl_easy_getinfo(easy_.get(), CURLINFO_ACTIVESOCKET, &active);
    // libcurl closes its own descriptor with the handle; ours lives on.
    Descriptor fd(active == CURL_SOCKET_BAD ? -1 : ::fcntl(active, F_DUPFD_CLOEXEC, 3));
    if (!fd.valid())
      return Error{Scope::Service, Retry::Later, "no descriptor: " + std::generic_category().message(errno), ""};
    return fd;
  }

  [[nodiscard]] Error bad_proxy() const {
    return {Scope::Account, Retry::AfterUserAction, "proxy " + without_credentials(options_.proxy) + " is not usable",
            "Write the proxy as socks5h://host:port or http://host:port."};
  }

  Error failure(CURLcode code) {
    if (refused_ && !let_through_) return *refused_;
    long os_error = 0;
    curl_easy_getinfo(easy_.get(), CURLINFO_OS_ERRNO, &os_error);
    const bool proxied = !options_.proxy.empty();
    const std::string via = proxied ? " through proxy " + without_credentials(options_.proxy) : "";
    switch (code) {
      case CURLE_COULDNT_RESOLVE_HOST:
        return {Scope::Account, Retry::Later, "unknown host " + printable(endpoint_.host) + via,
                "Check the spelling of the host name, and that this machine's DNS works."};
      case CURLE_COULDNT_RESOLVE_PROXY:
        return {Scope::Account, Retry::Later, "unknown proxy host in " + without_credentials(options_.proxy),
                "Check the spelling of the proxy's host name."};
      case CURLE_OPERATION_TIMEDOUT:
        return {Scope::Account, Retry::Later, "no connection within " + span_text(options_.timeout) + via,
                "Check host, port and firewall; the server may be down."};
      case CURLE_URL_MALFORMAT:
      case CURLE_UNSUPPORTED_PROTOCOL:
        return proxied ? bad_proxy() : Error{Scope::Account, Retry::AfterUserAction, "not a host name", ""};
      default:
        break;
    }
    if (os_error == ECONNREFUSED)
      return {Scope::Account, Retry::Later, "connection refused" + via,
              proxied ? "Check that the proxy runs and lets this host and port through."
                      : "Check the port (IMAP: 993 with TLS, 143 with STARTTLS), and that the server runs."};
    std::string why = error_[0] != '\0' ? printable(error_.data()) : curl_easy_strerror(code);
    if (os_error != 0 && code == CURLE_COULDNT_CONNECT)
      why = std::generic_category().message(static_cast<int>(os_error));
    return {Scope::Account, Retry::Later, why + via,
            proxied ? "Check the proxy's address and credentials, and that it lets this host and port through."
                    : "Check host, port and network."};
  }

  const Endpoint& endpoint_;
  const ConnectOptions& options_;
  const StopSignal& stop_;
  std::array<char, CURL_ERROR_SIZE> error_{};
  std::optional<Error> refused_;  // an address that the gate did not let through
  bool let_through_ = false;      // another one was
  std::unique_ptr<CURLM, MultiCleanup> multi_;
  std::unique_ptr<CURL, EasyCleanup> easy_;  // after multi_: it must be gone before
};

}  // namespace

Result<std::unique_ptr<Transport>> connect_tcp(const Endpoint& endpoint, const ConnectOptions& options,
                                               std::stop_token stop) {
  const std::string where = "connect to " + place(endpoint);
  if (!is_host_name(endpoint.host) && !is_ipv6_literal(endpoint.host))
    return Error{Scope::Account, Retry::AfterUserAction, "not a host name",
                 "Write an international name in its xn-- form."}
        .in(where);
  if (endpoint.port == 0)
    return Error{Scope::Account, Retry::AfterUserAction, "0 is not a port", "IMAP: 993 with TLS, 143 with STARTTLS."}
        .in(where);
  if (const auto literal = Address::parse(endpoint.host))
    if (const Done allowed = options.gate.check(*literal); !allowed) return allowed.error().in(where);
  if (stop.stop_requested()) return stopped().in(where);
  const StopSignal signal(stop);
  Result<Descriptor> fd = Connecting(endpoint, options, signal).run();
  if (!fd) return fd.error().in(where);
  return std::unique_ptr<Transport>(
      std::make_unique<TcpTransport>(std::make_unique<Socket>(std::move(*fd), std::move(stop))));
}

}  // namespace mailhaul::net
