#include "collector/pop3_source.h"

#include <algorithm>
#include <charconv>
#include <set>

#include "protocols/base/text.h"
#include "protocols/imap/plea.h"

namespace mailhaul::collector {
namespace {

using store::MessageState;
using sync::FetchQueue;
using sync::UidSet;

constexpr const char* kInbox = "INBOX";
constexpr std::size_t kSample = 20;
constexpr std::uint64_t kReadAll = 64U << 20U;  // octets that may be read again each time, where nothing else will do

std::optional<std::uint64_t> number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && end == text.data() + text.size() ? std::optional(value) : std::nullopt;
}

}  // namespace

Pop3Source::Pop3Source(std::unique_ptr<client::Pop3Client> client, std::shared_ptr<Pop3Habits> habits)
    : client_(std::move(client)), habits_(std::move(habits)) {
  if (habits_->lockstep) client_->lockstep();
  if (client_->greeting().find("Gpop") != std::string::npos) habits_->gmail = true;
  if (const auto delay = client_->session().value_of("LOGIN-DELAY"))
    habits_->delays_logins = number(delay->substr(0, delay->find(' '))).value_or(0) > 0;
}

Pop3Source::~Pop3Source() {
  if (!touched_) client_->farewell();
}

// RFC 2449 §6.7.
std::string Pop3Source::notice() const {
  const auto expire = client_->session().value_of("EXPIRE");
  if (!expire) return {};
  const auto days = expire->substr(0, expire->find(' '));
  if (days == "0")
    return "the server deletes what was read when the session ends (EXPIRE 0): nothing can be left there";
  if (const auto n = number(days)) return "the server deletes messages after " + std::to_string(*n) + " days (EXPIRE)";
  return {};
}

Error Pop3Source::unanswered(std::string_view what, const pop3::Status& status) {
  const auto asked = imap::plea_of({imap::Condition::No, "", "", status.text});
  const bool passing = asked.plea != imap::Plea::None || status.code.starts_with("SYS/TEMP");
  return {Scope::Account, passing ? Retry::Later : Retry::AfterUserAction, std::string(what) + ": " + status.line(), "",
          asked.wait};
}

Done Pop3Source::stat() {
  if (count_) return done();
  const auto answer = client_->command(pop3::Stat{});
  if (!answer) return answer.error();
  const auto& text = answer->status.text;
  const auto blank = text.find(' ');
  const auto count = number(text.substr(0, blank));
  if (!answer->status.ok || !count) return unanswered("STAT", answer->status);
  count_ = *count;
  if (blank != std::string::npos) {
    const auto rest = text.substr(blank + 1);
    octets_ = number(rest.substr(0, rest.find(' '))).value_or(0);
  }
  return done();
}

Result<std::vector<sync::SourceMailbox>> Pop3Source::mailboxes() {
  if (auto r = stat(); !r) return r.error();
  sync::SourceMailbox inbox;
  inbox.raw_name = kInbox;
  inbox.path = {kInbox};
  inbox.named = true;
  inbox.messages = *count_;
  inbox.octets = octets_;
  return std::vector{inbox};
}

// UIDL and LIST. Numbers mean something in this session only, and servers order their lists as they like.
Done Pop3Source::list() {
  if (listed_) return done();
  if (auto r = stat(); !r) return r;
  listed_ = true;
  drop_.clear();
  if (*count_ == 0) return done();
  const auto sizes = client_->command(pop3::List{});
  if (!sizes) return sizes.error();
  const auto ids = client_->command(pop3::Uidl{});
  if (!ids) return ids.error();
  for (const auto* answer : {&*sizes, &*ids})
    if (!answer->status.ok && answer->status.code.starts_with("SYS/")) return unanswered("the list", answer->status);
  std::map<pop3::MessageNumber, DropMessage> found;
  pop3::MessageNumber n = 0;
  std::string_view rest;
  for (const auto& line : sizes->lines)
    if (parse_numbered(line, n, rest))
      found[n] = {n, number(rest.substr(0, rest.find(' '))).value_or(0), {}, {}, {}, {}};
  if (!sizes->status.ok)
    for (std::uint64_t i = 1; i <= *count_; ++i)
      found[static_cast<pop3::MessageNumber>(i)].number = static_cast<pop3::MessageNumber>(i);
  for (const auto& line : ids->lines)
    if (parse_numbered(line, n, rest) && found.contains(n) && rest.find('\0') == rest.npos) {
      constexpr std::size_t kLongest = 1000;
      found[n].uidl = rest.size() <= kLongest ? std::string(rest) : "\x01" + mail::hex(mail::Sha256::of(rest));
    }
  for (auto& [key, message] : found) drop_.push_back(std::move(message));
  return done();
}

