#include "web/serve.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>
#include <utility>

extern char** environ;

namespace mailhaul::web {
namespace {

Error usage(std::string what, std::string advice = "") {
  return {Scope::Service, Retry::AfterUserAction, std::move(what), std::move(advice)};
}

const std::set<std::string>& known_names() {
  static const std::set<std::string> names{"MAILHAUL_DATA",
                                           "MAILHAUL_MAIL",
                                           "MAILHAUL_LISTEN",
                                           "MAILHAUL_WORKERS",
                                           "MAILHAUL_PER_HOST",
                                           "MAILHAUL_ALLOWED_HOSTS",
                                           "MAILHAUL_TRUSTED_PROXIES",
                                           "MAILHAUL_BASE_PATH",
                                           "MAILHAUL_LOG_FORMAT",
                                           "MAILHAUL_DISK_RESERVE",
                                           "MAILHAUL_SLICE",
                                           "MAILHAUL_MASTER_KEY",
                                           "MAILHAUL_ALLOW_NETWORKS",
                                           "MAILHAUL_TLS_CERTIFICATE",
                                           "MAILHAUL_TLS_KEY"};
  return names;
}

// Of the command line tools, and of our own scripts: nothing to the service.
bool is_of_others(const std::string& name) {
  return name.starts_with("MAILHAUL_SOURCE_PASSWORD") || name.starts_with("MAILHAUL_DESTINATION_PASSWORD") ||
         name.starts_with("MAILHAUL_OAUTH_") || name == "MAILHAUL_BARE" || name == "MAILHAUL_WHOLE" ||
         name == "MAILHAUL_TOKEN" || name == "MAILHAUL_TOKEN_FILE" || name == "MAILHAUL_SERVER";
}

// Levenshtein's distance, for "did you mean".
std::size_t distance(const std::string& a, const std::string& b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    auto diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const auto above = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

std::vector<std::string> words(const std::string& list) {
  std::vector<std::string> out;
  for (std::size_t at = 0; at < list.size();) {
    const auto end = std::min(list.find_first_of(", ", at), list.size());
    if (end > at) out.push_back(list.substr(at, end - at));
    at = end + 1;
  }
  return out;
}

class Values {
 public:
  explicit Values(const std::map<std::string, std::string>& given) : given_(given) {}
  std::string text(const std::string& name, std::string otherwise) {
    const auto it = given_.find(name), file = given_.find(name + "_FILE");
    if (it != given_.end() && file != given_.end() && name != "MAILHAUL_MASTER_KEY")
      wrong_ = usage(name + " and " + name + "_FILE are both set", "Set one of them.");
    if (it != given_.end()) return it->second;
    if (file == given_.end()) return otherwise;
    std::ifstream in(file->second, std::ios::binary);
    if (!in) wrong_ = usage(name + "_FILE: " + file->second + " cannot be read");
    std::string value{std::istreambuf_iterator<char>(in), {}};
    while (value.ends_with('\n') || value.ends_with('\r')) value.pop_back();
    return value;
  }
  std::uint64_t number(const std::string& name, std::uint64_t otherwise, std::uint64_t low, std::uint64_t high) {
    const auto value = text(name, "");
    if (value.empty()) return otherwise;
    std::uint64_t out = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), out);
    if (error != std::errc() || end != value.data() + value.size() || out < low || out > high)
      wrong_ = usage(name + "=" + value + ": a number from " + std::to_string(low) + " to " + std::to_string(high));
    return out;
  }
  [[nodiscard]] const std::optional<Error>& wrong() const { return wrong_; }
  void complain(Error error) { wrong_ = std::move(error); }

