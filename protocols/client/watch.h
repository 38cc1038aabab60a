// A logged-in IMAP connection that waits for news without a thread of its own: IDLE (RFC 2177), with NOTIFY (RFC 5465)
// where it is offered, so that other mailboxes than the selected one tell, too. Whoever polls many of them asks each
// what has happened. It has no buffer of its own: what a connection costs is its TLS state.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>

#include "protocols/base/result.h"
#include "protocols/client/imap_client.h"

namespace mailhaul::client {

class Watch {
 public:
  // Takes a client over, opens `mailbox` (EXAMINE) and begins. Blocks for as many round trips. An Error of
  // Retry::Never: the server can do neither.
  static Result<std::unique_ptr<Watch>> begin(std::unique_ptr<ImapClient> client, const std::string& mailbox);

  [[nodiscard]] int descriptor() const { return transport_->descriptor(); }
  [[nodiscard]] bool has_output() const { return !session_.output().empty(); }
  [[nodiscard]] bool hears_everything() const { return notify_; }  // other mailboxes than the one opened
  [[nodiscard]] bool awaiting() const { return awaiting_; }        // an answer to renew() is due

  struct News {
    bool mail = false;   // a message has come
    bool other = false;  // messages were removed, or marked
  };
  // Moves what can be moved now; never blocks. `room` is scratch, of any size. An Error: the connection is lost, or the
  // server does not want it any more (Retry::Later with its `wait`).
  Result<News> advance(std::span<char> room);

  // Ends the IDLE and begins it again, or asks for a sign of life: servers end connections that are silent for half an
  // hour (RFC 2177 §3), and a dead one is found out only so.
  Done renew();
  void leave();  // LOGOUT, as far as that goes without waiting

 private:
  Watch(ImapClient::Parts parts, bool idle, bool notify)
      : session_(std::move(parts.session)), transport_(std::move(parts.transport)), idle_(idle), notify_(notify) {}
  Done idle();
  Done take(const imap::Event& event, News& news);

  imap::Session session_;
  std::unique_ptr<net::Transport> transport_;
  const bool idle_, notify_;
  bool awaiting_ = false, unheard_ = false, renewing_ = false;
  unsigned unasked_ = 0;  // ends of an IDLE that nobody has asked for
  std::uint32_t exists_ = 0;
  struct Seen {
    std::uint64_t uid_next = 0, messages = 0;
  };
  std::map<std::string, Seen> others_;
};

}  // namespace mailhaul::client
