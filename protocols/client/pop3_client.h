// A blocking POP3 client: pop3::Session × net::Transport. One object is one connection and belongs to one thread;
// another thread stops it through the stop_token only. Destroying it closes the connection without QUIT: nothing that
// was read or marked for deletion takes effect at the server then (RFC 1939 §6).
#pragma once
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/result.h"
#include "protocols/client/imap_client.h"
#include "protocols/net/transport.h"
#include "protocols/pop3/session.h"

namespace mailhaul::client {

// A run of commands and what becomes of their answers, which come in the order of the commands. An Error that a member
// returns ends converse() with it.
class Pop3Dialogue {
 public:
  virtual ~Pop3Dialogue() = default;
  // The next command; nullopt: nothing more for now (asked again after each answer; over when nothing is in flight).
  virtual std::optional<pop3::Command> next() = 0;
  virtual Done answered(const pop3::Command& command, const pop3::Status& status) = 0;
  virtual Done line(const pop3::Command&, std::string_view) { return done(); }
  virtual Done octets(const pop3::Command&, std::string_view) { return done(); }
  virtual Done finished(const pop3::Command&) { return done(); }
};

struct Pop3Answer {
  pop3::Status status;
  std::vector<std::string> lines;
};

class Pop3Client {
 public:
  // Connects, secures, logs in (SASL PLAIN if offered, else USER and PASS) and asks for the capabilities. A server that
  // drops the connection at CAPA is asked again without. Errors tell a wrong password from a locked mailbox, a login
  // that came too soon, an outage, and something that is not POP3; they never hold a secret.
  static Result<std::unique_ptr<Pop3Client>> connect(const Account&, const ClientOptions&, const std::stop_token& stop);
  // On a transport that is connected already; see ImapClient::over().
  static Result<std::unique_ptr<Pop3Client>> over(std::unique_ptr<net::Transport>, const Account&,
                                                  const ClientOptions&);
  ~Pop3Client();

  [[nodiscard]] const pop3::Session& session() const;
  void lockstep();                             // one command at a time from now on
  [[nodiscard]] std::string security() const;  // of the transport
  [[nodiscard]] std::string greeting() const;  // empty if it came in clear before STLS
  [[nodiscard]] std::uint64_t octets_received() const;
  [[nodiscard]] std::uint64_t round_trips() const;  // how often it had to send while no answer was due
  [[nodiscard]] bool usable() const;                // false after an Error: the stream is at an unknown point

  Done converse(Pop3Dialogue& dialogue);
  Result<Pop3Answer> command(const pop3::Command& command);
  // The end of the session, with effect: messages marked by DELE are gone, and what the server counts as collected is,
  // once the answer is +OK. -ERR means that some may be left (RFC 1939 §6). The client is used up afterwards.
  Result<pop3::Status> quit();
  void farewell();  // QUIT without waiting for an answer, for a session that has read and marked nothing

 private:
  struct Impl;
  explicit Pop3Client(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace mailhaul::client
