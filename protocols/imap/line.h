// One logical line of a response: its text, and beside it the literals that are not message bodies. Private to the
// room.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace mailhaul::imap {

struct Line {
  struct Mark {
    std::size_t begin, end;                // of the announcement "{n}" in `text`; what looks like one elsewhere is text
    std::size_t octets_begin, octets_end;  // in `literals`
  };
  std::string text;      // without line ends
  std::string literals;  // one after the other
  std::vector<Mark> marks;

  [[nodiscard]] std::string_view octets(const Mark& mark) const {
    return std::string_view(literals).substr(mark.octets_begin, mark.octets_end - mark.octets_begin);
  }
  void clear() {
    constexpr std::size_t kKept = 64 * 1024;  // one long SEARCH is no reason to hold its memory for ever
    if (text.capacity() + literals.capacity() + marks.capacity() * sizeof(Mark) > kKept) {
      std::string().swap(text);
      std::string().swap(literals);
      std::vector<Mark>().swap(marks);
    }
    text.clear();
    literals.clear();
    marks.clear();
  }
};

}  // namespace mailhaul::imap
