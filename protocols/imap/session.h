// IMAP without I/O (RFC 9051; RFC 3501 servers): octets in, events out; commands in, octets out. No socket, thread or
// clock. Not thread-safe. Knows states, tags and capabilities; knows no account, database or policy.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/result.h"
#include "protocols/imap/command.h"
#include "protocols/imap/event.h"

namespace mailhaul::imap {

enum class State { Greeting, NotAuthenticated, Authenticated, Selected, Logout };  // RFC 9051 §3

struct Limits {
  std::size_t line = 8 << 20;  // octets of one response without its streamed body (a SEARCH of 1,000,000 UIDs is long)
  std::size_t buffered_literal = 1 << 20;       // a literal that is not a message body (a mailbox name, a header field)
  std::uint64_t body = std::uint64_t{1} << 40;  // a message body; more is refused at once, before an octet of it
  std::size_t nesting = 64;                     // parentheses
  std::size_t list = 4'000'000;                 // numbers of a SEARCH, ranges of a set
  std::size_t words = 100'000;                  // flags, attributes, capabilities of one response
};

class Session {
 public:
  // `tag_prefix`: unpredictable to a server that wants to answer before it is asked; a few letters.
  explicit Session(std::string tag_prefix, Limits limits = {});
  ~Session();
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;

  // Queues a command. Refused (Scope::Account, Retry::Never) when the state forbids it, or when an argument holds an
  // octet that could start a new line (CR, LF, NUL go out as literals where the grammar has them, else are refused).
  // A password is refused while `secure()` is false unless allow_cleartext() was called.
  Result<Tag> submit(const Command& command);
  // The next octets of the message of the APPEND that was submitted last with only its beginning; nothing else can be
  // submitted until all that it announced is given. An Error: more than that, or no such APPEND is pending.
  Done append(std::string_view octets);
  // All that was submitted has left output(): nothing waits for a "+".
  [[nodiscard]] bool drained() const;
  // The answer to a Continuation during AUTHENTICATE: raw octets, sent as base64; nullopt cancels ("*"). An initial
  // response that could not go with the command (no SASL-IR) is sent at the first "+" without asking.
  void respond(std::optional<std::string_view> octets);
  void end_idle();  // DONE

  // Octets that may be sent now. Stops before a synchronizing literal until the server's "+" has come. The caller
  // removes what it has sent with sent(n).
  [[nodiscard]] std::string_view output() const;
  void sent(std::size_t octets);

  // Gives received octets. The view must stay valid until next_event() has returned nullopt.
  // An error is a broken stream (a limit, a framing error): the connection must be closed.
  Done feed(std::string_view received);
  // nullopt: needs more octets. An Error here is a broken stream, too.
  Result<std::optional<Event>> next_event();
  // Octets that were fed but not looked at, taken out of the session: right after the tagged OK of COMPRESS they are
  // already compressed (RFC 4978 §3), so inflate them and feed the result.
  std::string_view take_unread();

  [[nodiscard]] State state() const;
  [[nodiscard]] bool has(std::string_view capability) const;  // without regard to case; what the server said last
  // "1000" of "MESSAGELIMIT=1000"; nullopt: not there, or masked by its name.
  [[nodiscard]] std::optional<std::string> value_of(std::string_view capability) const;
  [[nodiscard]] bool knows_capabilities() const;                 // said since the last change of TLS or login state
  [[nodiscard]] bool enabled(std::string_view extension) const;  // only what * ENABLED confirmed (RFC 5161 §3.2)
  void mask(std::string capability);                             // has() answers false from now on ("no-<capability>")
  [[nodiscard]] std::size_t pending() const;                     // commands without a tagged reply yet

  // After the tagged OK of STARTTLS, before the handshake: forgets every octet, response and capability from before TLS
  // (RFC 9051 §11.1). Error if octets had already come in behind that OK (response injection).
  Done begin_tls();
  void secure_from_start();  // implicit TLS
  [[nodiscard]] bool secure() const;
  void allow_cleartext();  // the user said so for this account

  [[nodiscard]] std::uint64_t octets_examined() const;  // work counter for the linear-time tests

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace mailhaul::imap