Done Pop3Source::name_under(mail::UidValidity validity) {
  auto known = book_->names(validity);
  if (!known) return known.error();
  Naming naming(*known);
  if (auto r = read_headers(naming.need_headers(drop_)); !r) return r;
  std::map<mail::Uid, mail::Evidence> delivered;
  if (validity == book_->validity()) {
    auto rows = book_->rows(naming.to_check(drop_));
    if (!rows) return rows.error();
    for (auto& row : *rows)
      if (row.sha256) delivered[row.uid] = {row.message_id, row.header_digest, {}, {}};
  }
  for (auto& message : drop_) message.uid = {};
  const auto resized = naming.name_all(drop_, delivered);
  validity_ = validity;
  return resized.empty() ? done() : book_->note_octets(validity, resized);
}

// Many names are gone and many are new: are those new ones messages that we have? Some headers tell.
Result<bool> Pop3Source::renamed(std::span<const store::NameRow> known) {
  if (known.empty()) return false;
  constexpr MessageState kDelivered[] = {MessageState::Delivered};
  auto missing = book_->in_state(kDelivered);
  if (!missing) return missing.error();
  const auto delivered = missing->size();
  UidSet present;
  std::vector<std::size_t> fresh;
  for (std::size_t i = 0; i < drop_.size(); ++i)
    if (drop_[i].uid == mail::Uid{})
      fresh.push_back(i);
    else
      present.add(drop_[i].uid);
  auto gone = missing->minus(present);
  if (!looks_renamed(delivered, gone.size(), drop_.size(), fresh.size())) return false;
  std::vector<std::size_t> sample;
  for (std::size_t i = 0; i < std::min(kSample, fresh.size()); ++i)
    sample.push_back(fresh[i * fresh.size() / std::min(kSample, fresh.size())]);
  if (auto r = read_headers(sample); !r) return r.error();
  std::set<std::array<std::uint8_t, 16>> seen;
  for (const auto index : sample)
    if (drop_[index].header) seen.insert(drop_[index].header->evidence.header_digest);
  while (!gone.empty()) {
    auto rows = book_->rows(gone.take_front(2000, SIZE_MAX));
    if (!rows) return rows.error();
    for (const auto& row : *rows)
      if (row.sha256 && seen.contains(row.header_digest)) return true;
  }
  return false;
}

Done Pop3Source::name() {
  if (named_) return done();
  const auto nameless = std::ranges::find_if(drop_, [](const DropMessage& m) { return m.uidl.empty(); });
  if (nameless != drop_.end() && !habits_->no_top) {  // is TOP there?
    std::vector<std::size_t> first{static_cast<std::size_t>(nameless - drop_.begin())};
    if (auto r = read_by(true, first); !r) return r;
    habits_->no_top = !first.empty();
  }
  if (nameless != drop_.end() && habits_->no_top && octets_ > kReadAll) {
    refused_ =
        Error{Scope::Mailbox, Retry::AfterUserAction,
              "the server has neither unique-ids (UIDL) nor TOP: what is new could only be told by reading all " +
                  std::to_string(octets_ >> 20U) + " MiB again each time",
              "use IMAP if the server has it"};
    return done();
  }
  const auto current = book_->validity().value_or(mail::UidValidity{1});
  if (auto r = name_under(current); !r) return r;
  auto known = book_->names(current);
  if (!known) return known.error();
  auto moved = renamed(*known);
  if (!moved) return moved.error();
  if (*moved)
    if (auto r = name_under(mail::UidValidity{current.value + 1}); !r) return r;
  std::vector<store::NameRow> fresh;
  for (const auto& message : drop_)
    if (message.uid == mail::Uid{}) fresh.push_back({{}, message.name, message.octets, 0, 0});
  const auto before = book_->names(validity_);
  if (!before) return before.error();
  auto next = static_cast<std::uint32_t>(before->size());
  if (!fresh.empty())
    if (auto r = book_->add(validity_, std::move(fresh)); !r) return r;
  by_uid_.clear();
  for (std::size_t i = 0; i < drop_.size(); ++i) {
    if (drop_[i].uid == mail::Uid{}) drop_[i].uid = mail::Uid{++next};
    by_uid_[drop_[i].uid] = i;
    std::string().swap(drop_[i].name);
  }
  named_ = true;
  return done();
}

