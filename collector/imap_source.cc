#include "collector/imap_source.h"

#include <algorithm>
#include <map>

#include "collector/imap_steps.h"
#include "collector/special_use.h"
#include "protocols/base/text.h"
#include "protocols/imap/plea.h"
#include "protocols/mail/mailbox_name.h"

namespace mailhaul::collector {
namespace {

using imap::Command;
using imap::Condition;
using imap::Event;
using imap::StatusText;
using sync::FetchQueue;
using sync::UidSet;

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
    if (status.condition == Condition::Ok || !std::holds_alternative<imap::List>(command)) return done();
    list_refused = status.line();
    list_unsupported = imap::unsupported(status);
    return done();
  }

  std::vector<imap::ListEntry> entries;
  std::vector<std::string> subscribed;
  std::map<std::string, imap::StatusEntry> statuses;
  std::optional<imap::NamespaceData> namespaces;
  std::string list_refused;
  bool list_unsupported = false;  // a plainer LIST may do
};

void take(const imap::StatusEntry& status, sync::SourceMailbox& mailbox) {
  mailbox.messages = status.messages;
  mailbox.uid_next = status.uid_next && *status.uid_next > 0 ? status.uid_next : std::nullopt;
  mailbox.uid_validity = status.uid_validity && *status.uid_validity > 0 ? status.uid_validity : std::nullopt;
  mailbox.highest_modseq = status.highest_modseq && *status.highest_modseq > 0 ? status.highest_modseq : std::nullopt;
  mailbox.octets = status.size;
  mailbox.unseen = status.unseen;
  mailbox.mailbox_id = status.mailbox_id;
}

}  // namespace

// What a server answers to ID and ENABLE.
class ImapSource::Introduction final : public client::Listener {
 public:
  Done on(const Event& event) override {
    if (const auto* reply = std::get_if<imap::IdReply>(&event)) id = reply->fields;
    return done();
  }
  // A refusal matters to nobody: what was not enabled is not used.
  Done completed(const Command&, const StatusText&) override { return done(); }

  std::vector<std::pair<std::string, std::string>> id;
};

ImapSource::ImapSource(std::unique_ptr<client::ImapClient> client, ImapSourceOptions options)
    : client_(std::move(client)), options_(std::move(options)) {
  recognise();
}
ImapSource::~ImapSource() { client_->logout(); }

void ImapSource::recognise() {
  const auto& session = client_->session();
  imap::ServerSigns signs{options_.host, client_->greeting(), {}, [&](std::string_view name) {
                            return name.ends_with('=') ? session.value_of(name.substr(0, name.size() - 1)).has_value()
                                                       : session.has(name);
                          }};
  if (introduction_) signs.id = introduction_->id;
  quirks_ = imap::quirks_of(signs, options_.quirks);
  constexpr std::size_t kNarrow = 8;
  if (quirk(imap::Quirk::NarrowPipeline)) client_->limit_pipeline(kNarrow);
  if (quirk(imap::Quirk::Lockstep)) client_->limit_pipeline(1);
}

// 163.com wants ID before it opens a mailbox; extensions are enabled before one is selected (RFC 5161 §3.1).
void ImapSource::introduce(Steps& steps) {
  introduction_ = std::make_unique<Introduction>();
  if (has("ID") || quirk(imap::Quirk::SendId))  // no field may be empty: Exchange refuses that
    steps.add(imap::Id{{{"name", "Mailhaul"}, {"version", "1"}, {"vendor", "Mailhaul"}}}, *introduction_);
  imap::Enable enable;
  if (has("QRESYNC") && !quirk(imap::Quirk::BrokenQresync)) enable.extensions.emplace_back("QRESYNC");
  if (quirk(imap::Quirk::UidOnly)) enable.extensions.emplace_back("UIDONLY");
  if (!enable.extensions.empty() && (has("ENABLE") || has("IMAP4rev2"))) steps.add(enable, *introduction_);
}

Done ImapSource::introduce() {
  if (introduction_) return done();
  Steps steps;
  introduce(steps);
  if (!steps.empty())
    if (auto r = client_->converse(steps); !r) {
      introduction_.reset();
      return r;
    }
  recognise();
  return done();
}

