// Where the browser of the person at this machine comes back to after allowing the access (RFC 8252 §7.3).
#pragma once
#include <chrono>
#include <cstdint>
#include <stop_token>
#include <string>

#include "protocols/base/result.h"

namespace mailhaul::collector {

class LoopbackRedirect {
 public:
  static Result<LoopbackRedirect> open();  // listens on 127.0.0.1, at a port that the kernel picks
  ~LoopbackRedirect();
  LoopbackRedirect(LoopbackRedirect&& other) noexcept;
  LoopbackRedirect(const LoopbackRedirect&) = delete;
  LoopbackRedirect& operator=(const LoopbackRedirect&) = delete;

  [[nodiscard]] std::string url() const;  // "http://127.0.0.1:PORT/cb"
  // The query of the first request for it, answered with a page for people; others are answered 404.
  Result<std::string> wait(std::chrono::seconds patience, const std::stop_token& stop);

 private:
  LoopbackRedirect(int fd, std::uint16_t port) : fd_(fd), port_(port) {}
  int fd_;
  std::uint16_t port_;
};

}  // namespace mailhaul::collector
