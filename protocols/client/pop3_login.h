// Private to the room: from a connected transport to the transaction state (RFC 1939 §4, RFC 2595 §4, RFC 5034).
#pragma once
#include <string>

#include "protocols/base/result.h"
#include "protocols/client/imap_client.h"
#include "protocols/client/pop3_connection.h"

namespace mailhaul::client {

struct Pop3Opening {
  bool ask_capabilities = true;  // false: this server ends the connection at CAPA
  bool died_at_capa = false;     // set when it did
};

// Greeting, STLS, CAPA, login, CAPA. Returns the greeting's text if it can be believed.
Result<std::string> log_in(Pop3Connection& connection, const Account& account, Pop3Opening& opening);

// The authentication alone: the strongest way that the server offers and the account can use, and the next one where a
// way was refused for what it is.
Done authenticate(Pop3Connection& connection, const Account& account);

// What -ERR to a login (or the greeting) means: whose turn it is, and what they can do (RFC 2449 §8, RFC 3206).
// `login_delay`: what CAPA says of it, seconds; 0: nothing. Never holds password or token, even if the server repeats
// it.
Error pop3_refused(const pop3::Status& status, const Account& account, std::int64_t login_delay, const Secret& token);

// A first line that is no POP3 greeting.
Error not_pop3(std::string_view first_octets, const Account& account);

}  // namespace mailhaul::client
