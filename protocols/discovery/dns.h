// Private to the room: the two kinds of DNS records that lead from a domain to its mail server. By libresolv.
#pragma once
#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "protocols/base/result.h"

namespace mailhaul::discovery {

struct DnsOptions {
  std::string server;  // "127.0.0.1:5353"; empty: the system's
  std::chrono::seconds timeout{4};
};

struct Srv {  // RFC 2782
  std::uint16_t priority = 0, weight = 0, port = 0;
  std::string target;  // lower case, without the final dot; "." where there is decidedly no such service
};
struct Mx {
  std::uint16_t preference = 0;
  std::string host;
};

// Best first. Nothing there: an empty list. An Error: nobody answered, or with a failure.
Result<std::vector<Srv>> look_up_srv(const std::string& name, const DnsOptions&);
Result<std::vector<Mx>> look_up_mx(const std::string& name, const DnsOptions&);

}  // namespace mailhaul::discovery
