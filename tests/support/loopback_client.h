// What tests of protocols/net and protocols/client do again and again.
#pragma once
#include <chrono>
#include <string>
#include <utility>

#include "protocols/net/connector.h"
#include "tests/support/certificates.h"

namespace mailhaul::test {

using namespace std::chrono_literals;

inline net::ConnectOptions trusting_options() {
  net::ConnectOptions options;
  options.ca_file = Authority::instance().ca_file();
  options.timeout = 10s;
  return options;
}

// Moves until `out` is gone and `octets` have come; what came, or the error's text.
inline std::string exchange(net::Transport& transport, std::string_view out, std::size_t octets,
                            std::chrono::milliseconds idle = 10s, std::size_t buffer = 65536) {
  std::string got, room(buffer, '\0');
  while (!out.empty() || got.size() < octets) {
    const auto moved = transport.move(out, std::span<char>(room.data(), room.size()), idle);
    if (!moved) return "error: " + moved.error().what;
    out.remove_prefix(moved->sent);
    got.append(room.data(), moved->received);
    if (moved->closed) return got + "<closed>";
  }
  return got;
}

}  // namespace mailhaul::test
