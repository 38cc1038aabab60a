// COMPRESS=DEFLATE: round trips, octets that came with the OK, broken streams.
#include <doctest/doctest.h>

#include <random>
#include <string>

#include "protocols/net/connector.h"
#include "tests/support/loopback.h"
#include "tests/support/loopback_client.h"
#include "tests/support/transcript.h"

using namespace mailhaul;
using namespace mailhaul::test;

namespace {

Loopback::Handler deflated_echo(bool tls) {
  return [=](Stream& stream, std::size_t) {
    if (tls && !stream.start_tls(Authority::instance().server_context(Certificate::Good).get())) return;
    stream.start_compression();
    std::string octets;
    while (stream.read(octets)) {
      if (!stream.write(octets)) return;
      octets.clear();
    }
  };
}

std::string noise(std::size_t n) {
  std::mt19937 random(7);
  std::string out(n, '\0');
  for (char& c : out) c = static_cast<char>(random());
  return out;
}

// An inner transport that hands out given octets and takes nothing.
class Canned final : public net::Transport {
 public:
  explicit Canned(std::string octets) : octets_(std::move(octets)) {}
  Result<net::Moved> move(std::string_view out, std::span<char> in, std::chrono::milliseconds) override {
    net::Moved moved;
    moved.sent = out.size();
    moved.received = std::min(in.size(), octets_.size());
    std::copy_n(octets_.begin(), moved.received, in.begin());
    octets_.erase(0, moved.received);
    moved.closed = moved.received == 0;
    return moved;
  }
  std::string security() const override { return "canned"; }

 private:
  std::string octets_;
};

}  // namespace

TEST_CASE("deflate: round trips, small and big, dense and random") {
  for (const bool tls : {false, true}) {
    Loopback server(deflated_echo(tls));
    const net::Endpoint endpoint{"localhost", server.port()};
    auto tcp = net::connect_tcp(endpoint, trusting_options(), {});
    REQUIRE(tcp);
    auto inner = std::move(*tcp);
    if (tls) {
      auto secured = net::start_tls(std::move(inner), endpoint, trusting_options());
      REQUIRE(secured);
      inner = std::move(*secured);
    }
    const auto transport = net::start_deflate(std::move(inner));
    CHECK(transport->security().ends_with(" DEFLATE"));
    CHECK(exchange(*transport, "a1 NOOP\r\n", 9) == "a1 NOOP\r\n");
    for (const std::string& body : {std::string(3'000'000, 'z'), pattern(1'000'000), noise(1'000'000)}) {
      CHECK(exchange(*transport, body, body.size(), 10s, 100'000) == body);
      CHECK(exchange(*transport, body.substr(0, 5000), 5000, 10s, 1) == body.substr(0, 5000));
    }
  }
}

TEST_CASE("deflate: octets that came together with the OK are not lost") {
  Loopback server([](Stream& stream, std::size_t) {
    stream.start_compression();
    stream.write("* 5 EXISTS\r\n");
    stream.wait_closed();
  });
  auto tcp = net::connect_tcp({"localhost", server.port()}, trusting_options(), {});
  REQUIRE(tcp);
  const std::string raw = [&] {
    char room[100];
    const auto moved = (*tcp)->move("", room, 5s);
    REQUIRE(moved);
    return std::string(room, moved->received);
  }();
  const auto transport = net::start_deflate(std::move(*tcp), raw);
  CHECK(exchange(*transport, "", 12) == "* 5 EXISTS\r\n");
}

TEST_CASE("deflate: a broken stream is a lost connection") {
  const auto transport = net::start_deflate(std::make_unique<Canned>("\xFF\xFF\xFF\xFF not deflate at all"));
  CHECK(exchange(*transport, "", 1).starts_with("error: connection lost: the compressed stream is broken"));
}

TEST_CASE("deflate: the end of the inner stream is the end") {
  const auto transport = net::start_deflate(std::make_unique<Canned>(""));
  CHECK(exchange(*transport, "", 1) == "<closed>");
}

TEST_CASE("deflate: what one octet expands to is given out within the caller's buffer") {
  // 1 MB of zeros in about a kilobyte: nothing may be lost when the buffer is far smaller than one expansion.
  Loopback server([](Stream& stream, std::size_t) {
    stream.start_compression();
    stream.write(std::string(1'000'000, '\0'));
    stream.wait_closed();
  });
  auto tcp = net::connect_tcp({"localhost", server.port()}, trusting_options(), {});
  REQUIRE(tcp);
  const auto transport = net::start_deflate(std::move(*tcp));
  CHECK(exchange(*transport, "", 1'000'000, 5s, 333) == std::string(1'000'000, '\0'));
}
