// What the source says, folded into rows to write and plans to carry out.
#include <algorithm>

#include "collector/sync/engine.h"

namespace mailhaul::sync {
namespace {

using store::MessageState;

constexpr std::size_t kWindow = 2048;  // UIDs planned at once
constexpr std::uint64_t kHot = 2000;   // messages whose flags are looked at each time where nothing tells of changes
constexpr std::uint32_t kGap = 256;    // UIDs nearer than this are read from the ledger in one stretch

// RFC 7162 §3.1.2: an unchanged HIGHESTMODSEQ vouches for every flag.
bool vouched_for(const Work& work) {
  return !work.audit && work.source.highest_modseq && work.row.modseq &&
         *work.source.highest_modseq == work.row.modseq->value;
}

}  // namespace

ObserveRequest Engine::request_for(const Work& work, std::size_t index, bool complete) const {
  ObserveRequest request;
  request.index = index;
  request.raw_name = work.source.raw_name;
  const bool known = work.row.uid_validity.has_value() && !work.fresh_generation;
  if (known) request.known_validity = work.row.uid_validity;
  if (known && !complete) request.floor = work.row.floor;
  request.modseq = known && !work.audit ? work.row.modseq : std::nullopt;
  request.flags =
      known && !vouched_for(work) && alive_rows(work.row.tally) + work.row.tally.of(MessageState::Vanished) > 0;
  request.beyond = known && work.beyond;
  request.descriptors = settings_.policy.needs_descriptors() || !work.by_content.empty();
  return request;
}

Done Engine::observe(Group group) {
  std::vector<ObserveRequest> requests;
  for (auto& work : group) {
    if (work.row.id.value == 0) continue;
    auto rows = context_.ledger->messages(work.row.id, work.row.generation, work.row.floor, Uid{UINT32_MAX}, 1);
    if (!rows) return rows.error();
    work.beyond = !rows->empty();
    auto why = why_by_content(work);
    if (!why) return why.error();
    work.by_content = work.report.by_content = *std::move(why);
  }
  for (auto& work : group) {
    requests.push_back(
        request_for(work, static_cast<std::size_t>(&work - group.data()), work.audit || !work.by_content.empty()));
    if (auto r = hot_flags(work, requests.back()); !r) return r;
    if (auto r = landmarks(work, requests.back()); !r) return r;
  }
  auto views = on_source([&](Source& source) { return source.observe(requests); });
  if (!views) return views.error();
  std::vector<std::size_t> again;
  for (auto& view : *views) {
    const auto index = view.index;
    if (auto r = take_view(group[index], std::move(view)); !r) return r;
    if (auto r = suspect(group[index]); !r) return r;
    auto accounted = accounts_for_exists(group[index], group[index].view.completeness == Completeness::Complete);
    if (!accounted) return accounted.error();
    auto& work = group[index];
    if (work.observed && *accounted && !work.told_gone.empty())
      if (auto r = prove(work, static_cast<std::size_t>(&work - works_.data()), work.told_gone); !r) return r;
    if (work.observed && (!*accounted || (!work.told_gone.empty() && !work.clean))) again.push_back(index);
  }
  if (!again.empty())
    if (auto r = reobserve(group, again); !r) return r;
  for (auto& work : group)
    if (auto r = check_identity(work, static_cast<std::size_t>(&work - works_.data())); !r) return r;
  return done();
}

// Without mod-sequences: the newest messages each time, all of them when the number of unseen ones has changed, and
// once a day.
Done Engine::hot_flags(const Work& work, ObserveRequest& request) {
  const auto& row = work.row;
  if (!request.flags || work.audit || row.modseq || work.source.highest_modseq || row.id.value == 0) return done();
  if (work.source.unseen && work.source.unseen != row.unseen_seen) return done();
  constexpr MessageState kDelivered[] = {MessageState::Delivered, MessageState::Vanished};
  auto known = context_.ledger->uids(row.id, row.generation, kDelivered);
  if (!known) return known.error();
  const auto many = known->size();
  if (many <= kHot) return done();
  known->take_front(many - kHot, SIZE_MAX);
  request.flags_of = *std::move(known);
  return done();
}

Done Engine::take_view(Work& work, MailboxView view) {
  work.view = std::move(view);
  work.observed = !work.view.error;
  work.clean = false;
  if (work.view.error) {
    work.report.error = work.view.error->what;
    tell(MailboxFailed{work.report.name, work.report.error});
    return done();
  }
  work.report.exists = work.view.exists;
  work.view.changes.sort();
  // A message whose flags are told is there, whether or not it was listed.
  UidSet told;
  for (const auto uid : work.view.changes.uids())
    if (work.view.completeness == Completeness::Complete || uid >= work.row.floor) told.add(uid);
  work.view.present.merge(told);
  if (work.row.uid_validity != work.view.validity || work.row.generation == 0) return new_generation(work);
  // Flags were not asked for: what has changed since the list of mailboxes came is for the next run.
  if (vouched_for(work)) work.view.modseq = work.row.modseq;
  auto keys = keys_of(work, work.view.validity);
  if (!keys) return keys.error();
  work.key_of = *std::move(keys);
  return done();
}

// A new UIDVALIDITY says that the old UIDs mean nothing, not that the messages are gone (RFC 4549 §4.1).
Done Engine::new_generation(Work& work) {
  const auto old_key_of = keys_of(work, work.row.uid_validity);
  if (!old_key_of) return old_key_of.error();
  auto keys = keys_of(work, work.view.validity);
  if (!keys) return keys.error();
  work.key_of = *std::move(keys);
  work.fresh_generation = true;
  const bool first = !work.row.uid_validity && alive_rows(work.row.tally) == 0;
  if (settings_.dry_run || work.row.id.value == 0) {
    work.row.uid_validity = work.view.validity;
    work.row.floor = Uid{1};
    if (names_ && work.source.named) names_->bind(work.row);
    return done();
  }
  auto transaction = context_.ledger->begin();
  if (!transaction) return transaction.error();
  if (first) {
    auto row = work.row;
    row.uid_validity = work.view.validity;
    if (auto r = transaction->update_mailbox(row); !r) return r;
    work.row = row;
  } else {
    if (auto r = settle_files_of_the_old(work, *transaction, *old_key_of); !r) return r;
    if (auto r = settle_removals_of_the_old(work, *transaction); !r) return r;
    if (auto r = transaction->new_generation(work.row.id, work.view.validity, context_.clock->unix_seconds()); !r)
      return r;
    auto row = transaction->mailbox(work.row.id);
    if (!row) return row.error();
    work.row = *std::move(row);
    if (settings_.policy.on_source_delete != OnSourceDelete::Keep && work.row.held.empty()) {
      work.row.held = "its UIDVALIDITY changed";
      if (auto r = transaction->update_mailbox(work.row); !r) return r;
    }
  }
  if (names_ && work.source.named) names_->bind(work.row);
  return transaction->commit();
}

// A run that was cut off before it could settle has left files under keys that nobody would look for again.
Done Engine::settle_files_of_the_old(Work& work, store::Ledger::Transaction& transaction, const KeyOf& key_of) {
  constexpr MessageState kUndelivered[] = {MessageState::Listed, MessageState::Excluded, MessageState::Failed,
                                           MessageState::Gone};
  auto uids = transaction.uids(work.row.id, work.row.generation, kUndelivered);
  if (!uids) return uids.error();
  while (!uids->empty()) {
    std::vector<std::pair<DeliveryKey, Uid>> keys;
    uids->take_front(kWindow, SIZE_MAX).each([&](Uid uid) { keys.emplace_back(key_of(uid, 0), uid); });
    std::ranges::sort(keys);
    std::vector<DeliveryKey> sorted;
    sorted.reserve(keys.size());
    for (const auto& [key, uid] : keys) sorted.push_back(key);
    auto found = context_.destination->look(work.row.destination, sorted);
    if (!found) return found.error();
    std::vector<store::Ledger::Transaction::Settled> settled;
    for (const auto& copy : *found) {
      auto row = read_copy(work.row.destination, copy, std::nullopt);
      if (!row) return row.error();
      row->uid = std::ranges::lower_bound(keys, copy.name.key, {}, [](const auto& k) { return k.first; })->second;
      settled.push_back({*std::move(row), work.row.destination, copy.name.key});  // no base: flags are united later
    }
    if (auto r = transaction.settle(work.row.id, work.row.generation, settled); !r) return r;
  }
  return done();
}

// Does what we know plus what is new make up EXISTS? If so nothing has vanished, whatever the server left unsaid.
Result<bool> Engine::accounts_for_exists(Work& work, bool complete) {
  if (!work.observed) return true;
  if (complete) {
    work.clean = work.view.present.size() == work.view.exists;
    return alive_rows(work.row.tally) == 0;  // otherwise the rows are yet to be compared with it
  }
  if (work.fresh_generation) return false;  // a delta of another life
  if (work.suspect) return false;
  UidSet fresh = work.view.present;
  UidSet gone = work.view.vanished;
  const auto told = work.view.changes.uids();
  if (work.beyond || !told.empty() || !gone.empty()) {
    constexpr MessageState kAlive[] = {MessageState::Listed, MessageState::Delivered, MessageState::Excluded,
                                       MessageState::Failed};
    auto known = context_.ledger->uids(work.row.id, work.row.generation, kAlive);
    if (!known) return known.error();
    for (const auto uid : told) fresh.add(uid);  // below the floor, too: what had gone may be there again
    gone = gone.intersect(*known).minus(fresh);
    fresh = fresh.minus(*known);
  }
  work.clean = alive_rows(work.row.tally) + fresh.size() == work.view.exists + gone.size();
  if (!work.clean) return false;
  work.told_gone = std::move(gone);
  // Where copies may be touched, nothing less than the whole list will do.
  return work.told_gone.empty() || settings_.policy.on_source_delete == OnSourceDelete::Keep;
}

// The full list of UIDs, for mailboxes whose count does not add up; then proof, by a second kind of question, for what
// it leaves out.
Done Engine::reobserve(Group group, const std::vector<std::size_t>& which) {
  std::vector<ObserveRequest> requests;
  std::vector<SeenFlags> changes;
  for (const auto index : which)
    if (group[index].view.completeness != Completeness::Complete)
      requests.push_back(request_for(group[index], index, true));
  auto views = on_source([&](Source& source) { return source.observe(requests); });
  if (!views) return views.error();
  for (auto& view : *views) {
    auto& work = group[view.index];
    if (auto r = take_view(work, std::move(view)); !r) return r;
    if (work.observed) work.clean = work.view.present.size() == work.view.exists;
  }
  for (const auto index : which) {
    auto& work = group[index];
    if (!work.observed || work.row.id.value == 0) continue;
    if (auto r = prove_vanished(work, static_cast<std::size_t>(&work - works_.data())); !r) return r;
  }
  return done();
}

Done Engine::prove_vanished(Work& work, std::size_t index) {
  constexpr MessageState kAlive[] = {MessageState::Listed, MessageState::Delivered, MessageState::Excluded,
                                     MessageState::Failed};
  auto known = context_.ledger->uids(work.row.id, work.row.generation, kAlive);
  if (!known) return known.error();
  return prove(work, index, known->minus(work.view.present));
}

// What one kind of evidence calls gone is asked for: the other kind.
Done Engine::prove(Work& work, std::size_t index, const UidSet& missing) {
  if (missing.empty() || !work.clean) return done();  // a list that contradicts EXISTS proves nothing
  auto shown = on_source([&](Source& source) { return source.probe(work.fetch(index, missing)); });
  if (!shown) return shown.error();
  work.vanished = missing.minus(*shown);
  if (work.vanished != missing)
    work.clean = false;  // a server that shows what it does not list: the next run looks again
  work.view.present.merge(missing.intersect(*shown));
  return done();
}

// Everything that this poll touches: new mail, changed flags, what earlier runs left undone, and what has vanished.
Done Engine::plan_mailbox(Work& work, std::size_t index) {
  UidSet touched = work.view.present;
  if (work.row.id.value != 0) {
    if (work.view.completeness == Completeness::Complete) {
      constexpr MessageState kSettled[] = {MessageState::Delivered};
      auto settled = context_.ledger->uids(work.row.id, work.row.generation, kSettled);
      if (!settled) return settled.error();
      touched = touched.minus(*settled);
    }
    constexpr MessageState kDue[] = {MessageState::Listed, MessageState::Failed, MessageState::Excluded};
    auto due = context_.ledger->uids(work.row.id, work.row.generation, kDue, context_.clock->unix_seconds());
    if (!due) return due.error();
    touched.merge(*due);
  }
  for (const auto uid : work.view.changes.uids()) touched.add(uid);
  touched.merge(work.vanished);
  touched = touched.minus(work.postponed);
  std::vector<Uid> window;
  while (!touched.empty()) {
    if (context_.stop.stop_requested()) return done();
    window.clear();
    touched.take_front(kWindow, SIZE_MAX).each([&](Uid uid) { window.push_back(uid); });
    if (auto r = plan_window(work, index, window); !r) return r;
  }
  work.planned = true;
  return done();
}

Result<LedgerWindow> Engine::load(const Work& work, std::span<const Uid> uids) {
  LedgerWindow out;
  if (work.row.id.value == 0) return out;
  for (std::size_t i = 0; i < uids.size();) {
    std::size_t j = i;
    while (j + 1 < uids.size() && uids[j + 1].value - uids[j].value <= kGap) ++j;
    auto rows = context_.ledger->messages(work.row.id, work.row.generation, uids[i], uids[j], SIZE_MAX >> 1);
    if (!rows) return rows.error();
    if (!rows->empty()) {
      auto placements = context_.ledger->placements(work.row.id, work.row.generation, uids[i], uids[j]);
      if (!placements) return placements.error();
      std::ranges::move(*placements, std::back_inserter(out.placements));
    }
    std::ranges::move(*rows, std::back_inserter(out.rows));
    i = j + 1;
  }
  return out;
}

SourceWindow Engine::source_window(const Work& work, std::span<const Uid> uids, const LedgerWindow& ledger) const {
  SourceWindow out;
  out.removals = work.removals;
  out.messages.reserve(uids.size());
  for (const auto uid : uids) {
    if (work.vanished.contains(uid))
      out.vanished.add(uid);
    else
      out.messages.push_back({uid, {}, {}, {}});
  }
  const auto find = [&](Uid uid) -> SourceMessage* {
    const auto it = std::ranges::lower_bound(out.messages, uid, {}, &SourceMessage::uid);
    return it != out.messages.end() && it->uid == uid ? &*it : nullptr;
  };
  work.view.changes.each(uids.front(), uids.back(), [&](Uid uid, const FlagSet& flags) {
    if (auto* message = find(uid)) message->flags = flags;
  });
  for (const auto& row : ledger.rows)  // what an earlier poll was told about an excluded message
    if (auto* message = find(row.uid); message && row.state == MessageState::Excluded) {
      message->size = row.octets;
      message->date = row.internal_date;
    }
  auto it = std::ranges::lower_bound(work.view.descriptors, uids.front(), {}, &Descriptor::uid);
  for (; it != work.view.descriptors.end() && it->uid <= uids.back(); ++it)
    if (auto* message = find(it->uid)) {
      message->size = it->size;
      message->date = it->date;
    }
  return out;
}

Done Engine::plan_window(Work& work, std::size_t index, std::span<const Uid> uids) {
  auto ledger = load(work, uids);
  if (!ledger) return ledger.error();
  auto source = source_window(work, uids, *ledger);
  if (auto r = identify(work, index, source, *ledger); !r) return r;
  std::vector<store::FoundCopy> found;
  std::vector<Copy> copies;
  if (context_.destination) {
    const auto keys = keys_of_interest(source, *ledger, work.key_of);
    auto looked = context_.destination->look(work.row.destination, keys);
    if (!looked) return looked.error();
    found = *std::move(looked);
    for (const auto& copy : found) {
      auto flags = context_.destination->flags_of(work.row.destination, copy);
      if (!flags) return flags.error();
      copies.push_back({copy.name.key, *std::move(flags)});
    }
    std::ranges::sort(copies, {}, &Copy::key);
    std::ranges::sort(found, {}, [](const store::FoundCopy& c) { return c.name.key; });
  }
  auto decided = plan(settings_.policy, source, *ledger, copies, work.key_of, context_.clock->unix_seconds());
  if (auto r = fold(work, std::move(decided), source, found); !r) return r;
  if (settings_.dry_run) return done();
  if (auto r = relist(work); !r) return r;
  if (auto r = say_identities(work, source, *ledger); !r) return r;
  return adopt(work, index);
}

Done Engine::fold(Work& work, Plan plan, const SourceWindow& source, const std::vector<store::FoundCopy>& found) {
  const auto copy_of = [&](const DeliveryKey& key) {
    return std::ranges::lower_bound(found, key, {}, [](const store::FoundCopy& c) { return c.name.key; });
  };
  auto& todo = work.todo;
  for (auto& action : plan.actions) {
    if (auto* a = std::get_if<Deliver>(&action)) {
      todo.deliver.add(a->uid);
      if (a->new_row) todo.list.add(a->uid);
      if (a->reuse != 0) todo.reuse[a->uid] = a->reuse;
    } else if (auto* adoption = std::get_if<Adopt>(&action)) {
      todo.adopt.push_back(*adoption);
    } else if (auto* exclusion = std::get_if<Exclude>(&action)) {
      const auto it = std::ranges::lower_bound(source.messages, exclusion->uid, {}, &SourceMessage::uid);
      todo.exclude.emplace_back(std::move(*exclusion), *it);
    } else if (auto* store = std::get_if<StoreFlags>(&action)) {
      const auto it = copy_of(store->key);
      // Its flags first, then the row is delivered again: cut off in between, it is looked at once more.
      if (!todo.revive.empty() && todo.revive.back() == store->uid) {
        todo.revive.pop_back();
        todo.revive_levelled.push_back(store->uid);
      }
      todo.flags.emplace_back(std::move(*store), *it);
    } else if (auto* settle = std::get_if<SettleFlags>(&action)) {
      todo.settle_flags.push_back(std::move(*settle));
    } else if (const auto* revive = std::get_if<Revive>(&action)) {
      todo.revive.push_back(revive->uid);
    } else if (const auto* gone = std::get_if<MarkGone>(&action)) {
      todo.gone.push_back(gone->uid);
    } else if (const auto* vanished = std::get_if<MarkVanished>(&action)) {
      todo.vanished.push_back(vanished->uid);
    } else if (const auto* relist = std::get_if<Relist>(&action)) {
      todo.relist.push_back(relist->uid);
    } else if (const auto* noted = std::get_if<NoteRemoved>(&action)) {
      todo.note_removed.push_back(noted->uid);
    } else if (const auto* removal = std::get_if<Remove>(&action)) {
      const auto it = copy_of(removal->key);
      const bool there = it != found.end() && it->name.key == removal->key;
      todo.remove.emplace_back(*removal, there ? std::optional(*it) : std::nullopt);
    }
  }
  return done();
}

}  // namespace mailhaul::sync
