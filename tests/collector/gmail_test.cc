// Which of Gmail's mailboxes are collected, and which of several labels keeps a message.
#include "collector/gmail.h"

#include <doctest/doctest.h>

using namespace mailhaul;
using namespace mailhaul::collector;

namespace {

struct Given {
  std::vector<std::string> path;
  std::vector<std::string> attributes;
};

std::vector<Given> account() {
  return {{{"Zoo"}, {}},
          {{"INBOX"}, {}},
          {{"Work"}, {}},
          {{"[Gmail]", "Все"}, {"\\HasNoChildren", "\\All"}},
          {{"[Gmail]", "Важное"}, {"\\Important"}},
          {{"[Gmail]", "Помеченные"}, {"\\flagged"}},
          {{"[Gmail]", "Спам"}, {"\\Junk"}},
          {{"[Gmail]", "Отправленные"}, {"\\Sent"}},
          {{"[Gmail]", "Chats"}, {}}};
}

// "name rank" in order, with the home where there is one; those that are left alone as "name -".
std::string arranged(const std::vector<Given>& given, GmailLabels layout) {
  std::vector<sync::SourceMailbox> mailboxes;
  for (const auto& one : given) {
    auto& mailbox = mailboxes.emplace_back();
    mailbox.path = one.path;
    mailbox.raw_name = one.path.back();
    mailbox.attributes = one.attributes;
  }
  arrange_labels(mailboxes, layout);
  std::string out;
  for (const auto& m : mailboxes)
    out += (out.empty() ? "" : ", ") + m.raw_name + " " + (m.aside ? "-" : std::to_string(m.rank)) +
           (m.home.empty() ? "" : " → " + m.home.back());
  return out;
}

}  // namespace

TEST_CASE("gmail: every label keeps its messages, \\All the rest") {
  CHECK(arranged(account(), GmailLabels::Mailboxes) ==
        "Zoo 0, INBOX 0, Work 0, Все 1 → Archive, Важное 0, Помеченные -, Спам 0, Отправленные 0, Chats -");
}

TEST_CASE("gmail: primary is INBOX, Sent, labels by name, Important, \\All") {
  CHECK(arranged(account(), GmailLabels::Primary) ==
        "Zoo 4, INBOX 0, Work 3, Все 7 → Archive, Важное 6, Помеченные -, Спам 0, Отправленные 1, Chats -");
}

TEST_CASE("gmail: without \\All each mailbox as it is; an Archive that is there is nobody's home") {
  auto hidden = account();
  hidden.erase(hidden.begin() + 3);
  for (const auto layout : {GmailLabels::Mailboxes, GmailLabels::Primary})
    CHECK(arranged(hidden, layout) ==
          "Zoo 0, INBOX 0, Work 0, Важное 0, Помеченные 0, Спам 0, Отправленные 0, Chats -");
  auto archived = account();
  archived[0].path = {"Archive"};
  CHECK(arranged(archived, GmailLabels::Mailboxes).find("Все 1,") != std::string::npos);
}
