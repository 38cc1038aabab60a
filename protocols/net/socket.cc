#include "protocols/net/socket.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

namespace mailhaul::net {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  if (this != &other) {
    if (fd_ >= 0) ::close(fd_);
    fd_ = other.release();
  }
  return *this;
}

Descriptor::~Descriptor() {
  if (fd_ >= 0) ::close(fd_);
}

StopSignal::StopSignal(std::stop_token stop)
    : stop_(std::move(stop)), event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (stop_.stop_possible())
    callback_.emplace(stop_, [fd = event_.get()] {
      const std::uint64_t one = 1;
      // Nothing is lost if this fails: the counter is then already above zero, and every move asks the token first.
      [[maybe_unused]] const auto n = ::write(fd, &one, sizeof one);
    });
}

Error connection_lost(std::string_view why) {
  std::string what = "connection lost";
  if (!why.empty()) what += ": " + std::string(why);
  return {Scope::Account, Retry::Now, std::move(what), ""};
}

std::string span_text(milliseconds span) {
  const auto count = span.count();
  return count % 1000 == 0 ? std::to_string(count / 1000) + " s" : std::to_string(count) + " ms";
}

Error timed_out(milliseconds idle) {
  return {Scope::Account, Retry::Now, "timed out: nothing moved for " + span_text(idle), ""};
}

Error stopped() { return {Scope::Account, Retry::Now, std::string(kStopped), ""}; }

Socket::Socket(Descriptor fd, std::stop_token stop) : fd_(std::move(fd)), stop_(std::move(stop)) {
  const int on = 1;
  // Commands are small and someone waits for the answer; a peer that vanished while we listen is found by the kernel.
  ::setsockopt(fd_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::setsockopt(fd_.get(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  const int idle = 60, between = 20, probes = 4;
  ::setsockopt(fd_.get(), IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
  ::setsockopt(fd_.get(), IPPROTO_TCP, TCP_KEEPINTVL, &between, sizeof between);
  ::setsockopt(fd_.get(), IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
  const int flags = ::fcntl(fd_.get(), F_GETFL);
  if (flags >= 0) ::fcntl(fd_.get(), F_SETFL, flags | O_NONBLOCK);
}

Socket::Moved Socket::send(std::string_view out) {
  for (;;) {
    const auto n = ::send(fd_.get(), out.data(), out.size(), MSG_NOSIGNAL);
    if (n >= 0) return {.octets = static_cast<std::size_t>(n)};
    if (errno == EAGAIN) return {.again = true};
    if (errno != EINTR) return {.error = errno};
  }
}

Socket::Moved Socket::receive(std::span<char> in) {
  for (;;) {
    const auto n = ::recv(fd_.get(), in.data(), in.size(), 0);
    if (n >= 0) return {.octets = static_cast<std::size_t>(n)};
    if (errno == EAGAIN) return {.again = true};
    if (errno != EINTR) return {.error = errno};
  }
}

Done Socket::wait(bool readable, bool writable, steady_clock::time_point deadline, milliseconds idle) {
  pollfd fds[2] = {{fd_.get(), static_cast<short>((readable ? POLLIN : 0) | (writable ? POLLOUT : 0)), 0},
                   {stop_.descriptor(), POLLIN, 0}};
  for (;;) {
    // Rounded up, or the last fraction of a millisecond would be spent in a busy loop.
    const auto left = std::chrono::ceil<milliseconds>(deadline - steady_clock::now()).count();
    if (left <= 0) return timed_out(idle);
    const int n = ::poll(fds, 2, static_cast<int>(std::min<long long>(left, 1 << 30)));
    if (n < 0 && errno != EINTR) return connection_lost(std::generic_category().message(errno));
    if (stop_.requested()) return stopped();
    if (n > 0 && fds[0].revents != 0) return done();
  }
}

Result<net::Moved> TcpTransport::move(std::string_view out, std::span<char> in, milliseconds idle) {
  const auto deadline = steady_clock::now() + idle;
  for (;;) {
    if (socket_->stop_requested()) return stopped();
    net::Moved moved;
    int error = 0;
    if (!out.empty()) {
      const auto sent = socket_->send(out);
      moved.sent = sent.octets;
      error = sent.error;
    }
    if (!in.empty()) {
      const auto received = socket_->receive(in);
      moved.received = received.octets;
      moved.closed = received.octets == 0 && !received.again && received.error == 0;
      if (error == 0) error = received.error;
    }
    // What the peer said before it went away (a BYE) is worth more than the error of writing to it.
    if (moved.sent > 0 || moved.received > 0 || moved.closed) return moved;
    if (error != 0) return connection_lost(std::generic_category().message(error));
    if (out.empty() && in.empty()) return moved;
    if (idle == milliseconds::zero()) return moved;
    if (Done ready = socket_->wait(!in.empty(), !out.empty(), deadline, idle); !ready) return ready.error();
  }
}

}  // namespace mailhaul::net
