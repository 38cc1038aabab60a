#include "protocols/net/wire_log.h"

#include <algorithm>
#include <charconv>
#include <memory>
#include <optional>
#include <utility>

#include "protocols/base/text.h"
#include "protocols/net/connector.h"

namespace mailhaul::net {
namespace {

constexpr std::string_view kStruck = "<secret>";

// "{12}", "{12+}" or "~{12}" at the end of a line (RFC 9051 §4.3).
std::optional<std::uint64_t> announced_literal(std::string_view line) {
  if (line.empty() || line.back() != '}') return std::nullopt;
  const auto brace = line.rfind('{');
  if (brace == std::string_view::npos) return std::nullopt;
  std::string_view digits = line.substr(brace + 1, line.size() - brace - 2);
  if (!digits.empty() && digits.back() == '+') digits.remove_suffix(1);
  std::uint64_t n = 0;
  const auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), n);
  if (code != std::errc() || end != digits.data() + digits.size() || digits.empty()) return std::nullopt;
  return n;
}

std::string_view word(std::string_view& rest) {
  const auto space = rest.find(' ');
  const std::string_view first = rest.substr(0, space);
  rest.remove_prefix(space == std::string_view::npos ? rest.size() : space + 1);
  return first;
}

}  // namespace

void WireLog::keep(Direction& direction, std::string_view octets) {
  const std::size_t room = kKept - std::min(kKept, direction.text.size());
  direction.text.append(octets.substr(0, room));
  if (octets.size() > room) direction.cut += octets.size() - room;
  constexpr std::size_t kTail = 32;  // longer than any "~{18446744073709551615+}"
  direction.tail.append(octets.substr(octets.size() - std::min(octets.size(), kTail)));
  if (direction.tail.size() > kTail) direction.tail.erase(0, direction.tail.size() - kTail);
}

// Cuts octets into lines and literals; on_line sees each line (or piece of one before or behind a literal) once.
template <class OnLine>
void WireLog::take(Direction& direction, std::string_view octets, OnLine&& on_line) {
  while (!octets.empty()) {
    if (direction.literal > 0) {
      const std::size_t n = static_cast<std::size_t>(std::min<std::uint64_t>(direction.literal, octets.size()));
      direction.literal -= n;
      octets.remove_prefix(n);
      continue;
    }
    const auto end = octets.find('\n');
    keep(direction, octets.substr(0, end));
    if (end == std::string_view::npos) return;
    octets.remove_prefix(end + 1);
    if (direction.text.ends_with('\r') && direction.cut == 0) direction.text.pop_back();
    if (direction.tail.ends_with('\r')) direction.tail.pop_back();
    const std::uint64_t literal = announced_literal(direction.tail).value_or(0);
    if (direction.cut > 0) direction.text += "…";
    on_line(direction);
    direction.text.clear();
    direction.tail.clear();
    direction.cut = 0;
    direction.literal = literal;
    if (literal > 0) direction.text = "<" + std::to_string(literal) + " octets>";
  }
}

void WireLog::client_line(Direction& line) {
  const bool goes_on = announced_literal(line.tail).has_value();
  std::string shown;
  if (continued_) {
    shown = secret_ ? std::string(kStruck) : line.text;
  } else {
    std::string_view rest = line.text;
    const std::string_view tag = word(rest);
    const std::string verb = to_upper(word(rest));
    secret_ = verb == "LOGIN" || verb == "AUTHENTICATE";
    if (verb == "LOGIN") {
      shown = std::string(tag) + " LOGIN " + std::string(kStruck);
    } else if (verb == "AUTHENTICATE") {
      shown = std::string(tag) + " AUTHENTICATE " + std::string(word(rest));
      if (!rest.empty()) shown += " " + std::string(kStruck);
    } else if (verb.empty() && tag != "*" && !equal_ignoring_case(tag, "DONE")) {
      // No command has a single word: this answers a challenge (RFC 9051 §6.2.2), whether or not we saw the command.
      shown = kStruck;
    } else {
      shown = line.text;
    }
  }
  continued_ = goes_on;
  write_("C: " + printable(shown, kKept + 100));
}

void WireLog::server_line(Direction& line) { write_("S: " + printable(line.text, kKept + 100)); }

void WireLog::sent(std::string_view octets) {
  take(client_, octets, [this](Direction& line) { client_line(line); });
}

void WireLog::received(std::string_view octets) {
  take(server_, octets, [this](Direction& line) { server_line(line); });
}

namespace {

class LoggingTransport final : public Transport {
 public:
  LoggingTransport(std::unique_ptr<Transport> inner, std::function<void(std::string_view)> write)
      : inner_(std::move(inner)), log_(std::move(write)) {}
  Result<Moved> move(std::string_view out, std::span<char> in, std::chrono::milliseconds idle) override {
    Result<Moved> moved = inner_->move(out, in, idle);
    if (moved) {
      log_.sent(out.substr(0, moved->sent));
      log_.received(std::string_view(in.data(), moved->received));
    }
    return moved;
  }
  [[nodiscard]] std::string security() const override { return inner_->security(); }

 private:
  std::unique_ptr<Transport> inner_;
  WireLog log_;
};

}  // namespace

std::unique_ptr<Transport> log_wire(std::unique_ptr<Transport> inner, std::function<void(std::string_view)> write) {
  return std::make_unique<LoggingTransport>(std::move(inner), std::move(write));
}

}  // namespace mailhaul::net
