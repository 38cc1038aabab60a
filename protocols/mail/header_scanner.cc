#include <cstring>

#include "protocols/base/text.h"
#include "protocols/mail/digest.h"

namespace mailhaul::mail {
namespace {

enum Field : std::size_t { kMessageId, kDate, kFrom, kTo, kCc, kSubject, kOldestReceived, kNewestReceived };

constexpr std::array<std::string_view, 7> kNames{"message-id", "date", "from", "to", "cc", "subject", "received"};

// RFC 5322 §2.1.1: no line, so no Message-ID either, is longer.
constexpr std::size_t kLongestMessageId = 998;

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

// Appends `value` unfolded and trimmed, each run of white space as one blank (RFC 5322 §2.2.3, and servers refold).
void append_unfolded(std::string& out, std::string_view value) {
  bool first = true;
  for (std::size_t i = 0; i < value.size();) {
    while (i < value.size() && is_space(value[i])) ++i;
    const std::size_t begin = i;
    while (i < value.size() && !is_space(value[i])) ++i;
    if (i == begin) break;
    if (!first) out += ' ';
    out.append(value.substr(begin, i - begin));
    first = false;
  }
}

std::string message_id(std::string_view value) {
  const std::size_t open = value.find('<');
  const std::size_t close = value.find('>', open == std::string_view::npos ? 0 : open);
  if (open != std::string_view::npos && close != std::string_view::npos) value = value.substr(open, close - open + 1);
  std::string text;
  append_unfolded(text, value);
  if (text.size() > kLongestMessageId) text.clear();
  return text;
}

}  // namespace

void HeaderScanner::reset() {
  header_.clear();
  ended_ = false;
  line_ = scanned_ = 0;
  fields_ = {};
  current_ = kFields;
}

void HeaderScanner::update(std::string_view octets) {
  if (ended_) return;
  header_.append(octets.substr(0, kLimit - header_.size()));
  while (!ended_ && scanned_ < header_.size()) {
    const void* found = std::memchr(header_.data() + scanned_, '\n', header_.size() - scanned_);
    if (found == nullptr) {
      scanned_ = header_.size();
      break;
    }
    const auto end = static_cast<std::size_t>(static_cast<const char*>(found) - header_.data());
    scanned_ = end + 1;
    end_line(end > line_ && header_[end - 1] == '\r' ? end - 1 : end);
    line_ = end + 1;
  }
  if (header_.size() == kLimit) ended_ = true;
}

void HeaderScanner::end_line(std::size_t end) {
  if (end == line_) {  // the empty line, RFC 5322 §2.1
    ended_ = true;
    return;
  }
  if (header_[line_] != ' ' && header_[line_] != '\t') {
    begin_field(end);
    return;
  }
  if (current_ == kFields) return;
  fields_[current_].end = end;
  auto& newest = fields_[kNewestReceived];
  if (current_ == kOldestReceived && newest.begin == fields_[current_].begin) newest.end = end;
}

void HeaderScanner::begin_field(std::size_t end) {
  current_ = kFields;
  const std::string_view line(header_.data() + line_, end - line_);
  const char initial = ascii_lower(line[0]);
  for (std::size_t f = 0; f < kNames.size(); ++f) {
    if (initial != kNames[f][0] || !equal_ignoring_case(line.substr(0, kNames[f].size()), kNames[f])) continue;
    std::size_t colon = kNames[f].size();
    while (colon < line.size() && (line[colon] == ' ' || line[colon] == '\t')) ++colon;  // RFC 5322 §4.5
    if (colon == line.size() || line[colon] != ':') continue;
    const Span value{line_ + colon + 1, end};
    if (f == kOldestReceived) {
      if (fields_[kNewestReceived].end == 0) fields_[kNewestReceived] = value;
    } else if (fields_[f].end != 0) {
      return;  // the first one counts
    }
    fields_[f] = value;
    current_ = f;
    return;
  }
}

void HeaderScanner::append_canonical(std::string_view name, const Span& value) {
  if (value.end == 0) return;
  canonical_.append(name).append(":");
  append_unfolded(canonical_, std::string_view(header_).substr(value.begin, value.end - value.begin));
  canonical_ += '\n';
}

Evidence HeaderScanner::finish() {
  // A message that ends within its header: its last line counts too (when nothing was cut off).
  if (!ended_ && line_ < header_.size()) end_line(header_.size());
  ended_ = true;

  const auto text = [this](Field f) {
    return std::string_view(header_).substr(fields_[f].begin, fields_[f].end - fields_[f].begin);
  };
  Evidence evidence;
  if (fields_[kMessageId].end != 0) evidence.message_id = message_id(text(kMessageId));
  if (fields_[kDate].end != 0) evidence.date = parse_rfc5322_date(text(kDate));
  if (fields_[kNewestReceived].end != 0) {
    const std::string_view received = text(kNewestReceived);
    if (const std::size_t semicolon = received.rfind(';'); semicolon != std::string_view::npos)
      evidence.received_date = parse_rfc5322_date(received.substr(semicolon + 1));  // RFC 5322 §3.6.7
  }
  canonical_.clear();
  for (std::size_t f = 0; f < kNames.size(); ++f) append_canonical(kNames[f], fields_[f]);
  const Sha256Digest digest = Sha256::of(canonical_);
  std::memcpy(evidence.header_digest.data(), digest.data(), evidence.header_digest.size());
  return evidence;
}

}  // namespace mailhaul::mail
