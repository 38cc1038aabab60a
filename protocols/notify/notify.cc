#include "protocols/notify/notify.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <utility>

#include "protocols/http/http.h"
#include "protocols/notify/mail_text.h"
#include "protocols/notify/submission.h"
#include "protocols/notify/webhook.h"

namespace mailhaul::notify {
namespace {

constexpr int kGone = 410;

Error wrong(std::string what, std::string advice = "") {
  return {Scope::Account, Retry::AfterUserAction, std::move(what), std::move(advice)};
}

// Only success is a receipt; the body of the answer is not looked at.
Done post(http::Request request, const Place& place, const Options& options, const std::stop_token& stop) {
  http::Options how;
  how.timeout = options.timeout;
  how.redirects = 0;
  how.plain_http = place.allow_plaintext;
  how.ca = place.ca;
  how.gate = options.gate;
  request.url = place.url;
  request.content_type = "application/json";
  request.secret = true;
  const auto parts = parse_url(place.url);
  if (!parts) return wrong("not a web address");
  auto answer = http::fetch(request, how, stop);
  if (!answer) {
    auto error = answer.error();
    const auto address = printable(place.url.substr(0, place.url.find_first_of("?#")));
    if (error.what.starts_with(address)) error.what.replace(0, address.size(), printable(parts->host));
    error.retry = Retry::Later;
    return error;
  }
  if (answer->status >= 200 && answer->status < 300) return done();
  const auto retry = answer->status == kGone ? Retry::Never : Retry::Later;
  return Error{Scope::Account, retry, printable(parts->host) + ": status " + std::to_string(answer->status), ""};
}

Done send_webhook(const Message& message, const Place& place, const Options& options, const std::stop_token& stop) {
  const auto key = webhook_key(place.secret.reveal());
  if (!key) return wrong("the webhook's secret cannot be used");
  http::Request request;
  request.body = webhook_body(message);
  request.headers = {{"webhook-id", message.id},
                     {"webhook-timestamp", std::to_string(options.now)},
                     {"webhook-signature", webhook_signature(*key, message.id, options.now, request.body)}};
  return post(std::move(request), place, options, stop);
}

// docs.ntfy.sh/publish: as JSON to the server, because header fields hold no other alphabets.
Done send_ntfy(const Message& message, const Place& place, const Options& options, const std::stop_token& stop) {
  constexpr int kHigh = 4, kDefault = 3;
  const auto topic = place.url.rfind('/');
  const nlohmann::json body{{"topic", place.url.substr(topic + 1)},
                            {"title", message.title},
                            {"message", message.text},
                            {"priority", message.urgent ? kHigh : kDefault}};
  auto server = place;
  server.url.erase(topic + 1);
  http::Request request;
  request.body = body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  request.bearer = place.secret;
  return post(std::move(request), server, options, stop);
}

Done check_web(const Place& place, const ServerUrl& url) {
  if (url.scheme != "https" && url.scheme != "http") return wrong("a web address begins with https://");
  if (url.scheme == "http" && !place.allow_plaintext)
    return wrong("http:// is not protected", "Use https://, or allow plaintext for a server of your own network.");
  if (!url.user.empty()) return wrong("a web address without credentials in it");
  if (place.kind == Kind::Ntfy &&
      (url.path.size() < 2 || url.path.ends_with('/') || url.path.find_first_of("?#%") != std::string::npos))
    return wrong("an ntfy address ends with a topic", "For example https://ntfy.sh/my-topic.");
  if (place.kind == Kind::Webhook && !webhook_key(place.secret.reveal()))
    return wrong("a webhook's secret is whsec_ and the base64 of 24 to 64 octets", "Leave it out to have one made.");
  return done();
}

Done check_mail(const Place& place, const ServerUrl& url) {
  if (url.scheme != "smtps" && url.scheme != "smtp")
    return wrong("a mail server's address begins with smtps:// or smtp://");
  if (url.path.size() > 1) return wrong("a mail server's address has nothing behind the host and its port");
  if (!is_mail_address(place.from) || !is_mail_address(place.to))
    return wrong("mail needs a sender and a recipient, such as you@example.org");
  return done();
}

}  // namespace

std::optional<ServerUrl> parse_url(std::string_view url) {
  const auto colon = url.find("://");
  if (colon == std::string_view::npos || std::ranges::any_of(url, [](char c) { return c <= ' ' || c >= 0x7f; }))
    return std::nullopt;
  ServerUrl out;
  out.scheme = url.substr(0, colon);
  url.remove_prefix(colon + 3);
  const auto slash = std::min(url.find_first_of("/?#"), url.size());
  out.path = url.substr(slash);
  auto host = url.substr(0, slash);
  if (const auto at = host.rfind('@'); at != std::string_view::npos) {
    out.user = host.substr(0, at);
    host.remove_prefix(at + 1);
  }
  const auto bracket = host.find(']');
  const auto port = host.find(':', host.starts_with('[') && bracket != std::string_view::npos ? bracket : 0);
  if (port != std::string_view::npos) {
    const auto digits = host.substr(port + 1);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), out.port);
    if (error != std::errc() || end != digits.data() + digits.size() || out.port == 0 || out.port > 65535)
      return std::nullopt;
    host = host.substr(0, port);
  }
  out.host = host;
  if (out.host.empty()) return std::nullopt;
  return out;
}

Done check(const Place& place) {
  const auto url = parse_url(place.url);
  if (!url) return wrong("not an address", "For example https://example.org/hook, or smtps://you@mail.example.org.");
  return place.kind == Kind::Mail ? check_mail(place, *url) : check_web(place, *url);
}

Done send(const Message& message, const Place& place, const Options& options, const std::stop_token& stop) {
  if (auto fine = check(place); !fine) return fine;
  switch (place.kind) {
    case Kind::Webhook:
      return send_webhook(message, place, options, stop);
    case Kind::Ntfy:
      return send_ntfy(message, place, options, stop);
    case Kind::Mail:
      break;
  }
  return submit(mail_text(message, place.from, place.to), place, options, stop);
}

}  // namespace mailhaul::notify
