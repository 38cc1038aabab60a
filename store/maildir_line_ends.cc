#include "store/maildir_line_ends.h"

#include <cstring>

namespace mailhaul::store {
namespace {

const char* find_lf(const char* from, const char* end) {
  const void* found = from == end ? nullptr : std::memchr(from, '\n', static_cast<std::size_t>(end - from));
  return found != nullptr ? static_cast<const char*>(found) : end;
}

void append(char*& out, const char* from, const char* end) {
  const auto size = static_cast<std::size_t>(end - from);
  if (size != 0) std::memcpy(out, from, size);
  out += size;
}

}  // namespace

std::size_t CrlfToLf::feed(std::string_view wire, char*& out) {
  const char* const begin = wire.data();
  const char* const end = begin + wire.size();
  const char* at = begin;
  if (held_ && at != end) {
    if (*at == '\n') {
      if (after_cr_) return 0;
      *out++ = '\n';
      ++at;
      after_cr_ = false;
    } else {
      *out++ = '\r';
      after_cr_ = true;
    }
    held_ = false;
  }
  while (at != end) {
    const char* const lf = find_lf(at, end);
    if (lf == end) {
      held_ = end[-1] == '\r';
      const char* const stop = held_ ? end - 1 : end;
      if (stop != at) after_cr_ = stop[-1] == '\r';
      append(out, at, stop);
      return wire.size();
    }
    const bool two_before = lf - at >= 2 ? lf[-2] == '\r' : after_cr_;
    if (lf == at || lf[-1] != '\r' || two_before) return static_cast<std::size_t>(at - begin);
    append(out, at, lf - 1);
    *out++ = '\n';
    after_cr_ = false;
    at = lf + 1;
  }
  return wire.size();
}

void BareLfCounter::feed(std::string_view octets) {
  const char* const begin = octets.data();
  const char* const end = begin + octets.size();
  for (const char* at = begin; at != end; ++at) {
    at = find_lf(at, end);
    if (at == end) break;
    if (at == begin ? !after_cr_ : at[-1] != '\r') ++count_;
  }
  if (!octets.empty()) after_cr_ = octets.back() == '\r';
}

char* lf_to_crlf(std::string_view lf, char* out) {
  const char* at = lf.data();
  const char* const end = at + lf.size();
  while (at != end) {
    const char* const stop = find_lf(at, end);
    append(out, at, stop);
    if (stop == end) break;
    *out++ = '\r';
    *out++ = '\n';
    at = stop + 1;
  }
  return out;
}

}  // namespace mailhaul::store
