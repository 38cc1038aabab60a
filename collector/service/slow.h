// What goes to the net and lasts: only a few at a time, so that others are answered meanwhile.
#pragma once
#include <atomic>

#include "collector/service/outcome.h"

namespace mailhaul::service {

class Slow {
 public:
  explicit Slow(std::atomic<int>& busy) : busy_(busy), mine_(++busy <= kAtOnce) {}
  ~Slow() { --busy_; }
  Slow(const Slow&) = delete;
  Slow& operator=(const Slow&) = delete;
  explicit operator bool() const { return mine_; }
  static Refusal refusal() {
    return {Why::TooMany, "other tests are still running", "Wait a moment and try again.", "", 5};
  }

 private:
  static constexpr int kAtOnce = 4;
  std::atomic<int>& busy_;
  bool mine_;
};

}  // namespace mailhaul::service
