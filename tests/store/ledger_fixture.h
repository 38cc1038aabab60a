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

namespace mailhaul::store {

class Scratch {
 public:
  Scratch() {
    std::string name = (std::filesystem::temp_directory_path() / "mailhaul-ledger-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] std::string state() const { return path_ + "/state.db"; }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// The value, or a failed test that tells the error.
template <class T>
T good(Result<T> result) {
  if (!result) FAIL(result.error().what);
  return std::move(*result);
}

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
