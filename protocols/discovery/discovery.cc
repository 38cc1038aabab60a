#include "protocols/discovery/discovery.h"

#include <idn2.h>

#include <algorithm>
#include <array>
#include <utility>

#include "protocols/base/text.h"
#include "protocols/discovery/autoconfig.h"
#include "protocols/discovery/dns.h"
#include "protocols/discovery/probe.h"

namespace mailhaul::discovery {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::size_t kMostTried = 6;  // servers of one source

std::string scheme(const Server& server) {
  const std::string name = server.protocol == Protocol::Imap ? "imap" : "pop3";
  return server.security == Security::Tls ? name + "s" : name;
}
std::string place(const Server& server) {
  return scheme(server) + "://" + server.host + ":" + std::to_string(server.port);
}

class Discovery {
 public:
  Discovery(Findings& findings, const Options& options, const std::function<void(const Step&)>& progress)
      : findings_(findings),
        options_(options),
        progress_(progress),
        domain_(findings.address.substr(findings.address.rfind('@') + 1)),
        deadline_(steady_clock::now() + options.total) {}

  Done run() {
    using Source = void (Discovery::*)();
    for (const Source source : {&Discovery::by_preset, &Discovery::by_autoconfig, &Discovery::by_srv, &Discovery::by_mx,
                                &Discovery::by_guess}) {
      (this->*source)();
      if (options_.stop.stop_requested()) return Error{Scope::Account, Retry::Now, std::string(net::kStopped), ""};
      // A known provider that does not answer is not looked for elsewhere.
      if (findings_.chosen || preset_of_domain(domain_) != nullptr) break;
    }
    for (const Settings& settings : findings_.settings)
      if (findings_.provider == nullptr && settings.works) findings_.provider = preset_of_server(settings.server.host);
    return done();
  }

 private:
  using Outcome = Step::Outcome;
  struct Said {
    Outcome outcome;
    std::string result;
  };

  void by_preset();
  void by_autoconfig();
  void by_srv();
  void by_mx();
  void by_guess();

  template <class Work>
  bool step(std::string what, Work&& work);
  bool document(const std::string& url, bool forgeable);
  void srv(const std::string& label, Protocol protocol, Security security);
  bool take_preset(const Preset& preset, const std::string& source);
  void add(Server server, std::string user, std::vector<std::string> auth, const std::string& source, bool forgeable);
  void try_all(std::size_t from);
  [[nodiscard]] bool own(const std::string& host) const { return host == domain_ || host.ends_with("." + domain_); }
  [[nodiscard]] std::string local_part() const { return findings_.address.substr(0, findings_.address.rfind('@')); }
  [[nodiscard]] milliseconds left() const {
    return std::min(options_.step, std::chrono::duration_cast<milliseconds>(deadline_ - steady_clock::now()));
  }
  [[nodiscard]] DnsOptions dns() const {
    return {options_.resolver, std::max(std::chrono::seconds(1), std::chrono::floor<std::chrono::seconds>(left()))};
  }
  [[nodiscard]] net::Endpoint end_of(const Server& server) const;

