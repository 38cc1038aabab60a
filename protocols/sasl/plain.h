// SASL PLAIN (RFC 4616). Sans-I/O: octets for the caller to encode and send. Each further mechanism gets its own header
// beside this one.
#pragma once
#include <string_view>

#include "protocols/base/result.h"
#include "protocols/base/types.h"

namespace mailhaul::sasl {

// The one message of the mechanism, raw (not base64): authzid NUL user NUL password. `authzid` may be empty: the server
// derives it from `user`. Refused (AfterUserAction) if a part holds a NUL, or if user or password is empty (RFC 4616
// §2).
Result<Secret> plain(std::string_view authzid, std::string_view user, const Secret& password);

}  // namespace mailhaul::sasl
