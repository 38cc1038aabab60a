// Mail handed in at a server (RFC 6409), by libcurl's SMTP. Thread-safe.
#pragma once
#include <stop_token>
#include <string>

#include "protocols/base/result.h"
#include "protocols/notify/notify.h"

namespace mailhaul::notify {

// `text`: the whole mail, with CRLF. Done: the server has taken it (250 after DATA). Errors as of send().
Done submit(const std::string& text, const Place& place, const Options& options, const std::stop_token& stop);

}  // namespace mailhaul::notify
