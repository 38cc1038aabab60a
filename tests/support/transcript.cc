#include "tests/support/transcript.h"

#include <charconv>
#include <stdexcept>
#include <utility>

#include "protocols/base/text.h"

namespace mailhaul::test {
namespace {

bool is_name_char(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

std::size_t number_in(std::string_view text, std::size_t line) {
  std::size_t n = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (code != std::errc() || end != text.data() + text.size())
    throw std::invalid_argument("transcript line " + std::to_string(line) + ": not a number: " + std::string(text));
  return n;
}

int hex_digit(char c) {
  const char low = ascii_lower(c);
  return low >= '0' && low <= '9' ? low - '0' : low >= 'a' && low <= 'f' ? low - 'a' + 10 : -1;
}

std::string unescape(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 1 == text.size()) {
      out += text[i];
      continue;
    }
    switch (text[++i]) {
      case 'r':
        out += '\r';
        break;
      case 'n':
        out += '\n';
        break;
      case 't':
        out += '\t';
        break;
      case '0':
        out += '\0';
        break;
      case 'x':
        if (i + 2 < text.size() + 0 && hex_digit(text[i + 1]) >= 0 && hex_digit(text[i + 2]) >= 0) {
          out += static_cast<char>(hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2]));
          i += 2;
          break;
        }
        throw std::invalid_argument("transcript: \\x needs two hexadecimal digits");
      default:
        out += text[i];
    }
  }
  return out;
}

// n of a "{n}" or "{n+}" at the end of a client's line (RFC 9051 §4.3, RFC 7888), or 0.
std::size_t announced(std::string_view line) {
  if (line.empty() || line.back() != '}') return 0;
  const auto brace = line.rfind('{');
  if (brace == std::string_view::npos) return 0;
  std::string_view digits = line.substr(brace + 1, line.size() - brace - 2);
  if (!digits.empty() && digits.back() == '+') digits.remove_suffix(1);
  std::size_t n = 0;
  const auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), n);
  return code == std::errc() && end == digits.data() + digits.size() ? n : 0;
}

}  // namespace

std::string pattern(std::size_t n) {
  std::string out;
  out.reserve(n);
  for (std::size_t line = 0; out.size() < n; ++line) {
    for (std::size_t i = 0; i < 78; ++i) out += static_cast<char>('a' + (line * 7 + i) % 26);
    out += "\r\n";
  }
  out.resize(n);
  return out;
}

Transcript::Transcript(std::string_view script) {
  static const std::map<std::string_view, Kind> kKinds{{"C:", Kind::Client},         {"C-set:", Kind::ClientSet},
                                                       {"C-any:", Kind::ClientAny},  {"S:", Kind::Server},
                                                       {"S-raw:", Kind::Server},     {"S-octets:", Kind::Server},
                                                       {"flush", Kind::Flush},       {"starttls", Kind::StartTls},
                                                       {"compress", Kind::Compress}, {"close", Kind::Close},
                                                       {"drop", Kind::Drop},         {"reset", Kind::Reset},
                                                       {"stall", Kind::Stall},       {"eof", Kind::Eof}};
  std::size_t number = 0;
  while (!script.empty()) {
    const auto end = script.find('\n');
    std::string_view line = script.substr(0, end);
    script.remove_prefix(end == std::string_view::npos ? script.size() : end + 1);
    ++number;
    line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
    if (line.empty() || line.front() == '#') continue;
    const auto space = line.find(' ');
    const std::string_view word = line.substr(0, space);
    const std::string_view rest = space == std::string_view::npos ? std::string_view{} : line.substr(space + 1);
    const auto kind = kKinds.find(word);
    if (kind == kKinds.end())
      throw std::invalid_argument("transcript line " + std::to_string(number) + ": unknown directive " +
                                  std::string(word));
    Step step{kind->second, std::string(rest), number};
    if (word == "S:") step.text += "\r\n";
    if (word == "S-raw:") step.text = unescape(rest);
    if (word == "S-octets:") step.text = pattern(number_in(rest, number));
    if (word == "C-any:") step.count = number_in(rest, number);
    // The octets of a pattern hold no variables, and a big one need not be searched for them.
    if (word == "S-octets:") step.taken = true;
    steps_.push_back(std::move(step));
  }
}

std::string Transcript::take_output() {
  flushing_ = false;
  return std::exchange(output_, {});
}

void Transcript::feed(std::string_view octets) { input_.append(octets); }

void Transcript::closed() { gone_ = true; }

bool Transcript::next_line(std::string& line) {
  if (input_.size() < literal_) return false;
  const auto end = input_.find("\r\n", literal_);
  if (end == std::string::npos) return false;
  line = input_.substr(0, end);
  literal_ = announced(std::string_view(input_).substr(literal_, end - literal_));
  input_.erase(0, end + 2);
  lines_.push_back(line);
  return true;
}

