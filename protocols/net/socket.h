// Private to the room: a connected, non-blocking TCP descriptor and the two ways to wait for it, which a stop request
// wakes. TLS sits on the same object.
#pragma once
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>

#include "protocols/base/result.h"
#include "protocols/net/transport.h"

namespace mailhaul::net {

// Owns a file descriptor.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(other.release()) {}
  Descriptor& operator=(Descriptor&& other) noexcept;
  ~Descriptor();
  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] bool valid() const { return fd_ >= 0; }
  int release() {
    const int fd = fd_;
    fd_ = -1;
    return fd;
  }

 private:
  int fd_ = -1;
};

// Becomes readable for ever once stop is requested; the callback only writes to an eventfd, so it may run on any
// thread.
class StopSignal {
 public:
  explicit StopSignal(std::stop_token stop);
  [[nodiscard]] bool requested() const { return stop_.stop_requested(); }
  [[nodiscard]] int descriptor() const { return event_.get(); }

 private:
  std::stop_token stop_;
  Descriptor event_;
  std::optional<std::stop_callback<std::function<void()>>> callback_;
};

// Errors that every transport gives, so that they read the same everywhere.
Error connection_lost(std::string_view why);
Error timed_out(std::chrono::milliseconds idle);
Error stopped();
std::string span_text(std::chrono::milliseconds span);  // "30 s", "250 ms"

class Socket {
 public:
  Socket(Descriptor fd, std::stop_token stop);

  // Octets moved now; 0 octets with `again` if the call would block; received 0 without `again` is the peer's FIN.
  struct Moved {
    std::size_t octets = 0;
    bool again = false;
    int error = 0;  // errno of a dead connection
  };
  Moved send(std::string_view out);
  Moved receive(std::span<char> in);

  // Waits until one of the directions asked for is possible; `idle` is what the time-out's text names.
  Done wait(bool readable, bool writable, std::chrono::steady_clock::time_point deadline,
            std::chrono::milliseconds idle);
  [[nodiscard]] bool stop_requested() const { return stop_.requested(); }
  [[nodiscard]] int descriptor() const { return fd_.get(); }

 private:
  Descriptor fd_;
  StopSignal stop_;
};

// The transport that connect_tcp() makes and start_tls() takes over.
class TcpTransport final : public Transport {
 public:
  explicit TcpTransport(std::unique_ptr<Socket> socket) : socket_(std::move(socket)) {}
  Result<net::Moved> move(std::string_view out, std::span<char> in, std::chrono::milliseconds idle) override;
  [[nodiscard]] int descriptor() const override { return socket_->descriptor(); }
  [[nodiscard]] std::string security() const override { return "none"; }
  std::unique_ptr<Socket> release() { return std::move(socket_); }

 private:
  std::unique_ptr<Socket> socket_;
};

}  // namespace mailhaul::net
