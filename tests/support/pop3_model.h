// A POP3 server in memory, and misbehaviour on demand. One object is one maildrop; every connection is a transport of
// its own, and its session sees the maildrop as it was at the login. What a session read or deleted takes effect at
// QUIT. Single-threaded.
#pragma once
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/client/pop3_client.h"
#include "protocols/net/transport.h"

namespace mailhaul::test {

struct PopMessage {
  std::string wire;  // as it was before dots are doubled
  std::string uidl;
  int id = 0;                           // the test's own name for it
  std::optional<std::uint64_t> listed;  // what LIST says of its size; nullopt: the truth
  bool raw = false;                     // dots are not doubled
  std::string end = "\r\n.\r\n";        // instead of that; the text's own CRLF is taken off first
  int refusals = 0;                     // RETR is -ERR so many times
};

class Pop3Model {
 public:
  std::list<PopMessage> messages;
  std::vector<std::string> capabilities{"UIDL", "TOP", "PIPELINING", "USER"};
  std::string greeting = "+OK ready";
  bool capa = true, uidl = true, top = true;
  bool double_ok = false;  // TOP is answered twice
  bool shuffled = false;   // another order each session
  bool new_names = false;  // other unique-ids each session
  bool drops_state_at_retr = false;
  std::size_t window = SIZE_MAX;         // so many messages are shown
  bool pops = false;                     // what was read is not shown again after QUIT
  std::string locked;                    // an answer to PASS instead of +OK …
  int locks = 0;                         // … so many times
  std::string quit_refused;              // an answer to QUIT instead of +OK, which then does nothing
  bool lost_at_quit = false;             // the connection goes before the answer, and nothing is done
  std::uint64_t cut_after = UINT64_MAX;  // octets of one connection to the client, once
  std::size_t chunk = SIZE_MAX;          // octets that arrive at a time
  // Told each command line; may throw what ends a process, or end the connection.
  std::function<Done(const std::string& line)> on_command;

  PopMessage& deliver(const std::string& text);  // a letter with a Message-ID and a unique-id of its own
  Result<std::unique_ptr<client::Pop3Client>> connect(client::ClientOptions options = {});
  std::unique_ptr<net::Transport> transport();

  std::vector<std::string> lines;  // of all connections, PASS struck out
  [[nodiscard]] std::size_t count(std::string_view beginning) const;
  void forget() { lines.clear(); }
  std::uint64_t octets_given = 0;
  std::size_t most_at_once = 0;  // commands that came before the answer to the first had been read

 private:
  friend class Pop3ModelConnection;
  int next_ = 0;
  std::mt19937 luck_{11};
};

}  // namespace mailhaul::test
