#include "protocols/mail/mailbox_name.h"

#include <unicase.h>
#include <uninorm.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <memory>

#include "protocols/base/text.h"

namespace mailhaul::mail {
namespace {

// RFC 3501 §5.1.3: "," stands where RFC 4648 has "/".
constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

constexpr std::array<std::int16_t, 256> reverse_alphabet() {
  std::array<std::int16_t, 256> table{};
  table.fill(-1);
  for (std::size_t i = 0; i < kAlphabet.size(); ++i)
    table[static_cast<unsigned char>(kAlphabet[i])] = static_cast<std::int16_t>(i);
  return table;
}
constexpr auto kReverse = reverse_alphabet();

constexpr bool represents_itself(std::uint32_t code) { return code >= 0x20 && code <= 0x7E && code != '&'; }

void put_utf8(std::string& out, std::uint32_t code) {
  const auto octet = [&out](std::uint32_t value) { out += static_cast<char>(value); };
  if (code < 0x80) {
    octet(code);
  } else if (code < 0x800) {
    octet(0xC0 | code >> 6);
    octet(0x80 | (code & 63));
  } else if (code < 0x10000) {
    octet(0xE0 | code >> 12);
    octet(0x80 | (code >> 6 & 63));
    octet(0x80 | (code & 63));
  } else {
    octet(0xF0 | code >> 18);
    octet(0x80 | (code >> 12 & 63));
    octet(0x80 | (code >> 6 & 63));
    octet(0x80 | (code & 63));
  }
}

// Code points of `utf8`; an octet that is part of none counts as Latin-1.
template <class F>
void each_code_point(std::string_view utf8, F&& visit) {
  while (!utf8.empty()) {
    const std::size_t n = utf8_length(utf8);
    auto code = static_cast<std::uint32_t>(static_cast<unsigned char>(utf8[0]));
    if (n > 1) code &= 0x7FU >> n;
    for (std::size_t i = 1; i < n; ++i) code = code << 6 | (static_cast<unsigned char>(utf8[i]) & 63U);
    visit(code);
    utf8.remove_prefix(n == 0 ? 1 : n);
  }
}

std::string latin1_to_utf8(std::string_view raw) {
  std::string out;
  for (const char c : raw) put_utf8(out, static_cast<unsigned char>(c));
  return out;
}

// Decodes what stands between "&" and "-". False if it is not the one correct spelling of its text.
bool decode_shifted(std::string_view base64, std::string& out) {
  std::uint32_t bits = 0, high = 0;
  int count = 0;
  for (const char c : base64) {
    const int value = kReverse[static_cast<unsigned char>(c)];
    if (value < 0) return false;
    bits = (bits << 6 | static_cast<std::uint32_t>(value)) & 0x3FFFFF;
    count += 6;
    if (count < 16) continue;
    count -= 16;
    const std::uint32_t unit = bits >> count & 0xFFFF;
    const bool low = unit >= 0xDC00 && unit <= 0xDFFF;
    if (low != (high != 0)) return false;  // a surrogate without its other half
    if (unit >= 0xD800 && unit <= 0xDBFF) {
      high = unit;
      continue;
    }
    const std::uint32_t code = high ? 0x10000 + ((high - 0xD800) << 10) + (unit - 0xDC00) : unit;
    high = 0;
    if (represents_itself(code) || code == '&')
      return false;  // RFC 3501 §5.1.3: printable US-ASCII must not be shifted
    put_utf8(out, code);
  }
  return high == 0 && count < 6 && (bits & ((1U << count) - 1)) == 0;
}

struct Free {
  void operator()(void* memory) const { std::free(memory); }
};
std::optional<std::string> taken(std::uint8_t* memory, std::size_t length) {
  const std::unique_ptr<std::uint8_t, Free> owner(memory);
  if (!owner) return std::nullopt;
  return std::string(reinterpret_cast<const char*>(memory), length);
}
const std::uint8_t* octets(std::string_view text) { return reinterpret_cast<const std::uint8_t*>(text.data()); }

bool is_ascii(std::string_view text) {
  for (const char c : text)
    if (static_cast<unsigned char>(c) >= 0x80) return false;
  return true;
}

}  // namespace

std::optional<std::string> decode_modified_utf7(std::string_view raw) {
  std::string out;
  bool after_shift = false;
  for (std::size_t i = 0; i < raw.size(); ++i) {
    const auto c = static_cast<unsigned char>(raw[i]);
    if (represents_itself(c)) {
      out += raw[i];
      after_shift = false;
      continue;
    }
    if (c != '&') return std::nullopt;
    const std::size_t end = raw.find('-', i);
    if (end == std::string_view::npos) return std::nullopt;
    if (end == i + 1) {
      out += '&';
      after_shift = false;
    } else {
      // RFC 3501 §5.1.3: "&U,BTFw-&ZeVnLIqe-" has a superfluous shift and is not permitted.
      if (after_shift || !decode_shifted(raw.substr(i + 1, end - i - 1), out)) return std::nullopt;
      after_shift = true;
    }
    i = end;
  }
  return out;
}

std::string encode_modified_utf7(std::string_view utf8) {
  std::string out;
  std::uint32_t bits = 0;
  int count = 0;
  bool shifted = false;
  const auto unit = [&](std::uint32_t value) {
    bits = bits << 16 | value;  // at most 4 bits are left over from before
    for (count += 16; count >= 6; count -= 6) out += kAlphabet[bits >> (count - 6) & 63];
  };
  const auto unshift = [&] {
    if (!shifted) return;
    if (count > 0) out += kAlphabet[bits << (6 - count) & 63];
    out += '-';
    bits = 0;
    count = 0;
    shifted = false;
  };
  each_code_point(utf8, [&](std::uint32_t code) {
    if (represents_itself(code) || code == '&') {
      unshift();
      out += static_cast<char>(code);
      if (code == '&') out += '-';
      return;
    }
    if (!shifted) out += '&';
    shifted = true;
    if (code >= 0x10000) {
      unit(0xD800 + ((code - 0x10000) >> 10));
      unit(0xDC00 + ((code - 0x10000) & 0x3FF));
    } else {
      unit(code);
    }
  });
  unshift();
  return out;
}

std::string display_name(std::string_view raw) {
  if (auto decoded = decode_modified_utf7(raw)) return *std::move(decoded);
  return is_utf8(raw) ? std::string(raw) : latin1_to_utf8(raw);
}

std::vector<std::string> hierarchy(std::string_view raw, std::optional<char> delimiter) {
  std::vector<std::string> components;
  for (;;) {
    const std::size_t end = delimiter ? raw.find(*delimiter) : std::string_view::npos;
    components.push_back(display_name(raw.substr(0, end)));
    if (end == std::string_view::npos) break;
    raw.remove_prefix(end + 1);
  }
  if (is_inbox(components.front())) components.front() = "INBOX";  // RFC 9051 §5.1
  return components;
}

namespace {
std::string normalised(std::string_view utf8, uninorm_t form) {
  if (is_ascii(utf8) || !is_utf8(utf8)) return std::string(utf8);
  std::size_t length = 0;
  std::uint8_t* normal = u8_normalize(form, octets(utf8), utf8.size(), nullptr, &length);
  return taken(normal, length).value_or(std::string(utf8));
}
}  // namespace

std::string collision_key(std::string_view utf8) {
  if (is_ascii(utf8) || !is_utf8(utf8)) return to_lower(utf8);
  const std::string nfc = to_nfc(utf8);
  std::size_t length = 0;
  // No language: the same key on every machine, whatever its locale.
  std::uint8_t* folded = u8_casefold(octets(nfc), nfc.size(), nullptr, UNINORM_NFC, nullptr, &length);
  return taken(folded, length).value_or(nfc);
}

std::string to_nfc(std::string_view utf8) { return normalised(utf8, UNINORM_NFC); }
std::string to_nfkc(std::string_view utf8) { return normalised(utf8, UNINORM_NFKC); }

bool is_inbox(std::string_view raw) { return equal_ignoring_case(raw, "INBOX"); }

}  // namespace mailhaul::mail
