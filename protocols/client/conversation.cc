#include "protocols/client/conversation.h"

#include <algorithm>
#include <utility>

#include "protocols/base/text.h"
#include "protocols/imap/plea.h"

namespace mailhaul::client {
namespace {

template <class T>
bool is(const imap::Command& command) {
  return std::holds_alternative<T>(command);
}

bool works_on_mailbox(const imap::Command& command) {
  return is<imap::UidFetch>(command) || is<imap::UidSearch>(command) || is<imap::Noop>(command) ||
         is<imap::Idle>(command) || is<imap::UidStore>(command) || is<imap::UidExpunge>(command);
}

// There it is about room, and waiting makes none (RFC 9208 §4.3; RFC 7889 §4).
bool is_about_room(const imap::Command& command, const imap::StatusText& status) {
  return is<imap::Append>(command) && (status.code == "OVERQUOTA" || status.code == "LIMIT" || status.code == "TOOBIG");
}

// Every server knows it: BAD does not mean that.
bool is_ordinary(const imap::Command& command) {
  if (const auto* fetch = std::get_if<imap::UidFetch>(&command)) return !fetch->changed_since;
  if (const auto* examine = std::get_if<imap::Examine>(&command)) return !examine->condstore && !examine->qresync;
  if (const auto* search = std::get_if<imap::UidSearch>(&command)) return search->returns.empty();
  return is<imap::Status>(command);
}

bool same_mailbox(std::string_view a, std::string_view b) {
  return a == b || (equal_ignoring_case(a, "INBOX") && equal_ignoring_case(b, "INBOX"));  // RFC 9051 §5.1
}

}  // namespace

Done Conversation::run(Script& script) {
  Done ended = converse(script);
  intact_ = static_cast<bool>(ended);
  // The connection may have gone after that, too; what the server said explains it.
  if (patience_) return *patience_;
  return ended;
}

Done Conversation::converse(Script& script) {
  if (Done filled = fill(script); !filled) return filled;
  while (!in_flight_.empty()) {
    Result<std::optional<imap::Event>> event = connection_.next();
    if (!event) return event.error();
    if (!*event) {
      if (Done moved = connection_.pump(); !moved) return moved;
      continue;
    }
    if (const auto* completed = std::get_if<imap::Completed>(&**event)) {
      // A copy: the session is asked for more commands before the event is done with.
      const imap::Completed reply = *completed;
      if (Done given = complete(reply); !given) return given;
      if (Done filled = fill(script); !filled) return filled;
    } else if (const auto* bye = std::get_if<imap::Bye>(&**event)) {
      return said_bye(bye->status);
    } else if (Done given = give(**event); !given) {
      return given;
    }
  }
  return done();
}

Done Conversation::fill(Script& script) {
  const bool slowly = connection_.slowness.count() > 0;
  while (!patience_ && in_flight_.size() < (slowly ? 1 : most_in_flight())) {
    std::optional<Step> step = script.next();
    if (!step) break;
    if (slowly && connection_.options().pause) connection_.options().pause(connection_.slowness);
    const bool examining = std::any_of(in_flight_.begin(), in_flight_.end(),
                                       [](const InFlight& f) { return is<imap::Examine>(f.step.command); });
    Result<imap::Tag> tag = connection_.submit(step->command);
    if (!tag) {
      if (connection_.session.state() == imap::State::Logout) return connection_closed();
      // It concerns this step only; the others go on.
      const imap::StatusText own{imap::Condition::Bad, "", "", "not sent: " + tag.error().what};
      if (step->listener == nullptr) continue;
      if (Done given = step->listener->completed(step->command, own); !given) return given;
      continue;
    }
    if (current_ == nullptr && !examining && works_on_mailbox(step->command) &&
        connection_.session.state() == imap::State::Selected)
      current_ = step->listener;
    const bool behind = !in_flight_.empty();
    in_flight_.push_back({std::move(*tag), std::move(*step), behind});
    open_front();
  }
  return done();
}

void Conversation::open(InFlight& examine) {
  examine.opened = true;
  current_ = examine.step.listener;
}

// RFC 9051 §5.5: servers keep the order of commands whose order matters, so that all data from here on is the new
// mailbox's once everything before its EXAMINE is answered.
void Conversation::open_front() {
  if (!in_flight_.empty() && is<imap::Examine>(in_flight_.front().step.command) && !in_flight_.front().opened)
    open(in_flight_.front());
}

// RFC 7162 §3.2.11: what follows [CLOSED] is the new mailbox's: that of the first EXAMINE without its reply, which may
// be known to be open already because everything before it was answered.
void Conversation::closed_by_code() {
  const auto next = std::find_if(in_flight_.begin(), in_flight_.end(),
                                 [](const InFlight& f) { return is<imap::Examine>(f.step.command); });
  if (next != in_flight_.end() && !next->opened) open(*next);
}

Done Conversation::complete(const imap::Completed& completed) {
  const auto found =
      std::find_if(in_flight_.begin(), in_flight_.end(), [&](const InFlight& f) { return f.tag == completed.tag; });
  if (found == in_flight_.end()) return done();
  InFlight finished = std::move(*found);
  in_flight_.erase(found);
  if (is<imap::Examine>(finished.step.command)) {
    if (completed.status.condition == imap::Condition::Ok) {
      if (!finished.opened) open(finished);
    } else if (finished.opened && current_ == finished.step.listener) {
      current_ = nullptr;  // RFC 9051 §6.3.2: no mailbox is selected after a failed SELECT
    }
  }
  open_front();
  slow_down(completed.status);
  if (const auto asked = imap::plea_of(completed.status);
      asked.to_wait() && !is_about_room(finished.step.command, completed.status)) {
    if (!patience_ || patience_->wait < asked.wait) patience_ = wants_patience(completed.status, asked);
    return done();
  }
  if (auto minded = mind_manners(finished, completed.status); !minded) return minded;
  if (finished.step.listener == nullptr) return done();
  return finished.step.listener->completed(finished.step.command, completed.status);
}

std::size_t Conversation::most_in_flight() const {
  const auto& manners = connection_.options().manners;
  return manners && manners->one_at_a_time ? 1 : pipeline_;
}

Done Conversation::mind_manners(const InFlight& finished, const imap::StatusText& status) {
  const auto& manners = connection_.options().manners;
  const auto& command = finished.step.command;
  if (!manners || status.condition != imap::Condition::Bad || manners->bad_is_meant || !is_ordinary(command))
    return done();
  if (!finished.behind) {
    if (manners->one_at_a_time && manners->refused == command.index()) {
      manners->bad_is_meant = true;
      manners->one_at_a_time = false;
    }
    return done();
  }
  manners->refused = command.index();
  manners->one_at_a_time = true;
  return Error{Scope::Account, Retry::Now, "to be asked one thing at a time: " + status.line(), ""};
}

// Twice as slowly at each such answer, twice as fast again at each other one.
void Conversation::slow_down(const imap::StatusText& status) {
  using std::chrono::milliseconds;
  auto& slowness = connection_.slowness;
  if (imap::plea_of(status).plea == imap::Plea::Slower)
    slowness = std::clamp<milliseconds>(2 * slowness, milliseconds(50), milliseconds(16'000));
  else
    slowness = slowness / 2 < milliseconds(50) ? milliseconds(0) : slowness / 2;
}

template <class Match>
Listener* Conversation::oldest(Match&& match) const {
  const auto found =
      std::find_if(in_flight_.begin(), in_flight_.end(), [&](const InFlight& f) { return match(f.step.command); });
  return found == in_flight_.end() ? nullptr : found->step.listener;
}

Listener* Conversation::status_listener(const imap::StatusEntry& entry) const {
  const auto names_it = [&](const imap::Command& c) {
    const auto* status = std::get_if<imap::Status>(&c);
    return status != nullptr && same_mailbox(status->mailbox, entry.raw_name);
  };
  const auto may_give_it = [](const imap::Command& c) {
    const auto* list = std::get_if<imap::List>(&c);
    return is<imap::Status>(c) || (list != nullptr && !list->status_items.empty());
  };
  Listener* named = oldest(names_it);
  return named != nullptr ? named : oldest(may_give_it);
}

Listener* Conversation::listener_of(const imap::Event& event) const {
  if (everything_ != nullptr) return everything_;
  if (const auto* search = std::get_if<imap::SearchResult>(&event); search != nullptr && search->tag) {
    const auto found =
        std::find_if(in_flight_.begin(), in_flight_.end(), [&](const InFlight& f) { return f.tag == *search->tag; });
    return found == in_flight_.end() ? nullptr : found->step.listener;
  }
  if (const auto* entry = std::get_if<imap::ListEntry>(&event))
    return oldest([&](const imap::Command& c) { return entry->lsub ? is<imap::Lsub>(c) : is<imap::List>(c); });
  if (const auto* entry = std::get_if<imap::StatusEntry>(&event)) return status_listener(*entry);
  if (std::holds_alternative<imap::QuotaData>(event)) return oldest(is<imap::GetQuotaRoot>);
  if (std::holds_alternative<imap::NamespaceData>(event)) return oldest(is<imap::Namespace>);
  if (std::holds_alternative<imap::IdReply>(event)) return oldest(is<imap::Id>);
  if (std::holds_alternative<imap::Enabled>(event)) return oldest(is<imap::Enable>);
  if (std::holds_alternative<imap::Continuation>(event)) return oldest(is<imap::Idle>);
  if (std::holds_alternative<imap::Greeting>(event) || std::holds_alternative<imap::Capabilities>(event))
    return nullptr;
  return current_;
}

Done Conversation::give(const imap::Event& event) {
  Listener* listener = listener_of(event);
  if (const auto* notice = std::get_if<imap::Notice>(&event); notice != nullptr && notice->status.code == "CLOSED")
    closed_by_code();
  return listener == nullptr ? done() : listener->on(event);
}

}  // namespace mailhaul::client
