#include "protocols/base/types.h"

#include <string.h>  // explicit_bzero

#include <algorithm>

namespace mailhaul {

void wipe(std::string& text) noexcept {
  // Growing to the capacity allocates nothing; it makes the octets that a move or a shrink left behind writable.
  text.resize(text.capacity());
  explicit_bzero(text.data(), text.size());
  text.clear();
}

void append_wiping(std::string& to, std::string_view what) {
  if (to.capacity() - to.size() < what.size()) {
    std::string bigger;
    bigger.reserve(std::max(to.capacity() * 2, to.size() + what.size()));
    bigger += to;
    bigger.swap(to);
    wipe(bigger);
  }
  to += what;
}

Secret& Secret::operator=(const Secret& other) {
  if (this != &other) {
    wipe(text_);
    text_ = other.text_;
  }
  return *this;
}

Secret& Secret::operator=(Secret&& other) noexcept {
  if (this != &other) {
    wipe(text_);
    text_ = std::move(other.text_);
    wipe(other.text_);
  }
  return *this;
}

namespace {
class SystemClock final : public Clock {
 public:
  std::int64_t unix_seconds() const override {
    using namespace std::chrono;
    return duration_cast<seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  }
  std::chrono::steady_clock::time_point steady() const override { return std::chrono::steady_clock::now(); }
};
}  // namespace

const Clock& system_clock() {
  static const SystemClock clock;
  return clock;
}

}  // namespace mailhaul
