// How much of a source a day may bring: some providers count what is downloaded and lock the account beyond it (Gmail:
// 2,500 MB by IMAP, 1,250 MB by POP3). Counted in message octets, over 24 hours from the first of them on, remembered
// in the account's row. Threads: spend(), used_up(), may_ask(), asked() and answered() from any; the rest belongs to
// the engine.
#pragma once
#include <algorithm>
#include <atomic>
#include <cstdint>

namespace mailhaul::sync {

class Allowance {
 public:
  static constexpr std::int64_t kDay = 86'400;  // seconds

  explicit Allowance(std::uint64_t limit) : limit_(limit) {}  // octets; 0: no limit

  // What earlier runs have used. A day that lies in the future was written by a clock that was wrong.
  void resume(std::int64_t began, std::uint64_t octets, std::int64_t now) {
    const bool over = began > now || now - began >= kDay;
    began_ = over ? now : began;
    resumed_ = octets_ = over ? 0 : octets;
  }
  void spend(std::uint64_t octets) { octets_ += octets; }
  // What has been asked for comes: with what is on its way, more is asked for only if that does not go beyond the
  // limit.
  [[nodiscard]] bool may_ask() const {
    if (!limited()) return true;
    const auto come = come_.load();
    const auto coming = static_cast<std::uint64_t>(std::max<std::int64_t>(coming_, 0));
    const auto mean = come == 0 ? kUnknown : (octets_ - resumed_) / come;
    return !used_up() && (coming == 0 || octets_ + coming * mean < limit_);
  }
  void asked(std::uint64_t messages) { coming_ += static_cast<std::int64_t>(messages); }
  void answered(std::uint64_t messages) {
    coming_ -= static_cast<std::int64_t>(messages);
    come_ += messages;
  }
  void nothing_coming() { coming_ = 0; }  // no connection has anything pending
  [[nodiscard]] bool limited() const { return limit_ != 0; }
  [[nodiscard]] bool used_up() const { return limited() && octets_ >= limit_; }
  [[nodiscard]] std::uint64_t limit() const { return limit_; }
  [[nodiscard]] std::uint64_t octets() const { return octets_; }
  [[nodiscard]] std::int64_t began() const { return began_; }         // Unix seconds
  [[nodiscard]] std::int64_t again() const { return began_ + kDay; }  // the next day begins

 private:
  std::uint64_t limit_;
  static constexpr std::uint64_t kUnknown = 64U << 10U;  // octets of a message, before one has come
  std::int64_t began_ = 0;
  std::uint64_t resumed_ = 0;
  std::atomic<std::uint64_t> octets_{0}, come_{0};
  std::atomic<std::int64_t> coming_{0};
};

}  // namespace mailhaul::sync
