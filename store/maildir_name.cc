// Message file names and delivery keys.
#include <charconv>

#include "store/maildir.h"

namespace mailhaul::store {
namespace {

constexpr std::string_view kAlphabet = "abcdefghijklmnopqrstuvwxyz234567";
constexpr std::size_t kKeyLetters = 26;  // 128 bits and two of padding
constexpr std::string_view kMark = ".mailhaul";

constexpr std::uint8_t kNoLetter = 0xFF;

constexpr std::array<std::uint8_t, 256> make_values() {
  std::array<std::uint8_t, 256> values{};
  for (auto& value : values) value = kNoLetter;
  for (std::size_t i = 0; i < kAlphabet.size(); ++i)
    values[static_cast<unsigned char>(kAlphabet[i])] = static_cast<std::uint8_t>(i);
  return values;
}
constexpr auto kValues = make_values();

void append_key(std::string& out, const DeliveryKey& key) {
  unsigned bits = 0;
  unsigned held = 0;
  for (const std::uint8_t octet : key) {
    bits = (bits << 8 | octet) & 0xFFFF;
    for (held += 8; held >= 5; held -= 5) out += kAlphabet[bits >> (held - 5) & 31];
  }
  out += kAlphabet[bits << (5 - held) & 31];
}

template <class Number>
void append_number(std::string& out, Number number) {
  std::array<char, 24> digits;  // NOLINT: to_chars says how much of it is filled
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
  out.append(digits.data(), end);
}

// Takes a number off the front; digits only, so that "+5" and " 5" are no numbers.
template <class Number>
bool take_number(std::string_view& text, Number& number) {
  if (text.empty() || text[0] < '0' || text[0] > '9') return false;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc()) return false;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return true;
}

bool take(std::string_view& text, std::string_view expected) {
  if (!text.starts_with(expected)) return false;
  text.remove_prefix(expected.size());
  return true;
}

}  // namespace

std::string to_text(const DeliveryKey& key) {
  std::string out;
  append_key(out, key);
  return out;
}

std::optional<DeliveryKey> key_from_text(std::string_view base32) {
  if (base32.size() != kKeyLetters) return std::nullopt;
  DeliveryKey key{};
  std::size_t at = 0;
  unsigned bits = 0;
  unsigned held = 0;
  for (const char letter : base32) {
    const std::uint8_t value = kValues[static_cast<unsigned char>(letter)];
    if (value == kNoLetter) return std::nullopt;
    bits = (bits << 5 | value) & 0xFFFF;
    held += 5;
    if (held >= 8) {
      held -= 8;
      key[at++] = static_cast<std::uint8_t>(bits >> held);
    }
  }
  if ((bits & 3) != 0) return std::nullopt;  // the padding bits: one key has one spelling
  return key;
}

std::string MaildirName::text() const {
  std::string out;
  out.reserve(112);
  append_number(out, seconds < 0 ? std::int64_t{0} : seconds);
  out += ".K";
  append_key(out, key);
  out += kMark;
  out += ",S=";
  append_number(out, disk_octets);
  out += ",W=";
  append_number(out, crlf_octets);
  out += ":2,";
  out += letters;
  return out;
}

std::optional<MaildirName> MaildirName::parse(std::string_view file_name) {
  MaildirName name;
  if (!take_number(file_name, name.seconds) || !take(file_name, ".K") || file_name.size() < kKeyLetters)
    return std::nullopt;
  const auto key = key_from_text(file_name.substr(0, kKeyLetters));
  if (!key) return std::nullopt;
  name.key = *key;
  file_name.remove_prefix(kKeyLetters);
  if (!take(file_name, kMark)) return std::nullopt;
  // Other programs may have dropped or added fields; the file stays ours as long as its key stands.
  while (take(file_name, ",")) {
    const std::string_view field = file_name.substr(0, file_name.find_first_of(",:"));
    file_name.remove_prefix(field.size());
    std::string_view number = field;
    if (take(number, "S=")) {
      if (!take_number(number, name.disk_octets) || !number.empty()) name.disk_octets = 0;
    } else if (take(number, "W=")) {
      if (!take_number(number, name.crlf_octets) || !number.empty()) name.crlf_octets = 0;
    }
  }
  if (file_name.empty()) return name;
  if (file_name[0] != ':') return std::nullopt;
  if (take(file_name, ":2,")) name.letters = file_name.substr(0, file_name.find(','));
  return name;
}

}  // namespace mailhaul::store
