#include "collector/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

#include "protocols/base/types.h"

namespace mailhaul::collector {
namespace {

constexpr std::uint64_t kFailuresShown = 10;

std::string formatted(const char* format, double value) {
  std::array<char, 64> buffer{};
  const int n =
      std::snprintf(buffer.data(), buffer.size(), format, value);  // NOLINT(clang-diagnostic-format-nonliteral)
  return {buffer.data(), static_cast<std::size_t>(std::max(n, 0))};
}

std::string grouped(std::uint64_t number) {
  auto text = std::to_string(number);
  for (auto at = static_cast<std::ptrdiff_t>(text.size()) - 3; at > 0; at -= 3)
    text.insert(static_cast<std::size_t>(at), ",");
  return text;
}

double rate(std::uint64_t amount, double seconds) { return seconds > 0.05 ? static_cast<double>(amount) / seconds : 0; }

std::string figures(const Snapshot& s) {
  std::string out =
      grouped(s.messages) + (s.total ? "/" + grouped(s.total) : std::string{}) + "  " + human_octets(s.octets);
  const auto per_second = rate(s.messages, s.seconds);
  if (per_second > 0) {
    out += "  " + grouped(static_cast<std::uint64_t>(per_second)) + "/s  " +
           human_octets(static_cast<std::uint64_t>(rate(s.octets, s.seconds))) + "/s";
    if (s.total > s.messages) out += "  ETA " + human_seconds(static_cast<double>(s.total - s.messages) / per_second);
  }
  return out;
}

std::size_t terminal_columns(std::FILE* out) {
  winsize size{};
  return ioctl(fileno(out), TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col : 80;
}

// Columns of UTF-8 text, one a character: good enough to cut a name.
std::string cut(std::string_view text, std::size_t columns) {
  std::size_t i = 0;
  for (std::size_t used = 0; i < text.size(); ++i) {
    const bool starts = (static_cast<unsigned char>(text[i]) & 0xC0U) != 0x80U;
    if (starts && used++ == columns) break;
  }
  return std::string(text.substr(0, i));
}

}  // namespace

std::string human_octets(std::uint64_t octets) {
  constexpr std::array<const char*, 4> kUnits{"%.1f kB", "%.1f MB", "%.1f GB", "%.1f TB"};
  if (octets < 1000) return std::to_string(octets) + " B";
  auto value = static_cast<double>(octets) / 1000;
  std::size_t unit = 0;
  for (; value >= 999.95 && unit + 1 < kUnits.size(); ++unit) value /= 1000;
  return formatted(kUnits[unit], value);
}

std::string human_seconds(double seconds) {
  const auto s = static_cast<std::uint64_t>(std::llround(seconds));
  if (s >= 3600) return std::to_string(s / 3600) + " h " + std::to_string(s % 3600 / 60) + " min";
  const auto rest = s % 60;
  return std::to_string(s / 60) + (rest < 10 ? ":0" : ":") + std::to_string(rest);
}

std::string progress_line(const Snapshot& s) { return figures(s) + (s.mailbox.empty() ? "" : "  " + s.mailbox); }

std::string progress_bar(const Snapshot& s, std::size_t columns) {
  constexpr std::size_t kCells = 20;
  const auto text = figures(s);
  std::string out;
  if (s.total > 0 && columns >= kCells + 4 + text.size()) {
    const auto done = static_cast<std::size_t>(std::min<std::uint64_t>(s.messages, s.total) * kCells / s.total);
    out = "[" + std::string(done, '=') + (done < kCells ? ">" + std::string(kCells - done - 1, ' ') : "") + "]  ";
  }
  out += text;
  if (!s.mailbox.empty() && columns > out.size() + 6) out += "  " + cut(s.mailbox, columns - out.size() - 2);
  return cut(out, columns);
}

Progress::Progress(std::FILE* out, ProgressStyle style) : out_(out), style_(style) {}

Progress::~Progress() {
  if (bar_visible_) std::fputs("\r\x1b[K", out_);
  std::fflush(out_);
}

void Progress::line(const std::string& text) {
  if (style_ == ProgressStyle::Json) return;
  if (bar_visible_) std::fputs("\r\x1b[K", out_);
  bar_visible_ = false;
  std::fprintf(out_, "%s\n", text.c_str());
  std::fflush(out_);
}

void Progress::on(const sync::Event& event) {
  const std::lock_guard lock(mutex_);
  const auto json = [&](const nlohmann::json& object) {
    if (style_ != ProgressStyle::Json) return;
    std::fprintf(out_, "%s\n", object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
    std::fflush(out_);
  };
  if (const auto* connected = std::get_if<sync::Connected>(&event)) {
    line("connected to " + connected->server + " (" + connected->security + ")");
    json({{"event", "connected"}, {"server", connected->server}, {"security", connected->security}});
  } else if (const auto* seen = std::get_if<sync::MailboxesSeen>(&event)) {
    line(grouped(seen->mailboxes) + " mailboxes, " + grouped(seen->messages) + " messages");
    json({{"event", "mailboxes"}, {"mailboxes", seen->mailboxes}, {"messages", seen->messages}});
  } else if (const auto* work = std::get_if<sync::WorkFound>(&event)) {
    if (snapshot_.total == 0) started_ = std::chrono::steady_clock::now();
    snapshot_.total += work->messages;
    show(true);
  } else if (const auto* mailbox = std::get_if<sync::MailboxStarted>(&event)) {
    snapshot_.mailbox = printable(mailbox->name);
    show(false);
  } else if (const auto* delivered = std::get_if<sync::Delivered>(&event)) {
    snapshot_.messages += delivered->messages;
    snapshot_.octets += delivered->octets;
    show(false);
  } else if (const auto* failed = std::get_if<sync::MessageFailed>(&event)) {
    if (++failures_ <= kFailuresShown)
      line("failed: " + printable(failed->mailbox) + " UID " + std::to_string(failed->uid) + ": " + failed->reason);
    else if (failures_ == kFailuresShown + 1)
      line("more messages fail; the report names each of them");
    json({{"event", "failed"}, {"mailbox", failed->mailbox}, {"uid", failed->uid}, {"reason", failed->reason}});
  } else if (const auto* bad = std::get_if<sync::MailboxFailed>(&event)) {
    line("mailbox " + printable(bad->name) + ": " + bad->reason);
    json({{"event", "mailbox-failed"}, {"mailbox", bad->name}, {"reason", bad->reason}});
  } else if (const auto* held = std::get_if<sync::Held>(&event)) {
    line("held: " + printable(held->mailbox) + ": " + held->reason);
    json({{"event", "held"}, {"mailbox", held->mailbox}, {"reason", held->reason}});
  } else if (const auto* touched = std::get_if<sync::CopiesTouched>(&event)) {
    json({{"event", "copies"}, {"removed", touched->removed}, {"marked", touched->marked}});
  } else if (const auto* trouble = std::get_if<sync::Trouble>(&event)) {
    line(trouble->text);
    json({{"event", "trouble"}, {"text", trouble->text}});
  }
}

void Progress::show(bool now) {
  using namespace std::chrono;
  const auto at = steady_clock::now();
  const auto pause = style_ == ProgressStyle::Bar ? milliseconds(100) : milliseconds(2000);
  if (!now && at - shown_ < pause && snapshot_.messages < snapshot_.total) return;
  shown_ = at;
  snapshot_.seconds = duration<double>(at - started_).count();
  switch (style_) {
    case ProgressStyle::Bar:
      std::fprintf(out_, "\r\x1b[K%s", progress_bar(snapshot_, terminal_columns(out_) - 1).c_str());
      bar_visible_ = true;
      break;
    case ProgressStyle::Lines:
      if (!now) line(progress_line(snapshot_));
      break;
    case ProgressStyle::Json: {
      const nlohmann::json object{{"event", "progress"},          {"messages", snapshot_.messages},
                                  {"total", snapshot_.total},     {"bytes", snapshot_.octets},
                                  {"seconds", snapshot_.seconds}, {"mailbox", snapshot_.mailbox}};
      std::fprintf(out_, "%s\n", object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
      break;
    }
  }
  std::fflush(out_);
}

}  // namespace mailhaul::collector
