// The address gate against everything that an address can be written as, and against names that change their mind.
#include "protocols/net/address_gate.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <doctest/doctest.h>
#include <netdb.h>
#include <netinet/in.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <set>
#include <string>
#include <vector>

#include "tests/support/loopback.h"
#include "tests/support/loopback_client.h"

using namespace mailhaul;
using namespace mailhaul::test;

namespace {

std::atomic<int> g_lookups{0};

}  // namespace

// libcurl's name service, as far as "rebind.test" and "many.test" are concerned: the first changes its address with the
// second question, the second has two addresses.
extern "C" int getaddrinfo(const char* node, const char* service, const addrinfo* hints, addrinfo** result) {
  using Real = int (*)(const char*, const char*, const addrinfo*, addrinfo**);
  static const auto real = reinterpret_cast<Real>(dlsym(RTLD_NEXT, "getaddrinfo"));
  const std::string name = node != nullptr ? node : "";
  if (name != "rebind.test" && name != "many.test") return real(node, service, hints, result);
  const int question = g_lookups++;
  addrinfo numeric = hints != nullptr ? *hints : addrinfo{};
  numeric.ai_flags |= AI_NUMERICHOST;
  numeric.ai_family = AF_INET;
  if (name == "rebind.test") return real(question == 0 ? "127.0.0.2" : "127.0.0.1", service, &numeric, result);
  const int first = real("127.0.0.2", service, &numeric, result);
  addrinfo* second = nullptr;
  if (first == 0 && real("127.0.0.1", service, &numeric, &second) == 0) (*result)->ai_next = second;
  return first;
}

namespace {

std::string format(const char* how, auto... values) {
  std::array<char, 200> out{};
  std::snprintf(out.data(), out.size(), how, values...);
  return out.data();
}

// One IPv4 address in all the ways in which inet_aton() and IPv6 have it.
std::vector<std::string> spellings(const std::string& dotted) {
  unsigned a = 0, b = 0, c = 0, d = 0;
  REQUIRE(std::sscanf(dotted.c_str(), "%u.%u.%u.%u", &a, &b, &c, &d) == 4);
  const unsigned whole = a << 24 | b << 16 | c << 8 | d, high = a << 8 | b, low = c << 8 | d;
  return {
      dotted,
      format("%u", whole),
      format("0x%x", whole),
      format("0X%08X", whole),
      format("0%o", whole),
      format("%u.%u", a, whole & 0xFFFFFF),
      format("%u.%u.%u", a, b, low),
      format("0x%x.0x%x.0x%x.0x%x", a, b, c, d),
      format("0%o.0%o.0%o.0%o", a, b, c, d),
      format("0x%02X.%u.0%o.%u", a, b, c, d),
      format("%u.0x%x", a, whole & 0xFFFFFF),
      format("000%o.%u.%u.%u", a, b, c, d),
      format("::ffff:%s", dotted.c_str()),
      format("::FFFF:%x:%x", high, low),
      format("0:0:0:0:0:ffff:%x:%x", high, low),
      format("0000:0000:0000:0000:0000:ffff:%04x:%04x", high, low),
      format("::%s", dotted.c_str()),
      format("64:ff9b::%x:%x", high, low),
      format("64:ff9b::%s", dotted.c_str()),
      format("64:ff9b:1::%x:%x", high, low),
      format("2002:%x:%x::1", high, low),
      format("2002:%04x:%04x:0000:0000:0000:0000:0001", high, low),
      format("2001:0:%x:%x::1", high, low),
      format("2001:0:4136:e378:8000:63bf:%x:%x", ~high & 0xFFFF, ~low & 0xFFFF),
  };
}

// What the system makes of it, without asking anybody.
std::optional<net::Address> understood(const std::string& text) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_flags = AI_NUMERICHOST;
  hints.ai_socktype = SOCK_STREAM;
  if (::getaddrinfo(text.c_str(), nullptr, &hints, &found) != 0) return std::nullopt;
  const auto address = net::Address::of(found->ai_addr);
  ::freeaddrinfo(found);
  return address;
}

