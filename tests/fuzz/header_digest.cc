// Header blocks: the evidence is the same in every chunking, and nothing behind the header counts.
#include <algorithm>
#include <cstdint>
#include <string>

#include "protocols/mail/digest.h"
#include "tests/fuzz/check.h"

using namespace mailhaul::mail;

namespace {

HeaderScanner& scanner() {
  static HeaderScanner one;  // used again and again, as in production
  one.reset();
  return one;
}

Evidence scan(std::string_view message, std::size_t piece) {
  HeaderScanner& s = scanner();
  for (; !message.empty(); message.remove_prefix(std::min(piece, message.size()))) s.update(message.substr(0, piece));
  return s.finish();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  const std::string_view message = fuzz_text(data, size);
  const Evidence whole = scan(message, SIZE_MAX);
  FUZZ_CHECK(scan(message, 1) == whole);
  FUZZ_CHECK(scan(message, 1 + size % 13) == whole);
  FUZZ_CHECK(whole.message_id.size() <= 998);
  FUZZ_CHECK(whole.message_id.find('\n') == std::string::npos);
  for (const std::string_view end : {"\n\n", "\n\r\n"})
    if (const std::size_t body = message.find(end); body != std::string_view::npos)
      FUZZ_CHECK(scan(std::string(message.substr(0, body)) + std::string(end) + "Message-ID: <other>\n", SIZE_MAX) ==
                 scan(message.substr(0, body + 1), SIZE_MAX));

  constexpr std::int64_t kLatest = 4'000'000'000;
  if (const auto seconds = parse_internal_date(message, kLatest)) FUZZ_CHECK(*seconds >= 86400 && *seconds <= kLatest);
  parse_rfc5322_date(message);
  return 0;
}
