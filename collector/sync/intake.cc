#include "collector/sync/intake.h"

#include <algorithm>
#include <utility>

namespace mailhaul::sync {

namespace {
constexpr std::int64_t kSlack = 2 * 86'400, kEarliest = 86'400;  // of a date that is believed
}  // namespace

void Arrivals::want(std::size_t mailbox, Wanted wanted) {
  const std::lock_guard lock(mutex_);
  boxes_[mailbox] = Box{std::move(wanted), {}, {}, {}, {}, 0, 0};
}

const Wanted* Arrivals::wanted(std::size_t mailbox) const {
  const std::lock_guard lock(mutex_);
  const auto it = boxes_.find(mailbox);
  return it == boxes_.end() ? nullptr : &it->second.wanted;
}

bool Arrivals::take(std::size_t mailbox, Uid uid) {
  const std::lock_guard lock(mutex_);
  const auto it = boxes_.find(mailbox);
  if (it == boxes_.end() || !it->second.wanted.uids.contains(uid) || it->second.taken.contains(uid)) return false;
  it->second.taken.add(uid);
  it->second.failed_in_a_row = 0;
  ++taken_;
  return true;
}

bool Arrivals::expects(std::size_t mailbox, Uid uid) const {
  const std::lock_guard lock(mutex_);
  const auto it = boxes_.find(mailbox);
  return it != boxes_.end() && it->second.wanted.uids.contains(uid) && !it->second.taken.contains(uid);
}

void Arrivals::refuse(std::size_t mailbox, Uid uid, std::string reason) {
  const std::lock_guard lock(mutex_);
  boxes_[mailbox].reasons[uid] = std::move(reason);
}

UidSet Arrivals::missing(std::size_t mailbox) const {
  const std::lock_guard lock(mutex_);
  const auto it = boxes_.find(mailbox);
  return it == boxes_.end() ? UidSet{} : it->second.wanted.uids.minus(it->second.taken);
}

UidSet Arrivals::missing_of(std::size_t mailbox, const UidSet& uids) const {
  const std::lock_guard lock(mutex_);
  const auto it = boxes_.find(mailbox);
  return it == boxes_.end() ? UidSet{} : uids.minus(it->second.taken);
}

void Arrivals::close(std::size_t mailbox, std::string reason) {
  const std::lock_guard lock(mutex_);
  boxes_[mailbox].closed = std::move(reason);
}

std::string Arrivals::closed(std::size_t mailbox) const {
  const std::lock_guard lock(mutex_);
  const auto it = boxes_.find(mailbox);
  return it == boxes_.end() ? std::string{} : it->second.closed;
}

std::string Arrivals::reason(std::size_t mailbox, Uid uid) const {
  const std::lock_guard lock(mutex_);
  const auto box = boxes_.find(mailbox);
  if (box == boxes_.end()) return {};
  const auto it = box->second.reasons.find(uid);
  return it == box->second.reasons.end() ? std::string{} : it->second;
}

UidSet Arrivals::to_ask(std::size_t mailbox) const {
  const auto open = missing(mailbox);
  const std::lock_guard lock(mutex_);
  const auto it = boxes_.find(mailbox);
  return it == boxes_.end() ? UidSet{} : open.minus(it->second.abandoned);
}

std::uint64_t Arrivals::missing_count() const {
  const std::lock_guard lock(mutex_);
  std::uint64_t wanted = 0;
  for (const auto& [index, box] : boxes_)
    if (box.closed.empty()) wanted += box.wanted.uids.size() - box.taken.size();
  return wanted;
}

std::vector<std::size_t> Arrivals::mailboxes() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::size_t> out;
  for (const auto& [index, box] : boxes_)
    if (box.closed.empty() && box.taken.size() < box.wanted.uids.size()) out.push_back(index);
  return out;
}

