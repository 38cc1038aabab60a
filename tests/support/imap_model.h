// The model server's mailboxes spoken to in IMAP, in memory: what ModelSource leaves out (commands, pipelining,
// extensions, the spelling of refusals) is played here, so that the engine runs on the real client and the real
// ImapSource. One object is one account; every connection is a transport of its own. Single-threaded.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "collector/sync/ports.h"
#include "protocols/client/imap_client.h"
#include "protocols/net/transport.h"
#include "tests/support/model_source.h"

namespace mailhaul::test {

class ImapModel {
 public:
  explicit ImapModel(ModelServer& server) : server_(server) {}

  std::string greeting = "OK ready";  // behind "* "
  std::string capabilities = "IMAP4rev1 ID ENABLE NAMESPACE ESEARCH LIST-EXTENDED LIST-STATUS CONDSTORE QRESYNC";
  std::string id_reply = "NIL";
  std::set<std::string> no_status_of;  // LIST-STATUS leaves these out
  std::size_t most_connections = SIZE_MAX;
  std::size_t shown_without_uid_only = SIZE_MAX;   // messages of a mailbox, the newest
  std::size_t message_limit = SIZE_MAX;            // a FETCH or SEARCH works on so many, from the highest UID down
  std::int64_t size_lie = 0;                       // added to RFC822.SIZE
  std::set<std::uint32_t> placeholder_for;         // UIDs: Exchange's error message comes as their body
  std::map<std::uint32_t, int> literal_lie;        // UIDs: added to the octets that BODY[] announces …
  int lying_literals = INT32_MAX;                  // … so many times altogether
  std::map<std::uint32_t, std::string> date_as;    // UIDs: their INTERNALDATE as it goes out; "": not at all
  std::map<std::uint32_t, std::uint32_t> body_of;  // UIDs: the body of this UID comes under their name
  std::map<std::uint32_t, std::string> size_as;    // UIDs: their RFC822.SIZE as it goes out; "": not at all
  bool stalls = false;                             // where a body drops, the connection stays and nothing more comes
  bool refuses_pipelining = false;                 // BAD to commands that did not wait for their turn

  // Asked before a command is carried out, with its line behind the tag. What it gives is the whole answer: "NO …",
  // "BAD …" and "OK …" get the command's tag, "* …" and everything else goes out as it is, "" closes the connection;
  // several lines are parted by '\n'. nullopt: the command is carried out.
  std::function<std::optional<std::string>(const std::string& command)> answer;
  // Asked behind the carrying out, for the text of the tagged OK; nullopt: "done".
  std::function<std::optional<std::string>(const std::string& command)> success;

  // The whole response (without its line end) in which a body goes out; nullopt: the usual one.
  std::function<std::optional<std::string>(const ModelMessage&)> body_as;
  // Asked before each response: octets that go out in front of it.
  std::function<std::string()> noise;

  // A logged-in client on a new connection.
  Result<std::unique_ptr<client::ImapClient>> connect(const client::ClientOptions& options = {});
  Result<std::unique_ptr<client::ImapClient>> connect(std::unique_ptr<net::Transport> transport,
                                                      const client::ClientOptions& options);
  std::unique_ptr<net::Transport> transport();

  std::size_t bodies = 0;          // messages whose text went out, whole or in part
  std::size_t most_at_once = 0;    // commands that came before the client had heard of the first of them
  std::vector<std::string> lines;  // every command line of every connection, without its tag
  [[nodiscard]] std::size_t count(std::string_view beginning) const;  // of lines that begin so
  [[nodiscard]] std::size_t connections() const { return opened_; }   // that were greeted

 private:
  friend class ImapModelConnection;
  ModelServer& server_;
  std::size_t open_ = 0, opened_ = 0;
};

}  // namespace mailhaul::test
