#include "protocols/oauth2/oauth2.h"

#include <openssl/evp.h>
#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "protocols/base/text.h"

namespace mailhaul::oauth2 {
namespace {

using nlohmann::json;

constexpr std::string_view kGone = "the access is not allowed any more";
constexpr std::int64_t kLongestLife = 366LL * 86'400;

Error refused(std::string what, std::string advice = "") {
  return {Scope::Account, Retry::AfterUserAction, std::move(what), std::move(advice)};
}
Error later(std::string what) { return {Scope::Account, Retry::Later, std::move(what), ""}; }

std::string text_of(const json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

// Some providers write numbers as text.
std::int64_t number_of(const json& object, const char* name, std::int64_t otherwise) {
  const auto found = object.find(name);
  std::int64_t value = otherwise;
  if (found == object.end()) return value;
  if (found->is_number_integer()) value = found->get<std::int64_t>();
  if (found->is_string()) {
    value = 0;
    for (const char c : found->get<std::string>()) {
      if (!is_digit(c) || value > kLongestLife) return otherwise;
      value = value * 10 + (c - '0');
    }
  }
  return std::clamp<std::int64_t>(value, 0, kLongestLife);
}

json parsed(std::string_view text) {
  // Nesting is bounded, as nobody needs it here.
  const auto shallow = [](int depth, json::parse_event_t, json&) { return depth < 8; };
  return json::parse(text, shallow, false);
}

std::string url_base64(std::string_view octets) {  // RFC 4648 §5, without padding
  std::string out = base64(octets);
  std::replace(out.begin(), out.end(), '+', '-');
  std::replace(out.begin(), out.end(), '/', '_');
  while (out.ends_with('=')) out.pop_back();
  return out;
}

Result<std::string> fresh_text() {
  std::array<unsigned char, 32> octets{};
  if (RAND_bytes(octets.data(), static_cast<int>(octets.size())) != 1)
    return Error{Scope::Service, Retry::Later, "this machine has no random numbers", ""};
  return url_base64({reinterpret_cast<const char*>(octets.data()), octets.size()});
}

std::string sha256(const std::string& text) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_sha256(), nullptr);
  return {reinterpret_cast<const char*>(digest.data()), size};
}

bool on_this_machine(std::string_view url) {
  for (const std::string_view start :
       {"http://127.0.0.1:", "http://localhost:", "http://127.0.0.1/", "http://localhost/"})
    if (url.starts_with(start)) return true;
  return false;
}
bool may_be_asked(std::string_view url) { return url.starts_with("https://") || on_this_machine(url); }

using Fields = std::vector<std::pair<std::string, std::string>>;

// A form with the client's credentials, to an endpoint that keeps them.
Result<http::Response> post(const Provider& provider, const std::string& url, Fields fields, const http::Options& web,
                            const std::stop_token& stop) {
  if (provider.client.id.empty())
    return refused("no client id is configured for " + printable(provider.name),
                   "Register a client at the provider, and configure its id.");
  if (!may_be_asked(url)) return refused("the provider's endpoint is not on https");
  fields.emplace_back("client_id", provider.client.id);
  if (!provider.client.secret.empty()) fields.emplace_back("client_secret", provider.client.secret.reveal());
  http::Request request;
  request.url = url;
  request.body = http::form(fields);
  request.content_type = "application/x-www-form-urlencoded";
  request.accept = "application/json";
  request.secret = true;
  for (auto& [name, value] : fields) wipe(value);
  http::Options options = web;
  options.plain_http = on_this_machine(url);
  Result<http::Response> response = http::fetch(request, options, stop);
  wipe(request.body);
  return response;
}

// RFC 6749 §5.2, RFC 8628 §3.5
Error error_of(int status, const json& answer) {
  const std::string code = printable(text_of(answer, "error"), 60);
  const std::string detail = printable(text_of(answer, "error_description"), 200);
  const std::string said =
      code.empty() ? "HTTP status " + std::to_string(status) : code + (detail.empty() ? "" : " (" + detail + ")");
  if (status >= 500 || status == 429 || code == "temporarily_unavailable" || code == "server_error" ||
      code == "slow_down")
    return later("the provider cannot do it now: " + said);
  if (code == "invalid_grant" || code == "consent_required" || code == "interaction_required" ||
      code == "login_required")
    return refused(std::string(kGone) + ": " + said, "Allow it again: mailhaul authorize ADDRESS.");
  if (code == "access_denied") return refused("the access was denied: " + said);
  if (code == "expired_token") return refused("the code has expired", "Begin again.");
  if (code == "invalid_client" || code == "unauthorized_client")
    return refused("the provider does not accept the client: " + said, "Check the client's id and secret.");
  if (code.empty() && status < 400) return later("the provider's answer is not understood");
  return refused("the provider refuses: " + said);
}

Provider with_tenant(Provider provider, const std::string& tenant) {
  for (std::string* url : {&provider.authorization, &provider.token, &provider.device})
    if (const auto at = url->find("{tenant}"); at != std::string::npos) url->replace(at, 8, tenant);
  return provider;
}

}  // namespace

