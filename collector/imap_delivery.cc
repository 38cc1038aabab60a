// The way into an IMAP account: say (the copy book), do (APPEND), settle.
#include <algorithm>
#include <charconv>
#include <deque>

#include "collector/imap_message.h"
#include "collector/imap_steps.h"
#include "protocols/imap/plea.h"
#include "protocols/mail/mailbox_name.h"

namespace mailhaul::collector {

using imap::Condition;
using mail::Uid;
using store::CopyRow;
using store::CopyState;

struct ImapDestination::Posting {
  std::size_t index = 0;
  Box* box = nullptr;
  ImapMessage* message = nullptr;
  store::Delivery* delivery = nullptr;
  CopyRow row;
  mail::FlagSet flags;
  bool done = false;     // nothing more to be done for it
  bool stored = false;   // by us, or adopted
  bool created = false;  // TRYCREATE was tried
  bool again = false;    // it was not stored; to be sent once more
  bool bare = false;     // sent without its keywords: they may be why it was, or would be, refused
  std::optional<imap::StatusText> reply;
};

// APPENDs of short messages, and of spooled ones piece by piece elsewhere; several in flight.
class ImapDestination::PostScript final : public client::Script, public client::Listener {
 public:
  explicit PostScript(std::vector<Posting*> postings) : postings_(std::move(postings)) {}
  std::optional<client::Step> next() override {
    if (next_ == postings_.size()) return std::nullopt;
    const auto& p = *postings_[next_];
    if (in_flight_ > 0 && in_flight_ + p.row.octets > kInFlight) return std::nullopt;
    ++next_;
    in_flight_ += p.row.octets;
    imap::Append append{p.box->name, p.flags.wire(), p.row.seconds, p.row.octets, p.message->text_, p.message->nul_};
    return client::Step{std::move(append), this};
  }
  Done on(const imap::Event&) override { return done(); }
  Done completed(const imap::Command& command, const imap::StatusText& status) override {
    if (const auto* append = std::get_if<imap::Append>(&command)) {
      in_flight_ -= append->octets;
      for (auto* p : postings_)
        if (p->message->text_.data() == append->message.data()) p->reply = status;
    }
    return done();
  }

