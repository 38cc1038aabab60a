#include "protocols/client/watch.h"

#include <utility>

#include "protocols/client/connection.h"

namespace mailhaul::client {
namespace {

using std::chrono::milliseconds;

// RFC 5465 §5: new messages and removals always come together; of the other mailboxes their STATUS is told.
constexpr char kEvents[] =
    "SET (selected (MessageNew MessageExpunge FlagChange)) (personal (MessageNew MessageExpunge))";

class Counting final : public Listener {
 public:
  std::uint32_t exists = 0;
  Done on(const imap::Event& event) override {
    if (const auto* now = std::get_if<imap::Exists>(&event)) exists = now->count;
    return done();
  }
  Done completed(const imap::Command&, const imap::StatusText&) override { return done(); }
};

Error refused(const char* what, const imap::StatusText& status) {
  if (const auto asked = imap::plea_of(status); asked.to_wait()) return wants_patience(status, asked);
  return {Scope::Account, Retry::Later, std::string(what) + ": " + status.line(), ""};
}

}  // namespace

Result<std::unique_ptr<Watch>> Watch::begin(std::unique_ptr<ImapClient> client, const std::string& mailbox) {
  const bool idle = client->session().has("IDLE");
  bool notify = client->session().has("NOTIFY");
  if (!idle && !notify)
    return Error{Scope::Account, Retry::Never, "the server cannot tell of new mail by itself", "It is polled instead."};
  Counting counting;
  imap::Examine examine;
  examine.mailbox = mailbox;
  auto opened = client->command(examine, &counting);
  if (!opened) return opened.error();
  if (opened->condition != imap::Condition::Ok) return refused("EXAMINE", *opened);
  if (notify) {
    auto set = client->command(imap::Notify{kEvents}, &counting);
    if (!set) return set.error();
    notify = set->condition == imap::Condition::Ok;
    if (!notify && !idle) return refused("NOTIFY", *set);
  }
  auto parts = client->release();
  if (!parts) return parts.error();
  const bool unheard = parts->news;
  std::unique_ptr<Watch> watch(new Watch(*std::move(parts), idle, notify));
  watch->exists_ = counting.exists;
  watch->unheard_ = unheard;
  if (idle)
    if (auto begun = watch->idle(); !begun) return begun.error();
  return watch;
}

Done Watch::idle() {
  auto tag = session_.submit(imap::Idle{});
  awaiting_ = true;
  return tag ? done() : Done(tag.error());
}

Done Watch::take(const imap::Event& event, News& news) {
  if (const auto* bye = std::get_if<imap::Bye>(&event)) return said_bye(bye->status);
  if (const auto* now = std::get_if<imap::Exists>(&event)) {
    // Servers repeat the same number as a sign of life.
    news.mail = news.mail || now->count > exists_;
    news.other = news.other || now->count < exists_;
    exists_ = now->count;
  } else if (std::holds_alternative<imap::Expunged>(event)) {
    if (exists_ > 0) --exists_;
    news.other = true;
  } else if (std::holds_alternative<imap::Vanished>(event) || std::holds_alternative<imap::Fetched>(event)) {
    news.other = true;
  } else if (const auto* entry = std::get_if<imap::StatusEntry>(&event)) {
    auto& seen = others_[entry->raw_name];
    const auto uid_next = entry->uid_next.value_or(0), messages = entry->messages.value_or(0);
    const bool more = uid_next == 0 ? messages > seen.messages : uid_next > seen.uid_next;
    news.mail = news.mail || more;
    news.other = news.other || !more;
    seen = {uid_next, messages};
  } else if (const auto* notice = std::get_if<imap::Notice>(&event)) {
    if (notice->status.code == "NOTIFICATIONOVERFLOW")  // RFC 5465 §5.8: it has stopped telling
      return Error{Scope::Account, Retry::Now, "the server has stopped telling of other mailboxes", ""};
  } else if (std::holds_alternative<imap::Continuation>(event)) {
    awaiting_ = false;
  } else if (const auto* completed = std::get_if<imap::Completed>(&event)) {
    awaiting_ = false;
    const auto& status = completed->status;
    if (status.condition != imap::Condition::Ok) {
      auto error = refused("waiting for new mail", status);
      if (imap::unsupported(status)) error.retry = Retry::Never;
      return error;
    }
    constexpr unsigned kPatience = 20;
    if (!std::exchange(renewing_, false) && ++unasked_ > kPatience)
      return Error{Scope::Account, Retry::Never, "the server does not wait: it ends every IDLE by itself", ""};
    if (idle_) return idle();
  }
  return done();
}

Result<Watch::News> Watch::advance(std::span<char> room) {
  News news;
  if (std::exchange(unheard_, false)) news.mail = true;
  constexpr int kMost = 64;  // rooms full of news at a time; nobody has so much to tell
  for (int turn = 0; turn < kMost; ++turn) {
    auto moved = transport_->move(session_.output(), room, milliseconds::zero());
    if (!moved) return moved.error();
    session_.sent(moved->sent);
    if (auto fed = session_.feed({room.data(), moved->received}); !fed) return fed.error();
    for (;;) {
      auto event = session_.next_event();
      if (!event) return event.error();
      if (!*event) break;
      if (auto taken = take(**event, news); !taken) return taken.error();
    }
    if (moved->closed) return connection_closed();
    if (moved->sent + moved->received == 0 || (moved->received == 0 && session_.output().empty())) return news;
  }
  return Error{Scope::Account, Retry::Later, "the server does not stop talking", ""};
}

Done Watch::renew() {
  awaiting_ = renewing_ = true;
  if (idle_) {
    session_.end_idle();
    return done();
  }
  auto tag = session_.submit(imap::Noop{});
  return tag ? done() : Done(tag.error());
}

void Watch::leave() {
  if (idle_) session_.end_idle();
  (void)transport_->move(session_.output(), {}, milliseconds::zero());
}

}  // namespace mailhaul::client
