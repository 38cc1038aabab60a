#include "protocols/pop3/event.h"

#include <algorithm>

#include "protocols/base/text.h"

namespace mailhaul::pop3 {
namespace {

bool code_character(char c) { return c > 0x20 && c < 0x7F && c != '[' && c != ']'; }

// RFC 2449 §8: upper-case words, "/" between levels. A text in brackets with a blank, such as "[3 new]", is none.
bool looks_like_code(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), code_character) && !is_digit(text.front());
}

}  // namespace

std::string Status::line() const {
  std::string out = ok ? "+OK" : "-ERR";
  if (!code.empty()) out += " [" + code + "]";
  if (!text.empty()) out += " " + text;
  return printable(out);
}

bool parse_status(std::string_view line, Status& status) {
  status = {};
  if (equal_ignoring_case(line.substr(0, 3), "+OK")) {
    status.ok = true;
    line.remove_prefix(3);
  } else if (equal_ignoring_case(line.substr(0, 4), "-ERR")) {
    line.remove_prefix(4);
  } else {
    return false;
  }
  while (!line.empty() && line.front() == ' ') line.remove_prefix(1);
  if (line.starts_with('[')) {
    const auto end = line.find(']');
    if (end != std::string_view::npos && looks_like_code(line.substr(1, end - 1))) {
      status.code = to_upper(line.substr(1, end - 1));
      line.remove_prefix(end + 1);
      while (!line.empty() && line.front() == ' ') line.remove_prefix(1);
    }
  }
  status.text = line;
  return true;
}

}  // namespace mailhaul::pop3
