#include "protocols/net/poller.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

namespace mailhaul::net {
namespace {

constexpr std::uint64_t kBell = UINT64_MAX;

}  // namespace

Result<Poller> Poller::open() {
  Descriptor poll(::epoll_create1(EPOLL_CLOEXEC)), bell(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  if (!poll.valid() || !bell.valid())
    return Error{Scope::Service, Retry::Later, "epoll: " + std::generic_category().message(errno), ""};
  Poller made(std::move(poll), std::move(bell));
  made.control(EPOLL_CTL_ADD, made.bell_.get(), kBell, false);
  return made;
}

void Poller::control(int operation, int descriptor, std::uint64_t key, bool sending) const {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLRDHUP | (sending ? EPOLLOUT : 0U);
  event.data.u64 = key;
  ::epoll_ctl(poll_.get(), operation, descriptor, &event);
}

void Poller::watch(int descriptor, std::uint64_t key, bool sending) {
  control(EPOLL_CTL_ADD, descriptor, key, sending);
}
void Poller::change(int descriptor, std::uint64_t key, bool sending) {
  control(EPOLL_CTL_MOD, descriptor, key, sending);
}

void Poller::wait(std::chrono::milliseconds at_most, std::vector<std::uint64_t>& ready) {
  std::array<epoll_event, 256> events{};
  ready.clear();
  const int count =
      ::epoll_wait(poll_.get(), events.data(), static_cast<int>(events.size()), static_cast<int>(at_most.count()));
  for (int n = 0; n < count; ++n) {
    const auto key = events.at(static_cast<std::size_t>(n)).data.u64;
    if (key != kBell) {
      ready.push_back(key);
      continue;
    }
    std::uint64_t rung = 0;
    (void)!::read(bell_.get(), &rung, sizeof rung);
  }
}

void Poller::ring() const {
  const std::uint64_t one = 1;
  (void)!::write(bell_.get(), &one, sizeof one);
}

std::size_t raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;
  constexpr rlim_t kEnough = 65'536;
  if (limit.rlim_cur < std::min(limit.rlim_max, kEnough)) {
    limit.rlim_cur = std::min(limit.rlim_max, kEnough);
    ::setrlimit(RLIMIT_NOFILE, &limit);
    ::getrlimit(RLIMIT_NOFILE, &limit);
  }
  return limit.rlim_cur;
}

}  // namespace mailhaul::net
