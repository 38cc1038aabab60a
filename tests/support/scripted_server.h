// A pretended IMAP server on a loopback port, that plays transcripts (the notation is in transcript.h), one a
// connection, and remembers what it saw.
//
//   ScriptedServer server({R"(
//     S: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] ready
//     C: $a AUTHENTICATE PLAIN *
//     S: $a OK [CAPABILITY IMAP4rev1] in
//     C: $b EXAMINE "INBOX"
//     …)"}, {.tls = Tls::Implicit});
//   … run the client against localhost:server.port(), ca_file Authority::instance().ca_file() …
//   CHECK(server.verdict() == "");
#pragma once
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "tests/support/certificates.h"
#include "tests/support/loopback.h"

namespace mailhaul::test {

enum class Tls { None, Implicit, StartTls };

struct ServerOptions {
  Tls tls = Tls::None;  // StartTls: a `starttls` directive may occur
  Certificate certificate = Certificate::Good;
  int newest_tls = 0;  // such as TLS1_1_VERSION; 0: all
};

class ScriptedServer {
 public:
  // Connection n plays script n; a connection without a script is closed at once and is a failure.
  explicit ScriptedServer(std::vector<std::string> scripts, ServerOptions options = {});
  ~ScriptedServer();

  [[nodiscard]] std::uint16_t port() const { return loopback_->port(); }

  // Waits for the connections made so far (a client that is still connected keeps it waiting: destroy it first), then
  // says what went wrong: "" or the first line that the client missed.
  std::string verdict();

  // What the clients sent, over all connections: decrypted lines, and the raw octets before TLS (all of them if TLS
  // never came).
  [[nodiscard]] std::vector<std::string> lines();
  [[nodiscard]] std::string in_clear();
  [[nodiscard]] std::size_t connections() const { return loopback_->connections(); }
  [[nodiscard]] std::string tls_error();  // of a failed handshake

 private:
  void play(Stream& stream, std::size_t connection);
  void report(std::size_t connection, const std::string& failure);

  std::vector<std::string> scripts_;
  ServerOptions options_;
  std::shared_ptr<SSL_CTX> context_;
  std::mutex mutex_;
  std::vector<std::string> lines_;
  std::string in_clear_, failure_, tls_error_;
  std::unique_ptr<Loopback> loopback_;  // last: its threads use the rest
};

}  // namespace mailhaul::test
