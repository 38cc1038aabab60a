#include "collector/imap_destination.h"

#include <algorithm>
#include <charconv>

#include "collector/imap_selected.h"
#include "collector/imap_source.h"
#include "protocols/base/text.h"
#include "protocols/imap/plea.h"
#include "protocols/mail/mailbox_name.h"

namespace mailhaul::collector {
namespace {

using imap::Condition;
using mail::Uid;
using mail::UidSet;
using store::CopyRow;
using store::CopyState;
using store::DeliveryKey;
using store::FoundCopy;

constexpr int kTries = 6;  // in a row, without progress
constexpr std::int64_t kPatience = 15 * 60;

// NAMESPACE, LIST and QUOTA, whichever come.
class Account final : public client::Listener {
 public:
  Done on(const imap::Event& event) override {
    if (const auto* roots = std::get_if<imap::NamespaceData>(&event)) namespaces = *roots;
    if (const auto* entry = std::get_if<imap::ListEntry>(&event)) delimiter = entry->delimiter;
    if (const auto* data = std::get_if<imap::QuotaData>(&event))
      for (const auto& r : data->resources)
        quota += (quota.empty() ? "" : ", ") + std::to_string(r.usage) + " of " + std::to_string(r.limit) +
                 (equal_ignoring_case(r.name, "STORAGE") ? " KiB" : " " + to_lower(r.name)) + " used";
    return done();
  }
  Done completed(const imap::Command&, const imap::StatusText&) override { return done(); }

  std::optional<imap::NamespaceData> namespaces;
  std::optional<char> delimiter;
  std::string quota;
};

// UID and flags of messages that are there.
class Flags final : public client::Listener {
 public:
  Done on(const imap::Event& event) override {
    if (const auto* fetched = std::get_if<imap::Fetched>(&event)) {
      if (fetched->uid && fetched->flags) flags[*fetched->uid] = *fetched->flags;
      if (fetched->uid && fetched->size) size = fetched->size;
    }
    return done();
  }
  Done completed(const imap::Command&, const imap::StatusText&) override { return done(); }

  std::map<Uid, mail::FlagSet> flags;
  std::optional<std::uint64_t> size;
};

class Reading final : public client::Listener {
 public:
  explicit Reading(const std::function<bool(std::string_view)>& visit) : visit_(visit) {}
  Done on(const imap::Event& event) override {
    if (const auto* chunk = std::get_if<imap::BodyChunk>(&event); chunk && go_on_) go_on_ = visit_(chunk->octets);
    if (std::get_if<imap::BodyEnd>(&event)) came = true;
    return done();
  }
  Done completed(const imap::Command&, const imap::StatusText&) override { return done(); }
  bool came = false;

