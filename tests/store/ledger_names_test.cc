// Names of messages at sources without UIDs.
#include "tests/store/ledger_fixture.h"

namespace mailhaul::store {
namespace {

TEST_CASE("ledger: names and their UIDs survive; one name has one UID under one validity") {
  Scratch scratch;
  const mail::UidValidity one{1}, two{2};
  const std::string odd("\0\xFF name\r\n", 9);
  MailboxId inbox;
  {
    auto ledger = good(Ledger::open(scratch.state()));
    auto transaction = good(ledger->begin());
    const auto account = good(transaction.add_account("pop3:me@h", "12345678-1234-4123-8123-123456789012"));
    MailboxRow row;
    row.raw_name = "INBOX";
    inbox = good(transaction.add_mailbox(account.id, row)).id;
    const std::vector<NameRow> names{{mail::Uid{1}, "a", 10, 5, 0}, {mail::Uid{2}, odd, 20, 5, 0}};
    CHECK(transaction.add_names(inbox, one, names));
    const std::vector<NameRow> moved{{mail::Uid{1}, odd, 20, 6, 0}};
    CHECK(transaction.add_names(inbox, two, moved));
    CHECK(transaction.commit());
  }
  auto ledger = good(Ledger::open(scratch.state()));
  CHECK(good(ledger->names(inbox, one)) ==
        std::vector<NameRow>{{mail::Uid{1}, "a", 10, 5, 0}, {mail::Uid{2}, odd, 20, 5, 0}});
  CHECK(good(ledger->names(inbox, two)) == std::vector<NameRow>{{mail::Uid{1}, odd, 20, 6, 0}});
  CHECK(good(ledger->names(inbox, mail::UidValidity{3})).empty());
  {
    auto transaction = good(ledger->begin());
    CHECK(transaction.update_name(inbox, one, {mail::Uid{2}, "ignored", 21, 99, 7}));
    CHECK(transaction.commit());
  }
  CHECK(good(ledger->names(inbox, one))[1] == NameRow{mail::Uid{2}, odd, 21, 5, 7});
  const auto refused = [&](NameRow row) {
    auto transaction = good(ledger->begin());
    const bool no = !transaction.add_names(inbox, one, {&row, 1});
    CHECK(no == !transaction.commit());
    return no;
  };
  CHECK(refused({mail::Uid{3}, "a", 1, 1, 0}));    // the name has a UID
  CHECK(refused({mail::Uid{2}, "new", 1, 1, 0}));  // the UID has a name
  auto transaction = good(ledger->begin());
  CHECK(!transaction.update_name(inbox, one, {mail::Uid{9}, "", 1, 1, 0}));
}

}  // namespace
}  // namespace mailhaul::store
