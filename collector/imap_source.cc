#include "collector/imap_source.h"

#include <algorithm>
#include <deque>
#include <map>

#include "collector/special_use.h"
#include "protocols/mail/mailbox_name.h"

namespace mailhaul::collector {
namespace {

using imap::Command;
using imap::Condition;
using imap::Event;
using imap::StatusText;
using sync::FetchQueue;
using sync::UidSet;

// A fixed list of steps, given out one by one.
class Steps final : public client::Script {
 public:
  void add(Command command, client::Listener& listener) { steps_.push_back({std::move(command), &listener}); }
  std::optional<client::Step> next() override {
    if (steps_.empty()) return std::nullopt;
    auto step = std::move(steps_.front());
    steps_.pop_front();
    return step;
  }

 private:
  std::deque<client::Step> steps_;
};

Error refused(std::string_view what, const StatusText& status) {
  return {Scope::Mailbox, Retry::Later, std::string(what) + ": " + status.line(), ""};
}

// LIST, LSUB, NAMESPACE and STATUS answers, whichever come.
class Listing final : public client::Listener {
 public:
  Done on(const Event& event) override {
    if (const auto* entry = std::get_if<imap::ListEntry>(&event)) {
      if (entry->lsub)
        subscribed.push_back(entry->raw_name);
      else
        entries.push_back(*entry);
    } else if (const auto* status = std::get_if<imap::StatusEntry>(&event)) {
      statuses[status->raw_name] = *status;
    } else if (const auto* roots = std::get_if<imap::NamespaceData>(&event)) {
      namespaces = *roots;
    }
    return done();
  }
  Done completed(const Command& command, const StatusText& status) override {
    if (status.condition != Condition::Ok && std::holds_alternative<imap::List>(command)) list_refused = status.line();
    return done();
  }

