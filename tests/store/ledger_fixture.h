// What the ledger's tests share: a scratch directory, and Results that must be good.
#pragma once
#include <doctest/doctest.h>
#include <stdlib.h>

#include <filesystem>
#include <initializer_list>
#include <memory>
#include <string>
#include <utility>

#include "store/ledger_rows.h"
#include "tests/support/scratch.h"

namespace mailhaul::store {

class Scratch : public test::Scratch {
 public:
  [[nodiscard]] std::string state() const { return path() + "/state.db"; }
};

using test::good;

inline std::unique_ptr<Ledger> opened(const std::string& path, const LedgerOptions& options = {}) {
  return good(Ledger::open(path, options));
}

inline mail::UidSet uid_set(std::initializer_list<mail::UidRange> ranges) {
  return mail::UidSet(std::vector<mail::UidRange>(ranges));
}

inline DeliveryKey key_of(std::uint64_t number) {
  DeliveryKey key{};
  for (std::size_t i = 0; i < 8; ++i) key[i] = static_cast<std::uint8_t>(number >> (8 * i));
  key[15] = 0xA5;
  return key;
}

// An account with one mailbox, INBOX.
struct Home {
  AccountRow account;
  MailboxRow inbox;
};
inline Home make_home(Ledger& ledger) {
  auto t = good(ledger.begin());
  Home home;
  home.account = good(t.add_account("imap:me@example.org", "7f3a2c1e-0000-4000-8000-0123456789ab"));
  MailboxRow row;
  row.raw_name = "INBOX";
  row.delimiter = '/';
  home.inbox = good(t.add_mailbox(home.account.id, row));
  good(t.commit());
  return home;
}

inline MailboxRow reread(Ledger& ledger, const Home& home) {
  auto all = good(ledger.mailboxes(home.account.id));
  REQUIRE(!all.empty());
  return all.front();
}

}  // namespace mailhaul::store
