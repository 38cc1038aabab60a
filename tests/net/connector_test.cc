// connect_tcp(): names, ports, proxies, time-outs and stops.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include "protocols/net/connector.h"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <future>
#include <thread>

#include "tests/support/loopback.h"
#include "tests/support/loopback_client.h"

using namespace mailhaul;
using namespace mailhaul::test;
using std::chrono::steady_clock;

namespace {

net::ConnectOptions with_proxy(const std::string& proxy, std::chrono::milliseconds timeout = 10s) {
  net::ConnectOptions options;
  options.proxy = proxy;
  options.timeout = timeout;
  return options;
}

Loopback::Handler echo() {
  return [](Stream& stream, std::size_t) {
    std::string octets;
    while (stream.read(octets)) {
      if (!stream.write(octets)) return;
      octets.clear();
    }
  };
}

int connect_to(std::uint16_t port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) return fd;
  ::close(fd);
  return -1;
}

// Shovels octets between the two until either closes.
void relay(Stream& client, std::uint16_t port) {
  const int server = connect_to(port);
  if (server < 0) return;
  std::thread back([&] {
    char room[4096];
    for (long n = 0; (n = ::read(server, room, sizeof room)) > 0;)
      if (::send(client.descriptor(), room, static_cast<std::size_t>(n), MSG_NOSIGNAL) < 0) break;
    ::shutdown(client.descriptor(), SHUT_WR);
  });
  std::string octets;
  while (client.read(octets)) {
    if (::send(server, octets.data(), octets.size(), MSG_NOSIGNAL) < 0) break;
    octets.clear();
  }
  ::shutdown(server, SHUT_RDWR);
  back.join();
  ::close(server);
}

// RFC 1928 with user/password (RFC 1929) when `login` is set; the target is always `port`. `asked`: the host requested.
Loopback::Handler socks5(std::uint16_t port, std::string* asked, bool login = false) {
  return [=](Stream& stream, std::size_t) {
    std::string in;
    if (!stream.read_exactly(in, 2) || in[0] != 5) return;
    if (!stream.read_exactly(in, static_cast<std::size_t>(in[1]))) return;
    if (login) {
      stream.write(std::string("\5\2", 2));
      std::string name, word;
      if (!stream.read_exactly(in, 2) || !stream.read_exactly(name, static_cast<std::size_t>(in[1]))) return;
      if (!stream.read_exactly(in, 1) || !stream.read_exactly(word, static_cast<std::size_t>(in[0]))) return;
      const bool right = name == "me" && word == "proxypass";
      stream.write(std::string("\1", 1) + (right ? '\0' : '\1'));
      if (!right) return;
    } else {
      stream.write(std::string("\5\0", 2));
    }
    if (!stream.read_exactly(in, 5) || in[3] != 3) return;
    std::string host;
    if (!stream.read_exactly(host, static_cast<std::size_t>(in[4])) || !stream.read_exactly(in, 2)) return;
    if (asked != nullptr) *asked = host;
    stream.write(std::string("\5\0\0\1\0\0\0\0\0\0", 10));
    relay(stream, port);
  };
}

Loopback::Handler http_connect(std::uint16_t port, std::string* request, const std::string& answer) {
  return [=](Stream& stream, std::size_t) {
    std::string line, all;
    while (stream.read_line(line) && !line.empty()) all += line + "\n";
    if (request != nullptr) *request = all;
    // The greeting in one piece with the proxy's answer must not get lost.
    stream.write(answer);
    if (answer.find(" 200 ") != std::string::npos) relay(stream, port);
  };
}

struct Environment {
  Environment(const char* key, const std::string& value) : name(key) { ::setenv(key, value.c_str(), 1); }
  ~Environment() { ::unsetenv(name); }
  const char* name;
};

// A listener that never accepts, with its queue full: the kernel drops every further SYN.
struct FullListener {
  FullListener() {
    fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    REQUIRE(::bind(fd, reinterpret_cast<sockaddr*>(&address), length) == 0);
    REQUIRE(::listen(fd, 0) == 0);
    ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length);
    port = ntohs(address.sin_port);
    for (int& filler : fillers) {
      filler = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
      // In progress, or refused for good: either way it has its place in the queue.
      [[maybe_unused]] const int begun = ::connect(filler, reinterpret_cast<sockaddr*>(&address), length);
    }
  }
  ~FullListener() {
    for (const int filler : fillers) ::close(filler);
    ::close(fd);
  }
  int fd = -1;
  int fillers[4] = {};
  std::uint16_t port = 0;
};

}  // namespace

