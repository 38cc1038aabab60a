#include "protocols/discovery/carddav.h"

#include "protocols/base/text.h"
#include "protocols/discovery/dns.h"

namespace mailhaul::discovery {

CardDavPlaces find_carddav(const std::string& address, const std::string& mail_host, const Options& options) {
  CardDavPlaces out;
  const std::string domain = to_lower(address.substr(address.rfind('@') + 1));
  const Preset* known = preset_of_domain(domain);
  if (known == nullptr && !mail_host.empty()) known = preset_of_server(mail_host);
  if (known != nullptr) {
    out.provider = known->name;
    if (!known->carddav.empty()) out.urls.push_back(known->carddav);
    return out;
  }
  if (domain.empty() || address.find('@') == std::string::npos) return out;
  DnsOptions dns;
  dns.server = options.resolver;
  if (const auto named = look_up_srv("_carddavs._tcp." + domain, dns); named)
    for (const auto& srv : *named) {
      if (srv.target == "." || srv.target.empty()) continue;
      const std::string url = "https://" + srv.target + (srv.port == 443 ? "" : ":" + std::to_string(srv.port)) + "/";
      if (srv.target == domain || srv.target.ends_with("." + domain))  // RFC 6764 §8, as RFC 6186 §6
        out.urls.push_back(url);
      else if (out.forgeable.empty())
        out.forgeable = url;
    }
  out.urls.push_back("https://" + domain + "/");
  return out;
}

}  // namespace mailhaul::discovery
