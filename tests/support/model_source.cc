#include "tests/support/model_source.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <ctime>

#include "protocols/mail/mailbox_name.h"

namespace mailhaul::test {

using mail::Uid;
using mail::UidSet;
using sync::FetchQueue;
using sync::FetchSlice;
using sync::Headers;
using sync::MailboxView;
using sync::ObserveRequest;
using sync::SourceMailbox;

namespace {

std::string internal_date(std::int64_t unix_seconds) {  // RFC 9051 §9, date-time
  constexpr std::array<const char*, 12> kMonths{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const auto at = static_cast<std::time_t>(unix_seconds);
  std::tm t{};
  gmtime_r(&at, &t);
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%2d-%s-%04d %02d:%02d:%02d +0000", t.tm_mday,
                kMonths[static_cast<std::size_t>(t.tm_mon)], t.tm_year + 1900, t.tm_hour, t.tm_min, t.tm_sec);
  return text.data();
}

Error refused() { return {Scope::Mailbox, Retry::Later, "it cannot be opened: NO [SERVERBUG] busy", ""}; }

}  // namespace

ModelMessage* ModelMailbox::find(Uid uid) {
  const auto it = std::ranges::lower_bound(messages, uid, {}, &ModelMessage::uid);
  return it != messages.end() && it->uid == uid ? &*it : nullptr;
}

ModelMessage& ModelMailbox::deliver(std::string wire, mail::FlagSet flags, std::int64_t date) {
  auto& message = messages.emplace_back();
  message.uid = Uid{static_cast<std::uint32_t>(next_uid++)};
  message.flags = std::move(flags);
  message.modseq = ++modseq;
  message.date = date;
  message.wire = std::move(wire);
  return message;
}

void ModelMailbox::set_flags(ModelMessage& message, const mail::FlagSet& flags) {
  message.flags = flags;
  message.modseq = ++modseq;
}

void ModelMailbox::expunge(Uid uid) {
  std::erase_if(messages, [&](const ModelMessage& m) { return m.uid == uid; });
  expunged.emplace_back(++modseq, uid.value);  // RFC 7162 §3.2.5
}

void ModelMailbox::renumber(std::mt19937_64& luck) {
  ++validity;
  expunged.clear();
  std::ranges::shuffle(messages, luck);
  next_uid = 1 + luck() % 5;
  for (auto& message : messages) {
    message.uid = Uid{static_cast<std::uint32_t>(next_uid)};
    message.modseq = ++modseq;
    next_uid += 1 + luck() % 2;
  }
}

ModelMailbox* ModelServer::find(std::string_view name) {
  const auto it = std::ranges::find(mailboxes, name, &ModelMailbox::name);
  return it == mailboxes.end() ? nullptr : &*it;
}

Error ModelServer::connection_lost() { return {Scope::Account, Retry::Now, "the connection was lost", ""}; }

Done ModelServer::step(std::string_view name) {
  ++steps_;
  return on_step ? on_step(name) : done();
}

class ModelSource final : public sync::Source {
 public:
  explicit ModelSource(ModelServer& server) : server_(server) {}

  Result<std::vector<SourceMailbox>> mailboxes() override;
  Result<std::vector<MailboxView>> observe(std::span<const ObserveRequest> requests) override;
  Result<UidSet> probe(const FetchQueue::Mailbox& mailbox) override;
  Result<std::vector<Headers>> headers(const FetchQueue::Mailbox& mailbox) override;
  Done fetch(FetchQueue& queue, sync::Receiver& receiver) override;

 private:
  Result<MailboxView> look(const ObserveRequest& request);
  ModelMailbox* open(const std::string& name);
  Done answer(const FetchSlice& slice, sync::Receiver& receiver);
  Done send(const FetchSlice& slice, ModelMailbox& mailbox, Uid uid, sync::Receiver& receiver, bool& refused);
  Done send_body(const FetchSlice& slice, const ModelMessage& message, std::string_view octets, bool cut,
                 sync::Receiver& receiver);
  Done chat(const FetchSlice& slice, const ModelMailbox& mailbox, sync::Receiver& receiver);
  bool chance(unsigned one_in) { return server_.luck_() % one_in == 0; }