  std::vector<imap::ListEntry> entries;
  std::vector<std::string> subscribed;
  std::map<std::string, imap::StatusEntry> statuses;
  std::optional<imap::NamespaceData> namespaces;
  std::string list_refused;
};

std::vector<std::string> status_items(const imap::Session& session) {
  std::vector<std::string> items{"MESSAGES", "UIDNEXT", "UIDVALIDITY"};
  if (session.has("CONDSTORE") || session.has("QRESYNC")) items.emplace_back("HIGHESTMODSEQ");  // RFC 7162 §3.1.7
  return items;
}

void take(const imap::StatusEntry& status, sync::SourceMailbox& mailbox) {
  mailbox.messages = status.messages;
  mailbox.uid_next = status.uid_next && *status.uid_next > 0 ? status.uid_next : std::nullopt;
  mailbox.uid_validity = status.uid_validity;
  mailbox.highest_modseq = status.highest_modseq && *status.highest_modseq > 0 ? status.highest_modseq : std::nullopt;
  mailbox.octets = status.size;
}

}  // namespace

ImapSource::~ImapSource() { client_->logout(); }

Result<std::vector<sync::SourceMailbox>> ImapSource::mailboxes() {
  found_.clear();
  if (auto r = list(); !r) return r.error();
  if (auto r = complete_status(); !r) return r.error();
  return found_;
}

// One round trip: identification, namespaces, and every mailbox with its STATUS where RFC 5819 is there.
Done ImapSource::list() {
  const auto& session = client_->session();
  Listing listing;
  Steps steps;
  if (session.has("ID")) steps.add(imap::Id{{{"name", "Mailhaul"}, {"vendor", "Mailhaul"}}}, listing);
  if (session.has("NAMESPACE")) steps.add(imap::Namespace{}, listing);
  const bool extended = session.has("LIST-EXTENDED") || session.has("IMAP4rev2");
  const bool with_status = extended && (session.has("LIST-STATUS") || session.has("IMAP4rev2"));
  imap::List all;
  if (extended) all.returns = {"SUBSCRIBED", "CHILDREN"};
  if (extended && session.has("SPECIAL-USE")) all.returns.emplace_back("SPECIAL-USE");
  if (with_status) all.status_items = status_items(session);
  steps.add(all, listing);
  if (!extended) steps.add(imap::Lsub{}, listing);
  if (auto r = client_->converse(steps); !r) return r;
  if (!listing.list_refused.empty() && extended) {  // old Cyrus and others: step down to the plain form
    listing.list_refused.clear();
    listing.entries.clear();
    Steps plain;
    plain.add(imap::List{}, listing);
    plain.add(imap::Lsub{}, listing);
    if (auto r = client_->converse(plain); !r) return r;
  }
  if (!listing.list_refused.empty())
    return Error{Scope::Account, Retry::Later, "the server does not list its mailboxes: " + listing.list_refused, ""};

  if (listing.namespaces) {
    personal_.clear();
    foreign_.clear();
    for (const auto& root : listing.namespaces->personal) personal_.emplace_back(root.prefix, root.delimiter);
    for (const auto* roots : {&listing.namespaces->other_users, &listing.namespaces->shared})
      for (const auto& root : *roots)
        if (!root.prefix.empty()) foreign_.push_back(root.prefix);
  }
  std::map<std::string, std::size_t> seen;
  for (auto& entry : listing.entries) {
    if (const auto [it, fresh] = seen.emplace(entry.raw_name, found_.size()); !fresh) continue;
    auto& mailbox = found_.emplace_back();
    mailbox.raw_name = entry.raw_name;
    mailbox.delimiter = entry.delimiter;
    std::string_view name = entry.raw_name;  // RFC 2342 §5: what the user's own namespace begins with is no mailbox
    if (personal_.size() == 1 && name.size() > personal_[0].first.size() && name.starts_with(personal_[0].first))
      name.remove_prefix(personal_[0].first.size());
    mailbox.path = mail::hierarchy(name, entry.delimiter);
    mailbox.selectable = !entry.has("\\Noselect") && !entry.has("\\NonExistent");
    mailbox.subscribed =
        entry.has("\\Subscribed") || std::ranges::find(listing.subscribed, entry.raw_name) != listing.subscribed.end();
    const auto under = [&](const std::string& prefix) {  // the root itself is listed without its delimiter
      return entry.raw_name.starts_with(prefix) || entry.raw_name + entry.delimiter.value_or('/') == prefix;
    };
    mailbox.personal = std::ranges::none_of(foreign_, under) && !entry.raw_name.starts_with("#");
    mailbox.attributes = std::move(entry.attributes);
    if (const auto status = listing.statuses.find(mailbox.raw_name); status != listing.statuses.end())
      take(status->second, mailbox);
  }
  assign_homes(found_);
  return done();
}

// STATUS one by one, pipelined, for servers without RFC 5819 and for lines that a server left out (RFC 5819 §2).
Done ImapSource::complete_status() {
  Listing listing;
  Steps steps;
  std::size_t asked = 0;
  const auto items = status_items(client_->session());
  for (const auto& mailbox : found_)
    if (mailbox.selectable && !mailbox.messages) {
      steps.add(imap::Status{mailbox.raw_name, items}, listing);
      ++asked;
    }
  if (asked == 0) return done();
  if (auto r = client_->converse(steps); !r) return r;
  for (auto& mailbox : found_)
    if (const auto it = listing.statuses.find(mailbox.raw_name); it != listing.statuses.end())
      take(it->second, mailbox);
  return done();
}

namespace {

// One mailbox while it is selected, from the answers to EXAMINE on.
class Selected : public client::Listener {
 public:
  Done on(const Event& event) override {
    if (const auto* exists = std::get_if<imap::Exists>(&event))
      exists_ = exists->count;
    else if (std::get_if<imap::Expunged>(&event))
      exists_ -= exists_ > 0 ? 1 : 0;
    else if (const auto* vanished = std::get_if<imap::Vanished>(&event)) {
      if (!vanished->earlier) exists_ -= std::min<std::uint64_t>(exists_, vanished->uids.size());
    } else if (const auto* notice = std::get_if<imap::Notice>(&event)) {
      code(notice->status);
    }
    return done();
  }
  Done completed(const Command& command, const StatusText& status) override {
    if (std::holds_alternative<imap::Examine>(command)) {
      open_ = status.condition == Condition::Ok;
      if (open_)
        code(status);
      else
        error_ = refused("it cannot be opened", status);
    }
    return done();
  }
  [[nodiscard]] bool open() const { return open_; }
  [[nodiscard]] const std::optional<mail::UidValidity>& validity() const { return validity_; }

