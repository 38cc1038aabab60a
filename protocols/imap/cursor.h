// Reads the tokens of RFC 9051 §9 off a Line, leniently, each octet once. A method that does not find its token leaves
// the cursor where it was, unless it says otherwise. Private to the room.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/imap/line.h"

namespace mailhaul::imap {

// RFC822.SIZE and its like: digits; also "9.3736e+06", which some servers print. Negative, overflowing: nullopt.
std::optional<std::uint64_t> number_of(std::string_view text);

class Cursor {
 public:
  // Reads [at, stop) of the line; `mark` is the first literal not before `at`. `work` counts the octets looked at.
  Cursor(const Line& line, std::size_t at, std::size_t stop, std::size_t mark, std::uint64_t& work)
      : line_(&line), at_(at), stop_(stop), mark_(mark), work_(&work) {}
  Cursor(const Line& line, std::size_t at, std::uint64_t& work) : Cursor(line, at, line.text.size(), 0, work) {}

  [[nodiscard]] std::size_t position() const { return at_; }
  [[nodiscard]] std::size_t mark() const { return mark_; }
  [[nodiscard]] bool at_end() const { return at_ == stop_; }
  [[nodiscard]] bool at(char c) const { return at_ < stop_ && line_->text[at_] == c; }
  [[nodiscard]] bool at_space() const { return at(' ') || at('\t'); }
  [[nodiscard]] bool at_literal() const { return mark_ < line_->marks.size() && line_->marks[mark_].begin == at_; }
  [[nodiscard]] std::string_view rest() const { return std::string_view(line_->text).substr(at_, stop_ - at_); }

  void spaces();  // any number of them, none too
  bool take(char c);
  bool take_nil();                                    // NIL as a whole token
  std::string_view until(std::string_view stops);     // up to one of these octets or the end; may be empty
  std::string_view atom() { return until(" \t()"); }  // may hold what RFC 9051 forbids; empty: none there
  std::optional<std::string> quoted();                // unescaped; nullopt: no closing quote, or not a quote
  std::optional<std::string> string();                // quoted or literal
  std::optional<std::string> astring();               // string or atom, which is not empty
  std::optional<std::uint64_t> number();              // an atom is consumed even if it is no number
  std::optional<std::uint64_t> digits();              // 1*DIGIT that ends where a token ends
  // "(a b c)" or NIL; words are atoms. nullopt: not in grammar, or (then `too_many`) more than `limit` words.
  std::optional<std::vector<std::string>> words(std::size_t limit, bool& too_many);
  bool skip_quoted();
  bool skip_literal();
  void advance(std::size_t octets);

 private:
  const Line* line_;
  std::size_t at_, stop_, mark_;
  std::uint64_t* work_;
};

}  // namespace mailhaul::imap
