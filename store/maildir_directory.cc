#include "store/maildir_directory.h"

#include <algorithm>

#include "protocols/base/text.h"
#include "protocols/mail/mailbox_name.h"

namespace mailhaul::store {
namespace {

constexpr std::string_view kEmpty = "\\empty";
constexpr std::string_view kCut = "\\~";
constexpr std::size_t kHash = 16;        // letters of base32: 80 bits
constexpr std::size_t kShortened = 100;  // leaves room for children
constexpr std::size_t kLeastRoom = kCut.size() + kHash + 8;

char hex_digit(unsigned value) { return "0123456789abcdef"[value & 15]; }

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

// Would this component mean something else to a mail program, or to a shell, as it starts?
bool escape_first(std::string_view component, bool outermost) {
  if (component[0] == '~' || component[0] == ' ') return true;
  for (const std::string_view reserved : {"cur", "new", "tmp"})
    if (equal_ignoring_case(component, reserved)) return true;
  return outermost && component != "INBOX" && equal_ignoring_case(component, "inbox");
}

bool escape_always(std::string_view sequence) {
  const auto octet = static_cast<unsigned char>(sequence[0]);
  return octet < 0x20 || octet == 0x7F || octet == '.' || octet == '/' || octet == '\\';
}

void append_escaped(std::string& out, char octet) {
  const auto value = static_cast<unsigned char>(octet);
  out += {'\\', hex_digit(value >> 4), hex_digit(value)};
}

// Visits the escaped component piece by piece, none of which may be torn: visit(piece), false stops.
template <class Visit>
void each_piece(std::string_view component, bool outermost, Visit visit) {
  if (component.empty()) {
    static_cast<void>(visit(kEmpty));
    return;
  }
  std::string piece;
  for (std::size_t i = 0; i < component.size();) {
    const std::size_t n = utf8_length(component.substr(i));
    const bool last_blank = component[i] == ' ' && i + 1 == component.size();
    piece.clear();
    if (n == 0 || escape_always(component.substr(i)) || last_blank || (i == 0 && escape_first(component, outermost)))
      append_escaped(piece, component[i]);
    else
      piece = component.substr(i, n);
    i += n == 0 ? 1 : n;
    if (!visit(std::string_view(piece))) return;
  }
}

std::string escaped(std::string_view component, bool outermost) {
  std::string out;
  each_piece(component, outermost, [&](std::string_view piece) {
    out += piece;
    return true;
  });
  return out;
}

std::string encoded(MaildirNames names, const std::string& text) {
  return names == MaildirNames::Utf7 ? mail::encode_modified_utf7(text) : text;
}

std::string hash_of(std::span<const std::string> components) {
  mail::Sha256 sha;
  for (const auto& component : components) {
    sha.update(std::to_string(component.size()) + ":");  // {"a","b"} and {"ab"} are two
    sha.update(component);
  }
  const auto digest = sha.finish();
  DeliveryKey key{};
  std::copy_n(digest.begin(), key.size(), key.begin());
  return to_text(key).substr(0, kHash);
}

// At most `room` octets, told apart from every other component by a hash.
std::string shortened(MaildirNames names, const std::string& component, bool outermost, std::size_t room) {
  std::vector<std::string> pieces;  // an encoding has no fewer octets than pieces, so `room` of them are enough
  each_piece(component, outermost, [&](std::string_view piece) {
    pieces.emplace_back(piece);
    return pieces.size() < room;
  });
  const std::string suffix = std::string(kCut) + hash_of({&component, 1});
  for (;; pieces.pop_back()) {
    std::string text;
    for (const auto& piece : pieces) text += piece;
    std::string name = encoded(names, text + suffix);
    if (name.size() <= room || pieces.empty()) return name;
  }
}

// Undoes escaped(). What stands in no escape of ours is kept as it is.
std::string unescaped(std::string_view text) {
  if (text == kEmpty) return {};
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const int high = text[i] == '\\' && i + 2 < text.size() ? hex_value(text[i + 1]) : -1;
    const int low = high >= 0 ? hex_value(text[i + 2]) : -1;
    if (low >= 0) {
      out += static_cast<char>(high << 4 | low);
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

}  // namespace

std::string directory_name(MaildirNames names, std::span<const std::string> components) {
  if (components.size() == 1 && components[0] == "INBOX") return {};
  static const std::string kNothing;
  if (components.empty()) components = {&kNothing, 1};
  std::string name;
  for (std::size_t i = 0; i < components.size(); ++i) {
    const std::size_t used = name.size() + 1;
    const std::size_t room = used < kDirectoryLimit ? kDirectoryLimit - used : 0;
    std::string part;  // no encoding is shorter than half of its text: longer ones need not be tried
    if (components[i].size() <= 2 * kDirectoryLimit) part = encoded(names, escaped(components[i], i == 0));
    const bool fits = !part.empty() && part.size() <= room;
    if (!fits && room < kLeastRoom) {
      // No room for another level: the whole path becomes one name, which no longer shows its parent.
      const std::string suffix = std::string(kCut) + std::string(kCut) + hash_of(components);
      std::size_t keep = std::min(name.size(), kDirectoryLimit - suffix.size());
      keep = name.rfind('.', keep);  // whole components only: a cut could tear an encoding
      return (keep == 0 || keep == std::string::npos ? "." : name.substr(0, keep) + ".") + suffix;
    }
    name += '.';
    name += fits ? part : shortened(names, components[i], i == 0, std::min(room, kShortened));
  }
  return name;
}

std::optional<std::vector<std::string>> components_of(MaildirNames names, std::string_view directory) {
  if (!is_directory_name(directory)) return std::nullopt;
  if (directory.empty()) return std::vector<std::string>{"INBOX"};
  std::vector<std::string> components;
  for (const auto& part : directory_parts(directory)) {
    if (part.empty()) return std::nullopt;
    std::optional<std::string> text = part;
    // A directory that another program named otherwise is still a mailbox: show it as well as can be.
    if (names == MaildirNames::Utf7 && !(text = mail::decode_modified_utf7(part))) text = mail::display_name(part);
    components.push_back(unescaped(*text));
  }
  return components;
}

bool is_directory_name(std::string_view directory) {
  if (directory.empty()) return true;
  return directory.size() > 1 && directory[0] == '.' && directory != ".." &&
         directory.find_first_of(std::string_view("/\0", 2)) == std::string_view::npos;
}

std::vector<std::string> directory_parts(std::string_view directory) {
  if (directory.empty()) return {"INBOX"};
  std::vector<std::string> parts;
  for (std::size_t at = 1; at <= directory.size();) {
    const std::size_t dot = std::min(directory.find('.', at), directory.size());
    parts.emplace_back(directory.substr(at, dot - at));
    at = dot + 1;
  }
  return parts;
}

}  // namespace mailhaul::store
