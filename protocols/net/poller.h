// Waits for many descriptors at once (epoll), and for a bell that any thread can ring. Belongs to one thread, but for
// ring().
#pragma once
#include <chrono>
#include <cstdint>
#include <vector>

#include "protocols/base/result.h"
#include "protocols/net/socket.h"

namespace mailhaul::net {

class Poller {
 public:
  static Result<Poller> open();

  // `key` is told back. `sending`: also when there is room to send. A descriptor that is closed is forgotten by itself.
  void watch(int descriptor, std::uint64_t key, bool sending);
  void change(int descriptor, std::uint64_t key, bool sending);
  // The keys of those with which something can be done; none: the time is over, or the bell has rung.
  void wait(std::chrono::milliseconds at_most, std::vector<std::uint64_t>& ready);
  void ring() const;

 private:
  Poller(Descriptor poll, Descriptor bell) : poll_(std::move(poll)), bell_(std::move(bell)) {}
  void control(int operation, int descriptor, std::uint64_t key, bool sending) const;
  Descriptor poll_, bell_;
};

// As many descriptors as this process may have at all; what it may have is returned.
std::size_t raise_descriptor_limit();

}  // namespace mailhaul::net
