#include "protocols/http/http.h"

#include <curl/curl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <memory>
#include <optional>

#include "protocols/base/text.h"

namespace mailhaul::http {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

struct EasyCleanup {
  void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
};
struct ListFree {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using List = std::unique_ptr<curl_slist, ListFree>;

void add(List& list, const std::string& line) {
  if (curl_slist* longer = curl_slist_append(list.get(), line.c_str())) {
    (void)list.release();  // NOLINT(bugprone-unused-return-value): the longer list is the same
    list.reset(longer);
  }
}

std::string shown(std::string_view url) { return printable(url.substr(0, url.find_first_of("?#"))); }

Error refused(std::string what, std::string advice = "") {
  return {Scope::Account, Retry::AfterUserAction, std::move(what), std::move(advice)};
}

// libcurl writes the credentials of a request into the absolute form of a relative redirect.
std::string without_user(std::string_view url) {
  const auto begin = url.find("://");
  if (begin == url.npos) return std::string(url);
  const auto end = std::min(url.find_first_of("/?#", begin + 3), url.size());
  const auto at = url.substr(0, end).rfind('@');
  return at == url.npos ? std::string(url) : std::string(url.substr(0, begin + 3)) + std::string(url.substr(at + 1));
}

// One request; redirects are answers to it.
class Exchange {
 public:
  Exchange(CURL* easy, const Request& request, const Options& options, const std::stop_token& stop)
      : easy_(easy), request_(request), options_(options), stop_(stop) {}
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;
  ~Exchange() {
    if (easy_ != nullptr) curl_easy_reset(easy_);  // it must not know this object any longer; its connections stay
  }

