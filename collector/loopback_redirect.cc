#include "collector/loopback_redirect.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

namespace mailhaul::collector {
namespace {

constexpr std::size_t kLongestRequest = 16 << 10;
constexpr int kTick = 200;  // ms between looks at the stop

Error failed(const char* what) { return {Scope::Service, Retry::Later, what, ""}; }

bool ready(int fd, int milliseconds) {
  pollfd one{fd, POLLIN, 0};
  return ::poll(&one, 1, milliseconds) > 0;
}

// The first line of a request, within bounds of length and time.
std::string request_line(int fd) {
  std::string text;
  while (text.find("\r\n") == std::string::npos && text.size() < kLongestRequest) {
    std::array<char, 2048> room{};
    if (!ready(fd, 2000)) return {};
    const ssize_t n = ::recv(fd, room.data(), room.size(), 0);
    if (n <= 0) return {};
    text.append(room.data(), static_cast<std::size_t>(n));
  }
  return text.substr(0, text.find("\r\n"));
}

void answer(int fd, const char* status, const std::string& text) {
  const std::string body = "<!doctype html><meta charset=utf-8><title>Mailhaul</title><p>" + text;
  const std::string all = std::string("HTTP/1.1 ") + status +
                          "\r\nContent-Type: text/html\r\nContent-Length: " + std::to_string(body.size()) +
                          "\r\nConnection: close\r\nReferrer-Policy: no-referrer\r\n\r\n" + body;
  (void)::send(fd, all.data(), all.size(), MSG_NOSIGNAL);
}

}  // namespace

Result<LoopbackRedirect> LoopbackRedirect::open() {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return failed("no socket for the browser's way back");
  LoopbackRedirect listener(fd, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 || ::listen(fd, 8) != 0 ||
      ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0)
    return failed("no port for the browser's way back");
  listener.port_ = ntohs(address.sin_port);
  return listener;
}

LoopbackRedirect::~LoopbackRedirect() {
  if (fd_ >= 0) ::close(fd_);
}
LoopbackRedirect::LoopbackRedirect(LoopbackRedirect&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), port_(other.port_) {}

std::string LoopbackRedirect::url() const { return "http://127.0.0.1:" + std::to_string(port_) + "/cb"; }

Result<std::string> LoopbackRedirect::wait(std::chrono::seconds patience, const std::stop_token& stop) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (std::chrono::steady_clock::now() < deadline) {
    if (stop.stop_requested()) return failed("stopped");
    if (!ready(fd_, kTick)) continue;
    const int one = ::accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC);
    if (one < 0) continue;
    const std::string line = request_line(one);
    constexpr std::string_view kStart = "GET /cb?";
    const auto end = line.find(' ', kStart.size());
    const bool ours = line.starts_with(kStart) && end != std::string::npos;
    answer(one, ours ? "200 OK" : "404 Not Found", ours ? "Thank you. You can close this page." : "Nothing is here.");
    ::close(one);
    if (ours) return line.substr(kStart.size(), end - kStart.size());
  }
  return Error{Scope::Account, Retry::AfterUserAction, "nobody allowed the access in time", "Begin again."};
}

}  // namespace mailhaul::collector
