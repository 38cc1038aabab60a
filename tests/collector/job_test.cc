// What a user types: sources, destinations, rules, sizes, days, quirks.
#include "collector/job.h"

#include <doctest/doctest.h>

using namespace mailhaul;
using namespace mailhaul::collector;

namespace {

sync::SourceMailbox mailbox(std::vector<std::string> path, bool personal = true) {
  sync::SourceMailbox out;
  out.path = std::move(path);
  out.personal = personal;
  return out;
}

}  // namespace

TEST_CASE("source: the last @ splits, %XX is decoded, ports have defaults") {
  struct Row {
    const char *text, *user, *host;
    int port;
    const char* identity;
  };
  for (const auto& row : std::vector<Row>{{"imaps://me@example.org", "me", "example.org", 993, "imap:me@example.org"},
                                          {"imap://me@example.org/", "me", "example.org", 143, "imap:me@example.org"},
                                          {"imaps://me@example.org@Mail.Example.ORG:1993", "me@example.org",
                                           "mail.example.org", 1993, "imap:me@example.org@mail.example.org:1993"},
                                          {"imaps://a%3Ab%40c@h", "a:b@c", "h", 993, "imap:a:b@c@h"},
                                          {"imaps://100%@h", "100%", "h", 993, "imap:100%@h"},
                                          {"imaps://me@[::1]:1143", "me", "::1", 1143, "imap:me@::1:1143"},
                                          {"imap://me@[2001:db8::7]", "me", "2001:db8::7", 143, "imap:me@2001:db8::7"},
                                          {"pop3s://me@h", "me", "h", 995, "pop3:me@h"},
                                          {"pop3://me@h", "me", "h", 110, "pop3:me@h"},
                                          {"pop3s://me@h:993", "me", "h", 993, "pop3:me@h:993"},
                                          {"pop3s://recent:me@gmail.com@pop.gmail.com", "recent:me@gmail.com",
                                           "pop.gmail.com", 995, "pop3:me@gmail.com@pop.gmail.com"}}) {
    CAPTURE(row.text);
    auto source = parse_source(row.text);
    REQUIRE(source);
    CHECK(source->user == row.user);
    CHECK(source->host == row.host);
    CHECK(source->port == row.port);
    CHECK(source->identity() == row.identity);
  }
}

TEST_CASE("source: what cannot be one is refused as the user's to mend, with advice where there is some") {
  for (const char* text : {"",
                           "me@example.org",
                           "example.org",
                           "imaps://",
                           "imaps://example.org",
                           "imaps://@example.org",
                           "imaps://me@",
                           "imaps://me@h:",
                           "imaps://me@h:0",
                           "imaps://me@h:65536",
                           "imaps://me@h:99x",
                           "imaps://me@[::1",
                           "imaps://me@[::1]9",
                           "imaps://me@[::1]:",
                           "imaps://me:secret@h",
                           "imaps://me@h/INBOX",
                           "imaps://me@h/a@b/c",
                           "imaps://me@h h",
                           "imaps://m\r\ne@h",
                           "imaps://m%0d%0ae@h",
                           "imaps://m%00@h",
                           "ftp://me@h",
                           "pop3s://me:secret@h",
                           "pop3s://recent:me:secret@h",
                           "imaps://recent:me@h"}) {
    CAPTURE(text);
    auto source = parse_source(text);
    REQUIRE_FALSE(source);
    CHECK(source.error().retry == Retry::AfterUserAction);
    CHECK_FALSE(source.error().advice.empty());
    CHECK(source.error().what.find("secret") == std::string::npos);
  }
}

TEST_CASE("destination: a Maildir's path, or a clear refusal") {
  CHECK(parse_destination("maildir:/home/me/Mail//")->maildir == "/home/me/Mail");
  CHECK(parse_destination("maildir:Mail")->maildir == "Mail");
  CHECK(parse_destination("maildir:/")->maildir == "/");
  for (const char* text : {"", "maildir:", "/home/me/Mail", "imaps://h", "imaps://me:secret@h", "mbox:/x"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_destination(text));
  }
}

TEST_CASE("destination: an IMAP account, with a state of its own for all that goes into it") {
  const auto account = parse_destination("imaps://me@Mail.example.org");
  REQUIRE(account);
  REQUIRE(account->imap);
  CHECK(account->maildir.empty());
  CHECK(account->imap->identity() == "imap:me@mail.example.org");
  CHECK(default_state(*account->imap).ends_with("/mailhaul/me@mail.example.org/state.db"));
}

