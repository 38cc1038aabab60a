// A SASL exchange (RFC 4422) as a value that is asked for its next message. Sans-I/O: raw octets in and out; base64,
// "+" and the end of the exchange are the protocol's business. mechanism() makes one by its name, choose() says which
// names are worth trying, the best first.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/result.h"
#include "protocols/base/types.h"

namespace mailhaul::sasl {

struct Credentials {
  std::string user;          // who proves to be who he is
  std::string authzid;       // whose mail it is about, if that is somebody else; empty: the server derives it
  Secret password;           // empty: there is none
  Secret token;              // OAuth 2.0 access token; empty: there is none
  bool certificate = false;  // TLS has shown a client certificate
  std::string host;          // where the exchange takes place; only OAUTHBEARER says it
  std::uint16_t port = 0;
};

// What ties a login to its TLS connection; empty where there is none.
struct Binding {
  std::string exporter;   // tls-exporter, RFC 9266
  std::string end_point;  // tls-server-end-point, RFC 5929 §4
};

// Limits of an exchange, against a server that wants to keep this machine busy.
inline constexpr std::size_t kLongestChallenge = 64 << 10;  // octets
inline constexpr unsigned kMostIterations = 1'000'000;      // of SCRAM; a second's work at most

class Mechanism {
 public:
  virtual ~Mechanism() = default;
  [[nodiscard]] virtual std::string_view name() const = 0;  // as on the wire
  // The client speaks first (RFC 4422 §5): initial() may go with the command where the protocol has room for it.
  [[nodiscard]] virtual bool client_first() const { return true; }
  virtual Result<Secret> initial() { return Secret(); }
  // The answer to a challenge. An Error: the exchange must be cancelled, or, at this point of it, cannot be trusted.
  virtual Result<Secret> respond(std::string_view challenge) = 0;
  // To be asked after the server has said that the login succeeded: an Error if the server owes its own proof.
  virtual Done finish() { return done(); }
  // What the server said inside of the exchange about a refusal, printable; empty if nothing.
  [[nodiscard]] virtual std::string said() const { return {}; }
  // The client has shown that it knows the secret: a refusal is now one of the secret, not of the mechanism.
  [[nodiscard]] virtual bool proved() const { return true; }
};

// `name` as choose() gave it. `nonce`: for SCRAM, printable and without comma; empty: a fresh one. An Error
// (AfterUserAction) where the credentials cannot be said by this mechanism.
Result<std::unique_ptr<Mechanism>> mechanism(std::string_view name, const Credentials&, const Binding& = {},
                                             std::string nonce = {});

// Which of the offered mechanisms can be tried with these credentials, the strongest first; `offers` answers for a name
// in upper case. With a token only OAuth's, with a certificate and without a password only EXTERNAL. Names:
// "SCRAM-SHA-256-PLUS" (bound by tls-exporter), "SCRAM-SHA-256-PLUS/end-point" (by tls-server-end-point),
// "SCRAM-SHA-256/bindable" (the server offered no binding although the client could, RFC 5802 §6), …
std::vector<std::string> choose(const std::function<bool(std::string_view)>& offers, const Credentials&,
                                const Binding&);

// The mechanism's own name of what choose() gave.
std::string_view wire_name(std::string_view chosen);

}  // namespace mailhaul::sasl
