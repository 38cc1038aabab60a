#include <doctest/doctest.h>

#include "protocols/sasl/plain.h"

using namespace mailhaul;

TEST_CASE("SASL PLAIN") {  // RFC 4616 §2
  const auto message = sasl::plain("", "tim", Secret("tanstaaftanstaaf"));
  REQUIRE(static_cast<bool>(message));
  CHECK(message->reveal() == std::string("\0tim\0tanstaaftanstaaf", 21));
  const auto for_other = sasl::plain("Ursel", "Kurt", Secret("xipj3plmq"));
  REQUIRE(static_cast<bool>(for_other));
  CHECK(for_other->reveal() == std::string("Ursel\0Kurt\0xipj3plmq", 20));

  const std::string nul("a\0b", 3);
  for (const auto& refused :
       {sasl::plain("", "", Secret("p")), sasl::plain("", "u", Secret("")), sasl::plain(nul, "u", Secret("p")),
        sasl::plain("", nul, Secret("p")), sasl::plain("", "u", Secret("secret" + nul))}) {
    REQUIRE_FALSE(static_cast<bool>(refused));
    CHECK(refused.error().retry == Retry::AfterUserAction);
    CHECK(refused.error().what.find("secret") == std::string::npos);
  }
}
