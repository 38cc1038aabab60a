// The same random numbers on every machine, 32 bits each.
#pragma once
#include <cstdint>
#include <random>

namespace mailhaul::mail::testing {

class Random {
 public:
  explicit Random(unsigned seed) : engine_(seed) {}
  std::uint32_t operator()() { return static_cast<std::uint32_t>(engine_()); }

 private:
  std::mt19937 engine_;
};

}  // namespace mailhaul::mail::testing
