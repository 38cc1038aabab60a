// The Standard Webhooks scheme (standardwebhooks.com, 1.0.0): what is sent, and how the receiver knows that it is ours.
// Pure.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "protocols/base/types.h"
#include "protocols/notify/notify.h"

namespace mailhaul::notify {

// {"type", "timestamp", "data"}; what the people's text says is in `data`, too.
std::string webhook_body(const Message& message);

// The key in "whsec_<base64>"; nullopt: not of that form, or not 24 to 64 octets long.
std::optional<Secret> webhook_key(std::string_view secret);

// "v1,<base64>": HMAC-SHA256 of "id.timestamp.body". `sent`: Unix seconds of this try.
std::string webhook_signature(const Secret& key, std::string_view id, std::int64_t sent, std::string_view body);

std::string rfc3339(std::int64_t unix_seconds);  // "2026-01-31T08:30:00Z"

}  // namespace mailhaul::notify
