#include "collector/authorize_command.h"

#include <qrencode.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>

#include "collector/loopback_redirect.h"
#include "collector/token_file.h"
#include "protocols/base/text.h"

namespace mailhaul::collector {
namespace {

using nlohmann::ordered_json;

Error usage(std::string what, std::string advice = "") {
  return {Scope::Service, Retry::AfterUserAction, std::move(what), std::move(advice)};
}

// "google" → GOOGLE, "https://op.example.org" → OP_EXAMPLE_ORG
std::string variable_part(const std::string& provider) {
  std::string out;
  for (const char c : provider.substr(provider.find("//") == std::string::npos ? 0 : provider.find("//") + 2))
    out += (is_digit(c) || (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z')) ? ascii_upper(c) : '_';
  while (out.ends_with('_')) out.pop_back();
  return out;
}

Result<Secret> first_line(const std::string& path) {
  std::ifstream in(path);
  std::string line;
  if (!in || !std::getline(in, line)) return usage("the file " + path + " cannot be read");
  Secret secret(line);
  wipe(line);
  return secret;
}

// From the options, else MAILHAUL_OAUTH_<PROVIDER>_CLIENT_ID and _CLIENT_SECRET or _CLIENT_SECRET_FILE.
Done configure_client(const AuthorizeRequest& request, oauth2::Provider& provider) {
  const std::string prefix = "MAILHAUL_OAUTH_" + variable_part(provider.name) + "_CLIENT_";
  const auto variable = [&](const char* name) {
    const char* value = std::getenv((prefix + name).c_str());
    return std::string(value != nullptr ? value : "");
  };
  provider.client.id = request.client_id.empty() ? variable("ID") : request.client_id;
  if (provider.client.id.empty())
    return usage("no client id for " + provider.name,
                 "Register a client at the provider; then use --client-id ID or the variable " + prefix + "ID.");
  std::string file = request.client_secret_file;
  if (file.empty()) file = variable("SECRET_FILE");
  if (file.empty()) {
    provider.client.secret = Secret(variable("SECRET"));
    return done();
  }
  Result<Secret> secret = first_line(file);
  if (!secret) return secret.error();
  provider.client.secret = *std::move(secret);
  return done();
}

http::Options web_options(const AuthorizeRequest& request) {
  http::Options web;
  web.ca_file = request.account.ca_file;
  web.proxy = request.account.proxy;
  web.gate = request.account.gate;
  return web;
}

Result<oauth2::Provider> find_provider(const AuthorizeRequest& request, const http::Options& web,
                                       const std::stop_token& stop) {
  if (!request.issuer.empty()) {
    if (request.hosts.empty()) return usage("--issuer needs --host: the mail server that its tokens are for");
    auto provider = oauth2::provider_by_metadata(request.issuer, web, stop);
    if (!provider) return provider;
    provider->hosts = request.hosts;
    provider->scope = request.scope;
    return provider;
  }
  const auto address = discovery::ascii_address(request.account.address);
  if (!address) return address.error();
  const discovery::Preset* preset = discovery::preset_of_domain(address->substr(address->rfind('@') + 1));
  if (preset == nullptr) {
    const auto findings = discover(request.account, {}, stop);
    if (!findings) return findings.error();
    preset = findings->provider;
  }
  if (preset == nullptr)
    return usage("the provider of " + *address + " is not known", "Name it: --issuer https://… --host MAILSERVER.");
  auto provider = oauth2::provider_of(*preset, request.pop3);
  if (provider && !request.scope.empty()) provider->scope = request.scope;
  return provider;
}

void show(const AuthorizeRequest& request, const oauth2::DeviceCode& code) {
  if (request.json) {
    std::puts(ordered_json{{"verification_uri", code.url},
                           {"verification_uri_complete", code.url_complete},
                           {"user_code", code.user_code},
                           {"expires_in", code.life.count()}}
                  .dump()
                  .c_str());
  } else {
    std::printf("Open %s on any machine and enter the code\n\n    %s\n\n", code.url.c_str(), code.user_code.c_str());
    if (isatty(STDOUT_FILENO) != 0 && !code.url_complete.empty())
      std::printf("or show this to your telephone:\n\n%s\n", qr_text(code.url_complete).c_str());
  }
  std::fflush(stdout);
}

Result<oauth2::Tokens> by_code(const AuthorizeRequest& request, const oauth2::Provider& provider,
                               const http::Options& web, const std::stop_token& stop) {
  auto code = oauth2::ask_device_code(provider, web, stop);
  if (!code) return code.error();
  show(request, *code);
  std::mutex mutex;
  std::condition_variable_any changed;
  const auto end = std::chrono::steady_clock::now() + code->life;
  while (std::chrono::steady_clock::now() < end) {
    {
      std::unique_lock lock(mutex);
      changed.wait_for(lock, stop, code->interval, [] { return false; });
    }
    if (stop.stop_requested()) return Error{Scope::Service, Retry::Now, "stopped", ""};
    auto tokens = oauth2::poll_device(provider, *code, web, stop);
    if (!tokens && tokens.error().retry == Retry::Later) continue;  // RFC 8628 §3.5: an outage is no answer
    if (!tokens) return tokens.error();
    if (*tokens) return **std::move(tokens);
  }
  return usage("nobody allowed the access in time", "Begin again.");
}

Result<oauth2::Tokens> by_browser(const AuthorizeRequest& request, const oauth2::Provider& provider,
                                  const http::Options& web, const std::stop_token& stop) {
  auto way_back = LoopbackRedirect::open();
  if (!way_back) return way_back.error();
  const auto begun = oauth2::begin_authorization(provider, way_back->url(), request.account.address);
  if (!begun) return begun.error();
  if (request.json)
    std::puts(ordered_json{{"authorization_url", begun->url}}.dump().c_str());
  else
    std::printf("Open this in the browser of this machine:\n\n%s\n\n", begun->url.c_str());
  std::fflush(stdout);
  const auto query = way_back->wait(std::chrono::seconds(600), stop);
  if (!query) return query.error();
  return oauth2::finish_authorization(provider, *begun, *query, web, stop);
}

Done authorize(const AuthorizeRequest& request, const std::stop_token& stop, std::string& path) {
  path = request.token_file.empty() ? default_token_file(request.account.address) : request.token_file;
  if (path.empty()) return usage("there is no home directory to keep the tokens in", "Use --token-file FILE.");
  const http::Options web = web_options(request);
  auto provider = find_provider(request, web, stop);
  if (!provider) return provider.error();
  if (Done configured = configure_client(request, *provider); !configured) return configured;
  const bool by_device = !provider->device.empty() && !request.browser;
  auto tokens = by_device ? by_code(request, *provider, web, stop) : by_browser(request, *provider, web, stop);
  if (!tokens) return tokens.error();
  return write_token_file(path, {request.account.address, *provider, *tokens});
}

}  // namespace

std::string qr_text(const std::string& text) {
  const std::unique_ptr<QRcode, void (*)(QRcode*)> code(QRcode_encodeString8bit(text.c_str(), 0, QR_ECLEVEL_L),
                                                        QRcode_free);
  if (!code) return {};
  const int width = code->width;
  // Light where nothing is, two modules of it around; one character is two modules high.
  const auto dark = [&](int x, int y) {
    return x >= 0 && y >= 0 && x < width && y < width && (code->data[y * width + x] & 1) != 0;
  };
  std::string out;
  for (int y = -2; y < width + 2; y += 2) {
    for (int x = -2; x < width + 2; ++x)
      out += dark(x, y) ? (dark(x, y + 1) ? " " : "\u2584") : (dark(x, y + 1) ? "\u2580" : "\u2588");
    out += '\n';
  }
  return out;
}

int run_authorize(const AuthorizeRequest& request, const std::stop_token& stop) {
  std::string path;
  const Done allowed = authorize(request, stop, path);
  if (allowed) {
    if (request.json)
      std::puts(ordered_json{{"allowed", true}, {"token_file", path}}.dump().c_str());
    else
      std::printf("The access is allowed; the tokens are in %s.\n", path.c_str());
    return 0;
  }
  const Error& error = allowed.error();
  std::fprintf(stderr, "mailhaul: %s%s%s\n", error.what.c_str(), error.advice.empty() ? "" : "; ",
               error.advice.c_str());
  return error.scope == Scope::Service ? (error.retry == Retry::AfterUserAction ? 2 : 3) : 1;
}

}  // namespace mailhaul::collector
