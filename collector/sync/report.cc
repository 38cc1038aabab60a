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

Report joined(const Report& first, Report second) {
  second.sum = {};
  for (auto& m : second.mailboxes) {
    const auto before = std::ranges::find(first.mailboxes, m.name, &MailboxReport::name);
    if (before != first.mailboxes.end()) {
      const auto delivered = before->count.delivered;
      const auto hidden = std::min(delivered, m.count.gone - std::min(m.count.gone, before->count.gone));
      m.count.gone -= hidden;
      if (m.exists) *m.exists += hidden;
      m.count.already -= std::min(m.count.already, delivered - hidden);
      m.count.delivered += delivered;
      m.count.bytes += before->count.bytes;
      m.adopted += before->adopted;
      m.rebound += before->rebound;
      m.deleted += before->deleted;
    }
    second.sum.add(m.count);
  }
  return second;
}

}  // namespace mailhaul::sync