Done Pop3Source::look_up() {
  if (auto r = list(); !r) return r;
  if (refused_ || named_) return done();
  return name();
}

const DropMessage* Pop3Source::find(mail::Uid uid) const {
  const auto it = by_uid_.find(uid);
  return it == by_uid_.end() ? nullptr : &drop_[it->second];
}

Result<sync::MailboxView> Pop3Source::view(const sync::ObserveRequest& request) {
  sync::MailboxView out;
  out.index = request.index;
  out.completeness = sync::Completeness::Complete;
  if (auto r = look_up(); !r) return r.error();
  if (refused_) {
    out.error = refused_;
    return out;
  }
  out.validity = validity_;
  out.exists = *count_;
  for (const auto& [uid, index] : by_uid_) out.present.add(uid);
  if (!request.descriptors) return out;
  constexpr MessageState kSettled[] = {MessageState::Delivered, MessageState::Excluded, MessageState::Vanished};
  auto settled = validity_ == book_->validity() ? book_->in_state(kSettled) : UidSet{};
  if (!settled) return settled.error();
  std::vector<std::size_t> wanted;
  for (const auto& [uid, index] : by_uid_)
    if (!settled->contains(uid)) wanted.push_back(index);
  if (auto r = read_headers(wanted); !r) return r.error();
  auto names = book_->names(validity_);
  if (!names) return names.error();
  for (const auto& [uid, index] : by_uid_) {
    const auto& message = drop_[index];
    if (settled->contains(uid) || !message.header) continue;
    const auto& evidence = message.header->evidence;
    const auto date = evidence.received_date ? evidence.received_date : evidence.date;
    out.descriptors.push_back({uid, message.octets, date.value_or((*names)[uid.value - 1].first_seen)});
  }
  return out;
}

Result<std::vector<sync::MailboxView>> Pop3Source::observe(std::span<const sync::ObserveRequest> requests) {
  std::vector<sync::MailboxView> out;
  for (const auto& request : requests) {
    auto one = view(request);
    if (!one) return one.error();
    out.push_back(*std::move(one));
  }
  return out;
}

// The maildrop does not change within a session (RFC 1939 §5), so a second list is all that can be asked.
Result<UidSet> Pop3Source::probe(const FetchQueue::Mailbox& mailbox) {
  if (auto r = look_up(); !r) return r.error();
  if (refused_ || mailbox.validity != validity_) return mailbox.uids;
  const auto again = client_->command(pop3::Stat{});
  if (!again) return again.error();
  const auto count = number(again->status.text.substr(0, again->status.text.find(' ')));
  if (!again->status.ok || count != drop_.size()) return mailbox.uids;  // the list did not show all there is
  UidSet present;
  for (const auto& [uid, index] : by_uid_) present.add(uid);
  return mailbox.uids.intersect(present);
}

Result<sync::Farewell> Pop3Source::conclude(const FetchQueue::Mailbox& remove) {
  sync::Farewell out;
  if (auto r = look_up(); !r) return r.error();
  constexpr MessageState kDelivered[] = {MessageState::Delivered};
  auto have = book_->in_state(kDelivered);
  if (!have) return have.error();
  const bool odd = refused_ || book_->validity() != validity_;
  const auto lacking = std::ranges::count_if(
      drop_, [&](const DropMessage& m) { return read_.contains(m.number) && !have->contains(m.uid); });
  if (odd || lacking > 0) {
    out.effective = false;
    out.why_not =
        odd ? "the session ends without effect"
            : std::to_string(lacking) + " messages were read and not delivered: the session ends without effect";
    return out;
  }
  if (remove.validity == validity_) {
    auto removed = mark(remove.uids.intersect(*have));
    if (!removed) return removed.error();
    out.removed = *std::move(removed);
  }
  if (auto r = drain(*have); !r) return r.error();
  touched_ = true;  // the one QUIT
  const auto last = client_->quit();
  if (!last) return last.error();
  if (!last->ok) {
    out.effective = false;
    out.why_not = "the server did not end the session in good order: " + last->line() +
                  "; what it still has is deleted by the next run";
  }
  return out;
}

}  // namespace mailhaul::collector
