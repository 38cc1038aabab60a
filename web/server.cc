#include "web/server.h"

#include <httplib.h>

#include <algorithm>
#include <array>
#include <utility>

#include "web/api.h"
#include "web/assets.h"
#include "web/contract.h"

namespace mailhaul::web {
namespace {

constexpr char kCsp[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; font-src "
    "'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'";
constexpr char kStreamMark[] = "X-Stream";  // between a handler and the front; never sent

// A request that is in memory already, and the place for its answer.
class MemoryStream : public httplib::Stream {
 public:
  MemoryStream(std::string request, std::string remote) : request_(std::move(request)), remote_(std::move(remote)) {}
  [[nodiscard]] bool is_readable() const override { return at_ < request_.size(); }
  [[nodiscard]] bool is_writable() const override { return true; }
  ssize_t read(char* to, size_t size) override {
    const auto now = std::min(size, request_.size() - at_);
    std::copy_n(request_.data() + at_, now, to);
    at_ += now;
    return static_cast<ssize_t>(now);
  }
  ssize_t write(const char* from, size_t size) override {
    answer.append(from, size);
    return static_cast<ssize_t>(size);
  }
  void get_remote_ip_and_port(std::string& ip, int& port) const override {
    ip = remote_;
    port = 0;
  }
  void get_local_ip_and_port(std::string& ip, int& port) const override {
    ip = "127.0.0.1";
    port = 0;
  }
  [[nodiscard]] socket_t socket() const override { return 0; }
  std::string answer;

 private:
  std::string request_, remote_;
  std::size_t at_ = 0;
};

// The library without its sockets: it reads one request from a stream and writes the answer to it.
class Library : public httplib::Server {
 public:
  void answer(MemoryStream& stream) {
    bool closed = false;
    const std::function<void(httplib::Request&)> nothing;
    one(*this, stream, closed, nothing);
  }

 private:
  // Later versions want to be told the addresses.
  template <class Self>
  static void one(Self& self, MemoryStream& stream, bool& closed, const std::function<void(httplib::Request&)>& setup) {
    std::string remote;
    int port = 0;
    stream.get_remote_ip_and_port(remote, port);
    if constexpr (requires { self.process_request(stream, false, closed, setup); })
      self.process_request(stream, false, closed, setup);
    else
      self.process_request(stream, remote, 0, "127.0.0.1", 0, false, closed, setup);
  }
};

bool is_address(std::string_view host) {
  if (host.starts_with('[')) return true;
  return !host.empty() && host.find_first_not_of("0123456789.") == std::string_view::npos;
}

std::string without_port(const std::string& host) {
  if (host.starts_with('[')) return host.substr(0, host.find(']') + 1);
  return host.substr(0, host.find(':'));
}

std::string last_of(const std::string& list) {
  const auto comma = list.rfind(',');
  auto last = comma == std::string::npos ? list : list.substr(comma + 1);
  while (last.starts_with(' ')) last.erase(0, 1);
  return last;
}

bool is_local(const std::string& name) {
  return name == "localhost" || name == "127.0.0.1" || name == "[::1]" || name.ends_with(".localhost");
}

// The last slash-separated part has a dot: a file, not a page of the dashboard.
bool names_a_file(const std::string& path) { return path.find('.', path.rfind('/')) != std::string::npos; }

}  // namespace

struct Server::Impl {
  Impl(service::Service& the_service, const ServerSettings& the_settings)
      : service(the_service), settings(the_settings), api(the_service, {the_settings.base_path}) {}

  service::Service& service;
  const ServerSettings settings;
  Api api;
  Library library;
  std::unique_ptr<Front> front;

