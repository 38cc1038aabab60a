// Where a reference of a DAV server leads. Pure.
#pragma once
#include <optional>
#include <string>
#include <string_view>

namespace mailhaul::dav {

struct Origin {  // RFC 6454: what may get our credentials
  std::string scheme, host, port;
  bool operator==(const Origin&) const = default;
  [[nodiscard]] std::string text() const;  // "https://host:port", without a usual port
};

// Of an absolute http or https URL. nullopt: it is none, or has credentials in it.
std::optional<Origin> origin_of(std::string_view url);

// `reference` (a path or an absolute URL, RFC 3986 §4.2) as seen from `base`; nullopt for other schemes and nonsense.
// Without query and fragment.
std::optional<std::string> resolved(std::string_view base, std::string_view reference);

// The same place, whatever octets are written as %XX: a path, decoded but for "%2F" and "%25". What identity is made
// of.
std::string path_of(std::string_view url);

// Is `path` a direct member of the collection at `parent` (both by path_of)?
bool is_member(std::string_view parent, std::string_view path);

}  // namespace mailhaul::dav
