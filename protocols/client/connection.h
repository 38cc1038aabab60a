// Private to the room: an imap::Session on a net::Transport. Moves octets, hands out events, counts.
#pragma once
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/result.h"
#include "protocols/client/imap_client.h"
#include "protocols/imap/plea.h"
#include "protocols/imap/session.h"
#include "protocols/net/transport.h"
#include "protocols/net/wire_log.h"

namespace mailhaul::client {

class Connection {
 public:
  Connection(std::unique_ptr<net::Transport> transport, const ClientOptions& options);

  imap::Session session;
  std::chrono::milliseconds slowness{0};  // before each command: the server wants to be asked slowly

  Result<imap::Tag> submit(const imap::Command& command);
  // Sends what is queued and receives what is there, or waits for either.
  Done pump() { return pump(options_.idle); }
  Done pump(std::chrono::milliseconds idle);
  // The next event, nullopt: pump first. Events hold views that live until the next call of any member.
  Result<std::optional<imap::Event>> next() { return session.next_event(); }

  // Lock-step: submits, and waits for the tagged reply; `on_event` sees everything else. A "+" that nobody takes, BYE
  // and the end of the connection are Errors.
  using OnEvent = std::function<Result<bool>(const imap::Event&)>;  // true: taken
  Result<imap::StatusText> run(const imap::Command& command, const OnEvent& on_event = {});
  Result<imap::StatusText> await(const imap::Tag& tag, const OnEvent& on_event = {});

  // Replaces the transport by what `wrap` makes of it.
  Done rewrap(const std::function<Result<std::unique_ptr<net::Transport>>(std::unique_ptr<net::Transport>)>& wrap);

  std::unique_ptr<net::Transport> take_transport() { return std::move(transport_); }  // the end of this object
  [[nodiscard]] net::Transport& transport() { return *transport_; }
  [[nodiscard]] const net::Transport& transport() const { return *transport_; }
  [[nodiscard]] const std::string& first_octets() const { return first_; }  // at most 64 of the connection
  [[nodiscard]] std::uint64_t octets_received() const { return received_; }
  [[nodiscard]] std::uint64_t octets_sent() const { return sent_; }
  [[nodiscard]] std::uint64_t round_trips() const { return round_trips_; }
  [[nodiscard]] const ClientOptions& options() const { return options_; }

 private:
  void count_send(std::size_t octets, bool line_is_idle);

  ClientOptions options_;
  std::unique_ptr<net::Transport> transport_;
  std::optional<net::WireLog> log_;
  std::vector<char> buffer_;
  std::string first_;
  bool closed_ = false;
  std::size_t queued_ = 0;  // commands submitted since all output was last sent
  bool counted_ = false;    // the send in progress is already a round trip
  std::uint64_t received_ = 0, sent_ = 0, round_trips_ = 0;
};

// What ends a connection, in the words of this room.
Error connection_closed();
Error said_bye(const imap::StatusText& status);
Error wants_patience(const imap::StatusText& status, const imap::Asked& asked);

}  // namespace mailhaul::client
