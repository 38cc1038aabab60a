// Opens connections: DNS, happy eyeballs and proxies by libcurl (CONNECT_ONLY, then the descriptor is ours), TLS by
// OpenSSL on top with one shared SSL_CTX, raw DEFLATE by zlib.
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>

#include "protocols/base/result.h"
#include "protocols/net/address_gate.h"
#include "protocols/net/transport.h"

namespace mailhaul::net {

struct Endpoint {
  std::string host;
  std::uint16_t port = 0;
};

struct ConnectOptions {
  std::chrono::milliseconds timeout{30'000};
  std::string proxy;    // "", "socks5h://…", "http://…"; the environment's proxies never apply
  std::string ca_file;  // PEM; empty: the system's trust store
  // Every address is checked at the moment when it is connected to, a proxy's too. Behind a proxy the name is the
  // proxy's to look up; an address instead of a name is checked nevertheless.
  AddressGate gate = {};
  std::string client_certificate = {};  // PEM with the chain and its key, for servers that want one (SASL EXTERNAL)
};

// A TCP connection. `stop` wakes every later move() as well. Errors name host and port and what to do.
Result<std::unique_ptr<Transport>> connect_tcp(const Endpoint&, const ConnectOptions&, std::stop_token stop);

// Client side TLS (RFC 8446; at least 1.2, host name checked by RFC 6125 rules, SNI) on a transport made by
// connect_tcp; takes it over. Errors tell an expired certificate from a wrong name from an unknown issuer.
Result<std::unique_ptr<Transport>> start_tls(std::unique_ptr<Transport> tcp, const Endpoint&, const ConnectOptions&);

// RFC 4978: raw DEFLATE both ways, on any transport. `already_received`: compressed octets that came in one piece with
// the tagged OK.
std::unique_ptr<Transport> start_deflate(std::unique_ptr<Transport> inner, std::string already_received = {});

// Logs lines as "C: …" and "S: …" to `write`, secrets struck out (LOGIN and AUTHENTICATE arguments, base64 answers)
// and bodies replaced by their length. The log belongs on the outside: above TLS and DEFLATE.
std::unique_ptr<Transport> log_wire(std::unique_ptr<Transport> inner, std::function<void(std::string_view line)> write);

}  // namespace mailhaul::net
