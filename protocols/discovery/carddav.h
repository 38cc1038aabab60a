// From an address to where its address books may be (RFC 6764): what is known of the provider, what the domain
// publishes and can be believed, and the domain itself with its well-known place.
#pragma once
#include <string>
#include <vector>

#include "protocols/discovery/discovery.h"

namespace mailhaul::discovery {

struct CardDavPlaces {
  std::vector<std::string> urls;  // https://…, the likeliest first
  std::string forgeable;          // named by DNS alone, and in another domain: a person has to say yes
  std::string provider;           // its name, if it is known; without `urls`: it offers no CardDAV that we know of
};

// `mail_host`: where the mail is ("imap.gmail.com"), if that is known. Asks DNS when no preset knows the provider.
CardDavPlaces find_carddav(const std::string& address, const std::string& mail_host, const Options& options);

}  // namespace mailhaul::discovery
