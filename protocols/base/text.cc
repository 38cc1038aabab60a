#include "protocols/base/text.h"

#include <algorithm>
#include <cstdint>

namespace mailhaul {

std::size_t utf8_length(std::string_view text) {
  if (text.empty()) return 0;
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = at(0);
  std::size_t n = 0;
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead <= 0xDF)
    n = 2;
  else if (lead >= 0xE0 && lead <= 0xEF)
    n = 3;
  else if (lead >= 0xF0 && lead <= 0xF4)
    n = 4;
  if (n == 0 || text.size() < n) return 0;
  for (std::size_t i = 1; i < n; ++i)
    if ((at(i) & 0xC0) != 0x80) return 0;
  if ((lead == 0xE0 && at(1) < 0xA0) || (lead == 0xED && at(1) > 0x9F)) return 0;  // overlong; surrogates
  if ((lead == 0xF0 && at(1) < 0x90) || (lead == 0xF4 && at(1) > 0x8F)) return 0;  // overlong; beyond U+10FFFF
  return n;
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const std::size_t n = utf8_length(text);
    if (n == 0) return false;
    text.remove_prefix(n);
  }
  return true;
}

std::string printable(std::string_view text, std::size_t limit) {
  static constexpr char kHex[] = "0123456789abcdef";
  static constexpr std::string_view kCut = "…";
  std::string out;
  std::size_t whole = 0;  // how much of `out` leaves room for the sign that something was cut off
  for (std::size_t i = 0; i < text.size();) {
    if (out.size() + kCut.size() <= limit) whole = out.size();
    const auto byte = static_cast<unsigned char>(text[i]);
    // C1 controls (U+0080 … U+009F) are two octets in UTF-8, and terminals obey them.
    const bool control = byte < 0x20 || byte == 0x7F ||
                         (byte == 0xC2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xA0);
    const std::size_t n = control ? 0 : utf8_length(text.substr(i));
    if (out.size() + (n ? n : 4) > limit) {
      out.resize(whole);
      if (limit >= kCut.size()) out += kCut;
      return out;
    }
    if (n) {
      out.append(text.substr(i, n));
      i += n;
    } else {
      out += {'\\', 'x', kHex[byte >> 4], kHex[byte & 15]};
      ++i;
    }
  }
  return out;
}

bool less_ignoring_case(std::string_view a, std::string_view b) {
  return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) {
    return static_cast<unsigned char>(ascii_lower(x)) < static_cast<unsigned char>(ascii_lower(y));
  });
}

std::string to_lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), ascii_lower);
  return out;
}

std::string to_upper(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), ascii_upper);
  return out;
}

std::string base64(std::string_view octets) {
  static constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve((octets.size() + 2) / 3 * 4);  // exact, so that a secret is not copied about while it grows
  for (std::size_t i = 0; i < octets.size(); i += 3) {
    std::uint32_t group = 0;
    for (std::size_t k = 0; k < 3; ++k)
      group = group << 8 | (i + k < octets.size() ? static_cast<unsigned char>(octets[i + k]) : 0U);
    for (std::size_t k = 0; k < 4; ++k) out += i + k <= octets.size() ? kAlphabet[group >> (18 - 6 * k) & 63] : '=';
  }
  return out;
}

std::optional<std::string> unbase64(std::string_view text) {
  const auto value = [](char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
  };
  if (text.size() % 4 != 0) return std::nullopt;
  std::size_t padding = 0;
  while (padding < 2 && padding < text.size() && text[text.size() - 1 - padding] == '=') ++padding;
  std::string out;
  out.reserve(text.size() / 4 * 3);
  std::uint32_t group = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool pad = i >= text.size() - padding;
    const int bits = pad ? 0 : value(text[i]);
    if (bits < 0) return std::nullopt;
    group = group << 6 | static_cast<std::uint32_t>(bits);
    if (i % 4 != 3) continue;
    for (int shift = 16; shift >= 0; shift -= 8) out += static_cast<char>(group >> shift & 0xFF);
    group = 0;
  }
  for (std::size_t i = 0; i < padding; ++i) {
    if (out.back() != '\0') return std::nullopt;  // RFC 4648 §3.5: bits that stand for nothing
    out.pop_back();
  }
  return out;
}

}  // namespace mailhaul
