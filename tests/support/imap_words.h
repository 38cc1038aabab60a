// What the IMAP models read of a command line.
#pragma once
#include <algorithm>
#include <string>
#include <string_view>

namespace mailhaul::test {

// One word, quoted string or parenthesised list, taken off the front.
inline std::string take_word(std::string_view& text) {
  text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  std::string out;
  if (text.starts_with('"')) {
    std::size_t i = 1;
    for (; i < text.size() && text[i] != '"'; ++i) {
      if (text[i] == '\\') ++i;
      out += text[i];
    }
    text.remove_prefix(std::min(i + 1, text.size()));
    return out;
  }
  std::size_t depth = 0, i = 0;
  for (; i < text.size() && (depth > 0 || text[i] != ' '); ++i) {
    if (text[i] == '(') ++depth;
    if (text[i] == ')') --depth;
  }
  out = std::string(text.substr(0, i));
  text.remove_prefix(i);
  return out;
}

}  // namespace mailhaul::test
