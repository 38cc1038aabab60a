// Octets as text: what is printable, what is UTF-8, what is equal without regard to ASCII case. Pure functions.
#pragma once
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace mailhaul {

// Text from a peer, made fit for a log line or an error: control and non-UTF-8 octets as \xNN, at most `limit` octets.
std::string printable(std::string_view text, std::size_t limit = 200);

// Length of the valid UTF-8 sequence (RFC 3629 §4) at the start of `text`; 0 if there is none.
std::size_t utf8_length(std::string_view text);
bool is_utf8(std::string_view text);

// ASCII only, whatever the locale.
constexpr char ascii_lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }
constexpr char ascii_upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; }
constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }
constexpr bool equal_ignoring_case(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i)
    if (ascii_lower(a[i]) != ascii_lower(b[i])) return false;
  return true;
}
bool less_ignoring_case(std::string_view a, std::string_view b);  // by the lower-case forms, as unsigned octets
std::string to_lower(std::string_view text);
std::string to_upper(std::string_view text);

// RFC 4648 §4, with padding.
std::string base64(std::string_view octets);
// The octets of base64 with its padding; nullopt for everything else. Strict: one text for each string of octets.
std::optional<std::string> unbase64(std::string_view text);

}  // namespace mailhaul
