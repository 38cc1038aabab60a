#include "collector/service/connection_test.h"

#include <netdb.h>
#include <sys/socket.h>

#include <chrono>
#include <functional>
#include <memory>
#include <utility>

#include "collector/collect.h"
#include "protocols/mail/mailbox_name.h"
#include "protocols/net/connector.h"

namespace mailhaul::service {
namespace {

class Steps {
 public:
  explicit Steps(TestReport& report) : report_(report) {}
  // Runs one step; false when it failed, and nothing after it makes sense.
  bool operator()(const char* name, const std::function<Result<std::string>()>& step) {
    const auto before = std::chrono::steady_clock::now();
    auto outcome = step();
    const auto took = std::chrono::steady_clock::now() - before;
    TestStep done;
    done.step = name;
    done.ok = static_cast<bool>(outcome);
    done.milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(took).count();
    done.detail = outcome ? *outcome : outcome.error().what;
    if (!outcome) done.advice = outcome.error().advice;
    report_.steps.push_back(std::move(done));
    return report_.steps.back().ok;
  }

 private:
  TestReport& report_;
};

Result<std::string> resolve(const std::string& host) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int failed = ::getaddrinfo(host.c_str(), nullptr, &hints, &found);
  if (failed != 0)
    return Error{Scope::Account, Retry::Later, "the name " + host + " leads nowhere: " + ::gai_strerror(failed),
                 "Check how the server's name is spelled."};
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owned(found, &::freeaddrinfo);
  std::string all;
  for (const auto* at = found; at; at = at->ai_next) {
    char text[NI_MAXHOST] = {};
    if (::getnameinfo(at->ai_addr, at->ai_addrlen, text, sizeof text, nullptr, 0, NI_NUMERICHOST) != 0) continue;
    if (all.find(text) == std::string::npos) all += (all.empty() ? "" : ", ") + std::string(text);
  }
  return all;
}

std::string joined(const std::vector<std::string>& path) {
  std::string out;
  for (const auto& one : path) out += (out.empty() ? "" : "/") + one;
  return out;
}

}  // namespace

TestReport test_connection(const collector::Job& job, const std::stop_token& stop) {
  TestReport report;
  Steps step(report);
  const net::Endpoint endpoint{job.source.host, job.source.port};
  net::ConnectOptions options;
  options.ca_file = job.ca_file;
  options.proxy = job.proxy;
  options.gate = job.gate;
  if (job.proxy.empty() && !step("address", [&] { return resolve(endpoint.host); })) return report;
  std::unique_ptr<net::Transport> transport;
  if (!step("connect", [&]() -> Result<std::string> {
        auto connected = net::connect_tcp(endpoint, options, stop);
        if (!connected) return connected.error();
        transport = *std::move(connected);
        return "port " + std::to_string(endpoint.port) + " answers";
      }))
    return report;
  if (job.source.security == client::Security::Tls && !step("secure", [&]() -> Result<std::string> {
        auto secured = net::start_tls(std::move(transport), endpoint, options);
        if (!secured) return secured.error();
        transport = *std::move(secured);
        return transport->security();
      }))
    return report;
  transport.reset();  // logging in is the collector's own way, from the start
  std::unique_ptr<sync::Source> source;
  if (!step("log in", [&]() -> Result<std::string> {
        auto connected = collector::source_factory(job, stop, {})();
        if (!connected) return connected.error();
        source = *std::move(connected);
        return "as " + job.source.user;
      }))
    return report;
  step("mailboxes", [&]() -> Result<std::string> {
    auto mailboxes = source->mailboxes();
    if (!mailboxes) return mailboxes.error();
    std::uint64_t messages = 0;
    for (const auto& box : *mailboxes) {
      if (!box.selectable) continue;
      messages += box.messages.value_or(0);
      report.mailboxes.push_back({joined(box.path), box.messages, box.octets});
    }
    return std::to_string(report.mailboxes.size()) + " mailboxes, " + std::to_string(messages) + " messages";
  });
  return report;
}

}  // namespace mailhaul::service