 private:
  const std::function<bool(std::string_view)>& visit_;
  bool go_on_ = true;
};

// A copy's own words: "<uid> <flags>".
std::string words_of(Uid uid, const mail::FlagSet& flags) { return std::to_string(uid.value) + " " + flags.wire(); }

std::optional<std::pair<Uid, mail::FlagSet>> taken_apart(const std::string& words) {
  std::uint32_t uid = 0;
  const auto [end, error] = std::from_chars(words.data(), words.data() + words.size(), uid);
  if (error != std::errc{} || uid == 0) return std::nullopt;
  mail::FlagSet flags;
  std::string_view rest(end, static_cast<std::size_t>(words.data() + words.size() - end));
  while (!rest.empty()) {
    rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
    const auto blank = std::min(rest.find(' '), rest.size());
    flags.add(rest.substr(0, blank));
    rest.remove_prefix(blank);
  }
  return std::pair{Uid{uid}, std::move(flags)};
}

Error of_service(const Error& error) {
  auto out = error.in("the destination");
  out.scope = Scope::Service;
  if (out.retry == Retry::Now) out.retry = Retry::Later;
  return out;
}

}  // namespace

ImapDestination::~ImapDestination() {
  if (main_) main_->logout();
  for (const auto& client : idle_) client->logout();
}

Result<std::unique_ptr<ImapDestination>> ImapDestination::open(ImapDestinationSettings settings,
                                                               std::shared_ptr<store::CopyBook> book) {
  std::unique_ptr<ImapDestination> out(new ImapDestination(std::move(settings), std::move(book)));
  auto client = out->settings_.connect();  // at once: a wrong password is no passing trouble
  if (!client) return of_service(client.error());
  out->main_ = *std::move(client);
  if (auto r = out->on_main([&](Client& c) { return out->learn_account(c); }); !r) return r.error();
  return out;
}

Done ImapDestination::learn_account(Client& client) {
  const auto& session = client.session();
  for (const auto* one : {"UIDPLUS", "LITERAL+", "LITERAL-", "BINARY", "CREATE-SPECIAL-USE", "QUOTA"})
    if (session.has(one)) capabilities_.insert(one);
  if (const auto limit = session.value_of("APPENDLIMIT")) append_limit_ = number_in(*limit);
  Account account;
  if (session.has("NAMESPACE"))
    if (auto r = client.command(imap::Namespace{}, &account); !r) return r.error();
  if (auto r = client.command(imap::List{"", "", {}, {}}, &account); !r) return r.error();
  if (has("QUOTA"))
    if (auto r = client.command(imap::GetQuotaRoot{"INBOX"}, &account); !r) return r.error();
  quota_ = account.quota;
  delimiter_ = account.delimiter;
  if (account.namespaces && !account.namespaces->personal.empty()) {
    prefix_ = account.namespaces->personal.front().prefix;
    if (account.namespaces->personal.front().delimiter) delimiter_ = account.namespaces->personal.front().delimiter;
  }
  auto other = settings_.connect();
  if (!other) return other.error();
  ImapSource source(*std::move(other), {});
  auto mailboxes = source.mailboxes();
  if (!mailboxes) return mailboxes.error();
  for (const auto& mailbox : *mailboxes) {
    if (!mailbox.selectable) continue;
    there_.insert(mailbox.raw_name);
    if (mailbox.home.size() == 1) special_[mailbox.home.front()] = mailbox.raw_name;
  }
  return done();
}

Done ImapDestination::again_after(const Error& why, int& failures) {
  if (settings_.stop.stop_requested() || why.scope != Scope::Account) return of_service(why);
  const bool asked = why.retry == Retry::Later && why.wait > 0;
  if ((!asked && why.retry != Retry::Now) || ++failures > kTries || why.wait > kPatience) return of_service(why);
  const auto pause =
      asked ? std::chrono::milliseconds(why.wait * 1000) : std::chrono::milliseconds(500LL << std::min(failures, 6));
  if (settings_.wait) settings_.wait(pause);
  return settings_.stop.stop_requested() ? Done(of_service(why)) : done();
}

Done ImapDestination::on_main(const std::function<Done(Client&)>& step) {
  for (int failures = 0;;) {
    Done outcome = done();
    if (!main_) {
      auto client = settings_.connect();
      if (client) {
        main_ = *std::move(client);
        selected_.clear();
      } else {
        outcome = client.error();
      }
    }
    if (outcome) outcome = step(*main_);
    if (outcome) return outcome;
    if (main_ && !main_->usable()) main_.reset();
    if (auto again = again_after(outcome.error(), failures); !again) return again;
  }
}

std::string ImapDestination::directory_name(std::span<const std::string> components) const {
  if (components.size() == 1 && mail::is_inbox(components.front())) return "INBOX";
  std::string out;
  std::size_t first = 0;
  if (const auto it = components.empty() ? special_.end() : special_.find(components.front()); it != special_.end()) {
    out = it->second;
    first = 1;
  }
  for (std::size_t i = first; i < components.size(); ++i) {
    std::string name = components[i];
    for (auto& c : name) {
      const bool control = static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
      if (control || (delimiter_ && c == *delimiter_)) c = '_';
    }
    if (name.empty()) name = "_";
    if (!out.empty()) out += delimiter_.value_or('-');
    out += mail::encode_modified_utf7(name);
  }
  if (first == 1) return out;
  if (!components.empty() && mail::is_inbox(components.front())) return "INBOX" + out.substr(5);
  return out.starts_with(prefix_) && !prefix_.empty() ? out : prefix_ + out;
}

std::optional<std::vector<std::string>> ImapDestination::components_of(std::string_view directory) const {
  if (!prefix_.empty() && directory.starts_with(prefix_) && directory.size() > prefix_.size())
    directory.remove_prefix(prefix_.size());
  return mail::hierarchy(directory, delimiter_);
}

Done ImapDestination::make(Client& client, const std::string& directory) {
  std::string use;
  const auto components = components_of(directory);
  static constexpr const char* kUses[] = {"Sent", "Drafts", "Junk", "Trash", "Archive"};
  if (has("CREATE-SPECIAL-USE") && components && components->size() == 1 &&
      std::ranges::find(kUses, components->front()) != std::end(kUses) && !special_.contains(components->front()))
    use = "\\" + components->front();
  auto status = client.command(imap::Create{directory, use});
  if (status && status->condition != Condition::Ok && !use.empty())  // RFC 6154 §3: [USEATTR]
    status = client.command(imap::Create{directory});
  if (!status) return status.error();
  const bool exists = status->code == "ALREADYEXISTS" || to_lower(status->text).find("exist") != std::string::npos;
  if (status->condition == Condition::Ok || exists) {
    there_.insert(directory);
    return done();
  }
  return Error{Scope::Mailbox, Retry::Later, "create " + mail::display_name(directory) + ": " + status->line(), ""};
}

Done ImapDestination::create(const std::string& directory) {
  const std::lock_guard lock(mutex_);
  if (directory == "INBOX" || there_.contains(directory)) return done();
  std::optional<Error> refused;
  auto made = on_main([&](Client& client) -> Done {
    auto outcome = make(client, directory);
    if (outcome || outcome.error().scope != Scope::Mailbox) return outcome;
    refused = outcome.error().in("the destination");
    return done();
  });
  return refused ? Done(*refused) : made;
}

// Whether a mailbox is subscribed is a convenience: a refusal stops nothing.
Done ImapDestination::subscribe(std::span<const std::vector<std::string>> mailboxes) {
  const std::lock_guard lock(mutex_);
  return on_main([&](Client& client) -> Done {
    for (const auto& components : mailboxes) {
      const auto name = directory_name(components);
      if (auto r = client.command(imap::Subscribe{name}); !r) return r.error();
    }
    return done();
  });
}

Done ImapDestination::select(Client& client, Box& box, bool again) {
  if (selected_ == box.name && box.known && !again) return done();
  Opened opened;
  selected_.clear();
  imap::Examine open{box.name, false, {}, true};
  if (auto r = client.command(open, &opened); !r) return r.error();
  if (opened.error()) return *opened.error();
  selected_ = box.name;
  box.exists = opened.exists();
  box.permanent = opened.permanent();
  box.any_keyword = opened.any_keyword();
  const auto validity = opened.validity().value_or(mail::UidValidity{});
  auto before = book_->validity(box.number);
  if (!before) return before.error();
  if (*before != validity)
    if (auto r = book_->set_validity(box.number, validity); !r) return r;
  if (box.known && box.validity != validity) box.strangers.reset();
  box.validity = validity;
  const auto next = opened.uid_next().value_or(1);
  if (!box.known || next > box.next.value)
    box.next = Uid{next > UINT32_MAX ? UINT32_MAX : static_cast<std::uint32_t>(next)};
  box.known = true;
  return done();
}

Result<ImapDestination::Box*> ImapDestination::box(const std::string& directory) {
  auto& box = boxes_[directory];
  if (box.known) return &box;
  box.name = directory;
  auto number = book_->mailbox(directory);
  if (!number) return number.error();
  box.number = *number;
  auto known = on_main([&](Client& client) {
    auto opened = select(client, box);
    if (opened || opened.error().scope != Scope::Mailbox || there_.contains(directory)) return opened;
    if (auto made = make(client, directory); !made) return made;
    return select(client, box);
  });
  if (!known) return known.error().in(mail::display_name(directory));
  return &box;
}

mail::FlagSet ImapDestination::permitted(const Box& box, const mail::FlagSet& flags) {
  mail::FlagSet out(static_cast<std::uint8_t>(flags.system_bits() & box.permanent.system_bits()), {});
  for (const auto& keyword : flags.keywords()) {
    if (!refused_keywords_.has(keyword) && (box.any_keyword || box.permanent.has(keyword)))
      out.add(keyword);
    else
      ++keywords_left_out_;
  }
  return out;
}

Result<std::vector<FoundCopy>> ImapDestination::look(const std::string& directory, std::span<const DeliveryKey> keys) {
  const std::lock_guard lock(mutex_);
  return look_in(directory, keys);
}

Result<std::vector<FoundCopy>> ImapDestination::look_in(const std::string& directory,
                                                        std::span<const DeliveryKey> keys) {
  std::vector<FoundCopy> out;
  auto number = book_->mailbox(directory);
  if (!number) return number.error();
  auto rows = book_->find(*number, keys);
  if (!rows) return rows.error();
  if (rows->empty()) return out;
  auto box = this->box(directory);
  if (!box) return box.error();
  if (auto settled = settle_doubts(**box); !settled) return settled.error();
  rows = book_->find(*number, keys);
  if (!rows) return rows.error();
  std::vector<CopyRow> unnamed;
  for (const auto& row : *rows)
    if (row.state == CopyState::Unnamed) unnamed.push_back(row);
  if (!unnamed.empty()) {
    if (auto looked = look_for(**box, unnamed); !looked) return looked.error();
    rows = book_->find(*number, keys);
    if (!rows) return rows.error();
  }
  UidSet uids;
  for (const auto& row : *rows)
    if (row.state == CopyState::Stored) uids.add(row.uid);
  if (uids.empty()) return out;
  Flags there;
  auto asked = on_main([&](Client& client) -> Done {
    if (auto r = select(client, **box); !r) return r;
    for (auto rest = uids; !rest.empty();) {
      auto r = client.command(imap::UidFetch{rest.take_front(1000, 7000).wire(), "UID FLAGS", {}, false}, &there);
      if (!r) return r.error();
      if (r->condition != Condition::Ok) return Error{Scope::Service, Retry::Later, "look: " + r->line(), ""};
    }
    return done();
  });
  if (!asked) return asked.error();
  for (const auto& row : *rows) {
    const auto it = row.state == CopyState::Stored ? there.flags.find(row.uid) : there.flags.end();
    if (it == there.flags.end()) continue;
    FoundCopy copy;
    copy.name.key = row.key;
    copy.name.seconds = row.seconds;
    copy.name.disk_octets = copy.name.crlf_octets = row.octets;
    copy.file = words_of(row.uid, it->second);
    out.push_back(std::move(copy));
  }
  return out;
}

Result<std::optional<store::Received>> ImapDestination::remembered(const std::string& directory,
                                                                   const FoundCopy& copy) {
  auto number = book_->mailbox(directory);
  if (!number) return number.error();
  auto rows = book_->find(*number, {&copy.name.key, 1});
  if (!rows) return rows.error();
  if (rows->empty()) return std::optional<store::Received>();
  const auto& row = rows->front();
  store::Received out;
  out.wire_octets = out.disk_octets = out.crlf_octets = row.octets;
  out.form = store::StoredForm::AsReceived;
  out.sha256 = row.sha256;
  out.evidence.message_id = row.message_id;
  out.evidence.header_digest = row.header_digest;
  return std::optional(std::move(out));
}

Result<Uid> ImapDestination::uid_of(Box& box, const FoundCopy& copy) {
  if (const auto known = taken_apart(copy.file)) return known->first;
  auto rows = book_->find(box.number, {&copy.name.key, 1});
  if (!rows) return rows.error();
  if (!rows->empty() && rows->front().state == CopyState::Stored) return rows->front().uid;
  return Error{Scope::Message, Retry::Never, "there is no copy under this key", ""};
}

Result<mail::FlagSet> ImapDestination::flags_of(const std::string& directory, const FoundCopy& copy) {
  if (auto known = taken_apart(copy.file)) return std::move(known->second);
  auto found = look(directory, {&copy.name.key, 1});
  if (!found) return found.error();
  if (found->empty()) return Error{Scope::Message, Retry::Never, "the message is no longer there", ""};
  return flags_of(directory, found->front());
}

Result<std::string> ImapDestination::set_flags(const std::string& directory, const FoundCopy& copy,
                                               const mail::FlagSet& flags) {
  auto now = flags_of(directory, copy);
  if (!now) return now.error();
  const std::lock_guard lock(mutex_);
  auto box = this->box(directory);
  if (!box) return box.error();
  auto uid = uid_of(**box, copy);
  if (!uid) return uid.error();
  const auto wanted = permitted(**box, flags);
  const auto store = [&](bool add, mail::FlagSet change) {
    if (change.empty()) return;
    auto& pending = (*box)->stores[{add, change.wire()}];
    pending.flags = std::move(change);
    pending.uids.add(*uid);
  };
  store(true, wanted.minus(*now));
  store(false, now->minus(flags));
  return words_of(*uid, wanted);
}

// A server refuses a STORE as a whole for one keyword that it does not take (too long, too many): then each goes by
// itself.
Done ImapDestination::store_flags(Client& client, const std::string& uids, bool add, const mail::FlagSet& flags) {
  const auto store = [&](const mail::FlagSet& part) { return client.command(imap::UidStore{uids, add, part.wire()}); };
  auto status = store(flags);
  if (!status) return status.error();
  // RFC 2180 §4.2: NO for messages that are gone is usual, and those that are there were changed.
  const bool alone = flags.keywords().empty() || (flags.keywords().size() == 1 && flags.system_bits() == 0);
  if (status->condition != Condition::Ok && !alone && imap::plea_of(*status).plea == imap::Plea::None) {
    if (flags.system_bits() != 0)
      if (auto r = store_flags(client, uids, add, mail::FlagSet(flags.system_bits(), {})); !r) return r;
    for (const auto& keyword : flags.keywords())
      if (auto r = store_flags(client, uids, add, mail::FlagSet(0, {keyword})); !r) return r;
    return done();
  }
  const bool refused = status->condition == Condition::No || (alone && !flags.keywords().empty());
  if (status->condition == Condition::Ok || refused) return done();
  return Error{Scope::Service, Retry::Later, "store flags: " + status->line(), ""};
}

Done ImapDestination::sync_directory(const std::string& directory) {
  const std::lock_guard lock(mutex_);
  const auto it = boxes_.find(directory);
  if (it == boxes_.end() || it->second.stores.empty()) return done();
  auto& box = it->second;
  auto stored = on_main([&](Client& client) -> Done {
    if (auto r = select(client, box); !r) return r;
    for (const auto& [what, pending] : box.stores)
      for (auto rest = pending.uids; !rest.empty();)
        if (auto r = store_flags(client, rest.take_front(1000, 7000).wire(), what.first, pending.flags); !r) return r;
    return done();
  });
  if (stored) box.stores.clear();
  return stored;
}

// Without UIDPLUS nothing is expunged: others' \Deleted messages would go, too (RFC 4315 §2.1).
Done ImapDestination::remove(const std::string& directory, const FoundCopy& copy) {
  const std::lock_guard lock(mutex_);
  auto box = this->box(directory);
  if (!box) return box.error();
  auto uid = uid_of(**box, copy);
  if (!uid) return uid.error();
  const auto set = std::to_string(uid->value);
  return on_main([&](Client& client) -> Done {
    if (auto r = select(client, **box); !r) return r;
    if (auto r = store_flags(client, set, true, mail::FlagSet::from_maildir_letters("T")); !r) return r;
    if (!has("UIDPLUS")) return done();
    auto status = client.command(imap::UidExpunge{set});
    if (!status) return status.error();
    if (status->condition == Condition::Ok) return done();
    return Error{Scope::Service, Retry::Later, "expunge: " + status->line(), ""};
  });
}

Result<std::uint64_t> ImapDestination::size_of(const std::string& directory, const FoundCopy& copy) {
  const std::lock_guard lock(mutex_);
  auto box = this->box(directory);
  if (!box) return box.error();
  auto uid = uid_of(**box, copy);
  if (!uid) return uid.error();
  Flags one;
  auto asked = on_main([&](Client& client) -> Done {
    if (auto r = select(client, **box); !r) return r;
    auto r = client.command(imap::UidFetch{std::to_string(uid->value), "UID RFC822.SIZE", {}, false}, &one);
    return r ? done() : Done(r.error());
  });
  if (!asked) return asked.error();
  if (!one.size) return Error{Scope::Message, Retry::Never, "the message is no longer there", ""};
  return *one.size;
}

Done ImapDestination::read(const std::string& directory, const FoundCopy& copy, store::StoredForm,
                           const std::function<bool(std::string_view)>& visit) {
  const std::lock_guard lock(mutex_);
  auto box = this->box(directory);
  if (!box) return box.error();
  auto uid = uid_of(**box, copy);
  if (!uid) return uid.error();
  bool begun = false, came = false;
  auto asked = on_main([&](Client& client) -> Done {
    if (begun) return Error{Scope::Message, Retry::Later, "the connection went while the message was read", ""};
    if (auto r = select(client, **box); !r) return r;
    Reading reading(visit);
    begun = true;
    auto r = client.command(imap::UidFetch{std::to_string(uid->value), "UID BODY.PEEK[]", {}, false}, &reading);
    came = reading.came;
    return r ? done() : Done(r.error());
  });
  if (!asked) return asked;
  return came ? done() : Done(Error{Scope::Message, Retry::Never, "the message is no longer there", ""});
}

}  // namespace mailhaul::collector
