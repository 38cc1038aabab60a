// Which addresses may be connected to. Names come from users and from documents that anybody can write; what a name
// stands for is looked up once, and the very address that is about to be connected to is checked here. Values;
// thread-safe.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/result.h"

struct sockaddr;

namespace mailhaul::net {

// An IP address; one of the forms of IPv4 within IPv6 (RFC 4291 §2.5.5.2, RFC 6052) stays IPv6 here.
struct Address {
  bool v6 = false;
  std::array<std::uint8_t, 16> octets{};  // IPv4: the first four

  static std::optional<Address> parse(std::string_view text);  // as inet_pton() does; no zone, no port
  static std::optional<Address> of(const sockaddr* address);
  [[nodiscard]] std::string text() const;
  bool operator==(const Address&) const = default;
};

struct Network {
  Address base;
  unsigned bits = 0;

  static Result<Network> parse(std::string_view text);  // "10.0.0.0/8", "fd00::/8", or one address
  [[nodiscard]] bool contains(const Address& address) const;
};

class AddressGate {
 public:
  AddressGate() = default;  // everything may be connected to: for who sits at the machine

  // Public addresses only, and what the list names: "10.1.0.0/16, fd00::/8", as MAILHAUL_ALLOW_NETWORKS has it; may be
  // empty. An address that carries an IPv4 address (mapped, NAT64) is judged by that one; 6to4 and Teredo, which can
  // lead anywhere, are not public.
  static Result<AddressGate> public_and(std::string_view networks);

  // An Error (AfterUserAction) says what kind of address it is and what would allow it.
  [[nodiscard]] Done check(const Address& address) const;
  [[nodiscard]] bool open() const { return allowed_ == nullptr; }  // lets everything through

 private:
  std::shared_ptr<const std::vector<Network>> allowed_;
};

}  // namespace mailhaul::net