void Arrivals::abandon(std::size_t mailbox, Uid uid, std::string reason) {
  const std::lock_guard lock(mutex_);
  boxes_[mailbox].abandoned.add(uid);
  boxes_[mailbox].reasons[uid] = std::move(reason);
}

void Arrivals::forgive() {
  const std::lock_guard lock(mutex_);
  for (auto& [index, box] : boxes_) box.abandoned = {};
}

bool Arrivals::may_hold(std::size_t mailbox) {
  constexpr std::size_t kMost = 64;
  const std::lock_guard lock(mutex_);
  return boxes_[mailbox].held++ < kMost;
}

void Arrivals::hold(Batch batch) {
  const std::lock_guard lock(mutex_);
  held_.push_back(std::move(batch));
}

std::vector<Batch> Arrivals::take_held() {
  const std::lock_guard lock(mutex_);
  return std::exchange(held_, {});
}

void Arrivals::doubt(std::size_t mailbox, Uid uid) {
  const std::lock_guard lock(mutex_);
  auto& box = boxes_[mailbox];
  UidSet one;
  one.add(uid);
  box.taken = box.taken.minus(one);
  box.wanted.doubtful.add(uid);
  box.reasons[uid] = kAnotherMessage;
}

bool Arrivals::failed_alone(std::size_t mailbox) {
  constexpr std::uint64_t kNone = 20, kSome = 100;  // a mailbox of which something has come is served
  const std::lock_guard lock(mutex_);
  auto& box = boxes_[mailbox];
  const auto limit = box.taken.empty() ? kNone : std::max(kSome, box.wanted.uids.size() / 20);
  return ++box.failed_in_a_row > limit;
}

void Arrivals::allow_empty(std::size_t mailbox, Uid uid) {
  const std::lock_guard lock(mutex_);
  boxes_[mailbox].wanted.empty_allowed.insert(uid);
}

std::uint64_t Arrivals::taken() const {
  const std::lock_guard lock(mutex_);
  return taken_;
}

Intake::Intake(store::Destination& destination, Committer& committer, Arrivals& arrivals, const Clock& clock,
               OnMailbox on_mailbox, OnMailbox on_ill)
    : destination_(destination),
      committer_(committer),
      arrivals_(arrivals),
      clock_(clock),
      on_mailbox_(std::move(on_mailbox)),
      on_ill_(std::move(on_ill)),
      limits_(destination.limits()) {}

void Intake::beside(const FlagSet& flags, std::string_view internal_date) {
  beside_flags_ = &flags;
  beside_date_ = internal_date;
}

// What may be another message, or has no date that is one, is not announced: the destination sees it whole first.
Result<store::IncomingMessage> Intake::receive(const Wanted& wanted, std::optional<Uid> uid) {
  const auto* flags = std::exchange(beside_flags_, nullptr);
  if (announced_ <= limits_.announce || !flags || !uid || wanted.doubtful.contains(*uid))
    return destination_.receive(wanted.directory);
  const auto date = mail::parse_internal_date(beside_date_, clock_.unix_seconds() + kSlack);
  if (!date || *date < kEarliest) return destination_.receive(wanted.directory);
  const auto reuse = wanted.reuse.find(*uid);
  const store::Announced announced{announced_, wanted.key_of(*uid, reuse == wanted.reuse.end() ? 0 : reuse->second),
                                   *date, *flags};
  return destination_.receive(wanted.directory, &announced);
}

Done Intake::begin(std::size_t mailbox, std::optional<Uid> uid, std::uint64_t octets) {
  incoming_.reset();
  received_.reset();
  announced_ = octets;
  open_.reset();
  begun_ = !uid;
  if (mailbox_ != mailbox && on_mailbox_) on_mailbox_(mailbox);
  mailbox_ = mailbox;
  if (uid && !arrivals_.expects(mailbox, *uid)) return done();  // not asked for, or a second time: let it pass by
  if (uid) open_ = {mailbox, *uid};
  const auto* wanted = arrivals_.wanted(mailbox);
  if (!wanted) return done();
  auto incoming = receive(*wanted, uid);
  if (!incoming) return incoming.error();
  incoming_.emplace(*std::move(incoming));
  return done();
}

