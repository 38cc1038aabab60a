// Plays a transcript against a Session without I/O: whole, octet by octet and cut at random, and wants the same from
// all.
//
//   S: text        the server sends the line; CRLF is added
//   S-raw: text    the same without CRLF; \r \n \t \0 \\ \xNN are understood (here and in C and C+ only)
//   C: text        the next of the commands is submitted; all that the session wants to send now, without the last
//   CRLF.
//                  Nothing behind it: nothing can be sent yet. "C: !why": it is refused, and the error says `why`
//   C+: text       nothing is submitted, the session wants to send this now
//   E: text        the next event; see describe.h. "E: ERROR": the stream is broken
//
// Blanks before a directive and blank lines do not count.
#pragma once
#include <functional>
#include <string_view>
#include <vector>

#include "protocols/imap/session.h"

namespace mailhaul::imap::testing {

void play(std::string_view transcript, const std::vector<Command>& commands = {},
          const std::function<void(Session&)>& prepare = {}, const Limits& limits = {});

// The greeting, a login and a selected mailbox, then `transcript`; commands get the tags A3, A4, …
void play_selected(std::string_view transcript, const std::vector<Command>& commands = {}, const Limits& limits = {});

// A session that has got so far; its next tag is A3.
Session selected_session(const Limits& limits = {});

// Takes everything that can be sent now.
std::string take_output(Session& session);

}  // namespace mailhaul::imap::testing
