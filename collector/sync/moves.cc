// Messages that were moved at the source: vanished in one mailbox, new in another of the account, in this run or an
// earlier one. Their bodies are copied from the file that is here instead of being downloaded: as deliveries like any
// other, whose intent is said, under the new mailbox's own key. The old copy is then that of a message that is not
// missing: it has no grace period and blows no fuse.
#include <algorithm>
#include <tuple>

#include "collector/sync/engine.h"

namespace mailhaul::sync {
namespace {

constexpr std::size_t kWindow = 2000;
constexpr std::uint64_t kFew = 200;  // new messages whose headers are looked at however few have vanished
constexpr std::int64_t kDay = 86'400;

auto evidence_of(const store::MessageRow& row) { return std::pair(row.header_digest, row.internal_date.value_or(0)); }
auto evidence_of(const Headers& message) { return std::pair(message.evidence.header_digest, message.date.value_or(0)); }

// Evidence that several share proves nothing.
template <class T>
void drop_shared(std::vector<T>& sorted) {
  std::vector<T> alone;
  for (auto it = sorted.begin(); it != sorted.end();) {
    auto end = it;
    while (end != sorted.end() && evidence_of(end->what) == evidence_of(it->what)) ++end;
    if (end - it == 1) alone.push_back(std::move(*it));
    it = end;
  }
  sorted = std::move(alone);
}

}  // namespace

// Vanished lately, with a copy.
Result<std::vector<Engine::Lost>> Engine::lately_lost() {
  const auto since = context_.clock->unix_seconds() - std::max(settings_.policy.grace, kDay);
  std::vector<Lost> out;
  for (auto& work : works_) {
    if (work.row.id.value == 0) continue;
    auto uids = context_.ledger->vanished_copies(work.row.id, work.row.generation, INT64_MAX);
    if (!uids) return uids.error();
    while (!uids->empty()) {
      const auto some = uids->take_front(kWindow, SIZE_MAX);
      const Uid first{some.ranges().front().first}, last = *some.highest();
      auto rows = context_.ledger->messages(work.row.id, work.row.generation, first, last, SIZE_MAX >> 1);
      if (!rows) return rows.error();
      for (auto& row : *rows)
        if (some.contains(row.uid) && row.missing_since > since && row.sha256 && row.internal_date)
          out.push_back({&work, std::move(row)});
    }
  }
  std::ranges::sort(out, {}, [](const Lost& l) { return evidence_of(l.what); });
  drop_shared(out);
  return out;
}

Result<std::vector<Engine::Found>> Engine::just_found(Group group, std::size_t lost) {
  std::vector<Found> out;
  for (auto& work : group) {
    if (!work.observed || work.todo.deliver.empty() || work.source.named) continue;  // such a source has one mailbox
    if (work.todo.deliver.size() > std::max<std::uint64_t>(kFew, std::uint64_t{4} * lost)) continue;
    const auto index = static_cast<std::size_t>(&work - works_.data());
    for (auto rest = work.todo.deliver; !rest.empty();) {
      const auto some = rest.take_front(kWindow, SIZE_MAX);
      auto headers = on_source([&](Source& source) { return source.headers(work.fetch(index, some)); });
      if (!headers && headers.error().scope == Scope::Mailbox) continue;  // they are downloaded, then
      if (!headers) return headers.error();
      for (auto& message : *headers)
        if (message.date && some.contains(message.uid)) out.push_back({&work, std::move(message)});
    }
  }
  std::ranges::sort(out, {}, [](const Found& f) { return evidence_of(f.what); });
  drop_shared(out);
  return out;
}

Done Engine::recognise_moves(Group group) {
  if (std::ranges::none_of(group, [](const Work& w) { return w.observed && !w.todo.deliver.empty(); })) return done();
  auto lost = lately_lost();
  if (!lost) return lost.error();
  if (lost->empty()) return done();
  auto found = just_found(group, lost->size());
  if (!found) return found.error();
  Committer committer(*context_.destination, *context_.ledger, *context_.clock, settings_.threaded,
                      [&](const Settled& s) { settled(s); });
  const auto limits = context_.destination->limits();
  Batch batch;
  std::vector<std::pair<const Lost*, const Found*>> moved;
  for (const auto& message : *found) {
    const auto from = std::ranges::lower_bound(*lost, evidence_of(message.what), {},
                                               [](const Lost& l) { return evidence_of(l.what); });
    if (from == lost->end() || evidence_of(from->what) != evidence_of(message.what)) continue;
    if (from->work == message.work || (message.what.size && message.what.size != from->what.octets)) continue;
    if (context_.stop.stop_requested()) break;
    auto brought = bring(*from, message, batch);
    if (!brought) return brought.error();
    if (*brought) moved.emplace_back(&*from, &message);
    if (batch.items.size() >= limits.messages || batch.octets >= limits.octets)
      if (auto r = committer.submit(std::exchange(batch, {})); !r) return r;
  }
  if (!batch.items.empty())
    if (auto r = committer.submit(std::move(batch)); !r) return r;
  if (auto r = committer.finish(); !r) return r;
  if (moved.empty()) return done();
  auto transaction = context_.ledger->begin();
  if (!transaction) return transaction.error();
  for (const auto& [from, to] : moved) {
    const auto& old = from->work->row;
    if (auto r = transaction->not_missing(old.id, old.generation, from->what.uid); !r) return r;
    UidSet one;
    one.add(to->what.uid);
    to->work->todo.deliver = to->work->todo.deliver.minus(one);
    ++to->work->report.moved;
  }
  return transaction->commit();
}

// One message from the file of its old mailbox into the batch; false: the file is not there, or not what it was.
Result<bool> Engine::bring(const Lost& from, const Found& message, Batch& batch) {
  const auto& old = from.work->row;
  auto placements = context_.ledger->placements(old.id, old.generation, from.what.uid, from.what.uid);
  if (!placements) return placements.error();
  if (placements->empty()) return false;
  return bring(placements->front(), from.what, message, batch);
}

Result<bool> Engine::bring(const store::PlacementRow& placement, const store::MessageRow& what, const Found& message,
                           Batch& batch) {
  auto& to = *message.work;
  auto copies = context_.destination->look(placement.directory, {&placement.key, 1});
  if (!copies) return copies.error();
  if (copies->empty()) return false;
  const auto& copy = copies->front();
  auto flags = context_.destination->flags_of(placement.directory, copy);
  if (!flags) return flags.error();
  if (auto made = context_.destination->create(to.row.destination); !made)
    return made.error().scope == Scope::Mailbox ? Result<bool>(false) : made.error();
  auto incoming = context_.destination->receive(to.row.destination);
  if (!incoming) return incoming.error();
  Done written = done();
  auto read = context_.destination->read(placement.directory, copy, what.form, [&](std::string_view chunk) {
    written = incoming->write(chunk);
    return static_cast<bool>(written);
  });
  if (!written) return written.error();
  if (!read) return read.error().scope == Scope::Message ? Result<bool>(false) : read.error();
  auto received = incoming->finish(*message.what.date);
  if (!received) return received.error();
  if (received->sha256 != *what.sha256) return false;

  store::MessageRow row;
  row.uid = message.what.uid;
  if (const auto reuse = to.todo.reuse.find(row.uid); reuse != to.todo.reuse.end()) row.reuse = reuse->second;
  row.base = message.what.flags;
  row.octets = received->wire_octets;
  row.form = received->form;
  row.sha256 = received->sha256;
  row.message_id = std::move(received->evidence.message_id);
  row.header_digest = received->evidence.header_digest;
  row.internal_date = message.what.date;
  batch.octets += received->wire_octets;
  // What its owner has changed on the old copy goes with it.
  store::Delivery delivery{*std::move(incoming), to.key_of(row.uid, row.reuse), *row.internal_date,
                           merged(what.base, row.base, *flags)};
  batch.items.push_back({static_cast<std::size_t>(&to - works_.data()), to.row.id, to.row.generation, std::move(row),
                         std::move(delivery)});
  batch.directories.push_back(to.row.destination);
  return true;
}

}  // namespace mailhaul::sync