Done Intake::octets(std::string_view chunk) {
  arrivals_.received(chunk.size());
  return incoming_ ? incoming_->write(chunk) : done();
}

Done Intake::end() {
  if (!incoming_) return done();
  auto received = incoming_->finish();
  if (!received) return received.error();
  received_ = *std::move(received);
  return done();
}

Done Intake::message(std::size_t mailbox, const FetchedMessage& message) {
  if (message.uid && message.body) begun_ = false;
  if (message.body) open_.reset();  // not before its response has ended: a stream may break in what is left of it
  // RFC 9051 §7.5.2 allows FETCH data at any time; what has no UID or no body is no delivery.
  if (!message.uid || !received_ || !incoming_) return done();
  const auto* wanted = arrivals_.wanted(mailbox);
  if (!wanted) return done();
  if (!message.not_it.empty()) {
    arrivals_.refuse(mailbox, *message.uid, message.not_it);
  } else if (received_->wire_octets == 0 && !wanted->empty_allowed.contains(*message.uid)) {
    arrivals_.refuse(mailbox, *message.uid, "the server sent an empty message");
  } else if (arrivals_.take(mailbox, *message.uid)) {
    complete(mailbox, *message.uid, message);
  }
  incoming_.reset();
  received_.reset();
  const bool full = batch_.items.size() >= limits_.messages || batch_.octets >= limits_.octets ||
                    (!batch_.items.empty() && batch_.items.back().delivery.message.urgent());
  if (full || (!batch_.items.empty() && clock_.steady() - batch_since_ >= kBatchAge)) return flush();
  return done();
}

void Intake::complete(std::size_t mailbox, Uid uid, const FetchedMessage& message) {
  const auto* wanted = arrivals_.wanted(mailbox);
  const auto reuse = wanted->reuse.find(uid);
  if (batch_.items.empty()) {
    batch_since_ = clock_.steady();
    batch_.items.reserve(limits_.messages);  // growing would hold it twice
    batch_.directories.reserve(limits_.messages);
  }
  store::MessageRow row;
  row.uid = uid;
  row.reuse = reuse == wanted->reuse.end() ? 0 : reuse->second;
  row.base = message.flags.value_or(FlagSet{});
  row.octets = received_->wire_octets;
  row.form = received_->form;
  row.sha256 = received_->sha256;
  row.message_id = std::move(received_->evidence.message_id);
  row.header_digest = received_->evidence.header_digest;
  row.email_id = message.email_id;
  row.internal_date = date_of(message, row.date_source);
  batch_.octets += received_->wire_octets;
  store::Delivery delivery{*std::move(incoming_), wanted->key_of(uid, row.reuse), *row.internal_date, row.base};
  batch_.items.push_back({mailbox, wanted->mailbox_id, wanted->generation, std::move(row), std::move(delivery)});
  batch_.directories.push_back(wanted->directory);
}

// The ladder: INTERNALDATE, topmost Received, Date, the message before, now. Mail is never dropped because of a date.
std::int64_t Intake::date_of(const FetchedMessage& message, std::uint8_t& source) {
  const auto now = clock_.unix_seconds();
  const auto sane = [&](std::optional<std::int64_t> t) { return t && *t >= kEarliest && *t <= now + kSlack; };
  const std::optional<std::int64_t> steps[] = {mail::parse_internal_date(message.internal_date, now + kSlack),
                                               received_->evidence.received_date, received_->evidence.date,
                                               neighbour_date_, now};
  for (source = 0; source < 4 && !sane(steps[source]); ++source) {
  }
  if (source < 4) neighbour_date_ = steps[source];
  return *steps[source];
}

