// vCards (RFC 6350, 2426) as far as they must be told apart and compared. Nothing is changed. Pure.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace mailhaul::contacts {

// Finds the cards in a stream: from the line BEGIN:VCARD to END:VCARD, both with their line ends; cards within cards
// (AGENT of vCard 2.1) belong to the outer one. What stands between cards is nobody's. A BEGIN within a card of which
// no END comes belongs to it. Octets in any pieces.
class CardSplitter {
 public:
  // Offsets from the start of the stream.
  struct Extent {
    std::uint64_t begin = 0, end = 0;
  };
  void feed(std::string_view octets);
  std::vector<Extent> finish();  // what has no END reaches to the end of the stream

 private:
  void line(std::uint64_t begin, std::uint64_t end);
  std::vector<Extent> found_;
  std::string head_;  // of the line at hand: as much as tells it apart
  std::uint64_t at_ = 0, line_begin_ = 0, card_begin_ = 0;
  int depth_ = 0;
};

// The values of a property, unfolded, of any group ("item1.EMAIL" is EMAIL), as they are written. Lines that are no
// properties are passed over.
std::vector<std::string> values_of(std::string_view card, std::string_view property);

// What two cards of one person have in common: e-mail addresses in lower case, phone numbers as digits (9 of the last
// ones, so that a country code does not count).
std::vector<std::string> marks_of(std::string_view card);

}  // namespace mailhaul::contacts
