// What a DAV server may say, whole, in pieces and cut, and what is not read.
#include "protocols/dav/multistatus.h"

#include <doctest/doctest.h>

#include "protocols/dav/href.h"

using namespace mailhaul;
using namespace mailhaul::dav;

namespace {

struct Reading {
  std::vector<Member> members;
  std::string token, error;
};

Reading read(std::string_view xml, std::size_t step = SIZE_MAX, std::size_t limit = 1 << 20) {
  Reading out;
  MultistatusReader reader(
      [&](Member&& member) {
        out.members.push_back(std::move(member));
        return done();
      },
      limit);
  Done fed = done();
  for (std::size_t at = 0; fed && at < xml.size(); at += std::min(step, xml.size() - at))
    fed = reader.feed(xml.substr(at, step));
  if (fed) fed = reader.finish();
  if (!fed) out.error = fed.error().what;
  out.token = reader.sync_token();
  return out;
}

constexpr std::string_view kAnswer =
    "<?xml version='1.0' encoding='utf-8'?>\n"
    "<D:multistatus xmlns:D='DAV:' xmlns:C='urn:ietf:params:xml:ns:carddav' xmlns:cs='http://calendarserver.org/ns/'>\n"
    "<D:response><D:href> /b/1.vcf </D:href><D:propstat><D:prop><D:getetag>\"e1\"</D:getetag>"
    "<C:address-data>BEGIN:VCARD\r\nFN:J&#252;rgen &amp; Co\r\n <folded>\nEND:VCARD&#13;\n</C:address-data></D:prop>"
    "<D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>\r\n"
    "<D:response><D:href>/b/2.vcf</D:href><D:status>HTTP/1.1 404 Not Found</D:status></D:response>"
    "<D:response><D:href>/b/</D:href><D:propstat><D:prop><D:displayname>Freunde</D:displayname>"
    "<D:resourcetype><D:collection/><C:addressbook/></D:resourcetype><cs:getctag>c7</cs:getctag>"
    "<D:supported-report-set><D:supported-report><D:report><D:sync-collection/></D:report></D:supported-report>"
    "</D:supported-report-set></D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat>"
    "<D:propstat><D:prop><D:getetag>not this</D:getetag><D:sync-token>nor this</D:sync-token></D:prop>"
    "<D:status>HTTP/1.1 404 Not Found</D:status></D:propstat></D:response>"
    "<D:sync-token>http://x/7</D:sync-token></D:multistatus>";

std::string without(std::string_view text, std::string_view part) {
  std::string out(text);
  out.erase(out.find(part), part.size());
  return out;
}

}  // namespace

TEST_CASE("multistatus: properties, states and cards, in pieces of any size") {
  const std::string xml = without(kAnswer, "<folded>");
  for (const std::size_t step : {std::size_t{1}, std::size_t{2}, std::size_t{7}, std::size_t{64}, xml.size()}) {
    CAPTURE(step);
    const auto got = read(xml, step);
    CHECK(got.error == "");
    REQUIRE(got.members.size() == 3);
    CHECK(got.members[0].href == "/b/1.vcf");
    CHECK(got.members[0].etag == "\"e1\"");
    CHECK(got.members[0].card == "BEGIN:VCARD\r\nFN:J\u00fcrgen & Co\r\n \nEND:VCARD\r\n");
    CHECK(got.members[1].status == 404);
    CHECK_FALSE(got.members[1].card.has_value());
    CHECK(got.members[2].display_name == "Freunde");
    CHECK(got.members[2].addressbook);
    CHECK(got.members[2].reports_sync);
    CHECK(got.members[2].ctag == "c7");
    CHECK(got.members[2].etag == "");  // of a propstat that is no 2xx
    CHECK(got.members[2].sync_token == "");
    CHECK(got.token == "http://x/7");
  }
}

