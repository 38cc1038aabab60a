// What a run tells while it goes: typed progress for a terminal, a log, the run history or a browser. Values only.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <variant>

namespace mailhaul::sync {

struct Connected {
  std::string server, security;
};
struct MailboxesSeen {
  std::size_t mailboxes = 0;
  std::uint64_t messages = 0;
};  // what the account shows
struct WorkFound {
  std::uint64_t messages = 0;
  std::uint64_t octets = 0;
};  // more to deliver; octets 0: unknown
struct MailboxStarted {
  std::string name;
};
struct Delivered {
  std::uint64_t messages = 0;
  std::uint64_t octets = 0;
};  // made durable and settled just now
struct FlagsLevelled {
  std::uint64_t messages = 0;
};
struct MessageFailed {
  std::string mailbox;
  std::uint32_t uid = 0;
  std::string reason;
};
struct MailboxFailed {
  std::string name, reason;
};
struct Held {
  std::string mailbox, reason;
};  // removals are frozen until a person releases them
struct CopiesTouched {
  std::uint64_t removed = 0;
  std::uint64_t marked = 0;  // with $SourceGone
};
struct Trouble {
  std::string text;
};  // something that the run deals with by itself: "connection lost, again in 2 s"

using Event = std::variant<Connected, MailboxesSeen, WorkFound, MailboxStarted, Delivered, FlagsLevelled, MessageFailed,
                           MailboxFailed, Held, CopiesTouched, Trouble>;
// Called from any thread of a run, one call at a time.
using EventSink = std::function<void(const Event&)>;

}  // namespace mailhaul::sync
