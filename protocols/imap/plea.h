// What a server means when it does not do as it was asked, or wants to be asked more slowly: the one place that reads
// the spellings of throttling and of passing trouble. Pure.
#pragma once
#include <cstdint>

#include "protocols/imap/event.h"

namespace mailhaul::imap {

enum class Plea {
  None,      // an answer to the command itself; a NO or BAD of this kind, and no other, may say "unsupported"
  Slower,    // it was done; the next ones should come more slowly (Gmail: OK … [THROTTLED])
  Patience,  // not done, as the account is over some limit for now: wrong with neither the command nor a message
  Fewer,     // the same, and it is the number of connections
  Trouble,   // not done, the server has failed inside: passing, or for ever at one message or mailbox
};

struct Asked {
  Plea plea = Plea::None;
  std::int64_t wait = 0;  // seconds, for Patience and Fewer: what the server names, else kUsualWait

  // To be left alone; says nothing about the command.
  [[nodiscard]] bool to_wait() const { return plea == Plea::Patience || plea == Plea::Fewer; }
};

inline constexpr std::int64_t kUsualWait = 30;

Asked plea_of(const StatusText& status);

// The server does not understand or want this command, for a reason that will be the same tomorrow: the only kind of
// answer after which a plainer command may be tried instead.
bool unsupported(const StatusText& status);

}  // namespace mailhaul::imap
