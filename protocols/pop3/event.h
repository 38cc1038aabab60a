// What a POP3 server said, one value an event. Views are valid until the session is fed or asked for the next event.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

namespace mailhaul::pop3 {

using CommandId = std::uint64_t;

struct Status {  // a first line: +OK or -ERR
  bool ok = false;
  std::string code;                        // RFC 2449 §8: "IN-USE", "SYS/TEMP"; upper case, empty: none
  std::string text;                        // behind it
  [[nodiscard]] std::string line() const;  // for people, printable
};

struct Greeting {
  Status status;
};
struct Challenge {        // RFC 5034: the server waits for the response, or for one more
  std::string_view text;  // base64
};
struct Answered {  // the first line; for a multi-line command that is +OK, Line or Octets and Finished follow
  CommandId command = 0;
  Status status;
};
struct Line {  // of a list, without its end and without the dot that escaped it
  CommandId command = 0;
  std::string_view text;
};
struct Octets {  // of a message, as it was before dots were doubled
  CommandId command = 0;
  std::string_view octets;
};
struct Finished {
  CommandId command = 0;
};

using Event = std::variant<Greeting, Challenge, Answered, Line, Octets, Finished>;

// "+OK text", "-ERR [CODE] text"; false: it is neither. A code is taken off the text only where it looks like one.
bool parse_status(std::string_view line, Status& status);

}  // namespace mailhaul::pop3
