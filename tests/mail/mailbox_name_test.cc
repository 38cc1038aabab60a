#include <doctest/doctest.h>

#include "protocols/base/text.h"
#include "protocols/mail/mailbox_name.h"
#include "tests/mail/random.h"

using namespace mailhaul;
using namespace mailhaul::mail;

TEST_CASE("modified UTF-7 both ways") {
  struct Case {
    std::string raw, utf8;
  };
  const Case cases[] = {
      {"", ""},
      {"INBOX", "INBOX"},
      {"a b~!\"\\", "a b~!\"\\"},
      {"&-", "&"},
      {"Tom &- Jerry", "Tom & Jerry"},
      {"&--", "&-"},
      {"Entw&APw-rfe", "Entw\xc3\xbcrfe"},
      {"~peter/mail/&U,BTFw-/&ZeVnLIqe-",
       "~peter/mail/\xe5\x8f\xb0\xe5\x8c\x97/\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e"},  // RFC 3501 §5.1.3
      {"&2D3crA-", "\xf0\x9f\x92\xac"},
      {"&AAA-", std::string(1, '\0')},
      {"&AA0ACg-", "\r\n"},
      {"&IKw--", "\xe2\x82\xac-"},
      {"&AOkA6QDp-", "\xc3\xa9\xc3\xa9\xc3\xa9"},
  };
  for (const auto& c : cases) {
    CAPTURE(c.raw);
    CHECK(decode_modified_utf7(c.raw) == std::optional(c.utf8));
    CHECK(encode_modified_utf7(c.utf8) == c.raw);
  }
}

TEST_CASE("what is not modified UTF-7") {
  for (const std::string& raw : {std::string("&"),
                                 std::string("&AOk"),
                                 std::string("a & b"),
                                 std::string("&AOk/"),
                                 std::string("&AO k-"),
                                 std::string("&A-"),
                                 std::string("&AO-"),   // too few bits
                                 std::string("&AOl-"),  // bits left over that are not zero
                                 std::string("&AOkA-"),
                                 std::string("&AOkAAAA-"),  // too many octets
                                 std::string("&AGE-"),
                                 std::string("&ACY-"),  // "a" and "&" must stand for themselves
                                 std::string("&2D0-"),
                                 std::string("&3Kw-"),
                                 std::string("&2D0AYQ-"),
                                 std::string("&3KzYPQ-"),            // halves of a pair
                                 std::string("&U,BTFw-&ZeVnLIqe-"),  // a superfluous shift, RFC 3501 §5.1.3
                                 std::string("&AOk=-"),
                                 std::string("&AO\xe9-"),
                                 std::string("\xc3\xbc"),
                                 std::string("\xfc"),
                                 std::string("a\tb"),
                                 std::string("\x7f"),
                                 std::string("a\0b", 3)}) {
    CAPTURE(raw);
    CHECK_FALSE(decode_modified_utf7(raw).has_value());
    CHECK(is_utf8(display_name(raw)));
  }
}

TEST_CASE("every text survives the way there and back, and every valid name has one spelling") {
  mailhaul::mail::testing::Random random(11);
  const std::uint32_t starts[] = {0, 0x20, 0x7E, 0x80, 0x7FF, 0xD7FF, 0xE000, 0xFFFF, 0x10000, 0x10FFFF};
  for (int round = 0; round < 3000; ++round) {
    std::string utf8;
    for (std::size_t i = random() % 8; i > 0; --i) {
      const std::uint32_t code = random() % 2 == 0 ? starts[random() % 10] : random() % 0x300;
      if (code < 0x80)
        utf8 += static_cast<char>(code);
      else if (code < 0x800)
        utf8 += {static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 63))};
      else if (code < 0x10000)
        utf8 += {static_cast<char>(0xE0 | code >> 12), static_cast<char>(0x80 | (code >> 6 & 63)),
                 static_cast<char>(0x80 | (code & 63))};
      else
        utf8 += {static_cast<char>(0xF0 | code >> 18), static_cast<char>(0x80 | (code >> 12 & 63)),
                 static_cast<char>(0x80 | (code >> 6 & 63)), static_cast<char>(0x80 | (code & 63))};
    }
    REQUIRE(is_utf8(utf8));
    const std::string raw = encode_modified_utf7(utf8);
    REQUIRE(decode_modified_utf7(raw) == std::optional(utf8));
    REQUIRE(display_name(raw) == utf8);
  }
  const std::string letters = "&-AOkap,+/2D3crKw \xc3";
  for (int round = 0; round < 30000; ++round) {
    std::string raw;
    for (std::size_t i = random() % 10; i > 0; --i) raw += letters[random() % letters.size()];
    const auto decoded = decode_modified_utf7(raw);
    if (decoded) REQUIRE(encode_modified_utf7(*decoded) == raw);
    REQUIRE(is_utf8(display_name(raw)));
  }
}

