// Octets from a POP3 server: whatever they are, the session says the same however they are cut, stays within its
// limits, and takes out of a message what a plain reading of RFC 1939 §3 takes out. The first octet of the input
// chooses what the session is waiting for.
#include <algorithm>
#include <random>
#include <string>

#include "protocols/pop3/session.h"
#include "tests/fuzz/check.h"

using namespace mailhaul;
using namespace mailhaul::pop3;

namespace {

enum Start : unsigned { kGreeting, kStls, kAuth, kCapa, kLists, kMessages, kStarts };
constexpr std::size_t kBody = 3000;

struct Heard {
  std::string events;
  std::string message;  // the octets of the first one
  bool whole = false;   // it was finished
};

void ask(Session& session, const Command& command) {
  FUZZ_CHECK(static_cast<bool>(session.submit(command)));
  session.sent(session.output().size());
}

void note(const Event& event, Heard& heard) {
  if (const auto* octets = std::get_if<Octets>(&event)) {
    FUZZ_CHECK(!octets->octets.empty());
    if (!heard.events.ends_with("~")) heard.events += "~";  // however they are cut
    if (!heard.whole) heard.message += octets->octets;
    FUZZ_CHECK(heard.message.size() <= kBody);
    return;
  }
  if (const auto* greeting = std::get_if<Greeting>(&event)) heard.events += "G" + greeting->status.line() + "\n";
  if (const auto* challenge = std::get_if<Challenge>(&event)) heard.events += "C" + std::string(challenge->text) + "\n";
  if (const auto* answered = std::get_if<Answered>(&event)) heard.events += "A" + answered->status.line() + "\n";
  if (const auto* line = std::get_if<Line>(&event)) heard.events += "L" + std::string(line->text) + "\n";
  if (std::holds_alternative<Finished>(event)) {
    heard.events += ".\n";
    heard.whole = true;
  }
}

bool feed(Session& session, std::string_view octets, Heard& heard) {
  const std::string piece(octets);  // its own memory, so that a stale view is found
  if (!session.feed(piece)) return false;
  for (;;) {
    auto event = session.next_event();
    if (!event) {
      FUZZ_CHECK(!session.next_event());  // broken for ever
      return false;
    }
    if (!*event) return true;
    note(**event, heard);
  }
}

Session begin(unsigned start) {
  Limits limits;
  limits.line = 500;
  limits.lines = 40;
  limits.body = kBody;
  limits.capabilities = 10;
  Session session(limits);
  if (start == kGreeting) return session;
  if (start != kStls) session.secure_from_start();
  Heard ignored;
  FUZZ_CHECK(feed(session, "+OK\r\n", ignored));
  if (start == kStls) ask(session, Stls{});
  if (start == kAuth) ask(session, Auth{"PLAIN", Secret(std::string(300, 's'))});
  if (start == kCapa) ask(session, Capa{});
  if (start <= kCapa) return session;
  ask(session, Pass{Secret("p")});
  FUZZ_CHECK(feed(session, "+OK\r\n", ignored));
  if (start == kLists) {
    ask(session, Stat{});
    ask(session, Uidl{});
    ask(session, pop3::List{});
  } else {
    ask(session, Retr{1});
    ask(session, Top{2, 0});
    ask(session, Noop{});
  }
  return session;
}

template <class Cut>
Heard said(std::string_view octets, unsigned start, Cut&& cut) {
  Session session = begin(start);
  Heard heard;
  bool alive = true;
  while (alive && !octets.empty()) {
    const auto n = cut(octets.size());
    alive = feed(session, octets.substr(0, n), heard);
    octets.remove_prefix(n);
    session.sent(session.output().size());
  }
  if (!alive) heard.events += "broken";
  return heard;
}

// The first message of an answer that begins with "+OK" CRLF, read line by line; false: it has no end.
bool plainly(std::string_view octets, std::string& message) {
  if (!octets.starts_with("+OK\r\n")) return false;
  octets.remove_prefix(5);
  while (!octets.empty()) {
    const auto end = octets.find("\r\n");
    auto line = octets.substr(0, end == octets.npos ? end : end + 2);
    if (line == ".\r\n" || octets.starts_with(".\n")) return true;
    if (line.starts_with("..")) line.remove_prefix(1), octets.remove_prefix(1);
    message += line;
    octets.remove_prefix(line.size());
  }
  return false;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const unsigned start = data[0] % kStarts;
  const std::string_view octets(reinterpret_cast<const char*>(data) + 1, size - 1);
  const Heard whole = said(octets, start, [](std::size_t n) { return n; });
  const Heard single = said(octets, start, [](std::size_t) { return std::size_t{1}; });
  std::mt19937 random(static_cast<std::uint32_t>(size));
  const Heard pieces = said(octets, start, [&](std::size_t n) { return std::min<std::size_t>(n, 1 + random() % 20); });
  FUZZ_CHECK(whole.events == single.events && whole.events == pieces.events);
  FUZZ_CHECK(whole.message == single.message && whole.message == pieces.message);
  std::string message;
  if (start == kMessages && plainly(octets, message) && message.size() <= kBody) {
    FUZZ_CHECK(whole.whole);
    FUZZ_CHECK(whole.message == message);
  }
  return 0;
}