bool Tokens::fresh(std::int64_t now) const {
  if (access.empty()) return false;
  if (life == 0) return true;
  return now >= issued && now - issued < life * 4 / 5;
}

bool consent_gone(const Error& error) { return error.what.find(kGone) != std::string::npos; }

Result<Provider> provider_of(const discovery::Preset& preset, bool pop3) {
  if (!preset.oauth) return refused(preset.name + " is not known to do OAuth", "Use a password for this account.");
  const discovery::OAuth& known = *preset.oauth;
  Provider provider{known.issuer,
                    known.authorization,
                    known.token,
                    known.device,
                    pop3 && !known.pop3_scope.empty() ? known.pop3_scope : known.scope,
                    known.extra,
                    {},
                    {}};
  for (const auto& server : preset.servers)
    if (std::find(provider.hosts.begin(), provider.hosts.end(), server.host) == provider.hosts.end())
      provider.hosts.push_back(server.host);
  return with_tenant(std::move(provider), known.tenant.empty() ? "common" : known.tenant);
}

Result<Provider> provider_by_metadata(const std::string& issuer, const http::Options& web,
                                      const std::stop_token& stop) {
  if (!may_be_asked(issuer)) return refused("an issuer is an address on https");
  std::string base = issuer;
  while (base.ends_with('/')) base.pop_back();
  // RFC 8414 §3.1 puts the path of the issuer behind the well-known name, OpenID Connect before it.
  const auto path_at = base.find('/', base.find("//") + 2);
  const std::string origin = base.substr(0, path_at), path = path_at == std::string::npos ? "" : base.substr(path_at);
  http::Options options = web;
  options.plain_http = on_this_machine(issuer);
  Error last = refused("no metadata");
  std::array<std::string, 2> places{base, origin};
  places[0] += "/.well-known/openid-configuration";
  places[1].append("/.well-known/oauth-authorization-server").append(path);
  for (const std::string& url : places) {
    const auto response = http::fetch({url}, options, stop);
    if (!response) {
      last = response.error();
      continue;
    }
    const json document = parsed(response->body);
    if (response->status != 200 || !document.is_object()) {
      last = refused(printable(url) + ": no metadata there");
      continue;
    }
    std::string named = text_of(document, "issuer");
    while (named.ends_with('/')) named.pop_back();
    if (named != base) return refused("the metadata is of another issuer: " + printable(named));  // RFC 8414 §3.3
    Provider provider;
    provider.name = issuer;
    provider.authorization = text_of(document, "authorization_endpoint");
    provider.token = text_of(document, "token_endpoint");
    provider.device = text_of(document, "device_authorization_endpoint");
    for (std::string* endpoint : {&provider.authorization, &provider.token, &provider.device})
      if (!endpoint->empty() && !may_be_asked(*endpoint))
        return refused("the metadata names an endpoint that is not on https");
    if (provider.token.empty()) return refused("the metadata names no token endpoint");
    return provider;
  }
  return last;
}

Result<Tokens> read_tokens(int status, std::string_view text, const Tokens& old, std::int64_t now) {
  const json answer = parsed(text);
  if (!answer.is_object())
    return status < 400 ? later("the provider's answer is not understood") : error_of(status, json::object());
  if (status >= 300 || answer.contains("error")) return error_of(status, answer);
  Tokens tokens;
  tokens.access = Secret(text_of(answer, "access_token"));
  tokens.refresh = Secret(text_of(answer, "refresh_token"));
  if (tokens.access.empty()) return later("the provider's answer holds no access token");
  const std::string type = text_of(answer, "token_type");
  if (!type.empty() && !equal_ignoring_case(type, "bearer"))  // RFC 6749 §7.1
    return refused("the provider gives tokens of a kind that is not known here: " + printable(type, 40));
  if (tokens.refresh.empty()) tokens.refresh = old.refresh;
  tokens.issued = now;
  tokens.life = number_of(answer, "expires_in", 0);
  return tokens;
}

Result<DeviceCode> ask_device_code(const Provider& provider, const http::Options& web, const std::stop_token& stop) {
  const std::string where = "ask " + printable(provider.name) + " for a code";
  if (provider.device.empty()) return refused("it has no device authorization").in(where);
  const auto response = post(provider, provider.device, {{"scope", provider.scope}}, web, stop);
  if (!response) return response.error().in(where);
  const json answer = parsed(response->body);
  if (!answer.is_object() || response->status >= 300 || answer.contains("error"))
    return error_of(response->status, answer.is_object() ? answer : json::object()).in(where);
  DeviceCode code;
  code.code = Secret(text_of(answer, "device_code"));
  code.user_code = printable(text_of(answer, "user_code"), 40);
  code.url = text_of(answer, "verification_uri");
  if (code.url.empty()) code.url = text_of(answer, "verification_url");  // Google's older name for it
  code.url_complete = text_of(answer, "verification_uri_complete");
  code.life = std::chrono::seconds(number_of(answer, "expires_in", 600));
  code.interval = std::chrono::seconds(std::clamp<std::int64_t>(number_of(answer, "interval", 5), 1, 300));
  // A person is going to open these.
  const auto shown = [](const std::string& url) { return may_be_asked(url) && printable(url, 2000) == url; };
  if (code.code.empty() || code.user_code.empty() || !shown(code.url))
    return refused("the answer is not understood").in(where);
  if (!shown(code.url_complete)) code.url_complete.clear();
  return code;
}