TEST_CASE("multistatus: one that is cut anywhere is an error") {
  const std::string xml = without(kAnswer, "<folded>");
  for (std::size_t length = 0; length < xml.size(); ++length) {
    CAPTURE(length);
    CHECK(read(xml.substr(0, length)).error != "");
  }
}

TEST_CASE("multistatus: what is no multistatus, is not well-formed, or is a bomb") {
  const auto wrapped = [](const std::string& inside) {
    return "<multistatus xmlns='DAV:'>" + inside + "</multistatus>";
  };
  const auto repeated = [](const std::string& text, int times) {
    std::string out;
    for (int i = 0; i < times; ++i) out += text;
    return out;
  };
  const std::string bomb =
      "<!DOCTYPE m [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;&a;'>]><multistatus xmlns='DAV:'><response><href>&b;"
      "</href></response></multistatus>";
  CHECK(read(bomb).error.find("document type") != std::string::npos);
  CHECK(read("<!DOCTYPE m SYSTEM 'file:///etc/passwd'>" + wrapped("")).error.find("document type") !=
        std::string::npos);
  CHECK(read(wrapped(repeated("<x>", 5000) + repeated("</x>", 5000))).error.find("within each other") !=
        std::string::npos);
  CHECK(read(wrapped("<response><href>" + repeated("0123456789", 10'000) + "</href></response>"))
            .error.find("too long") != std::string::npos);
  CHECK(read("<html><body>Welcome to the hotel</body></html>").error.find("no multistatus") != std::string::npos);
  CHECK(read("<multistatus><response/></multistatus>").error.find("no multistatus") != std::string::npos);
  CHECK(read(wrapped("<response><href>/\x01</href></response>")).error != "");
  CHECK(read(wrapped("<response><href>/\xFF</href></response>")).error != "");
  CHECK(read(wrapped("<response>&nbsp;</response>")).error != "");
  CHECK(read("").error != "");
}

TEST_CASE("multistatus: a card that is too long is not kept, and takes no other with it") {
  const std::string card(5000, 'x');
  const auto response = [](const std::string& href, const std::string& data) {
    return "<response><href>" + href + "</href><propstat><prop><C:address-data>" + data +
           "</C:address-data></prop><status>HTTP/1.1 200 OK</status></propstat></response>";
  };
  const auto got = read("<multistatus xmlns='DAV:' xmlns:C='urn:ietf:params:xml:ns:carddav'>" + response("/1", card) +
                            response("/2", "short") + "</multistatus>",
                        100, 1000);
  CHECK(got.error == "");
  REQUIRE(got.members.size() == 2);
  CHECK(got.members[0].too_long);
  CHECK(got.members[0].card == "");
  CHECK(got.members[1].card == "short");
}

TEST_CASE("href: where references lead") {
  CHECK(resolved("https://h/a/b/", "/x y") == std::nullopt);
  CHECK(resolved("https://h/a/b/", "/x%20y") == "https://h/x%20y");
  CHECK(resolved("https://h/a/b/", "c.vcf") == "https://h/a/b/c.vcf");
  CHECK(resolved("https://h:443/a", "https://H:443/z") == "https://h/z");
  CHECK(resolved("https://h:8443/a", "/z") == "https://h:8443/z");
  CHECK(resolved("https://h/a", "//other/z") == "https://other/z");
  CHECK(resolved("https://h/a", "ftp://h/z") == std::nullopt);
  CHECK(resolved("https://h/a", "https://user:secret@h/z") == std::nullopt);
  CHECK(path_of("https://h/a%40b/%e4%2f%25") == "/a@b/\xe4%2F%25");
  CHECK(is_member("/a/b/", "/a/b/c.vcf"));
  CHECK_FALSE(is_member("/a/b/", "/a/b/"));
  CHECK_FALSE(is_member("/a/b", "/a/b/c/d.vcf"));
  CHECK_FALSE(is_member("/a/b", "/a/bc.vcf"));
  CHECK(origin_of("http://[::1]:8080/x")->host == "[::1]");
}
