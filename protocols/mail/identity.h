// What names a message: UID and UIDVALIDITY (RFC 9051 §2.3.1.1), mod-sequence (RFC 7162 §3.1), and sets of UIDs.
// Values only; knows no server, no account.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "protocols/base/types.h"

namespace mailhaul::mail {

using Uid = Strong<struct UidTag, std::uint32_t>;                  // 1 … 2^32-1
using UidValidity = Strong<struct UidValidityTag, std::uint64_t>;  // 64 bits: some servers exceed the RFC's 32
using ModSeq = Strong<struct ModSeqTag, std::uint64_t>;            // 0 means unknown
using SequenceNumber = Strong<struct SequenceNumberTag, std::uint32_t>;

struct UidRange {
  std::uint32_t first = 0;
  std::uint32_t last = 0;  // inclusive, >= first
  bool operator==(const UidRange&) const = default;
};

// An ascending set of UIDs, kept as merged ranges, so that "1:1000000" costs eight octets. A range that holds 0 or
// whose last is below its first adds only what is valid of it. Not thread-safe.
class UidSet {
 public:
  UidSet() = default;
  explicit UidSet(std::vector<UidRange> ranges);  // any order, overlaps allowed; O(n log n), O(n) if ascending

  UidSet(const UidSet&) = default;
  UidSet(UidSet&& other) noexcept : ranges_(std::move(other.ranges_)), taken_(std::exchange(other.taken_, 0)) {
    other.ranges_.clear();
  }
  UidSet& operator=(const UidSet&) = default;
  UidSet& operator=(UidSet&& other) noexcept {
    ranges_.swap(other.ranges_);
    std::swap(taken_, other.taken_);
    return *this;
  }
  ~UidSet() = default;

  void add(Uid uid) { add(UidRange{uid.value, uid.value}); }
  void add(UidRange range);  // amortised O(1) when ranges come in ascending order, else O(ranges)
  [[nodiscard]] bool contains(Uid uid) const;
  [[nodiscard]] bool empty() const { return ranges().empty(); }
  [[nodiscard]] std::uint64_t size() const;  // number of UIDs
  [[nodiscard]] std::span<const UidRange> ranges() const& { return std::span(ranges_).subspan(taken_); }
  [[nodiscard]] std::vector<UidRange> ranges() && {  // of a temporary: its own, so that nothing dangles
    drop_taken();
    return std::move(ranges_);
  }
  [[nodiscard]] std::optional<Uid> highest() const;

  [[nodiscard]] UidSet minus(const UidSet& other) const;      // linear in the number of ranges
  [[nodiscard]] UidSet intersect(const UidSet& other) const;  // linear in the number of ranges
  void merge(const UidSet& other);

  // Removes and returns the lowest UIDs: at most `messages` of them and at most `octets` of wire text, but one at least
  // (so that a loop ends). Amortised O(1) a range.
  UidSet take_front(std::size_t messages, std::size_t octets = 8000);
  // The highest ones: at most `messages` of them, and as many ranges as that takes.
  UidSet take_back(std::size_t messages);

  [[nodiscard]] std::string wire() const;  // "1:3,7,9:12" (sequence-set, RFC 9051 §9); empty for the empty set
  // Parses a uid-set without '*'. nullopt on anything that is not one, or more than `max_ranges` ranges.
  static std::optional<UidSet> parse(std::string_view text, std::size_t max_ranges = 4'000'000);

  // Calls visit(Uid) ascending.
  template <class F>
  void each(F&& visit) const {
    for (const auto& r : ranges())
      for (std::uint64_t u = r.first; u <= r.last; ++u) visit(Uid{static_cast<std::uint32_t>(u)});
  }

  bool operator==(const UidSet& other) const;

 private:
  void drop_taken();
  std::vector<UidRange> ranges_;
  std::size_t taken_ = 0;  // ranges at the front that take_front() has used up
};

}  // namespace mailhaul::mail