TEST_CASE("rules: include, exclude, other people's mailboxes") {
  MailboxRules rules;
  CHECK(rules.wants(mailbox({"INBOX"})));
  CHECK_FALSE(rules.wants(mailbox({"Shared", "x"}, false)));
  rules.include = {"Archive*", "INBOX"};
  rules.exclude = {"*/2019"};
  CHECK(rules.wants(mailbox({"Archive", "2020"})));
  CHECK_FALSE(rules.wants(mailbox({"Archive", "2019"})));
  CHECK_FALSE(rules.wants(mailbox({"Trash"})));
  rules.all_namespaces = true;
  CHECK(rules.wants(mailbox({"Archive", "of Ann"}, false)));
}

TEST_CASE("rules: a mapping moves a mailbox and what is below it, the first that fits") {
  MailboxRules rules;
  rules.map = {*parse_map("Sent Items=Sent"), *parse_map("Old=Archive/Old"), *parse_map("Old/x=never")};
  CHECK(rules.place(mailbox({"Sent Items"})).components == std::vector<std::string>{"Sent"});
  CHECK(rules.place(mailbox({"Old", "x", "y"})).components == std::vector<std::string>{"Archive", "Old", "x", "y"});
  CHECK(rules.place(mailbox({"Older"})).components == std::vector<std::string>{"Older"});
  for (const char* text : {"", "=", "A=", "=B", "AB"}) CHECK_FALSE(parse_map(text));
}

TEST_CASE("days and sizes") {
  CHECK(*parse_day("1970-01-02") == 86400);
  CHECK(*parse_day("2024-02-29") == 1709164800);
  for (const char* text : {"", "2024", "2023-02-29", "2024-02-31", "2024-13-01", "2024-01-01 10:00", "yesterday"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_day(text));
  }
  CHECK(*parse_size("1048576") == 1048576);
  CHECK(*parse_size("500K") == 512000);
  CHECK(*parse_size("2G") == std::uint64_t{2} << 30);
  for (const char* text : {"", "K", "1.5M", "-1", "10MB", "18446744073709551615K", "99999999999999999999"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_size(text));
  }
}

TEST_CASE("quirks: switched on and off, an unknown one is named") {
  Quirks quirks;
  CHECK(apply_quirk("+lockstep", quirks));
  CHECK(apply_quirk("+no-examine", quirks));
  CHECK(apply_quirk("+no-condstore", quirks));
  using imap::Quirk;
  const auto has = [&](Quirk quirk) { return imap::quirks_of({}, quirks.chosen).has(quirk); };
  CHECK(has(Quirk::Lockstep));
  CHECK(has(Quirk::NoExamine));
  CHECK(quirks.masked == std::vector<std::string>{"CONDSTORE"});
  CHECK(apply_quirk("-lockstep", quirks));
  CHECK(apply_quirk("-no-CONDSTORE", quirks));
  CHECK_FALSE(has(Quirk::Lockstep));
  CHECK(has(Quirk::NoExamine));
  CHECK(quirks.masked.empty());
  for (const char* text : {"", "+", "lockstep", "+nonsense", "+no-"}) CHECK_FALSE(apply_quirk(text, quirks));
}

TEST_CASE("--pop3-leave: forever, delete, or days; and what does not go with it") {
  CHECK(*parse_leave("forever") == std::nullopt);
  CHECK(*parse_leave("delete") == 0);
  CHECK(*parse_leave("0") == 0);
  CHECK(*parse_leave("7") == 7 * 86'400);
  for (const char* text : {"", "never", "-1", "7d", "99999999999999999999", "36501"}) CHECK_FALSE(parse_leave(text));

  const auto imap = *parse_source("imaps://me@h"), pop3 = *parse_source("pop3s://me@h"),
             recent = *parse_source("pop3s://recent:me@h");
  sync::Policy keeps, removes, deletes;
  removes.on_source_delete = sync::OnSourceDelete::Remove;
  deletes.leave = 0;
  CHECK(suits_protocol(imap, keeps));
  CHECK(suits_protocol(imap, removes));
  CHECK_FALSE(suits_protocol(imap, deletes));
  CHECK(suits_protocol(pop3, keeps));
  CHECK(suits_protocol(pop3, deletes));
  CHECK_FALSE(suits_protocol(pop3, removes));  // a POP3 list is no evidence of a deletion
  CHECK(suits_protocol(recent, keeps));
  CHECK_FALSE(suits_protocol(recent, deletes));
}
