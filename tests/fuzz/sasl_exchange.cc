// SASL exchanges with a server that says anything: the first octet chooses the mechanism, lines are challenges. Nothing
// crashes, no answer is given without limit, and no server that does not know the password is let in by SCRAM.
#include <array>
#include <string>

#include "protocols/base/text.h"
#include "protocols/sasl/mechanism.h"
#include "tests/fuzz/check.h"

using namespace mailhaul;

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  if (size == 0) return 0;
  static constexpr std::array<const char*, 10> kNames{"PLAIN",
                                                      "LOGIN",
                                                      "CRAM-MD5",
                                                      "SCRAM-SHA-1",
                                                      "SCRAM-SHA-256",
                                                      "SCRAM-SHA-256-PLUS",
                                                      "SCRAM-SHA-1-PLUS/end-point",
                                                      "XOAUTH2",
                                                      "OAUTHBEARER",
                                                      "EXTERNAL"};
  const std::string_view name = kNames.at(data[0] % kNames.size());
  std::string_view rest = fuzz_text(data + 1, size - 1);
  sasl::Credentials who;
  who.user = "user";
  who.password = Secret("pencil");
  who.token = Secret("token");
  auto made = sasl::mechanism(name, who, {"binding", "end point"}, "nonce");
  FUZZ_CHECK(made);
  sasl::Mechanism& mechanism = **made;
  if (mechanism.client_first()) FUZZ_CHECK(mechanism.initial());
  int answers = 0;
  while (!rest.empty()) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(line.size() < rest.size() ? line.size() + 1 : line.size());
    // Real work is bounded by the limit; a fuzzer would spend its day on it.
    if (const auto count = line.find(",i="); count != line.npos && line.size() - count > 6) continue;
    const auto decoded = unbase64(line);
    const std::string challenge = decoded.value_or(std::string(line));
    if (const auto answer = mechanism.respond(challenge)) {
      FUZZ_CHECK(++answers <= 3);
      FUZZ_CHECK(answer->reveal().size() < 2 * challenge.size() + 500);
    }
    FUZZ_CHECK(mechanism.said().size() <= 300);
  }
  const bool scram = name.starts_with("SCRAM");
  FUZZ_CHECK(!scram || !mechanism.finish());
  return 0;
}