  void wire();
  Answer answer(RawRequest&& request, const std::string& remote);
  void dispatch(const httplib::Request& request, httplib::Response& response);
  void give(Reply&& reply, httplib::Response& response);
  void asset(const std::string& path, const httplib::Request& request, httplib::Response& response);
  [[nodiscard]] bool may_be_called(const std::string& host) const;
};

namespace {
// A stream cannot travel through the library's response; it waits here for the thread that made it.
thread_local std::function<std::optional<std::string>()>
    made_stream;  // NOLINT(cppcoreguidelines-avoid-non-const-global-variables)
}  // namespace

bool Server::Impl::may_be_called(const std::string& host) const {
  const auto name = without_port(host);
  return is_address(name) || is_local(name) || std::ranges::find(settings.hosts, name) != settings.hosts.end();
}

void Server::Impl::give(Reply&& reply, httplib::Response& response) {
  response.status = reply.status;
  for (auto& [name, value] : reply.headers) response.set_header(name, value);
  if (reply.stream) {
    made_stream = std::move(reply.stream);
    response.set_header(kStreamMark, "1");
    return;
  }
  if (!reply.text.empty())
    response.set_content(reply.text, reply.type);
  else if (!reply.body.is_null())
    response.set_content(reply.body.dump(-1, ' ', false, json::error_handler_t::replace), reply.type);
}

void Server::Impl::asset(const std::string& path, const httplib::Request& request, httplib::Response& response) {
  const auto all = assets();
  auto found = std::ranges::find(all, path, &Asset::path);
  if (found == all.end() && !names_a_file(path)) found = std::ranges::find(all, "/index.html", &Asset::path);
  if (found == all.end()) {
    const bool none = all.empty() && !names_a_file(path);
    return give(none ? problem(404, "", "this mailhaul was built without its dashboard", "The API is at api/v1.")
                     : problem(404, "", "there is nothing here"),
                response);
  }
  response.set_header("ETag", std::string(found->etag));
  response.set_header("Cache-Control", found->immutable ? "public, max-age=31536000, immutable" : "no-cache");
  response.set_header("Vary", "Accept-Encoding");
  if (request.get_header_value("If-None-Match") == found->etag) {
    response.status = 304;
    return;
  }
  const auto takes = request.get_header_value("Accept-Encoding");
  const bool brotli = !found->brotli.empty() && takes.find("br") != std::string::npos;
  const bool gzip = !brotli && !found->gzip.empty() && takes.find("gzip") != std::string::npos;
  const auto octets = brotli ? found->brotli : gzip ? found->gzip : found->identity;
  if (brotli || gzip) response.set_header("Content-Encoding", brotli ? "br" : "gzip");
  response.set_content(octets.data(), octets.size(), std::string(found->mime));
}

void Server::Impl::dispatch(const httplib::Request& request, httplib::Response& response) {
  response.set_header("Content-Security-Policy", kCsp);
  response.set_header("X-Content-Type-Options", "nosniff");
  response.set_header("Referrer-Policy", "no-referrer");
  response.set_header("X-Frame-Options", "DENY");
  response.set_header("Cross-Origin-Opener-Policy", "same-origin");
  response.set_header("Cross-Origin-Resource-Policy", "same-origin");
  if (settings.front.tls) response.set_header("Strict-Transport-Security", "max-age=31536000");
  const auto host = request.get_header_value("Host");
  if (!may_be_called(host))
    return give(problem(421, "Another host", "this service does not go by the name '" + without_port(host) + "'",
                        "Add it to MAILHAUL_ALLOWED_HOSTS, or use the address."),
                response);
  auto path = request.path;
  if (!settings.base_path.empty()) {
    if (path != settings.base_path && !path.starts_with(settings.base_path + "/"))
      return give(problem(404, "", "there is nothing here", "Everything is below " + settings.base_path + "/."),
                  response);
    path.erase(0, settings.base_path.size());
    if (path.empty()) return response.set_redirect(settings.base_path + "/", 308);
  }
  const bool reading = request.method == "GET" || request.method == "HEAD";
  if (path == "/healthz" && reading) return response.set_content("ok\n", "text/plain");
  if (path == "/readyz" && reading) {
    const auto ready = service.ready();
    response.status = ready && *ready ? 200 : 503;
    return response.set_content(response.status == 200 ? "ready\n" : "not ready\n", "text/plain");
  }
  const bool proxied =
      std::ranges::find(settings.trusted_proxies, request.remote_addr) != settings.trusted_proxies.end();
  Call call;
  call.method = request.method;
  call.path = path;
  for (const auto& [name, value] : request.params) call.query.emplace(name, value);
  call.header = [&request](const char* name) { return request.get_header_value(name); };
  call.body = request.body;
  call.remote = proxied ? last_of(request.get_header_value("X-Forwarded-For")) : request.remote_addr;
  if (call.remote.empty()) call.remote = request.remote_addr;
  call.secure = settings.front.tls || is_local(without_port(host)) ||
                (proxied && request.get_header_value("X-Forwarded-Proto") == "https");
  if (path == "/metrics" && reading) {
    auto known = service.access().by_token(
        call.header("Authorization").starts_with("Bearer ") ? call.header("Authorization").substr(7) : "", call.remote);
    if (!known || !known->may(service::kMetrics))
      return give(problem(401, "", "this needs a token with the scope metrics"), response);
    return response.set_content(metrics(service.system(), front->connections()), "text/plain; version=0.0.4");
  }
  if (path.starts_with("/api/")) {
    response.set_header("Cache-Control", "no-store");
    if (path == "/api/v1/openapi.json" && reading)
      return response.set_content(contract().data(), contract().size(), "application/json");
    if (path.starts_with("/api/v1/")) return give(api.handle(call), response);
    return give(problem(404, "", "there is nothing here", "The API is at /api/v1."), response);
  }
  if (!reading) return give(problem(405, "", "this can only be read"), response);
  asset(path == "/" ? "/index.html" : path, request, response);
}

void Server::Impl::wire() {
  const auto handler = [this](const httplib::Request& request, httplib::Response& response) {
    dispatch(request, response);
  };
  constexpr char kAll[] = ".*";  // the API has its own table of routes, which a test holds against the contract
  library.Get(kAll, handler);
  library.Post(kAll, handler);
  library.Put(kAll, handler);
  library.Patch(kAll, handler);
  library.Delete(kAll, handler);
  library.Options(kAll, handler);
  library.set_payload_max_length(settings.front.limits.import_body);
  // What went wrong inside is for the log, not for the net.
  library.set_exception_handler([this](const httplib::Request&, httplib::Response& response, std::exception_ptr) {
    give(problem(500, "Trouble", "something went wrong here", "Try again; if it stays so, look into the log."),
         response);
  });
  const httplib::Server::HandlerWithResponse on_error = [this](const httplib::Request&, httplib::Response& response) {
    if (response.body.empty() && response.status >= 400)
      give(problem(response.status, "", "the request cannot be read"), response);
    return httplib::Server::HandlerResponse::Handled;
  };
  library.set_error_handler(on_error);
}

Answer Server::Impl::answer(RawRequest&& request, const std::string& remote) {
  made_stream = nullptr;
  MemoryStream stream(std::move(request.head) + "\r\n" + std::move(request.body), remote);
  library.answer(stream);
  Answer answer;
  answer.stream = std::exchange(made_stream, nullptr);
  if (answer.stream) {
    // The library would end the response; a stream has its own head.
    answer.octets =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\nX-Accel-Buffering: no\r\n"
        "X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n";
    return answer;
  }
  answer.octets = std::move(stream.answer);
  if (answer.octets.empty()) answer.close = true;
  return answer;
}

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() = default;

Result<std::unique_ptr<Server>> Server::open(service::Service& service, const ServerSettings& settings) {
  auto impl = std::make_unique<Impl>(service, settings);
  impl->wire();
  auto* raw = impl.get();
  auto front = Front::open(settings.front, [raw](RawRequest&& request, const std::string& remote) {
    return raw->answer(std::move(request), remote);
  });
  if (!front) return front.error();
  impl->front = *std::move(front);
  service.events().on_add([raw] { raw->front->wake(); });
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

void Server::serve() { impl_->front->serve(); }
void Server::stop() { impl_->front->stop(); }
std::uint16_t Server::port() const { return impl_->front->port(); }

}  // namespace mailhaul::web
