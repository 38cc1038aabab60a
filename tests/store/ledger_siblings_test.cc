// The same message in several mailboxes, by what the server calls it.
#include "tests/store/ledger_fixture.h"

namespace mailhaul::store {
namespace {

TEST_CASE("siblings: rows of one account with one EMAILID, with state and copy") {
  const Scratch scratch;
  auto ledger = opened(scratch.state());
  const auto home = make_home(*ledger);
  const mail::Uid one{1}, two{2};
  {
    auto t = good(ledger->begin());
    good(t.list(home.inbox.id, 1, uid_set({{1, 3}})));
    good(t.identify(home.inbox.id, 1, one, "M1"));
    good(t.identify(home.inbox.id, 1, two, "M1"));
    good(t.identify(home.inbox.id, 1, mail::Uid{3}, "M2"));
    MessageRow row;
    row.uid = two;
    row.octets = 7;
    const Ledger::Transaction::Settled settled{row, "", key_of(5)};
    good(t.settle(home.inbox.id, 1, std::span(&settled, 1)));
    auto other = good(t.add_account("imap:you@example.org", "7f3a2c1e-0000-4000-8000-0123456789ff"));
    MailboxRow box;
    box.raw_name = "INBOX";
    box = good(t.add_mailbox(other.id, box));
    good(t.list(box.id, 1, uid_set({{1, 1}})));
    good(t.identify(box.id, 1, one, "M1"));
    good(t.commit());
  }
  auto found = good(ledger->siblings(home.account.id, "M1"));
  REQUIRE(found.size() == 2);
  CHECK(found[0].row.uid == one);
  CHECK(found[0].row.state == MessageState::Listed);
  CHECK_FALSE(found[0].copy);
  CHECK(found[1].row.uid == two);
  CHECK(found[1].row.state == MessageState::Delivered);
  CHECK(found[1].row.email_id == "M1");
  REQUIRE(found[1].copy);
  CHECK(found[1].copy->key == key_of(5));
  CHECK(found[1].current);
  CHECK(found[1].mailbox == home.inbox.id);
  {
    auto t = good(ledger->begin());
    good(t.new_generation(home.inbox.id, mail::UidValidity{2}, 1));
    good(t.commit());
  }
  found = good(ledger->siblings(home.account.id, "M1"));
  REQUIRE(found.size() == 2);
  CHECK_FALSE(found[1].current);
  CHECK(good(ledger->siblings(home.account.id, "M9")).empty());
  good(ledger->check());
}

}  // namespace
}  // namespace mailhaul::store
