// A blocking, pipelining IMAP client: imap::Session × net::Transport. One object is one connection and belongs to one
// thread; another thread stops it through the stop_token only.
#pragma once
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "protocols/base/result.h"
#include "protocols/base/types.h"
#include "protocols/imap/session.h"
#include "protocols/net/connector.h"

namespace mailhaul::client {

enum class Security { Tls, StartTls, Cleartext };  // StartTls is required, never opportunistic

// Gives an OAuth 2.0 access token for the next login. `refused`: the one that the server has just refused, if it has:
// asked once more then, and it must be another one. Called by the thread that logs in.
using TokenSource = std::function<Result<Secret>(const Secret& refused)>;

struct Account {
  net::Endpoint endpoint;
  Security security = Security::Tls;
  std::string user;
  Secret password;
  std::string authzid = {};  // whose mail it is, where `user` is an administrator; only SASL can say it
  TokenSource token = {};    // not empty: OAuth; the password is not used
  std::string help = {};     // what this provider wants of who logs in: the advice when it refuses
};

// What a server has shown of its manners; shared by all connections to it. Thread-safe.
struct Manners {
  std::atomic<bool> one_at_a_time{false};  // BAD to a command that came behind another one: no pipelining, then
  std::atomic<bool> bad_is_meant{false};   // … but it says so to the same command alone, too
  std::atomic<std::size_t> refused{0};     // which kind of command it was: its index
};

struct ClientOptions {
  net::ConnectOptions connect;
  std::chrono::milliseconds idle{300'000};  // no octet for so long: the connection is dead. Any octet counts as life
  bool compress = false;                    // COMPRESS=DEFLATE if offered
  std::size_t pipeline = 16;                // commands in flight; 1 is lock-step
  std::shared_ptr<Manners> manners;         // nullptr: nothing is learnt
  std::vector<std::string> masked_capabilities;
  std::function<void(std::string_view)> wire_log;  // empty: none
  // Waits, until it is over or somebody asks to stop; for servers that want to be asked more slowly. Empty: no waiting.
  std::function<void(std::chrono::milliseconds)> pause;
};

// Receives what belongs to a command or to the mailbox it works on. An error returned here ends converse() with it.
class Listener {
 public:
  virtual ~Listener() = default;
  virtual Done on(const imap::Event& event) = 0;
  virtual Done completed(const imap::Command& command, const imap::StatusText& status) = 0;  // the tagged reply
};

struct Step {
  imap::Command command;
  Listener* listener;  // outlives the conversation
};

// Gives the next step when there is room in the pipeline; nullopt: nothing more for now (asked again after each
// completion, ends when nothing is in flight either).
class Script {
 public:
  virtual ~Script() = default;
  virtual std::optional<Step> next() = 0;
};

class ImapClient {
 public:
  // Connects, secures, reads the greeting, logs in (by the strongest SASL mechanism that is offered and can be used,
  // with SASL-IR where offered; else LOGIN), knows the capabilities afterwards. As few round trips as the server
  // allows. Error texts tell a wrong password from an outage from a server that is not IMAP, and never hold a secret.
  // PREAUTH where TLS was required is refused.
  static Result<std::unique_ptr<ImapClient>> connect(const Account&, const ClientOptions&, std::stop_token stop);
  // The same on a transport that is connected already: a tunnel, or the scripted one of the tests. Security::Tls then
  // means that the transport itself is secure; StartTls works on one of net::connect_tcp() only.
  static Result<std::unique_ptr<ImapClient>> over(std::unique_ptr<net::Transport>, const Account&,
                                                  const ClientOptions&);
  ~ImapClient();

  [[nodiscard]] const imap::Session& session() const;
  [[nodiscard]] std::string security() const;  // of the transport
  // Text of the greeting, for quirk recognition; empty if it came in clear before STARTTLS, for anybody may have
  // written it.
  [[nodiscard]] std::string greeting() const;
  // Work counters: octets as the session sees them (after TLS and DEFLATE), and how often the client had to send while
  // no command of its own was on the way (its waits for the line, TCP and TLS handshakes and the greeting not counted).
  [[nodiscard]] std::uint64_t octets_received() const;
  [[nodiscard]] std::uint64_t octets_sent() const;
  [[nodiscard]] std::uint64_t round_trips() const;

  // Runs a script of pipelined commands to its end. Attribution of untagged data:
  //  * mailbox data (FETCH, EXISTS, EXPUNGE, VANISHED, FLAGS, SEARCH, BODY…, and OK/NO codes such as UIDVALIDITY) goes
  //  to
  //    the listener of the mailbox that is selected at that point of the stream: the listener of the EXAMINE is the
  //    current one from the moment when everything sent before that EXAMINE is answered (RFC 9051 §5.5 makes servers
  //    keep this order), or when [CLOSED] (RFC 7162 §3.2.11) says so. Steps on one mailbox share one listener.
  //    ESEARCH with a tag goes to that command's listener.
  //    Without an EXAMINE in this conversation it is the listener of the first step that works on the selected mailbox.
  //    Nothing is current after a refused EXAMINE.
  //  * LIST, LSUB, STATUS, NAMESPACE, ID, ENABLED go to the oldest command in flight that can produce them (STATUS: the
  //  one
  //    that names the mailbox, if any does), or nowhere.
  // Tagged replies may come in any order. NO and BAD are given to completed(), they do not end the conversation; a
  // command that cannot be sent is completed with a BAD of our own. BYE, a lost connection, a time-out, a broken stream
  // or a stop end it with an Error (Scope::Account, Retry::Now); then the client is good for nothing but its
  // destruction.
  //
  // BAD to an ordinary command that was sent behind another one ends the conversation, too, once per server: perhaps it
  // takes one command at a time. From then on it gets no more (ClientOptions::manners), until it says BAD to that kind
  // of command alone.
  //
  // A reply that asks for patience (imap::plea_of(): throttled, over a limit) is no answer to its command: completed()
  // is not called, nothing more is sent, what is in flight is awaited, and the conversation ends with an Error of
  // Retry::Later with its `wait`. The client is usable() afterwards, unless the server closed the connection, too.
  Done converse(Script& script);

  // No more commands in flight than this from now on; never more than the options say.
  void limit_pipeline(std::size_t commands);

  // One command, lock-step, for the simple cases; untagged data goes to `listener` if given.
  Result<imap::StatusText> command(const imap::Command& command, Listener* listener = nullptr);

  // APPEND of a message that is longer than memory should be. Nothing else can be asked until its end; after an Error,
  // or destroyed in the middle, the connection is closed and the server has stored nothing of it (RFC 9051 §6.3.12).
  // begin: `append.message` is its first octets. octets: returns when they have left: that is the back-pressure. A
  // refusal by the server in the middle is an Error of Scope::Message with its words.
  Done append_begin(const imap::Append& append);
  Done append_octets(std::string_view octets);
  Result<imap::StatusText> append_end(std::string_view last);  // the tagged reply

  // False after an Error that has left the stream at an unknown point.
  [[nodiscard]] bool usable() const;

  // What is left of a client that is given up: for whoever goes on without blocking (watch.h). `news`: the server has
  // said something about the mailbox that nobody has heard.
  struct Parts {
    imap::Session session;
    std::unique_ptr<net::Transport> transport;
    bool news = false;
  };
  Result<Parts> release();

  // Says LOGOUT and closes without waiting for the answer.
  void logout();

 private:
  struct Impl;
  explicit ImapClient(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace mailhaul::client
