#include <doctest/doctest.h>

#include "protocols/mail/digest.h"

using namespace mailhaul::mail;

namespace {
constexpr std::int64_t kLatest = 1'800'000'000;  // 2027-01-15
}

TEST_CASE("INTERNALDATE in every form servers send") {
  struct Case {
    const char* text;
    std::optional<std::int64_t> seconds;
  };
  const Case cases[] = {
      {"17-Jul-1996 02:44:25 -0700", 837596665},  // RFC 9051 §7.5.2
      {" 1-Feb-2024 00:00:00 +0000", 1706745600},
      {"1-Feb-2024 00:00:00 +0000", 1706745600},
      {"01-Feb-2024 00:00:00 +0000", 1706745600},
      {"01-FEB-2024 00:00:00 +0000", 1706745600},
      {"01-02-2024 00:00:00 +0000", 1706745600},
      {"1-Feb-2024 00:00:00", 1706745600},
      {"1-Feb-2024 00:00:00 GMT", 1706745600},
      {"1-Feb-2024 00:00:00 EST", 1706763600},
      {"29-Feb-2024 12:00:00 +0530", 1709188200},
      {"31-Dec-2016 23:59:60 +0000", 1483228800},
      {"02-Jan-1970 00:00:00 +0000", 86400},
      {"15-Jan-2027 08:00:00 +0000", kLatest},
      {"15-Jan-2027 08:00:01 +0000", std::nullopt},
      {"01-Jan-1970 23:59:59 +0000", std::nullopt},
      {"00-Jan-0000 00:00:00 +0000", std::nullopt},
      {"00-Jan-2024 00:00:00 +0000", std::nullopt},
      {"31-Feb-2024 00:00:00 +0000", std::nullopt},
      {"29-Feb-2023 00:00:00 +0000", std::nullopt},
      {"01-Jan-1899 00:00:00 +0000", std::nullopt},
      {"01-Jan-2099 00:00:00 +0000", std::nullopt},
      {"01-13-2024 00:00:00 +0000", std::nullopt},
      {"01-Foo-2024 00:00:00 +0000", std::nullopt},
      {"01-Jan-2024 24:00:00 +0000", std::nullopt},
      {"01-Jan-2024 12:60:00 +0000", std::nullopt},
      {"99-Jan-2024 00:00:00 +0000", std::nullopt},
      {"", std::nullopt},
      {"NIL", std::nullopt},
      {"yesterday", std::nullopt},
      {"1-Feb-99999 00:00:00 +0000", std::nullopt},
      {"1-Feb-2024 00:00:00 +0000 1 2 3 4 5 6 7 8 9", std::nullopt},
  };
  for (const auto& c : cases) {
    CAPTURE(c.text);
    CHECK(parse_internal_date(c.text, kLatest) == c.seconds);
  }
}

TEST_CASE("RFC 5322 dates and the obsolete and broken forms of the field") {
  struct Case {
    const char* text;
    std::optional<std::int64_t> seconds;
  };
  const Case cases[] = {
      {"Fri, 21 Nov 1997 09:55:06 -0600", 880127706},  // RFC 5322 §A.1
      {" Fri, 21 Nov 97 09:55:06 -0600 (CST)", 880127706},
      {"21 Nov 97 09:55:06 GMT", 880106106},        // RFC 5322 §A.6.2
      {"Thu, 13 Feb 1969 23:32 -0330", -27723480},  // §A.5, seconds left out
      {"Thu,\r\n\t13\r\n\t  Feb\r\n\t    1969\r\n\t23:32\r\n\t\t\t-0330 (Newfoundland (Time))", -27723480},
      {"Mon Jan  1 00:00:00 2024", 1704067200},  // ctime(3)
      {"Mon, 1 January 2024 00:00:00 UT", 1704067200},
      {"1 Jan 124 00:00:00 +0000", 1704067200},  // §4.3: three digits
      {"1 Jan 49 00:00:00 +0000", 2493072000},
      {"1 Jan 50 00:00:00 +0000", -631152000},
      {"1 Jan 2024 00:00:00 EDT", 1704081600},
      {"1 Jan 2024 00:00:00 PST", 1704096000},
      {"1 Jan 2024 00:00:00 Z", 1704067200},
      {"1 Jan 2024 00:00:00 +01:00", 1704063600},
      {"1 Jan 2024 00:00:00 GMT+0100", 1704063600},
      {"1 Jan 2024 00:00:00+0100", 1704063600},
      {"1 Jan 2024 00:00:00-0100", 1704070800},
      {"1 Jan 2024 00:00:00 +9999", 1704067200},  // no zone of this world
      {"1-Jan-2024 0:0:0", 1704067200},
      {"1 Jan 2024", 1704067200},
      {"2024-01-01T00:00:00Z", std::nullopt},
      {"1 Jan 0000 00:00:00 +0000", std::nullopt},
      {"32 Jan 2024 00:00:00 +0000", std::nullopt},
      {"Jan 2024", std::nullopt},
      {"", std::nullopt},
      {"()()(((", std::nullopt},
      {"1 Jan 2024 00:00:00 00:00:00", std::nullopt},
  };
  for (const auto& c : cases) {
    CAPTURE(c.text);
    CHECK(parse_rfc5322_date(c.text) == c.seconds);
  }
  CHECK_FALSE(parse_rfc5322_date(std::string(100'000, '(')).has_value());
  CHECK_FALSE(parse_rfc5322_date("1 Jan 2024 " + std::string(100'000, '1')).has_value());
}
