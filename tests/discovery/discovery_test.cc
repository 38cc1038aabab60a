// The pure parts of discovery: addresses, the document of a domain, the table of providers. The way through all sources
// is in tests/e2e/discover_test.py.
#include "protocols/discovery/discovery.h"

#include <doctest/doctest.h>

#include <set>
#include <string>

#include "protocols/discovery/autoconfig.h"
#include "protocols/imap/quirks.h"

using namespace mailhaul;
using namespace mailhaul::discovery;

namespace {

struct Fields {
  std::string type = "imap", host = "mail.example.org", port = "993", socket = "SSL", user = "%EMAILADDRESS%";
  std::string auth = "<authentication>password-cleartext</authentication>";
};

std::string server(const Fields& f) {
  return "<incomingServer type=\"" + f.type + "\"><hostname>" + f.host + "</hostname><port>" + f.port +
         "</port><socketType>" + f.socket + "</socketType><username>" + f.user + "</username>" + f.auth +
         "</incomingServer>";
}
std::string document(const std::string& inner) {
  return "<?xml version=\"1.0\"?><clientConfig version=\"1.1\"><emailProvider id=\"x\">" + inner +
         "</emailProvider></clientConfig>";
}

}  // namespace

TEST_CASE("autoconfig: what a good document says") {
  Fields pop3;
  pop3.type = "pop3";
  pop3.port = "995";
  Fields imap;
  imap.host = " Mail.%EMAILDOMAIN% ";
  imap.user = "%EMAILLOCALPART%";
  imap.socket = "STARTTLS";
  imap.port = "143";
  imap.auth =
      "<authentication>OAuth2</authentication><authentication>password-encrypted</authentication>"
      "<authentication>password-cleartext</authentication>";
  const auto offers = read_autoconfig(document(server(pop3) + server(imap)), "a.b@example.org");
  REQUIRE(offers);
  REQUIRE(offers->size() == 2);
  CHECK((*offers)[0].server == Server{Protocol::Imap, "mail.example.org", 143, discovery::Security::StartTls});
  CHECK((*offers)[0].user == "a.b");
  CHECK((*offers)[0].auth == std::vector<std::string>{"oauth2", "password"});
  CHECK((*offers)[1].server == Server{Protocol::Pop3, "mail.example.org", 995, discovery::Security::Tls});
  CHECK((*offers)[1].user == "a.b@example.org");
}

TEST_CASE("autoconfig: servers that cannot be used are left out") {
  const auto with = [](auto change) {
    Fields fields;
    change(fields);
    return fields;
  };
  const Fields cases[] = {
      with([](Fields& f) { f.socket = "plain"; }),
      with([](Fields& f) { f.socket = ""; }),
      with([](Fields& f) { f.port = "0"; }),
      with([](Fields& f) { f.port = ""; }),
      with([](Fields& f) { f.port = "65536"; }),
      with([](Fields& f) { f.port = "9 93"; }),
      with([](Fields& f) { f.port = "-1"; }),
      with([](Fields& f) { f.port = "99999999999999999999"; }),
      with([](Fields& f) { f.host = "127.0.0.1"; }),
      with([](Fields& f) { f.host = "2130706433"; }),
      with([](Fields& f) { f.host = "0x7f.1"; }),
      with([](Fields& f) { f.host = "[::1]"; }),
      with([](Fields& f) { f.host = "mail"; }),
      with([](Fields& f) { f.host = ""; }),
      with([](Fields& f) { f.host = "a@mail.example.org"; }),
      with([](Fields& f) { f.host = "mail.example.org/x"; }),
      with([](Fields& f) { f.host = "mail..example.org"; }),
      with([](Fields& f) { f.host = "mail.example.org:993"; }),
      with([](Fields& f) { f.host = std::string(64, 'a') + ".example.org"; }),
      with([](Fields& f) { f.user = "a&#10;b"; }),
      with([](Fields& f) { f.user = std::string(400, 'a'); }),
      with([](Fields& f) { f.auth = "<authentication>NTLM</authentication>"; }),
      with([](Fields& f) { f.auth = ""; }),
      with([](Fields& f) { f.type = "exchange"; }),
      with([](Fields& f) { f.type = "smtp"; }),
  };
  for (const Fields& fields : cases) {
    CAPTURE(server(fields));
    CHECK(!read_autoconfig(document(server(fields)), "me@example.org"));
    const auto beside = read_autoconfig(document(server(fields) + server({})), "me@example.org");
    REQUIRE(beside);
    CHECK(beside->size() == 1);
  }
}

