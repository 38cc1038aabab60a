#include "protocols/imap/outbox.h"

#include <string.h>  // explicit_bzero

#include <algorithm>
#include <utility>

#include "protocols/base/types.h"

namespace mailhaul::imap {

Outbox::~Outbox() {
  wipe(ready_);
  for (auto& part : blocked_) wipe(part.octets);
}

void Outbox::make_ready(std::uint64_t id, std::string& octets) {
  append_wiping(ready_, octets);
  unsent_.push_back({id, queued_, queued_ + octets.size()});
  queued_ += octets.size();
  wipe(octets);
}

void Outbox::put(std::uint64_t id, std::string& octets, bool gated) {
  if (!gated && blocked_.empty()) {
    make_ready(id, octets);
    return;
  }
  blocked_.push_back({id, gated, {}});
  append_wiping(blocked_.back().octets, octets);
  wipe(octets);
}

void Outbox::sent(std::size_t octets) {
  octets = std::min(octets, ready_.size() - head_);
  explicit_bzero(ready_.data() + head_, octets);
  head_ += octets;
  sent_ += octets;
  while (!unsent_.empty() && unsent_.front().end <= sent_) unsent_.pop_front();
  if (head_ == ready_.size()) {
    ready_.clear();
    head_ = 0;
  }
}

void Outbox::move_on() {
  while (!blocked_.empty() && !blocked_.front().gated) {
    make_ready(blocked_.front().id, blocked_.front().octets);
    blocked_.pop_front();
  }
}

bool Outbox::release() {
  if (blocked_.empty() || !ready().empty()) return false;
  blocked_.front().gated = false;
  move_on();
  return true;
}

void Outbox::drop(std::uint64_t id) {
  std::erase_if(blocked_, [id](Blocked& part) {
    if (part.id == id) wipe(part.octets);
    return part.id == id;
  });
  move_on();
}

bool Outbox::untouched(std::uint64_t id) const {
  const auto part = std::find_if(unsent_.begin(), unsent_.end(), [id](const Extent& e) { return e.id == id; });
  if (part != unsent_.end()) return part->begin >= sent_;
  const auto blocked = std::find_if(blocked_.begin(), blocked_.end(), [id](const Blocked& b) { return b.id == id; });
  return blocked != blocked_.end() && !blocked->gated;
}

bool Outbox::wholly_sent(std::uint64_t id) const {
  return std::none_of(unsent_.begin(), unsent_.end(), [id](const Extent& e) { return e.id == id; }) &&
         std::none_of(blocked_.begin(), blocked_.end(), [id](const Blocked& b) { return b.id == id; });
}

}  // namespace mailhaul::imap
