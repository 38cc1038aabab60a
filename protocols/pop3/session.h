// POP3 without I/O (RFC 1939, 2449, 2595, 5034): octets in, events out; commands in, octets out. No socket, thread or
// clock. Not thread-safe. Sends one command at a time unless the server has said PIPELINING (RFC 2449 §6.6).
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/result.h"
#include "protocols/pop3/command.h"
#include "protocols/pop3/event.h"

namespace mailhaul::pop3 {

enum class State { Greeting, Authorization, Transaction, Update };  // RFC 1939 §3

struct Limits {
  std::size_t line = 8192;                      // of a first line or a list; unique-ids far over RFC 1939's 70 fit
  std::size_t lines = 4'000'000;                // of one list
  std::uint64_t body = std::uint64_t{1} << 40;  // a message
  std::size_t capabilities = 1000;
};

class Session {
 public:
  explicit Session(Limits limits = {});
  ~Session();
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;

  // Queues a command. Refused (Scope::Account, Retry::Never) when the state forbids it or an argument holds CR, LF or
  // NUL; a password or SASL response is refused while `secure()` is false unless allow_cleartext() was called.
  Result<CommandId> submit(const Command& command);
  // The response to a Challenge that the session does not answer by itself; nullopt cancels ("*").
  void respond(std::optional<std::string_view> octets);

  // Octets that may be sent now; the caller removes what it has sent with sent(n).
  [[nodiscard]] std::string_view output() const;
  void sent(std::size_t octets);

  // Gives received octets. The view must stay valid until next_event() has returned nullopt.
  Done feed(std::string_view received);
  // nullopt: needs more octets. An Error is a broken stream: the connection must be closed.
  Result<std::optional<Event>> next_event();

  [[nodiscard]] State state() const;
  // By its first word, without regard to case, what CAPA said last. Masked ones are absent.
  [[nodiscard]] bool has(std::string_view capability) const;
  // The arguments of a capability, such as "PLAIN CRAM-MD5" of SASL; nullopt: not there.
  [[nodiscard]] std::optional<std::string> value_of(std::string_view capability) const;
  [[nodiscard]] bool knows_capabilities() const;  // CAPA was answered +OK since the last change of TLS
  void mask(std::string capability);
  void lockstep();  // whatever PIPELINING says
  [[nodiscard]] bool pipelines() const;
  [[nodiscard]] std::size_t pending() const;  // commands without their whole answer
  // The stream broke where an answer should have begun: the message before it may have been cut by a line of its own
  // that was a lone dot (RFC 1939 §3 wants it doubled).
  [[nodiscard]] bool out_of_step() const;

  // After the +OK of STLS, before the handshake: forgets every capability from before TLS (RFC 2595 §4). Error if
  // octets had already come in behind that +OK (response injection).
  Done begin_tls();
  void secure_from_start();
  [[nodiscard]] bool secure() const;
  void allow_cleartext();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace mailhaul::pop3
