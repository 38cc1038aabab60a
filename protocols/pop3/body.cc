#include "protocols/pop3/body.h"

namespace mailhaul::pop3 {

void BodyReader::begin(bool bare_lf) {
  state_ = State::Start;
  bare_lf_ = bare_lf;
  last_ = 0;
}

// Whole lines in one piece, up to one that begins with a dot.
std::string_view BodyReader::stretch(std::string_view& in) {
  std::size_t at = 0;
  for (;;) {
    const auto lf = in.find('\n', at);
    if (lf == std::string_view::npos) {
      at = in.size();
      break;
    }
    const char before = lf > 0 ? in[lf - 1] : last_;
    at = lf + 1;
    if (!bare_lf_ && before != '\r') continue;
    if (at < in.size() && in[at] != '.') continue;
    state_ = State::Start;
    break;
  }
  const auto out = in.substr(0, at);
  last_ = out.back();
  in.remove_prefix(at);
  return out;
}

std::string_view BodyReader::next(std::string_view& in) {
  while (!in.empty()) switch (state_) {
      case State::Start:
        state_ = in.front() == '.' ? State::Dot : State::Inside;
        if (state_ == State::Dot) in.remove_prefix(1);
        break;
      case State::Dot: {
        const char c = in.front();
        if (c == '\n') {  // who doubles dots never sends this within a message, whatever ends the line
          in.remove_prefix(1);
          state_ = State::Ended;
          return {};
        }
        if (c == '\r') {
          in.remove_prefix(1);
          state_ = State::DotCr;
          break;
        }
        state_ = State::Inside;
        if (c == '.') break;
        last_ = '.';
        return ".";  // the server does not double dots: it is the message's own
      }
      case State::DotCr:
        if (in.front() == '\n') {
          in.remove_prefix(1);
          state_ = State::Ended;
          return {};
        }
        state_ = State::Inside;
        last_ = '\r';
        return ".\r";
      case State::Inside:
        return stretch(in);
      case State::Ended:
        return {};
    }
  return {};
}

}  // namespace mailhaul::pop3
