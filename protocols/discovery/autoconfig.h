// The settings document that domains publish for mail programs (Thunderbird's config-v1.1.xml). Pure: text in, values
// out; anybody can have written the text.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/result.h"
#include "protocols/discovery/presets.h"

namespace mailhaul::discovery {

inline constexpr std::size_t kLongestDocument = 128 << 10;  // octets

struct Offer {
  Server server;
  std::string user;               // placeholders filled in
  std::vector<std::string> auth;  // as in Preset
};

// The servers with TLS, in the document's order, IMAP first. An Error: too long, a DTD (entities make bombs, and nobody
// needs them here), not XML, not such a document, no server in it that can be used.
Result<std::vector<Offer>> read_autoconfig(std::string_view xml, std::string_view address);

// What may be a host of a server: letters, digits, hyphens; at least one dot, or "localhost"; no number for an address.
bool is_server_name(std::string_view host);

}  // namespace mailhaul::discovery
