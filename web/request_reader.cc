#include "web/request_reader.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <utility>

namespace mailhaul::web {
namespace {

bool is_token(std::string_view text) {  // RFC 9110 §5.6.2
  const auto good = [](unsigned char c) {
    return std::isalnum(c) || std::string_view("!#$%&'*+-.^_`|~").find(static_cast<char>(c)) != std::string_view::npos;
  };
  return !text.empty() && std::ranges::all_of(text, good);
}

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

std::optional<std::uint64_t> number(std::string_view text, int base) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

RequestReader::State RequestReader::refuse(int status, std::string why) {
  refused_ = {status, std::move(why)};
  return State::Refused;
}

RequestReader::State RequestReader::read(std::string& input) {
  begun_ = begun_ || !input.empty();
  if (!in_body_) {
    const auto state = read_head(input);
    if (state != State::Whole) return state;
    in_body_ = true;
    if (expects_) {
      expects_ = false;
      return State::Continue;
    }
  }
  return chunked_ ? read_chunks(input) : read_body(input);
}

RequestReader::State RequestReader::read_head(std::string& input) {
  if (request_.head.empty())
    while (input.starts_with("\r\n")) input.erase(0, 2);  // RFC 9112 §2.2
  const auto end = input.find("\r\n\r\n", searched_ > 3 ? searched_ - 3 : 0);
  if (end == std::string::npos) {
    searched_ = input.size();
    if (input.size() > limits_.head) return refuse(431, "the header section is too long");
    const auto first = input.find("\r\n");
    if (std::min(first, input.size()) > limits_.target + 32) return refuse(414, "the address is too long");
    return State::More;
  }
  searched_ = 0;
  if (end > limits_.head) return refuse(431, "the header section is too long");
  const auto head = input.substr(0, end + 2);
  input.erase(0, end + 4);
  if (head.find('\0') != std::string::npos) return refuse(400, "a NUL in the header section");

  std::string_view rest = head;
  const auto next_line = [&] {
    const auto at = rest.find("\r\n");
    const auto line = rest.substr(0, at);
    rest.remove_prefix(at + 2);
    return line;
  };
  const auto line = next_line();
  const auto space = line.find(' '), last = line.rfind(' ');
  if (space == std::string_view::npos || space == last || line.substr(last + 1) != "HTTP/1.1")
    return refuse(line.ends_with("HTTP/1.0") ? 505 : 400, "this service speaks HTTP/1.1");
  request_.method = line.substr(0, space);
  request_.target = line.substr(space + 1, last - space - 1);
  const bool odd = std::ranges::any_of(request_.target, [](unsigned char c) { return c <= 0x20 || c >= 0x7f; });
  if (!is_token(request_.method) || request_.target.empty() || request_.target[0] != '/' || odd)
    return refuse(400, "the request line cannot be read");
  if (request_.target.size() > limits_.target) return refuse(414, "the address is too long");
  request_.head = std::string(line) + "\r\n";
  most_ = limits_.body;
  for (std::size_t fields = 0; !rest.empty(); ++fields) {
    const auto field = next_line();
    if (fields == limits_.fields || field.size() > limits_.line) return refuse(431, "too many or too long fields");
    if (!take_field(field)) return State::Refused;
  }
  if (request_.host.empty()) return refuse(400, "the request names no host");
  if (length_ && *length_ > most_) return refuse(413, "the body is too large");
  return State::Whole;
}

bool RequestReader::take_field(std::string_view line) {
  const auto colon = line.find(':');
  const auto bad = [&](int status, const char* why) {
    refused_ = {status, why};
    return false;
  };
  if (colon == std::string_view::npos || !is_token(line.substr(0, colon)))
    return bad(400, "a field of the header section cannot be read");
  const auto name = lower(line.substr(0, colon));
  const auto value = trimmed(line.substr(colon + 1));
  const bool odd = std::ranges::any_of(value, [](unsigned char c) { return (c < 0x20 && c != '\t') || c == 0x7f; });
  if (odd) return bad(400, "a field of the header section cannot be read");
  if (name == "connection") {
    if (lower(value).find("close") != std::string::npos) request_.keep_alive = false;
    return true;
  }
  if (name == "expect") {
    if (lower(value) != "100-continue") return bad(417, "only 100-continue can be expected");
    expects_ = true;
    return true;
  }
  if (name == "transfer-encoding") {
    if (chunked_ || length_ || lower(value) != "chunked") return bad(400, "this transfer encoding is not understood");
    chunked_ = true;
    return true;
  }
  if (name == "content-length") {
    const auto length = number(value, 10);
    if (!length || length_ || chunked_) return bad(400, "the length of the body is not clear");
    length_ = length;
    return true;
  }
  if (name == "content-encoding") return bad(415, "compressed requests are not taken");
  if (name == "upgrade" || name == "remote_addr" || name == "remote_port" || name == "local_addr" ||
      name == "local_port" || name == "range")
    return true;  // nothing here has a use for them, and the library would
  if (name == "host") {
    if (!request_.host.empty()) return bad(400, "the request names two hosts");
    request_.host = value;
  }
  if (name == "x-forwarded-for")
    request_.forwarded_for += (request_.forwarded_for.empty() ? "" : ", ") + std::string(value);
  if (name == "content-type" && lower(value).starts_with("text/csv")) most_ = limits_.import_body;
  request_.head += std::string(line) + "\r\n";
  return true;
}

RequestReader::State RequestReader::read_body(std::string& input) {
  const auto wanted = length_.value_or(0) - request_.body.size();
  const auto now = static_cast<std::size_t>(std::min<std::uint64_t>(wanted, input.size()));
  request_.body.append(input, 0, now);
  input.erase(0, now);
  return now == wanted ? State::Whole : State::More;
}

RequestReader::State RequestReader::read_chunks(std::string& input) {  // RFC 9112 §7.1
  constexpr std::size_t kLine = 256;
  for (;;) {
    if (in_chunk_) {
      const auto now = static_cast<std::size_t>(std::min<std::uint64_t>(*length_, input.size()));
      request_.body.append(input, 0, now);
      input.erase(0, now);
      *length_ -= now;
      if (*length_ > 0 || input.size() < 2) return State::More;
      if (!input.starts_with("\r\n")) return refuse(400, "a chunk has another length than it says");
      input.erase(0, 2);
      in_chunk_ = false;
    }
    const auto end = input.find("\r\n");
    if (end == std::string::npos) return input.size() > kLine ? refuse(400, "a chunk has no length") : State::More;
    if (end > kLine) return refuse(400, "a chunk has no length");
    const auto line = input.substr(0, end);
    input.erase(0, end + 2);
    if (trailers_) {
      if (line.empty()) return State::Whole;
      return refuse(400, "trailers are not taken");
    }
    const auto length = number(trimmed(std::string_view(line).substr(0, line.find(';'))), 16);
    if (!length) return refuse(400, "a chunk has no length");
    if (*length > most_ || request_.body.size() + *length > most_) return refuse(413, "the body is too large");
    length_ = length;
    in_chunk_ = *length > 0;
    trailers_ = *length == 0;
  }
}

RawRequest RequestReader::take() {
  auto out = std::move(request_);
  const bool may_have_body = out.method != "GET" && out.method != "HEAD";
  if (may_have_body || !out.body.empty()) out.head += "Content-Length: " + std::to_string(out.body.size()) + "\r\n";
  *this = RequestReader(limits_);
  return out;
}

}  // namespace mailhaul::web
