// The watcher against servers that tell, keep silent, lie, die and want less; the clock is the test's.
#include "collector/service/watcher.h"

#include <doctest/doctest.h>

#include <atomic>
#include <condition_variable>

#include "tests/support/loopback.h"

namespace mailhaul::service {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

class HandClock final : public Clock {
 public:
  [[nodiscard]] std::int64_t unix_seconds() const override { return 1'800'000'000 + wall.load(); }
  [[nodiscard]] steady_clock::time_point steady() const override {
    return steady_clock::time_point(seconds(awake.load()));
  }
  void pass(seconds span) {
    awake += span.count();
    wall += span.count();
  }
  std::atomic<std::int64_t> awake{1000}, wall{0};
};

// A server of a few lines: greets, lets in, opens a mailbox with one message, and waits. `on_idle` sees every IDLE.
struct Server {
  using OnIdle = std::function<void(test::Stream&, const std::string& tag, std::size_t idles)>;
  explicit Server(OnIdle on_idle, std::string capabilities = "IMAP4rev1 SASL-IR AUTH=PLAIN IDLE")
      : idle(std::move(on_idle)),
        offers(std::move(capabilities)),
        loopback([this](test::Stream& s, std::size_t) { serve(s); }) {}
  void serve(test::Stream& stream) {
    if (!stream.write("* OK [CAPABILITY " + offers + "] hello\r\n")) return;
    for (std::string line; stream.read_line(line); line.clear()) {
      const auto tag = line.substr(0, line.find(' '));
      if (line.find("IDLE") != std::string::npos) {
        idle(stream, tag, ++idles);
        continue;
      }
      if (line == "DONE") {
        ++dones;
        if (!deaf) stream.write(last_tag + " OK done\r\n");
        continue;
      }
      if (line.find("EXAMINE") != std::string::npos) stream.write("* 1 EXISTS\r\n");
      stream.write(tag + " OK [CAPABILITY " + offers + "] done\r\n");
    }
    ++ended;
  }
  OnIdle idle;
  std::string offers, last_tag;
  std::atomic<std::size_t> idles{0}, dones{0}, ended{0};
  std::atomic<bool> deaf{false};
  test::Loopback loopback;
};

struct Stage {
  explicit Stage(Server& server)
      : watcher(
            [&](registry::Id, const std::stop_token& stop) -> Result<std::unique_ptr<client::Watch>> {
              client::Account account{
                  {"127.0.0.1", server.loopback.port()}, client::Security::Cleartext, "u", Secret("p")};
              auto client = client::ImapClient::connect(account, {}, stop);
              if (!client) return client.error();
              return client::Watch::begin(*std::move(client), "INBOX");
            },
            [&](registry::Id, bool is_mail) { ++(is_mail ? mail : other); }, clock, settings()) {}
  static WatcherSettings settings() {
    WatcherSettings out;
    out.tick = milliseconds(5);
    return out;
  }
  template <class F>
  static bool soon(F&& condition) {
    for (int n = 0; n < 2000; ++n) {
      if (condition()) return true;
      std::this_thread::sleep_for(milliseconds(5));  // other threads and a real socket: there is nothing to wait on
    }
    return false;
  }
  // Time passes in small steps until it is so; the seconds that it took.
  template <class F>
  std::int64_t until(F&& condition, seconds at_most) {
    const auto step = std::max<seconds::rep>(1, at_most.count() / 60);
    for (std::int64_t passed = 0; passed <= at_most.count(); passed += step) {
      for (int n = 0; n < 5; ++n) {
        if (condition()) return passed;
        std::this_thread::sleep_for(milliseconds(3));
      }
      clock.pass(seconds(step));
    }
    return -1;
  }
  HandClock clock;
  std::atomic<int> mail{0}, other{0};
  Watcher watcher;
};

Server::OnIdle waits(Server*& self) {
  return [&self](test::Stream& stream, const std::string& tag, std::size_t) {
    self->last_tag = tag;
    stream.write("+ waiting\r\n");
  };
}

TEST_CASE("news is told, the same number said again is none") {
  Server server([&](test::Stream& stream, const std::string& tag, std::size_t n) {
    server.last_tag = tag;
    stream.write(std::string("+ waiting\r\n* ") + (n == 3 ? "2" : "1") + " EXISTS\r\n* OK still here\r\n");
    if (n == 2) stream.write("* 2 EXISTS\r\n* 2 EXISTS\r\n");
    if (n == 3) stream.write("* 1 EXPUNGE\r\n");
  });
  Stage stage(server);
  stage.watcher.want(1, false);
  REQUIRE(Stage::soon([&] { return stage.watcher.listening(1) && stage.other == 1; }));  // what came before
  CHECK(stage.mail == 0);
  stage.clock.pass(seconds(28 * 60));
  REQUIRE(Stage::soon([&] { return stage.mail == 1; }));
  stage.clock.pass(seconds(28 * 60));
  REQUIRE(Stage::soon([&] { return stage.other == 2; }));
  CHECK(stage.mail == 1);
  CHECK(server.dones == 2);
}

TEST_CASE(
    "B39 IDLE is begun anew within 29 minutes, and a server that does not answer is left for another connection") {
  Server* self = nullptr;
  Server server(waits(self));
  self = &server;
  Stage stage(server);
  stage.watcher.want(1, false);
  REQUIRE(Stage::soon([&] { return stage.watcher.listening(1); }));
  const auto renewed = stage.until([&] { return server.dones == 1; }, seconds(29 * 60));
  CHECK(renewed > 20 * 60);
  REQUIRE(Stage::soon([&] { return server.idles == 2; }));
  server.deaf = true;
  CHECK(stage.until([&] { return !stage.watcher.listening(1); }, seconds(30 * 60)) > 0);
  server.deaf = false;
  CHECK(stage.until([&] { return stage.watcher.listening(1); }, seconds(30)) >= 0);
  CHECK(server.loopback.connections() == 2);
}

TEST_CASE(
    "after the machine has slept every connection has to prove that it lives, and the clock set back does nothing") {
  Server* self = nullptr;
  Server server(waits(self));
  self = &server;
  Stage stage(server);
  stage.watcher.want(1, false);
  REQUIRE(Stage::soon([&] { return stage.watcher.listening(1); }));
  stage.clock.wall -= 86'400;
  CHECK(stage.until([&] { return server.dones > 0; }, seconds(60)) == -1);
  stage.clock.wall += 86'400 + 3600;
  CHECK(stage.until([&] { return server.dones > 0; }, seconds(30)) >= 0);
}

TEST_CASE("B39 news before the server's '+', and a server that has too much to tell") {
  Server server(
      [&](test::Stream& stream, const std::string& tag, std::size_t n) {
        server.last_tag = tag;
        stream.write(n == 1 ? "* 2 EXISTS\r\n+ waiting\r\n" : "+ waiting\r\n");
        if (n == 2) stream.write("* OK [NOTIFICATIONOVERFLOW] too much\r\n");  // RFC 5465 §5.8: it tells nothing more
      },
      "IMAP4rev1 SASL-IR AUTH=PLAIN IDLE NOTIFY");
  Stage stage(server);
  stage.watcher.want(1, false);
  REQUIRE(Stage::soon([&] { return stage.mail == 1; }));
  const int before = stage.other;
  CHECK(server.loopback.connections() == 1);
  stage.clock.pass(seconds(28 * 60));
  REQUIRE(stage.until([&] { return server.loopback.connections() == 2; }, seconds(600)) >= 0);
  CHECK(Stage::soon([&] { return stage.other > before; }));  // what came in between is looked for
}

TEST_CASE("a server that ends every IDLE at once is not asked for ever") {
  Server server([](test::Stream& stream, const std::string& tag, std::size_t) {
    stream.write("+ waiting\r\n" + tag + " OK that was it\r\n");
  });
  Stage stage(server);
  stage.watcher.want(1, false);
  REQUIRE(Stage::soon([&] { return stage.watcher.load().lost == 1; }));
  CHECK(server.idles < 30);
  CHECK(stage.until([&] { return server.loopback.connections() > 1; }, seconds(3600)) == -1);
}

TEST_CASE("B39 a server that keeps closing is asked more and more rarely") {
  Server server([](test::Stream& stream, const std::string&, std::size_t) {
    stream.write("* BYE enough\r\n");
    stream.close();
  });
  Stage stage(server);
  stage.watcher.want(1, false);
  std::vector<std::int64_t> pauses;
  for (std::size_t n = 2; n < 7; ++n) {
    REQUIRE(Stage::soon([&] { return stage.watcher.load().lost == n - 1; }));
    pauses.push_back(stage.until([&] { return server.loopback.connections() == n; }, seconds(60 << (n / 2))));
  }
  CAPTURE(pauses.size());
  for (std::size_t n = 0; n < pauses.size(); ++n) {
    CAPTURE(n);
    CHECK(pauses[n] >= (5 << n));
    CHECK(pauses[n] <= (5 << n) * 3 + 60);  // the clock runs on while a busy machine gets there
  }
}

TEST_CASE("a server that can do neither is asked again after a day; an account that was changed at once") {
  Server server([](test::Stream&, const std::string&, std::size_t) {}, "IMAP4rev1 SASL-IR AUTH=PLAIN");
  Stage stage(server);
  stage.watcher.want(1, false);
  REQUIRE(Stage::soon([&] { return server.loopback.connections() == 1; }));
  CHECK(stage.until([&] { return server.loopback.connections() > 1; }, seconds(3 * 3600)) == -1);
  stage.watcher.want(1, false);
  CHECK(stage.until([&] { return server.loopback.connections() > 1; }, seconds(60)) == -1);
  stage.watcher.want(1, true);
  CHECK(Stage::soon([&] { return server.loopback.connections() == 2; }));
}

TEST_CASE("B39 who keeps silent about mail that polls find is not believed for a while") {
  Server* self = nullptr;
  Server server(waits(self));
  self = &server;
  Stage stage(server);
  stage.watcher.want(1, false);
  REQUIRE(Stage::soon([&] { return stage.watcher.listening(1); }));
  stage.watcher.missed(1);  // the connection is new
  stage.clock.pass(seconds(100));
  stage.watcher.missed(1);
  CHECK(stage.watcher.listening(1));
  stage.watcher.missed(1);
  CHECK(!stage.watcher.listening(1));
  CHECK(stage.until([&] { return stage.watcher.listening(1); }, seconds(5 * 3600)) == -1);
}

TEST_CASE("where a server wants fewer connections, the one that waits makes room for a run") {
  Server* self = nullptr;
  Server server(waits(self));
  self = &server;
  Stage stage(server);
  stage.watcher.want(1, false);
  REQUIRE(Stage::soon([&] { return stage.watcher.listening(1); }));
  stage.watcher.make_room(1);
  CHECK(stage.watcher.listening(1));
  stage.watcher.run_ended(1, true);  // it was one too many
  CHECK(!stage.watcher.listening(1));
  CHECK(stage.until([&] { return stage.watcher.listening(1); }, seconds(60)) >= 0);
  stage.watcher.make_room(1);
  CHECK(!stage.watcher.listening(1));
  CHECK(stage.until([&] { return stage.watcher.listening(1); }, seconds(120)) == -1);
  stage.watcher.run_ended(1, false);
  CHECK(stage.until([&] { return stage.watcher.listening(1); }, seconds(60)) >= 0);
}

}  // namespace
}  // namespace mailhaul::service
