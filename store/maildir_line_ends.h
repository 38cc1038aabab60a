// CRLF to LF and back, chunk by chunk (private to the Maildir). Pure; linear time.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace mailhaul::store {

// Takes the CR out of every CRLF. Gives up at the first LF that would not come back when LF is expanded again and read
// by others: one without a CR before it, or with two (what would be stored as CRLF reads as one line end).
class CrlfToLf {
 public:
  // Writes the LF form of `wire` to `out` (room for wire.size() + 1 octets) and moves `out` behind it. Gives how many
  // octets of `wire` were used; fewer than all: an LF that cannot be converted comes in what is left, nothing of which
  // was written. A CR at the end of a chunk is held back: held() tells, and it belongs to neither.
  std::size_t feed(std::string_view wire, char*& out);
  [[nodiscard]] bool held() const { return held_; }

 private:
  bool held_ = false;      // a CR whose next octet has not come
  bool after_cr_ = false;  // the octet before the next one (before the held CR, if there is one) is a CR
};

// Counts the LFs with no CR before them, across chunks.
class BareLfCounter {
 public:
  void feed(std::string_view octets);
  [[nodiscard]] std::uint64_t count() const { return count_; }

 private:
  std::uint64_t count_ = 0;
  bool after_cr_ = false;
};

// Writes `lf` to `out` (room for twice its size) with a CR before every LF; gives the end of what was written.
char* lf_to_crlf(std::string_view lf, char* out);

}  // namespace mailhaul::store
