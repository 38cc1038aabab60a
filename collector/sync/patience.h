// How long a run waits when the server asks to be left alone. Pure arithmetic; who waits, and on which clock, is the
// caller's matter.
#pragma once
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>

#include "protocols/base/result.h"

namespace mailhaul::sync {

class Patience {
 public:
  // `limit`: no longer than this altogether, without progress in between.
  explicit Patience(std::chrono::seconds limit) : limit_(limit) {}

  // Is this an error that waiting helps against, because the server has said so?
  static bool concerns(const Error& why) {
    return why.scope == Scope::Account && why.retry == Retry::Later && why.wait > 0;
  }
  // The next wait: what the server named, at least twice the one before; nullopt: longer than a run waits.
  std::optional<std::chrono::seconds> next(const Error& why) {
    auto pause = std::chrono::seconds(why.wait);
    if (last_.count() > 0 && pause < 2 * last_) pause = std::min(2 * last_, kLongest);
    due_ = pause = std::max(pause, std::chrono::seconds(why.wait));
    if (waited_ + pause > limit_) return std::nullopt;
    waited_ += pause;
    last_ = pause;
    return pause;
  }
  // After next() has said nullopt: when it would be worth coming back.
  [[nodiscard]] std::chrono::seconds due() const { return due_; }
  void progress() { waited_ = last_ = std::chrono::seconds(0); }

 private:
  static constexpr std::chrono::seconds kLongest{15 * 60};
  std::chrono::seconds limit_, waited_{0}, last_{0}, due_{0};
};

}  // namespace mailhaul::sync
