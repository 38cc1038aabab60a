// The seam between protocols and the world: an ordered stream of octets both ways. Implementations: TCP, TLS on TCP,
// DEFLATE on either, and the scripted one of the tests.
#pragma once
#include <chrono>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "protocols/base/result.h"

namespace mailhaul::net {

// `what` of the error that a stop request gives, innermost.
inline constexpr std::string_view kStopped = "stopped";

struct Moved {
  std::size_t sent = 0;
  std::size_t received = 0;
  bool closed = false;  // the peer has closed in good order (TLS: close_notify); received may still be > 0
};

struct ChannelBinding {
  std::string exporter;      // tls-exporter, RFC 9266 §2; TLS 1.2 only with the extended master secret
  std::string end_point;     // tls-server-end-point, RFC 5929 §4.1
  bool certificate = false;  // the server has asked for a client certificate and got one
};

class Transport {
 public:
  virtual ~Transport() = default;

  // Sends what it can of `out` and receives what is there into `in`, whichever is possible; blocks until at least one
  // octet moved either way, the peer closed, `idle` has passed without one, or stop was asked. Reading is never held up
  // by writing (both directions are polled), or two full buffers would dead-lock. What was not sent must be the
  // beginning of the next `out` (TLS has begun a record with it); nothing to do (both empty) returns at once; with an
  // `idle` of zero it never blocks, and nothing having moved is no Error. Errors: Scope::Account; Retry::Now for a lost
  // connection, a time-out and a stop. TLS that ends without close_notify is a lost connection, not `closed`.
  virtual Result<Moved> move(std::string_view out, std::span<char> in, std::chrono::milliseconds idle) = 0;

  // What epoll can wait for until there is something to receive; -1: there is nothing of the kind.
  [[nodiscard]] virtual int descriptor() const { return -1; }

  // What a login can be bound to; empty where there is no TLS.
  [[nodiscard]] virtual ChannelBinding channel_binding() const { return {}; }

  // For reports: "TLSv1.3 TLS_AES_256_GCM_SHA384", "none".
  [[nodiscard]] virtual std::string security() const = 0;
};

}  // namespace mailhaul::net