 private:
  static constexpr std::uint64_t kInFlight = 1U << 20U;
  std::vector<Posting*> postings_;
  std::size_t next_ = 0;
  std::uint64_t in_flight_ = 0;
};

Result<std::unique_ptr<client::ImapClient>> ImapDestination::borrow() {
  if (!idle_.empty()) {
    auto client = std::move(idle_.back());
    idle_.pop_back();
    return client;
  }
  return settings_.connect();
}

void ImapDestination::give_back(std::unique_ptr<Client> client) {
  if (client && client->usable()) idle_.push_back(std::move(client));
}

Result<store::IncomingMessage> ImapDestination::receive(const std::string& directory,
                                                        const store::Announced* announced) {
  if (announced && append_limit_ && announced->octets > *append_limit_) announced = nullptr;
  return store::IncomingMessage(std::make_unique<ImapMessage>(*this, directory, announced));
}

// Its first octets have come. Without a connection at the end of this it stays in memory or goes to the spool.
Done ImapDestination::begin_long(ImapMessage& message) {
  const std::lock_guard lock(mutex_);
  auto box = this->box(message.directory_);
  if (!box) return box.error();
  auto& b = **box;
  const auto& announced = *message.announced_;
  auto known = book_->find(b.number, {&announced.key, 1});
  if (!known) return known.error();
  if (!known->empty()) return done();
  mail::HeaderScanner scanner;
  scanner.update(message.text_);
  const auto evidence = scanner.finish();
  CopyRow row;
  row.key = announced.key;
  row.floor = b.next;
  row.meant_at = settings_.clock->unix_seconds();
  row.octets = announced.octets;
  row.seconds = announced.seconds;
  row.message_id = evidence.message_id;
  row.header_digest = evidence.header_digest;
  auto there = adoptable(b, row, false);
  if (!there) return there.error();
  if (*there) return done();  // perhaps it is there already: its digest will tell
  auto client = borrow();
  if (!client) return client.error().in("the destination");
  if (auto put = book_->put(b.number, {&row, 1}); !put) return put;
  message.number_ = b.number;
  message.said_ = true;
  passing_.insert(row.key);
  const auto sent = message.text_.size() - kImapChunk;
  // Once its octets have gone by it cannot be sent again without a keyword that the server does not take.
  const auto flags = mail::FlagSet(permitted(b, announced.flags).system_bits(), {}).wire();
  const std::string held = message.text_.substr(sent);
  auto begun = (*client)->append_begin(imap::Append{b.name, flags, announced.seconds, announced.octets,
                                                    std::string_view(message.text_).substr(0, sent), false});
  message.client_ = *std::move(client);
  if (begun) {
    message.text_ = held;
    return done();
  }
  if (begun.error().scope != Scope::Message) return begun.error().in("the destination");
  message.drop(begun.error().what);
  if (message.refused_.find("OVERQUOTA") == std::string::npos) return done();
  return Error{Scope::Service, Retry::AfterUserAction, "the destination: " + message.refused_, "Make room there."};
}

Result<std::vector<std::string>> ImapDestination::deliver(std::span<std::pair<std::string, store::Delivery>> batch) {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> names(batch.size());
  std::vector<Posting> postings;
  std::set<std::pair<Box*, store::DeliveryKey>> keys;
  for (std::size_t i = 0; i < batch.size(); ++i) {
    auto& [directory, delivery] = batch[i];
    auto* message = static_cast<ImapMessage*>(delivery.message.body());
    if (message->dropped_) continue;
    auto box = this->box(directory);
    if (!box) return box.error();
    auto& b = **box;
    Posting p;
    p.index = i;
    p.box = &b;
    p.message = message;
    p.delivery = &delivery;
    auto& row = p.row;
    row.key = delivery.key;
    row.octets = message->octets_;
    row.seconds = delivery.seconds;
    row.sha256 = message->sha256_;
    row.message_id = message->evidence_.message_id;
    row.header_digest = message->evidence_.header_digest;
    p.flags = delivery.flags;
    if (!keys.emplace(&b, row.key).second) continue;
    p.bare = message->client_ != nullptr;
    if (!message->client_) {
      if (append_limit_ && row.octets > *append_limit_)
        message->refused_ = "the destination takes no messages above " + std::to_string(*append_limit_) + " octets";
      if (message->nul_ && !has("BINARY"))
        message->refused_ = "it holds a NUL, which the destination does not take (RFC 9051 §4.3)";
      if (!message->refused_.empty()) continue;
      auto doubts = book_->doubts(b.number);
      if (!doubts) return doubts.error();
      auto known = book_->find(b.number, {&row.key, 1});
      if (!known) return known.error();
      if (!known->empty() && known->front().state == CopyState::Meant) {
        if (auto r = settle_doubts(b); !r) return r.error();
        known = book_->find(b.number, {&row.key, 1});
        if (!known) return known.error();
      }
      if (!known->empty() && known->front().state == CopyState::Unnamed) {
        names[i] = "there";
        continue;
      }
      if (!known->empty()) {
        auto there = look_in(directory, {&row.key, 1});
        if (!there) return there.error();
        if (!there->empty()) continue;                                              // for look() to find
        if (auto r = book_->forget(b.number, {&row.key, 1}); !r) return r.error();  // its owner has removed it
      }
      auto there = adoptable(b, row, true);
      if (!there) return there.error();
      if (*there) {
        row.meant_at = settings_.clock->unix_seconds();
        if (auto r = adopt(b, row, **there, p.flags); !r) return r.error();
        names[i] = "there";
        continue;
      }
    }
    postings.push_back(std::move(p));
  }
  if (auto posted = post(postings); !posted) return posted.error();
  for (const auto& p : postings)
    if (p.stored) names[p.index] = std::to_string(p.row.uid.value);
  return names;
}

// Round after round, as long as connections go: what is not known to be stored or refused is in doubt, looked for, and
// sent again only when it was not found.
Done ImapDestination::post(std::vector<Posting>& postings) {
  const auto open = [&] { return std::ranges::count_if(postings, [](const Posting& p) { return !p.done; }); };
  for (int failures = 0; open() > 0;) {
    const auto before = open();
    const auto posted = post_once(postings);
    if (auto booked = book_results(postings); !booked) return booked;
    if (open() == 0) break;
    if (open() < before) failures = 0;
    const auto waits = [](const Posting& p) { return !p.done && !p.again; };
    if (posted && std::ranges::none_of(postings, waits)) continue;  // refused, and worth another try in another way
    const Error why = posted ? Error{Scope::Account, Retry::Now, "it was not done", ""} : posted.error();
    if (auto again = again_after(why, failures); !again) return again;
    std::set<Box*> boxes;
    for (const auto& p : postings)
      if (!p.done) boxes.insert(p.box);
    for (auto* box : boxes)
      if (auto settled = settle_doubts(*box); !settled) return settled;
    for (auto& p : postings) {
      if (p.done) continue;
      auto known = book_->find(p.box->number, {&p.row.key, 1});
      if (!known) return known.error();
      if (!known->empty()) {
        p.row = known->front();
        p.done = p.stored = true;
      } else if (p.message->said_) {
        p.done = true;  // its octets are gone: the next run brings it
      }
    }
  }
  return store_keywords(postings);
}

Done ImapDestination::post_once(std::vector<Posting>& postings) {
  std::map<Box*, std::vector<CopyRow>> meant;
  std::vector<Posting*> short_ones;
  for (auto& p : postings) {
    if (p.done) continue;
    p.reply.reset();
    p.again = false;
    p.row.state = CopyState::Meant;
    p.row.floor = p.box->next;
    p.row.meant_at = settings_.clock->unix_seconds();
    p.flags = permitted(*p.box, p.delivery->flags);
    if (p.bare) p.flags = mail::FlagSet(p.flags.system_bits(), {});
    meant[p.box].push_back(p.row);
    if (!p.message->said_ && !p.message->spool_) short_ones.push_back(&p);
  }
  for (const auto& [box, rows] : meant)
    if (auto said = book_->put(box->number, rows); !said) return said;
  for (auto& p : postings) {
    if (p.done || p.message->spool_ || !p.message->said_) continue;
    p.message->given_away_ = true;
    passing_.erase(p.row.key);
    auto client = std::move(p.message->client_);
    if (!client) continue;
    auto reply = client->append_end(p.message->text_);
    if (!reply) return reply.error();
    p.reply = *std::move(reply);
    give_back(std::move(client));
  }
  if (!main_) {
    auto client = settings_.connect();
    if (!client) return client.error();
    main_ = *std::move(client);
    selected_.clear();
  }
  PostScript script(short_ones);
  Done ended = main_->converse(script);
  if (!main_->usable()) main_.reset();
  if (!ended) return ended;
  for (auto& p : postings) {
    if (p.done || !p.message->spool_ || p.message->said_) continue;
    const auto& spool = *p.message->spool_;
    Done sent = main_->append_begin({p.box->name, p.flags.wire(), p.row.seconds, p.row.octets, {}, p.message->nul_});
    std::uint64_t at = 0;
    for (; sent && p.row.octets - at > kImapChunk; at += kImapChunk) {
      auto chunk = spool.read(at, kImapChunk);
      sent = chunk ? main_->append_octets(*chunk) : Done(chunk.error());
    }
    auto last = spool.read(at, static_cast<std::size_t>(p.row.octets - at));
    if (sent && !last) sent = last.error();
    Result<imap::StatusText> reply = imap::StatusText{};
    if (sent) {
      reply = main_->append_end(*last);
      if (!reply) sent = reply.error();
      p.reply = reply ? std::optional(*reply) : std::nullopt;
    } else if (sent.error().scope == Scope::Message) {
      p.reply = imap::StatusText{Condition::No, "", "", sent.error().what};
      sent = done();
    }
    if (!main_->usable()) {
      main_.reset();
      return sent ? Done(Error{Scope::Account, Retry::Now, "connection used up by a refusal", ""}) : sent;
    }
    if (!sent) return sent;
  }
  return done();
}

// One answer: stored, refused, or nothing is known.
Done ImapDestination::judge(Posting& p, bool& again) {
  const auto& reply = *p.reply;
  if (reply.condition == Condition::Ok) {
    p.done = p.stored = true;
    p.row.state = CopyState::Unnamed;
    const auto blank = reply.arguments.find(' ');
    if (reply.code != "APPENDUID" || blank == std::string::npos) return done();
    const auto validity = number_in(std::string_view(reply.arguments).substr(0, blank));
    const auto uid = number_in(std::string_view(reply.arguments).substr(blank + 1));
    if (!validity || !uid || *uid == 0 || *uid > UINT32_MAX || *validity != p.box->validity.value) return done();
    p.row.state = CopyState::Stored;
    p.row.uid = Uid{static_cast<std::uint32_t>(*uid)};
    if (p.row.uid.value < UINT32_MAX) p.box->next = std::max(p.box->next, Uid{p.row.uid.value + 1});
    return done();
  }
  if (reply.code == "OVERQUOTA")
    return Error{Scope::Service, Retry::AfterUserAction, "the destination is full: " + reply.line(),
                 "Make room there, and run it again."};
  if (reply.code == "TRYCREATE" && !p.created) {
    p.created = again = true;
    const auto name = p.box->name;
    return on_main([&](Client& client) { return make(client, name); });
  }
  if (imap::plea_of(reply).plea != imap::Plea::None) return done();  // perhaps it was stored all the same
  if (!p.flags.keywords().empty() && !p.message->said_) {
    p.bare = again = true;
    return done();
  }
  p.done = true;
  p.message->refused_ = "the destination refuses it: " + reply.line();
  return done();
}

Done ImapDestination::book_results(std::vector<Posting>& postings) {
  std::map<Box*, std::vector<CopyRow>> rows;
  std::map<Box*, std::vector<store::DeliveryKey>> never;
  std::set<Box*> unnamed;
  Done outcome = done();
  for (auto& p : postings) {
    if (!p.reply || p.done) continue;
    auto judged = judge(p, p.again);
    p.reply.reset();
    if (!judged && outcome) outcome = judged;
    if (p.stored) rows[p.box].push_back(p.row);
    if (p.stored && p.row.state == CopyState::Unnamed) unnamed.insert(p.box);
    if (!p.stored && (p.done || p.again || !judged)) never[p.box].push_back(p.row.key);
  }
  for (const auto& [box, stored] : rows)
    if (auto put = book_->put(box->number, stored); !put) return put;
  for (const auto& [box, keys] : never)
    if (auto forgotten = book_->forget(box->number, keys); !forgotten) return forgotten;
  if (!outcome) return outcome;
  for (auto* box : unnamed) {  // where the server does not tell UIDs, they are looked up
    auto open = book_->unsettled(box->number);
    if (!open) return open.error();
    std::erase_if(*open, [](const CopyRow& row) { return row.state != CopyState::Unnamed; });
    if (auto looked = look_for(*box, *open); !looked) return looked;
  }
  return done();
}

// One keyword after the other, to learn which of them the server does not want. Whoever is cut off before this finds a
// copy that lacks flags, and levels them.
Done ImapDestination::store_keywords(std::vector<Posting>& postings) {
  for (auto& p : postings) {
    if (!p.bare || !p.stored) continue;
    auto known = book_->find(p.box->number, {&p.row.key, 1});
    if (!known) return known.error();
    if (known->empty() || known->front().state != CopyState::Stored) continue;
    p.row = known->front();
    auto stored = on_main([&](Client& client) -> Done {
      if (auto r = select(client, *p.box); !r) return r;
      const auto wanted = permitted(*p.box, mail::FlagSet(0, p.delivery->flags.keywords()));
      for (const auto& keyword : wanted.keywords()) {
        auto status = client.command(imap::UidStore{std::to_string(p.row.uid.value), true, keyword});
        if (!status) return status.error();
        if (status->condition == Condition::Ok) continue;
        refused_keywords_.add(keyword);
        ++keywords_left_out_;
      }
      return done();
    });
    if (!stored) return stored;
  }
  return done();
}

}  // namespace mailhaul::collector
