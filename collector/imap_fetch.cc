// Bodies: several mailboxes one after the other on one connection, several commands in flight; and, one message at a
// time, the other forms of asking for what cannot be had as a whole.
#include <algorithm>
#include <array>
#include <deque>
#include <map>

#include "collector/imap_source.h"
#include "collector/imap_steps.h"
#include "protocols/base/text.h"

namespace mailhaul::collector {
namespace {

using imap::Command;
using imap::Condition;
using imap::Event;
using imap::StatusText;
using sync::FetchQueue;

struct Manner {  // how bodies are asked for on this connection
  bool read_write = false;
  bool placeholders = false;  // Exchange's error messages are looked for
  std::size_t messages = 500;
  std::size_t line_octets = 8000;
  std::string items;  // beside the body
};

// Recognises the message that Exchange gives in place of one that it cannot convert. Its texts are translated; that
// it comes from "Microsoft Exchange" and has "IMAP4" in its subject is the same in all languages.
class PlaceholderWatch {
 public:
  void begin(std::uint64_t octets) {
    head_.clear();
    watching_ = octets <= kLongest;
  }
  void octets(std::string_view chunk) {
    if (watching_ && head_.size() < kHead) head_.append(chunk.substr(0, kHead - head_.size()));
  }
  // What it says; empty: the body is no such thing.
  [[nodiscard]] std::string found() const {
    if (!watching_) return {};
    const auto subject = field("subject:");
    if (to_lower(field("from:")).find("microsoft exchange") == std::string::npos ||
        to_lower(subject).find("imap4") == std::string::npos)
      return {};
    return "the server sent an error message in its place: " + printable(subject);
  }

 private:
  static constexpr std::size_t kHead = 4096, kLongest = 65536;
  [[nodiscard]] std::string field(std::string_view name) const {
    const auto end = head_.find("\r\n\r\n");
    const auto block = "\r\n" + head_.substr(0, end);
    const auto at = to_lower(block).find("\r\n" + std::string(name));
    if (at == std::string::npos) return {};
    const auto from = at + 2 + name.size();
    auto value = block.substr(from, block.find("\r\n", from) - from);
    value.erase(0, std::min(value.find_first_not_of(' '), value.size()));
    return value;
  }
  std::string head_;
  bool watching_ = false;
};

class Fetching;

class FetchScript final : public client::Script {
 public:
  FetchScript(FetchQueue& queue, sync::Receiver& receiver, const Manner& manner)
      : queue_(queue), receiver_(receiver), manner_(manner) {}
  std::optional<client::Step> next() override;
  void answered() { --in_flight_; }
  [[nodiscard]] const Manner& manner() const { return manner_; }

 private:
  static constexpr std::size_t kInFlight = 8;
  FetchQueue& queue_;
  sync::Receiver& receiver_;
  const Manner& manner_;
  std::deque<Fetching> mailboxes_;  // listeners must outlive the conversation
  std::optional<sync::FetchSlice> waiting_;
  std::size_t in_flight_ = 0;
};

class Fetching final : public Selected {
 public:
  Fetching(FetchScript& script, sync::Receiver& receiver, std::size_t mailbox,
           std::optional<mail::UidValidity> validity)
      : script_(script), receiver_(receiver), mailbox_(mailbox), wanted_validity_(validity) {}

  void expect(std::string uids, sync::FetchSlice slice) { slices_.emplace(std::move(uids), std::move(slice)); }
  [[nodiscard]] std::size_t mailbox() const { return mailbox_; }

  Done on(const Event& event) override {
    if (const auto* chunk = std::get_if<imap::BodyChunk>(&event)) {
      watch_.octets(chunk->octets);
      return taking_ ? receiver_.octets(chunk->octets) : done();
    }
    if (const auto* begin = std::get_if<imap::BodyBegin>(&event)) {
      taking_ = right();
      body_ = false;
      watch_.begin(script_.manner().placeholders ? begin->octets : UINT64_MAX);
      if (taking_ && begin->so_far && begin->so_far->flags && begin->so_far->internal_date)
        receiver_.beside(*begin->so_far->flags, *begin->so_far->internal_date);
      return taking_ ? receiver_.begin(mailbox_, begin->uid, begin->octets) : done();
    }
    if (std::get_if<imap::BodyEnd>(&event)) {
      body_ = taking_;
      return taking_ ? receiver_.end() : done();
    }
    if (const auto* fetched = std::get_if<imap::Fetched>(&event)) return right() ? give(*fetched) : done();
    return Selected::on(event);
  }
  Done completed(const Command& command, const StatusText& status) override {
    const auto* fetch = std::get_if<imap::UidFetch>(&command);
    if (!fetch) return Selected::completed(command, status);
    script_.answered();
    const auto it = slices_.find(fetch->uids);
    if (it == slices_.end()) return done();
    const auto slice = std::move(it->second);
    slices_.erase(it);
    if (error_) return receiver_.lost(slice, *error_);
    if (!right()) return receiver_.lost(slice, {Scope::Mailbox, Retry::Later, "UIDVALIDITY has changed", ""});
    return receiver_.answered(slice, status.condition == Condition::Ok ? "" : status.line());
  }

