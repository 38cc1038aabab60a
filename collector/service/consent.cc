#include "collector/service/consent.h"

#include <algorithm>
#include <condition_variable>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "collector/service/runner.h"
#include "protocols/base/text.h"
#include "protocols/discovery/presets.h"

namespace mailhaul::service {

using nlohmann::json;
using registry::Id;

namespace {

// No password begins so: the API takes none with control characters in front.
constexpr std::string_view kMark = "\x01oauth ";
constexpr std::size_t kPendingAtOnce = 32;

Secret written(const oauth2::Provider& provider, const oauth2::Tokens& tokens) {
  auto text =
      std::string(kMark) + json{{"provider", provider.name},        {"token", provider.token},
                                {"scope", provider.scope},          {"hosts", provider.hosts},
                                {"client_id", provider.client.id},  {"client_secret", provider.client.secret.reveal()},
                                {"access", tokens.access.reveal()}, {"refresh", tokens.refresh.reveal()},
                                {"issued", tokens.issued},          {"life", tokens.life}}
                               .dump();
  Secret secret(text);
  wipe(text);
  return secret;
}

struct Document {
  oauth2::Provider provider;
  oauth2::Tokens tokens;
};

Result<Document> read(const Secret& opened) {
  const auto object = json::parse(std::string_view(opened.reveal()).substr(kMark.size()), nullptr, false);
  if (!object.is_object())
    return Error{Scope::Account, Retry::AfterUserAction, "the tokens cannot be read", "Allow the access again."};
  Document out;
  out.provider.name = object.value("provider", "");
  out.provider.token = object.value("token", "");
  out.provider.scope = object.value("scope", "");
  out.provider.hosts = object.value("hosts", std::vector<std::string>{});
  out.provider.client = {object.value("client_id", ""), Secret(object.value("client_secret", ""))};
  out.tokens = {Secret(object.value("access", "")), Secret(object.value("refresh", "")),
                object.value("issued", std::int64_t{0}), object.value("life", std::int64_t{0})};
  return out;
}

std::string variable(const std::string& provider, const char* name) {
  std::string part;
  for (const char c : provider)
    part += is_digit(c) || (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z') ? ascii_upper(c) : '_';
  const char* value = std::getenv(("MAILHAUL_OAUTH_" + part + "_CLIENT_" + name).c_str());
  return value != nullptr ? value : "";
}

}  // namespace

struct Consents::Pending {
  Id account = 0;
  oauth2::Provider provider;
  std::optional<oauth2::DeviceCode> device;
  std::optional<oauth2::Authorization> browser;
  std::mutex mutex;
  ConsentView view;
  std::jthread thread;  // asks the provider whether it has been allowed
};

// Tokens in the account's row.
struct Consents::Kept final : oauth2::TokenStore {
  Kept(Consents& owner, Id id, const oauth2::Provider& whose)
      : consents(owner), account(id), provider(whose), keeper(*this, whose, owner.web_, owner.clock_) {}
  Result<std::unique_ptr<Lock>> lock() override { return std::make_unique<Lock>(); }  // one keeper, one process
  Result<oauth2::Tokens> load() override {
    auto row = consents.registry_.account(account);
    if (!row) return row.error();
    if (!*row) return Error{Scope::Account, Retry::Never, "the account was removed", ""};
    auto opened = consents.secrets_.open_sealed((*row)->password, place_of_password(account));
    if (!opened) return opened.error();
    if (!are_tokens(*opened)) return Error{Scope::Account, Retry::Now, "the account has a password now", ""};
    auto document = read(*opened);
    if (!document) return document.error();
    provider = document->provider;
    return document->tokens;
  }
  Done save(const oauth2::Tokens& tokens) override { return consents.keep(account, provider, tokens); }
  Consents& consents;
  const Id account;
  oauth2::Provider provider;
  oauth2::TokenKeeper keeper;
};

Consents::Consents(registry::Registry& registry, const registry::SecretBox& secrets, const Clock& clock,
                   net::AddressGate gate, std::string certificates, Allowed allowed)
    : registry_(registry), secrets_(secrets), clock_(clock), allowed_(std::move(allowed)) {
  web_.gate = std::move(gate);
  web_.ca_file = std::move(certificates);
}

Consents::~Consents() { stop(); }

void Consents::stop() {
  stop_.request_stop();
  std::map<Id, std::shared_ptr<Pending>> all;
  {
    const std::lock_guard lock(mutex_);
    all.swap(pending_);
  }
  for (auto& [id, pending] : all) pending->thread = {};
}

bool Consents::are_tokens(const Secret& opened) { return std::string_view(opened.reveal()).starts_with(kMark); }

Done Consents::keep(Id account, const oauth2::Provider& provider, const oauth2::Tokens& tokens) {
  auto sealed = secrets_.seal(written(provider, tokens), place_of_password(account));
  if (!sealed) return sealed.error();
  return registry_.keep_password(account, *sealed);
}

Result<oauth2::Provider> Consents::provider_for(const std::string& host, bool pop3, const ConsentRequest& request) {
  Result<oauth2::Provider> provider = Error{};
  if (!request.issuer.empty()) {
    provider = oauth2::provider_by_metadata(request.issuer, web_, stop_.get_token());
    if (provider) provider->hosts = {host};
  } else {
    const auto* preset = discovery::preset_of_server(host);
    if (preset == nullptr)
      return Error{Scope::Account, Retry::AfterUserAction, "nothing is known of OAuth at " + printable(host),
                   "Name the provider: issuer."};
    provider = oauth2::provider_of(*preset, pop3);
  }
  if (!provider) return provider;
  if (!request.scope.empty()) provider->scope = request.scope;
  provider->client = {request.client_id, request.client_secret};
  if (request.client_id.empty())
    provider->client = {variable(provider->name, "ID"), Secret(variable(provider->name, "SECRET"))};
  if (provider->client.id.empty())
    return Error{Scope::Account, Retry::AfterUserAction, "no client id for " + provider->name,
                 "Register a client at the provider and give client_id, or the service's environment "
                 "MAILHAUL_OAUTH_…_CLIENT_ID."};
  return provider;
}

Outcome<ConsentView> Consents::begin(Id account, const std::string& host, bool pop3, const std::string& user,
                                     const ConsentRequest& request) {
  const auto refuse = [](const Error& error) {
    return Refusal{error.retry == Retry::Later ? Why::Trouble : Why::Invalid, error.what, error.advice, "issuer"};
  };
  auto pending = std::make_shared<Pending>();
  pending->account = account;
  auto provider = provider_for(host, pop3, request);
  if (!provider) return refuse(provider.error());
  pending->provider = *std::move(provider);
  pending->view = {.state = ConsentState::Waiting, .provider = pending->provider.name};
  if (request.flow == "device") {
    if (pending->provider.device.empty())
      return invalid("flow", pending->provider.name + " gives no device codes", "Use flow code, with a redirect.");
    auto code = oauth2::ask_device_code(pending->provider, web_, stop_.get_token());
    if (!code) return refuse(code.error());
    pending->view.url = code->url;
    pending->view.user_code = code->user_code;
    pending->view.url_complete = code->url_complete;
    pending->view.expires = clock_.unix_seconds() + code->life.count();
    pending->device = *std::move(code);
  } else {
    if (request.redirect.empty()) return invalid("redirect", "flow code needs a redirect");
    auto begun = oauth2::begin_authorization(pending->provider, request.redirect, user);
    if (!begun) return refuse(begun.error());
    pending->view.url = begun->url;
    pending->view.expires = clock_.unix_seconds() + 600;
    pending->browser = *std::move(begun);
  }
  const auto view = pending->view;
  std::shared_ptr<Pending> before;
  {
    const std::lock_guard lock(mutex_);
    std::erase_if(pending_, [&](const auto& one) {
      const std::lock_guard hold(one.second->mutex);
      return one.second->view.state != ConsentState::Waiting && one.first != account;
    });
    if (pending_.size() >= kPendingAtOnce)
      return Refusal{Why::TooMany, "too many people are asked at once", "Try again later.", "", 60};
    before = std::exchange(pending_[account], pending);
  }
  if (before) before->thread = {};
  if (pending->device)
    pending->thread = std::jthread([this, raw = std::weak_ptr(pending)](const std::stop_token& stop) {
      if (const auto mine = raw.lock()) wait_for_device(mine, stop);
    });
  return view;
}

void Consents::wait_for_device(const std::shared_ptr<Pending>& pending, const std::stop_token& stop) {
  std::mutex mutex;
  std::condition_variable_any changed;
  const auto end = clock_.steady() + pending->device->life;
  while (clock_.steady() < end) {
    {
      std::unique_lock lock(mutex);
      changed.wait_for(lock, stop, pending->device->interval, [] { return false; });
    }
    if (stop.stop_requested()) return;
    auto tokens = oauth2::poll_device(pending->provider, *pending->device, web_, stop, clock_);
    if (stop.stop_requested()) return;
    if (!tokens && tokens.error().retry == Retry::Later) continue;  // RFC 8628 §3.5
    if (!tokens) return settle(pending, tokens.error());
    if (*tokens) return settle(pending, keep(pending->account, pending->provider, **tokens));
  }
  settle(pending, Error{Scope::Account, Retry::AfterUserAction, "nobody allowed the access in time", "Begin again."});
}

void Consents::settle(const std::shared_ptr<Pending>& pending, const Done& outcome) {
  {
    const std::lock_guard lock(pending->mutex);
    auto& view = pending->view;
    view = {.state = outcome ? ConsentState::Allowed : ConsentState::Failed, .provider = view.provider};
    if (!outcome) {
      view.error = outcome.error().what;
      view.advice = outcome.error().advice;
    }
  }
  if (!outcome) return;
  {
    const std::lock_guard lock(mutex_);
    kept_.erase(pending->account);
    gone_.erase(pending->account);
  }
  allowed_(pending->account);
}

Outcome<ConsentView> Consents::finish(Id account, const std::string& query) {
  std::shared_ptr<Pending> pending;
  {
    const std::lock_guard lock(mutex_);
    if (const auto it = pending_.find(account); it != pending_.end()) pending = it->second;
  }
  if (!pending || !pending->browser) return Refusal{Why::Conflict, "nobody was asked in a browser", "Begin again."};
  auto tokens =
      oauth2::finish_authorization(pending->provider, *pending->browser, query, web_, stop_.get_token(), clock_);
  if (!tokens) {
    if (tokens.error().retry != Retry::Later && oauth2::answers(*pending->browser, query))
      settle(pending, tokens.error());  // a person said no: whoever waits for the answer has it
    return invalid("query", tokens.error().what, tokens.error().advice);
  }
  settle(pending, keep(account, pending->provider, *tokens));
  const std::lock_guard lock(pending->mutex);
  return pending->view;
}

ConsentView Consents::view(const registry::AccountRow& account) {
  std::shared_ptr<Pending> pending;
  ConsentView out;
  {
    const std::lock_guard lock(mutex_);
    if (const auto it = pending_.find(account.id); it != pending_.end()) pending = it->second;
    if (const auto it = gone_.find(account.id); it != gone_.end())
      out = {.state = ConsentState::Needed, .error = it->second};
  }
  if (pending) {
    const std::lock_guard lock(pending->mutex);
    if (pending->view.state == ConsentState::Waiting || pending->view.state == ConsentState::Failed)
      return pending->view;
  }
  if (account.password.empty()) return out;
  auto opened = secrets_.open_sealed(account.password, place_of_password(account.id));
  if (!opened || !are_tokens(*opened)) return out.state == ConsentState::Needed ? ConsentView{} : out;
  if (auto document = read(*opened)) out.provider = document->provider.name;
  if (out.state == ConsentState::None) out.state = ConsentState::Allowed;
  if (out.state == ConsentState::Needed) out.advice = "Allow the access again.";
  return out;
}

void Consents::forget(Id account) {
  std::shared_ptr<Pending> pending;
  {
    const std::lock_guard lock(mutex_);
    if (const auto it = pending_.find(account); it != pending_.end()) {
      pending = it->second;
      pending_.erase(it);
    }
    kept_.erase(account);
    gone_.erase(account);
  }
  if (pending) pending->thread = {};
}

Result<client::TokenSource> Consents::source(Id account, const std::string& host, const Secret& opened) {
  auto document = read(opened);
  if (!document) return document.error();
  const auto& hosts = document->provider.hosts;
  if (std::ranges::none_of(hosts, [&](const std::string& own) { return equal_ignoring_case(own, host); }))
    return Error{Scope::Account, Retry::AfterUserAction, "the tokens are not for " + printable(host),
                 "Allow the access again."};
  std::shared_ptr<Kept> kept;
  {
    const std::lock_guard lock(mutex_);
    auto& there = kept_[account];
    if (!there) there = std::make_shared<Kept>(*this, account, document->provider);
    kept = there;
  }
  return client::TokenSource([this, kept](const Secret& refused) {
    auto token = kept->keeper.access(refused, stop_.get_token());
    if (token || !oauth2::consent_gone(token.error())) return token;
    const std::lock_guard lock(mutex_);
    gone_[kept->account] = token.error().what;
    auto error = token.error();
    error.advice =
        "Allow the access again, at the account (POST /accounts/" + std::to_string(kept->account) + "/consent).";
    return Result<Secret>(error);
  });
}

}  // namespace mailhaul::service
