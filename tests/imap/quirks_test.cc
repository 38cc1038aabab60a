// Which rows a server turns on, and that a user has the last word. What each row does is tested where it is done
// (tests/sync/imap_quirks_test.cc).
#include <doctest/doctest.h>

#include <algorithm>

#include "protocols/imap/quirks.h"

using namespace mailhaul::imap;

namespace {

std::string on(const std::string& host, const std::string& greeting = "", std::vector<std::string> capabilities = {},
               std::vector<std::pair<std::string, std::string>> id = {}) {
  return quirks_of({host, greeting, std::move(id),
                    [&](std::string_view name) {
                      return std::ranges::any_of(capabilities, [&](const std::string& own) {
                        return name.ends_with('=') ? own.starts_with(name) : own == name;
                      });
                    }},
                   {})
      .names();
}

}  // namespace

TEST_CASE("quirks: recognised by host, greeting, ID and capability") {
  CHECK(on("imap.163.com") == "send-id");
  CHECK(on("imap.vip.126.com") == "send-id");
  CHECK(on("not163.com").empty());
  CHECK(on("163.com.example.org").empty());
  CHECK(on("mail.example.cn", "Coremail System IMap Server Ready(1.0)") == "send-id");
  CHECK(on("outlook.office365.com", "The Microsoft Exchange IMAP4 service is ready.") ==
        "narrow-pipeline rough-sizes placeholders whole-partials");
  CHECK(on("mail.example.org", "The Microsoft Exchange IMAP4 service is ready.") ==
        "narrow-pipeline rough-sizes placeholders");
  CHECK(on("x", "Microsoft Exchange Server 2003 IMAP4rev1 server version 6.5") ==
        "no-namespace narrow-pipeline rough-sizes placeholders");
  CHECK(on("Imap.Mail.Yahoo.COM", "", {"UIDONLY", "MESSAGELIMIT=1000"}) == "narrow-pipeline small-slices uid-only");
  CHECK(on("imap.example.org", "", {"UIDONLY", "MESSAGELIMIT=1000"}) == "uid-only");
  CHECK(on("imap.example.org", "", {"UIDONLY"}).empty());
  CHECK(on("imap.mail.me.com") == "fetch-uids broken-qresync");
  CHECK(on("imap.yandex.ru") == "fetch-uids");
  CHECK(on("imap.exmail.qq.com") == "fetch-uids");
  CHECK(on("mail.example.org", "Courier-IMAP ready. Copyright 1998-2018") == "no-examine");
  CHECK(on("localhost", "[CAPABILITY IMAP4REV1] IMAP4rev1 DavMail 6.0 server ready") == "no-sizes");
  CHECK(on("localhost", "", {}, {{"name", "DavMail"}}) == "no-sizes");
  CHECK(on("imap.example.org", "Dovecot ready.", {"IMAP4REV1"}, {{"name", "Dovecot"}}).empty());
}

TEST_CASE("quirks: the user has the last word, and the later word counts") {
  const QuirkChoice choice{{Quirk::SendId, false}, {Quirk::Lockstep, false}, {Quirk::Lockstep, true}};
  CHECK(quirks_of({"imap.163.com", "", {}, {}}, choice).names() == "lockstep");
}

TEST_CASE("quirks: every row is whole, and found by its name") {
  CHECK(quirk_rows().size() == kQuirks);
  for (const auto& row : quirk_rows()) {
    CHECK(quirk_named(row.name) == row.quirk);
    CHECK(row_of(row.quirk).name == row.name);
    CHECK_FALSE(row.effect.empty());
    CHECK_FALSE(row.evidence.empty());
    CHECK(row.evidence.find('\n') == std::string_view::npos);
  }
  CHECK_FALSE(quirk_named("nonsense"));
}