TEST_CASE("connects and moves octets both ways") {
  Loopback server(echo());
  auto transport = net::connect_tcp({"127.0.0.1", server.port()}, {}, {});
  REQUIRE(transport);
  CHECK((*transport)->security() == "none");
  CHECK(exchange(**transport, "hello", 5) == "hello");
  const std::string much = std::string(300'000, 'x') + "end";
  CHECK(exchange(**transport, much, much.size()) == much);
}

TEST_CASE("names, IPv4 and IPv6 literals") {
  Loopback four(echo());
  for (const char* host : {"localhost", "127.0.0.1"}) CHECK(net::connect_tcp({host, four.port()}, {}, {}));
  Loopback six(echo(), true);
  if (!six.usable()) {
    MESSAGE("skipped: no IPv6 loopback");
    return;
  }
  CHECK(net::connect_tcp({"::1", six.port()}, {}, {}));
  CHECK(net::connect_tcp({"localhost", six.port()}, {}, {}));  // falls over to the other family
}

TEST_CASE("unknown host") {
  // A label of more than 63 octets cannot exist, so that no resolver needs to be asked.
  const auto transport = net::connect_tcp({std::string(70, 'x') + ".invalid", 993}, {}, {});
  REQUIRE(!transport);
  CHECK(transport.error().what.find("unknown host") != std::string::npos);
  CHECK(transport.error().advice.find("spelling") != std::string::npos);
  CHECK(transport.error().retry == Retry::Later);
  CHECK(transport.error().scope == Scope::Account);
}

TEST_CASE("what is not a host name never gets into a URL") {
  for (const char* host :
       {"", "a/b", "user@host", "a b", "host:25", "h\r\nX: y", "[::1]", "a#b", "m\xC3\xBCnchen.example"}) {
    const auto transport = net::connect_tcp({host, 143}, {}, {});
    REQUIRE(!transport);
    CHECK(transport.error().what.find("not a host name") != std::string::npos);
    CHECK(transport.error().what.find('\n') == std::string::npos);
  }
  CHECK(!net::connect_tcp({"127.0.0.1", 0}, {}, {}));
}

TEST_CASE("refused port") {
  std::uint16_t port = 0;
  {
    Loopback server(echo());
    port = server.port();
  }
  const auto transport = net::connect_tcp({"127.0.0.1", port}, {}, {});
  REQUIRE(!transport);
  CHECK(transport.error().what == "connect to 127.0.0.1:" + std::to_string(port) + ": connection refused");
  CHECK(transport.error().advice.find("993") != std::string::npos);
}

TEST_CASE("a server that does not answer is a time-out") {
  FullListener server;
  net::ConnectOptions options;
  options.timeout = 300ms;
  const auto start = steady_clock::now();
  const auto transport = net::connect_tcp({"127.0.0.1", server.port}, options, {});
  REQUIRE(!transport);
  CHECK(transport.error().what.find("no connection within 300 ms") != std::string::npos);
  CHECK(transport.error().retry == Retry::Later);
  CHECK(steady_clock::now() - start >= 250ms);
  CHECK(steady_clock::now() - start < 5s);
}

TEST_CASE("a stop ends a connect that hangs") {
  FullListener server;
  std::stop_source stop;
  auto connecting = std::async(std::launch::async, [&] {
    return net::connect_tcp({"127.0.0.1", server.port}, with_proxy("", 60s), stop.get_token());
  });
  CHECK(connecting.wait_for(50ms) == std::future_status::timeout);
  const auto start = steady_clock::now();
  stop.request_stop();
  const auto transport = connecting.get();
  CHECK(steady_clock::now() - start < 5s);
  REQUIRE(!transport);
  CHECK(transport.error().what.find("stopped") != std::string::npos);
  CHECK(transport.error().retry == Retry::Now);
}

TEST_CASE("a stop ends a proxy's silence") {
  Loopback proxy([](Stream& stream, std::size_t) { stream.wait_closed(); });
  const std::string url = "http://127.0.0.1:" + std::to_string(proxy.port());
  SUBCASE("stop") {
    std::stop_source stop;
    auto connecting = std::async(std::launch::async, [&] {
      return net::connect_tcp({"127.0.0.1", 143}, with_proxy(url, 60s), stop.get_token());
    });
    while (proxy.connections() == 0) std::this_thread::yield();
    stop.request_stop();
    REQUIRE(connecting.wait_for(5s) == std::future_status::ready);
    CHECK(connecting.get().error().what.find("stopped") != std::string::npos);
  }
  SUBCASE("time-out") {
    const auto transport = net::connect_tcp({"127.0.0.1", 143}, with_proxy(url, 300ms), {});
    REQUIRE(!transport);
    CHECK(transport.error().what.find("no connection within 300 ms through proxy") != std::string::npos);
  }
}

TEST_CASE("SOCKS5, the name resolved by the proxy") {
  Loopback server(echo());
  std::string asked;
  Loopback proxy(socks5(server.port(), &asked));
  const std::string url = "socks5h://127.0.0.1:" + std::to_string(proxy.port());
  {
    auto transport = net::connect_tcp({"imap.internal.invalid", 143}, with_proxy(url), {});
    REQUIRE(transport);
    CHECK(exchange(**transport, "over the proxy", 14) == "over the proxy");
  }
  proxy.join_handlers();
  CHECK(asked == "imap.internal.invalid");
}

TEST_CASE("SOCKS5 with a password, which no error shows") {
  Loopback server(echo());
  Loopback proxy(socks5(server.port(), nullptr, true));
  const std::string place = "@127.0.0.1:" + std::to_string(proxy.port());
  auto good = net::connect_tcp({"h.invalid", 143}, with_proxy("socks5h://me:proxypass" + place), {});
  REQUIRE(good);
  CHECK(exchange(**good, "x", 1) == "x");
  const auto bad = net::connect_tcp({"h.invalid", 143}, with_proxy("socks5h://me:wrongpass" + place), {});
  REQUIRE(!bad);
  CHECK((bad.error().what + bad.error().advice).find("wrongpass") == std::string::npos);
  CHECK(bad.error().what.find("through proxy socks5h://127.0.0.1") != std::string::npos);
}

TEST_CASE("HTTP CONNECT, with the first octets of the server in the proxy's segment") {
  Loopback server(echo());
  std::string request;
  Loopback proxy(http_connect(server.port(), &request, "HTTP/1.1 200 OK\r\n\r\n* OK hi\r\n"));
  {
    auto transport = net::connect_tcp({"imap.internal.invalid", 993},
                                      with_proxy("http://127.0.0.1:" + std::to_string(proxy.port())), {});
    REQUIRE(transport);
    CHECK(exchange(**transport, "", 9) == "* OK hi\r\n");
    CHECK(exchange(**transport, "more", 4) == "more");
  }
  proxy.join_handlers();
  CHECK(request.starts_with("CONNECT imap.internal.invalid:993 HTTP/1.1\n"));
}

TEST_CASE("HTTP CONNECT refused") {
  Loopback proxy(http_connect(0, nullptr, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"));
  const auto transport =
      net::connect_tcp({"h.invalid", 993}, with_proxy("http://127.0.0.1:" + std::to_string(proxy.port())), {});
  REQUIRE(!transport);
  CHECK(transport.error().what.find("403") != std::string::npos);
  CHECK(transport.error().advice.find("proxy") != std::string::npos);
}

TEST_CASE("proxies that cannot work are refused") {
  for (const char* proxy : {"https://127.0.0.1:1", "ftp://127.0.0.1:1", "nonsense://x"}) {
    const auto transport = net::connect_tcp({"127.0.0.1", 143}, with_proxy(proxy), {});
    REQUIRE(!transport);
    CHECK(transport.error().retry == Retry::AfterUserAction);
    CHECK(transport.error().what.find("is not usable") != std::string::npos);
  }
}

TEST_CASE("the environment's proxies never apply") {
  Loopback trap([](Stream& stream, std::size_t) { stream.wait_closed(); });
  Loopback server(echo());
  const std::string url = "http://127.0.0.1:" + std::to_string(trap.port());
  const Environment a("http_proxy", url), b("HTTP_PROXY", url), c("all_proxy", url), d("ALL_PROXY", url),
      e("https_proxy", url);
  auto transport = net::connect_tcp({"127.0.0.1", server.port()}, {}, {});
  REQUIRE(transport);
  CHECK(exchange(**transport, "direct", 6) == "direct");
  CHECK(trap.connections() == 0);
}

TEST_CASE("no_proxy of the environment does not go round an explicit proxy") {
  Loopback server(echo());
  Loopback proxy(http_connect(server.port(), nullptr, "HTTP/1.1 200 OK\r\n\r\n"));
  const Environment a("no_proxy", "*"), b("NO_PROXY", "*");
  CHECK(net::connect_tcp({"h.invalid", 143}, with_proxy("http://127.0.0.1:" + std::to_string(proxy.port())), {}));
  CHECK(proxy.connections() == 1);
}