 protected:
  void code(const StatusText& status) {
    const auto number = [&]() -> std::optional<std::uint64_t> {
      std::uint64_t n = 0;
      if (status.arguments.empty() || status.arguments.size() > 19) return std::nullopt;
      for (const char c : status.arguments) {
        if (c < '0' || c > '9') return std::nullopt;
        n = n * 10 + static_cast<std::uint64_t>(c - '0');
      }
      return n;
    };
    if (status.code == "UIDVALIDITY") {
      if (const auto n = number()) {
        if (validity_ && validity_->value != *n) changed_ = true;
        validity_ = mail::UidValidity{*n};
      }
    } else if (status.code == "UIDNEXT") {
      if (const auto n = number(); n && *n > 0) uid_next_ = *n;
    } else if (status.code == "HIGHESTMODSEQ") {
      if (const auto n = number(); n && *n > 0) modseq_ = mail::ModSeq{*n};
    } else if (status.code == "NOMODSEQ") {
      modseq_.reset();
    }
  }

  bool open_ = false;
  bool changed_ = false;  // UIDVALIDITY changed while selected
  std::uint64_t exists_ = 0;
  std::optional<mail::UidValidity> validity_;
  std::optional<std::uint64_t> uid_next_;
  std::optional<mail::ModSeq> modseq_;
  std::optional<Error> error_;
};

class Observing final : public Selected {
 public:
  explicit Observing(const sync::ObserveRequest& request) : request_(request) {}

  Done on(const Event& event) override {
    if (const auto* result = std::get_if<imap::SearchResult>(&event)) {
      for (const auto& range : result->uids.ranges()) note(range);
    } else if (const auto* fetched = std::get_if<imap::Fetched>(&event)) {
      if (fetched->uid) see(*fetched);
    } else {
      return Selected::on(event);
    }
    return done();
  }
  Done completed(const Command& command, const StatusText& status) override {
    // An empty mailbox has nothing to number; some servers call "1:*" wrong then.
    if (!std::holds_alternative<imap::Examine>(command) && status.condition != Condition::Ok && open_ && exists_ > 0)
      enumerated_ = false;
    return Selected::completed(command, status);
  }
  [[nodiscard]] bool short_of_uids() const {
    return open_ && !error_ && complete() && (!enumerated_ || view_.present.size() != exists_);
  }
  sync::MailboxView take() {
    view_.index = request_.index;
    view_.error =
        changed_ ? Error{Scope::Mailbox, Retry::Later, "its UIDVALIDITY changed while it was read", ""} : error_;
    view_.completeness = complete() && enumerated_ ? sync::Completeness::Complete : sync::Completeness::Delta;
    view_.validity = validity_;
    view_.uid_next = uid_next_;
    view_.exists = exists_;
    view_.modseq = modseq_;
    std::ranges::sort(view_.descriptors, {}, &sync::Descriptor::uid);
    return std::move(view_);
  }

