// Private to the room: asks a server who it is, without logging in.
#pragma once
#include <chrono>
#include <stop_token>
#include <string>
#include <vector>

#include "protocols/base/result.h"
#include "protocols/discovery/presets.h"
#include "protocols/net/connector.h"

namespace mailhaul::discovery {

struct Probed {
  std::string security;                   // "TLSv1.3 TLS_AES_256_GCM_SHA384"
  std::string greeting;                   // printable; empty for STARTTLS: anybody may have written it
  std::vector<std::string> capabilities;  // IMAP's, or the lines of CAPA
  std::vector<std::string> logins;        // SASL mechanisms, and "LOGIN" or "USER" for the command
};

// Connects, secures, reads the greeting and the capabilities. `to`: where the server is instead of its own name's
// address. The Error of the first of these steps that fails.
Result<Probed> probe(const Server& server, const net::Endpoint& to, const net::ConnectOptions& options,
                     std::stop_token stop);

}  // namespace mailhaul::discovery
