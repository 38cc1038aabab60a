// Commands as octets (RFC 9051 §9). Private to the room.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/result.h"
#include "protocols/imap/command.h"

namespace mailhaul::imap {

struct Syntax {                   // what the server has offered
  bool literal_plus = false;      // RFC 7888: no literal waits
  bool literal_minus = false;     // RFC 7888: literals of up to 4096 octets do not wait
  bool initial_response = false;  // RFC 4959
};

// The parts of the command's text; each but the first waits for the server's "+". Whoever takes them wipes them. An
// error names the argument that cannot be sent, never its content.
Result<std::vector<std::string>> write_command(std::string_view tag, const Command& command, const Syntax& syntax);

}  // namespace mailhaul::imap