std::string Transcript::expand(std::string_view text, const Step& step) {
  std::string out;
  for (std::size_t i = 0; i < text.size();) {
    std::size_t end = i + 1;
    if (text[i] == '$')
      while (end < text.size() && is_name_char(text[end])) ++end;
    const auto bound = end > i + 1 ? bound_.find(text.substr(i, end - i)) : bound_.end();
    if (end > i + 1 && bound == bound_.end())
      throw std::invalid_argument("transcript line " + std::to_string(step.number) + ": unbound " +
                                  std::string(text.substr(i, end - i)));
    out.append(end > i + 1 ? std::string_view(bound->second) : text.substr(i, 1));
    i = end;
  }
  return out;
}

namespace {

// Matches from the left; `*` backtracks. Bindings made on the way are kept only when all fits.
struct Matcher {
  std::map<std::string, std::string, std::less<>> bound;

  bool run(std::string_view want, std::string_view got) {
    while (!want.empty()) {
      if (want.front() == '*') {
        while (!want.empty() && want.front() == '*') want.remove_prefix(1);
        if (want.empty()) return true;
        for (std::size_t skip = 0; skip <= got.size(); ++skip) {
          const auto before = bound;
          if (run(want, got.substr(skip))) return true;
          bound = before;
        }
        return false;
      }
      std::size_t end = 1;
      if (want.front() == '$')
        while (end < want.size() && is_name_char(want[end])) ++end;
      if (end > 1) {
        const std::string name(want.substr(0, end));
        const std::string_view word = got.substr(0, std::min(got.find(' '), got.size()));
        const auto [entry, fresh] = bound.emplace(name, word);
        if (!got.starts_with(entry->second) || entry->second.empty()) return false;
        got.remove_prefix(entry->second.size());
      } else {
        if (got.empty() || ascii_lower(got.front()) != ascii_lower(want.front())) return false;
        got.remove_prefix(1);
      }
      want.remove_prefix(end);
    }
    return got.empty();
  }
};

}  // namespace

bool Transcript::match(const Step& step, std::string_view line) {
  Matcher matcher{bound_};
  if (!matcher.run(step.text, line)) return false;
  bound_ = std::move(matcher.bound);
  return true;
}

bool Transcript::take_client(const std::string& line) {
  Step& step = steps_[at_];
  if (step.kind == Kind::ClientAny) {
    if (--step.count == 0) ++at_;
    return true;
  }
  if (step.kind == Kind::Client) {
    if (!match(step, line)) return false;
    ++at_;
    return true;
  }
  for (std::size_t i = at_; i < steps_.size() && steps_[i].kind == Kind::ClientSet; ++i) {
    if (steps_[i].taken || !match(steps_[i], line)) continue;
    steps_[i].taken = true;
    while (at_ < steps_.size() && steps_[at_].kind == Kind::ClientSet && steps_[at_].taken) ++at_;
    return true;
  }
  return false;
}

Transcript::Want Transcript::fail(const Step& step, std::string_view got) {
  failure_ = "line " + std::to_string(step.number) + ": expected \"" + printable(step.text) + "\", got " +
             (got.empty() ? std::string("nothing") : "\"" + printable(got) + "\"");
  return Want::Failed;
}

Transcript::Want Transcript::advance() {
  if (!failure_.empty()) return Want::Failed;
  while (at_ < steps_.size() && !flushing_) {
    Step& step = steps_[at_];
    switch (step.kind) {
      case Kind::Server:
        output_ += step.taken ? step.text : expand(step.text, step);
        ++at_;
        break;
      case Kind::Flush:
        ++at_;
        flushing_ = !output_.empty();
        break;
      case Kind::Client:
      case Kind::ClientSet:
      case Kind::ClientAny: {
        std::string line;
        if (step.kind == Kind::ClientAny && step.count == 0) {
          ++at_;
          break;
        }
        if (!output_.empty()) return Want::Output;
        if (!next_line(line)) return gone_ ? fail(step, input_) : Want::Input;
        if (!take_client(line)) return fail(step, line);
        break;
      }
      default: {
        if (!output_.empty() && step.kind != Kind::Compress) return Want::Output;
        if (step.kind == Kind::Eof || step.kind == Kind::Stall) {
          if (!gone_) return step.kind == Kind::Stall ? Want::Stall : Want::End;
          ++at_;
          break;
        }
        ++at_;
        switch (step.kind) {
          case Kind::StartTls:
            return Want::StartTls;
          case Kind::Compress:
            return Want::Compress;
          case Kind::Close:
            return Want::Close;
          case Kind::Drop:
            return Want::Drop;
          default:
            return Want::Reset;
        }
      }
    }
  }
  return output_.empty() ? Want::End : Want::Output;
}

}  // namespace mailhaul::test