  Result<Response> run(const std::string& url, milliseconds left) {
    if (!easy_ || !configure(url, left))
      return Error{Scope::Service, Retry::Later, "libcurl cannot be initialised", ""};
    const CURLcode code = curl_easy_perform(easy_);
    if (refused_) return *refused_;
    if (code != CURLE_OK) return failure(code);
    long status = 0;
    const char* type = nullptr;
    const char* location = nullptr;
    curl_easy_getinfo(easy_, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(easy_, CURLINFO_CONTENT_TYPE, &type);
    curl_easy_getinfo(easy_, CURLINFO_REDIRECT_URL, &location);
    curl_off_t wait = 0;
    curl_easy_getinfo(easy_, CURLINFO_RETRY_AFTER, &wait);
    const std::string_view kind = type == nullptr ? "" : type;
    Response response{static_cast<int>(status), to_lower(kind.substr(0, kind.find(';'))), std::move(body_), url};
    if (location != nullptr) response.location = request_.user.empty() ? location : without_user(location);
    response.challenge = std::move(challenge_);
    response.retry_after = wait;
    return response;
  }

 private:
  bool configure(const std::string& url, milliseconds left);
  Error failure(CURLcode code);

  static curl_socket_t open_socket(void* self, curlsocktype purpose, curl_sockaddr* address) {
    auto& exchange = *static_cast<Exchange*>(self);
    const auto peer = net::Address::of(&address->addr);
    if (purpose != CURLSOCKTYPE_IPCXN || (!peer && !exchange.options_.gate.open())) return CURL_SOCKET_BAD;
    if (peer)
      if (const Done allowed = exchange.options_.gate.check(*peer); !allowed) {
        exchange.kept_out_ = allowed.error();
        return CURL_SOCKET_BAD;
      }
    return ::socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
  }
  static std::size_t write(char* octets, std::size_t, std::size_t count, void* self) {
    auto& exchange = *static_cast<Exchange*>(self);
    if (exchange.request_.sink) {
      long status = 0;
      curl_easy_getinfo(exchange.easy_, CURLINFO_RESPONSE_CODE, &status);
      if (status >= 200 && status < 300) {
        const Done taken = exchange.request_.sink({octets, count});
        if (taken) return count;
        exchange.refused_ = taken.error();
        return 0;
      }
    }
    if (exchange.body_.size() + count > exchange.options_.max_body) {
      exchange.refused_ =
          refused("the answer is longer than " + std::to_string(exchange.options_.max_body) + " octets");
      return 0;
    }
    exchange.body_.append(octets, count);
    return count;
  }
  static std::size_t header(char* octets, std::size_t, std::size_t count, void* self) {
    auto& exchange = *static_cast<Exchange*>(self);
    exchange.header_octets_ += count;
    const std::string_view line(octets, count);
    constexpr std::string_view kChallenge = "www-authenticate:";
    if (line.starts_with("HTTP/")) exchange.challenge_.clear();  // another answer of the same exchange
    if (equal_ignoring_case(line.substr(0, kChallenge.size()), kChallenge)) {
      const auto from = line.find_first_not_of(" \t", kChallenge.size());
      if (from != line.npos)
        exchange.challenge_ += to_lower(line.substr(from, line.find_first_of(" \t\r\n", from) - from)) + "\n";
    }
    if (exchange.header_octets_ <= (64 << 10)) return count;
    exchange.refused_ = refused("the answer's header is too long");
    return 0;
  }
  static int progress(void* self, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
    return static_cast<Exchange*>(self)->stop_.stop_requested() ? 1 : 0;
  }

  CURL* easy_;
  const Request& request_;
  const Options& options_;
  const std::stop_token& stop_;
  std::array<char, CURL_ERROR_SIZE> error_{};
  std::string body_, challenge_;
  std::size_t header_octets_ = 0;
  std::optional<Error> refused_, kept_out_;
  List headers_, connect_to_;
};

bool Exchange::configure(const std::string& url, milliseconds left) {
  CURL* easy = easy_;
  bool good = true;
  const auto set = [&](CURLoption option, auto value) {
    good = curl_easy_setopt(easy, option, value) == CURLE_OK && good;
  };
  set(CURLOPT_URL, url.c_str());
  set(CURLOPT_PROTOCOLS_STR, options_.plain_http ? "https,http" : "https");
  set(CURLOPT_FOLLOWLOCATION, 0L);
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_QUICK_EXIT, 1L);
  set(CURLOPT_TIMEOUT_MS, static_cast<long>(left.count()));
  set(CURLOPT_PROXY, options_.proxy.c_str());  // "" overrides the environment's
  set(CURLOPT_NOPROXY, "");
  set(CURLOPT_NETRC, static_cast<long>(CURL_NETRC_IGNORED));
  set(CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  if (!options_.ca_file.empty()) set(CURLOPT_CAINFO, options_.ca_file.c_str());
  if (!options_.ca.empty()) {
    curl_blob blob{const_cast<char*>(options_.ca.data()), options_.ca.size(), CURL_BLOB_COPY};
    set(CURLOPT_CAINFO_BLOB, &blob);
  }
  set(CURLOPT_OPENSOCKETFUNCTION, &Exchange::open_socket);
  set(CURLOPT_OPENSOCKETDATA, static_cast<void*>(this));
  set(CURLOPT_WRITEFUNCTION, &Exchange::write);
  set(CURLOPT_WRITEDATA, static_cast<void*>(this));
  set(CURLOPT_HEADERFUNCTION, &Exchange::header);
  set(CURLOPT_HEADERDATA, static_cast<void*>(this));
  set(CURLOPT_NOPROGRESS, 0L);
  set(CURLOPT_XFERINFOFUNCTION, &Exchange::progress);
  set(CURLOPT_XFERINFODATA, static_cast<void*>(this));
  set(CURLOPT_ERRORBUFFER, error_.data());
  set(CURLOPT_USERAGENT, "Mailhaul");
  add(headers_, "Accept: " + request_.accept);
  for (const auto& [name, value] : request_.headers) add(headers_, name + ": " + value);
  if (!request_.method.empty()) set(CURLOPT_CUSTOMREQUEST, request_.method.c_str());
  if (!request_.body.empty()) {
    set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request_.body.size()));
    set(CURLOPT_POSTFIELDS, request_.body.c_str());
    add(headers_, "Content-Type: " + request_.content_type);
  }
  if (options_.stall.count() > 0) {
    set(CURLOPT_LOW_SPEED_LIMIT, 1L);
    set(CURLOPT_LOW_SPEED_TIME, static_cast<long>(options_.stall.count()));
  }
  if (!request_.user.empty()) {
    set(CURLOPT_HTTPAUTH, static_cast<long>(request_.digest ? CURLAUTH_DIGEST : CURLAUTH_BASIC));
    set(CURLOPT_USERNAME, request_.user.c_str());
    set(CURLOPT_PASSWORD, request_.password.reveal().c_str());
  }
  if (!request_.bearer.empty()) {
    set(CURLOPT_HTTPAUTH, static_cast<long>(CURLAUTH_BEARER));
    set(CURLOPT_XOAUTH2_BEARER, request_.bearer.reveal().c_str());
  }
  set(CURLOPT_HTTPHEADER, headers_.get());
  for (const std::string& rule : options_.connect_to) add(connect_to_, rule);
  if (connect_to_) set(CURLOPT_CONNECT_TO, connect_to_.get());
  return good;
}

Error Exchange::failure(CURLcode code) {
  const std::string detail = error_[0] != '\0' ? printable(error_.data()) : curl_easy_strerror(code);
  switch (code) {
    case CURLE_ABORTED_BY_CALLBACK:
      return {Scope::Account, Retry::Now, "stopped", ""};
    case CURLE_PEER_FAILED_VERIFICATION:
      return refused("the web server's certificate is not acceptable: " + detail);
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
      return refused("not an address for a secure connection (https)");
    case CURLE_COULDNT_RESOLVE_HOST:
      return {Scope::Account, Retry::Later, "unknown host", ""};
    case CURLE_OPERATION_TIMEDOUT:
      return {Scope::Account, Retry::Later, "no answer in time", ""};
    default:
      if (kept_out_) return *kept_out_;
      return {Scope::Account, Retry::Later, detail, ""};
  }
}

// What the gate would never see, as curl connects to something else: a proxy, or a place of connect_to.
Done check_literal(const std::string& url, const Options& options) {
  const std::unique_ptr<CURLU, void (*)(CURLU*)> parts(curl_url(), curl_url_cleanup);
  char* host = nullptr;
  if (!parts || curl_url_set(parts.get(), CURLUPART_URL, url.c_str(), 0) != CURLUE_OK ||
      curl_url_get(parts.get(), CURLUPART_HOST, &host, 0) != CURLUE_OK)
    return refused("not a web address");
  std::string name = host;
  curl_free(host);
  char* user = nullptr;
  if (curl_url_get(parts.get(), CURLUPART_USER, &user, 0) == CURLUE_OK) {
    curl_free(user);
    return refused("a web address with credentials in it");
  }
  if (name.size() > 2 && name.front() == '[') name = name.substr(1, name.size() - 2);
  const auto literal = net::Address::parse(name);
  return literal ? options.gate.check(*literal) : done();
}

std::unique_ptr<CURL, EasyCleanup> new_easy() {
  static const CURLcode initialised = curl_global_init(CURL_GLOBAL_DEFAULT);
  return std::unique_ptr<CURL, EasyCleanup>(initialised == CURLE_OK ? curl_easy_init() : nullptr);
}

}  // namespace

