// What is in the mailboxes: the best variant that the server has (QRESYNC, CONDSTORE, neither), stepping down only when
// it says that it does not know a command; new mail by UID alone, changes by MODSEQ alone.
#include <algorithm>
#include <deque>

#include "collector/imap_source.h"
#include "collector/imap_steps.h"
#include "protocols/imap/plea.h"

namespace mailhaul::collector {
namespace {

using imap::Command;
using imap::Condition;
using imap::Event;
using imap::StatusText;
using imap::UidFetch;
using imap::UidSearch;

// In an order of their own, by which the answer is told from those about new mail.
constexpr std::string_view kLandmarkItems[] = {"UID INTERNALDATE", "UID RFC822.SIZE INTERNALDATE"};

struct Means {  // how to ask on this connection
  bool condstore = false;
  bool resync = false;   // ENABLED has confirmed it
  bool esearch = false;  // RETURN (ALL)
  bool search = true;    // SEARCH can be relied on
  bool sizes = true;
  bool read_write = false;
  std::size_t line_octets = 8000;
};

// The part of "low:high" (high 0: "*") that is not on the near side of `last`.
struct Span {
  std::uint32_t low = 1, high = 0;
  static std::optional<Span> of(std::string_view set) {
    const auto colon = set.find(':');
    const auto low = number_in(set.substr(0, colon));
    if (colon == set.npos || !low || *low > UINT32_MAX) return std::nullopt;
    if (set.substr(colon + 1) == "*") return Span{static_cast<std::uint32_t>(*low), 0};
    const auto high = number_in(set.substr(colon + 1));
    if (!high || *high > UINT32_MAX) return std::nullopt;
    return Span{static_cast<std::uint32_t>(*low), static_cast<std::uint32_t>(*high)};
  }
  [[nodiscard]] std::string text() const {
    return std::to_string(low) + ":" + (high == 0 ? std::string("*") : std::to_string(high));
  }
};

class Observing final : public Selected {
 public:
  explicit Observing(const sync::ObserveRequest& request) : request_(request) {}

  void ask(Steps& steps, const Means& means);
  // Once more, for what the first answers have left open; false: nothing is.
  bool ask_again(Steps& steps, const Means& means);
  [[nodiscard]] bool resync_refused() const { return level_ != Level::Resync && resync_wanted_; }

  Done on(const Event& event) override;
  Done completed(const Command& command, const StatusText& status) override;
  sync::MailboxView take();

 private:
  [[nodiscard]] bool complete() const { return request_.floor.value <= 1; }
  [[nodiscard]] std::string from_floor() const { return std::to_string(std::max(request_.floor.value, 1U)) + ":*"; }
  [[nodiscard]] bool lists(const Command& command) const;
  [[nodiscard]] bool about_landmarks(const Command& command) const;
  void examine(Steps& steps, const Means& means);
  void ask_flags(Steps& steps, const Means& means, bool by_modseq);
  void cut_short(const Command& command, const StatusText& status);
  void note(mail::UidRange range);
  void see(const imap::Fetched& fetched);

