// move() on a plain connection: both directions, time-outs, ends, stops.
#include "protocols/net/transport.h"

#include <doctest/doctest.h>

#include <future>
#include <thread>

#include "protocols/net/connector.h"
#include "tests/support/loopback.h"
#include "tests/support/loopback_client.h"

using namespace mailhaul;
using namespace mailhaul::test;
using std::chrono::steady_clock;

namespace {

std::unique_ptr<net::Transport> connected(const Loopback& server, bool tls, std::stop_token stop = {}) {
  const net::Endpoint endpoint{"localhost", server.port()};
  auto tcp = net::connect_tcp(endpoint, trusting_options(), std::move(stop));
  REQUIRE(tcp);
  if (!tls) return std::move(*tcp);
  auto secured = net::start_tls(std::move(*tcp), endpoint, trusting_options());
  REQUIRE_MESSAGE(secured, secured.error().what);
  return std::move(*secured);
}

// Handlers that begin with TLS when asked.
Loopback::Handler maybe_tls(bool tls, Loopback::Handler then) {
  return [tls, handler = std::move(then)](Stream& stream, std::size_t n) {
    if (tls && !stream.start_tls(Authority::instance().server_context(Certificate::Good).get())) return;
    handler(stream, n);
  };
}

}  // namespace

TEST_CASE("full buffers in both directions do not dead-lock") {
  // Each side wants to send 30 MB before it reads an octet; only a client that reads while it writes gets through.
  const std::size_t size = 30'000'000;
  for (const bool tls : {false, true}) {
    CAPTURE(tls);
    Loopback server(maybe_tls(tls, [&](Stream& stream, std::size_t) {
      if (!stream.write(std::string(size, 's'))) return;
      std::string all;
      while (all.size() < size && stream.read(all)) {
      }
      stream.write(all.size() == size ? "done" : "cut!");
    }));
    const auto transport = connected(server, tls);
    const std::string got = exchange(*transport, std::string(size, 'c'), size + 4);
    CHECK(got.size() == size + 4);
    CHECK(got.substr(got.size() - 4) == "done");
  }
}

TEST_CASE("silence is a time-out, any octet is life") {
  for (const bool tls : {false, true}) {
    CAPTURE(tls);
    Loopback server(maybe_tls(tls, [](Stream& stream, std::size_t) {
      stream.write("* 1 FETCH (BODY[] {100}\r\nhalf");
      stream.wait_closed();
    }));
    const auto transport = connected(server, tls);
    CHECK(exchange(*transport, "", 29, 5s) == "* 1 FETCH (BODY[] {100}\r\nhalf");
    const auto start = steady_clock::now();
    char room[100];
    const auto moved = transport->move("", room, 80ms);
    REQUIRE(!moved);
    CHECK(moved.error().what == "timed out: nothing moved for 80 ms");
    CHECK(moved.error().retry == Retry::Now);
    CHECK(steady_clock::now() - start >= 80ms);
  }
}

TEST_CASE("a stop wakes a move") {
  for (const bool tls : {false, true}) {
    CAPTURE(tls);
    Loopback server(maybe_tls(tls, [](Stream& stream, std::size_t) { stream.wait_closed(); }));
    std::stop_source stop;
    const auto transport = connected(server, tls, stop.get_token());
    std::promise<void> about_to_wait;
    auto waiting = std::async(std::launch::async, [&] {
      char room[10];
      about_to_wait.set_value();
      return transport->move("", room, 60s);
    });
    about_to_wait.get_future().wait();
    const auto start = steady_clock::now();
    stop.request_stop();
    const auto moved = waiting.get();
    CHECK(steady_clock::now() - start < 2s);  // against a minute of waiting; the machine may be busy
    REQUIRE(!moved);
    CHECK(moved.error().what == "stopped");
    char room[10];
    CHECK(!transport->move("x", room, 1s));  // and stays stopped
  }
}

TEST_CASE("how the peer ends") {
  struct Case {
    bool tls, clean;
    void (*end)(Stream&);
  };
  const Case cases[] = {
      {false, true, [](Stream& s) { s.close(); }}, {false, false, [](Stream& s) { s.reset(); }},
      {true, true, [](Stream& s) { s.close(); }},  {true, false, [](Stream& s) { s.drop(); }},  // no close_notify
      {true, false, [](Stream& s) { s.reset(); }},
  };
  for (const auto& c : cases) {
    CAPTURE(c.tls);
    CAPTURE(c.clean);
    Loopback server(maybe_tls(c.tls, [&](Stream& stream, std::size_t) {
      std::string go;
      stream.read(go);
      c.end(stream);
    }));
    const auto transport = connected(server, c.tls);
    const std::string end = exchange(*transport, "go", 1);
    if (c.clean)
      CHECK(end == "<closed>");
    else
      CHECK(end.starts_with("error: connection lost"));
  }
}

TEST_CASE("the last words before the end are heard") {
  for (const bool tls : {false, true}) {
    CAPTURE(tls);
    Loopback server(maybe_tls(tls, [](Stream& stream, std::size_t) {
      stream.write("* BYE shutting down\r\n");
      stream.drop();
    }));
    const auto transport = connected(server, tls);
    CHECK(exchange(*transport, "", 21) == "* BYE shutting down\r\n");
    char room[10];
    const auto next = transport->move("", room, 5s);
    CHECK((tls ? !next : next && next->closed));
  }
}

TEST_CASE("nothing to do returns at once") {
  Loopback server([](Stream& stream, std::size_t) { stream.wait_closed(); });
  const auto transport = connected(server, false);
  const auto moved = transport->move("", {}, 60s);
  REQUIRE(moved);
  CHECK((moved->sent == 0 && moved->received == 0 && !moved->closed));
}