struct Connection::Impl {
  Options options;
  std::unique_ptr<CURL, EasyCleanup> easy;
  std::size_t requests = 0;
};

Connection::Connection(Options options) : impl_(new Impl{std::move(options), new_easy()}) {}
Connection::~Connection() = default;
Connection::Connection(Connection&&) noexcept = default;
Connection& Connection::operator=(Connection&&) noexcept = default;
std::size_t Connection::requests() const { return impl_->requests; }

Result<Response> Connection::send(const Request& request, const std::stop_token& stop) {
  if (Done allowed = check_literal(request.url, impl_->options); !allowed)
    return allowed.error().in(shown(request.url));
  ++impl_->requests;
  Exchange exchange(impl_->easy.get(), request, impl_->options, stop);
  auto response = exchange.run(request.url, impl_->options.timeout);
  if (!response) return response.error().in(shown(request.url));
  return response;
}

Result<Response> fetch(const Request& request, const Options& options, const std::stop_token& stop) {
  const auto easy = new_easy();
  const auto deadline = steady_clock::now() + options.timeout;
  std::string url = request.url;
  for (int hop = 0;; ++hop) {
    const auto left = std::chrono::ceil<milliseconds>(deadline - steady_clock::now());
    if (left.count() <= 0) return Error{Scope::Account, Retry::Later, "no answer in time", ""}.in(shown(url));
    if (Done allowed = check_literal(url, options); !allowed) return allowed.error().in(shown(url));
    Exchange exchange(easy.get(), request, options, stop);
    Result<Response> response = exchange.run(url, left);
    if (!response) return response.error().in(shown(url));
    if (response->location.empty() || response->status < 300 || response->status >= 400) return response;
    if (request.has_secret())
      return refused("the server wants to send the request elsewhere (" + shown(response->location) +
                     "), which is not done with secrets")
          .in(shown(url));
    if (hop >= options.redirects) return refused("too many redirects").in(shown(url));
    if (url.starts_with("https://") && !response->location.starts_with("https://"))
      return refused("the server leads away from https").in(shown(url));
    url = response->location;
  }
}

std::string percent_encoded(std::string_view text) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) ||
                       std::string_view("-._~").find(c) != std::string_view::npos;
    const auto byte = static_cast<unsigned char>(c);
    if (plain)
      out += c;
    else
      out += {'%', kHex[byte >> 4], kHex[byte & 15]};
  }
  return out;
}

std::string percent_decoded(std::string_view text) {
  const auto digit = [](char c) {
    if (is_digit(c)) return c - '0';
    const char lower = ascii_lower(c);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
  };
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && digit(text[i + 1]) >= 0 && digit(text[i + 2]) >= 0) {
      out += static_cast<char>(digit(text[i + 1]) << 4 | digit(text[i + 2]));
      i += 2;
    } else {
      out += text[i] == '+' ? ' ' : text[i];
    }
  }
  return out;
}

std::string form(const std::vector<std::pair<std::string, std::string>>& fields) {
  std::string out;
  for (const auto& [name, value] : fields) {
    if (!out.empty()) append_wiping(out, "&");
    append_wiping(out, percent_encoded(name) + "=");
    std::string encoded = percent_encoded(value);
    append_wiping(out, encoded);
    wipe(encoded);
  }
  return out;
}

}  // namespace mailhaul::http
