// Takes the doubled dots out of a message while it streams by, and finds its end (RFC 1939 §3). Keeps no octet of it.
#pragma once
#include <cstdint>
#include <string_view>

namespace mailhaul::pop3 {

class BodyReader {
 public:
  // `bare_lf`: the server ends its own lines with LF alone.
  void begin(bool bare_lf);
  // Takes octets off the front of `in` and gives the next stretch of the message; empty: more octets are needed, or
  // ended() is true. Not linear-time trickery: every octet is looked at once.
  std::string_view next(std::string_view& in);
  [[nodiscard]] bool ended() const { return state_ == State::Ended; }

 private:
  // Where we are within a line. A line ends with CRLF: what follows a bare LF was not escaped and is not unescaped.
  enum class State { Start, Dot, DotCr, Inside, Ended };
  std::string_view stretch(std::string_view& in);

  State state_ = State::Ended;
  bool bare_lf_ = false;
  char last_ = 0;
};

}  // namespace mailhaul::pop3