std::optional<std::pair<std::size_t, Uid>> Intake::open_body() const {
  if (open_ || !begun_ || !mailbox_) return open_;
  // It began without its UID: servers answer in order, so it is the first one that is still owed.
  auto owed = arrivals_.to_ask(*mailbox_);
  if (const auto it = answered_.find(*mailbox_); it != answered_.end()) owed = owed.minus(it->second);
  if (owed.empty()) return std::nullopt;
  return std::pair{*mailbox_, Uid{owed.ranges().front().first}};
}

std::optional<std::pair<std::size_t, Uid>> Intake::next_owed() const {
  for (const auto mailbox : arrivals_.mailboxes()) {
    auto owed = arrivals_.to_ask(mailbox);
    if (const auto it = answered_.find(mailbox); it != answered_.end()) owed = owed.minus(it->second);
    if (!owed.empty()) return std::pair{mailbox, Uid{owed.ranges().front().first}};
  }
  return std::nullopt;
}

Done Intake::answered(const FetchSlice& slice, const std::string& refused) {
  answered_[slice.mailbox].merge(slice.uids);
  arrivals_.answered(slice.uids.size());
  const auto missing = arrivals_.missing_of(slice.mailbox, slice.uids);
  if (missing.empty()) return done();
  const std::string reason = refused.empty() ? "the server said OK but sent no message" : refused;
  missing.each([&](Uid uid) {
    if (refused.empty() && !arrivals_.reason(slice.mailbox, uid).empty()) return;
    arrivals_.refuse(slice.mailbox, uid, reason);
  });
  if (slice.uids.size() == 1 && on_ill_ && arrivals_.failed_alone(slice.mailbox)) {
    arrivals_.close(slice.mailbox, "the server fails at one message after the other: " + reason);
    on_ill_(slice.mailbox);
  }
  return done();
}

Done Intake::lost(const FetchSlice& slice, const Error& error) {
  arrivals_.close(slice.mailbox, error.what);
  return done();
}

namespace {

// Which of them have the very octets of another one of their mailbox, or are doubtful for other reasons. Servers that
// mix messages up do so among those that they send together; what came long before is not compared.
std::vector<bool> twins_of(const Batch& batch, Arrivals& arrivals) {
  std::vector<bool> out(batch.items.size());
  std::vector<std::size_t> order(batch.items.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  const auto key = [&](std::size_t i) { return std::pair(batch.items[i].mailbox, batch.items[i].row.sha256); };
  std::ranges::sort(order, {}, key);
  for (std::size_t i = 0; i < order.size();) {
    auto end = i + 1;
    while (end < order.size() && key(order[end]) == key(order[i])) ++end;
    const auto mailbox = batch.items[order[i]].mailbox;
    if (end - i > 1 && arrivals.may_hold(mailbox))
      for (auto at = i; at < end; ++at) out[order[at]] = true;
    i = end;
  }
  for (std::size_t i = 0; i < out.size(); ++i) {
    const auto* wanted = arrivals.wanted(batch.items[i].mailbox);
    if (wanted && wanted->doubtful.contains(batch.items[i].row.uid)) out[i] = true;
  }
  return out;
}

}  // namespace

Done Intake::flush() {
  incoming_.reset();
  received_.reset();
  if (batch_.items.empty()) return done();
  auto batch = std::exchange(batch_, {});
  const auto held = twins_of(batch, arrivals_);
  if (std::ranges::none_of(held, [](bool it) { return it; })) return committer_.submit(std::move(batch));
  Batch sure, unsure;
  for (std::size_t i = 0; i < held.size(); ++i) {
    auto& to = held[i] ? unsure : sure;
    to.octets += batch.items[i].row.octets.value_or(0);
    to.items.push_back(std::move(batch.items[i]));
    to.directories.push_back(std::move(batch.directories[i]));
  }
  arrivals_.hold(std::move(unsure));
  return sure.items.empty() ? done() : committer_.submit(std::move(sure));
}

}  // namespace mailhaul::sync