std::vector<std::string> ImapSource::status_items() const {
  std::vector<std::string> items{"MESSAGES", "UIDNEXT", "UIDVALIDITY"};
  if (has("CONDSTORE") || has("QRESYNC"))
    items.emplace_back("HIGHESTMODSEQ");  // RFC 7162 §3.1.7
  else
    items.emplace_back("UNSEEN");                                          // the only hint at changed flags
  if (has("OBJECTID")) items.emplace_back("MAILBOXID");                    // RFC 8474 §4.3
  if (has("STATUS=SIZE") || has("IMAP4rev2")) items.emplace_back("SIZE");  // RFC 8438
  return items;
}

std::string ImapSource::identity_item() const {
  if (has("OBJECTID")) return " EMAILID";  // RFC 8474 §5.1
  return has("X-GM-EXT-1") ? " X-GM-MSGID" : "";
}

std::size_t ImapSource::line_octets() const { return quirk(imap::Quirk::ShortLines) ? 850 : 8000; }

Command ImapSource::examine(const std::string& raw_name) const {
  return imap::Examine{raw_name, false, {}, quirk(imap::Quirk::NoExamine)};
}

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
  const bool first = !introduction_;
  if (first) introduce(steps);
  if (session.has("NAMESPACE") && !quirk(imap::Quirk::NoNamespace)) steps.add(imap::Namespace{}, listing);
  const bool extended = session.has("LIST-EXTENDED") || session.has("IMAP4rev2");
  const bool with_status = extended && (session.has("LIST-STATUS") || session.has("IMAP4rev2"));
  imap::List all;
  if (extended) all.returns = {"SUBSCRIBED", "CHILDREN"};
  if (extended && session.has("SPECIAL-USE")) all.returns.emplace_back("SPECIAL-USE");
  if (with_status) all.status_items = status_items();
  steps.add(all, listing);
  if (!extended) steps.add(imap::Lsub{}, listing);
  if (auto r = client_->converse(steps); !r) {
    if (first) introduction_.reset();
    return r;
  }
  recognise();
  if (listing.list_unsupported && extended) {  // old Cyrus and others: step down to the plain form
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
  if (has("X-GM-EXT-1")) arrange_labels(found_, options_.labels);
  return done();
}

// STATUS one by one, pipelined, for servers without RFC 5819 and for lines that a server left out (RFC 5819 §2).
Done ImapSource::complete_status() {
  // Strato, for one, lists everything but INBOX, which always exists (RFC 9051 §5.1).
  const bool guessed = std::ranges::none_of(
      found_, [](const sync::SourceMailbox& m) { return equal_ignoring_case(m.raw_name, "INBOX"); });
  if (guessed) {
    auto& inbox = found_.emplace_back();
    inbox.raw_name = "INBOX";
    inbox.path = {"INBOX"};
  }
  Listing listing;
  Steps steps;
  std::size_t asked = 0;
  const auto items = status_items();
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
  if (guessed && !found_.back().messages) found_.pop_back();
  return done();
}

Done ImapSource::ask_each(const FetchQueue::Mailbox& mailbox, const std::string& items, client::Listener& listener,
                          std::size_t slice) {
  if (auto r = introduce(); !r) return r;
  Steps steps;
  steps.add(examine(mailbox.raw_name), listener);
  for (auto rest = mailbox.uids; !rest.empty();)
    steps.add(imap::UidFetch{rest.take_front(slice, line_octets()).wire(), items, {}, false}, listener);
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
      failed = failed || status.condition != Condition::Ok;
      not_understood = not_understood || status.condition == Condition::Bad;
      return Selected::completed(command, status);
    }
    [[nodiscard]] bool whole() const { return open() && uids.size() == exists_; }
    UidSet uids;
    bool failed = false;
    bool not_understood = false;
  };
  Shown shown;
  if (auto r = ask_each(mailbox, "UID", shown); !r) return r.error();
  if (shown.not_understood) {  // GNU mailutils, of a set with a UID that is no more, against RFC 9051 §6.4.9
    Shown all;
    Steps steps;
    steps.add(examine(mailbox.raw_name), all);
    steps.add(imap::UidFetch{"1:*", "UID", {}, false}, all);
    if (auto r = client_->converse(steps); !r) return r.error();
    shown = all;
    shown.failed = !all.whole();  // one more list, of a fresh selection, if it makes up EXISTS
  }
  // An answer that is not an answer proves nothing: everything counts as still there.
  if (shown.failed || shown.validity() != mailbox.validity) return mailbox.uids;
  return mailbox.uids.intersect(shown.uids);
}

