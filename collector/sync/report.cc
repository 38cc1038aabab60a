#include "collector/sync/report.h"

#include <algorithm>

namespace mailhaul::sync {

void Count::add(const Count& other) {
  listed += other.listed;
  delivered += other.delivered;
  already += other.already;
  excluded += other.excluded;
  failed += other.failed;
  pending += other.pending;
  gone += other.gone;
  bytes += other.bytes;
}

bool Report::complete() const {
  return !stopped && error.empty() && sum.failed == 0 && sum.pending == 0 &&
         std::ranges::all_of(mailboxes, [](const MailboxReport& m) { return m.error.empty() && m.sums_up(); });
}

}  // namespace mailhaul::sync