TEST_CASE("octets that are not UTF-8 are taken as Latin-1") {
  CHECK(encode_modified_utf7("\xfc") == "&APw-");
  CHECK(encode_modified_utf7("\xc3\xbc\xff") == "&APwA,w-");
  CHECK(display_name("Entw\xfcrfe") == "Entw\xc3\xbcrfe");
  CHECK(display_name("Entw\xc3\xbcrfe") == "Entw\xc3\xbcrfe");
  CHECK(display_name("R&D") == "R&D");
  CHECK(display_name("R&D \xc3\xbc") == "R&D \xc3\xbc");
}

TEST_CASE("hierarchy") {
  using Components = std::vector<std::string>;
  CHECK(hierarchy("a/b/c", '/') == Components{"a", "b", "c"});
  CHECK(hierarchy("a/b", std::nullopt) == Components{"a/b"});
  CHECK(hierarchy("a.b/c", '.') == Components{"a", "b/c"});
  CHECK(hierarchy("iNbOx/iNbOx", '/') == Components{"INBOX", "iNbOx"});
  CHECK(hierarchy("INBOX", std::nullopt) == Components{"INBOX"});
  CHECK(hierarchy("", '/') == Components{""});
  CHECK(hierarchy("/a//b/", '/') == Components{"", "a", "", "b", ""});
  CHECK(hierarchy("Entw&APw-rfe/\xfc/R&D", '/') == Components{"Entw\xc3\xbcrfe", "\xc3\xbc", "R&D"});
  CHECK(hierarchy("..\\etc", '\\') == Components{"..", "etc"});
  CHECK(hierarchy(std::string("a\0b", 3), '/') == Components{std::string("a\0b", 3)});
}

TEST_CASE("collision keys: case twins and normalisation twins are one, others are not") {
  CHECK(collision_key("Drafts") == collision_key("dRAFTS"));
  CHECK(collision_key("\xc3\x9c"
                      "ber") == collision_key("u\xcc\x88"
                                              "BER"));
  CHECK(collision_key("Stra\xc3\x9f"
                      "e") == collision_key("STRASSE"));
  CHECK(collision_key("\xe2\x84\xab") == collision_key("\xc3\xa5"));              // ANGSTROM SIGN, å
  CHECK(collision_key("\xce\xa3\xce\xa3") == collision_key("\xcf\x83\xcf\x82"));  // final sigma
  CHECK(collision_key("a") != collision_key("\xc3\xa4"));
  CHECK(collision_key("").empty());
  CHECK(collision_key("A\xff") == "a\xff");
  CHECK(to_nfc("u\xcc\x88") == "\xc3\xbc");
  CHECK(to_nfc("\xc3\xbc") == "\xc3\xbc");
  CHECK(to_nfc("\xff\xc3") == "\xff\xc3");
  CHECK(to_nfc(std::string("a\0\xcc\x88", 4)) == std::string("a\0\xcc\x88", 4));
  for (const char* name : {"", "INBOX", "\xc3\x9c", "u\xcc\x88", "\xff", "\xf0\x9f\x92\xac"})
    CHECK(collision_key(collision_key(name)) == collision_key(name));
}

TEST_CASE("INBOX") {
  CHECK(is_inbox("INBOX"));
  CHECK(is_inbox("inBox"));
  CHECK_FALSE(is_inbox("INBOX "));
  CHECK_FALSE(is_inbox("INBOX/"));
  CHECK_FALSE(is_inbox(""));
}
