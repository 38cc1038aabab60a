#include "collector/job.h"

#include <fnmatch.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <ctime>

namespace mailhaul::collector {
namespace {

Error usage(std::string what, std::string advice = "") {
  return {Scope::Service, Retry::AfterUserAction, std::move(what), std::move(advice)};
}

std::string joined(const std::vector<std::string>& path) {
  std::string out;
  for (const auto& component : path) out += (out.empty() ? "" : "/") + component;
  return out;
}

std::vector<std::string> split(std::string_view path) {
  std::vector<std::string> out;
  for (std::size_t start = 0;;) {
    const auto slash = path.find('/', start);
    out.emplace_back(path.substr(start, slash == path.npos ? path.npos : slash - start));
    if (slash == path.npos) return out;
    start = slash + 1;
  }
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::string percent_decoded(std::string_view text) {  // RFC 3986 §2.1
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && hex_digit(text[i + 1]) >= 0 && hex_digit(text[i + 2]) >= 0) {
      out.push_back(static_cast<char>(hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2])));
      i += 2;
    } else {
      out.push_back(text[i]);
    }
  }
  return out;
}

bool has_control(std::string_view text) {
  return std::ranges::any_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; });
}

constexpr std::string_view kSourceForm = "write imaps://user@host[:port], or pop3s://user@host[:port]";
constexpr std::string_view kRecent = "recent:";  // Gmail: the last 30 days, whoever has collected them

Done split_host(std::string_view text, SourceAddress& out) {
  std::string_view host = text, port;
  if (text.starts_with('[')) {  // RFC 3986 §3.2.2, IPv6
    const auto end = text.find(']');
    if (end == text.npos)
      return usage("the address '" + printable(text) + "' has no closing ]", std::string(kSourceForm));
    host = text.substr(1, end - 1);
    if (end + 1 < text.size()) {
      if (text[end + 1] != ':') return usage("'" + printable(text) + "' is not a host", std::string(kSourceForm));
      port = text.substr(end + 2);
      if (port.empty()) return usage("the port is missing after ':'", std::string(kSourceForm));
    }
  } else if (const auto colon = text.rfind(':'); colon != text.npos) {
    host = text.substr(0, colon);
    port = text.substr(colon + 1);
    if (port.empty()) return usage("the port is missing after ':'", std::string(kSourceForm));
  }
  if (host.empty() || host.find_first_of(" /\\@?#%") != host.npos)
    return usage("'" + printable(host) + "' is not a host name", std::string(kSourceForm));
  out.host = std::string(host);
  std::ranges::transform(out.host, out.host.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  if (port.empty()) return done();
  unsigned number = 0;
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
  if (error != std::errc{} || end != port.data() + port.size() || number == 0 || number > 65535)
    return usage("'" + printable(port) + "' is not a port number", "use one of 1 to 65535");
  out.port = static_cast<std::uint16_t>(number);
  return done();
}

}  // namespace

std::string SourceAddress::identity() const {
  const bool pop3 = protocol == Protocol::Pop3;
  const bool recent = pop3 && user.starts_with(kRecent);
  const auto own = recent ? user.substr(kRecent.size()) : user;
  auto out = (pop3 ? "pop3:" : "imap:") + (authzid.empty() ? own : authzid) + "@" + host;
  const bool usual = pop3 ? port == 110 || port == 995 : port == 143 || port == 993;
  if (!usual) out += ":" + std::to_string(port);
  return out;
}

std::string SourceAddress::text() const {
  return std::string(protocol == Protocol::Pop3 ? "pop3" : "imap") +
         (security == client::Security::Tls ? "s://" : "://") + printable(user) + "@" + host + ":" +
         std::to_string(port);
}

