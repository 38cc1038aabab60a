#include "protocols/discovery/autoconfig.h"

#include <algorithm>
#include <array>
#include <pugixml.hpp>

#include "protocols/base/text.h"

namespace mailhaul::discovery {
namespace {

constexpr std::size_t kMostServers = 16;

Error refused(std::string why) {
  return {Scope::Account, Retry::AfterUserAction, "settings document: " + std::move(why), ""};
}

std::string trimmed(const char* text) {
  std::string_view view = text;
  while (!view.empty() && static_cast<unsigned char>(view.front()) <= ' ') view.remove_prefix(1);
  while (!view.empty() && static_cast<unsigned char>(view.back()) <= ' ') view.remove_suffix(1);
  return std::string(view);
}

std::string filled_in(std::string text, std::string_view address) {
  const auto at = address.rfind('@');
  const std::array<std::pair<std::string_view, std::string_view>, 3> places{
      {{"%EMAILADDRESS%", address},
       {"%EMAILLOCALPART%", address.substr(0, at)},
       {"%EMAILDOMAIN%", address.substr(at + 1)}}};
  for (const auto& [name, value] : places)
    for (auto found = text.find(name); found != std::string::npos; found = text.find(name, found + value.size()))
      text.replace(found, name.size(), value);
  return text;
}

std::string_view auth_of(std::string_view word) {
  if (word == "OAuth2") return "oauth2";
  if (word == "password-cleartext" || word == "plain" || word == "password-encrypted" || word == "secure")
    return "password";
  return {};  // NTLM, GSSAPI, client-IP-address, TLS-client-cert, none
}

std::optional<Offer> offer_of(const pugi::xml_node& node, std::string_view address) {
  Offer offer;
  const std::string_view type = node.attribute("type").value();
  if (type != "imap" && type != "pop3") return std::nullopt;
  offer.server.protocol = type == "imap" ? Protocol::Imap : Protocol::Pop3;
  offer.server.host = to_lower(filled_in(trimmed(node.child_value("hostname")), address));
  const std::string socket = trimmed(node.child_value("socketType"));
  if (socket != "SSL" && socket != "TLS" && socket != "STARTTLS") return std::nullopt;
  offer.server.security = socket == "STARTTLS" ? Security::StartTls : Security::Tls;
  const std::string port = trimmed(node.child_value("port"));
  unsigned number = 0;
  for (const char c : port)
    number = is_digit(c) && number < 100'000 ? number * 10 + static_cast<unsigned>(c - '0') : 100'000;
  if (number == 0 || number > 65'535 || !is_server_name(offer.server.host)) return std::nullopt;
  offer.server.port = static_cast<std::uint16_t>(number);
  offer.user = filled_in(trimmed(node.child_value("username")), address);
  if (offer.user.empty()) offer.user = address;
  if (offer.user.size() > 320 || !is_utf8(offer.user) || std::any_of(offer.user.begin(), offer.user.end(), [](char c) {
        return static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
      }))
    return std::nullopt;
  for (const pugi::xml_node& auth : node.children("authentication")) {
    const std::string_view kind = auth_of(trimmed(auth.child_value()));
    if (!kind.empty() && std::find(offer.auth.begin(), offer.auth.end(), kind) == offer.auth.end())
      offer.auth.emplace_back(kind);
  }
  if (offer.auth.empty()) return std::nullopt;
  return offer;
}

}  // namespace

bool is_server_name(std::string_view host) {
  if (host == "localhost") return true;
  if (host.empty() || host.size() > 253 || host.find('.') == std::string_view::npos) return false;
  bool letter_in_last = false;
  std::size_t label = 0;
  for (const char c : host) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (c == '.') {
      if (label == 0) return false;
      label = 0;
      letter_in_last = false;
      continue;
    }
    if (!letter && !is_digit(c) && c != '-' && c != '_') return false;
    if (++label > 63) return false;
    letter_in_last = letter_in_last || letter;
  }
  return label > 0 && letter_in_last;  // a last label without a letter is an address, in whatever spelling
}

Result<std::vector<Offer>> read_autoconfig(std::string_view xml, std::string_view address) {
  if (xml.size() > kLongestDocument) return refused("too long");
  pugi::xml_document document;
  const auto parsed = document.load_buffer(xml.data(), xml.size(), pugi::parse_default | pugi::parse_doctype);
  for (const pugi::xml_node& node : document)
    if (node.type() == pugi::node_doctype) return refused("it has a DTD, which can do harm");
  if (!parsed) return refused("not XML");
  const pugi::xml_node provider = document.child("clientConfig").child("emailProvider");
  if (!provider) return refused("not what mail programs read");
  std::vector<Offer> out;
  std::size_t seen = 0;
  for (const pugi::xml_node& node : provider.children("incomingServer")) {
    if (++seen > kMostServers) break;
    if (auto offer = offer_of(node, address)) out.push_back(*std::move(offer));
  }
  if (out.empty()) return refused(seen == 0 ? "no server in it" : "no server with TLS in it that can be used");
  std::stable_sort(out.begin(), out.end(),
                   [](const Offer& a, const Offer& b) { return a.server.protocol < b.server.protocol; });
  return out;
}

}  // namespace mailhaul::discovery
