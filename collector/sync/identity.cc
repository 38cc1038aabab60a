// Are the UIDs still those messages? RFC 9051 §2.3.1.1 says so as long as UIDVALIDITY stays; servers that were restored
// from a backup, or that give UIDs out again, know better. A look at a few messages tells.
#include <algorithm>

#include "collector/sync/engine.h"

namespace mailhaul::sync {

using store::MessageState;

namespace {

constexpr std::int64_t kDay = 86'400;
constexpr std::size_t kWindow = 2048;
constexpr std::uint64_t kChanges = 2;  // of UIDVALIDITY within a day are an accident; more are a habit
constexpr std::uint64_t kSample = 20;  // the newest: theirs are the UIDs that are given out again
constexpr std::size_t kLandmarks = 8;

// Some servers rewrite a Message-ID or a header field now and then; a message that differs in all is another one.
bool another(const store::MessageRow& row, const mail::Evidence& seen) {
  return row.sha256 && row.header_digest != seen.header_digest &&
         (row.message_id != seen.message_id || row.message_id.empty());
}

// Sizes may be rough (RFC822.SIZE of some servers is), so this is a suspicion, no proof.
bool differs(const store::MessageRow& row, const Descriptor& seen) {
  const bool moved =
      row.date_source == 0 && row.internal_date && seen.date != INT64_MAX && *row.internal_date != seen.date;
  return row.sha256 && (moved || (seen.size != 0 && row.octets != seen.size));
}

}  // namespace

// UIDNEXT and HIGHESTMODSEQ never go back (RFC 9051 §2.3.1.1, RFC 7162 §3.1), and what has vanished stays so. Where
// that is not true, only the whole list and a look at some messages can tell what the UIDs mean.
Done Engine::suspect(Work& work) {
  if (!work.observed || work.fresh_generation || work.row.id.value == 0) return done();
  work.suspect = (work.view.uid_next && *work.view.uid_next < work.row.floor.value) ||
                 (work.view.modseq && work.row.modseq && *work.view.modseq < *work.row.modseq);
  if (work.suspect) return done();
  auto again = reappeared(work);
  if (!again) return again.error();
  if (again->empty()) {
    auto others = replaced(work, static_cast<std::size_t>(&work - works_.data()));
    if (!others) return others.error();
    work.replaced = *others;
  }
  work.suspect = work.replaced || !again->empty();
  return done();
}

// A server that was restored from a backup gives out the UIDs above the backup's again. If it has caught up before the
// next poll its numbers look right; but then the highest that we know are other messages now.
Done Engine::landmarks(const Work& work, ObserveRequest& request) {
  if (!request.known_validity || work.row.id.value == 0 || work.source.named || settings_.dry_run) return done();
  auto rows = context_.ledger->newest(work.row.id, work.row.generation, kLandmarks);
  if (!rows) return rows.error();
  for (const auto& row : *rows) request.landmarks.add(row.uid);
  return done();
}

Result<bool> Engine::replaced(Work& work, std::size_t index) {
  UidSet doubtful;
  for (const auto& seen : work.view.landmarks) {
    auto rows = context_.ledger->messages(work.row.id, work.row.generation, seen.uid, seen.uid, 1);
    if (!rows) return rows.error();
    if (!rows->empty() && differs(rows->front(), seen)) doubtful.add(seen.uid);
  }
  if (doubtful.empty()) return false;
  auto headers = on_source([&](Source& source) { return source.headers(work.fetch(index, doubtful)); });
  if (!headers && headers.error().scope == Scope::Mailbox) return false;
  if (!headers) return headers.error();
  return any_other(work, doubtful, *headers);
}

Result<bool> Engine::any_other(const Work& work, const UidSet& asked, const std::vector<Headers>& headers) {
  for (const auto& header : headers) {
    if (!asked.contains(header.uid)) continue;
    auto rows = context_.ledger->messages(work.row.id, work.row.generation, header.uid, header.uid, 1);
    if (!rows) return rows.error();
    if (!rows->empty() && another(rows->front(), header.evidence)) return true;
  }
  return false;
}

// A mailbox whose UIDs mean nothing from one session to the next: without UIDVALIDITY, with [UIDNOTSTICKY] (RFC 4315
// §2) or with another UIDVALIDITY each time. Its messages are recognised by what they are, all of them, at each poll.
Result<std::string> Engine::why_by_content(const Work& work) {
  const auto& row = work.row;
  if (row.id.value == 0 || work.source.named) return std::string();
  if (!row.uid_validity && row.exists_seen)
    return std::string("its UIDs are not lasting: the server names no UIDVALIDITY");
  if (row.generation <= kChanges + 1) return std::string();
  auto lives = context_.ledger->generations(row.id);
  if (!lives) return lives.error();
  const auto since = context_.clock->unix_seconds() - kDay;
  const auto changes = std::ranges::count_if(*lives, [&](const auto& life) { return life.began > since; });
  if (static_cast<std::uint64_t>(changes) <= kChanges) return std::string();
  return "its UIDVALIDITY has changed " + std::to_string(changes) + " times within a day";
}

// Of what is known and listed: whose date or size is not what it was.
Result<UidSet> Engine::differing(const Work& work, const UidSet& known) {
  UidSet out;
  const auto& told = work.view.descriptors;
  for (auto rest = known.intersect(work.view.present); !rest.empty();) {
    const auto some = rest.take_front(kWindow, SIZE_MAX);
    auto rows = context_.ledger->messages(work.row.id, work.row.generation, Uid{some.ranges().front().first},
                                          *some.highest(), SIZE_MAX >> 1);
    if (!rows) return rows.error();
    for (const auto& row : *rows) {
      const auto it = std::ranges::lower_bound(told, row.uid, {}, &Descriptor::uid);
      if (it == told.end() || it->uid != row.uid || !some.contains(row.uid)) continue;
      if (differs(row, *it)) out.add(row.uid);
    }
  }
  if (out.size() > kWindow) out.take_front(out.size() - kWindow, SIZE_MAX);
  return out;
}

Result<UidSet> Engine::reappeared(const Work& work) {
  constexpr MessageState kVanished[] = {MessageState::Vanished};
  auto vanished = context_.ledger->uids(work.row.id, work.row.generation, kVanished);
  if (!vanished) return vanished;
  return vanished->intersect(work.view.present);
}

Result<bool> Engine::same_messages(Work& work, std::size_t index) {
  constexpr MessageState kDelivered[] = {MessageState::Delivered};
  auto known = context_.ledger->uids(work.row.id, work.row.generation, kDelivered);
  if (!known) return known.error();
  auto sample = known->intersect(work.view.present);
  if (const auto many = sample.size(); many > kSample) sample.take_front(many - kSample, SIZE_MAX);
  auto again = reappeared(work);
  if (!again) return again.error();
  sample.merge(again->take_front(kSample, SIZE_MAX));
  if (!work.by_content.empty()) {
    // Some gone and some new at once: the UIDs may all have moved.
    if (!known->minus(work.view.present).empty() && !work.view.present.minus(*known).empty()) return false;
    auto others = differing(work, *known);
    if (!others) return others.error();
    sample.merge(*others);
  }
  if (sample.empty()) return true;
  auto headers = on_source([&](Source& source) { return source.headers(work.fetch(index, sample)); });
  if (!headers && headers.error().scope == Scope::Mailbox) return true;  // nothing speaks against it
  if (!headers) return headers.error();
  auto other = any_other(work, sample, *headers);
  return other ? Result<bool>(!*other) : other;
}

// After the whole list was seen: daily, and when the server's numbers went back. Another message under a known UID
// makes the mailbox a new generation: what is recognised keeps its copy, the rest is fetched.
Done Engine::check_identity(Work& work, std::size_t index) {
  if (!work.observed || work.fresh_generation || work.row.id.value == 0 || settings_.dry_run ||
      work.view.completeness != Completeness::Complete)
    return done();
  if (!work.replaced) {
    if (!work.clean || !(work.suspect || work.audit || !work.by_content.empty())) return done();
    auto same = same_messages(work, index);
    if (!same) return same.error();
    if (*same) return done();
  }
  tell(Trouble{work.report.name + ": other messages under known UIDs; looking at all of them anew"});
  work.vanished = {};
  return new_generation(work);
}

}  // namespace mailhaul::sync
