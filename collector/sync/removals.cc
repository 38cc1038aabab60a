// What becomes of the copies of vanished messages, after everything else of a run: first the fuse, over all mailboxes,
// then, mailbox by mailbox, the policy. A copy is touched only if this very run has seen the mailbox whole, the list
// lacks the UID, and asking for it alone shows nothing.
#include <algorithm>

#include "collector/sync/engine.h"

namespace mailhaul::sync {
namespace {

using store::MessageState;
using store::Removal;

constexpr std::size_t kWindow = 2048;
constexpr std::int64_t kDay = 86'400;

std::string of_all(std::uint64_t vanished, std::uint64_t left) {
  return std::to_string(vanished) + " of " + std::to_string(vanished + left) + " messages vanished";
}

}  // namespace

// What a person has released includes everything that was missing at that second.
std::int64_t Engine::missed_at(const Work& work) const {
  return std::max(context_.clock->unix_seconds(), work.row.released + 1);
}

Done Engine::remove_vanished() {
  if (settings_.policy.on_source_delete == OnSourceDelete::Keep || settings_.dry_run) return done();
  if (auto held = hold_anomalies(); !held) return held;
  CopiesTouched touched;
  for (std::size_t index = 0; index < works_.size(); ++index) {
    auto& work = works_[index];
    if (context_.stop.stop_requested()) return done();
    if (auto r = remove_from(work, index); !r) return r;
    touched.removed += work.report.removed;
    touched.marked += work.report.marked;
  }
  if (touched.removed + touched.marked > 0) tell(touched);
  return done();
}

// Counted over the grace period, a day at least: whoever loses a little each time is stopped, too. What is held already
// freezes nobody else.
Done Engine::hold_anomalies() {
  const auto& policy = settings_.policy;
  const auto since = context_.clock->unix_seconds() - std::max(policy.grace, kDay);
  const bool waiting = policy.on_source_delete == OnSourceDelete::Remove;
  auto rows = context_.ledger->mailboxes(account_.id);
  if (!rows) return rows.error();
  std::uint64_t all_vanished = 0, all_left = 0;
  std::vector<Work*> losing;
  for (auto& work : works_) {
    const auto row = std::ranges::find(*rows, work.row.id, &store::MailboxRow::id);
    if (row == rows->end() || !row->held.empty()) continue;
    if (!work.by_content.empty() && policy.on_source_delete != OnSourceDelete::Keep) {
      if (auto r = hold(work, work.by_content); !r) return r;
      continue;
    }
    auto vanished = context_.ledger->vanished_count(*row, since, waiting);
    if (!vanished) return vanished.error();
    const auto left = alive_rows(row->tally);
    if (anomalous(policy, *vanished, left)) {
      if (auto r = hold(work, of_all(*vanished, left)); !r) return r;
      continue;
    }
    all_vanished += *vanished;
    all_left += left;
    if (*vanished > 0) losing.push_back(&work);
  }
  if (losing.empty() || !anomalous(policy, all_vanished, all_left)) return done();
  for (auto* work : losing)
    if (auto r = hold(*work, of_all(all_vanished, all_left) + " from the account"); !r) return r;
  return done();
}

Done Engine::hold(Work& work, std::string why) {
  work.row.held = std::move(why);
  auto transaction = context_.ledger->begin();
  if (!transaction) return transaction.error();
  if (auto r = transaction->update_mailbox(work.row); !r) return r;
  if (auto r = transaction->commit(); !r) return r;
  tell(Held{work.report.name, work.row.held});
  return done();
}

// The vanished messages whose copies the policy may touch now.
Result<UidSet> Engine::due_copies(const Work& work) {
  const auto& policy = settings_.policy;
  const bool removes = policy.on_source_delete == OnSourceDelete::Remove;
  if (policy.on_source_delete == OnSourceDelete::Keep || settings_.dry_run || work.row.id.value == 0 ||
      !work.row.held.empty() || work.fresh_generation)
    return UidSet{};
  auto due = context_.ledger->vanished_copies(work.row.id, work.row.generation,
                                              removes ? context_.clock->unix_seconds() - policy.grace : INT64_MAX);
  if (!due || removes) return due;
  UidSet unmarked;
  while (!due->empty()) {
    const auto some = due->take_front(kWindow, SIZE_MAX);
    const Uid first{some.ranges().front().first}, last = *some.highest();
    auto rows = context_.ledger->messages(work.row.id, work.row.generation, first, last, SIZE_MAX >> 1);
    if (!rows) return rows.error();
    for (const auto& row : *rows)
      if (some.contains(row.uid) && (!row.base.has(kSourceGone) || row.next_base)) unmarked.add(row.uid);
  }
  return unmarked;
}

Done Engine::remove_from(Work& work, std::size_t index) {
  if (!work.observed || !work.planned || !work.clean || work.view.completeness != Completeness::Complete ||
      work.view.validity != work.row.uid_validity)
    return done();
  auto due = due_copies(work);
  if (!due) return due.error();
  auto missing = due->minus(work.view.present);
  const auto asked = missing.minus(work.vanished);  // those were asked for in this run already
  if (!asked.empty()) {
    auto shown = on_source([&](Source& source) { return source.probe(work.fetch(index, asked)); });
    if (!shown) return shown.error();
    missing = missing.minus(*shown);
  }
  while (!missing.empty()) {
    if (context_.stop.stop_requested()) return done();
    if (auto r = remove_window(work, index, missing.take_front(kWindow, SIZE_MAX)); !r) return r;
  }
  return done();
}

Done Engine::remove_window(Work& work, std::size_t index, const UidSet& uids) {
  std::vector<Uid> window;
  uids.each([&](Uid uid) { window.push_back(uid); });
  work.todo = {};
  work.vanished = uids;
  work.removals = true;
  if (auto r = plan_window(work, index, window); !r) return r;
  return carry_out_removals(work);
}

// Say, do, settle. A file that is gone while its removal was only meant was removed by us; see plan.h.
Done Engine::carry_out_removals(Work& work) {
  const auto id = work.row.id;
  const auto generation = work.row.generation;
  const auto todo = std::exchange(work.todo, {});
  if (todo.remove.empty() && todo.note_removed.empty() && todo.flags.empty()) return done();
  auto said = context_.ledger->begin();
  if (!said) return said.error();
  for (const auto uid : todo.note_removed)
    if (auto r = said->set_removal(id, generation, uid, Removal::ByOwner); !r) return r;
  for (const auto& [removal, copy] : todo.remove)
    if (auto r = said->set_removal(id, generation, removal.uid, Removal::Meant); !r) return r;
  for (const auto& [store, copy] : todo.flags)
    if (auto r = said->intend_flags(id, generation, store.uid, store.base); !r) return r;
  if (auto r = said->commit(); !r) return r;
  if (todo.remove.empty() && todo.flags.empty()) return done();

  for (const auto& [removal, copy] : todo.remove)
    if (copy)
      if (auto r = context_.destination->remove(work.row.destination, *copy); !r) return r;
  std::vector<Uid> untouched;  // their owner was quicker; the next run looks again
  for (const auto& [store, copy] : todo.flags)
    if (auto r = context_.destination->set_flags(work.row.destination, copy, store.flags); !r) {
      if (r.error().scope != Scope::Message) return r.error();
      untouched.push_back(store.uid);
    }
  if (auto r = context_.destination->sync_directory(work.row.destination); !r) return r;

  auto settled = context_.ledger->begin();
  if (!settled) return settled.error();
  for (const auto& [removal, copy] : todo.remove)
    if (auto r = settled->set_removal(id, generation, removal.uid, Removal::Done); !r) return r;
  for (const auto& [store, copy] : todo.flags)
    if (std::ranges::find(untouched, store.uid) == untouched.end())
      if (auto r = settled->settle_flags(id, generation, store.uid, store.base); !r) return r;
  if (auto r = settled->commit(); !r) return r;
  work.report.removed += todo.remove.size();
  work.report.marked += todo.flags.size() - untouched.size();
  return done();
}

// Messages whose copies we removed are at the source again: intents like any other. Durable first, so that a file whose
// removal a loss of power undoes is not a second copy.
Done Engine::relist(Work& work) {
  const auto uids = std::exchange(work.todo.relist, {});
  if (uids.empty()) return done();
  if (auto r = context_.destination->sync_directory(work.row.destination); !r) return r;
  auto transaction = context_.ledger->begin();
  if (!transaction) return transaction.error();
  for (const auto uid : uids)
    if (auto r = transaction->relist(work.row.id, work.row.generation, uid); !r) return r;
  return transaction->commit();
}

// A removal that was meant when its generation ended is settled one way or the other, or the message that is recognised
// later would be taken for one that its owner removed.
Done Engine::settle_removals_of_the_old(Work& work, store::Ledger::Transaction& transaction) {
  constexpr MessageState kVanished[] = {MessageState::Vanished};
  const auto id = work.row.id;
  const auto generation = work.row.generation;
  auto uids = transaction.uids(id, generation, kVanished);
  if (!uids) return uids.error();
  bool synced = false;
  while (!uids->empty()) {
    const auto some = uids->take_front(kWindow, SIZE_MAX);
    const Uid first{some.ranges().front().first}, last = *some.highest();
    auto rows = transaction.messages(id, generation, first, last, SIZE_MAX >> 1);
    if (!rows) return rows.error();
    auto placements = transaction.placements(id, generation, first, last);
    if (!placements) return placements.error();
    for (const auto& placement : *placements) {
      const auto row = std::ranges::find(*rows, placement.uid, &store::MessageRow::uid);
      if (row == rows->end() || row->removal != Removal::Meant) continue;
      if (!synced)
        if (auto r = context_.destination->sync_directory(work.row.destination); !r) return r;
      synced = true;
      auto found = context_.destination->look(placement.directory, {&placement.key, 1});
      if (!found) return found.error();
      if (auto r = transaction.set_removal(id, generation, row->uid, found->empty() ? Removal::Done : Removal::None);
          !r)
        return r;
    }
  }
  return done();
}

}  // namespace mailhaul::sync
