// Mailbox names: any octets become UTF-8 that a person can read; modified UTF-7 has one spelling for each text.
#include <string>

#include "protocols/base/text.h"
#include "protocols/mail/mailbox_name.h"
#include "tests/fuzz/check.h"

using namespace mailhaul;
using namespace mailhaul::mail;

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  const std::string_view raw = fuzz_text(data, size);
  if (const auto decoded = decode_modified_utf7(raw)) {
    FUZZ_CHECK(is_utf8(*decoded));
    FUZZ_CHECK(encode_modified_utf7(*decoded) == raw);
  }
  const std::string encoded = encode_modified_utf7(raw);
  const auto back = decode_modified_utf7(encoded);
  FUZZ_CHECK(back.has_value());
  FUZZ_CHECK(!is_utf8(raw) || *back == raw);

  const std::string shown = display_name(raw);
  FUZZ_CHECK(is_utf8(shown));
  const std::string nfc = to_nfc(shown), key = collision_key(shown);
  FUZZ_CHECK(is_utf8(nfc) && to_nfc(nfc) == nfc);
  FUZZ_CHECK(is_utf8(key) && collision_key(nfc) == key);
  collision_key(raw);
  to_nfc(raw);

  for (const std::optional<char> delimiter : {std::optional<char>(), std::optional('/'), std::optional('.')}) {
    const auto components = hierarchy(raw, delimiter);
    FUZZ_CHECK(!components.empty());
    for (const auto& component : components) FUZZ_CHECK(is_utf8(component));
  }
  return 0;
}
