// The tokens of an account on this machine: one file, readable by its owner only, replaced whole.
#pragma once
#include <memory>
#include <string>

#include "protocols/base/result.h"
#include "protocols/client/imap_client.h"
#include "protocols/oauth2/keeper.h"

namespace mailhaul::collector {

// Where `mailhaul authorize ADDRESS` puts them: $XDG_STATE_HOME/mailhaul/tokens/ADDRESS.json, in ~/.local/state without
// the variable. Empty: there is no home.
std::string default_token_file(const std::string& address);

struct TokenDocument {
  std::string address;
  oauth2::Provider provider;  // with its client
  oauth2::Tokens tokens;
};
Result<TokenDocument> read_token_file(const std::string& path);
Done write_token_file(const std::string& path, const TokenDocument& document);  // durable when it returns

// For client::Account: tokens from the file, renewed and saved there. An Error if the provider's tokens are not for
// this host. `web`: trust, proxy and gate of the renewals.
Result<client::TokenSource> token_source(const std::string& path, const std::string& host, const http::Options& web,
                                         const std::stop_token& stop);

}  // namespace mailhaul::collector
