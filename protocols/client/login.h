// Private to the room: from a connected transport to an authenticated session (RFC 9051 §3.1–3.2, §6.2).
#pragma once
#include <memory>
#include <string>

#include "protocols/base/result.h"
#include "protocols/client/connection.h"
#include "protocols/client/imap_client.h"

namespace mailhaul::client {

// Greeting, STARTTLS, authentication, capabilities, COMPRESS. Returns the greeting's text if it can be believed.
Result<std::string> log_in(Connection& connection, const Account& account);

// The authentication alone: the strongest way that the server offers and the account can use, and the next one where a
// way was refused for what it is. A password goes only where the session lets it go.
Done authenticate(Connection& connection, const Account& account);

// What a refused login means: whose turn it is, and what they can do. `said`: inside of the SASL exchange. Neither
// password nor token gets into it, even if the server repeats it.
Error login_refused(const imap::StatusText& status, const Account& account, const std::string& said = {},
                    const Secret& token = {});

// What else might have answered at this port: for a first line that is no IMAP greeting.
Error not_imap(std::string_view first_octets, const Account& account);

}  // namespace mailhaul::client
