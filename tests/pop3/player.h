// Plays a conversation with a pop3::Session: what is asked, what must go out, what comes in, and the events as text.
#pragma once
#include <doctest/doctest.h>

#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "protocols/pop3/session.h"

namespace mailhaul::test {

enum class Feeding { Whole, Octets, Random };

// One line of the result per event; message octets of one answer are joined.
class Pop3Player {
 public:
  explicit Pop3Player(Feeding feeding, pop3::Limits limits = {}) : session(limits), feeding_(feeding) {}

  pop3::Session session;
  std::string events;
  std::string error;

  void ask(const pop3::Command& command) {
    auto id = session.submit(command);
    if (!id) error = id.error().what;
  }
  std::string output() {
    const std::string out(session.output());
    session.sent(out.size());
    return out;
  }
  void hear(std::string_view text) {
    while (!text.empty() && error.empty()) {
      std::size_t n = text.size();
      if (feeding_ == Feeding::Octets) n = 1;
      if (feeding_ == Feeding::Random) n = std::min<std::size_t>(text.size(), 1 + random_() % 9);
      const std::string piece(text.substr(0, n));  // of its own, so that a view kept too long is seen
      text.remove_prefix(n);
      if (auto fed = session.feed(piece); !fed) error = fed.error().what;
      drain();
    }
  }
  // Greeting and login, so that the session is in the transaction state.
  void enter(const std::string& capabilities = "") {
    session.secure_from_start();
    hear("+OK hello\r\n");
    ask(pop3::Capa{});
    (void)output();
    hear("+OK\r\n" + capabilities + ".\r\n");
    ask(pop3::User{"me"});
    (void)output();
    hear("+OK\r\n");
    ask(pop3::Pass{Secret("hunter2")});
    (void)output();
    hear("+OK in\r\n");
    REQUIRE(error == "");
    REQUIRE(session.state() == pop3::State::Transaction);
    events.clear();
  }

 private:
  void drain() {
    for (;;) {
      auto event = session.next_event();
      if (!event) {
        error = event.error().what;
        return;
      }
      if (!*event) return;
      note(**event);
    }
  }
  void note(const pop3::Event& event) {
    if (const auto* octets = std::get_if<pop3::Octets>(&event)) {
      if (!in_message_) events += "<";
      in_message_ = true;
      events += octets->octets;
      return;
    }
    if (in_message_) events += ">\n";
    in_message_ = false;
    if (const auto* greeting = std::get_if<pop3::Greeting>(&event))
      events += "greeting " + greeting->status.line() + "\n";
    if (std::holds_alternative<pop3::Challenge>(event)) events += "challenge\n";
    if (const auto* answered = std::get_if<pop3::Answered>(&event)) events += answered->status.line() + "\n";
    if (const auto* line = std::get_if<pop3::Line>(&event)) events += "- " + std::string(line->text) + "\n";
    if (std::holds_alternative<pop3::Finished>(event)) events += "end\n";
  }

  Feeding feeding_;
  std::mt19937 random_{7};
  bool in_message_ = false;
};

inline constexpr Feeding kFeedings[] = {Feeding::Whole, Feeding::Octets, Feeding::Random};

}  // namespace mailhaul::test