TEST_CASE("autoconfig: documents that are refused whole") {
  const std::string good = document(server({}));
  const std::string bad[] = {
      "<!DOCTYPE x [<!ENTITY a \"b\">]>" + good.substr(good.find("<client")),
      "<?xml version=\"1.0\"?><!DOCTYPE clientConfig SYSTEM \"http://x/\">" + good.substr(good.find("<client")),
      good.substr(0, good.size() - 5),
      std::string(kLongestDocument, ' ') + good,
      "",
      "<clientConfig/>",
      "<html/>",
      document(""),
  };
  for (const std::string& text : bad) CHECK_MESSAGE(!read_autoconfig(text, "me@example.org"), text.substr(0, 200));
  std::string many;
  for (int i = 0; i < 300; ++i) many += server({});
  const auto bounded = read_autoconfig(document(many), "me@example.org");
  REQUIRE(bounded);
  CHECK(bounded->size() == 16);
  // A placeholder in what a placeholder brings is text.
  const auto nested = read_autoconfig(good, "%EMAILADDRESS%@example.org");
  REQUIRE(nested);
  CHECK(nested->front().user == "%EMAILADDRESS%@example.org");
}

TEST_CASE("addresses: what they are in DNS") {
  const auto ascii = [](std::string_view text) {
    const auto made = ascii_address(text);
    return made ? *made : std::string();
  };
  CHECK(ascii("Me@Example.ORG") == "Me@example.org");
  CHECK(ascii("me@example.org.") == "me@example.org");
  CHECK(ascii("a@b@example.org") == "a@b@example.org");
  CHECK(ascii("ich@B\xC3\xBC"
              "cher.example") == "ich@xn--bcher-kva.example");
  CHECK(ascii("x@stra\xC3\x9F"
              "e.example") == "x@xn--strae-oqa.example");
  CHECK(ascii("\xD0\xB8@\xD0\xBF\xD1\x80\xD0\xB8\xD0\xBC\xD0\xB5\xD1\x80.example") == "\xD0\xB8@xn--e1afmkfd.example");
  for (const char* bad :
       {"", "me", "@example.org", "me@", "me@localhost", "me@127.0.0.1", "me@[::1]", "m e@example.org",
        "me@example..org", "me@\xFF.org", "me@ex\x01mple.org", "me@.org", "me@exa mple.org", "me@a/b.org"})
    CHECK_MESSAGE(!ascii_address(bad), bad);
  CHECK(!ascii_address(std::string(250, 'a') + "@example.org"));
}

TEST_CASE("presets: every provider is whole") {
  CHECK(presets().size() >= 60);
  std::set<std::string> ids, domains;
  for (const Preset& preset : presets()) {
    CAPTURE(preset.id);
    CHECK(ids.insert(preset.id).second);
    CHECK(!preset.name.empty());
    CHECK((!preset.domains.empty() || !preset.mx.empty()));
    for (const std::string& domain : preset.domains) {
      CAPTURE(domain);
      CHECK(domains.insert(domain).second);
      CHECK(is_server_name(domain));
    }
    for (const Server& server : preset.servers) CHECK((is_server_name(server.host) || preset.id == "proton"));
    for (const std::string& auth : preset.auth)
      CHECK((auth == "password" || auth == "app-password" || auth == "oauth2"));
    const bool oauth = std::find(preset.auth.begin(), preset.auth.end(), "oauth2") != preset.auth.end();
    CHECK(oauth == preset.oauth.has_value());
    if (preset.oauth) {
      CHECK(preset.oauth->authorization.starts_with("https://"));
      CHECK(preset.oauth->token.starts_with("https://"));
      CHECK(!preset.oauth->scope.empty());
    }
    // Who wants a password of a kind of its own says so.
    if (preset.auth.front() == "app-password") CHECK((!preset.password_help.empty() || !preset.switch_on.empty()));
    CHECK(preset.link.starts_with("https://"));
    for (const std::string& quirk : preset.quirks) CHECK_MESSAGE(imap::quirk_named(quirk), quirk);
  }
}

TEST_CASE("presets: by domain, mail exchanger, server") {
  CHECK(preset_of_domain("gmail.com")->id == "gmail");
  CHECK(preset_of_domain("example.org") == nullptr);
  CHECK(preset_of_mx("aspmx.l.google.com")->id == "gmail");
  CHECK(preset_of_mx("evilgoogle.com") == nullptr);
  CHECK(preset_of_mx("x.olc.protection.outlook.com") != preset_of_mx("x.mail.protection.outlook.com"));
  CHECK(preset_of_server("IMAP.gmail.com")->id == "gmail");
  CHECK(preset_of_server("imap.gmail.com.example.org") == nullptr);
  CHECK(!read_presets("{}"));
  CHECK(!read_presets("[{\"id\":\"x\"}]"));
  CHECK(!read_presets("["));
}
