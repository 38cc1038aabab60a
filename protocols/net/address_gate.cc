#include "protocols/net/address_gate.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <utility>

#include "protocols/base/text.h"

namespace mailhaul::net {
namespace {

// What is no address of a mail server on the Internet: IANA's registries of special-purpose addresses (RFC 6890), and
// what clouds answer secrets on.
struct Special {
  const char* network;
  const char* what;
};
constexpr std::array<Special, 31> kSpecial{{
    {"0.0.0.0/8", "this network (RFC 791)"},
    {"10.0.0.0/8", "a private address (RFC 1918)"},
    {"100.64.0.0/10", "a carrier's private address (RFC 6598)"},
    {"127.0.0.0/8", "this machine itself"},
    {"168.63.129.16/32", "a cloud's own service address"},
    {"169.254.0.0/16", "a link-local address, which clouds use for secrets (RFC 3927)"},
    {"172.16.0.0/12", "a private address (RFC 1918)"},
    {"192.0.0.0/24", "a protocol's own address (RFC 6890)"},
    {"192.0.2.0/24", "an example's address (RFC 5737)"},
    {"192.88.99.0/24", "a 6to4 relay (RFC 7526)"},
    {"192.168.0.0/16", "a private address (RFC 1918)"},
    {"198.18.0.0/15", "a test network (RFC 2544)"},
    {"198.51.100.0/24", "an example's address (RFC 5737)"},
    {"203.0.113.0/24", "an example's address (RFC 5737)"},
    {"224.0.0.0/4", "a multicast address"},
    {"240.0.0.0/4", "a reserved or broadcast address"},
    {"::1/128", "this machine itself"},
    {"::/96", "an IPv4 address in a form that is not used (RFC 4291)"},
    {"64:ff9b:1::/48", "a private NAT64 address (RFC 8215)"},
    {"100::/64", "an address that discards (RFC 6666)"},
    {"2001::/32", "a Teredo address, which can lead anywhere (RFC 4380)"},
    {"2001::/23", "a protocol's own address (RFC 2928)"},
    {"2001:db8::/32", "an example's address (RFC 3849)"},
    {"2002::/16", "a 6to4 address, which can lead anywhere (RFC 7526)"},
    {"3fff::/20", "an example's address (RFC 9637)"},
    {"5f00::/16", "a segment routing address (RFC 9602)"},
    {"fc00::/7", "a private address (RFC 4193)"},
    {"fe80::/10", "a link-local address (RFC 4291)"},
    {"fec0::/10", "a private address (RFC 3879)"},
    {"ff00::/8", "a multicast address"},
    // The rest of IPv6 beside global unicast 2000::/3 is not assigned; kept apart in special_kind().
    {"::/128", "no address at all"},
}};

struct Row {
  Network network;
  const char* what;
};

const std::vector<Row>& special_rows() {
  static const std::vector<Row> rows = [] {
    std::vector<Row> out;
    for (const Special& special : kSpecial)
      if (auto network = Network::parse(special.network)) out.push_back({*network, special.what});
    // The narrowest first: it names the address best.
    std::stable_sort(out.begin(), out.end(),
                     [](const Row& a, const Row& b) { return a.network.bits > b.network.bits; });
    return out;
  }();
  return rows;
}

Address v4(const std::uint8_t* octets) {
  Address address;
  std::copy_n(octets, 4, address.octets.begin());
  return address;
}

// The IPv4 address that a connection to this IPv6 address ends at.
std::optional<Address> carried(const Address& address) {
  static const Network kMapped = *Network::parse("::ffff:0:0/96");     // RFC 4291 §2.5.5.2
  static const Network kTranslated = *Network::parse("64:ff9b::/96");  // RFC 6052 §2.1
  if (!address.v6 || (!kMapped.contains(address) && !kTranslated.contains(address))) return std::nullopt;
  return v4(address.octets.data() + 12);
}

const char* special_kind(const Address& address) {
  for (const Row& row : special_rows())
    if (row.network.contains(address)) return row.what;
  if (address.v6 && (address.octets[0] & 0xE0) != 0x20) return "an address that is not assigned (RFC 4291)";
  return nullptr;
}

}  // namespace

std::optional<Address> Address::parse(std::string_view text) {
  const std::string copy(text);
  if (copy.find('\0') != std::string::npos) return std::nullopt;
  Address address;
  if (::inet_pton(AF_INET, copy.c_str(), address.octets.data()) == 1) return address;
  address.v6 = true;
  if (::inet_pton(AF_INET6, copy.c_str(), address.octets.data()) == 1) return address;
  return std::nullopt;
}

std::optional<Address> Address::of(const sockaddr* address) {
  if (address == nullptr) return std::nullopt;
  if (address->sa_family == AF_INET) {
    sockaddr_in in{};
    std::memcpy(&in, address, sizeof in);
    return v4(reinterpret_cast<const std::uint8_t*>(&in.sin_addr));
  }
  if (address->sa_family != AF_INET6) return std::nullopt;
  sockaddr_in6 in6{};
  std::memcpy(&in6, address, sizeof in6);
  Address out;
  out.v6 = true;
  std::memcpy(out.octets.data(), &in6.sin6_addr, 16);
  return out;
}

std::string Address::text() const {
  std::array<char, INET6_ADDRSTRLEN> out{};
  ::inet_ntop(v6 ? AF_INET6 : AF_INET, octets.data(), out.data(), out.size());
  return out.data();
}

Result<Network> Network::parse(std::string_view text) {
  const Error bad{Scope::Service, Retry::AfterUserAction, "'" + printable(text) + "' is not a network",
                  "Write an address and the bits of its network: 10.1.0.0/16, fd00::/8, 192.168.1.7."};
  const auto slash = text.find('/');
  const auto address = Address::parse(text.substr(0, slash));
  if (!address) return bad;
  Network network{*address, address->v6 ? 128U : 32U};
  if (slash != std::string_view::npos) {
    const std::string_view number = text.substr(slash + 1);
    unsigned bits = 0;
    const auto [end, failure] = std::from_chars(number.data(), number.data() + number.size(), bits);
    if (failure != std::errc{} || end != number.data() + number.size() || bits > network.bits) return bad;
    network.bits = bits;
  }
  return network;
}

bool Network::contains(const Address& address) const {
  if (address.v6 != base.v6) return false;
  for (unsigned i = 0; i < bits; i += 8) {
    const unsigned width = std::min(8U, bits - i);
    const auto mask = static_cast<std::uint8_t>(0xFF00U >> width);
    if (((address.octets.at(i / 8) ^ base.octets.at(i / 8)) & mask) != 0) return false;
  }
  return true;
}

Result<AddressGate> AddressGate::public_and(std::string_view networks) {
  std::vector<Network> allowed;
  while (!networks.empty()) {
    std::string_view one = networks.substr(0, networks.find(','));
    networks.remove_prefix(std::min(one.size() + 1, networks.size()));
    while (one.starts_with(' ')) one.remove_prefix(1);
    while (one.ends_with(' ')) one.remove_suffix(1);
    if (one.empty()) continue;
    Result<Network> network = Network::parse(one);
    if (!network) return network.error().in("MAILHAUL_ALLOW_NETWORKS");
    allowed.push_back(*network);
  }
  AddressGate gate;
  gate.allowed_ = std::make_shared<const std::vector<Network>>(std::move(allowed));
  return gate;
}

Done AddressGate::check(const Address& address) const {
  if (open()) return done();
  const Address end = carried(address).value_or(address);
  const char* kind = special_kind(end);
  if (kind == nullptr) return done();
  for (const Network& network : *allowed_)
    if (network.contains(end) || network.contains(address)) return done();
  return Error{Scope::Account, Retry::AfterUserAction, address.text() + " is " + kind + ", which is not allowed here",
               "The operator can allow it: MAILHAUL_ALLOW_NETWORKS=" + end.text() + (end.v6 ? "/128" : "/32")};
}

}  // namespace mailhaul::net
