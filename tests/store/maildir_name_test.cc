// Names: of messages, of directories.
#include <doctest/doctest.h>

#include <random>
#include <set>

#include "protocols/base/text.h"
#include "protocols/mail/mailbox_name.h"
#include "store/maildir_directory.h"
#include "tests/store/maildir_fixture.h"

namespace mailhaul::store {
namespace {

using Names = std::vector<std::string>;

std::string directory(const Names& components, MaildirNames names = MaildirNames::Utf7) {
  return directory_name(names, components);
}

TEST_CASE("keys: 26 letters, one spelling each") {
  CHECK(to_text(DeliveryKey{}) == std::string(26, 'a'));
  DeliveryKey ones{};
  ones.fill(0xFF);
  CHECK(to_text(ones) == std::string(25, '7') + "4");
  std::mt19937_64 random(1);
  for (int i = 0; i < 1000; ++i) {
    DeliveryKey key{};
    for (auto& octet : key) octet = static_cast<std::uint8_t>(random());
    const std::string text = to_text(key);
    CHECK(text.size() == 26);
    CHECK(key_from_text(text) == key);
    CHECK_FALSE(key_from_text(text.substr(1)));
    CHECK_FALSE(key_from_text(to_upper(text)));
  }
  CHECK_FALSE(key_from_text(std::string(25, 'a') + "b"));  // padding bits that are not zero
  CHECK_FALSE(key_from_text(std::string(25, 'a') + "1"));
  // RFC 4648 §10: BASE32("foobar") = MZXW6YTBOI
  DeliveryKey foobar{};
  std::copy_n("foobar", 6, foobar.begin());
  CHECK(to_text(foobar).starts_with("mzxw6ytbo"));
}

TEST_CASE("message names: written, read back, and read after other programs") {
  MaildirName name{1'700'000'000, key_of("x"), 123, 130, "FSa"};
  const std::string text = name.text();
  CHECK(text == "1700000000.K" + to_text(name.key) + ".mailhaul,S=123,W=130:2,FSa");
  const auto back = MaildirName::parse(text);
  REQUIRE(back);
  CHECK(back->text() == text);

  const std::string base = "1700000000.K" + to_text(name.key) + ".mailhaul";
  for (const char* rest :
       {"", ",S=123", ":2,", ",W=130:2,S", ",S=123,W=130,X=9,Y:2,FS", ",S=x:2,S", ":1,S", ",", ",:2,"})
    CHECK_MESSAGE(MaildirName::parse(base + rest), rest);
  CHECK(MaildirName::parse(base + ",W=130,S=123:2,RS")->disk_octets == 123);
  CHECK(MaildirName::parse(base + ",W=130,S=123:2,RS")->letters == "RS");
  CHECK(MaildirName::parse(base + ",S=99999999999999999999999:2,")->disk_octets == 0);
  for (const std::string& foreign :
       {std::string(), std::string("1700000000.M1P2.host,S=1,W=1:2,S"), "x" + base, base + "x", base + ";2,S",
        "1700000000.K" + to_text(name.key) + ".other:2,S", std::string("-5.K") + to_text(name.key) + ".mailhaul",
        std::string("99999999999999999999.K") + to_text(name.key) + ".mailhaul", text.substr(1, 11)})
    CHECK_MESSAGE(!MaildirName::parse(foreign), foreign);
}

TEST_CASE("directory names: plain ones look like everybody's") {
  CHECK(directory({"INBOX"}).empty());
  CHECK(directory({"INBOX", "Sent"}) == ".INBOX.Sent");
  CHECK(directory({"Archive", "2024"}) == ".Archive.2024");
  CHECK(directory({"Gr\u00FC\u00DFe"}) == ".Gr&APwA3w-e");
  CHECK(directory({"Gr\u00FC\u00DFe"}, MaildirNames::Utf8) == ".Gr\u00FC\u00DFe");
  CHECK(directory({"Tom & Jerry"}) == ".Tom &- Jerry");
  CHECK(directory({"Tom & Jerry"}, MaildirNames::Utf8) == ".Tom & Jerry");
  CHECK(directory({"Inbox~2"}) == ".Inbox~2");
}

TEST_CASE("directory names: hostile ones are harmless") {
  CHECK(directory({".."}) == ".\\2e\\2e");
  CHECK(directory({"."}) == ".\\2e");
  CHECK(directory({"a/../../etc"}) == ".a\\2f\\2e\\2e\\2f\\2e\\2e\\2fetc");
  CHECK(directory({std::string("a\0b\r\n", 5)}) == ".a\\00b\\0d\\0a");
  CHECK(directory({"cur"}) == ".\\63ur");
  CHECK(directory({"a", "TMP"}) == ".a.\\54MP");
  CHECK(directory({""}) == ".\\empty");
  CHECK(directory({"", ""}) == ".\\empty.\\empty");
  CHECK(directory({"\\empty"}) == ".\\5cempty");
  CHECK(directory({" x "}) == ".\\20x\\20");
  CHECK(directory({" "}) == ".\\20");
  CHECK(directory({"~root"}) == ".\\7eroot");
  CHECK(directory({"inbox"}) == ".\\69nbox");
  CHECK(directory({"Archive", "inbox"}) == ".Archive.inbox");
  CHECK(directory({"INBOX", ""}) == ".INBOX.\\empty");
  CHECK(directory({"\xE9t\xE9"}) == ".\\e9t\\e9");
  CHECK(directory({"\xC3\xA9t\xC3\xA9"}) != directory({"\xE9t\xE9"}));
}

TEST_CASE("directory names: long ones are cut, stay distinct, and keep children below their parents") {
  for (const auto names : {MaildirNames::Utf7, MaildirNames::Utf8}) {
    const std::string a(300, 'a');
    const std::string cut = directory({a}, names);
    CHECK(cut.size() <= kDirectoryLimit);
    CHECK(cut != directory({a + "b"}, names));
    CHECK(directory({a, "child"}, names) == cut + ".child");
    CHECK(directory({std::string(239, 'a')}, names) == "." + std::string(239, 'a'));  // just fits
    CHECK(directory({std::string(240, 'a')}, names).size() <= 120);

    std::string kanji;
    for (int i = 0; i < 5000; ++i) kanji += "\u6F22";
    const std::string short_kanji = directory({kanji}, names);
    CHECK(short_kanji.size() <= kDirectoryLimit);
    if (names == MaildirNames::Utf7)
      CHECK(mail::decode_modified_utf7(short_kanji.substr(1)));
    else
      CHECK(is_utf8(short_kanji));

    // Deeper than any file name can say.
    Names deep;
    std::set<std::string> all;
    for (int i = 0; i < 2000; ++i) {
      deep.push_back("level");
      const std::string name = directory(deep, names);
      CHECK(name.size() <= kDirectoryLimit);
      all.insert(name);
    }
    CHECK(all.size() == 2000);
    // 80 Kanji are 240 octets of UTF-8 but 215 of modified UTF-7.
    CHECK(components_of(MaildirNames::Utf7, directory({kanji.substr(0, 240)})) == Names{kanji.substr(0, 240)});
  }
}

Names hostile_components(std::mt19937_64& random) {
  static const Names pieces{"a",
                            "B",
                            ".",
                            "..",
                            "/",
                            "\\",
                            "~",
                            " ",
                            "\t",
                            "\r",
                            "\n",
                            "cur",
                            "new",
                            "tmp",
                            "INBOX",
                            "inbox",
                            "&",
                            "&-",
                            "-",
                            ",",
                            "+",
                            "\u00FC",
                            "\u6F22",
                            "\U0001F600",
                            "\xFF",
                            "\xC3",
                            "\x7F",
                            "empty",
                            "\\2e",
                            "\\~",
                            "\\empty",
                            "%",
                            "*",
                            "\"",
                            std::string(1, '\0'),
                            "2e",
                            ":",
                            "e\u0301",
                            "\u00E9",
                            std::string(250, 'x'),
                            std::string(90, 'y')};
  Names components(1 + random() % 4);
  for (auto& component : components) {
    const std::size_t count = random() % 5;
    for (std::size_t i = 0; i < count; ++i) component += pieces[random() % pieces.size()];
  }
  return components;
}

TEST_CASE("directory names: 30,000 hostile names are safe, distinct and come back") {
  for (const auto names : {MaildirNames::Utf7, MaildirNames::Utf8}) {
    std::mt19937_64 random(names == MaildirNames::Utf7 ? 7 : 8);
    std::map<std::string, Names> seen;
    std::size_t whole = 0;
    for (int i = 0; i < 15'000; ++i) {
      const Names components = hostile_components(random);
      const std::string name = directory(components, names);
      CAPTURE(printable(name, 1000));
      REQUIRE(is_directory_name(name));
      REQUIRE(name.size() <= kDirectoryLimit);
      REQUIRE(name.find_first_of(std::string_view("/\0\r\n\t", 5)) == std::string::npos);
      REQUIRE(is_utf8(name));
      if (components != Names{"INBOX"}) {
        REQUIRE(name.size() > 1);
        REQUIRE(name.find("..") == std::string::npos);
        REQUIRE(name[1] != '~');
        REQUIRE(name[1] != ' ');
        REQUIRE(name.back() != ' ');
        REQUIRE(name.back() != '.');
      }
      const auto [before, fresh] = seen.emplace(name, components);
      if (!fresh) REQUIRE(before->second == components);
      const auto back = components_of(names, name);
      REQUIRE(back);
      if (name.find("\\~") == std::string::npos) {
        REQUIRE(*back == components);
        ++whole;
      }
    }
    CHECK(whole > 8000);
    CHECK(seen.size() > 10'000);
  }
}

TEST_CASE("directory names: what others made is read as well as can be, what is none is refused") {
  CHECK(components_of(MaildirNames::Utf7, "") == Names{"INBOX"});
  CHECK(components_of(MaildirNames::Utf7, ".Gr\u00FC\u00DFe") ==
        Names{"Gr\u00FC\u00DFe"});  // Courier's in a UTF-7 tree
  CHECK(components_of(MaildirNames::Utf8, ".Tom & Jerry.x") == Names{"Tom & Jerry", "x"});
  CHECK(components_of(MaildirNames::Utf7, ".a\\zz\\2") == Names{"a\\zz\\2"});
  for (const char* none : {"cur", ".", "..", ".a/b", ".a..b", ".a."})
    CHECK_FALSE(components_of(MaildirNames::Utf7, none));
}

}  // namespace
}  // namespace mailhaul::store
