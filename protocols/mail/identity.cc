#include "protocols/mail/identity.h"

#include <algorithm>
#include <charconv>

namespace mailhaul::mail {
namespace {

std::size_t digits(std::uint32_t n) {
  std::size_t count = 1;
  for (; n >= 10; n /= 10) ++count;
  return count;
}

std::size_t wire_length(const UidRange& r) {
  return r.first == r.last ? digits(r.first) : digits(r.first) + 1 + digits(r.last);
}

// Appends a range that does not begin before the last one; touching ranges become one.
void append(std::vector<UidRange>& ranges, UidRange r) {
  if (!ranges.empty() && std::uint64_t{ranges.back().last} + 1 >= r.first)
    ranges.back().last = std::max(ranges.back().last, r.last);
  else
    ranges.push_back(r);
}

bool clip(UidRange& r) {  // 0 is no UID (RFC 9051 §2.3.1.1)
  r.first = std::max<std::uint32_t>(r.first, 1);
  return r.first <= r.last;
}

bool number(std::string_view text, std::size_t& at, std::uint32_t& value) {
  const auto [end, failed] = std::from_chars(text.data() + at, text.data() + text.size(), value);
  if (failed != std::errc{} || value == 0) return false;
  at = static_cast<std::size_t>(end - text.data());
  return true;
}

}  // namespace

UidSet::UidSet(std::vector<UidRange> ranges) {
  const auto by_first = [](const UidRange& a, const UidRange& b) { return a.first < b.first; };
  if (!std::is_sorted(ranges.begin(), ranges.end(), by_first)) std::sort(ranges.begin(), ranges.end(), by_first);
  std::size_t kept = 0;
  for (UidRange r : ranges) {
    if (!clip(r)) continue;
    if (kept > 0 && std::uint64_t{ranges[kept - 1].last} + 1 >= r.first)
      ranges[kept - 1].last = std::max(ranges[kept - 1].last, r.last);
    else
      ranges[kept++] = r;
  }
  ranges.resize(kept);
  ranges_ = std::move(ranges);
}

void UidSet::drop_taken() {
  ranges_.erase(ranges_.begin(), ranges_.begin() + static_cast<std::ptrdiff_t>(taken_));
  taken_ = 0;
}

void UidSet::add(UidRange range) {
  if (!clip(range)) return;
  if (empty() || range.first >= ranges_.back().first) {
    if (empty()) drop_taken();
    append(ranges_, range);
    return;
  }
  drop_taken();
  // The first range that touches or follows the new one; all that touch it melt into it.
  const auto from = std::lower_bound(ranges_.begin(), ranges_.end(), range.first,
                                     [](const UidRange& r, std::uint32_t v) { return std::uint64_t{r.last} + 1 < v; });
  auto to = from;
  for (; to != ranges_.end() && to->first <= std::uint64_t{range.last} + 1; ++to) {
    range.first = std::min(range.first, to->first);
    range.last = std::max(range.last, to->last);
  }
  if (from == to) {
    ranges_.insert(from, range);
  } else {
    *from = range;
    ranges_.erase(from + 1, to);
  }
}

bool UidSet::contains(Uid uid) const {
  const auto all = ranges();
  const auto r = std::lower_bound(all.begin(), all.end(), uid.value,
                                  [](const UidRange& range, std::uint32_t v) { return range.last < v; });
  return r != all.end() && r->first <= uid.value;
}

std::uint64_t UidSet::size() const {
  std::uint64_t sum = 0;
  for (const auto& r : ranges()) sum += std::uint64_t{r.last} - r.first + 1;
  return sum;
}

std::optional<Uid> UidSet::highest() const {
  if (empty()) return std::nullopt;
  return Uid{ranges_.back().last};
}

UidSet UidSet::minus(const UidSet& other) const {
  UidSet result;
  const auto cuts = other.ranges();
  auto cut = cuts.begin();
  for (const auto& r : ranges()) {
    std::uint64_t first = r.first;
    while (cut != cuts.end() && cut->last < first) ++cut;
    for (auto c = cut; c != cuts.end() && c->first <= r.last; cut = c++) {
      if (c->first > first) result.ranges_.push_back({static_cast<std::uint32_t>(first), c->first - 1});
      first = std::uint64_t{c->last} + 1;
    }
    if (first <= r.last) result.ranges_.push_back({static_cast<std::uint32_t>(first), r.last});
  }
  return result;
}

UidSet UidSet::intersect(const UidSet& other) const {
  UidSet result;
  const auto left = ranges(), right = other.ranges();
  for (auto a = left.begin(), b = right.begin(); a != left.end() && b != right.end();) {
    const UidRange both{std::max(a->first, b->first), std::min(a->last, b->last)};
    if (both.first <= both.last) result.ranges_.push_back(both);
    if (a->last < b->last)
      ++a;
    else
      ++b;
  }
  return result;
}

void UidSet::merge(const UidSet& other) {
  if (other.empty()) return;
  if (empty() || other.ranges().front().first >= ranges_.back().first) {
    for (const auto& r : other.ranges()) add(r);
    return;
  }
  std::vector<UidRange> result;
  result.reserve(ranges().size() + other.ranges().size());
  const auto left = ranges(), right = other.ranges();
  auto a = left.begin(), b = right.begin();
  while (a != left.end() || b != right.end())
    append(result, b == right.end() || (a != left.end() && a->first <= b->first) ? *a++ : *b++);
  ranges_ = std::move(result);
  taken_ = 0;
}

UidSet UidSet::take_front(std::size_t messages, std::size_t octets) {
  UidSet front;
  std::size_t used = 0;
  while (!empty() && messages > 0) {
    UidRange& r = ranges_[taken_];
    const std::uint64_t count = std::min<std::uint64_t>(messages, std::uint64_t{r.last} - r.first + 1);
    UidRange part{r.first, static_cast<std::uint32_t>(r.first + count - 1)};
    const std::size_t comma = front.empty() ? 0 : 1;
    if (used + comma + wire_length(part) > octets) part.last = part.first;
    if (used + comma + wire_length(part) > octets && !front.empty()) break;
    used += comma + wire_length(part);
    messages -= part.last - part.first + std::size_t{1};
    front.ranges_.push_back(part);
    if (part.last == r.last)
      ++taken_;
    else
      r.first = part.last + 1;
    if (used >= octets) break;
  }
  if (taken_ * 2 >= ranges_.size()) drop_taken();
  return front;
}

UidSet UidSet::take_back(std::size_t messages) {
  UidSet back;
  while (!empty() && messages > 0) {
    UidRange& r = ranges_.back();
    const std::uint64_t count = std::min<std::uint64_t>(messages, std::uint64_t{r.last} - r.first + 1);
    const UidRange part{static_cast<std::uint32_t>(r.last - count + 1), r.last};
    back.ranges_.push_back(part);
    messages -= count;
    if (part.first == r.first)
      ranges_.pop_back();
    else
      r.last = part.first - 1;
  }
  std::ranges::reverse(back.ranges_);
  return back;
}

std::string UidSet::wire() const {
  std::string text;
  for (const auto& r : ranges()) {
    if (!text.empty()) text += ',';
    text += std::to_string(r.first);
    if (r.last != r.first) text.append(":").append(std::to_string(r.last));
  }
  return text;
}

std::optional<UidSet> UidSet::parse(std::string_view text, std::size_t max_ranges) {
  std::vector<UidRange> ranges;
  for (std::size_t at = 0;; ++at) {
    UidRange r;
    if (!number(text, at, r.first)) return std::nullopt;
    r.last = r.first;
    if (at < text.size() && text[at] == ':' && !number(text, ++at, r.last)) return std::nullopt;
    if (r.first > r.last) std::swap(r.first, r.last);  // RFC 9051 §9: the order of a seq-range does not matter
    if (!ranges.empty() && r.first >= ranges.back().first)
      append(ranges, r);
    else
      ranges.push_back(r);
    if (ranges.size() > max_ranges) return std::nullopt;
    if (at == text.size()) return UidSet(std::move(ranges));
    if (text[at] != ',') return std::nullopt;
  }
}

bool UidSet::operator==(const UidSet& other) const {
  const auto a = ranges(), b = other.ranges();
  return std::equal(a.begin(), a.end(), b.begin(), b.end());
}

}  // namespace mailhaul::mail
