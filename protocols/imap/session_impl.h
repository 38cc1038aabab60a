// What a Session holds. Private to the room.
#pragma once
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/imap/outbox.h"
#include "protocols/imap/reader.h"
#include "protocols/imap/response_parser.h"
#include "protocols/imap/session.h"

namespace mailhaul::imap {

template <class T, std::size_t I = 0>
constexpr std::size_t kind_of() {
  if constexpr (std::is_same_v<T, std::variant_alternative_t<I, Command>>)
    return I;
  else
    return kind_of<T, I + 1>();
}

bool contains(const std::vector<std::string>& list, std::string_view word);  // without regard to case

struct Session::Impl {
  Impl(std::string tag_prefix, Limits the_limits)
      : prefix(std::move(tag_prefix)), limits(the_limits), reader(limits, work) {}

  struct Pending {
    std::uint64_t id;
    std::size_t kind;                   // index in Command
    std::uint64_t capabilities_before;  // capability_count when it was submitted
    template <class T>
    [[nodiscard]] bool is() const {
      return kind == kind_of<T>();
    }
  };

  // session.cc
  [[nodiscard]] std::optional<Error> refusal(const Command& command) const;
  [[nodiscard]] std::optional<Error> credentials_refusal(const Command& command) const;
  [[nodiscard]] bool has(std::string_view capability) const;
  void expect(const Pending& pending_command, const Command& command);
  void respond(std::optional<std::string_view> octets);

  // session_replies.cc
  Result<std::optional<Event>> next();
  Result<std::optional<Event>> on_line();
  Result<std::optional<Event>> on_greeting(StatusText status);
  Result<std::optional<Event>> on_tagged(std::string_view text);
  Result<std::optional<Event>> on_data();
  std::optional<Event> on_continuation(std::string_view text);
  std::optional<Event> on_status(StatusText status);
  void completed(const Pending& command, const StatusText& status);
  void logged_in(const Pending& command, const StatusText& status);
  void learn(std::vector<std::string> list);
  void learn_from(const StatusText& status);
  void forget_capabilities();
  [[nodiscard]] bool muted() const;
  [[nodiscard]] static Error not_imap(std::string_view text);
  [[nodiscard]] static Error injected();
  template <class T>
  [[nodiscard]] const Pending* pending_of() const {
    for (const auto& command : pending)
      if (command.template is<T>()) return &command;
    return nullptr;
  }

  const std::string prefix;
  const Limits limits;
  std::uint64_t work = 0;
  ResponseReader reader;
  Outbox outbox;
  std::optional<Error> failed;  // the stream is broken; said again to whoever asks again

  State state = State::Greeting;
  State planned = State::Greeting;  // once everything pending has succeeded
  bool secure = false, cleartext_allowed = false;
  bool tls_due = false;  // STARTTLS was answered OK: nothing may come before begin_tls()
  bool greeting_begun = false;
  bool inside = false;  // PREAUTH or a login was answered OK

  std::uint64_t next_id = 1;
  std::deque<Pending> pending;
  std::optional<std::uint64_t> fence;      // a command behind which nothing may be sent until it is answered
  std::uint64_t opened_by = 0;             // the SELECT or EXAMINE that was answered last, in the order of sending
  std::optional<Secret> initial_response;  // waits for the first "+"
  bool idling = false;                     // IDLE was answered by "+"
  std::uint64_t appending = 0;             // the APPEND whose message is not given in full; 0: none
  std::uint64_t append_left = 0;           // octets of it

  std::vector<std::string> capabilities, masked;
  std::vector<std::string> enabling, enabled;  // asked for by ENABLE; of these, what the server confirmed
  bool capabilities_known = false;
  std::uint64_t capability_count = 0;  // how often they were said
};

}  // namespace mailhaul::imap
