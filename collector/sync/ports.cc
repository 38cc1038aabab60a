#include "collector/sync/ports.h"

#include <algorithm>

namespace mailhaul::sync {

// RFC 7162 §4 recommends that servers take command lines of 8192 octets.
static constexpr std::size_t kCommandOctets = 8000;

void SeenFlags::add(Uid uid, const FlagSet& flags) {
  // The last few sets are the likely ones; a mailbox with thousands of distinct sets pays for a longer list, not a
  // search.
  constexpr std::size_t kLook = 32;
  for (std::size_t i = sets_.size(), seen = 0; i > 0 && seen < kLook; --i, ++seen) {
    if (sets_[i - 1] == flags) {
      entries_.push_back({uid, static_cast<std::uint32_t>(i - 1)});
      return;
    }
  }
  sets_.push_back(flags);
  entries_.push_back({uid, static_cast<std::uint32_t>(sets_.size() - 1)});
}

void SeenFlags::sort() {
  std::ranges::stable_sort(entries_, {}, &Entry::uid);
  const auto last_of_each =
      std::unique(entries_.rbegin(), entries_.rend(), [](const Entry& a, const Entry& b) { return a.uid == b.uid; });
  entries_.erase(entries_.begin(), last_of_each.base());
}

std::vector<Uid> SeenFlags::uids() const {
  std::vector<Uid> out;
  out.reserve(entries_.size());
  for (const auto& entry : entries_) out.push_back(entry.uid);
  return out;
}

void FetchQueue::add(Mailbox mailbox) {
  const std::lock_guard lock(mutex_);
  if (!mailbox.uids.empty()) mailboxes_.push_back(std::move(mailbox));
}

std::optional<FetchSlice> FetchQueue::next(std::optional<std::size_t> selected) {
  if (allowance_ && !allowance_->may_ask()) return std::nullopt;
  const std::lock_guard lock(mutex_);
  const bool first = std::ranges::any_of(mailboxes_, &Mailbox::first);
  auto it = std::ranges::find_if(mailboxes_, [&](const Mailbox& m) { return m.first == first && m.index == selected; });
  if (it == mailboxes_.end()) it = std::ranges::find(mailboxes_, first, &Mailbox::first);
  if (it == mailboxes_.end()) return std::nullopt;
  auto uids = order_ == Order::OldestFirst ? it->uids.take_front(slice_, kCommandOctets) : it->uids.take_back(slice_);
  FetchSlice slice{it->index, it->raw_name, it->validity, std::move(uids)};
  if (it->uids.empty()) mailboxes_.erase(it);
  if (allowance_) allowance_->asked(slice.uids.size());
  return slice;
}

void FetchQueue::drop(std::size_t mailbox) {
  const std::lock_guard lock(mutex_);
  std::erase_if(mailboxes_, [&](const Mailbox& m) { return m.index == mailbox; });
}

}  // namespace mailhaul::sync
