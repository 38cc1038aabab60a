// What became of messages whose APPEND was sent and whose answer was not seen; and which mail was at the destination
// before. A message is recognised by what it is: there is no mark in it.
#include <algorithm>

#include "collector/imap_destination.h"
#include "collector/imap_selected.h"
#include "protocols/mail/mailbox_name.h"

namespace mailhaul::collector {
namespace {

using imap::Condition;
using mail::Uid;
using mail::UidSet;
using store::CopyRow;
using store::CopyState;

class Searching final : public client::Listener {
 public:
  Done on(const imap::Event& event) override {
    if (const auto* result = std::get_if<imap::SearchResult>(&event)) uids.merge(result->uids);
    return done();
  }
  Done completed(const imap::Command&, const imap::StatusText&) override { return done(); }
  UidSet uids;
};

class Heads final : public client::Listener {
 public:
  struct Head {
    Uid uid{0};
    std::uint64_t octets = 0;
    std::int64_t seconds = 0;
    mail::Evidence evidence;
  };
  explicit Heads(const Clock& clock) : latest_(clock.unix_seconds() + std::int64_t{100} * 365 * 86'400) {}
  Done on(const imap::Event& event) override {
    if (const auto* chunk = std::get_if<imap::BodyChunk>(&event)) {
      scanner_.update(chunk->octets);
      sha_.update(chunk->octets);
    }
    if (std::get_if<imap::BodyBegin>(&event)) {
      scanner_.reset();
      sha_.reset();
    }
    if (std::get_if<imap::BodyEnd>(&event)) {
      evidence_ = scanner_.finish();
      digest = sha_.finish();
      came_ = true;
    }
    if (const auto* fetched = std::get_if<imap::Fetched>(&event)) {
      const auto date =
          fetched->internal_date ? mail::parse_internal_date(*fetched->internal_date, latest_) : std::nullopt;
      if (came_ && fetched->uid && date && fetched->size)
        heads.push_back({*fetched->uid, *fetched->size, *date, evidence_});
      came_ = false;
    }
    return done();
  }
  Done completed(const imap::Command&, const imap::StatusText&) override { return done(); }

  std::vector<Head> heads;
  mail::Sha256Digest digest{};

 private:
  std::int64_t latest_;
  mail::HeaderScanner scanner_;
  mail::Sha256 sha_;
  mail::Evidence evidence_;
  bool came_ = false;
};

// Servers may add a header or count lines in another way.
bool close_in_size(std::uint64_t a, std::uint64_t b) {
  const auto larger = std::max(a, b), smaller = std::min(a, b);
  return larger - smaller <= std::max<std::uint64_t>(larger / 33, 512);
}

// In the window of UIDs that can be its: Message-ID and INTERNALDATE, or the header.
template <class Candidate>
bool fits(const CopyRow& row, const Candidate& c) {
  const bool same_id = !row.message_id.empty() && row.message_id == c.message_id;
  return c.uid >= row.floor && row.seconds == c.seconds && close_in_size(row.octets, c.octets) &&
         (same_id || row.header_digest == c.header_digest);
}

}  // namespace

// Those with UIDs from `from` on that no key belongs to.
Done ImapDestination::candidates(Client& client, Box& box, Uid from, std::vector<Candidate>& out) {
  out.clear();
  if (auto r = select(client, box, true); !r) return r;
  if (box.exists == 0) return done();
  Searching found;
  auto searched = client.command(imap::UidSearch{"UID " + std::to_string(from.value) + ":*", ""}, &found);
  if (!searched) return searched.error();
  if (searched->condition != Condition::Ok) return Error{Scope::Service, Retry::Later, "look: " + searched->line(), ""};
  auto known = book_->known_uids(box.number);
  if (!known) return known.error();
  UidSet below;
  if (from.value > 1) below.add(mail::UidRange{1, from.value - 1});  // "n:*" always names the last message
  auto rest = found.uids.minus(*known).minus(below);
  while (!rest.empty()) {
    Heads heads(*settings_.clock);
    auto fetched = client.command(
        imap::UidFetch{rest.take_front(500, 7000).wire(), "UID INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER]", {}, false},
        &heads);
    if (!fetched) return fetched.error();
    if (fetched->condition != Condition::Ok) return Error{Scope::Service, Retry::Later, "look: " + fetched->line(), ""};
    for (auto& head : heads.heads)
      out.push_back(
          {head.uid, head.octets, head.seconds, std::move(head.evidence.message_id), head.evidence.header_digest});
  }
  std::ranges::sort(out, {}, &Candidate::uid);
  return done();
}

Done ImapDestination::digest_of(Client& client, Box& box, Uid uid, mail::Sha256Digest& out) {
  if (auto r = select(client, box); !r) return r;
  Heads whole(*settings_.clock);
  auto fetched = client.command(
      imap::UidFetch{std::to_string(uid.value), "UID INTERNALDATE RFC822.SIZE BODY.PEEK[]", {}, false}, &whole);
  if (!fetched) return fetched.error();
  out = whole.digest;
  return done();
}

// Each candidate belongs to one row at most. Where several rows fit, its octets say whose it is; where even those are
// no help, because the server has changed them, the rows come in their order.
Done ImapDestination::look_for(Box& box, std::vector<CopyRow>& rows) {
  Uid from{UINT32_MAX};
  for (const auto& row : rows) from = std::min(from, row.floor);
  std::vector<CopyRow> settled;
  std::vector<bool> taken(rows.size());
  auto looked = on_main([&](Client& client) -> Done {
    settled.clear();
    taken.assign(rows.size(), false);
    std::vector<Candidate> found;
    if (auto r = candidates(client, box, from, found); !r) return r;
    for (const auto& candidate : found) {
      std::vector<std::size_t> fitting;
      for (std::size_t i = 0; i < rows.size(); ++i)
        if (!taken[i] && fits(rows[i], candidate)) fitting.push_back(i);
      if (fitting.empty()) continue;
      auto chosen = fitting.front();
      if (fitting.size() > 1) {
        mail::Sha256Digest digest{};
        if (auto r = digest_of(client, box, candidate.uid, digest); !r) return r;
        for (const auto i : fitting)
          if (rows[i].sha256 == digest) {
            chosen = i;
            break;
          }
      }
      taken[chosen] = true;
      auto row = rows[chosen];
      row.state = CopyState::Stored;
      row.uid = candidate.uid;
      settled.push_back(std::move(row));
    }
    return done();
  });
  if (!looked) return looked;
  if (auto put = book_->put(box.number, settled); !put) return put;
  std::size_t i = 0;
  std::erase_if(rows, [&](const CopyRow&) { return taken[i++]; });
  return done();
}

// Two looks with a pause in between: some servers finish an APPEND long after its connection has gone.
Done ImapDestination::settle_doubts(Box& box) {
  auto rows = book_->unsettled(box.number);
  if (!rows) return rows.error();
  std::erase_if(*rows, [&](const CopyRow& row) { return passing_.contains(row.key); });
  const auto in_doubt = [](const CopyRow& row) { return row.state == CopyState::Meant; };
  if (std::ranges::none_of(*rows, in_doubt)) return done();
  for (const bool second : {false, true}) {
    if (second) {
      std::int64_t latest = 0;
      for (const auto& row : *rows)
        if (in_doubt(row)) latest = std::max(latest, row.meant_at);
      const auto age = settings_.clock->unix_seconds() - latest;
      if (age >= 0 && age < settings_.second_look.count() * 10 && settings_.wait) settings_.wait(settings_.second_look);
      if (settings_.stop.stop_requested())
        return Error{Scope::Service, Retry::Later, "stopped while a message was in doubt", ""};
    }
    if (auto r = look_for(box, *rows); !r) return r.error().in(mail::display_name(box.name));
    if (std::ranges::none_of(*rows, in_doubt)) return done();
  }
  std::vector<store::DeliveryKey> never;
  for (const auto& row : *rows)
    if (in_doubt(row)) never.push_back(row.key);
  return book_->forget(box.number, never);
}

// Mail that was there before us, or that somebody else has put there.
Done ImapDestination::load_strangers(Box& box) {
  if (box.strangers) return done();
  std::vector<Candidate> found;
  auto looked = on_main([&](Client& client) { return candidates(client, box, Uid{1}, found); });
  if (looked) box.strangers = std::move(found);
  return looked;
}

// Here nothing is near enough: not the same size, date and header, not the same message. Of several alike the octets
// decide; each serves once.
Result<std::optional<Uid>> ImapDestination::adoptable(Box& box, const CopyRow& row, bool digest_known) {
  if (auto loaded = load_strangers(box); !loaded) return loaded.error();
  const auto same = [&](const Candidate& c) {
    return c.octets == row.octets && c.seconds == row.seconds && c.header_digest == row.header_digest &&
           c.message_id == row.message_id;
  };
  auto& all = *box.strangers;
  for (auto it = std::ranges::find_if(all, same); it != all.end(); it = std::find_if(std::next(it), all.end(), same)) {
    if (!digest_known) return std::optional(it->uid);  // perhaps
    mail::Sha256Digest digest{};
    const auto uid = it->uid;
    if (auto r = on_main([&](Client& client) { return digest_of(client, box, uid, digest); }); !r) return r.error();
    if (digest != row.sha256) continue;
    all.erase(it);
    return std::optional(uid);
  }
  return std::optional<Uid>();
}

// The flags that it lacks are added; those that its owner has given it stay.
Done ImapDestination::adopt(Box& box, CopyRow& row, Uid uid, const mail::FlagSet& flags) {
  row.state = CopyState::Stored;
  row.uid = uid;
  const auto wanted = permitted(box, flags);
  if (!wanted.empty()) {
    auto stored = on_main([&](Client& client) -> Done {
      if (auto r = select(client, box); !r) return r;
      return store_flags(client, std::to_string(uid.value), true, wanted);
    });
    if (!stored) return stored;
  }
  return book_->put(box.number, {&row, 1});
}

}  // namespace mailhaul::collector
