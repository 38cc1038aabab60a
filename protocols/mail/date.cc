#include <array>
#include <chrono>
#include <span>

#include "protocols/base/text.h"
#include "protocols/mail/digest.h"

namespace mailhaul::mail {
namespace {

constexpr std::size_t kMostTokens = 10;
constexpr std::size_t kLongestDate = 200;  // what is longer is no date, and need not be looked at

struct Parts {
  std::optional<unsigned> month;
  std::optional<std::int64_t> time_of_day;
  std::int64_t zone = 0;  // seconds east of Greenwich
  std::array<std::string_view, 3> numbers{};
  std::size_t number_count = 0;
};

bool is_alpha(char c) { return ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z'; }
bool all_digits(std::string_view text) {
  for (const char c : text)
    if (!is_digit(c)) return false;
  return !text.empty();
}
// Up to nine digits; the caller has checked that they are digits.
unsigned to_number(std::string_view digits) {
  unsigned value = 0;
  for (const char c : digits) value = value * 10 + static_cast<unsigned>(c - '0');
  return value;
}

// Splits at blanks, commas and the hyphens of "17-Jul-1996"; RFC 5322 comments vanish. 0 tokens: too many to be a date.
std::size_t tokenize(std::string_view text, std::array<std::string_view, kMostTokens>& tokens) {
  std::size_t count = 0, depth = 0;
  for (std::size_t i = 0; i < text.size();) {
    const char c = text[i];
    if (c == '(') ++depth;
    if (c == ')' && depth > 0) --depth;
    if (depth > 0 || static_cast<unsigned char>(c) <= ' ' || c == ',' || c == ')') {
      ++i;
      continue;
    }
    const std::size_t begin = i;
    for (++i; i < text.size(); ++i) {
      const char d = text[i];
      if (static_cast<unsigned char>(d) <= ' ' || d == ',' || d == '(') break;
      if ((d == '-' || d == '+') && (is_digit(text[begin]) || is_alpha(text[begin]))) break;
    }
    if (count == kMostTokens) return 0;
    const std::string_view token = tokens[count++] = text.substr(begin, i - begin);
    // A zone keeps its sign ("12:00-0700", "GMT-0700"); elsewhere the hyphen is only a separator.
    const bool before_zone = token.find(':') != std::string_view::npos || token == "GMT" || token == "UTC";
    if (i < text.size() && text[i] == '-' && !before_zone) ++i;
  }
  return count;
}

std::optional<unsigned> month_of(std::string_view name) {
  static constexpr std::string_view kMonths = "janfebmaraprmayjunjulaugsepoctnovdec";
  if (name.size() < 3) return std::nullopt;
  for (unsigned m = 0; m < 12; ++m)
    if (equal_ignoring_case(name.substr(0, 3), kMonths.substr(m * 3, 3))) return m + 1;
  return std::nullopt;
}

std::optional<std::int64_t> time_of(std::string_view text) {  // hh:mm[:ss], one digit will do (RFC 5322 §4.3)
  std::array<unsigned, 3> part{};
  std::size_t n = 0;
  for (;; ++n) {
    const std::size_t colon = text.find(':');
    const std::string_view field = text.substr(0, colon);
    if (n == 3 || !all_digits(field) || field.size() > 2) return std::nullopt;
    part[n] = to_number(field);
    if (colon == std::string_view::npos) break;
    text.remove_prefix(colon + 1);
  }
  if (n == 0 || part[0] > 23 || part[1] > 59 || part[2] > 60) return std::nullopt;
  return std::int64_t{part[0]} * 3600 + part[1] * 60 + part[2];
}

std::int64_t zone_of(std::string_view text) {
  if (const std::size_t sign = text.find_first_of("+-"); sign != std::string_view::npos) {
    std::string digits;
    for (const char c : text.substr(sign + 1))
      if (c != ':') digits += c;
    if (!all_digits(digits) || digits.size() > 4) return 0;
    if (digits.size() <= 2) digits += "00";
    const std::int64_t value = to_number(digits);
    if (value % 100 > 59) return 0;
    return (value / 100 * 3600 + value % 100 * 60) * (text[sign] == '-' ? -1 : 1);
  }
  struct Zone {
    std::string_view name;
    int hours;
  };
  // RFC 5322 §4.3: these eight; every other name, the military letters too, counts as -0000.
  static constexpr std::array<Zone, 8> kZones{
      {{"EDT", -4}, {"EST", -5}, {"CDT", -5}, {"CST", -6}, {"MDT", -6}, {"MST", -7}, {"PDT", -7}, {"PST", -8}}};
  for (const auto& zone : kZones)
    if (equal_ignoring_case(text, zone.name)) return std::int64_t{zone.hours} * 3600;
  return 0;
}

std::optional<Parts> parts_of(std::span<const std::string_view> tokens) {
  Parts parts;
  for (const std::string_view token : tokens) {
    if (all_digits(token)) {
      if (parts.number_count == parts.numbers.size() || token.size() > 4) return std::nullopt;
      parts.numbers[parts.number_count++] = token;
    } else if (is_digit(token[0]) && token.find(':') != std::string_view::npos) {
      if (parts.time_of_day) return std::nullopt;
      parts.time_of_day = time_of(token);
      if (!parts.time_of_day) return std::nullopt;
    } else if (is_alpha(token[0]) && !parts.month && month_of(token)) {
      parts.month = month_of(token);
    } else if (token[0] == '+' || token[0] == '-' || (is_alpha(token[0]) && parts.time_of_day)) {
      parts.zone = zone_of(token);
    } else if (!is_alpha(token[0])) {
      return std::nullopt;  // a weekday is the only other word that may stand there
    }
  }
  return parts;
}

std::optional<std::int64_t> parse(std::string_view text, bool month_as_number) {
  std::array<std::string_view, kMostTokens> tokens;
  if (text.size() > kLongestDate) return std::nullopt;
  const std::size_t count = tokenize(text, tokens);
  auto parts = parts_of(std::span(tokens).first(count));
  if (!parts) return std::nullopt;
  std::size_t year_at = 1;
  if (!parts->month && month_as_number && parts->number_count == 3) {
    parts->month = to_number(parts->numbers[1]);
    year_at = 2;
  }
  if (!parts->month || parts->number_count != year_at + 1 || parts->numbers[0].size() > 2) return std::nullopt;

  const std::string_view digits = parts->numbers[year_at];
  unsigned year = to_number(digits);
  if (digits.size() == 2 && year < 50)
    year += 2000;  // RFC 5322 §4.3
  else if (digits.size() <= 3)
    year += 1900;
  const std::chrono::year_month_day day{std::chrono::year(static_cast<int>(year)), std::chrono::month(*parts->month),
                                        std::chrono::day(to_number(parts->numbers[0]))};
  if (!day.ok() || year < 1900 || digits.size() < 2) return std::nullopt;
  const std::int64_t midnight = std::chrono::sys_days(day).time_since_epoch().count() * std::int64_t{86400};
  return midnight + parts->time_of_day.value_or(0) - parts->zone;
}

}  // namespace

std::optional<std::int64_t> parse_rfc5322_date(std::string_view text) { return parse(text, false); }

std::optional<std::int64_t> parse_internal_date(std::string_view text, std::int64_t latest) {
  const auto seconds = parse(text, true);
  if (!seconds || *seconds < 86400 || *seconds > latest) return std::nullopt;
  return seconds;
}

std::string internal_date_text(std::int64_t unix_seconds) {
  static constexpr std::array<std::string_view, 12> kNames{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                           "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  using namespace std::chrono;
  const sys_seconds at{seconds{unix_seconds}};
  const auto midnight = floor<days>(at);
  const year_month_day day{midnight};
  const hh_mm_ss time{at - midnight};
  const auto two = [](auto number, char pad) {
    std::string text = std::to_string(number);
    return text.size() < 2 ? pad + text : text;
  };
  const auto year = std::to_string(static_cast<int>(day.year()));
  return two(static_cast<unsigned>(day.day()), ' ') + "-" +
         std::string(kNames[static_cast<unsigned>(day.month()) - 1]) + "-" + year + " " +
         two(time.hours().count(), '0') + ":" + two(time.minutes().count(), '0') + ":" +
         two(time.seconds().count(), '0') + " +0000";
}

}  // namespace mailhaul::mail
