// What single kinds of server do differently, as rows: a name, what is done about it, how the server is recognised, and
// what is known of it. A behaviour is used in one place, which asks has(); no other code asks which server it is. Users
// switch rows by name. Pure.
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mailhaul::imap {

enum class Quirk : std::uint8_t {
  SendId,
  NoNamespace,
  NoExamine,
  Lockstep,
  NarrowPipeline,
  ShortLines,
  SmallSlices,
  FetchUids,
  NoSizes,
  RoughSizes,
  BrokenQresync,
  UidOnly,
  Placeholders,
  WholePartials,
};
inline constexpr std::size_t kQuirks = 14;

struct QuirkRow {
  Quirk quirk;
  std::string_view name;
  std::string_view effect;    // what Mailhaul does when it is on
  std::string_view evidence;  // one line
  std::string_view signs;     // for people: what turns it on by itself; empty: only the user does
};
std::span<const QuirkRow> quirk_rows();
const QuirkRow& row_of(Quirk quirk);
std::optional<Quirk> quirk_named(std::string_view name);

class QuirkSet {
 public:
  [[nodiscard]] bool has(Quirk quirk) const { return (bits_ >> static_cast<unsigned>(quirk) & 1U) != 0; }
  void set(Quirk quirk, bool on) {
    const auto bit = std::uint32_t{1} << static_cast<unsigned>(quirk);
    bits_ = on ? bits_ | bit : bits_ & ~bit;
  }
  [[nodiscard]] bool empty() const { return bits_ == 0; }
  [[nodiscard]] std::string names() const;  // "no-examine small-slices"
  bool operator==(const QuirkSet&) const = default;

 private:
  std::uint32_t bits_ = 0;
};

// What is known of a server when its quirks are looked up. What it says of itself may be forged or wrong: a quirk only
// ever makes the client more careful.
struct ServerSigns {
  std::string host;                                      // as the user or the discovery gave it
  std::string greeting;                                  // text
  std::vector<std::pair<std::string, std::string>> id;   // the answer to ID, as far as it is known
  std::function<bool(std::string_view)> has_capability;  // empty: none
};

using QuirkChoice = std::vector<std::pair<Quirk, bool>>;  // the user's; later ones win

QuirkSet quirks_of(const ServerSigns& server, const QuirkChoice& choice);

}  // namespace mailhaul::imap