 private:
  const std::map<std::string, std::string>& given_;
  std::optional<Error> wrong_;
};

// What happens, a line each, on standard error.
class Log {
 public:
  explicit Log(bool as_json) : json_(as_json) {}
  void line(const char* level, const std::string& text, std::int64_t job = 0, std::int64_t run = 0) const {
    char stamp[32] = {};
    const auto now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
    std::tm parts{};
    gmtime_r(&now, &parts);
    std::strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%SZ", &parts);
    if (json_) {
      nlohmann::json out{{"at", stamp}, {"level", level}, {"text", text}};
      if (job != 0) out["job"] = job;
      if (run != 0) out["run"] = run;
      std::fprintf(stderr, "%s\n", out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
      return;
    }
    const auto where = job != 0 ? " job " + std::to_string(job) + ":" : std::string();
    std::fprintf(stderr, "%s %s%s %s\n", stamp, level, where.c_str(), printable(text).c_str());
  }
  void events(service::Service& service, std::uint64_t& since) const {
    const auto batch = service.events().after(since, 0);
    since = batch.last;
    for (const auto& event : batch.events)
      if (event.kind == service::EventKind::Log && event.level >= service.log_level())
        line(event.level == service::Level::Info      ? "info"
             : event.level == service::Level::Warning ? "warning"
                                                      : "error",
             event.text, event.job, event.run);
  }

 private:
  const bool json_;
};

// No core file may hold a password.
void no_core_dumps() {
  const rlimit none{0, 0};
  ::setrlimit(RLIMIT_CORE, &none);
  ::prctl(PR_SET_DUMPABLE, 0);
}

void split_listen(const std::string& listen, FrontSettings& front, Values& values) {
  const auto colon = listen.rfind(':');
  unsigned port = 0;
  const auto digits = colon == std::string::npos ? std::string() : listen.substr(colon + 1);
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (digits.empty() || error != std::errc() || end != digits.data() + digits.size() || port > 65535)
    return values.complain(usage("MAILHAUL_LISTEN=" + listen + ": an address and a port",
                                 "For example 127.0.0.1:8025, or [::]:8025 for every interface."));
  front.address = listen.substr(0, colon);
  if (front.address.starts_with('[') && front.address.ends_with(']'))
    front.address = front.address.substr(1, front.address.size() - 2);
  front.port = static_cast<std::uint16_t>(port);
}

}  // namespace

std::map<std::string, std::string> environment() {
  std::map<std::string, std::string> out;
  for (char** at = environ; *at; ++at) {
    const std::string_view one(*at);
    const auto equals = one.find('=');
    if (one.starts_with("MAILHAUL_") && equals != std::string_view::npos)
      out.emplace(one.substr(0, equals), one.substr(equals + 1));
  }
  return out;
}

Result<ServeSettings> settings_from(const std::map<std::string, std::string>& given, const std::string& version) {
  for (const auto& [name, value] : given) {
    const auto bare = name.ends_with("_FILE") ? name.substr(0, name.size() - 5) : name;
    if (known_names().contains(bare) || is_of_others(name)) continue;
    const auto nearest =
        std::ranges::min(known_names(), {}, [&](const std::string& one) { return distance(one, bare); });
    return usage("there is no setting " + name, "Did you mean " + nearest + "?");
  }
  Values values(given);
  ServeSettings out;
  out.service.version = version;
  out.service.data = values.text("MAILHAUL_DATA", "/var/lib/mailhaul");
  out.service.mail_root = values.text("MAILHAUL_MAIL", out.service.data + "/mail");
  if (given.contains("MAILHAUL_MASTER_KEY"))
    return usage("MAILHAUL_MASTER_KEY is set",
                 "A key in the environment is seen by many: give MAILHAUL_MASTER_KEY_FILE.");
  if (const auto it = given.find("MAILHAUL_MASTER_KEY_FILE"); it != given.end()) out.service.master_key = it->second;
  for (const char* name : {"MAILHAUL_TLS_CERTIFICATE", "MAILHAUL_TLS_KEY"})
    if (given.contains(name))
      return usage(std::string(name) + " is set", "Name its file instead: " + std::string(name) + "_FILE.");
  const auto chain = given.find("MAILHAUL_TLS_CERTIFICATE_FILE"), key = given.find("MAILHAUL_TLS_KEY_FILE");
  if (chain == given.end() && key != given.end())
    return usage("MAILHAUL_TLS_KEY_FILE is set and MAILHAUL_TLS_CERTIFICATE_FILE is not", "Set both, or none.");
  if (chain != given.end()) {
    auto tls = net::TlsServer::open(chain->second, (key == given.end() ? chain : key)->second);
    if (!tls) return tls.error();
    out.server.front.tls = *std::move(tls);
  }
  out.service.scheduler.workers = values.number("MAILHAUL_WORKERS", 16, 1, 256);
  out.service.scheduler.per_host = values.number("MAILHAUL_PER_HOST", 8, 1, 256);
  out.service.scheduler.slice = std::chrono::seconds(values.number("MAILHAUL_SLICE", 600, 10, 86'400));
  out.service.scheduler.disk_reserve = values.number("MAILHAUL_DISK_RESERVE", 256, 0, 1 << 24) << 20;
  split_listen(values.text("MAILHAUL_LISTEN", "127.0.0.1:8025"), out.server.front, values);
  out.server.hosts = words(values.text("MAILHAUL_ALLOWED_HOSTS", ""));
  out.server.trusted_proxies = words(values.text("MAILHAUL_TRUSTED_PROXIES", ""));
  out.server.base_path = values.text("MAILHAUL_BASE_PATH", "");
  while (out.server.base_path.ends_with('/')) out.server.base_path.pop_back();
  if (!out.server.base_path.empty() && !out.server.base_path.starts_with('/'))
    values.complain(usage("MAILHAUL_BASE_PATH begins with a slash"));
  // The service connects where anybody with a login points it: by default only to the public net.
  auto gate = net::AddressGate::public_and(values.text("MAILHAUL_ALLOW_NETWORKS", ""));
  if (!gate)
    values.complain(gate.error().in("MAILHAUL_ALLOW_NETWORKS"));
  else
    out.service.gate = *std::move(gate);
  const auto format = values.text("MAILHAUL_LOG_FORMAT", "text");
  if (format != "text" && format != "json") values.complain(usage("MAILHAUL_LOG_FORMAT is text or json"));
  out.json_log = format == "json";
  if (values.wrong()) return *values.wrong();
  return out;
}

Done serve(const ServeSettings& settings, const std::stop_token& stop, const std::atomic<int>& hangups) {
  no_core_dumps();
  const Log log(settings.json_log);
  auto service = service::Service::open(settings.service, system_clock());
  if (!service) return service.error();
  auto token = (*service)->access().prepare();
  if (!token) return token.error();
  auto server = Server::open(**service, settings.server);
  if (!server) return server.error();
  if (auto started = (*service)->start(); !started) return started;
  const auto& front = settings.server.front;
  const auto host = front.address == "0.0.0.0" || front.address == "::" ? "localhost" : front.address;
  const auto url = (front.tls ? "https://" : "http://") + host + ":" + std::to_string((*server)->port()) +
                   settings.server.base_path + "/";
  log.line("info", "mailhaul " + settings.service.version + " serves " + url);
  if (!token->empty()) log.line("info", "set it up there with this token, once: " + *token);
  if ((*service)->system().key_generated)
    log.line("warning",
             "the key of the sealed passwords lies beside the data; MAILHAUL_MASTER_KEY_FILE keeps it elsewhere");
  std::jthread teller([&](const std::stop_token& over) {
    std::uint64_t since = 0;
    int heard = hangups;
    while (!over.stop_requested()) {
      log.events(**service, since);
      if (const int now = hangups; front.tls && std::exchange(heard, now) != now) {
        const auto reloaded = front.tls->reload();
        log.line(reloaded ? "info" : "error", reloaded ? "the certificate was read again"
                                                       : reloaded.error().what + "; the one before is still used");
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
    }
    log.events(**service, since);
  });
  const std::stop_callback leave(stop, [&] { (*server)->stop(); });
  (*server)->serve();
  log.line("info", "stopping; runs end between two batches");
  (*service)->stop();
  log.line("info", "stopped");
  return done();
}

Done healthcheck(const ServeSettings& settings) {
  const auto& front = settings.server.front;
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(front.port);
  if (front.address == "0.0.0.0" || front.address == "::" ||
      inet_pton(AF_INET, front.address.c_str(), &at.sin_addr) != 1)
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const timeval patience{5, 0};
  ::setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  ::setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  // Where it speaks TLS it tells those who do not: that is an answer, too, whatever name the certificate bears.
  const auto ask =
      "GET " + settings.server.base_path + "/healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
  char answer[32] = {};
  const bool well = ::connect(socket, reinterpret_cast<const sockaddr*>(&at), sizeof at) == 0 &&
                    ::send(socket, ask.data(), ask.size(), MSG_NOSIGNAL) > 0 &&
                    ::recv(socket, answer, sizeof answer - 1, 0) > 0 &&
                    std::strncmp(answer, front.tls ? "HTTP/1.1 400" : "HTTP/1.1 200", 12) == 0;
  ::close(socket);
  if (well) return done();
  return usage("no answer from port " + std::to_string(front.port),
               "Is the service running? Is MAILHAUL_LISTEN the same?");
}

}  // namespace mailhaul::web
