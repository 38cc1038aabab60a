// Private to the room: one run of a script; who gets what (see ImapClient::converse()).
#pragma once
#include <optional>
#include <vector>

#include "protocols/base/result.h"
#include "protocols/client/connection.h"
#include "protocols/client/imap_client.h"

namespace mailhaul::client {

class Conversation {
 public:
  // `everything`: gets all untagged data instead of the attribution (one command, lock-step); may be nullptr.
  Conversation(Connection& connection, std::size_t pipeline, Listener* everything = nullptr)
      : connection_(connection), pipeline_(pipeline), everything_(everything) {}
  Done run(Script& script);
  // After run(): the stream is at a known point, the connection can go on.
  [[nodiscard]] bool intact() const { return intact_; }

 private:
  struct InFlight {
    imap::Tag tag;
    Step step;
    bool behind = false;  // another one was in flight when it was sent
    bool opened = false;  // an EXAMINE that is the current mailbox's already
  };

  Done converse(Script& script);
  Done fill(Script& script);
  void slow_down(const imap::StatusText& status);
  Done mind_manners(const InFlight& finished, const imap::StatusText& status);
  [[nodiscard]] std::size_t most_in_flight() const;
  Done give(const imap::Event& event);
  Done complete(const imap::Completed& completed);
  void open_front();
  void open(InFlight& examine);
  void closed_by_code();
  [[nodiscard]] Listener* listener_of(const imap::Event& event) const;
  template <class Match>
  [[nodiscard]] Listener* oldest(Match&& match) const;
  [[nodiscard]] Listener* status_listener(const imap::StatusEntry& entry) const;

  Connection& connection_;
  std::size_t pipeline_;
  Listener* everything_;
  Listener* current_ = nullptr;      // of the selected mailbox at this point of the stream
  std::vector<InFlight> in_flight_;  // oldest first; as few as the pipeline is long
  std::optional<Error> patience_;    // what the server asked for; nothing more is sent
  bool intact_ = true;
};

}  // namespace mailhaul::client
