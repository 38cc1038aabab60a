// The local effects of a plan besides deliveries. Say first: the ledger knows what is meant before the destination is
// touched.
#include <algorithm>

#include "collector/sync/engine.h"

namespace mailhaul::sync {

using store::MessageState;

// One transaction for the whole group: a thousand small mailboxes share one sync.
Done Engine::say(Group group) {
  if (std::ranges::none_of(group, [](const Work& w) { return w.observed && w.todo.says_something(); })) return done();
  auto transaction = context_.ledger->begin();
  if (!transaction) return transaction.error();
  for (auto& work : group) {
    if (!work.observed) continue;
    const auto id = work.row.id;
    const auto generation = work.row.generation;
    if (!work.todo.list.empty())
      if (auto r = transaction->list(id, generation, work.todo.list); !r) return r;
    for (const auto& [exclusion, message] : work.todo.exclude) {
      store::MessageRow row;
      row.uid = exclusion.uid;
      row.state = MessageState::Excluded;
      row.reason = exclusion.reason;
      row.octets = message.size;
      row.internal_date = message.date;
      row.email_id = message.email_id;
      if (auto r = transaction->put(id, generation, row); !r) return r;
    }
    const auto each = [&](const std::vector<Uid>& uids, MessageState state) {
      for (const auto uid : uids)
        if (auto r = transaction->set_state(id, generation, uid, state); !r) return r;
      return done();
    };
    if (auto r = each(work.todo.gone, MessageState::Gone); !r) return r;
    const auto now = missed_at(work);
    for (const auto uid : work.todo.vanished)
      if (auto r = transaction->vanish(id, generation, uid, now); !r) return r;
    for (const auto uid : work.todo.revive)
      if (auto r = transaction->revive(id, generation, uid); !r) return r;
    for (const auto& [store, copy] : work.todo.flags)
      if (auto r = transaction->intend_flags(id, generation, store.uid, store.base); !r) return r;
    for (const auto& settle : work.todo.settle_flags)
      if (auto r = transaction->settle_flags(id, generation, settle.uid, settle.base); !r) return r;
  }
  return transaction->commit();
}

// Flags: the intent is said; rename the files, make the directories durable, settle the bases.
Done Engine::level_flags(Group group) {
  if (std::ranges::none_of(group, [](const Work& w) { return w.observed && !w.todo.flags.empty(); })) return done();
  std::uint64_t levelled = 0;
  for (auto& work : group) {
    if (!work.observed || work.todo.flags.empty()) continue;
    for (const auto& [store, copy] : work.todo.flags)
      if (auto r = context_.destination->set_flags(work.row.destination, copy, store.flags); !r) return r.error();
    if (auto r = context_.destination->sync_directory(work.row.destination); !r) return r;
  }
  auto transaction = context_.ledger->begin();
  if (!transaction) return transaction.error();
  for (auto& work : group) {
    if (!work.observed) continue;
    for (const auto& [store, copy] : work.todo.flags)
      if (auto r = transaction->settle_flags(work.row.id, work.row.generation, store.uid, store.base); !r) return r;
    for (const auto uid : work.todo.revive_levelled)
      if (auto r = transaction->revive(work.row.id, work.row.generation, uid); !r) return r;
    work.report.flags += work.todo.flags.size();
    levelled += work.todo.flags.size();
  }
  if (auto r = transaction->commit(); !r) return r;
  tell(FlagsLevelled{levelled});
  return done();
}

// Files that lie under a wanted message's key: taken for delivered if the header block agrees with what the server has
// under that UID; otherwise the UID was used twice, and the message gets a key of its own.
Done Engine::adopt(Work& work, std::size_t index) {
  const auto adoptions = std::exchange(work.todo.adopt, {});
  if (adoptions.empty()) return done();
  UidSet uids;
  for (const auto& a : adoptions) uids.add(a.uid);
  auto headers = on_source([&](Source& source) { return source.headers(work.fetch(index, uids)); });
  if (!headers && headers.error().scope == Scope::Mailbox) headers = std::vector<Headers>{};
  if (!headers) return headers.error();
  std::vector<DeliveryKey> keys;
  keys.reserve(adoptions.size());
  for (const auto& a : adoptions) keys.push_back(a.key);
  std::ranges::sort(keys);
  auto found = context_.destination->look(work.row.destination, keys);
  if (!found) return found.error();

  std::vector<store::Ledger::Transaction::Settled> settled;
  for (const auto& a : adoptions) {
    const auto header = std::ranges::find(*headers, a.uid, &Headers::uid);
    const auto copy = std::ranges::find(*found, a.key, [](const store::FoundCopy& c) { return c.name.key; });
    if (header != headers->end() && copy != found->end()) {
      if (auto r = adopt_one(work, *header, a, *copy, settled); !r) return r;
    } else if (a.new_row) {
      work.todo.list.add(a.uid);  // not answered, or gone meanwhile: the next run looks again
    }
  }
  if (settled.empty()) return done();
  auto transaction = context_.ledger->begin();
  if (!transaction) return transaction.error();
  if (auto r = transaction->settle(work.row.id, work.row.generation, settled); !r) return r;
  if (auto r = transaction->commit(); !r) return r;
  work.report.adopted += settled.size();
  return done();
}

// Goes through the keys of a UID that was used again and again until one's file is the message, or there is none.
Done Engine::adopt_one(Work& work, const Headers& headers, Adopt adopt, store::FoundCopy copy,
                       std::vector<store::Ledger::Transaction::Settled>& settled) {
  for (;;) {
    auto row = read_copy(work.row.destination, copy, headers.size);
    if (!row) return row.error();
    if (row->header_digest == headers.evidence.header_digest) {
      auto flags = context_.destination->flags_of(work.row.destination, copy);
      if (!flags) return flags.error();
      row->uid = headers.uid;
      row->reuse = adopt.reuse;
      row->base = headers.flags.intersected(*flags);
      if (headers.flags != row->base)
        work.todo.flags.emplace_back(
            StoreFlags{headers.uid, adopt.key, merged(row->base, headers.flags, *flags), headers.flags}, copy);
      settled.push_back({*std::move(row), work.row.destination, adopt.key});
      return done();
    }
    adopt.key = work.key_of(adopt.uid, ++adopt.reuse);
    auto next = context_.destination->look(work.row.destination, {&adopt.key, 1});
    if (!next) return next.error();
    if (next->empty()) break;
    copy = std::move(next->front());
  }
  work.todo.reuse[adopt.uid] = adopt.reuse;
  work.todo.deliver.add(adopt.uid);
  if (adopt.new_row) work.todo.list.add(adopt.uid);
  return done();
}

// What a ledger row can say of a file that is there. `size`: what the server says, if it does.
Result<store::MessageRow> Engine::read_copy(const std::string& directory, const store::FoundCopy& copy,
                                            std::optional<std::uint64_t> size) {
  store::MessageRow row;
  auto remembered = context_.destination->remembered(directory, copy);
  if (!remembered) return remembered.error();
  if (auto& known = *remembered) {
    row.form = known->form;
    row.octets = known->wire_octets;
    row.internal_date = copy.name.seconds;
    row.sha256 = known->sha256;
    row.message_id = std::move(known->evidence.message_id);
    row.header_digest = known->evidence.header_digest;
    return row;
  }
  // What was stored with LF alone has no CRLF left, so W= exceeds S= by every line end; equal octets mean that nothing
  // was taken away. Bare LFs among others are told by the server's size, or by the others.
  bool raw = copy.name.disk_octets == copy.name.crlf_octets || size == copy.name.disk_octets;
  if (!raw && !size) {
    char last = 0;
    auto looked =
        context_.destination->read(directory, copy, store::StoredForm::AsReceived, [&](std::string_view chunk) {
          raw = (last == '\r' && chunk.starts_with('\n')) || chunk.find("\r\n") != chunk.npos;
          last = chunk.back();
          return !raw;
        });
    if (!looked) return looked.error();
  }
  row.form = raw ? store::StoredForm::AsReceived : store::StoredForm::Lf;
  mail::Sha256 hash;
  mail::HeaderScanner scanner;
  std::uint64_t octets = 0;
  auto read = context_.destination->read(directory, copy, row.form, [&](std::string_view chunk) {
    hash.update(chunk);
    scanner.update(chunk);
    octets += chunk.size();
    return true;
  });
  if (!read) return read.error();
  auto evidence = scanner.finish();
  row.octets = octets;
  row.internal_date = copy.name.seconds;
  row.sha256 = hash.finish();
  row.message_id = std::move(evidence.message_id);
  row.header_digest = evidence.header_digest;
  return row;
}

// The cursors vouch for rows: they move last, and only when the observation added up.
Done Engine::move_cursors(Group group) {
  std::vector<store::MailboxRow> moved;
  for (auto& work : group) {
    if (!work.observed || !work.planned) continue;
    auto row = work.row;
    const auto top = work.view.present.highest();
    row.floor = Uid{std::max(row.floor.value, top ? top->value + 1 : 1)};
    // A server that has gone back in time gives out UIDs again that are below the floor.
    if (work.clean && work.suspect && work.view.completeness == Completeness::Complete)
      row.floor = Uid{top ? top->value + 1 : 1};
    if (work.clean && work.view.uid_next && *work.view.uid_next <= UINT32_MAX)
      row.floor = Uid{std::max(row.floor.value, static_cast<std::uint32_t>(*work.view.uid_next))};
    if (work.clean) {
      row.exists_seen = work.view.exists;
      row.uid_next_seen = work.view.uid_next;
      row.modseq = work.view.modseq;
      row.unseen_seen = work.source.unseen;
    }
    if (work.source.mailbox_id) row.mailbox_id = work.source.mailbox_id;
    // Daily, and after whatever did not add up, everything is looked at.
    if (!work.clean)
      row.last_full_audit = 0;
    else if (work.view.completeness == Completeness::Complete)
      row.last_full_audit = context_.clock->unix_seconds();
    const auto same = [&] {
      return row.floor == work.row.floor && row.exists_seen == work.row.exists_seen &&
             row.uid_next_seen == work.row.uid_next_seen && row.modseq == work.row.modseq &&
             row.last_full_audit == work.row.last_full_audit && row.unseen_seen == work.row.unseen_seen &&
             row.mailbox_id == work.row.mailbox_id;
    };
    if (same()) continue;
    work.row = row;
    moved.push_back(std::move(row));
  }
  if (moved.empty()) return done();
  auto transaction = context_.ledger->begin();
  if (!transaction) return transaction.error();
  for (const auto& row : moved)
    if (auto r = transaction->update_mailbox(row); !r) return r;
  return transaction->commit();
}

Done Engine::report_mailbox(Work& work, const store::MailboxRow& row, Report& report) {
  auto& out = work.report;
  auto& count = out.count;
  if (settings_.dry_run) {
    out.planned_only = true;
    count.pending = work.todo.deliver.size();
    count.excluded = work.todo.exclude.size();
    count.already = work.delivered_before;
    count.listed = count.pending + count.excluded + count.already;
    return done();
  }
  const auto& tally = row.tally;
  const auto settled = settled_.find(row.id.value);
  const auto fetched = settled == settled_.end() ? std::pair<std::uint64_t, std::uint64_t>{} : settled->second;
  count.delivered = fetched.first + out.adopted;
  count.bytes = fetched.second;
  const auto have = tally.of(MessageState::Delivered);
  count.already = have > count.delivered ? have - count.delivered : 0;
  count.excluded = tally.of(MessageState::Excluded);
  count.failed = tally.of(MessageState::Failed);
  count.pending = tally.of(MessageState::Listed);
  count.gone = tally.of(MessageState::Gone) + tally.of(MessageState::Vanished);
  count.listed = have + count.excluded + count.failed + count.pending + count.gone;
  if (!out.exists) out.exists = row.exists_seen;
  if (settings_.policy.on_source_delete != OnSourceDelete::Keep) out.held = row.held;
  if (count.failed == 0) return done();
  constexpr MessageState kFailed[] = {MessageState::Failed};
  auto uids = context_.ledger->uids(row.id, row.generation, kFailed);
  if (!uids) return uids.error();
  while (!uids->empty()) {
    const auto some = uids->take_front(1000, SIZE_MAX).ranges();
    for (const auto& range : some) {
      auto rows = context_.ledger->messages(row.id, row.generation, Uid{range.first}, Uid{range.last}, 1000);
      if (!rows) return rows.error();
      for (const auto& failed : *rows)
        report.failures.push_back({out.name, failed.uid.value, failed.reason, failed.next_try});
    }
  }
  return done();
}

}  // namespace mailhaul::sync