 private:
  // Nothing is taken for a message unless the mailbox is the one that was looked at.
  [[nodiscard]] bool right() const { return !changed_ && !error_ && validity_ == wanted_validity_; }
  Done give(const imap::Fetched& fetched) {
    sync::FetchedMessage message{fetched.uid,
                                 fetched.flags,
                                 fetched.internal_date.value_or(""),
                                 std::exchange(body_, false),
                                 fetched.email_id.value_or(""),
                                 {}};
    if (message.body) message.not_it = watch_.found();
    return receiver_.message(mailbox_, message);
  }

  FetchScript& script_;
  sync::Receiver& receiver_;
  std::size_t mailbox_;
  std::optional<mail::UidValidity> wanted_validity_;
  std::map<std::string, sync::FetchSlice> slices_;
  PlaceholderWatch watch_;
  bool taking_ = false;
  bool body_ = false;
};

std::optional<client::Step> FetchScript::next() {
  if (in_flight_ >= kInFlight) return std::nullopt;
  const auto selected = mailboxes_.empty() ? std::nullopt : std::optional(mailboxes_.back().mailbox());
  if (!waiting_) waiting_ = queue_.next(selected);
  if (!waiting_) return std::nullopt;
  if (selected != waiting_->mailbox) {
    auto& opened = mailboxes_.emplace_back(*this, receiver_, waiting_->mailbox, waiting_->validity);
    return client::Step{imap::Examine{waiting_->raw_name, false, {}, manner_.read_write}, &opened};
  }
  auto& mailbox = mailboxes_.back();
  auto part = *waiting_;
  part.uids = waiting_->uids.take_front(manner_.messages, manner_.line_octets);
  if (waiting_->uids.empty()) waiting_.reset();
  auto uids = part.uids.wire();
  ++in_flight_;
  mailbox.expect(uids, std::move(part));
  return client::Step{imap::UidFetch{std::move(uids), manner_.items + " BODY.PEEK[]", {}, false}, &mailbox};
}

// One message, asked for in parts that are put together again.
class Salvaging final : public Selected {
 public:
  Salvaging(sync::Receiver& receiver, const sync::FetchSlice& slice, mail::Uid uid)
      : receiver_(receiver), slice_(slice), uid_(uid) {}

  Done on(const Event& event) override {
    if (const auto* begin = std::get_if<imap::BodyBegin>(&event)) {
      taking_ = right() && !done_ && begin->uid.value_or(uid_) == uid_;
      done_ = done_ || taking_;  // of each part the first
      part_ = taking_ ? 0 : part_;
      return done();
    }
    if (const auto* chunk = std::get_if<imap::BodyChunk>(&event)) {
      if (!taking_) return done();
      part_ += chunk->octets.size();
      total_ += chunk->octets.size();
      tail_ =
          (tail_ +
           std::string(chunk->octets.substr(chunk->octets.size() - std::min<std::size_t>(4, chunk->octets.size()))));
      tail_.erase(0, tail_.size() - std::min<std::size_t>(4, tail_.size()));
      watch_.octets(chunk->octets);
      if (auto r = begun_ ? done() : receiver_.begin(slice_.mailbox, uid_, chunk->octets.size()); !r) return r;
      begun_ = true;
      return receiver_.octets(chunk->octets);
    }
    if (std::get_if<imap::BodyEnd>(&event)) {
      came_ = came_ || taking_;
      taking_ = false;
      return done();
    }
    if (const auto* fetched = std::get_if<imap::Fetched>(&event); fetched && fetched->uid == uid_) {
      if (fetched->flags) flags_ = fetched->flags;
      if (fetched->internal_date) date_ = *fetched->internal_date;
      if (fetched->size) size_ = fetched->size;
      return done();
    }
    return Selected::on(event);
  }
  Done completed(const Command& command, const StatusText& status) override {
    if (std::holds_alternative<imap::UidFetch>(command) && status.condition != Condition::Ok) refused_ = status.line();
    return Selected::completed(command, status);
  }

