// OAuth 2.0 for mail programs: how a person allows the access (device authorization RFC 8628; authorization code with
// PKCE and a loopback redirect RFC 7636, 8252), and how tokens are renewed. Blocking requests, one at a time; values.
#pragma once
#include <chrono>
#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/result.h"
#include "protocols/base/types.h"
#include "protocols/discovery/presets.h"
#include "protocols/http/http.h"

namespace mailhaul::oauth2 {

struct Client {  // as the provider has registered it
  std::string id;
  Secret secret;  // empty: a public client
};

struct Provider {
  std::string name;                          // for people and for configuration: "google", or the issuer's address
  std::string authorization, token, device;  // endpoints; empty: there is none
  std::string scope;
  std::string extra;  // further parameters of the authorization request
  Client client;
  std::vector<std::string> hosts;  // the servers that its tokens are for, and no others
};

struct Tokens {
  Secret access, refresh;   // refresh may be empty: then the access ends with the access token
  std::int64_t issued = 0;  // Unix seconds, this machine's clock
  std::int64_t life = 0;    // seconds; 0: not said

  // Renewal is due at 80 % of the life, and where the clock has gone back behind the issue.
  [[nodiscard]] bool fresh(std::int64_t now) const;
};

// What the table of providers has; "{tenant}" filled in. `pop3`: the scope for POP3 where it is another one.
Result<Provider> provider_of(const discovery::Preset& preset, bool pop3 = false);
// By the metadata document of an issuer (RFC 8414 §3, OpenID Connect Discovery §4): it must name this very issuer. http
// only on this machine (localhost, 127.0.0.1), for tests and providers of one's own.
Result<Provider> provider_by_metadata(const std::string& issuer, const http::Options& web, const std::stop_token& stop);

// RFC 8628 §3.1–3.2
struct DeviceCode {
  Secret code;
  std::string user_code, url;  // to be shown
  std::string url_complete;    // with the code in it, for a QR code; may be empty
  std::chrono::seconds life{0}, interval{5};
};
Result<DeviceCode> ask_device_code(const Provider&, const http::Options& web, const std::stop_token& stop);
// One question after another, `interval` apart (§3.4–3.5); nullopt: not yet. slow_down makes the interval longer. An
// Error ends it: denied, expired (AfterUserAction); Retry::Later: ask again.
Result<std::optional<Tokens>> poll_device(const Provider&, DeviceCode& code, const http::Options& web,
                                          const std::stop_token& stop, const Clock& clock = system_clock());

// RFC 6749 §4.1 with RFC 7636: the person opens `url`; the browser comes back to `redirect` with a query.
struct Authorization {
  std::string url, redirect, state;
  Secret verifier;
};
Result<Authorization> begin_authorization(const Provider&, const std::string& redirect, const std::string& login_hint);
// Does `query`, of the redirect, answer this request? Another one's proves nothing about ours (RFC 6749 §10.12).
bool answers(const Authorization& begun, std::string_view query);
// `query`: of the redirect, "code=…&state=…". Another state than ours is an Error.
Result<Tokens> finish_authorization(const Provider&, const Authorization&, std::string_view query,
                                    const http::Options& web, const std::stop_token& stop,
                                    const Clock& clock = system_clock());

// RFC 6749 §6. A provider that rotates refresh tokens gives a new one, which must be saved before anything else is done
// with the answer; else the old one stays. Errors: consent_gone() – a person has to allow it again; Retry::Later – an
// outage.
Result<Tokens> renew(const Provider&, const Tokens&, const http::Options& web, const std::stop_token& stop,
                     const Clock& clock = system_clock());
bool consent_gone(const Error& error);

// The answer of a token endpoint (RFC 6749 §5.1–5.2). `old`: whose refresh token stays if no other comes.
Result<Tokens> read_tokens(int status, std::string_view json, const Tokens& old, std::int64_t now);

}  // namespace mailhaul::oauth2
