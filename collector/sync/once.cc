// Messages that are in several mailboxes at once (Gmail's labels; whatever was copied at a server with RFC 8474): the
// server calls them by one name, so each is downloaded once and copied here for the other mailboxes. Every mailbox
// keeps rows of its own, under its own UIDs: `listed` says what is meant, the copy lies under the mailbox's own key,
// and a label that is added or taken off is a new or a vanished message like any other.
#include <algorithm>

#include "collector/sync/engine.h"
#include "protocols/mail/mailbox_name.h"

namespace mailhaul::sync {
namespace {

using store::MessageState;

constexpr std::size_t kWindow = 500;

bool undelivered(const store::MessageRow& row) {
  return row.state == MessageState::Listed || row.state == MessageState::Excluded ||
         row.state == MessageState::Failed || row.state == MessageState::Gone;
}

// There is a copy, as far as the ledger knows, that another can be made of.
bool lies_here(const store::Sibling& one) {
  const auto state = one.row.state;
  return one.copy && one.row.sha256 && one.row.removal == store::Removal::None &&
         (state == MessageState::Delivered || state == MessageState::Vanished);
}

}  // namespace

// The names of what this window may deliver; and where else it is kept.
Done Engine::identify(const Work& work, std::size_t index, SourceWindow& source, const LedgerWindow& ledger) {
  if (!identifies_ || !context_.ledger) return done();
  UidSet unknown;
  std::vector<SourceMessage*> wanted;
  for (auto& message : source.messages) {
    const auto row = std::ranges::lower_bound(ledger.rows, message.uid, {}, &store::MessageRow::uid);
    const bool known = row != ledger.rows.end() && row->uid == message.uid;
    if (known && !undelivered(*row)) continue;
    if (known) message.email_id = row->email_id;
    if (message.email_id.empty()) unknown.add(message.uid);
    wanted.push_back(&message);
  }
  if (!unknown.empty()) {
    auto told = on_source([&](Source& s) { return s.identities(work.fetch(index, unknown)); });
    if (!told && told.error().scope != Scope::Mailbox) return told.error();
    if (told)
      for (auto& one : *told) {
        const auto it = std::ranges::lower_bound(source.messages, one.uid, {}, &SourceMessage::uid);
        if (it != source.messages.end() && it->uid == one.uid) it->email_id = std::move(one.email_id);
      }
  }
  if (work.source.rank == 0) return done();
  for (auto* message : wanted) {
    if (message->email_id.empty()) continue;
    auto where = elsewhere(work, message->email_id);
    if (!where) return where.error();
    message->elsewhere = *std::move(where);
  }
  return done();
}

// The mailbox of a lower rank that has the message at the source; the first one, so that the answer stays the same.
Result<std::string> Engine::elsewhere(const Work& work, const std::string& email_id) {
  auto siblings = context_.ledger->siblings(account_.id, email_id);
  if (!siblings) return siblings.error();
  const Work* best = nullptr;
  for (const auto& one : *siblings) {
    const auto state = one.row.state;
    if (!one.current ||
        (state != MessageState::Listed && state != MessageState::Delivered && state != MessageState::Failed))
      continue;
    const auto at = std::ranges::find_if(works_, [&](const Work& w) { return w.row.id == one.mailbox; });
    if (at == works_.end() || at->source.rank >= work.source.rank) continue;
    const auto order = [](const Work& w) { return std::pair(w.source.rank, w.row.id); };
    if (best == nullptr || order(*at) < order(*best)) best = &*at;
  }
  return best ? best->report.name : std::string();
}

// The intent, with the name: what is looked for by it is what was said.
Done Engine::say_identities(Work& work, const SourceWindow& source, const LedgerWindow& ledger) {
  if (!identifies_) return done();
  std::vector<const SourceMessage*> named;
  std::vector<Uid> wanted_again;  // excluded before
  for (const auto& message : source.messages) {
    if (message.email_id.empty() || !work.todo.deliver.contains(message.uid)) continue;
    const auto row = std::ranges::lower_bound(ledger.rows, message.uid, {}, &store::MessageRow::uid);
    const bool known = row != ledger.rows.end() && row->uid == message.uid;
    if (!known || row->email_id != message.email_id) named.push_back(&message);
    if (known && row->state == MessageState::Excluded) wanted_again.push_back(message.uid);
  }
  if (named.empty() && wanted_again.empty()) return done();
  auto transaction = context_.ledger->begin();
  if (!transaction) return transaction.error();
  if (auto r = transaction->list(work.row.id, work.row.generation, std::exchange(work.todo.list, {})); !r) return r;
  for (const auto* message : named)
    if (auto r = transaction->identify(work.row.id, work.row.generation, message->uid, message->email_id); !r) return r;
  for (const auto uid : wanted_again)
    if (auto r = transaction->set_state(work.row.id, work.row.generation, uid, MessageState::Listed); !r) return r;
  return transaction->commit();
}

// Fetches each message once; the others of its name are copies of it.
Done Engine::fetch_once(Group group) {
  if (!identifies_) return fetch(group);
  for (auto& work : group) {
    if (!work.observed || work.todo.deliver.empty()) continue;
    auto some = followers(work, group);
    if (!some) return some.error();
    work.todo.follow = *std::move(some);
    work.todo.deliver = work.todo.deliver.minus(work.todo.follow);
  }
  if (auto fetched = fetch(group); !fetched) return fetched;
  bool more = false;
  for (auto& work : group) {
    work.todo.deliver = {};
    if (context_.stop.stop_requested()) return done();
    if (auto followed = follow(work, work.todo.deliver); !followed) return followed;
    more = more || !work.todo.deliver.empty();
  }
  return more ? fetch(group) : done();
}

// Of what is to be fetched: that which lies here, or is fetched for a mailbox of this group before this one.
Result<UidSet> Engine::followers(const Work& work, Group group) {
  const auto before = [&](const store::Sibling& one, Uid uid) {
    const auto at = std::ranges::find_if(group, [&](const Work& w) { return w.row.id == one.mailbox; });
    return at != group.end() && one.current && at->observed && at->todo.deliver.contains(one.row.uid) &&
           (&*at < &work || (&*at == &work && one.row.uid < uid));
  };
  UidSet out;
  for (auto rest = work.todo.deliver; !rest.empty();) {
    const auto some = rest.take_front(kWindow, SIZE_MAX);
    auto rows = context_.ledger->messages(work.row.id, work.row.generation, Uid{some.ranges().front().first},
                                          *some.highest(), SIZE_MAX >> 1);
    if (!rows) return rows.error();
    for (const auto& row : *rows) {
      if (row.email_id.empty() || !some.contains(row.uid)) continue;
      auto siblings = context_.ledger->siblings(account_.id, row.email_id);
      if (!siblings) return siblings.error();
      if (std::ranges::any_of(*siblings, [&](const auto& one) { return lies_here(one) || before(one, row.uid); }))
        out.add(row.uid);
    }
  }
  return out;
}

// Those of todo.follow that cannot be had here come out as `rest`.
Done Engine::follow(Work& work, UidSet& rest) {
  if (work.todo.follow.empty()) return done();
  if (auto made = context_.destination->create(work.row.destination); !made) return made;
  Committer committer(*context_.destination, *context_.ledger, *context_.clock, false,
                      [&](const Settled& s) { settled(s); });
  for (auto left = std::exchange(work.todo.follow, {}); !left.empty();) {
    if (context_.stop.stop_requested()) return committer.finish();
    if (auto r = follow_some(work, left.take_front(kWindow, SIZE_MAX), rest, committer); !r) return r;
  }
  return committer.finish();
}

Done Engine::follow_some(Work& work, const UidSet& some, UidSet& rest, Committer& committer) {
  const auto index = static_cast<std::size_t>(&work - works_.data());
  auto told = on_source([&](Source& source) { return source.identities(work.fetch(index, some)); });
  if (!told && told.error().scope != Scope::Mailbox) return told.error();
  if (!told) told = std::vector<Identity>{};
  UidSet answered;
  std::vector<store::Twin> twins;
  std::vector<store::MessageRow> rows;
  std::vector<store::PlacementRow> from;
  for (auto& one : *told) {
    if (!some.contains(one.uid) || answered.contains(one.uid)) continue;
    answered.add(one.uid);
    auto siblings = context_.ledger->siblings(account_.id, one.email_id);
    if (!siblings) return siblings.error();
    bool found = false, awaited = false;
    for (auto& sibling : *siblings) {
      // What another mailbox is still to bring is waited for: a day's allowance, or a pause, is in the way.
      const bool self = sibling.mailbox == work.row.id && sibling.current && sibling.row.uid == one.uid;
      awaited = awaited || (!self && sibling.row.state == MessageState::Listed && allowance_.used_up());
      if (found || !lies_here(sibling)) continue;
      if (one.date && one.date != sibling.row.internal_date) continue;  // against RFC 8474 §5.1
      auto copies = context_.destination->look(sibling.copy->directory, {&sibling.copy->key, 1});
      if (!copies) return copies.error();
      if (copies->empty()) continue;
      auto size = context_.destination->size_of(sibling.copy->directory, copies->front());
      if (!size || *size != copies->front().name.disk_octets) continue;
      found = true;
      auto row = std::move(sibling.row);
      row.uid = one.uid;
      row.base = one.flags;
      row.reuse = 0;
      if (const auto reuse = work.todo.reuse.find(one.uid); reuse != work.todo.reuse.end()) row.reuse = reuse->second;
      twins.push_back({sibling.copy->directory, std::move(copies->front()), work.row.destination,
                       work.key_of(row.uid, row.reuse), one.flags});
      from.push_back(*std::move(sibling.copy));
      rows.push_back(std::move(row));
    }
    if (!found && !awaited) rest.add(one.uid);
  }
  rest.merge(some.minus(answered));
  auto names = context_.destination->duplicate(twins);
  if (!names) return names.error();
  std::vector<store::Ledger::Transaction::Settled> linked;
  const auto limits = context_.destination->limits();
  Settled sum{index, 0, 0};
  Batch batch;
  for (std::size_t i = 0; i < twins.size(); ++i) {
    if ((*names)[i].empty()) {  // its octets, then
      Found message{&work, {}};
      message.what.uid = rows[i].uid;
      message.what.flags = rows[i].base;
      message.what.date = rows[i].internal_date;
      auto brought = bring(from[i], rows[i], message, batch);
      if (!brought) return brought.error();
      if (!*brought) rest.add(rows[i].uid);
      if (batch.items.size() >= limits.messages || batch.octets >= limits.octets)
        if (auto r = committer.submit(std::exchange(batch, {})); !r) return r;
      continue;
    }
    ++sum.messages;
    sum.octets += rows[i].octets.value_or(0);
    linked.push_back({std::move(rows[i]), work.row.destination, twins[i].key});
  }
  if (!batch.items.empty())
    if (auto r = committer.submit(std::move(batch)); !r) return r;
  if (linked.empty()) return done();
  auto transaction = context_.ledger->begin();
  if (!transaction) return transaction.error();
  std::ranges::sort(linked, {}, [](const auto& s) { return s.row.uid; });
  if (auto r = transaction->settle(work.row.id, work.row.generation, linked); !r) return r;
  if (auto r = transaction->commit(); !r) return r;
  settled(sum);
  return done();
}

}  // namespace mailhaul::sync
