#include "protocols/notify/mail_text.h"

#include <algorithm>
#include <array>
#include <ctime>

namespace mailhaul::notify {
namespace {

// RFC 2047 §2: an encoded word has at most 75 characters, and holds whole characters (§5).
std::string encoded_words(std::string_view text) {
  constexpr std::size_t kOctets = 42;
  std::string out;
  while (!text.empty()) {
    std::size_t length = 0;
    while (length < text.size()) {
      const auto next = std::max<std::size_t>(utf8_length(text.substr(length)), 1);
      if (length + next > kOctets) break;
      length += next;
    }
    out += (out.empty() ? "=?UTF-8?B?" : "\r\n =?UTF-8?B?") + base64(text.substr(0, length)) + "?=";
    text.remove_prefix(length);
  }
  return out;
}

// RFC 5322 §3.3, whatever the locale.
std::string date_time(std::int64_t unix_seconds) {
  static constexpr std::array kDays{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr std::array kMonths{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                      "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const auto time = static_cast<std::time_t>(unix_seconds);
  std::tm parts{};
  std::array<char, 40> rest{};
  gmtime_r(&time, &parts);
  std::strftime(rest.data(), rest.size(), " %Y %H:%M:%S +0000", &parts);
  return std::string(kDays.at(static_cast<std::size_t>(parts.tm_wday))) + ", " + std::to_string(parts.tm_mday) + " " +
         kMonths.at(static_cast<std::size_t>(parts.tm_mon)) + rest.data();
}

}  // namespace

bool is_mail_address(std::string_view text) {
  constexpr std::size_t kLongest = 254;  // RFC 5321 §4.5.3.1.3, less the brackets
  const auto at = text.find('@');
  return text.size() <= kLongest && at != std::string_view::npos && at > 0 && at + 1 < text.size() &&
         text.find('@', at + 1) == std::string_view::npos &&
         std::ranges::all_of(text, [](char c) { return c > ' ' && c < 0x7f && c != '<' && c != '>' && c != ','; });
}

std::string mail_text(const Message& message, std::string_view from, std::string_view to) {
  constexpr std::size_t kLine = 76, kSubject = 400;
  std::string out = "From: Mailhaul <" + std::string(from) + ">\r\nTo: <" + std::string(to) +
                    ">\r\nSubject: " + encoded_words(printable(message.title, kSubject)) +
                    "\r\nDate: " + date_time(message.at) + "\r\nMessage-ID: <" + message.id + "@" +
                    std::string(from.substr(from.find('@') + 1)) +
                    ">\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; "
                    "charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n";
  std::string lines;
  for (const char c : message.text) lines += c == '\n' ? std::string("\r\n") : std::string(1, c);
  const auto text = base64(lines + "\r\n");
  for (std::size_t at = 0; at < text.size(); at += kLine) out += text.substr(at, kLine) + "\r\n";
  return out;
}

}  // namespace mailhaul::notify
