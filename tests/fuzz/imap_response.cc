// Octets from a server: whatever they are, the session says the same however they are cut, stays within its limits, and
// looks at each octet a bounded number of times. The first octet of the input chooses how the session begins.
#include <algorithm>
#include <random>
#include <string>

#include "protocols/imap/session.h"
#include "tests/fuzz/check.h"
#include "tests/imap/describe.h"

using namespace mailhaul;
using namespace mailhaul::imap;

namespace {

enum Start : unsigned { kGreeting, kLogin, kStartTls, kSelected, kStarts };

Limits small_limits() {
  Limits limits;
  limits.line = 2000;
  limits.buffered_literal = 300;
  limits.body = 3000;
  limits.nesting = 8;
  limits.list = 50;
  limits.words = 20;
  return limits;
}

void submit(Session& session, const Command& command) {
  FUZZ_CHECK(static_cast<bool>(session.submit(command)));
  while (!session.output().empty()) session.sent(session.output().size());
}

Session begin(unsigned start) {
  Session session("A", small_limits());
  if (start == kGreeting) return session;
  if (start != kStartTls) session.secure_from_start();
  testing::Events ignored;
  FUZZ_CHECK(testing::feed(session, "* OK [CAPABILITY IMAP4rev1 LITERAL+] hi\r\n", ignored));
  if (start == kStartTls) {
    submit(session, StartTls{});
    return session;
  }
  submit(session, Login{"u", Secret("p")});
  if (start == kLogin) return session;
  FUZZ_CHECK(testing::feed(session, "A1 OK\r\n", ignored));
  submit(session, Enable{{"CONDSTORE", "QRESYNC"}});
  submit(session, Examine{"INBOX", true, std::nullopt, false});
  submit(session, UidFetch{"1:*", "UID BODY.PEEK[]", std::nullopt, false});
  return session;
}

template <class Cut>
std::vector<std::string> said(std::string_view octets, unsigned start, Cut&& cut) {
  Session session = begin(start);
  const std::uint64_t before = session.octets_examined();
  const std::size_t size = octets.size();
  testing::Events events;
  for (bool alive = true; alive && !octets.empty();) {
    const std::string piece(octets.substr(0, cut(octets.size())));  // its own memory, so that a stale view is found
    octets.remove_prefix(piece.size());
    alive = testing::feed(session, piece, events);
  }
  events.finish();
  FUZZ_CHECK(session.octets_examined() - before <= 8 * size + 64);
  // Nothing of a mailbox is believed before login.
  const bool inside = events.list.empty() || events.list.front().rfind("GREETING PREAUTH", 0) == 0;
  if (start == kStartTls || (start == kGreeting && !inside))
    for (const auto& event : events.list)
      for (const char* data : {"FETCH", "LIST", "EXISTS", "STATUS", "BODY", "UNFINISHED"})
        FUZZ_CHECK(event.rfind(data, 0) != 0);
  return events.list;
}

void same(const std::vector<std::string>& whole, const std::vector<std::string>& cut) {
  if (whole == cut) return;
  for (const auto& event : whole) std::fprintf(stderr, "whole: %s\n", event.c_str());
  for (const auto& event : cut) std::fprintf(stderr, "cut:   %s\n", event.c_str());
  FUZZ_CHECK(whole == cut);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  if (size == 0) return 0;
  const unsigned start = data[0] % kStarts;
  const std::string_view octets = fuzz_text(data + 1, size - 1);
  const auto whole = said(octets, start, [](std::size_t left) { return left; });
  same(whole, said(octets, start, [](std::size_t) { return std::size_t{1}; }));
  std::minstd_rand random(static_cast<unsigned>(size));
  same(whole, said(octets, start, [&](std::size_t left) { return std::min<std::size_t>(left, 1 + random() % 7); }));
  return 0;
}
