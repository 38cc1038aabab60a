#include "collector/contacts/vcard.h"

#include <algorithm>

#include "protocols/base/text.h"

namespace mailhaul::contacts {
namespace {

constexpr std::size_t kHead = 64;

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t' || text.back() == '\r' || text.back() == '\n'))
    text.remove_suffix(1);
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  return text;
}

std::vector<std::string> unfolded_lines(std::string_view card) {  // RFC 6350 §3.2
  std::vector<std::string> out;
  for (std::size_t at = 0; at < card.size();) {
    const auto end = std::min(card.find('\n', at), card.size());
    auto line = card.substr(at, end - at);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!out.empty() && (line.starts_with(' ') || line.starts_with('\t')))
      out.back() += line.substr(1);
    else
      out.emplace_back(line);
    at = end + 1;
  }
  return out;
}

}  // namespace

void CardSplitter::feed(std::string_view octets) {
  for (std::size_t at = 0; at < octets.size();) {
    const auto end = octets.find('\n', at);
    const auto piece = octets.substr(at, end == octets.npos ? end : end + 1 - at);
    if (head_.size() < kHead) head_ += piece.substr(0, kHead - head_.size());
    at += piece.size();
    at_ += piece.size();
    if (end == octets.npos) continue;
    line(line_begin_, at_);
    line_begin_ = at_;
    head_.clear();
  }
}

void CardSplitter::line(std::uint64_t begin, std::uint64_t end) {
  std::string_view text = head_;
  if (begin == 0 && text.starts_with("\xEF\xBB\xBF")) {
    text.remove_prefix(3);
    begin += 3;
  }
  text = trimmed(text);
  if (equal_ignoring_case(text, "BEGIN:VCARD")) {
    if (depth_++ == 0) card_begin_ = begin;
  } else if (equal_ignoring_case(text, "END:VCARD") && depth_ > 0 && --depth_ == 0) {
    found_.push_back({card_begin_, end});
  }
}

std::vector<CardSplitter::Extent> CardSplitter::finish() {
  if (at_ > line_begin_) line(line_begin_, at_);
  if (depth_ > 0) found_.push_back({card_begin_, at_});
  depth_ = 0;
  return std::move(found_);
}

std::vector<std::string> values_of(std::string_view card, std::string_view property) {
  std::vector<std::string> out;
  for (const auto& line : unfolded_lines(card)) {
    const auto colon = line.find(':');
    if (colon == line.npos) continue;
    auto name = std::string_view(line).substr(0, std::min(colon, line.find(';')));
    if (const auto dot = name.rfind('.'); dot != name.npos) name.remove_prefix(dot + 1);
    if (equal_ignoring_case(name, property)) out.emplace_back(trimmed(std::string_view(line).substr(colon + 1)));
  }
  return out;
}

std::vector<std::string> marks_of(std::string_view card) {
  std::vector<std::string> out;
  for (auto& mail : values_of(card, "EMAIL")) {
    auto lower = to_lower(mail);
    if (lower.starts_with("mailto:")) lower.erase(0, 7);
    if (lower.find('@') != lower.npos) out.push_back(std::move(lower));
  }
  for (const auto& phone : values_of(card, "TEL")) {
    std::string digits;
    std::ranges::copy_if(phone, std::back_inserter(digits), is_digit);
    if (digits.size() >= 7) out.push_back("tel:" + digits.substr(digits.size() > 9 ? digits.size() - 9 : 0));
  }
  std::ranges::sort(out);
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

}  // namespace mailhaul::contacts
