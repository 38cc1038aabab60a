// A whole service in a directory of the test's, whose clock goes by hand.
#pragma once
#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <utility>

#include "collector/service/service.h"
#include "tests/support/scratch.h"

namespace mailhaul::service {

constexpr std::int64_t kNow = 1'800'000'000;

class HandClock final : public Clock {
 public:
  [[nodiscard]] std::int64_t unix_seconds() const override { return kNow + passed.load(); }
  [[nodiscard]] std::chrono::steady_clock::time_point steady() const override {
    return std::chrono::steady_clock::time_point(std::chrono::seconds(1000 + passed.load()));
  }
  std::atomic<std::int64_t> passed{0};
};

template <class T>
T fine(Outcome<T> outcome) {
  if (!outcome) FAIL(outcome.refusal().what);
  return *std::move(outcome);
}

template <class F>
void until(const char* what, F&& true_now) {
  for (int n = 0; n < 6000; ++n) {
    if (true_now()) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  FAIL(what);
}

inline ServiceSettings settings_in(const test::Scratch& scratch) {
  ServiceSettings settings;
  settings.data = scratch.path() + "/data";
  settings.mail_root = scratch.path() + "/mail";
  settings.gate = test::good(net::AddressGate::public_and("127.0.0.0/8"));
  settings.scheduler.workers = 2;
  settings.scheduler.disk_reserve = 0;
  return settings;
}

// An account at a server on this port, without TLS, and its job with the default schedule.
inline registry::Id add_job(Service& service, const Viewer& viewer, std::uint16_t port) {
  AccountChange account;
  account.source = "imap://ann@127.0.0.1:" + std::to_string(port);
  account.password = Secret("secret");
  account.allow_plaintext = true;
  const auto id = fine(service.add_account(viewer, account)).row.id;
  const auto to = fine(service.add_destination(viewer, "", "ann", "utf7")).row.id;
  return fine(service.add_job(viewer, id, to, {})).row.id;
}

}  // namespace mailhaul::service
