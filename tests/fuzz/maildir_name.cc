// File names in a Maildir: what is taken for one of ours is spelled in exactly one way.
#include <string>

#include "store/maildir.h"
#include "tests/fuzz/check.h"

using namespace mailhaul::store;

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  const std::string_view file = fuzz_text(data, size);
  if (file.find('/') != std::string_view::npos || file.find('\0') != std::string_view::npos)
    return 0;  // no file has such a name
  if (const auto name = MaildirName::parse(file)) {
    const std::string text = name->text();
    const auto again = MaildirName::parse(text);
    FUZZ_CHECK(again.has_value());
    FUZZ_CHECK(again->seconds == name->seconds && again->key == name->key && again->disk_octets == name->disk_octets &&
               again->crlf_octets == name->crlf_octets && again->letters == name->letters);
    FUZZ_CHECK(again->text() == text);
    FUZZ_CHECK(text.find('/') == std::string::npos && text.find('\0') == std::string::npos);
  }
  if (const auto key = key_from_text(file)) FUZZ_CHECK(to_text(*key) == file || size != to_text(*key).size());
  return 0;
}
