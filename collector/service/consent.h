// Accounts that are entered by OAuth: a person allows the access at the provider (device code, or a browser), the
// tokens are sealed in the account's row where a password would be, and one keeper an account renews them, whichever
// run or waiting connection asks. Thread-safe.
#pragma once
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>

#include "collector/service/outcome.h"
#include "protocols/client/imap_client.h"
#include "protocols/oauth2/keeper.h"
#include "store/registry/registry.h"
#include "store/registry/secrets.h"

namespace mailhaul::service {

struct ConsentRequest {
  std::string flow = "device";  // device, code
  std::string issuer;           // of a provider that is not known here; empty: by the account's server
  std::string scope, client_id;
  Secret client_secret;
  std::string redirect;  // of flow code: where the browser comes back to
};

enum class ConsentState { None, Waiting, Allowed, Needed, Failed };  // Needed: it was allowed, and is not any more

struct ConsentView {
  ConsentState state = ConsentState::None;
  std::string provider{};
  std::string url{}, user_code{}, url_complete{};  // while waiting: what to open, and what to enter there
  std::int64_t expires = 0;
  std::string error{}, advice{};
};

class Consents {
 public:
  using Allowed = std::function<void(registry::Id account)>;  // a person has allowed it; nothing is locked
  Consents(registry::Registry& registry, const registry::SecretBox& secrets, const Clock& clock, net::AddressGate gate,
           std::string certificates, Allowed allowed);
  ~Consents();
  void stop();  // nobody is waited for any more

  // `host`, `pop3`: of the account. Asks the provider, so it takes as long as the net does.
  Outcome<ConsentView> begin(registry::Id account, const std::string& host, bool pop3, const std::string& user,
                             const ConsentRequest& request);
  // The browser came back with `query` ("code=…&state=…").
  Outcome<ConsentView> finish(registry::Id account, const std::string& query);
  ConsentView view(const registry::AccountRow& account);
  void forget(registry::Id account);

  // Is it tokens, what is sealed there? Then how to log in with them.
  static bool are_tokens(const Secret& opened);
  Result<client::TokenSource> source(registry::Id account, const std::string& host, const Secret& opened);

 private:
  struct Pending;
  struct Kept;
  Done keep(registry::Id account, const oauth2::Provider& provider, const oauth2::Tokens& tokens);
  void wait_for_device(const std::shared_ptr<Pending>& pending, const std::stop_token& stop);
  void settle(const std::shared_ptr<Pending>& pending, const Done& outcome);
  Result<oauth2::Provider> provider_for(const std::string& host, bool pop3, const ConsentRequest& request);

  registry::Registry& registry_;
  const registry::SecretBox& secrets_;
  const Clock& clock_;
  http::Options web_;
  const Allowed allowed_;
  std::mutex mutex_;
  std::map<registry::Id, std::shared_ptr<Pending>> pending_;
  std::map<registry::Id, std::shared_ptr<Kept>> kept_;
  std::map<registry::Id, std::string> gone_;  // why the consent is gone
  std::stop_source stop_;
};

}  // namespace mailhaul::service