Result<SourceAddress> parse_source(std::string_view text) {
  SourceAddress out;
  const auto scheme_end = text.find("://");
  if (scheme_end == text.npos) {
    return usage("'" + printable(text) + "' is not a source", std::string(kSourceForm));
  }
  const auto scheme = text.substr(0, scheme_end);
  auto rest = text.substr(scheme_end + 3);
  out.protocol = scheme.starts_with("pop3") ? Protocol::Pop3 : Protocol::Imap;
  if (scheme == "imaps" || scheme == "pop3s")
    out.security = client::Security::Tls;
  else if (scheme == "imap" || scheme == "pop3")
    out.security = client::Security::StartTls;
  else
    return usage("'" + printable(scheme) + "://' is not a kind of source", std::string(kSourceForm));
  if (has_control(text)) return usage("the source holds a control character", std::string(kSourceForm));
  while (rest.ends_with('/')) rest.remove_suffix(1);
  const auto at = rest.rfind('@');
  if (at == rest.npos || at == 0) return usage("the source names no user", std::string(kSourceForm));
  const auto user = rest.substr(0, at);
  const auto name = out.protocol == Protocol::Pop3 && user.starts_with(kRecent) ? user.substr(kRecent.size()) : user;
  if (name.find(':') != name.npos)
    return usage("a password does not belong into the address, other people can see it there",
                 "use --source-password-file, MAILHAUL_SOURCE_PASSWORD or the prompt");
  out.user = percent_decoded(user);
  if (has_control(out.user)) return usage("the user name holds a control character", std::string(kSourceForm));
  if (const auto slash = rest.find('/', at); slash != rest.npos)
    return usage("a source is a whole account; '" + printable(rest.substr(slash)) + "' is too much",
                 "choose mailboxes with --include");
  if (auto r = split_host(rest.substr(at + 1), out); !r) return r.error();
  const bool tls = out.security == client::Security::Tls;
  if (out.port == 0) out.port = out.protocol == Protocol::Pop3 ? (tls ? 995 : 110) : (tls ? 993 : 143);
  return out;
}

Result<DestinationAddress> parse_destination(std::string_view text) {
  constexpr std::string_view kForm = "write maildir:/path, or imaps://user@host[:port]";
  if (text.starts_with("imaps://") || text.starts_with("imap://")) {
    auto account = parse_source(text);
    if (!account) return account.error().in("destination");
    return DestinationAddress{{}, *std::move(account)};
  }
  if (!text.starts_with("maildir:")) return usage("'" + printable(text) + "' is not a destination", std::string(kForm));
  auto path = std::string(text.substr(8));
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  if (path.empty() || path.find('\0') != path.npos)
    return usage("the destination names no directory", std::string(kForm));
  return DestinationAddress{std::move(path), {}};
}

std::string default_state(const SourceAddress& destination) {
  const char* state = std::getenv("XDG_STATE_HOME");
  const char* home = std::getenv("HOME");
  std::string out = state && *state == '/' ? state : std::string(home ? home : "/var/lib") + "/.local/state";
  std::string name = destination.identity().substr(5);  // without "imap:"
  std::ranges::replace(name, '/', '_');
  return out + "/mailhaul/" + name + "/state.db";
}

bool MailboxRules::wants(const sync::SourceMailbox& mailbox) const {
  if (!all_namespaces && !mailbox.personal) return false;
  const auto name = joined(mailbox.path);
  const auto matches = [&](const std::string& pattern) { return fnmatch(pattern.c_str(), name.c_str(), 0) == 0; };
  return (include.empty() || std::ranges::any_of(include, matches)) && std::ranges::none_of(exclude, matches);
}

sync::Placing MailboxRules::place(const sync::SourceMailbox& mailbox) const {
  const auto name = joined(mailbox.path);
  for (const auto& [from, to] : map) {
    if (name == from) return {split(to), true};
    if (name.starts_with(from + "/")) {
      auto out = split(to);
      for (auto& component : split(std::string_view(name).substr(from.size() + 1))) out.push_back(std::move(component));
      return {std::move(out), true};
    }
  }
  return {special_use && !mailbox.home.empty() ? mailbox.home : mailbox.path, false};
}

