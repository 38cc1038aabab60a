#include "protocols/imap/plea.h"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

#include "protocols/base/text.h"

namespace mailhaul::imap {
namespace {

constexpr std::int64_t kLongest = 24 * 3600;  // lock-outs are told to last a day; a longer number is a mistake

struct Row {
  std::string_view words;
  Plea plea;
};

// Response codes: RFC 5530 §3, RFC 9051 §7.1, and those that large providers use beside them.
constexpr std::array<Row, 6> kCodes{{{"THROTTLED", Plea::Patience},
                                     {"LIMIT", Plea::Patience},
                                     {"OVERQUOTA", Plea::Patience},  // Gmail on FETCH: bandwidth, not room
                                     {"UNAVAILABLE", Plea::Trouble},
                                     {"SERVERBUG", Plea::Trouble},
                                     {"INUSE", Plea::Trouble}}};

// Texts, lower case; the first that fits counts.
constexpr std::array<Row, 24> kTexts{{{"too many connections", Plea::Fewer},
                                      {"too many simultaneous", Plea::Fewer},
                                      {"too many concurrent", Plea::Fewer},
                                      {"too many sessions", Plea::Fewer},
                                      {"maximum number of connections", Plea::Fewer},
                                      {"connection limit", Plea::Fewer},
                                      {"connections from", Plea::Fewer},
                                      {"suggested backoff time", Plea::Patience},
                                      {"is throttled", Plea::Patience},
                                      {"been throttled", Plea::Patience},
                                      {"[throttled]", Plea::Patience},
                                      {"throttling", Plea::Patience},
                                      {"rate limit", Plea::Patience},
                                      {"command or bandwidth limit", Plea::Patience},
                                      {"too many requests", Plea::Patience},
                                      {"too many login", Plea::Patience},
                                      {"too many failed", Plea::Patience},
                                      {"authenticated but not connected", Plea::Patience},
                                      {"try again", Plea::Trouble},
                                      {"temporar", Plea::Trouble},
                                      {"unavailable", Plea::Trouble},
                                      {"server busy", Plea::Trouble},
                                      {"timed out", Plea::Trouble},
                                      {"system error", Plea::Trouble}}};

// The number that stands at `text`, with its unit, in seconds, rounded up; 0: there is none.
std::int64_t duration(std::string_view text) {
  const auto blank = [](char c) { return c == ' ' || c == ':' || c == '='; };
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  std::int64_t number = 0;
  bool any = false;
  for (; !text.empty() && is_digit(text.front()); text.remove_prefix(1), any = true)
    number = std::min(number * 10 + (text.front() - '0'), kLongest * 1000);
  if (!any) return 0;
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  if (text.starts_with("ms") || text.starts_with("milli")) number = (number + 999) / 1000;
  if (text.starts_with("min")) number *= 60;
  if (text.starts_with("hour")) number *= 3600;
  return std::clamp<std::int64_t>(number, 1, kLongest);
}

std::int64_t named_wait(std::string_view text) {
  static constexpr std::array<std::string_view, 6> kBefore{
      "suggested backoff time", "try again in", "try again after", "retry after", "retry in", "please wait"};
  for (const auto words : kBefore)
    if (const auto at = text.find(words); at != std::string_view::npos)
      if (const auto seconds = duration(text.substr(at + words.size())); seconds > 0) return seconds;
  return 0;
}

Plea kind_of(const StatusText& status, std::string_view text) {
  if (status.condition == Condition::PreAuth) return Plea::None;
  if (status.condition == Condition::Ok)
    return status.code == "THROTTLED" || text.find("[throttled]") != std::string_view::npos ? Plea::Slower : Plea::None;
  const auto in_text = std::ranges::find_if(kTexts, [&](const Row& row) { return text.find(row.words) != text.npos; });
  const auto by_code = std::ranges::find(kCodes, std::string_view(status.code), &Row::words);
  if (by_code != kCodes.end()) {  // "[UNAVAILABLE] Maximum number of connections" is more than the code says
    const bool more = by_code->plea == Plea::Trouble && in_text != kTexts.end();
    return more || (in_text != kTexts.end() && in_text->plea == Plea::Fewer) ? in_text->plea : by_code->plea;
  }
  // A code that says something else: the text may quote a mailbox called "Throttling".
  if (!status.code.empty() && status.code != "ALERT") return Plea::None;
  return in_text == kTexts.end() ? Plea::None : in_text->plea;
}

}  // namespace

Asked plea_of(const StatusText& status) {
  const auto text = to_lower(status.text);
  Asked asked{kind_of(status, text), 0};
  if (const auto named = named_wait(text); named > 0 && asked.plea == Plea::Trouble) asked.plea = Plea::Patience;
  if (asked.to_wait()) {
    asked.wait = named_wait(text);
    if (asked.wait == 0) asked.wait = kUsualWait;
  }
  return asked;
}

bool unsupported(const StatusText& status) {
  return (status.condition == Condition::No || status.condition == Condition::Bad) &&
         plea_of(status).plea == Plea::None;
}

}  // namespace mailhaul::imap