  sync::ObserveRequest request_;
  sync::MailboxView view_;
  mail::UidSet seen_;          // in FETCH responses, to tell from which end a cut answer comes
  std::vector<Command> rest_;  // what is left of cut answers
  std::string list_refused_;   // why the UIDs are not known
  bool by_search_ = false;     // they were asked for by SEARCH
  bool listed_again_ = false;
  std::string flags_refused_;
  bool flags_again_ = false;
  enum class Level { Resync, Condstore, Neither };
  Level level_ = Level::Resync;  // the best that the server has not refused
  bool resync_wanted_ = false;
  bool parameters_ = false, resync_ = false;  // of the EXAMINE that was sent last
  bool stepped_down_ = false;                 // it was refused for them
};

void Observing::examine(Steps& steps, const Means& means) {
  imap::Examine command{request_.raw_name, means.condstore && level_ != Level::Neither, {}, means.read_write};
  // RFC 7162 §3.2.5; no sequence-match data: Zimbra refuses them, and they are not needed.
  if (resync_) {
    const auto known = request_.beyond ? std::string() : "1:" + std::to_string(request_.floor.value - 1);
    command.qresync = {*request_.known_validity, *request_.modseq, known};
  }
  parameters_ = command.condstore || command.qresync;
  steps.add(command, *this);
}

void Observing::ask(Steps& steps, const Means& means) {
  resync_wanted_ = means.resync && request_.flags && request_.known_validity && request_.modseq && !complete();
  resync_ = resync_wanted_ && level_ == Level::Resync;
  examine(steps, means);
  // New mail is asked for by UID alone.
  by_search_ = means.esearch && means.search && !request_.descriptors;
  if (by_search_)
    steps.add(UidSearch{"UID " + from_floor(), "ALL"}, *this);
  else
    steps.add(UidFetch{from_floor(),
                       !request_.descriptors ? "UID"
                       : means.sizes         ? "UID INTERNALDATE RFC822.SIZE"
                                             : "UID INTERNALDATE",
                       {},
                       false},
              *this);
  if (request_.flags && !resync_)
    ask_flags(steps, means, means.condstore && level_ != Level::Neither && request_.modseq);
  if (!request_.landmarks.empty())
    steps.add(UidFetch{request_.landmarks.wire(), std::string(kLandmarkItems[means.sizes ? 1 : 0]), {}, false}, *this);
}

// Changes are asked for by MODSEQ alone (RFC 7162 §3.1.4.1).
void Observing::ask_flags(Steps& steps, const Means& means, bool by_modseq) {
  if (!by_modseq && request_.flags_of) {
    for (auto rest = *request_.flags_of; !rest.empty();)
      steps.add(UidFetch{rest.take_front(SIZE_MAX, means.line_octets).wire(), "UID FLAGS", {}, false}, *this);
    return;
  }
  const bool below = request_.floor.value > 1 && !request_.beyond;
  const auto known = below ? "1:" + std::to_string(request_.floor.value - 1) : std::string("1:*");
  steps.add(UidFetch{known, "UID FLAGS", by_modseq ? request_.modseq : std::nullopt, false}, *this);
}

bool Observing::ask_again(Steps& steps, const Means& means) {
  if (error_ || changed_) return false;
  if (std::exchange(stepped_down_, false)) {
    ask(steps, means);
    return true;
  }
  Steps more;
  const bool short_of_uids = complete() && rest_.empty() && view_.present.size() != exists_;
  if ((!list_refused_.empty() || short_of_uids) && !listed_again_) {
    // In the other way; the two answers are taken together.
    listed_again_ = true;
    list_refused_.clear();
    if (by_search_ || !means.search)
      more.add(UidFetch{from_floor(), "UID FLAGS", {}, false}, *this);
    else
      more.add(UidSearch{"UID " + from_floor(), ""}, *this);
  }
  if (!flags_refused_.empty() && !flags_again_) {
    flags_again_ = true;
    flags_refused_.clear();
    ask_flags(more, means, false);
  }
  for (auto& command : std::exchange(rest_, {})) more.add(std::move(command), *this);
  if (more.empty()) return false;
  resync_ = false;
  examine(steps, means);
  while (auto step = more.next()) steps.add(std::move(step->command), *this);
  return true;
}

bool Observing::lists(const Command& command) const {
  if (std::holds_alternative<UidSearch>(command)) return true;
  const auto* fetch = std::get_if<UidFetch>(&command);
  return fetch && (fetch->items != "UID FLAGS" || fetch->uids == from_floor());
}

bool Observing::about_landmarks(const Command& command) const {
  const auto* fetch = std::get_if<UidFetch>(&command);
  return fetch && fetch->uids == request_.landmarks.wire() &&
         std::ranges::find(kLandmarkItems, fetch->items) != std::end(kLandmarkItems);
}

Done Observing::on(const Event& event) {
  if (const auto* result = std::get_if<imap::SearchResult>(&event)) {
    for (const auto& range : result->uids.ranges()) note(range);
  } else if (const auto* fetched = std::get_if<imap::Fetched>(&event)) {
    if (fetched->uid) see(*fetched);
  } else if (const auto* vanished = std::get_if<imap::Vanished>(&event)) {
    view_.vanished.merge(vanished->uids);
    return Selected::on(event);
  } else {
    return Selected::on(event);
  }
  return done();
}

Done Observing::completed(const Command& command, const StatusText& status) {
  if (std::holds_alternative<imap::Examine>(command)) {
    if (parameters_ && imap::unsupported(status)) {
      level_ = resync_ ? Level::Condstore : Level::Neither;
      stepped_down_ = true;
      open_ = false;
      return done();
    }
    return Selected::completed(command, status);
  }
  if (!open_ || about_landmarks(command)) return done();  // what is not told of them is nothing against them
  if (status.code == "MESSAGELIMIT") {                    // RFC 9738
    cut_short(command, status);
    return done();
  }
  // An empty mailbox has nothing to number; some servers call "1:*" wrong then.
  if (status.condition == Condition::Ok || exists_ == 0) return done();
  (lists(command) ? list_refused_ : flags_refused_) = status.line();
  return done();
}

// The server has worked on so many messages only, up to the UID that it names, from whichever end.
void Observing::cut_short(const Command& command, const StatusText& status) {
  const auto blank = status.arguments.find(' ');
  const auto last = blank == std::string::npos ? std::nullopt : number_in(status.arguments.substr(blank + 1));
  auto text = std::string();
  if (const auto* fetch = std::get_if<UidFetch>(&command)) text = fetch->uids;
  if (const auto* search = std::get_if<UidSearch>(&command)) text = search->criteria.substr(4);
  const auto span = Span::of(text);
  if (!last || !span || *last < span->low || *last == 0 || *last >= UINT32_MAX) {
    (lists(command) ? list_refused_ : flags_refused_) = status.line();
    return;
  }
  const auto at = static_cast<std::uint32_t>(*last);
  const auto high = span->high == 0 ? UINT32_MAX : span->high;
  const auto& seen = std::holds_alternative<UidSearch>(command) ? view_.present : seen_;
  const auto any_in = [&](std::uint32_t low, std::uint32_t top) {
    return low <= top && !seen.intersect(mail::UidSet({{low, top}})).empty();
  };
  const bool from_above = at < high && any_in(at + 1, high), from_below = at > span->low && any_in(span->low, at - 1);
  const auto go_on = [&](Span rest) {
    if (auto fetch = std::get_if<UidFetch>(&command)) {
      auto next = *fetch;
      next.uids = rest.text();
      rest_.emplace_back(std::move(next));
    } else {
      auto next = std::get<UidSearch>(command);
      next.criteria = "UID " + rest.text();
      rest_.emplace_back(std::move(next));
    }
  };
  // Which end is left is told by what has come; if that is unclear, both.
  if (!from_below && at > span->low) go_on({span->low, at - 1});
  if (!from_above && at < high) go_on({at + 1, span->high});
}

// "n:*" names the last message even if its UID is below n (RFC 9051 §9, seq-range).
void Observing::note(mail::UidRange range) {
  range.first = std::max(range.first, request_.floor.value);
  if (range.first <= range.last) view_.present.add(range);
}

void Observing::see(const imap::Fetched& fetched) {
  const auto described = [&] {
    const auto& date = fetched.internal_date;
    return sync::Descriptor{*fetched.uid, fetched.size.value_or(0),
                            date ? mail::parse_internal_date(*date, INT64_MAX).value_or(INT64_MAX) : INT64_MAX};
  };
  const bool descriptive = fetched.size || fetched.internal_date;
  if (descriptive && request_.landmarks.contains(*fetched.uid)) view_.landmarks.push_back(described());
  seen_.add(*fetched.uid);
  if (fetched.uid->value >= request_.floor.value) {
    note({fetched.uid->value, fetched.uid->value});
    if (request_.descriptors && descriptive) view_.descriptors.push_back(described());
  }
  if (fetched.flags && request_.flags) view_.changes.add(*fetched.uid, *fetched.flags);
}

sync::MailboxView Observing::take() {
  view_.index = request_.index;
  if (!list_refused_.empty() && !error_)
    error_ = Error{Scope::Mailbox, Retry::Later, "its messages could not be listed: " + list_refused_, ""};
  view_.error =
      changed_ ? Error{Scope::Mailbox, Retry::Later, "its UIDVALIDITY changed while it was read", ""} : error_;
  const bool whole = complete() && rest_.empty();
  view_.completeness = whole ? sync::Completeness::Complete : sync::Completeness::Delta;
  view_.validity = validity_;
  view_.uid_next = uid_next_;
  view_.exists = exists_;
  view_.modseq = flags_refused_.empty() ? modseq_ : std::nullopt;  // it vouches for flags that were seen only
  std::ranges::sort(view_.descriptors, {}, &sync::Descriptor::uid);
  return std::move(view_);
}

}  // namespace

Result<std::vector<sync::MailboxView>> ImapSource::observe(std::span<const sync::ObserveRequest> requests) {
  if (auto r = introduce(); !r) return r.error();
  Means means;
  means.condstore = has("CONDSTORE") || has("QRESYNC");
  means.resync = !resync_refused_ && client_->session().enabled("QRESYNC");
  means.esearch = has("ESEARCH") || has("IMAP4rev2");
  means.search = !quirk(imap::Quirk::FetchUids);
  means.sizes = !quirk(imap::Quirk::NoSizes);
  means.read_write = quirk(imap::Quirk::NoExamine);
  means.line_octets = line_octets();
  std::deque<Observing> mailboxes;
  Steps steps;
  for (const auto& request : requests) mailboxes.emplace_back(request).ask(steps, means);
  // Cut answers end after as many rounds as the mailbox has limits' worth of messages.
  constexpr int kRounds = 10'000;
  for (int round = 0; round < kRounds && !steps.empty(); ++round) {
    if (auto r = client_->converse(steps); !r) return r.error();
    for (auto& mailbox : mailboxes) {
      resync_refused_ = resync_refused_ || mailbox.resync_refused();
      mailbox.ask_again(steps, means);
    }
  }
  std::vector<sync::MailboxView> views;
  views.reserve(mailboxes.size());
  for (auto& mailbox : mailboxes) views.push_back(mailbox.take());
  return views;
}

}  // namespace mailhaul::collector
