// `mailhaul authorize ADDRESS`: a person allows the access at the provider, on this machine or any other one.
#pragma once
#include <stop_token>
#include <string>
#include <vector>

#include "collector/discover_command.h"
#include "protocols/base/result.h"

namespace mailhaul::collector {

struct AuthorizeRequest {
  DiscoverRequest account;         // how the provider of the address is found
  std::string issuer, scope;       // a provider by its metadata document instead
  std::vector<std::string> hosts;  // the mail servers that its tokens are for
  std::string client_id, client_secret_file;
  std::string token_file;  // empty: default_token_file()
  bool browser = false;    // by the browser of this machine even where a code would do
  bool pop3 = false;       // access to POP3, where that is another one
  bool json = false;
};

// A QR code for a terminal, dark on light; empty if the text does not fit into one.
std::string qr_text(const std::string& text);

// Exit status: 0 allowed, 1 not allowed, 2 usage, 3 could not run.
int run_authorize(const AuthorizeRequest& request, const std::stop_token& stop);

}  // namespace mailhaul::collector
