// One message to one place: a webhook (Standard Webhooks 1.0.0), an ntfy topic, or a mailbox by SMTP. Nothing is kept
// and nothing is tried twice here. Thread-safe.
#pragma once
#include <chrono>
#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include "protocols/base/result.h"
#include "protocols/base/types.h"
#include "protocols/net/address_gate.h"

namespace mailhaul::notify {

enum class Kind { Webhook, Ntfy, Mail };  // stored

struct Message {
  std::string id;       // the same at each try: whoever gets it twice can tell
  std::string type;     // "job.failing"
  std::int64_t at = 0;  // when it happened, Unix seconds
  std::string title;    // one line
  std::string text;     // for people
  std::string data;     // for programs: a JSON object
  bool urgent = false;
};

struct Place {
  Kind kind = Kind::Webhook;
  // Webhook: https://…; Ntfy: https://server/topic; Mail: smtps://[user@]host[:port], or smtp:// (STARTTLS).
  std::string url;
  std::string from, to;  // of mail
  Secret secret;         // Webhook: "whsec_…"; Ntfy: an access token, or none; Mail: the user's password, or none
  bool allow_plaintext = false;  // http://, and smtp:// to a server without STARTTLS
  std::string ca;                // PEM; certificates to trust instead of the system's
};

struct Options {
  std::chrono::milliseconds timeout{20'000};
  net::AddressGate gate = {};
  std::int64_t now = 0;  // Unix seconds, for the signature
};

// What is wrong with a place, before anything is sent: Error (AfterUserAction) says what to write instead.
Done check(const Place& place);

// Done: the other side has taken it. Errors: Retry::Never if it wants nothing of the kind again (410), else Later. They
// name the host only: the rest of an address is often a secret.
Done send(const Message& message, const Place& place, const Options& options, const std::stop_token& stop = {});

// The parts of "scheme://[user@]host[:port][/path]"; the last "@" splits.
struct ServerUrl {
  std::string scheme, user, host, path;
  unsigned port = 0;  // 0: not said
};
std::optional<ServerUrl> parse_url(std::string_view url);

}  // namespace mailhaul::notify