Result<std::vector<sync::Identity>> ImapSource::identities(const FetchQueue::Mailbox& mailbox) {
  class Naming final : public Selected {
   public:
    explicit Naming(const UidSet& wanted) : wanted_(wanted) {}
    Done on(const Event& event) override {
      const auto* fetched = std::get_if<imap::Fetched>(&event);
      if (!fetched) return Selected::on(event);
      if (!fetched->uid || !wanted_.contains(*fetched->uid) || !fetched->email_id || !fetched->flags) return done();
      found.push_back(
          {*fetched->uid, *fetched->email_id, *fetched->flags,
           fetched->internal_date ? mail::parse_internal_date(*fetched->internal_date, INT64_MAX) : std::nullopt});
      return done();
    }
    std::vector<sync::Identity> found;

   private:
    const UidSet& wanted_;
  };
  Naming naming(mailbox.uids);
  if (auto r = ask_each(mailbox, "UID FLAGS INTERNALDATE" + identity_item(), naming); !r) return r.error();
  if (naming.error()) return *naming.error();
  if (naming.validity() != mailbox.validity || naming.changed())
    return Error{Scope::Mailbox, Retry::Later, "UIDVALIDITY has changed", ""};
  return std::move(naming.found);
}

// The same question in smaller and smaller pieces, the whole header block from the second time on: what is not answered
// could be taken for another message, and be downloaded twice.
Result<std::vector<sync::Headers>> ImapSource::headers(const FetchQueue::Mailbox& mailbox) {
  class Reading final : public Selected {
   public:
    explicit Reading(UidSet wanted) : missing(std::move(wanted)) {}
    Done on(const Event& event) override {
      if (std::get_if<imap::BodyBegin>(&event))
        scanner.reset();
      else if (const auto* chunk = std::get_if<imap::BodyChunk>(&event))
        scanner.update(chunk->octets);
      else if (const auto* fetched = std::get_if<imap::Fetched>(&event))
        take(*fetched);
      return Selected::on(event);
    }
    Done completed(const Command& command, const StatusText& status) override {
      if (status.condition != Condition::Ok) refused = status.line();
      return Selected::completed(command, status);
    }
    void take(const imap::Fetched& fetched) {
      if (!fetched.uid || fetched.body != imap::Body::Delivered || !missing.contains(*fetched.uid)) return;
      sync::Headers header;
      header.uid = *fetched.uid;
      header.evidence = scanner.finish();
      header.size = fetched.size;
      if (fetched.internal_date) header.date = mail::parse_internal_date(*fetched.internal_date, INT64_MAX);
      header.flags = fetched.flags.value_or(mail::FlagSet{});
      out.push_back(std::move(header));
      missing = missing.minus(UidSet({{fetched.uid->value, fetched.uid->value}}));
    }
    UidSet missing;
    mail::HeaderScanner scanner;
    std::vector<sync::Headers> out;
    std::string refused;
  };
  struct Round {
    std::size_t slice, most;
    const char* part;
  };
  constexpr Round kRounds[] = {
      {500, SIZE_MAX, "BODY.PEEK[HEADER.FIELDS (MESSAGE-ID DATE FROM TO CC SUBJECT RECEIVED)]"},
      {50, SIZE_MAX, "BODY.PEEK[HEADER]"},
      {1, 100, "BODY.PEEK[HEADER]"}};
  const std::string beside =
      std::string("UID FLAGS INTERNALDATE ") + (quirk(imap::Quirk::NoSizes) ? "" : "RFC822.SIZE ");
  std::vector<sync::Headers> found;
  auto missing = mailbox.uids;
  std::string refused;
  for (const auto& round : kRounds) {
    if (missing.empty() || missing.size() > round.most) break;
    Reading reading(missing);
    auto rest = mailbox;
    rest.uids = missing;
    if (auto r = ask_each(rest, beside + round.part, reading, round.slice); !r) return r.error();
    refused = reading.refused;
    if (reading.validity() != mailbox.validity) return std::vector<sync::Headers>{};
    missing = reading.missing;
    std::ranges::move(reading.out, std::back_inserter(found));
  }
  if (found.empty() && !refused.empty())
    return Error{Scope::Mailbox, Retry::Later, "it does not show the headers of its messages: " + refused, ""};
  return found;
}

}  // namespace mailhaul::collector
