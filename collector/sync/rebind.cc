// After a new UIDVALIDITY: rows of the old generations are recognised under their new UIDs by what the server itself
// says of each message, without a body. A Message-ID or digest is evidence, used once per match, never identity.
#include <algorithm>
#include <tuple>

#include "collector/sync/engine.h"

namespace mailhaul::sync {
namespace {

using store::MessageState;

constexpr std::size_t kWindow = 2000;

struct Orphan {
  std::array<std::uint8_t, 16> digest{};  // of the header block
  std::int64_t date = 0;
  std::uint64_t octets = 0;
  std::uint32_t generation = 0;
  Uid uid;
  bool used = false;
  std::uint64_t listed = 0;  // named sources: the size that the server told of it
  [[nodiscard]] auto evidence() const { return std::tie(digest, date, octets); }
};

// Messages that agree in header block, date and size are taken in the order of their UIDs on both sides: which of
// several equal ones is which cannot be told and does not matter, as long as each is used once. Where the size
// disagrees (servers estimate it) header block and date must name one orphan only.
//
// Servers without INTERNALDATE (POP3): the header block, which has the dates, and the size; or the header block alone
// where only one message ever had it.
Orphan* recognise_undated(std::vector<Orphan>& orphans, const Headers& message) {
  const auto earlier = [](const auto& a, const auto& b) { return a.digest < b.digest; };
  const Orphan wanted{message.evidence.header_digest, 0, 0, 0, Uid{}, false, 0};
  const auto [first, last] = std::equal_range(orphans.begin(), orphans.end(), wanted, earlier);
  for (auto it = first; it != last && message.size; ++it)
    if (!it->used && (it->listed == *message.size || it->octets == *message.size)) return &*it;
  return last - first == 1 && !first->used ? &*first : nullptr;
}

Orphan* recognise(std::vector<Orphan>& orphans, const Headers& message) {
  if (!message.date) return recognise_undated(orphans, message);
  const auto& digest = message.evidence.header_digest;
  const auto earlier = [](const auto& a, const auto& b) {
    return std::tie(a.digest, a.date) < std::tie(b.digest, b.date);
  };
  const Orphan wanted{digest, *message.date, 0, 0, Uid{}, false, 0};
  const auto [first, last] = std::equal_range(orphans.begin(), orphans.end(), wanted, earlier);
  if (message.size)
    for (auto it = first; it != last; ++it)
      if (!it->used && it->octets == *message.size) return &*it;
  return last - first == 1 && !first->used ? &*first : nullptr;
}

}  // namespace

Result<bool> Engine::load_orphans(const Work& work,
                                  const std::function<void(std::uint32_t, const store::MessageRow&)>& visit) {
  auto generations = context_.ledger->generations(work.row.id);
  if (!generations) return generations.error();
  bool any = false;
  for (const auto& generation : *generations) {
    if (generation.number == work.row.generation || generation.tally.of(MessageState::Orphan) == 0) continue;
    for (Uid next{1};;) {
      auto rows = context_.ledger->messages(work.row.id, generation.number, next, Uid{UINT32_MAX}, kWindow);
      if (!rows) return rows.error();
      for (const auto& row : *rows) {
        if (row.state != MessageState::Orphan || !row.sha256)
          continue;  // never delivered: there is nothing to recognise
        visit(generation.number, row);
        any = true;
      }
      if (rows->size() < kWindow || rows->back().uid.value == UINT32_MAX) break;
      next = Uid{rows->back().uid.value + 1};
    }
  }
  return any;
}

// What a named source said of the sizes of the messages of old generations.
Result<Engine::ListedOctets> Engine::listed_octets(const Work& work) {
  std::map<std::uint32_t, std::vector<std::uint64_t>> sizes;
  if (names_ && work.source.named) {
    auto generations = context_.ledger->generations(work.row.id);
    if (!generations) return generations.error();
    for (const auto& generation : *generations) {
      if (!generation.uid_validity || generation.tally.of(MessageState::Orphan) == 0) continue;
      auto names = names_->names(*generation.uid_validity);
      if (!names) return names.error();
      for (const auto& name : *names) sizes[generation.number].push_back(name.octets);
    }
  }
  return ListedOctets([sizes = std::move(sizes)](std::uint32_t generation, Uid uid) -> std::uint64_t {
    const auto it = sizes.find(generation);
    return it == sizes.end() || uid.value == 0 || uid.value > it->second.size() ? 0 : it->second[uid.value - 1];
  });
}

Done Engine::rebind(Work& work, std::size_t index) {
  if (!work.observed || work.row.generation < 2 || work.row.id.value == 0 || settings_.dry_run) return done();
  // A server that builds its index anew shows nothing at first, and then all: however long ago the generation began.
  // Named sources know their messages by name; there, until the generation was once seen whole.
  const bool unfinished = work.fresh_generation || work.row.floor == Uid{1} || !work.row.exists_seen;
  if (work.source.named && !unfinished) return done();
  constexpr MessageState kBound[] = {MessageState::Delivered, MessageState::Vanished};
  auto bound = context_.ledger->uids(work.row.id, work.row.generation, kBound);
  if (!bound) return bound.error();
  auto rest = work.view.present;
  for (const auto uid : work.view.changes.uids()) rest.add(uid);  // one that no list had shown
  rest = rest.minus(*bound);
  if (rest.empty()) return done();
  auto listed = listed_octets(work);
  if (!listed) return listed.error();
  std::vector<Orphan> orphans;
  auto any = load_orphans(work, [&](std::uint32_t generation, const store::MessageRow& row) {
    orphans.push_back({row.header_digest, row.internal_date.value_or(0), row.octets.value_or(0), generation, row.uid,
                       false, (*listed)(generation, row.uid)});
  });
  if (!any) return any.error();
  if (!*any) return done();
  std::ranges::stable_sort(orphans, {}, [](const Orphan& o) { return std::tie(o.digest, o.date); });

  while (!rest.empty()) {
    const auto some = rest.take_front(kWindow, SIZE_MAX);
    auto headers = on_source([&](Source& source) { return source.headers(work.fetch(index, some)); });
    if (!headers && headers.error().scope != Scope::Mailbox) return headers.error();
    if (!headers) headers = std::vector<Headers>{};
    std::ranges::sort(*headers, {}, &Headers::uid);
    auto unknown = some;
    for (const auto& message : *headers) unknown = unknown.minus(UidSet({{message.uid.value, message.uid.value}}));
    if (!work.source.named) work.postponed.merge(unknown);  // POP3 servers without TOP have nothing to show
    auto transaction = context_.ledger->begin();
    if (!transaction) return transaction.error();
    for (const auto& message : *headers) {
      auto* orphan = recognise(orphans, message);
      if (!orphan) continue;
      orphan->used = true;
      if (auto r = transaction->rebind(work.row.id, orphan->generation, orphan->uid, work.row.generation, message.uid);
          !r)
        return r;
      work.view.changes.add(message.uid, message.flags);  // may have changed with the UIDs
      ++work.report.rebound;
    }
    if (auto r = transaction->commit(); !r) return r;
  }
  work.view.changes.sort();
  if (work.postponed.empty()) return done();
  // Silence is no evidence that they are new: the next run asks again.
  work.clean = false;
  work.report.error =
      std::to_string(work.postponed.size()) +
      " messages could not be recognised under its new UIDVALIDITY: the server did not show their headers";
  tell(MailboxFailed{work.report.name, work.report.error});
  return done();
}

}  // namespace mailhaul::sync
