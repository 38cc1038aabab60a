#include "protocols/notify/webhook.h"

#include <openssl/hmac.h>

#include <array>
#include <ctime>
#include <nlohmann/json.hpp>

namespace mailhaul::notify {

using nlohmann::json;

std::string rfc3339(std::int64_t unix_seconds) {
  const auto time = static_cast<std::time_t>(unix_seconds);
  std::tm parts{};
  std::array<char, 32> out{};
  gmtime_r(&time, &parts);
  std::strftime(out.data(), out.size(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return out.data();
}

std::string webhook_body(const Message& message) {
  auto data = json::parse(message.data, nullptr, false);
  if (!data.is_object()) data = json::object();
  data["title"] = message.title;
  data["text"] = message.text;
  const json body{{"type", message.type}, {"timestamp", rfc3339(message.at)}, {"data", std::move(data)}};
  return body.dump(-1, ' ', false, json::error_handler_t::replace);
}

std::optional<Secret> webhook_key(std::string_view secret) {
  constexpr std::string_view kPrefix = "whsec_";
  constexpr std::size_t kLeast = 24, kMost = 64;
  if (!secret.starts_with(kPrefix)) return std::nullopt;
  auto key = unbase64(secret.substr(kPrefix.size()));
  if (!key) return std::nullopt;
  const bool fits = key->size() >= kLeast && key->size() <= kMost;
  Secret out(*std::move(key));
  if (!fits) return std::nullopt;
  return out;
}

std::string webhook_signature(const Secret& key, std::string_view id, std::int64_t sent, std::string_view body) {
  std::string text(id);
  text += "." + std::to_string(sent) + ".";
  text += body;
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned length = 0;
  const auto& octets = key.reveal();
  if (HMAC(EVP_sha256(), octets.data(), static_cast<int>(octets.size()),
           reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data(), &length) == nullptr)
    return {};
  return "v1," + base64({reinterpret_cast<const char*>(digest.data()), length});
}

}  // namespace mailhaul::notify
