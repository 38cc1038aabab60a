// Sources whose messages have names, and whose sessions take effect at their end (POP3): the book of names, the
// deletion of what was collected long enough ago, and the farewell. Rules 7 and 10: nothing is deleted there before its
// copy is durable, read again and equal; and no session ends with effect after a failure.
#include <algorithm>

#include "collector/sync/engine.h"

namespace mailhaul::sync {

using store::MessageState;

namespace {

constexpr std::size_t kWindow = 500;

}  // namespace

Done Engine::open_names() {
  const auto named = std::ranges::find_if(works_, [](const Work& w) { return w.source.named; });
  if (named == works_.end()) return done();
  names_ = std::make_unique<Names>(context_.ledger, *context_.clock, settings_.dry_run);
  names_->bind(named->row);
  if (source_) source_->use(*names_);
  if (named->row.id.value == 0) return done();
  constexpr MessageState kDelivered[] = {MessageState::Delivered};
  auto had = names_->in_state(kDelivered);
  if (!had) return had.error();
  named->had = *std::move(had);
  return done();
}

Result<KeyOf> Engine::keys_of(const Work& work, std::optional<UidValidity> validity) {
  if (names_ && work.source.named) return names_->key_maker(account_.uuid, work.source.raw_name, validity);
  return key_maker(account_.uuid, work.source.raw_name, validity);
}

Result<bool> Engine::copy_is_whole(const Work& work, const store::MessageRow& row, const store::FoundCopy& copy) {
  mail::Sha256 hash;
  auto read = context_.destination->read(work.row.destination, copy, row.form, [&](std::string_view chunk) {
    hash.update(chunk);
    return true;
  });
  if (!read) return read.error().scope == Scope::Message ? Result<bool>(false) : Result<bool>(read.error());
  return row.sha256 == hash.finish();
}

// What may go at the source now. A message whose copy was moved or removed by its owner stays there: nothing vouches
// for it any more.
Result<UidSet> Engine::removable(Work& work) {
  UidSet out;
  const auto validity = work.row.uid_validity;
  if (!settings_.policy.leave || settings_.dry_run || !work.observed || !validity) return out;
  auto names = names_->names(*validity);
  if (!names) return names.error();
  Leaving facts;
  facts.quiet = work.planned && work.clean && !work.fresh_generation && work.report.error.empty();
  const auto now = context_.clock->unix_seconds();
  auto rest = work.had.intersect(work.view.present);
  while (!rest.empty()) {
    if (context_.stop.stop_requested()) return UidSet{};
    const auto some = rest.take_front(kWindow, SIZE_MAX);
    const Uid first{some.ranges().front().first}, last = *some.highest();
    auto rows = context_.ledger->messages(work.row.id, work.row.generation, first, last, SIZE_MAX >> 1);
    if (!rows) return rows.error();
    auto placements = context_.ledger->placements(work.row.id, work.row.generation, first, last);
    if (!placements) return placements.error();
    for (const auto& row : *rows) {
      facts.delivered_before = some.contains(row.uid);
      facts.same_at_source = work.view.present.contains(row.uid);
      facts.first_seen = row.uid.value <= names->size() ? (*names)[row.uid.value - 1].first_seen : now;
      facts.copy_whole = true;  // reading is dear: only where everything else speaks for it
      if (!removable_at_source(settings_.policy, row, facts, now)) continue;
      const auto placement = std::ranges::find(*placements, row.uid, &store::PlacementRow::uid);
      if (placement == placements->end()) continue;
      auto found = context_.destination->look(placement->directory, {&placement->key, 1});
      if (!found) return found.error();
      if (found->empty() || placement->directory != work.row.destination) continue;
      auto whole = copy_is_whole(work, row, found->front());
      if (!whole) return whole.error();
      facts.copy_whole = *whole;
      if (removable_at_source(settings_.policy, row, facts, now)) out.add(row.uid);
    }
  }
  return out;
}

// Say, do; the next session's list settles it. Without a connection there is nothing to take leave of: what an earlier
// one has read is offered again.
Done Engine::take_leave() {
  const auto named = std::ranges::find_if(works_, [](const Work& w) { return w.source.named; });
  if (named == works_.end() || settings_.dry_run) return done();
  auto& work = *named;
  auto goes = removable(work);
  if (!goes) return goes.error();
  if (!goes->empty())
    if (auto said = names_->mean_removal(*work.row.uid_validity, *goes); !said) return said;
  if (goes->empty() && !source_) return done();
  auto source = connected();
  if (!source) return source.error();
  const auto index = static_cast<std::size_t>(&work - works_.data());
  auto farewell = (*source)->conclude(work.fetch(index, *std::move(goes)));
  source_.reset();
  if (!farewell) {
    tell(Trouble{"the session did not end in good order: " + farewell.error().what + "; the next run sees to it"});
    return done();
  }
  if (!farewell->effective)
    tell(Trouble{farewell->why_not});
  else
    work.report.deleted = farewell->removed.size();
  return done();
}

}  // namespace mailhaul::sync
