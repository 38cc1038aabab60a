// Which mailbox is the account's Sent, Drafts, Junk, Trash and Archive.
#include "collector/special_use.h"

#include <doctest/doctest.h>

#include "collector/job.h"

using namespace mailhaul;
using namespace mailhaul::collector;

namespace {

struct Given {
  std::vector<std::string> path;
  std::vector<std::string> attributes;
};

// "Path → Home" of every mailbox that has a home of its own.
std::vector<std::string> homes(const std::vector<Given>& given) {
  std::vector<sync::SourceMailbox> mailboxes;
  for (const auto& one : given) {
    auto& mailbox = mailboxes.emplace_back();
    mailbox.path = one.path;
    mailbox.attributes = one.attributes;
  }
  assign_homes(mailboxes);
  const auto text = [](const std::vector<std::string>& path) {
    std::string out;
    for (const auto& part : path) out += (out.empty() ? "" : "/") + part;
    return out;
  };
  std::vector<std::string> out;
  for (const auto& mailbox : mailboxes)
    if (!mailbox.home.empty()) out.push_back(text(mailbox.path) + " → " + text(mailbox.home));
  return out;
}

using Homes = std::vector<std::string>;

}  // namespace

TEST_CASE("special use: the server's attributes, at any depth, whatever the name") {
  CHECK(homes({{{"INBOX"}, {}},
               {{"Отправленные"}, {"\\Sent"}},
               {{"[Gmail]", "Bin"}, {"\\TRASH"}},
               {{"a", "b", "c"}, {"\\Junk"}}}) == Homes{"Отправленные → Sent", "[Gmail]/Bin → Trash", "a/b/c → Junk"});
  CHECK(homes({{{"Spam"}, {"\\Spam"}}}) == Homes{"Spam → Junk"});
}

TEST_CASE("special use: names are hints where the server says nothing") {
  CHECK(homes({{{"INBOX"}, {}},
               {{"SENT ITEMS"}, {}},
               {{"Entwu\u0308rfe"}, {}},
               {{"INBOX", "Papierkorb"}, {}},
               {{"Work", "Spam"}, {}}}) ==
        Homes{"SENT ITEMS → Sent", "Entwu\u0308rfe → Drafts", "INBOX/Papierkorb → Trash"});
  CHECK(homes({{{"Sent Items"}, {}}, {{"Outbox copy"}, {"\\Sent"}}}) == Homes{"Outbox copy → Sent"});
}

TEST_CASE("special use: one mailbox per use; nothing of one account is merged") {
  CHECK(homes({{{"Sent"}, {}}, {{"Sent Items"}, {}}, {{"Gesendet"}, {}}}).empty());
  CHECK(homes({{{"Gesendet"}, {}}, {{"Sent Messages"}, {}}}) == Homes{"Sent Messages → Sent"});
  CHECK(homes({{{"sent"}, {}}, {{"Отправленные"}, {"\\Sent"}}}).empty());
  CHECK(homes({{{"Sent"}, {"\\Sent"}}, {{"Sent Messages"}, {"\\Sent"}}}).empty());
}

TEST_CASE("special use: what is below follows; other people's mailboxes and what holds no mail do not count") {
  CHECK(homes({{{"Papierkorb"}, {"\\Trash"}}, {{"Papierkorb", "2019", "x"}, {}}, {{"Papierkorbs"}, {}}}) ==
        Homes{"Papierkorb → Trash", "Papierkorb/2019/x → Trash/2019/x"});
  std::vector<sync::SourceMailbox> mailboxes(2);
  mailboxes[0].path = {"Shared", "Sent"};
  mailboxes[0].attributes = {"\\Sent"};
  mailboxes[0].personal = false;
  mailboxes[1].path = {"Gesendet"};
  mailboxes[1].selectable = false;
  assign_homes(mailboxes);
  CHECK(mailboxes[0].home.empty());
  CHECK(mailboxes[1].home.empty());
}

TEST_CASE("special use: the user's rules come first") {
  sync::SourceMailbox sent;
  sent.path = {"Gesendet"};
  sent.home = {"Sent"};
  MailboxRules rules;
  CHECK(rules.place(sent).components == std::vector<std::string>{"Sent"});
  CHECK_FALSE(rules.place(sent).asked_for);
  rules.special_use = false;
  CHECK(rules.place(sent).components == std::vector<std::string>{"Gesendet"});
  rules.special_use = true;
  rules.map = {*parse_map("Gesendet=Gesendet")};
  CHECK(rules.place(sent).components == std::vector<std::string>{"Gesendet"});
  CHECK(rules.place(sent).asked_for);
}
