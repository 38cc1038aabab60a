#include "protocols/imap/cursor.h"

#include <charconv>
#include <cmath>

#include "protocols/base/text.h"

namespace mailhaul::imap {

std::optional<std::uint64_t> number_of(std::string_view text) {
  std::uint64_t whole = 0;
  const char* const end = text.data() + text.size();
  if (text.empty() || !is_digit(text[0])) return std::nullopt;
  if (const auto [stop, failed] = std::from_chars(text.data(), end, whole); stop == end && failed == std::errc{})
    return whole;
  double real = 0;
  const auto [stop, failed] = std::from_chars(text.data(), end, real);
  if (stop != end || failed != std::errc{} || real > 9e15) return std::nullopt;  // beyond, a double has no unit digit
  return static_cast<std::uint64_t>(std::llround(real));
}

void Cursor::advance(std::size_t octets) {
  at_ += octets;
  *work_ += octets;
}

void Cursor::spaces() {
  while (at_space()) advance(1);
}

bool Cursor::take(char c) {
  if (!at(c)) return false;
  advance(1);
  return true;
}

bool Cursor::take_nil() {
  const std::string_view text = rest();
  if (!equal_ignoring_case(text.substr(0, 3), "NIL")) return false;
  if (text.size() > 3 && std::string_view(" \t()").find(text[3]) == std::string_view::npos) return false;
  advance(3);
  return true;
}

std::string_view Cursor::until(std::string_view stops) {
  const std::size_t begin = at_;
  std::size_t end = at_;
  while (end < stop_ && stops.find(line_->text[end]) == std::string_view::npos) ++end;
  advance(end - begin);
  return std::string_view(line_->text).substr(begin, end - begin);
}

std::optional<std::string> Cursor::quoted() {
  if (!at('"')) return std::nullopt;
  std::string value;
  std::size_t i = at_ + 1;
  for (; i < stop_ && line_->text[i] != '"'; ++i) {
    if (line_->text[i] == '\\' && i + 1 < stop_) ++i;
    value += line_->text[i];
  }
  *work_ += i - at_;
  if (i == stop_) return std::nullopt;
  at_ = i + 1;
  return value;
}

bool Cursor::skip_quoted() {
  if (!at('"')) return false;
  std::size_t i = at_ + 1;
  for (; i < stop_ && line_->text[i] != '"'; ++i)
    if (line_->text[i] == '\\' && i + 1 < stop_) ++i;
  *work_ += i - at_;
  if (i == stop_) return false;
  at_ = i + 1;
  return true;
}

bool Cursor::skip_literal() {
  if (!at_literal()) return false;
  advance(line_->marks[mark_].end - at_);
  ++mark_;
  return true;
}

std::optional<std::string> Cursor::string() {
  if (!at_literal()) return quoted();
  std::string value(line_->octets(line_->marks[mark_]));
  *work_ += value.size();
  skip_literal();
  return value;
}

std::optional<std::string> Cursor::astring() {
  if (at_literal() || at('"')) return string();
  const std::string_view text = atom();
  if (text.empty()) return std::nullopt;
  return std::string(text);
}

std::optional<std::uint64_t> Cursor::digits() {
  std::uint64_t value = 0;
  const char* const begin = line_->text.data() + at_;
  const auto [end, failed] = std::from_chars(begin, line_->text.data() + stop_, value);
  const auto length = static_cast<std::size_t>(end - begin);
  const std::string_view behind = rest().substr(length, 1);
  if (failed != std::errc{} || (!behind.empty() && std::string_view(" \t()").find(behind[0]) == std::string_view::npos))
    return std::nullopt;
  advance(length);
  return value;
}

std::optional<std::vector<std::string>> Cursor::words(std::size_t limit, bool& too_many) {
  std::vector<std::string> list;
  if (take_nil()) return list;
  if (!take('(')) return std::nullopt;
  for (spaces(); !take(')'); spaces()) {
    const std::string_view word = atom();
    too_many = list.size() == limit;
    if (word.empty() || too_many) return std::nullopt;
    list.emplace_back(word);
  }
  return list;
}

std::optional<std::uint64_t> Cursor::number() { return number_of(atom()); }

}  // namespace mailhaul::imap