net::AddressGate gate(std::string_view allowed = "") {
  auto made = net::AddressGate::public_and(allowed);
  REQUIRE(made);
  return *made;
}

const std::vector<std::string> kForbidden4{
    "127.0.0.1",   "127.255.255.254", "10.0.0.1",        "10.255.255.255", "172.16.0.1",      "172.31.255.255",
    "192.168.1.1", "169.254.1.1",     "169.254.169.254", "100.64.0.1",     "100.100.100.200", "0.0.0.0",
    "0.1.2.3",     "192.0.0.192",     "192.0.2.1",       "198.18.0.1",     "198.51.100.7",    "203.0.113.9",
    "224.0.0.251", "239.255.255.250", "240.0.0.1",       "192.88.99.1",    "168.63.129.16",   "255.255.255.255"};
const std::vector<std::string> kForbidden6{
    "::",         "::1",        "0:0:0:0:0:0:0:1", "fe80::1",       "fe80::1%lo", "febf::1", "fec0::1",
    "fc00::1",    "fd00::1",    "fd00:ec2::254",   "fdff:ffff::1",  "ff02::1",    "ff05::2", "2001:db8::1",
    "2001:2::1",  "2001:10::1", "2001:20::1",      "2001:1ff::1",   "2001::1",    "2002::1", "3fff::1",
    "5f00::1",    "100::1",     "64:ff9b:1::1",    "4000::1",       "1::1",       "8000::1", "::2",
    "::ffff:0:0", "64:ff9b::",  "100:0:0:1::1",    "2002:7f00:1::", "::7f00:1",   "200::1",  "fe00::1"};
const std::vector<std::string> kPublic{
    "8.8.8.8",      "1.1.1.1",     "172.15.255.255", "172.32.0.1", "192.167.255.255", "192.169.0.1",   "100.63.0.1",
    "100.128.0.1",  "169.253.0.1", "169.255.0.1",    "126.0.0.1",  "128.0.0.1",       "9.255.255.255", "11.0.0.1",
    "198.17.0.1",   "198.20.0.1",  "223.255.255.1",  "192.0.1.1",  "192.0.3.1",       "203.0.112.1",   "2606:4700::1",
    "2a00:1450::1", "2001:200::1", "2001:4860::1",   "3ffe::1",    "2001:db9::1",     "2003::1",       "2620:fe::fe"};

}  // namespace

TEST_CASE("gate: more than 300 spellings of forbidden addresses, none is connected to") {
  Loopback server([](Stream&, std::size_t) {});
  Loopback server6([](Stream&, std::size_t) {}, true);
  net::ConnectOptions options;
  options.timeout = 5s;
  options.gate = gate();
  std::set<std::string> all(kForbidden6.begin(), kForbidden6.end());
  for (const auto& dotted : kForbidden4)
    for (const auto& text : spellings(dotted)) all.insert(text);
  all.insert({"localhost", "LOCALHOST", "localhost.", "127.1", "127.0.1", "0", "0x0", "00", "127.0.0.1."});
  std::size_t refused_by_kind = 0;
  for (const std::string& text : all) {
    CAPTURE(text);
    if (const auto address = understood(text)) CHECK(!options.gate.check(*address));
    for (const auto port : {server.port(), server6.port()}) {
      const auto connected = net::connect_tcp({text, port}, options, {});
      REQUIRE(!connected);
      if (connected.error().what.find("not allowed here") != std::string::npos) ++refused_by_kind;
    }
  }
  CHECK(all.size() >= 500);
  // The rest is no host name to begin with (a zone).
  CHECK(refused_by_kind > 2 * (all.size() - 10));
  CHECK(server.connections() == 0);
  CHECK(server6.connections() == 0);
}

