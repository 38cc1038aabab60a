#include "protocols/imap/reader.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "protocols/base/text.h"
#include "protocols/imap/broken.h"

namespace mailhaul::imap {
namespace {

Error too_big(std::string_view what, std::uint64_t octets, std::uint64_t limit) {
  const std::string announced = octets == UINT64_MAX ? "more than 2^64" : std::to_string(octets);
  return broken(std::string(what) + " of " + announced + " octets is over the limit of " + std::to_string(limit));
}

}  // namespace

void ResponseReader::new_line() {
  line_.clear();
  done_ = classified_ = is_fetch_ = in_quotes_ = false;
  quotes_seen_ = content_ = segment_ = 0;
  literal_.reset();
}

ResponseReader::Step ResponseReader::line_done(std::optional<Frame> frame) {
  phase_ = Phase::Line;
  done_ = true;
  return frame;
}

bool ResponseReader::starved() const {
  switch (phase_) {
    case Phase::Line:
    case Phase::Behind:
      return input_.empty();
    case Phase::Kept:
    case Phase::Body:
      return left_ > 0 && input_.empty();
    case Phase::Segment:
    case Phase::InlineChunk:
    case Phase::InlineEnd:
      break;
  }
  return false;
}

Result<std::optional<ResponseReader::Frame>> ResponseReader::next() {
  while (!starved()) {
    if (done_) new_line();
    Step result = step();
    if (!result || *result) return result;
  }
  return std::optional<Frame>();
}

ResponseReader::Step ResponseReader::step() {
  switch (phase_) {
    case Phase::Line:
      return more_line();
    case Phase::Segment:
      return fetch_segment();
    case Phase::InlineChunk:
      phase_ = Phase::InlineEnd;
      if (!fetch_.inline_body().empty()) return std::optional<Frame>(BodyChunk{fetch_.inline_body()});
      break;
    case Phase::InlineEnd:
      phase_ = Phase::Segment;
      return std::optional<Frame>(BodyEnd{});
    case Phase::Kept:
      more_kept();
      break;
    case Phase::Body:
      return more_body();
    case Phase::Behind:
      return behind_body();
  }
  return std::optional<Frame>();
}

ResponseReader::Step ResponseReader::more_line() {
  if (line_.text.empty()) {
    // Blank lines, NULs before a response, blanks to keep a connection alive: seen in the field, worth nothing.
    const std::size_t noise = std::min(input_.find_first_not_of(std::string_view("\0 \t\r\n", 5)), input_.size());
    *work_ += noise;
    input_.remove_prefix(noise);
    if (input_.empty()) return std::optional<Frame>();
  }
  const void* const found = std::memchr(input_.data(), '\n', input_.size());
  const std::size_t length =
      found == nullptr ? input_.size() : static_cast<std::size_t>(static_cast<const char*>(found) - input_.data());
  if (Done room = room_for(length); !room) return room.error();
  *work_ += length;
  line_.text.append(input_.substr(0, length));
  input_.remove_prefix(found == nullptr ? length : length + 1);
  if (found == nullptr) return std::optional<Frame>();
  if (line_.text.size() > segment_ && line_.text.back() == '\r') line_.text.pop_back();
  return end_of_segment();
}

Done ResponseReader::room_for(std::uint64_t octets) const {
  const std::uint64_t used = line_.text.size() + line_.literals.size();
  if (octets <= limits_->line && used <= limits_->line - octets) return done();
  return broken("a response is longer, without its message bodies, than the limit of " + std::to_string(limits_->line) +
                " octets");
}

ResponseReader::Step ResponseReader::end_of_segment() {
  if (!classified_) classify();
  if (kind_ != Kind::Data) return line_done(LineRead{});  // human text may end in anything, RFC 9051 §7.1
  const auto literal = announced();
  if (is_fetch_) {
    literal_ = literal;
    phase_ = Phase::Segment;
    return std::optional<Frame>();
  }
  if (literal && !inside_quotes(literal->begin)) return start_kept(*literal);
  return line_done(LineRead{});
}

ResponseReader::Step ResponseReader::fetch_segment() {
  const std::size_t stop = literal_ ? literal_->begin : line_.text.size();
  switch (fetch_.advance(line_, stop, literal_.has_value())) {
    case FetchParser::Step::Done:
      return line_done(Frame(fetch_.take()));
    case FetchParser::Step::InlineBody:
      phase_ = Phase::InlineChunk;
      return std::optional<Frame>(BodyBegin{fetch_.uid(), fetch_.inline_body().size(), &fetch_.so_far()});
    case FetchParser::Step::BodyLiteral:
      return start_body(*literal_);
    case FetchParser::Step::PlainLiteral:
      return start_kept(*literal_);
    case FetchParser::Step::Malformed:
      // Without a literal the line is lost and nothing else. With one, nobody can say where the next response begins.
      if (literal_ || fetch_.delivered()) return broken("a FETCH response with a literal is not in grammar");
      return line_done(std::nullopt);
    case FetchParser::Step::TooDeep:
      return too_deep(limits_->nesting);
    case FetchParser::Step::TooMany:
      break;
  }
  return too_many("words", limits_->words);
}

ResponseReader::Step ResponseReader::start_kept(const Announcement& literal) {
  if (literal.octets > limits_->buffered_literal)
    return too_big("a literal", literal.octets, limits_->buffered_literal);
  if (Done room = room_for(literal.octets); !room) return room.error();
  const std::size_t begin = line_.literals.size();
  line_.marks.push_back({literal.begin, line_.text.size(), begin, begin + static_cast<std::size_t>(literal.octets)});
  segment_ = line_.text.size();
  left_ = literal.octets;
  phase_ = Phase::Kept;
  return std::optional<Frame>();
}

void ResponseReader::more_kept() {
  const std::size_t part = static_cast<std::size_t>(std::min<std::uint64_t>(left_, input_.size()));
  line_.literals.append(input_.substr(0, part));
  input_.remove_prefix(part);
  *work_ += part;
  left_ -= part;
  if (left_ == 0) phase_ = Phase::Line;
}

ResponseReader::Step ResponseReader::start_body(const Announcement& literal) {
  if (literal.octets > limits_->body) return too_big("a message body", literal.octets, limits_->body);
  fetch_.body_streamed(line_);
  segment_ = line_.text.size();
  left_ = literal.octets;
  phase_ = Phase::Body;
  return std::optional<Frame>(BodyBegin{fetch_.uid(), literal.octets, &fetch_.so_far()});
}

ResponseReader::Step ResponseReader::more_body() {
  if (left_ == 0) {
    phase_ = Phase::Behind;
    behind_ = Behind::Nothing;
    return std::optional<Frame>();
  }
  const std::size_t part = static_cast<std::size_t>(std::min<std::uint64_t>(left_, input_.size()));
  const std::string_view octets = input_.substr(0, part);
  input_.remove_prefix(part);
  left_ -= part;
  return std::optional<Frame>(BodyChunk{octets});
}

ResponseReader::Step ResponseReader::behind_body() {
  const char c = input_[0];
  ++*work_;
  if (c == ' ' || c == ')') {  // RFC 9051 §9, msg-att: the next item or the end of the items
    phase_ = Phase::Line;
    return std::optional<Frame>(BodyEnd{});
  }
  // Domino counts a literal without its last line end.
  if (c == '\r' && behind_ == Behind::Nothing)
    behind_ = Behind::Cr;
  else if (c == '\n' && behind_ != Behind::LineEnd)
    behind_ = Behind::LineEnd;
  else
    return broken("a message body is shorter or longer than announced");
  input_.remove_prefix(1);
  return std::optional<Frame>();
}

void ResponseReader::classify() {
  classified_ = true;
  const std::string_view text = line_.text;
  const auto behind = [&](std::size_t at) { return std::min(text.find_first_not_of(" \t", at), text.size()); };
  if (text[0] != '*' && text[0] != '+') {
    kind_ = Kind::Tagged;
    content_ = 0;
    return;
  }
  kind_ = text[0] == '+' ? Kind::Continuation : Kind::Data;
  content_ = behind(1);
  if (kind_ == Kind::Continuation) return;
  const std::string_view word = text.substr(content_, text.find_first_of(" \t[", content_) - content_);
  static constexpr std::array<std::string_view, 5> kConditions{"OK", "NO", "BAD", "BYE", "PREAUTH"};
  for (const auto condition : kConditions)
    if (equal_ignoring_case(word, condition)) kind_ = Kind::Status;
  if (kind_ == Kind::Data) is_fetch_ = begin_fetch();
}

bool ResponseReader::begin_fetch() {
  Cursor c(line_, content_, *work_);
  if (c.at_end() || !is_digit(line_.text[content_])) return false;
  const auto number = number_of(c.atom());
  c.spaces();
  const std::string_view name = c.atom();
  const bool by_uid = equal_ignoring_case(name, "UIDFETCH");  // RFC 9586 §3.3
  if (!by_uid && !equal_ignoring_case(name, "FETCH")) return false;
  const auto value = static_cast<std::uint32_t>(number && *number <= UINT32_MAX ? *number : 0);
  if (by_uid)
    fetch_.begin(c.position(), {}, value == 0 ? std::nullopt : std::optional(mail::Uid{value}));
  else
    fetch_.begin(c.position(), mail::SequenceNumber{value}, std::nullopt);
  return true;
}

// The literal (RFC 9051 §4.3) that the segment's end announces, if any: {n}, {n+}, ~{n}.
std::optional<ResponseReader::Announcement> ResponseReader::announced() const {
  const std::string_view text = std::string_view(line_.text).substr(segment_);
  if (text.size() < 3 || text.back() != '}') return std::nullopt;
  std::size_t end = text.size() - 1;
  if (text[end - 1] == '+' || text[end - 1] == '-') --end;
  std::size_t begin = end;
  while (begin > 0 && is_digit(text[begin - 1])) --begin;
  if (begin == end || begin == 0 || text[begin - 1] != '{') return std::nullopt;
  std::uint64_t octets = 0;
  for (const char digit : text.substr(begin, end - begin)) {
    const auto value = static_cast<std::uint64_t>(digit - '0');
    octets = octets > (UINT64_MAX - value) / 10 ? UINT64_MAX : octets * 10 + value;
  }
  --begin;
  if (begin > 0 && text[begin - 1] == '~') --begin;
  // A literal is a token of its own; some servers forget the blank behind "BODY[]".
  if (begin > 0 && std::string_view(" \t(]>").find(text[begin - 1]) == std::string_view::npos) return std::nullopt;
  return Announcement{segment_ + begin, octets};
}

bool ResponseReader::inside_quotes(std::size_t end) {
  const std::string_view text = line_.text;
  *work_ += end - quotes_seen_;
  for (; quotes_seen_ < end; ++quotes_seen_) {
    const char c = text[quotes_seen_];
    if (c == '"') in_quotes_ = !in_quotes_;
    if (!in_quotes_ || c != '\\') continue;
    // A hierarchy delimiter that should have been escaped: "\" and a blank.
    if (quotes_seen_ > 0 && text[quotes_seen_ - 1] == '"' && text.substr(quotes_seen_ + 1, 2) == "\" ") continue;
    ++quotes_seen_;
  }
  return in_quotes_;
}

}  // namespace mailhaul::imap
