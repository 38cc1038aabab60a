#include "tests/support/loopback.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <stdexcept>
#include <utility>

namespace mailhaul::test {

struct Stream::Deflate {
  z_stream out{}, in{};
  Deflate() {
    if (deflateInit2(&out, 6, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY) != Z_OK || inflateInit2(&in, -15) != Z_OK)
      throw std::runtime_error("zlib");
  }
  ~Deflate() {
    deflateEnd(&out);
    inflateEnd(&in);
  }
  template <class Step>
  static std::string run(z_stream& stream, std::string_view octets, Step step) {
    std::string result;
    std::array<char, 16384> chunk;
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(octets.data()));
    stream.avail_in = static_cast<uInt>(octets.size());
    do {
      stream.next_out = reinterpret_cast<Bytef*>(chunk.data());
      stream.avail_out = chunk.size();
      step(&stream, Z_SYNC_FLUSH);
      result.append(chunk.data(), chunk.size() - stream.avail_out);
    } while (stream.avail_out == 0);
    return result;
  }
};

Stream::Stream(int fd, int wake) : fd_(fd), wake_(wake) {
  const int on = 1;
  ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);  // a flush in a transcript has to be a segment
}

Stream::~Stream() { drop(); }

bool Stream::wait(short events) {
  pollfd fds[2] = {{fd_, events, 0}, {wake_, POLLIN, 0}};
  for (;;) {
    const int n = ::poll(fds, 2, -1);
    if (n < 0 && errno != EINTR) return false;
    if (n > 0) return fds[1].revents == 0;
  }
}

long Stream::read_raw(char* into, std::size_t room) {
  while (fd_ >= 0) {
    if (ssl_ != nullptr) {
      ERR_clear_error();
      const int n = SSL_read(ssl_, into, static_cast<int>(room));
      if (n > 0) return n;
      const int wants = SSL_get_error(ssl_, n);
      if (wants != SSL_ERROR_WANT_READ && wants != SSL_ERROR_WANT_WRITE) return 0;
      if (!wait(wants == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT)) return 0;
      continue;
    }
    const auto n = ::recv(fd_, into, room, MSG_DONTWAIT);
    if (n >= 0) return n;
    if (errno != EAGAIN && errno != EINTR) return 0;
    if (!wait(POLLIN)) return 0;
  }
  return 0;
}

bool Stream::read(std::string& into) {
  if (!before_.empty() && !write_raw(std::exchange(before_, {}))) return false;
  if (!buffered_.empty()) {
    into += buffered_;
    buffered_.clear();
    return true;
  }
  std::array<char, 16384> chunk;
  for (;;) {
    const long n = read_raw(chunk.data(), chunk.size());
    if (n <= 0) return false;
    const std::string_view octets(chunk.data(), static_cast<std::size_t>(n));
    if (!deflate_) {
      into += octets;
      return true;
    }
    const std::string plain = Deflate::run(deflate_->in, octets, inflate);
    into += plain;
    if (!plain.empty()) return true;
  }
}

bool Stream::read_line(std::string& line) {
  for (;;) {
    const auto end = buffered_.find("\r\n");
    if (end != std::string::npos) {
      line = buffered_.substr(0, end);
      buffered_.erase(0, end + 2);
      return true;
    }
    std::string all = std::exchange(buffered_, {});
    if (!read(all)) return false;
    buffered_ = std::move(all);
  }
}

bool Stream::read_exactly(std::string& into, std::size_t octets) {
  std::string all;
  while (all.size() < octets)
    if (!read(all)) return false;
  into = all.substr(0, octets);
  buffered_ = all.substr(octets);
  return true;
}