 private:
  [[nodiscard]] bool complete() const { return request_.floor.value <= 1; }
  // "n:*" names the last message even if its UID is below n (RFC 9051 §9, seq-range).
  void note(mail::UidRange range) {
    range.first = std::max(range.first, request_.floor.value);
    if (range.first <= range.last) view_.present.add(range);
  }
  void see(const imap::Fetched& fetched) {
    if (fetched.uid->value >= request_.floor.value) {
      note({fetched.uid->value, fetched.uid->value});
      if (fetched.size)
        view_.descriptors.push_back(
            {*fetched.uid, *fetched.size,
             fetched.internal_date ? mail::parse_internal_date(*fetched.internal_date, INT64_MAX).value_or(INT64_MAX)
                                   : INT64_MAX});
    }
    if (fetched.flags && request_.flags) view_.changes.add(*fetched.uid, *fetched.flags);
  }

  sync::ObserveRequest request_;
  sync::MailboxView view_;
  bool enumerated_ = true;
};

}  // namespace

Result<std::vector<sync::MailboxView>> ImapSource::observe(std::span<const sync::ObserveRequest> requests) {
  const auto& session = client_->session();
  const bool condstore = session.has("CONDSTORE") || session.has("QRESYNC");
  const bool esearch = session.has("ESEARCH") || session.has("IMAP4rev2");
  std::deque<Observing> mailboxes;
  Steps steps;
  for (const auto& request : requests) {
    auto& mailbox = mailboxes.emplace_back(request);
    const auto floor = std::to_string(std::max(request.floor.value, 1U));
    steps.add(imap::Examine{request.raw_name, condstore, {}, read_write_}, mailbox);
    // New mail is asked for by UID alone.
    if (request.descriptors)
      steps.add(imap::UidFetch{floor + ":*", "UID INTERNALDATE RFC822.SIZE", {}, false}, mailbox);
    else if (esearch)
      steps.add(imap::UidSearch{"UID " + floor + ":*", "ALL"}, mailbox);
    else
      steps.add(imap::UidFetch{floor + ":*", "UID", {}, false}, mailbox);
    // Changes are asked for by MODSEQ alone (RFC 7162 §3.1.4.1).
    if (request.flags) {
      const auto since = condstore ? request.modseq : std::nullopt;
      const bool below = request.floor.value > 1 && !request.beyond;
      const auto known = below ? "1:" + std::to_string(request.floor.value - 1) : std::string("1:*");
      steps.add(imap::UidFetch{known, "UID FLAGS", since, false}, mailbox);
    }
  }
  if (auto r = client_->converse(steps); !r) return r.error();
  // A list that contradicts EXISTS is asked for once more in the other way, and the two are taken together.
  Steps again;
  bool any = false;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    if (!mailboxes[i].short_of_uids()) continue;
    any = true;
    again.add(imap::Examine{requests[i].raw_name, condstore, {}, read_write_}, mailboxes[i]);
    again.add(imap::UidFetch{"1:*", "UID FLAGS", {}, false}, mailboxes[i]);
  }
  if (any)
    if (auto r = client_->converse(again); !r) return r.error();
  std::vector<sync::MailboxView> views;
  views.reserve(mailboxes.size());
  for (auto& mailbox : mailboxes) views.push_back(mailbox.take());
  return views;
}

Done ImapSource::ask_each(const FetchQueue::Mailbox& mailbox, const std::string& items, client::Listener& listener) {
  Steps steps;
  steps.add(imap::Examine{mailbox.raw_name, false, {}, read_write_}, listener);
  for (auto rest = mailbox.uids; !rest.empty();)
    steps.add(imap::UidFetch{rest.take_front(500, 8000).wire(), items, {}, false}, listener);
  return client_->converse(steps);
}

Result<UidSet> ImapSource::probe(const FetchQueue::Mailbox& mailbox) {
  class Shown final : public Selected {
   public:
    Done on(const Event& event) override {
      if (const auto* fetched = std::get_if<imap::Fetched>(&event); fetched && fetched->uid) uids.add(*fetched->uid);
      return Selected::on(event);
    }
    Done completed(const Command& command, const StatusText& status) override {
      if (status.condition != Condition::Ok) failed = refused("asking for single messages", status);
      return Selected::completed(command, status);
    }
    UidSet uids;
    std::optional<Error> failed;
  } shown;
  if (auto r = ask_each(mailbox, "UID", shown); !r) return r.error();
  // An answer that is not an answer proves nothing: everything counts as still there.
  if (shown.failed || shown.validity() != mailbox.validity) return mailbox.uids;
  return mailbox.uids.intersect(shown.uids);
}

