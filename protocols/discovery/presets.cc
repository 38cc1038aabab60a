#include "protocols/discovery/presets.h"

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "protocols/base/text.h"

namespace mailhaul::discovery {
namespace {

using nlohmann::json;

std::string text_of(const json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::vector<std::string> words_of(const json& object, const char* name) {
  std::vector<std::string> out;
  if (const auto found = object.find(name); found != object.end() && found->is_array())
    for (const auto& word : *found)
      if (word.is_string()) out.push_back(word.get<std::string>());
  return out;
}

std::optional<Server> server_of(const json& object, const char* name, Protocol protocol) {
  const auto found = object.find(name);
  if (found == object.end() || !found->is_object()) return std::nullopt;
  Server server{protocol, text_of(*found, "host"), 0, Security::Tls};
  if (const auto port = found->find("port"); port != found->end() && port->is_number_unsigned())
    server.port = port->get<std::uint16_t>();
  if (text_of(*found, "security") == "starttls") server.security = Security::StartTls;
  if (server.host.empty() || server.port == 0) return std::nullopt;
  return server;
}

Preset preset_of(const json& object) {
  Preset preset;
  preset.id = text_of(object, "id");
  preset.name = text_of(object, "name");
  preset.domains = words_of(object, "domains");
  preset.mx = words_of(object, "mx");
  if (auto imap = server_of(object, "imap", Protocol::Imap)) preset.servers.push_back(*std::move(imap));
  if (auto pop3 = server_of(object, "pop3", Protocol::Pop3)) preset.servers.push_back(*std::move(pop3));
  preset.local_user = text_of(object, "user") == "local";
  preset.auth = words_of(object, "auth");
  preset.password_help = text_of(object, "password_help");
  preset.switch_on = text_of(object, "switch_on");
  preset.link = text_of(object, "link");
  preset.note = text_of(object, "note");
  preset.quirks = words_of(object, "quirks");
  preset.carddav = text_of(object, "carddav");
  if (const auto limits = object.find("limits"); limits != object.end() && limits->is_object())
    for (const auto& [name, value] : limits->items())
      if (value.is_number_integer()) preset.limits[name] = value.get<std::int64_t>();
  if (const auto oauth = object.find("oauth"); oauth != object.end() && oauth->is_object())
    preset.oauth = OAuth{text_of(*oauth, "issuer"),     text_of(*oauth, "authorization"), text_of(*oauth, "token"),
                         text_of(*oauth, "device"),     text_of(*oauth, "revocation"),    text_of(*oauth, "scope"),
                         text_of(*oauth, "pop3_scope"), text_of(*oauth, "tenant"),        text_of(*oauth, "extra")};
  return preset;
}

bool ends_at_label(std::string_view host, std::string_view end) {
  return host.ends_with(end) && (host.size() == end.size() || host[host.size() - end.size() - 1] == '.');
}

}  // namespace

std::string Preset::help() const {
  std::string out;
  for (const std::string& part : {password_help, switch_on, link})
    if (!part.empty()) out += (out.empty() ? "" : " ") + part;
  return out;
}

Result<std::vector<Preset>> read_presets(std::string_view text) {
  const json document = json::parse(text, nullptr, false);
  if (!document.is_array()) return Error{Scope::Service, Retry::Never, "the presets are not a JSON list", ""};
  std::vector<Preset> out;
  for (const auto& object : document) {
    Preset preset = preset_of(object);
    if (preset.id.empty() || preset.servers.empty() || preset.auth.empty())
      return Error{Scope::Service, Retry::Never, "preset '" + printable(preset.id) + "' is not complete", ""};
    out.push_back(std::move(preset));
  }
  return out;
}

const std::vector<Preset>& presets() {
  static const std::vector<Preset> all = [] {
    auto read = read_presets(presets_text());
    if (!read) std::abort();  // they are part of the program, and a test reads them
    return std::move(*read);
  }();
  return all;
}

const Preset* preset_of_domain(std::string_view domain) {
  for (const Preset& preset : presets())
    if (std::find(preset.domains.begin(), preset.domains.end(), domain) != preset.domains.end()) return &preset;
  return nullptr;
}

const Preset* preset_of_mx(std::string_view host) {
  const Preset* best = nullptr;
  std::size_t length = 0;  // the longest end wins: olc.protection.outlook.com before protection.outlook.com
  for (const Preset& preset : presets())
    for (const std::string& end : preset.mx)
      if (ends_at_label(host, end) && end.size() > length) {
        best = &preset;
        length = end.size();
      }
  return best;
}

const Preset* preset_of_server(std::string_view host) {
  for (const Preset& preset : presets())
    for (const Server& server : preset.servers)
      if (equal_ignoring_case(server.host, host)) return &preset;
  return nullptr;
}

}  // namespace mailhaul::discovery
