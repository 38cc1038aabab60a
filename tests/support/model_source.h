// A mail server in memory that speaks sync::Source directly: mailboxes with UIDVALIDITY, UIDs, flags and mod-sequences,
// and misbehaviour on demand. The same seed gives the same answers. Single-threaded.
//
// Every moment at which a real connection could break, or the world could change, is a step: the hook is told its name
// and may change the mailboxes, end the connection (an Error) or the process (an exception).
#pragma once
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "collector/sync/ports.h"

namespace mailhaul::test {

enum class Body {
  Fine,
  Missing,    // the FETCH is answered OK, without this message
  Nil,        // the message comes, its body does not
  Empty,      // a body of no octets
  Refused,    // NO for the whole command, the other messages come
  Drops,      // the connection ends in the middle of the body
  Truncated,  // the connection ends before the last octet
};

struct ModelMessage {
  mail::Uid uid;
  mail::FlagSet flags;
  std::uint64_t modseq = 0;
  std::int64_t date = 0;  // INTERNALDATE, Unix seconds
  std::string wire;       // as it goes over the line, CRLF and all
  std::string email_id;   // RFC 8474; empty: the server has none
  std::uint64_t tag = 0;  // the test's own name for it; a server does not know it
  Body body = Body::Fine;
  int bad_answers = INT32_MAX;  // after so many the body is fine
};

struct ModelMailbox {
  std::string name;
  char delimiter = '/';
  bool selectable = true;
  bool subscribed = false;
  std::uint64_t validity = 1;
  std::uint64_t next_uid = 1;
  std::uint64_t modseq = 1;
  std::deque<ModelMessage> messages;                              // by UID ascending
  std::vector<std::pair<std::uint64_t, std::uint32_t>> expunged;  // modseq, UID
  std::optional<std::string> id;                                  // MAILBOXID; nullopt: none
  bool sticky = true;                                             // false: [UIDNOTSTICKY]
  std::optional<std::string> validity_as;                         // what goes over the line instead; "": not said

  [[nodiscard]] std::string validity_text() const { return validity_as.value_or(std::to_string(validity)); }

  [[nodiscard]] ModelMessage* find(mail::Uid uid);
  ModelMessage& deliver(std::string wire, mail::FlagSet flags, std::int64_t date);
  void set_flags(ModelMessage& message, const mail::FlagSet& flags);
  void expunge(mail::Uid uid);
  // The server forgets its UIDs: the same messages under new ones, in an order that `luck` makes.
  void renumber(std::mt19937_64& luck);

  // Misbehaviour, for the next answers.
  int exists_lie = 0;              // added to EXISTS …
  int lying_answers = 0;           // … so many times
  std::set<std::uint32_t> hidden;  // left out of lists …
  int hiding_answers = 0;          // … so many times
  bool hides_flags = false;        // … and the flags, too
  int refusals = 0;                // EXAMINE is refused so many times
};

class ModelServer {
 public:
  struct Traits {
    bool condstore = true;
    bool status = true;  // STATUS comes with the list of mailboxes
    bool uid_next = true;
    bool resync = false;          // VANISHED is told (with condstore) …
    bool false_vanished = false;  // … of living messages, too, now and then
    bool chatty = false;          // unsolicited FETCH data, messages not asked for, bodies sent twice
    bool uid_after_body = false;
    bool shuffled = false;  // messages of a FETCH come in any order
  };
  explicit ModelServer(std::uint64_t seed) : luck_(seed) {}

  Traits traits;
  std::deque<ModelMailbox> mailboxes;  // references stay valid
  // Done: the world goes on. An Error ends the connection.
  std::function<Done(std::string_view step)> on_step;

  [[nodiscard]] ModelMailbox* find(std::string_view name);
  Result<std::unique_ptr<sync::Source>> connect();

  [[nodiscard]] std::uint64_t bodies() const { return bodies_; }  // that went out, whole or in part
  [[nodiscard]] std::uint64_t steps() const { return steps_; }
  static Error connection_lost();

 private:
  friend class ModelSource;
  Done step(std::string_view name);
  std::mt19937_64 luck_;
  std::uint64_t bodies_ = 0;
  std::uint64_t steps_ = 0;
};

}  // namespace mailhaul::test
