// What a token endpoint answers: any octets under any status. Either tokens that can be used, or an error with a
// reason.
#include "protocols/oauth2/oauth2.h"
#include "tests/fuzz/check.h"

using namespace mailhaul;

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  if (size == 0) return 0;
  const int status = 200 + data[0] % 4 * 100;
  const auto tokens =
      oauth2::read_tokens(status, fuzz_text(data + 1, size - 1), {Secret("a"), Secret("r"), 1, 2}, 1000);
  if (!tokens) {
    FUZZ_CHECK(!tokens.error().what.empty() && tokens.error().what.size() < 1000);
    FUZZ_CHECK(tokens.error().what.find('\n') == std::string::npos);
    return 0;
  }
  FUZZ_CHECK(status == 200 && !tokens->access.empty() && !tokens->refresh.empty());
  FUZZ_CHECK(tokens->life >= 0 && tokens->issued == 1000);
  FUZZ_CHECK(tokens->life == 0 || !tokens->fresh(1000 + tokens->life));
  return 0;
}
