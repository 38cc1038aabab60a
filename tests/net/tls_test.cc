// start_tls(): certificates, versions, names, and octets that sit inside TLS.
#include <doctest/doctest.h>

#include <cstring>
#include <string>

#include "protocols/net/connector.h"
#include "tests/support/loopback.h"
#include "tests/support/loopback_client.h"
#include "tests/support/transcript.h"

using namespace mailhaul;
using namespace mailhaul::test;

namespace {

struct Attempt {
  std::string host = "localhost";
  Certificate certificate = Certificate::Good;
  std::string ca_file = Authority::instance().ca_file();
  int newest = 0;
};

// The error, or one without text if the connection works.
Error attempt(const Attempt& a, bool ipv6 = false) {
  Loopback server(
      [&](Stream& stream, std::size_t) {
        if (!stream.start_tls(Authority::instance().server_context(a.certificate, a.newest).get())) return;
        stream.write("in");
        stream.wait_closed();
      },
      ipv6);
  if (!server.usable()) return {};
  const net::Endpoint endpoint{a.host, server.port()};
  net::ConnectOptions options;
  options.ca_file = a.ca_file;
  auto tcp = net::connect_tcp(endpoint, options, {});
  if (!tcp) return tcp.error();
  auto tls = net::start_tls(std::move(*tcp), endpoint, options);
  if (!tls) return tls.error();
  const std::string got = exchange(**tls, "", 2);
  if (got != "in") return {Scope::Account, Retry::Never, "moved " + got, ""};
  if (!(*tls)->security().starts_with("TLSv1.")) return {Scope::Account, Retry::Never, (*tls)->security(), ""};
  return {};
}

bool has(const Error& error, const char* part) { return error.what.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("a good certificate, by name and by address") {
  CHECK(attempt({}).what.empty());
  CHECK(attempt({.host = "127.0.0.1"}).what.empty());
  CHECK(attempt({.host = "::1"}, true).what.empty());
}

TEST_CASE("TLS 1.2 is good enough") { CHECK(attempt({.newest = TLS1_2_VERSION}).what.empty()); }

TEST_CASE("an expired certificate") {
  const Error error = attempt({.certificate = Certificate::Expired});
  CHECK(has(error, "the certificate has expired on 20"));
  CHECK(error.retry == Retry::AfterUserAction);
  CHECK(error.advice.find("date") != std::string::npos);
}

TEST_CASE("a certificate from the future") {
  CHECK(has(attempt({.certificate = Certificate::NotYetValid}), "is not valid yet; it starts on 20"));
}

TEST_CASE("a certificate for another name") {
  const Error error = attempt({.certificate = Certificate::WrongName});
  CHECK(has(error, "the certificate is not for localhost but for elsewhere.example"));
  CHECK(error.advice.find("host name") != std::string::npos);
}

TEST_CASE("an address that the certificate does not have") {
  CHECK(has(attempt({.host = "127.0.0.1", .certificate = Certificate::WithoutAddress}),
            "the certificate is not for 127.0.0.1"));
  CHECK(attempt({.host = "localhost", .certificate = Certificate::WithoutAddress}).what.empty());
}

TEST_CASE("an unknown issuer, with a CA file and with the system's store") {
  const Error error = attempt({.certificate = Certificate::UnknownIssuer});
  CHECK(has(error, "the certificate's issuer is unknown (/CN=Mailhaul test stranger)"));
  const Error system = attempt({.ca_file = ""});
  CHECK(has(system, "the certificate's issuer is unknown"));
  CHECK(system.advice.find("--ca-file") != std::string::npos);
}

TEST_CASE("a self-signed certificate") {
  const Error error = attempt({.certificate = Certificate::SelfSigned});
  CHECK(has(error, "the certificate is self-signed and not trusted"));
  CHECK(error.advice.find("--ca-file") != std::string::npos);
  CHECK(attempt({.certificate = Certificate::SelfSigned, .ca_file = Authority::instance().self_signed_file()})
            .what.empty());
}

TEST_CASE("a CA file that is none") {
  const Error error = attempt({.ca_file = "/dev/null"});
  CHECK(has(error, "no certificate in CA file /dev/null"));
  CHECK(has(attempt({.ca_file = "/nonexistent/ca.pem"}), "no certificate in CA file"));
}

TEST_CASE("cve_2010_4533: a server without TLS 1.2") {
  const Error error = attempt({.newest = TLS1_1_VERSION});
  CHECK(has(error, "no TLS version from 1.2 on"));
}

TEST_CASE("a server that does not speak TLS") {
  Loopback server([](Stream& stream, std::size_t) {
    stream.write("* OK IMAP4rev1 ready\r\n");
    stream.wait_closed();
  });
  const net::Endpoint endpoint{"localhost", server.port()};
  auto tcp = net::connect_tcp(endpoint, trusting_options(), {});
  REQUIRE(tcp);
  const auto tls = net::start_tls(std::move(*tcp), endpoint, trusting_options());
  REQUIRE(!tls);
  CHECK(has(tls.error(), "the server does not speak TLS here"));
  CHECK(tls.error().advice.find("imap://") != std::string::npos);
}

TEST_CASE("a server that says nothing, and one that hangs up") {
  for (const bool silent : {true, false}) {
    CAPTURE(silent);
    Loopback server([&](Stream& stream, std::size_t) {
      if (silent) stream.wait_closed();
    });
    const net::Endpoint endpoint{"localhost", server.port()};
    net::ConnectOptions options = trusting_options();
    auto tcp = net::connect_tcp(endpoint, options, {});
    REQUIRE(tcp);
    options.timeout = silent ? 100ms : 10s;
    const auto tls = net::start_tls(std::move(*tcp), endpoint, options);
    REQUIRE(!tls);
    CHECK(tls.error().retry == Retry::Later);
    CHECK(tls.error().advice.find("993") != std::string::npos);
  }
}

TEST_CASE("records that came together are given out without asking the kernel again") {
  // 40 records in one write; the client reads in pieces of 7 octets and must never wait for a socket that has nothing
  // more, although OpenSSL does.
  const std::string all = pattern(2000);
  Loopback server([&](Stream& stream, std::size_t) {
    if (!stream.start_tls(Authority::instance().server_context(Certificate::Good).get())) return;
    for (std::size_t at = 0; at < all.size(); at += 50) stream.write(all.substr(at, 50));
    stream.wait_closed();
  });
  const net::Endpoint endpoint{"localhost", server.port()};
  auto tcp = net::connect_tcp(endpoint, trusting_options(), {});
  REQUIRE(tcp);
  auto tls = net::start_tls(std::move(*tcp), endpoint, trusting_options());
  REQUIRE(tls);
  CHECK(exchange(**tls, "", all.size(), 5s, 7) == all);
}

TEST_CASE("a big transfer over small records") {
  const std::string body(8'000'000, 'b');
  Loopback server([&](Stream& stream, std::size_t) {
    if (!stream.start_tls(Authority::instance().server_context(Certificate::Good).get())) return;
    for (std::size_t at = 0; at < body.size(); at += 4000) stream.write(std::string_view(body).substr(at, 4000));
    stream.close();
  });
  const net::Endpoint endpoint{"localhost", server.port()};
  auto tcp = net::connect_tcp(endpoint, trusting_options(), {});
  REQUIRE(tcp);
  auto tls = net::start_tls(std::move(*tcp), endpoint, trusting_options());
  REQUIRE(tls);
  CHECK(exchange(**tls, "", body.size() + 1, 5s, 128 * 1024) == body + "<closed>");
}

TEST_CASE("TLS over what is not a TCP connection is refused") {
  Loopback server([](Stream& stream, std::size_t) { stream.wait_closed(); });
  const net::Endpoint endpoint{"localhost", server.port()};
  auto tcp = net::connect_tcp(endpoint, trusting_options(), {});
  REQUIRE(tcp);
  CHECK(!net::start_tls(net::start_deflate(std::move(*tcp)), endpoint, trusting_options()));
}