Result<std::pair<std::string, std::string>> parse_map(std::string_view rule) {
  const auto equals = rule.find('=');
  if (equals == rule.npos || equals == 0 || equals + 1 == rule.size())
    return usage("'" + printable(rule) + "' is not a mapping", "write --map 'Source/Mailbox=Destination/Mailbox'");
  return std::pair{std::string(rule.substr(0, equals)), std::string(rule.substr(equals + 1))};
}

Result<std::optional<std::int64_t>> parse_leave(std::string_view text) {
  constexpr std::int64_t kDay = 86'400;
  if (text == "forever") return std::optional<std::int64_t>{};
  if (text == "delete") return std::optional<std::int64_t>{0};
  std::int64_t days = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), days);
  if (error != std::errc{} || end != text.data() + text.size() || days < 0 || days > 36'500)
    return usage("'" + printable(text) + "' is not a policy", "write forever, delete, or a number of days");
  return std::optional<std::int64_t>{days * kDay};
}

Done suits_protocol(const SourceAddress& source, const sync::Policy& policy) {
  if (source.protocol == Protocol::Imap)
    return policy.leave ? usage("--pop3-leave is for pop3s:// and pop3://", "leave it out") : done();
  if (policy.on_source_delete != sync::OnSourceDelete::Keep)
    return usage(
        "--on-source-delete does not go with POP3: a server may hide messages, and one that is not listed need "
        "not be deleted",
        "leave it out, copies are kept");
  if (policy.leave && source.user.starts_with(kRecent))
    return usage("--pop3-leave does not go with recent: users, whose mail belongs to other programs, too",
                 "leave it out, or use the plain user name");
  return done();
}

Result<std::int64_t> parse_day(std::string_view text) {
  const std::string copy(text);
  std::tm when{};
  const char* end = strptime(copy.c_str(), "%Y-%m-%d", &when);
  if (!end || *end != '\0') return usage("'" + printable(text) + "' is not a date", "write YYYY-MM-DD");
  const int day = when.tm_mday;
  const auto seconds = static_cast<std::int64_t>(timegm(&when));
  if (when.tm_mday != day) return usage("'" + printable(text) + "' is no day of the calendar", "write YYYY-MM-DD");
  return seconds;
}

Result<std::uint64_t> parse_size(std::string_view text) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  const unsigned shift = unit.empty() ? 0 : unit == "K" ? 10 : unit == "M" ? 20 : unit == "G" ? 30 : 64;
  if (error != std::errc{} || shift == 64 || number > (UINT64_MAX >> shift))
    return usage("'" + printable(text) + "' is not a size", "write a number of octets, or 500K, 20M, 2G");
  return number << shift;
}

Done apply_quirk(std::string_view text, Quirks& quirks) {
  const bool on = text.starts_with('+');
  if (!on && !text.starts_with('-')) return usage("'" + printable(text) + "' is not a quirk", "write +NAME or -NAME");
  const auto name = text.substr(1);
  if (const auto quirk = imap::quirk_named(name)) {
    quirks.chosen.emplace_back(*quirk, on);
  } else if (name.starts_with("no-") && name.size() > 3) {
    std::string capability(name.substr(3));
    std::ranges::transform(capability, capability.begin(),
                           [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; });
    std::erase(quirks.masked, capability);
    if (on) quirks.masked.push_back(std::move(capability));
  } else {
    return usage("there is no quirk '" + printable(name) + "'", "see mailhaul quirks");
  }
  return done();
}

std::string quirks_text() {
  std::string out =
      "What single kinds of server do differently, and what is done about it. --quirk +NAME or -NAME switches a row.\n";
  for (const auto& row : imap::quirk_rows()) {
    out.append("\n").append(row.name).append("\n  ").append(row.effect);
    out.append("\n  on by itself: ").append(row.signs.empty() ? "never" : row.signs);
    out.append("\n  because: ").append(row.evidence).append("\n");
  }
  return out + "\nno-CAPABILITY\n  takes a capability for absent, such as +no-CONDSTORE\n";
}

}  // namespace mailhaul::collector
