// The settings document of a domain: any octets. What comes out can be shown, connected to with TLS, and is bounded.
#include "protocols/base/text.h"
#include "protocols/discovery/autoconfig.h"
#include "tests/fuzz/check.h"

using namespace mailhaul;

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  const auto offers = discovery::read_autoconfig(fuzz_text(data, size), "me@example.org");
  if (!offers) {
    FUZZ_CHECK(!offers.error().what.empty());
    return 0;
  }
  FUZZ_CHECK(!offers->empty() && offers->size() <= 16);
  for (const auto& offer : *offers) {
    FUZZ_CHECK(discovery::is_server_name(offer.server.host) && offer.server.port != 0);
    FUZZ_CHECK(!offer.user.empty() && is_utf8(offer.user) && !offer.auth.empty());
    for (const char c : offer.user) FUZZ_CHECK(static_cast<unsigned char>(c) >= 0x20);
  }
  return 0;
}
