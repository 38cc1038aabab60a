// What is known of providers: presets.json, part of the program. Read once, then values; thread-safe.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/result.h"

namespace mailhaul::discovery {

enum class Protocol { Imap, Pop3 };
enum class Security { Tls, StartTls };  // there is no third one here

struct Server {
  Protocol protocol = Protocol::Imap;
  std::string host;
  std::uint16_t port = 0;
  Security security = Security::Tls;
  bool operator==(const Server&) const = default;
};

struct OAuth {
  std::string issuer;                                    // our short name: "google"
  std::string authorization, token, device, revocation;  // endpoints; "{tenant}" may occur; empty: there is none
  std::string scope, pop3_scope, tenant, extra;          // `extra`: further parameters of the authorization request
};

struct Preset {
  std::string id, name;
  std::vector<std::string> domains;  // of addresses
  std::vector<std::string> mx;       // the end of mail exchangers' names, for domains of customers
  std::vector<Server> servers;       // IMAP first
  bool local_user = false;           // logs in by what stands before the @
  std::vector<std::string> auth;     // "password", "app-password", "oauth2"; the recommended first
  std::string password_help;         // what kind of password, and where it is made
  std::string switch_on;             // how IMAP is switched on; empty: it is on
  std::string link;                  // the provider's own page about it
  std::string note;
  std::map<std::string, std::int64_t> limits;  // "connections", "pop3_minutes_between_logins", …
  std::vector<std::string> quirks;             // rows of imap/quirks
  std::optional<OAuth> oauth;
  std::string carddav;

  // What to say when the provider refuses a login.
  [[nodiscard]] std::string help() const;
};

const std::vector<Preset>& presets();
Result<std::vector<Preset>> read_presets(std::string_view json);  // for presets() and its tests

const Preset* preset_of_domain(std::string_view domain);  // "gmail.com", in lower case; nullptr: not known
const Preset* preset_of_mx(std::string_view host);        // "aspmx.l.google.com"
const Preset* preset_of_server(std::string_view host);    // "imap.gmail.com"

std::string_view presets_text();  // the file itself

}  // namespace mailhaul::discovery
