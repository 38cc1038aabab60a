// Small values that every room shares. No I/O.
#pragma once
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "protocols/base/text.h"

namespace mailhaul {

// A number or text that is not just any number or text: values of two tags do not convert into each other.
template <class Tag, class Rep>
struct Strong {
  Rep value{};
  auto operator<=>(const Strong&) const = default;  // NOLINT(modernize-use-nullptr)
};

// Overwrites the whole buffer of `text`, spare capacity too, and empties it.
void wipe(std::string& text) noexcept;

// Appends to text that may hold a secret: when it must move to a bigger place, the old place is wiped.
void append_wiping(std::string& to, std::string_view what);

// Text that must not be seen: cannot be printed, formatted or compared by accident; its memory is wiped when it dies or
// is moved from.
class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string text) : text_(std::move(text)) { wipe(text); }
  Secret(const Secret&) = default;
  Secret(Secret&& other) noexcept : text_(std::move(other.text_)) { wipe(other.text_); }
  Secret& operator=(const Secret& other);
  Secret& operator=(Secret&& other) noexcept;
  ~Secret() { wipe(text_); }

  [[nodiscard]] const std::string& reveal() const { return text_; }  // only for the line that sends it
  [[nodiscard]] bool empty() const { return text_.empty(); }

 private:
  std::string text_;
};

// The two clocks, as a seam: tests move them by hand. Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  [[nodiscard]] virtual std::int64_t unix_seconds() const = 0;                     // wall clock, may jump
  [[nodiscard]] virtual std::chrono::steady_clock::time_point steady() const = 0;  // never goes back
};

// The machine's own clocks; lives as long as the process.
const Clock& system_clock();

}  // namespace mailhaul
