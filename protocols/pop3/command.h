// What may be asked of a POP3 server, as values (RFC 1939, 2449, 2595, 5034).
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <variant>

#include "protocols/base/types.h"

namespace mailhaul::pop3 {

using MessageNumber = std::uint32_t;  // RFC 1939 §4: means nothing beyond its session

struct Capa {};
struct Stls {};
struct User {
  std::string name;
};
struct Pass {
  Secret password;
};
struct Auth {  // RFC 5034; `response`: raw octets, sent as base64, with the command or at the first challenge
  std::string mechanism;
  std::optional<Secret> response;
};
struct Stat {};
struct List {
  MessageNumber number = 0;  // 0: all
};
struct Uidl {
  MessageNumber number = 0;
};
struct Top {
  MessageNumber number = 0;
  std::uint32_t lines = 0;
};
struct Retr {
  MessageNumber number = 0;
};
struct Dele {
  MessageNumber number = 0;
};
struct Noop {};
struct Quit {};

using Command = std::variant<Capa, Stls, User, Pass, Auth, Stat, List, Uidl, Top, Retr, Dele, Noop, Quit>;

template <class T>
bool is(const Command& command) {
  return std::holds_alternative<T>(command);
}

// Its answer, if it is +OK, goes on over several lines (RFC 1939 §3).
bool multi_line(const Command& command);
// What comes over several lines is a message, not a list.
bool gives_message(const Command& command);
// "RETR 7"; without secrets, for errors and tests.
std::string name_of(const Command& command);

}  // namespace mailhaul::pop3