  void next_part() { came_ = done_ = false; }
  [[nodiscard]] bool right() const { return open_ && !changed_ && !error_ && validity_ == slice_.validity; }
  [[nodiscard]] bool came() const { return came_ && refused_.empty(); }
  [[nodiscard]] std::uint64_t part() const { return part_; }
  [[nodiscard]] bool ends_a_header() const { return tail_ == "\r\n\r\n"; }
  [[nodiscard]] std::string refusal() const { return refused_; }
  // Nothing more will come: the message, unless something says that this is not all of it.
  Done finish(bool hold_against_size) {
    if (!begun_) return done();
    if (auto r = receiver_.end(); !r) return r;
    sync::FetchedMessage message{uid_, flags_, date_, true, {}, watch_.found()};
    if (hold_against_size && size_ && *size_ != total_)
      message.not_it =
          "in parts it has " + std::to_string(total_) + " octets, the server says " + std::to_string(*size_);
    return receiver_.message(slice_.mailbox, message);
  }
  void watch() { watch_.begin(0); }

 private:
  sync::Receiver& receiver_;
  const sync::FetchSlice& slice_;
  mail::Uid uid_;
  PlaceholderWatch watch_;
  std::optional<mail::FlagSet> flags_;
  std::string date_, refused_, tail_;
  std::optional<std::uint64_t> size_;
  std::uint64_t part_ = 0, total_ = 0;
  bool taking_ = false, begun_ = false, came_ = false, done_ = false;
};

}  // namespace

Done ImapSource::fetch(FetchQueue& queue, sync::Receiver& receiver) {
  if (auto r = introduce(); !r) return r;
  if (queue.form() != sync::Form::Whole) return salvage(queue, receiver);
  Manner manner;
  manner.read_write = quirk(imap::Quirk::NoExamine);
  manner.placeholders = quirk(imap::Quirk::Placeholders);
  if (quirk(imap::Quirk::SmallSlices)) manner.messages = 20;
  manner.line_octets = line_octets();
  manner.items = "UID FLAGS INTERNALDATE" + identity_item();
  FetchScript script(queue, receiver, manner);
  return client_->converse(script);
}

// Message by message, part by part, each asked for when the one before has come.
Done ImapSource::salvage(FetchQueue& queue, sync::Receiver& receiver) {
  constexpr std::uint64_t kPiece = 256 * 1024;
  const bool pieces = queue.form() == sync::Form::Pieces;
  std::optional<std::size_t> selected;
  while (auto slice = queue.next(selected)) {
    if (pieces && quirk(imap::Quirk::WholePartials)) {
      if (auto r = receiver.answered(*slice, ""); !r) return r;
      continue;
    }
    for (auto rest = slice->uids; !rest.empty();) {
      const auto uid = mail::Uid{rest.take_front(1).ranges().front().first};
      auto one = *slice;
      one.uids = mail::UidSet{};
      one.uids.add(uid);
      Salvaging message(receiver, one, uid);
      if (quirk(imap::Quirk::Placeholders)) message.watch();
      const auto ask = [&](const std::string& items) -> Done {
        Steps steps;
        if (!message.open()) steps.add(examine(slice->raw_name), message);
        message.next_part();
        steps.add(imap::UidFetch{std::to_string(uid.value), items, {}, false}, message);
        return client_->converse(steps);
      };
      const std::string beside =
          std::string("UID FLAGS INTERNALDATE ") + (quirk(imap::Quirk::NoSizes) ? "" : "RFC822.SIZE ");
      bool whole = false;
      if (!pieces) {
        if (auto r = ask(beside + "BODY.PEEK[HEADER]"); !r) return r;
        // RFC 9051 §6.4.5: the header part has the empty line that ends it, or the two cannot be put together.
        if (message.right() && message.came() && message.ends_a_header()) {
          if (auto r = ask("UID BODY.PEEK[TEXT]"); !r) return r;
          whole = message.came();
        }
      } else {
        for (std::uint64_t from = 0; !whole; from += kPiece) {
          const auto piece = "BODY.PEEK[]<" + std::to_string(from) + "." + std::to_string(kPiece) + ">";
          if (auto r = ask((from == 0 ? beside : std::string("UID ")) + piece); !r) return r;
          if (!message.right() || !message.came() || message.part() > kPiece) break;
          whole = message.part() < kPiece;
        }
      }
      selected = slice->mailbox;
      if (message.error() || !message.right()) {
        const Error changed{Scope::Mailbox, Retry::Later, "UIDVALIDITY has changed", ""};
        if (auto r = receiver.lost(one, message.error().value_or(changed)); !r) return r;
        break;
      }
      if (whole)
        if (auto r = message.finish(!quirk(imap::Quirk::RoughSizes)); !r) return r;
      if (auto r = receiver.answered(one, message.refusal()); !r) return r;
    }
  }
  return done();
}

}  // namespace mailhaul::collector