  ModelServer& server_;
};

Result<std::unique_ptr<sync::Source>> ModelServer::connect() {
  if (auto r = step("connect"); !r) return r.error();
  return std::unique_ptr<sync::Source>(std::make_unique<ModelSource>(*this));
}

Result<std::vector<SourceMailbox>> ModelSource::mailboxes() {
  if (auto r = server_.step("list"); !r) return r.error();
  std::vector<SourceMailbox> out;
  for (const auto& box : server_.mailboxes) {
    auto& m = out.emplace_back();
    m.raw_name = box.name;
    m.delimiter = box.delimiter;
    m.path = mail::hierarchy(box.name, box.delimiter);
    m.selectable = box.selectable;
    m.subscribed = box.subscribed;
    if (!server_.traits.status || !box.selectable) continue;
    m.messages = box.messages.size();
    m.uid_validity = box.validity;
    m.mailbox_id = box.id;
    if (server_.traits.uid_next) m.uid_next = box.next_uid;
    if (server_.traits.condstore) m.highest_modseq = box.modseq;
  }
  return out;
}

// What an EXAMINE finds; nullptr: it is refused.
ModelMailbox* ModelSource::open(const std::string& name) {
  auto* box = server_.find(name);
  if (!box || !box->selectable || (box->refusals > 0 && box->refusals-- > 0)) return nullptr;
  return box;
}

Result<std::vector<MailboxView>> ModelSource::observe(std::span<const ObserveRequest> requests) {
  std::vector<MailboxView> out;
  for (const auto& request : requests) {
    auto view = look(request);
    if (!view) return view.error();
    view->index = request.index;
    out.push_back(*std::move(view));
  }
  return out;
}

Result<MailboxView> ModelSource::look(const ObserveRequest& request) {
  if (auto r = server_.step("examine " + request.raw_name); !r) return r.error();
  MailboxView view;
  auto* box = open(request.raw_name);
  if (!box) {
    view.error = refused();
    return view;
  }
  view.validity = mail::UidValidity{box->validity};
  if (server_.traits.uid_next) view.uid_next = box->next_uid;
  if (server_.traits.condstore) view.modseq = mail::ModSeq{box->modseq};
  const auto opened_as = box->validity;

  if (auto r = server_.step("list uids of " + request.raw_name); !r) return r.error();
  if (box->validity != opened_as) {
    view.error = Error{Scope::Mailbox, Retry::Later, "its UIDVALIDITY changed while it was read", ""};
    return view;
  }
  view.exists = box->messages.size();
  if (box->lying_answers > 0 && box->lying_answers-- > 0)
    view.exists = static_cast<std::uint64_t>(std::max(0, static_cast<int>(view.exists) + box->exists_lie));
  const bool hiding = box->hiding_answers > 0 && box->hiding_answers-- > 0;
  view.completeness = request.floor.value <= 1 ? sync::Completeness::Complete : sync::Completeness::Delta;
  for (const auto& message : box->messages) {
    if (message.uid < request.floor || (hiding && box->hidden.contains(message.uid.value))) continue;
    view.present.add(message.uid);
    if (request.descriptors) view.descriptors.push_back({message.uid, message.wire.size(), message.date});
  }

  for (const auto& message : box->messages)
    if (request.landmarks.contains(message.uid))
      view.landmarks.push_back({message.uid, message.wire.size(), message.date});

  if (auto r = server_.step("flags of " + request.raw_name); !r) return r.error();
  if (!request.flags || box->validity != opened_as) return view;
  if (server_.traits.resync && server_.traits.condstore && request.modseq) {
    for (const auto& [when, uid] : box->expunged)
      if (when > request.modseq->value) view.vanished.add(Uid{uid});
    if (server_.traits.false_vanished && !box->messages.empty() && chance(4))
      view.vanished.add(box->messages[server_.luck_() % box->messages.size()].uid);
  }
  for (const auto& message : box->messages) {
    if (hiding && box->hides_flags && box->hidden.contains(message.uid.value)) continue;
    const bool asked = request.floor.value <= 1 || request.beyond || message.uid < request.floor;
    const bool changed = !server_.traits.condstore || !request.modseq || message.modseq > request.modseq->value;
    if (request.flags_of && !request.modseq && !request.flags_of->contains(message.uid)) continue;
    if (asked && changed) view.changes.add(message.uid, message.flags);
  }
  return view;
}

Result<UidSet> ModelSource::probe(const FetchQueue::Mailbox& mailbox) {
  if (auto r = server_.step("probe " + mailbox.raw_name); !r) return r.error();
  auto* box = open(mailbox.raw_name);
  if (!box || mail::UidValidity{box->validity} != mailbox.validity) return mailbox.uids;  // proves nothing
  UidSet shown;
  mailbox.uids.each([&](Uid uid) {
    if (box->find(uid)) shown.add(uid);
  });
  return shown;
}

Result<std::vector<Headers>> ModelSource::headers(const FetchQueue::Mailbox& mailbox) {
  if (auto r = server_.step("headers of " + mailbox.raw_name); !r) return r.error();
  std::vector<Headers> out;
  auto* box = open(mailbox.raw_name);
  if (!box || mail::UidValidity{box->validity} != mailbox.validity) return out;
  mail::HeaderScanner scanner;
  mailbox.uids.each([&](Uid uid) {
    const auto* message = box->find(uid);
    if (!message) return;
    scanner.reset();
    scanner.update(message->wire);
    out.push_back({uid, scanner.finish(), message->wire.size(), message->date, message->flags});
  });
  if (server_.traits.shuffled) std::ranges::shuffle(out, server_.luck_);
  return out;
}

Done ModelSource::fetch(FetchQueue& queue, sync::Receiver& receiver) {
  std::optional<std::size_t> selected;
  while (auto slice = queue.next(selected)) {
    if (selected != slice->mailbox)
      if (auto r = server_.step("select " + slice->raw_name); !r) return r;
    selected = slice->mailbox;
    if (auto r = answer(*slice, receiver); !r) return r;
  }
  return done();
}

Done ModelSource::answer(const FetchSlice& slice, sync::Receiver& receiver) {
  auto* box = open(slice.raw_name);
  if (!box) return receiver.lost(slice, refused());
  if (mail::UidValidity{box->validity} != slice.validity)
    return receiver.lost(slice, {Scope::Mailbox, Retry::Later, "UIDVALIDITY has changed", ""});
  std::vector<Uid> uids;
  slice.uids.each([&](Uid uid) { uids.push_back(uid); });
  if (server_.traits.shuffled) std::ranges::shuffle(uids, server_.luck_);
  bool no = false;
  for (const auto uid : uids) {
    if (auto r = server_.step("fetch " + std::to_string(uid.value)); !r) return r;
    if (server_.traits.chatty)
      if (auto r = chat(slice, *box, receiver); !r) return r;
    if (mail::UidValidity{box->validity} != slice.validity) break;
    if (auto r = send(slice, *box, uid, receiver, no); !r) return r;
  }
  if (auto r = server_.step("tagged reply"); !r) return r;
  return receiver.answered(slice, no ? "NO [SERVERBUG] a message could not be read" : "");
}

Done ModelSource::send(const FetchSlice& slice, ModelMailbox& mailbox, Uid uid, sync::Receiver& receiver,
                       bool& refused) {
  auto* found = mailbox.find(uid);
  if (!found) return done();
  const auto body = found->bad_answers > 0 && !found->wire.empty() ? found->body : Body::Fine;
  if (body != Body::Fine) --found->bad_answers;
  const ModelMessage message = *found;  // the world may change while it is sent
  const sync::FetchedMessage bare{uid, message.flags, internal_date(message.date), false};
  switch (body) {
    case Body::Missing:
      return done();
    case Body::Refused:
      refused = true;
      return done();
    case Body::Nil:
      return receiver.message(slice.mailbox, bare);
    case Body::Empty:
      return send_body(slice, message, {}, false, receiver);
    case Body::Drops:
    case Body::Truncated: {
      const auto cut = body == Body::Drops ? message.wire.size() / 2 : message.wire.size() - 1;
      if (auto r = send_body(slice, message, std::string_view(message.wire).substr(0, cut), true, receiver); !r)
        return r;
      return ModelServer::connection_lost();
    }
    case Body::Fine:
      break;
  }
  const int times = server_.traits.chatty && chance(8) ? 2 : 1;
  for (int i = 0; i < times; ++i)
    if (auto r = send_body(slice, message, message.wire, false, receiver); !r) return r;
  return done();
}

Done ModelSource::send_body(const FetchSlice& slice, const ModelMessage& message, std::string_view octets, bool cut,
                            sync::Receiver& receiver) {
  ++server_.bodies_;
  const auto announced = cut ? message.wire.size() : octets.size();
  const auto uid = server_.traits.uid_after_body ? std::nullopt : std::optional(message.uid);
  if (auto r = receiver.begin(slice.mailbox, uid, announced); !r) return r;
  while (!octets.empty()) {
    const auto some = std::min<std::size_t>(octets.size(), 1 + server_.luck_() % 300);
    if (auto r = receiver.octets(octets.substr(0, some)); !r) return r;
    octets.remove_prefix(some);
    if (auto r = server_.step("body of " + std::to_string(message.uid.value)); !r) return r;
  }
  if (cut) return done();
  if (auto r = receiver.end(); !r) return r;
  return receiver.message(slice.mailbox, {message.uid, message.flags, internal_date(message.date), true});
}

// RFC 9051 §7.5.2: FETCH data may come at any time, asked for or not.
Done ModelSource::chat(const FetchSlice& slice, const ModelMailbox& mailbox, sync::Receiver& receiver) {
  if (mailbox.messages.empty() || !chance(3)) return done();
  const auto any = mailbox.messages[server_.luck_() % mailbox.messages.size()];  // a copy: the world may change
  if (chance(2)) return receiver.message(slice.mailbox, {any.uid, any.flags, "", false});
  if (chance(2)) return receiver.message(slice.mailbox, {std::nullopt, any.flags, "", false});
  if (slice.uids.contains(any.uid)) return done();
  return send_body(slice, any, any.wire, false, receiver);
}

}  // namespace mailhaul::test