  Findings& findings_;
  const Options& options_;
  const std::function<void(const Step&)>& progress_;
  std::string domain_;
  steady_clock::time_point deadline_;
  std::vector<Mx> exchangers_;
};

// Runs and times one step; whether it found something.
template <class Work>
bool Discovery::step(std::string what, Work&& work) {
  if (options_.stop.stop_requested()) return false;
  Step one{std::move(what), "", Outcome::Failed, milliseconds(0)};
  const auto start = steady_clock::now();
  if (left().count() <= 0) {
    one.result = "no time left";
  } else {
    Said said = work();
    one.outcome = said.outcome;
    one.result = std::move(said.result);
  }
  one.took = std::chrono::duration_cast<milliseconds>(steady_clock::now() - start);
  findings_.steps.push_back(one);
  if (progress_) progress_(one);
  return one.outcome == Outcome::Found;
}

// As curl's --connect-to has it.
net::Endpoint Discovery::end_of(const Server& server) const {
  const std::string key = server.host + ":" + std::to_string(server.port) + ":";
  for (const std::string& rule : options_.connect_to) {
    const auto colon = rule.rfind(':');
    if (!rule.starts_with(key) || colon < key.size()) continue;
    return {rule.substr(key.size(), colon - key.size()),
            static_cast<std::uint16_t>(std::atoi(rule.c_str() + colon + 1))};
  }
  return {server.host, server.port};
}

void Discovery::add(Server server, std::string user, std::vector<std::string> auth, const std::string& source,
                    bool forgeable) {
  for (const Settings& known : findings_.settings)
    if (known.server == server) return;
  Settings settings;
  settings.confirm = forgeable && !own(server.host) && preset_of_server(server.host) == nullptr;
  settings.server = std::move(server);
  settings.user = std::move(user);
  settings.auth = std::move(auth);
  settings.source = source;
  findings_.settings.push_back(std::move(settings));
}

// Tests what a source has named, and chooses.
void Discovery::try_all(std::size_t from) {
  std::size_t tried = 0;
  for (std::size_t i = from; i < findings_.settings.size() && tried < kMostTried; ++i, ++tried) {
    Settings& settings = findings_.settings[i];
    // One that works is enough of a protocol.
    if (findings_.chosen && findings_.settings[*findings_.chosen].server.protocol == settings.server.protocol) continue;
    step("try " + place(settings.server), [&]() -> Said {
      net::ConnectOptions connect = options_.connect;
      connect.timeout = left();
      Result<Probed> probed = probe(settings.server, end_of(settings.server), connect, options_.stop);
      if (!probed) {
        settings.problem = probed.error().what;
        return {Outcome::Failed, settings.problem};
      }
      settings.works = true;
      settings.security = std::move(probed->security);
      settings.greeting = std::move(probed->greeting);
      settings.capabilities = std::move(probed->capabilities);
      settings.logins = std::move(probed->logins);
      std::string logins;
      for (const std::string& login : settings.logins) logins += (logins.empty() ? "" : ", ") + login;
      return {Outcome::Found, settings.security + "; takes " + (logins.empty() ? "no login that is known" : logins)};
    });
    if (settings.works && !findings_.chosen) findings_.chosen = i;
  }
}

bool Discovery::take_preset(const Preset& preset, const std::string& source) {
  findings_.provider = &preset;
  const std::string user = preset.local_user && preset_of_domain(domain_) == &preset ? local_part() : findings_.address;
  for (const Server& server : preset.servers) add(server, user, preset.auth, source, false);
  return true;
}

void Discovery::by_preset() {
  const std::size_t from = findings_.settings.size();
  const bool found = step("preset", [&]() -> Said {
    const Preset* preset = preset_of_domain(domain_);
    if (preset == nullptr) return {Outcome::Nothing, domain_ + " is not known here"};
    take_preset(*preset, "preset");
    return {Outcome::Found, preset->name};
  });
  if (found) try_all(from);
}

// The domain's own document, by TLS with its own certificate: as good as the domain's word.
bool Discovery::document(const std::string& url, bool forgeable) {
  return step("autoconfig " + url, [&]() -> Said {
    http::Options web;
    web.timeout = left();
    web.max_body = kLongestDocument;
    web.ca_file = options_.connect.ca_file;
    web.proxy = options_.connect.proxy;
    web.gate = options_.connect.gate;
    web.connect_to = options_.connect_to;
    const auto response =
        http::fetch({url + "?emailaddress=" + http::percent_encoded(findings_.address)}, web, options_.stop);
    if (!response)
      return {response.error().what.ends_with("unknown host") ? Outcome::Nothing : Outcome::Failed,
              response.error().what};
    if (response->status != 200) return {Outcome::Nothing, "HTTP status " + std::to_string(response->status)};
    const auto offers = read_autoconfig(response->body, findings_.address);
    if (!offers) return {Outcome::Failed, offers.error().what};
    std::string names;
    for (const Offer& offer : *offers) {
      add(offer.server, offer.user, offer.auth, "autoconfig " + url, forgeable);
      names += (names.empty() ? "" : ", ") + place(offer.server);
    }
    return {Outcome::Found, names};
  });
}

void Discovery::by_autoconfig() {
  const std::size_t from = findings_.settings.size();
  for (const std::string& url : {"https://autoconfig." + domain_ + "/mail/config-v1.1.xml",
                                 "https://" + domain_ + "/.well-known/autoconfig/mail/config-v1.1.xml"})
    if (document(url, false)) break;
  try_all(from);
}

void Discovery::srv(const std::string& label, Protocol protocol, Security security) {
  const std::string name = label + "." + domain_;
  step("SRV " + name, [&]() -> Said {
    const auto records = look_up_srv(name, dns());
    if (!records) return {Outcome::Failed, records.error().what};
    if (records->empty()) return {Outcome::Nothing, "no record"};
    if (records->front().target == ".") return {Outcome::Nothing, "the domain says that it has no such service"};
    std::string names;
    for (const Srv& record : *records) {
      const Server server{protocol, record.target, record.port, security};
      if (record.port == 0 || !is_server_name(record.target)) continue;
      add(server, findings_.address, {"password"}, "SRV " + name, true);
      names += (names.empty() ? "" : ", ") + place(server);
    }
    return {names.empty() ? Outcome::Failed : Outcome::Found, names.empty() ? "no usable record" : names};
  });
}

void Discovery::by_srv() {  // RFC 6186 §3, RFC 8314 §5.1
  const std::size_t from = findings_.settings.size();
  srv("_imaps._tcp", Protocol::Imap, Security::Tls);
  srv("_imap._tcp", Protocol::Imap, Security::StartTls);
  srv("_pop3s._tcp", Protocol::Pop3, Security::Tls);
  try_all(from);
}

void Discovery::by_mx() {
  const std::size_t from = findings_.settings.size();
  step("MX " + domain_, [&]() -> Said {
    auto records = look_up_mx(domain_, dns());
    if (!records) return {Outcome::Failed, records.error().what};
    exchangers_ = *std::move(records);
    if (exchangers_.empty()) return {Outcome::Nothing, "no record"};
    for (const Mx& mx : exchangers_)
      if (const Preset* preset = preset_of_mx(mx.host)) {
        take_preset(*preset, "MX " + mx.host);
        return {Outcome::Found, mx.host + " is " + preset->name};
      }
    return {Outcome::Nothing, exchangers_.front().host + " belongs to nobody who is known here"};
  });
  // The exchanger's owner may publish settings for its customers: mx1.mail.example.net → mail.example.net, example.net.
  if (findings_.settings.size() == from && !exchangers_.empty()) {
    std::string owner = exchangers_.front().host;
    for (int i = 0; i < 2; ++i) {
      const auto dot = owner.find('.');
      if (dot == std::string::npos) break;
      owner.erase(0, dot + 1);
      if (owner.find('.') == std::string::npos || owner == domain_ || !is_server_name(owner)) break;
      if (document("https://autoconfig." + owner + "/mail/config-v1.1.xml", true)) break;
    }
  }
  try_all(from);
}

// Names that most servers have. The certificate has to be for the name, so that a guess cannot end with a stranger.
void Discovery::by_guess() {
  std::vector<Server> guesses;
  for (const char* prefix : {"imap.", "mail.", ""})
    guesses.push_back({Protocol::Imap, prefix + domain_, 993, Security::Tls});
  if (!exchangers_.empty() && is_server_name(exchangers_.front().host))
    guesses.push_back({Protocol::Imap, exchangers_.front().host, 993, Security::Tls});
  for (const char* prefix : {"imap.", "mail."})
    guesses.push_back({Protocol::Imap, prefix + domain_, 143, Security::StartTls});
  for (const char* prefix : {"pop.", "pop3.", "mail."})
    guesses.push_back({Protocol::Pop3, prefix + domain_, 995, Security::Tls});
  for (const Server& guess : guesses) {
    if (findings_.chosen) return;
    const std::size_t at = findings_.settings.size();
    add(guess, findings_.address, {"password"}, "guess", true);
    try_all(at);
    // A guess that does not work is no finding.
    if (findings_.settings.size() > at && !findings_.settings[at].works) findings_.settings.pop_back();
  }
}

}  // namespace

