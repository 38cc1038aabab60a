// Access tokens for whoever logs in: kept, renewed in time, by one at a time. Thread-safe.
#pragma once
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>

#include "protocols/base/result.h"
#include "protocols/base/types.h"
#include "protocols/oauth2/oauth2.h"

namespace mailhaul::oauth2 {

// Where an account's tokens are; given by the caller (a file, a sealed row). Called under the keeper's lock.
class TokenStore {
 public:
  virtual ~TokenStore() = default;
  // Held while tokens are read, renewed and saved: nobody else, in another process either, renews meanwhile. A refresh
  // token that is used twice costs the consent where the provider rotates them.
  class Lock {
   public:
    virtual ~Lock() = default;
  };
  virtual Result<std::unique_ptr<Lock>> lock() = 0;
  virtual Result<Tokens> load() = 0;
  virtual Done save(const Tokens& tokens) = 0;  // durable when it returns
};

class TokenKeeper {
 public:
  // `store`, `clock`: outlive the keeper.
  TokenKeeper(TokenStore& store, Provider provider, http::Options web, const Clock& clock = system_clock())
      : store_(store), provider_(std::move(provider)), web_(std::move(web)), clock_(clock) {}

  // A token for the next login, as client::TokenSource has it: another one than `refused`, which a server has just not
  // accepted. Saved before it is given out. An outage of the provider is no Error while the token at hand still lives.
  Result<Secret> access(const Secret& refused, const std::stop_token& stop);

 private:
  TokenStore& store_;
  Provider provider_;
  http::Options web_;
  const Clock& clock_;
  std::mutex mutex_;
  std::optional<Tokens> tokens_;
};

}  // namespace mailhaul::oauth2