TEST_CASE("gate: public addresses pass in every spelling that is not a tunnel") {
  for (const std::string& text : kPublic) {
    CAPTURE(text);
    const auto address = understood(text);
    REQUIRE(address);
    CHECK(gate().check(*address));
    if (address->v6) continue;
    for (const std::string& spelling : spellings(text)) {
      CAPTURE(spelling);
      const auto same = understood(spelling);
      if (!same) continue;
      const bool tunnel = spelling.starts_with("2002:") || spelling.starts_with("2001:0") ||
                          spelling.starts_with("64:ff9b:1") || spelling == "::" + text;
      CHECK(static_cast<bool>(gate().check(*same)) == !tunnel);
    }
  }
}

TEST_CASE("gate: what the operator allows") {
  const auto allows = [](std::string_view list, const std::string& address) {
    return static_cast<bool>(gate(list).check(*net::Address::parse(address)));
  };
  CHECK(allows("10.1.0.0/16", "10.1.255.255"));
  CHECK(!allows("10.1.0.0/16", "10.2.0.0"));
  CHECK(allows(" 10.1.0.0/16 , fd00:1::/32,", "fd00:1:2::3"));
  CHECK(!allows("fd00:1::/32", "fd00:2::1"));
  CHECK(allows("192.168.1.7", "192.168.1.7"));
  CHECK(!allows("192.168.1.7", "192.168.1.6"));
  CHECK(allows("127.0.0.0/8", "::ffff:127.0.0.1"));
  CHECK(allows("0.0.0.0/0", "10.0.0.1"));
  CHECK(!allows("0.0.0.0/0", "::1"));
  CHECK(allows("10.0.0.128/25", "10.0.0.129"));
  CHECK(!allows("10.0.0.128/25", "10.0.0.127"));
  CHECK(allows("::1", "::1"));
  CHECK(net::AddressGate().check(*net::Address::parse("127.0.0.1")));
  for (const char* bad :
       {"10.0.0.0/33", "10.0.0.0/", "10.0.0/8", "home", "fd00::/129", "10.0.0.0/8 fd00::/8", "10.0.0.0/-1"})
    CHECK_MESSAGE(!net::AddressGate::public_and(bad), bad);
  const auto refused = gate().check(*net::Address::parse("192.168.1.7"));
  REQUIRE(!refused);
  CHECK(refused.error().what == "192.168.1.7 is a private address (RFC 1918), which is not allowed here");
  CHECK(refused.error().advice.find("MAILHAUL_ALLOW_NETWORKS=192.168.1.7/32") != std::string::npos);
  CHECK(refused.error().retry == Retry::AfterUserAction);
}

TEST_CASE("gate: a name is looked up once, and only checked addresses of it are connected to") {
  Loopback server([](Stream&, std::size_t) {});
  net::ConnectOptions options;
  options.timeout = 5s;
  options.gate = gate("127.0.0.2/32");
  for (const char* name : {"rebind.test", "many.test"}) {
    CAPTURE(name);
    g_lookups = 0;
    const auto connected = net::connect_tcp({name, server.port()}, options, {});
    REQUIRE(!connected);
    CHECK(g_lookups == 1);
    CHECK(server.connections() == 0);
    CHECK(connected.error().what.find("not allowed here") ==
          std::string::npos);  // 127.0.0.2 was tried: nobody is there
  }
  options.gate = gate("127.0.0.0/8");
  g_lookups = 0;
  CHECK(net::connect_tcp({"many.test", server.port()}, options, {}));
}

TEST_CASE("gate: a proxy is an address, too") {
  Loopback proxy([](Stream&, std::size_t) {});
  net::ConnectOptions options;
  options.timeout = 5s;
  options.gate = gate();
  options.proxy = "socks5h://127.0.0.1:" + std::to_string(proxy.port());
  const auto connected = net::connect_tcp({"mail.example.org", 993}, options, {});
  REQUIRE(!connected);
  CHECK(connected.error().what.find("127.0.0.1 is this machine itself") != std::string::npos);
  CHECK(proxy.connections() == 0);
  options.gate = gate("127.0.0.1");
  const auto behind = net::connect_tcp({"10.0.0.1", 993}, options, {});
  REQUIRE(!behind);
  CHECK(behind.error().what.find("10.0.0.1 is a private address") != std::string::npos);
  CHECK(proxy.connections() == 0);
}
