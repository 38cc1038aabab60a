// Private to the room: a pop3::Session on a net::Transport. Moves octets, hands out events, counts.
#pragma once
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "protocols/base/result.h"
#include "protocols/client/imap_client.h"
#include "protocols/net/transport.h"
#include "protocols/pop3/session.h"

namespace mailhaul::client {

class Pop3Connection {
 public:
  Pop3Connection(std::unique_ptr<net::Transport> transport, const ClientOptions& options);

  pop3::Session session;

  Result<pop3::CommandId> submit(const pop3::Command& command);
  Done pump() { return pump(options_.idle); }
  Done pump(std::chrono::milliseconds idle);
  // The next event, nullopt: pump first. Events hold views that live until the next call of any member.
  Result<std::optional<pop3::Event>> next();
  // One command and its whole answer. `on_challenge` gives the response to a challenge (in base64), nullopt cancels the
  // exchange, as does a challenge without it.
  using OnChallenge = std::function<std::optional<Secret>(std::string_view challenge)>;
  Result<pop3::Status> run(const pop3::Command& command, std::vector<std::string>* lines = nullptr,
                           const OnChallenge& on_challenge = {});
  Done rewrap(const std::function<Result<std::unique_ptr<net::Transport>>(std::unique_ptr<net::Transport>)>& wrap);

  [[nodiscard]] net::Transport& transport() { return *transport_; }
  [[nodiscard]] const net::Transport& transport() const { return *transport_; }
  [[nodiscard]] const std::string& first_octets() const { return first_; }  // at most 64 of the connection
  [[nodiscard]] std::uint64_t octets_received() const { return received_; }
  [[nodiscard]] std::uint64_t round_trips() const { return round_trips_; }
  [[nodiscard]] const ClientOptions& options() const { return options_; }

 private:
  void log(const pop3::Event& event);

  ClientOptions options_;
  std::unique_ptr<net::Transport> transport_;
  std::vector<char> buffer_;
  std::string first_;
  bool closed_ = false, counted_ = false;
  std::size_t queued_ = 0;
  std::uint64_t received_ = 0, round_trips_ = 0, message_octets_ = 0;
};

}  // namespace mailhaul::client