std::string Settings::url() const {
  return scheme(server) + "://" + user + "@" + server.host + ":" + std::to_string(server.port);
}

Result<std::string> ascii_address(std::string_view address) {
  const auto bad = [&](const char* why) {
    return Error{Scope::Service, Retry::AfterUserAction, "'" + printable(address) + "' is not an address: " + why,
                 "Write it as user@example.org."};
  };
  const auto at = address.rfind('@');
  if (at == std::string_view::npos || at == 0 || at + 1 == address.size()) return bad("it has no name or no domain");
  if (address.size() > 254) return bad("it is too long");
  if (!is_utf8(address) || std::any_of(address.begin(), address.end(),
                                       [](char c) { return static_cast<unsigned char>(c) <= ' ' || c == 0x7F; }))
    return bad("it holds a space or a control character");
  std::string domain(address.substr(at + 1));
  if (domain.ends_with('.')) domain.pop_back();
  char* ascii = nullptr;
  if (idn2_to_ascii_8z(domain.c_str(), &ascii, IDN2_NONTRANSITIONAL | IDN2_NFC_INPUT) != IDN2_OK)
    return bad("its domain is not one");
  const std::string name = to_lower(ascii);
  idn2_free(ascii);
  if (name == "localhost" || !is_server_name(name)) return bad("its domain is not one");
  return std::string(address.substr(0, at)) + "@" + name;
}

Result<Findings> discover(std::string_view address, const Options& options,
                          const std::function<void(const Step&)>& progress) {
  Result<std::string> ascii = ascii_address(address);
  if (!ascii) return ascii.error();
  Findings findings;
  findings.address = *std::move(ascii);
  if (Done ran = Discovery(findings, options, progress).run(); !ran) return ran.error();
  return findings;
}

}  // namespace mailhaul::discovery
