#include "protocols/oauth2/keeper.h"

#include <utility>

namespace mailhaul::oauth2 {

Result<Secret> TokenKeeper::access(const Secret& refused, const std::stop_token& stop) {
  const std::lock_guard guard(mutex_);
  const auto usable = [&](const Tokens& tokens) {
    return tokens.fresh(clock_.unix_seconds()) && (refused.empty() || tokens.access.reveal() != refused.reveal());
  };
  if (tokens_ && usable(*tokens_)) return tokens_->access;
  auto lock = store_.lock();
  if (!lock) return lock.error();
  Result<Tokens> stored = store_.load();  // somebody else may have renewed it
  if (!stored) return stored.error();
  tokens_ = *stored;
  if (usable(*tokens_)) return tokens_->access;

  Result<Tokens> renewed = renew(provider_, *tokens_, web_, stop, clock_);
  if (!renewed) {
    const std::int64_t age = clock_.unix_seconds() - tokens_->issued;
    const bool lives = age >= 0 && age < tokens_->life && refused.empty() && !tokens_->access.empty();
    if (renewed.error().retry == Retry::Later && lives) return tokens_->access;
    return renewed.error();
  }
  // The old refresh token may be worth nothing from now on.
  if (Done saved = store_.save(*renewed); !saved) return saved.error().in("save the new tokens");
  tokens_ = *std::move(renewed);
  return tokens_->access;
}

}  // namespace mailhaul::oauth2
