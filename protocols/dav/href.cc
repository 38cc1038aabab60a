#include "protocols/dav/href.h"

#include "protocols/base/text.h"

namespace mailhaul::dav {
namespace {

std::size_t end_of_authority(std::string_view url) {
  const auto begin = url.find("://");
  return begin == url.npos ? url.npos : std::min(url.find_first_of("/?#", begin + 3), url.size());
}

int digit(char c) {
  if (is_digit(c)) return c - '0';
  const char lower = ascii_lower(c);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

}  // namespace

std::string Origin::text() const {
  const bool usual = port == (scheme == "https" ? "443" : "80");
  return scheme + "://" + host + (usual ? "" : ":" + port);
}

std::optional<Origin> origin_of(std::string_view url) {
  const auto end = end_of_authority(url);
  if (end == url.npos) return std::nullopt;
  Origin out;
  out.scheme = to_lower(url.substr(0, url.find("://")));
  if (out.scheme != "https" && out.scheme != "http") return std::nullopt;
  auto authority = url.substr(out.scheme.size() + 3, end - out.scheme.size() - 3);
  if (authority.find('@') != authority.npos) return std::nullopt;
  const auto bracket = authority.rfind(']');
  const auto colon = authority.find(':', bracket == authority.npos ? 0 : bracket);
  out.host = to_lower(authority.substr(0, colon));
  out.port = colon == authority.npos || colon + 1 == authority.size() ? (out.scheme == "https" ? "443" : "80")
                                                                      : std::string(authority.substr(colon + 1));
  if (out.host.empty()) return std::nullopt;
  return out;
}

std::optional<std::string> resolved(std::string_view base, std::string_view reference) {
  const auto origin = origin_of(base);
  if (!origin || reference.empty()) return std::nullopt;
  reference = reference.substr(0, reference.find_first_of("?#"));
  for (const char c : reference)
    if (static_cast<unsigned char>(c) <= 0x20 || c == 0x7F) return std::nullopt;
  if (reference.starts_with("//")) return resolved(base, origin->scheme + ":" + std::string(reference));
  if (reference.starts_with('/')) return origin->text() + std::string(reference);
  const auto colon = reference.find(':');
  if (colon != reference.npos && reference.substr(0, colon).find('/') == reference.npos) {  // a scheme
    const auto other = origin_of(reference);
    if (!other) return std::nullopt;
    const auto path = reference.substr(end_of_authority(reference));
    return other->text() + (path.empty() ? "/" : std::string(path));
  }
  const auto path = base.substr(end_of_authority(base));  // relative to the collection
  return origin->text() + std::string(path.substr(0, path.rfind('/') + 1)) + std::string(reference);
}

std::string path_of(std::string_view url) {
  const auto begin = end_of_authority(url);
  const auto path = begin == url.npos ? url : url.substr(begin);
  std::string out;
  for (std::size_t i = 0; i < path.size(); ++i) {
    if (path[i] == '%' && i + 2 < path.size() && digit(path[i + 1]) >= 0 && digit(path[i + 2]) >= 0) {
      const auto octet = static_cast<char>(digit(path[i + 1]) * 16 + digit(path[i + 2]));
      i += 2;
      if (octet == '/')
        out += "%2F";
      else if (octet == '%')
        out += "%25";
      else
        out += octet;
    } else {
      out += path[i];
    }
  }
  return out;
}

bool is_member(std::string_view parent, std::string_view path) {
  if (parent.ends_with('/')) parent.remove_suffix(1);
  if (path.size() <= parent.size() + 1 || !path.starts_with(parent) || path[parent.size()] != '/') return false;
  return path.substr(parent.size() + 1).find('/') == path.npos;
}

}  // namespace mailhaul::dav