Result<std::vector<sync::Headers>> ImapSource::headers(const FetchQueue::Mailbox& mailbox) {
  class Reading final : public Selected {
   public:
    Done on(const Event& event) override {
      if (std::get_if<imap::BodyBegin>(&event))
        scanner.reset();
      else if (const auto* chunk = std::get_if<imap::BodyChunk>(&event))
        scanner.update(chunk->octets);
      else if (const auto* fetched = std::get_if<imap::Fetched>(&event))
        take(*fetched);
      return Selected::on(event);
    }
    void take(const imap::Fetched& fetched) {
      if (!fetched.uid || fetched.body != imap::Body::Delivered) return;
      sync::Headers header;
      header.uid = *fetched.uid;
      header.evidence = scanner.finish();
      header.size = fetched.size;
      if (fetched.internal_date) header.date = mail::parse_internal_date(*fetched.internal_date, INT64_MAX);
      header.flags = fetched.flags.value_or(mail::FlagSet{});
      out.push_back(std::move(header));
    }
    mail::HeaderScanner scanner;
    std::vector<sync::Headers> out;
  } reading;
  auto r = ask_each(
      mailbox,
      "UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (MESSAGE-ID DATE FROM TO CC SUBJECT RECEIVED)]",
      reading);
  if (!r) return r.error();
  if (reading.validity() != mailbox.validity) return std::vector<sync::Headers>{};
  return std::move(reading.out);
}

namespace {

class Fetching;

// The mailboxes of a fetch, one after the other on one connection.
class FetchScript final : public client::Script {
 public:
  FetchScript(FetchQueue& queue, sync::Receiver& receiver, bool read_write)
      : queue_(queue), receiver_(receiver), read_write_(read_write) {}
  std::optional<client::Step> next() override;
  void answered() { --in_flight_; }

 private:
  static constexpr std::size_t kInFlight = 8;
  FetchQueue& queue_;
  sync::Receiver& receiver_;
  bool read_write_;
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
    if (const auto* chunk = std::get_if<imap::BodyChunk>(&event))
      return taking_ ? receiver_.octets(chunk->octets) : done();
    if (const auto* begin = std::get_if<imap::BodyBegin>(&event)) {
      taking_ = right();
      body_ = false;
      return taking_ ? receiver_.begin(mailbox_, begin->uid, begin->octets) : done();
    }
    if (std::get_if<imap::BodyEnd>(&event)) {
      body_ = taking_;
      return taking_ ? receiver_.end() : done();
    }
    if (const auto* fetched = std::get_if<imap::Fetched>(&event)) {
      if (!right()) return done();
      return receiver_.message(
          mailbox_, {fetched->uid, fetched->flags, fetched->internal_date.value_or(""), std::exchange(body_, false)});
    }
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

  FetchScript& script_;
  sync::Receiver& receiver_;
  std::size_t mailbox_;
  std::optional<mail::UidValidity> wanted_validity_;
  std::map<std::string, sync::FetchSlice> slices_;
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
    return client::Step{imap::Examine{waiting_->raw_name, false, {}, read_write_}, &opened};
  }
  auto& mailbox = mailboxes_.back();
  auto uids = waiting_->uids.wire();
  ++in_flight_;
  mailbox.expect(uids, *std::exchange(waiting_, std::nullopt));
  return client::Step{imap::UidFetch{std::move(uids), "UID FLAGS INTERNALDATE BODY.PEEK[]", {}, false}, &mailbox};
}

}  // namespace

Done ImapSource::fetch(FetchQueue& queue, sync::Receiver& receiver) {
  FetchScript script(queue, receiver, read_write_);
  return client_->converse(script);
}

}  // namespace mailhaul::collector
