// The meaning of a line that was framed (RFC 9051 §7). Private to the room.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/result.h"
#include "protocols/imap/event.h"
#include "protocols/imap/line.h"
#include "protocols/imap/session.h"

namespace mailhaul::imap {

// The condition that is the first word of `text`; nullopt: none is.
std::optional<Condition> condition_of(std::string_view text);
// "OK [UIDNEXT 7] text" taken apart, leniently; the first word is a condition.
StatusText parse_status(std::string_view text);
// Words separated by blanks, in upper case, the first `limit` of them; "LITERAL +" becomes "LITERAL+".
std::vector<std::string> parse_capabilities(std::string_view text, std::size_t limit);

// What an untagged data response other than FETCH and CAPABILITY says. nullopt: nothing that is known, or not in
// grammar: the line is lost, and the absence of its data proves nothing. An Error is a limit.
using Parsed = Result<std::optional<Event>>;
Parsed parse_data(const Line& line, std::size_t content, const Limits& limits, std::uint64_t& work);

}  // namespace mailhaul::imap
