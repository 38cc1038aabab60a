// Flags and keywords (RFC 9051 §2.3.2). One table holds what a flag is called on the wire and in a Maildir name.
// Values only.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mailhaul::mail {

enum class SystemFlag : std::uint8_t { Answered = 1, Flagged = 2, Deleted = 4, Seen = 8, Draft = 16 };

struct SystemFlagRow {
  SystemFlag flag;
  std::string_view wire;  // RFC 9051 §2.3.2
  char maildir;           // the letter in ":2,<flags>"
};
// In the order of the Maildir letters, which must be ascending in a file name.
inline constexpr std::array<SystemFlagRow, 5> kSystemFlags{{{SystemFlag::Draft, "\\Draft", 'D'},
                                                            {SystemFlag::Flagged, "\\Flagged", 'F'},
                                                            {SystemFlag::Answered, "\\Answered", 'R'},
                                                            {SystemFlag::Seen, "\\Seen", 'S'},
                                                            {SystemFlag::Deleted, "\\Deleted", 'T'}}};

// The five system flags as bits, keywords as text: unique without regard to ASCII case, sorted by their lower-case
// form, spelled as first seen. \Recent and unknown flags that start with a backslash never get in (they are session
// state or unstorable, and would flap for ever).
class FlagSet {
 public:
  FlagSet() = default;
  FlagSet(std::uint8_t system_bits, std::vector<std::string> keywords);

  void add(std::string_view wire_flag);  // "\\Seen", "$Junk"; \Recent, \*, empty and unknown \X are ignored
  void add(SystemFlag flag) { system_ = static_cast<std::uint8_t>(system_ | static_cast<std::uint8_t>(flag)); }
  void remove(std::string_view wire_flag);
  [[nodiscard]] bool has(SystemFlag flag) const { return (system_ & static_cast<std::uint8_t>(flag)) != 0; }
  [[nodiscard]] bool has(std::string_view wire_flag) const;
  [[nodiscard]] std::uint8_t system_bits() const { return system_; }
  [[nodiscard]] const std::vector<std::string>& keywords() const { return keywords_; }
  [[nodiscard]] bool empty() const { return system_ == 0 && keywords_.empty(); }

  [[nodiscard]] FlagSet united(const FlagSet& other) const;
  [[nodiscard]] FlagSet minus(const FlagSet& other) const;
  [[nodiscard]] FlagSet intersected(const FlagSet& other) const;

  [[nodiscard]] std::string wire() const;                         // "\\Flagged \\Seen $Junk"
  [[nodiscard]] std::string maildir_letters() const;              // "FS": system flags only, ascending
  static FlagSet from_maildir_letters(std::string_view letters);  // unknown letters (a–z keywords, P) are ignored

  bool operator==(const FlagSet&) const;  // keywords compared without case

 private:
  std::uint8_t system_ = 0;
  std::vector<std::string> keywords_;
};

}  // namespace mailhaul::mail