bool Stream::write_raw(std::string_view octets) {
  while (!octets.empty()) {
    if (fd_ < 0) return false;
    long n = 0;
    short events = POLLOUT;
    if (ssl_ != nullptr) {
      ERR_clear_error();
      const int room = static_cast<int>(std::min<std::size_t>(octets.size(), 1 << 30));
      n = SSL_write(ssl_, octets.data(), room);
      if (n <= 0) {
        const int wants = SSL_get_error(ssl_, static_cast<int>(n));
        if (wants != SSL_ERROR_WANT_READ && wants != SSL_ERROR_WANT_WRITE) return false;
        events = wants == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT;
      }
    } else {
      n = ::send(fd_, octets.data(), octets.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
      if (n < 0 && errno != EAGAIN && errno != EINTR) return false;
    }
    if (n > 0)
      octets.remove_prefix(static_cast<std::size_t>(n));
    else if (!wait(events))
      return false;
  }
  return true;
}

bool Stream::write(std::string_view octets) {
  if (!deflate_) return write_raw(octets);
  return write_raw(std::exchange(before_, {}) + Deflate::run(deflate_->out, octets, deflate));
}

bool Stream::start_tls(SSL_CTX* context) {
  std::signal(SIGPIPE, SIG_IGN);  // OpenSSL's socket BIO writes without MSG_NOSIGNAL; only the tests' side uses it
  ssl_ = SSL_new(context);
  SSL_set_mode(ssl_, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  const int on = 1;
  ::ioctl(fd_, FIONBIO, &on);
  SSL_set_fd(ssl_, fd_);
  for (;;) {
    ERR_clear_error();
    const int n = SSL_accept(ssl_);
    if (n == 1) return true;
    const int wants = SSL_get_error(ssl_, n);
    const bool blocked = wants == SSL_ERROR_WANT_READ || wants == SSL_ERROR_WANT_WRITE;
    if (!blocked || !wait(wants == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT)) {
      const char* reason = ERR_reason_error_string(ERR_peek_last_error());
      tls_error_ = reason != nullptr ? reason : "lost";
      return false;
    }
  }
}

void Stream::start_compression(std::string before) {
  before_ = std::move(before);
  deflate_ = std::make_unique<Deflate>();
}

bool Stream::wait_closed() {
  std::string ignored;
  while (read(ignored)) ignored.clear();
  return true;
}

void Stream::close() {
  if (ssl_ != nullptr && SSL_is_init_finished(ssl_) == 1) SSL_shutdown(ssl_);
  drop();
}

void Stream::drop() {
  if (ssl_ != nullptr) SSL_free(std::exchange(ssl_, nullptr));
  if (fd_ < 0) return;
  // FIN first, then the rest of the client's octets: closing with unread input would send a reset and could overtake
  // what the client has not read yet.
  ::shutdown(fd_, SHUT_WR);
  std::array<char, 4096> ignored;
  while (::recv(fd_, ignored.data(), ignored.size(), MSG_DONTWAIT) > 0) {
  }
  ::close(std::exchange(fd_, -1));
}

void Stream::reset() {
  if (fd_ < 0) return;
  const linger now{1, 0};
  ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  ::close(std::exchange(fd_, -1));
  if (ssl_ != nullptr) SSL_free(std::exchange(ssl_, nullptr));
}

Loopback::Loopback(Handler handler, bool ipv6) : handler_(std::move(handler)) {
  wake_ = ::eventfd(0, EFD_CLOEXEC);
  listener_ = ::socket(ipv6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in6 six{};
  sockaddr_in four{};
  six.sin6_family = AF_INET6;
  six.sin6_addr = in6addr_loopback;
  four.sin_family = AF_INET;
  four.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  auto* address = ipv6 ? reinterpret_cast<sockaddr*>(&six) : reinterpret_cast<sockaddr*>(&four);
  socklen_t length = ipv6 ? sizeof six : sizeof four;
  if (listener_ < 0 || ::bind(listener_, address, length) != 0 || ::listen(listener_, 64) != 0) {
    if (!ipv6) throw std::runtime_error("no loopback socket");
    if (listener_ >= 0) ::close(std::exchange(listener_, -1));
    return;
  }
  ::getsockname(listener_, address, &length);
  port_ = ntohs(ipv6 ? six.sin6_port : four.sin_port);
  acceptor_ = std::thread([this] { accept_all(); });
}

void Loopback::accept_all() {
  for (;;) {
    pollfd fds[2] = {{listener_, POLLIN, 0}, {wake_, POLLIN, 0}};
    if (::poll(fds, 2, -1) < 0 && errno != EINTR) return;
    if (fds[1].revents != 0) return;
    if (fds[0].revents == 0) continue;
    const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) continue;
    const std::lock_guard lock(mutex_);
    const std::size_t number = connections_++;
    handlers_.emplace_back([this, fd, number] {
      Stream stream(fd, wake_);
      handler_(stream, number);
    });
  }
}

void Loopback::join_handlers() {
  std::vector<std::thread> started;
  {
    const std::lock_guard lock(mutex_);
    started.swap(handlers_);
  }
  for (auto& thread : started) thread.join();
}

Loopback::~Loopback() {
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto n = ::write(wake_, &one, sizeof one);
  if (acceptor_.joinable()) acceptor_.join();
  join_handlers();
  if (listener_ >= 0) ::close(listener_);
  ::close(wake_);
}

}  // namespace mailhaul::test