Result<std::optional<Tokens>> poll_device(const Provider& provider, DeviceCode& code, const http::Options& web,
                                          const std::stop_token& stop, const Clock& clock) {
  const std::int64_t now = clock.unix_seconds();
  const auto response = post(
      provider, provider.token,
      {{"grant_type", "urn:ietf:params:oauth:grant-type:device_code"}, {"device_code", code.code.reveal()}}, web, stop);
  if (!response) return response.error();
  const json answer = parsed(response->body);
  const std::string error = answer.is_object() ? text_of(answer, "error") : "";
  if (error == "authorization_pending") return std::optional<Tokens>();
  if (error == "slow_down") {  // RFC 8628 §3.5
    code.interval += std::chrono::seconds(5);
    return std::optional<Tokens>();
  }
  Result<Tokens> tokens = read_tokens(response->status, response->body, {}, now);
  if (!tokens) return tokens.error();
  return std::optional<Tokens>(*std::move(tokens));
}

Result<Authorization> begin_authorization(const Provider& provider, const std::string& redirect,
                                          const std::string& login_hint) {
  if (provider.authorization.empty() || !may_be_asked(provider.authorization))
    return refused(printable(provider.name) + " has no place where a person could allow the access");
  if (provider.client.id.empty())
    return refused("no client id is configured for " + printable(provider.name),
                   "Register a client at the provider, and configure its id.");
  Result<std::string> state = fresh_text(), verifier = fresh_text();
  if (!state || !verifier) return refused("this machine has no random numbers");
  Authorization begun{"", redirect, *state, Secret(*verifier)};
  Fields fields{{"response_type", "code"},
                {"client_id", provider.client.id},
                {"redirect_uri", redirect},
                {"scope", provider.scope},
                {"state", begun.state},
                {"code_challenge", url_base64(sha256(begun.verifier.reveal()))},  // RFC 7636 §4.2
                {"code_challenge_method", "S256"}};
  if (!login_hint.empty()) fields.emplace_back("login_hint", login_hint);
  begun.url = provider.authorization + (provider.authorization.find('?') == std::string::npos ? "?" : "&") +
              http::form(fields) + (provider.extra.empty() ? "" : "&" + provider.extra);
  return begun;
}

namespace {

std::string field_of(std::string_view query, std::string_view name) {
  while (!query.empty()) {
    const std::string_view field = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(field.size() + 1, query.size()));
    if (field.starts_with(name) && field.size() > name.size() && field[name.size()] == '=')
      return http::percent_decoded(field.substr(name.size() + 1));
  }
  return "";
}

}  // namespace

bool answers(const Authorization& begun, std::string_view query) { return field_of(query, "state") == begun.state; }

Result<Tokens> finish_authorization(const Provider& provider, const Authorization& begun, std::string_view query,
                                    const http::Options& web, const std::stop_token& stop, const Clock& clock) {
  const auto value = [&](std::string_view name) { return field_of(query, name); };
  const std::string where = "allow the access at " + printable(provider.name);
  // RFC 6749 §10.12: an answer that was not asked for is somebody else's.
  if (!answers(begun, query)) return refused("the answer belongs to another request").in(where);
  if (const std::string error = value("error"); !error.empty())
    return error_of(400, json{{"error", error}, {"error_description", value("error_description")}}).in(where);
  std::string code = value("code");
  if (code.empty()) return refused("the answer holds no code").in(where);
  const std::int64_t now = clock.unix_seconds();
  const auto response = post(provider, provider.token,
                             {{"grant_type", "authorization_code"},
                              {"code", code},
                              {"redirect_uri", begun.redirect},
                              {"code_verifier", begun.verifier.reveal()}},
                             web, stop);
  wipe(code);
  if (!response) return response.error().in(where);
  Result<Tokens> tokens = read_tokens(response->status, response->body, {}, now);
  return tokens ? tokens : tokens.error().in(where);
}

Result<Tokens> renew(const Provider& provider, const Tokens& old, const http::Options& web, const std::stop_token& stop,
                     const Clock& clock) {
  const std::string where = "renew the access at " + printable(provider.name);
  if (old.refresh.empty())
    return refused(std::string(kGone) + ": there is no refresh token", "Allow it again: mailhaul authorize ADDRESS.")
        .in(where);
  const std::int64_t now = clock.unix_seconds();  // before the question: the life is counted from the earliest moment
  const auto response = post(provider, provider.token,
                             {{"grant_type", "refresh_token"}, {"refresh_token", old.refresh.reveal()}}, web, stop);
  if (!response) return response.error().in(where);
  Result<Tokens> tokens = read_tokens(response->status, response->body, old, now);
  return tokens ? tokens : tokens.error().in(where);
}

}  // namespace mailhaul::oauth2
