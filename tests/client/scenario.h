// What the tests of this folder share: accounts, and clients on scripted servers.
#pragma once
#include <memory>
#include <string>

#include "protocols/client/imap_client.h"
#include "tests/support/imap_events.h"
#include "tests/support/loopback_client.h"
#include "tests/support/scripted_server.h"
#include "tests/support/scripted_transport.h"
#include "tests/support/transcript.h"

namespace mailhaul::test {

inline client::Account account_at(std::uint16_t port, client::Security security = client::Security::Tls) {
  return {{"localhost", port}, security, "me@example.org", Secret("hunter2")};
}

inline client::ClientOptions impatient() {
  client::ClientOptions options;
  options.connect = trusting_options();
  options.idle = 60s;
  return options;
}

using Connected = Result<std::unique_ptr<client::ImapClient>>;

// Connects to a script in memory; the transport counts as secure unless told otherwise.
struct InMemory {
  explicit InMemory(std::string_view script, Chunks chunks = Chunks::Whole, std::uint32_t seed = 1,
                    const client::Account& account = account_at(993),
                    const client::ClientOptions& options = impatient())
      : client(make(script, chunks, seed, account, options)) {}
  std::shared_ptr<const Played> played;
  Connected client;

  // Ends the connection and says what the client missed.
  std::string verdict() {
    client = Error{};
    return played->failure;
  }

 private:
  Connected make(std::string_view script, Chunks chunks, std::uint32_t seed, const client::Account& account,
                 const client::ClientOptions& options) {
    auto transport = std::make_unique<ScriptedTransport>(script, chunks, seed);
    played = transport->played();
    return client::ImapClient::over(std::move(transport), account, options);
  }
};

// Greeting and login in one round trip.
inline const std::string kIn =
    "S: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] ready\n"
    "C: $in AUTHENTICATE PLAIN AG1lQGV4YW1wbGUub3JnAGh1bnRlcjI=\n"
    "S: $in OK [CAPABILITY IMAP4rev1 ESEARCH] in\n";

}  // namespace mailhaul::test
