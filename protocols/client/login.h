// Private to the room: from a connected transport to an authenticated session (RFC 9051 §3.1–3.2, §6.2).
#pragma once
#include <memory>
#include <optional>
#include <string>

#include "protocols/base/result.h"
#include "protocols/client/connection.h"
#include "protocols/client/imap_client.h"

namespace mailhaul::client {

// Greeting, STARTTLS, authentication, capabilities, COMPRESS. Returns the greeting's text if it can be believed.
Result<std::string> log_in(Connection& connection, const Account& account);

// The authentication alone: the strongest way that the server offers and the account can use, and the next one where a
// way was refused for what it is. A password goes only where the session lets it go. An administrator names the user
// inside of SASL, or, where capabilities or `greeting` are those of a server that has it, by PROXYAUTH after the login;
// an Error if the server does not let that happen. `greeting`: empty if it cannot be believed.
Done authenticate(Connection& connection, const Account& account, std::string_view greeting);

// What a refused login means: whose turn it is, and what they can do. `said`: inside of the SASL exchange. Neither
// password nor token gets into it, even if the server repeats it.
Error login_refused(const imap::StatusText& status, const Account& account, const std::string& said = {},
                    const Secret& token = {});

// The same for the words of a POP3 server (providers use the same ones for both), nullopt: they say nothing. `said`:
// the words without secrets; `by_token`: the login was by OAuth.
std::optional<Error> pop3_refused_in_words(const std::string& text, const std::string& said, const Account& account,
                                           bool by_token);

// What else might have answered at this port: for a first line that is no IMAP greeting.
Error not_imap(std::string_view first_octets, const Account& account);

}  // namespace mailhaul::client
