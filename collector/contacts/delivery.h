// Private to the room: cards on their way into a book's directory, a batch at a time.
#pragma once
#include <string>
#include <vector>

#include "collector/contacts/collect.h"

namespace mailhaul::contacts {

class Batch {
 public:
  Batch(store::CardLedger& ledger, store::VdirBook& vdir, std::int64_t book, BookReport& report)
      : ledger_(ledger), vdir_(vdir), book_(book), report_(report) {}

  // A card in memory. `row` stays where it is until flush(); `file` is its name by identity.
  Done add(store::CardRow& row, const std::string& file, const Card& card);
  // One that was staged already, whatever its size.
  Done add(store::CardRow& row, const std::string& file, const std::string& etag,
           const store::VdirBook::Staged& staged);
  // Says, places and settles what was added. Called by add() when the batch is full.
  Done flush();

 private:
  struct Item {
    store::CardRow* row;
    store::VdirBook::Placing placing;
    std::string vacant;  // its name by identity
  };
  Result<Delivery> decide(store::CardRow& row, const std::string& file, const mail::Sha256Digest& fetched);
  void settle(store::CardRow& row, const std::string& etag, const mail::Sha256Digest& digest, std::uint64_t octets,
              const std::string& file);
  Done put_in_place(store::CardRow& row, const std::string& file, const std::string& etag,
                    const store::VdirBook::Staged& staged, Delivery delivery);

  store::CardLedger& ledger_;
  store::VdirBook& vdir_;
  std::int64_t book_;
  BookReport& report_;
  std::vector<Item> items_;
  std::vector<store::CardRow> settled_;
  std::uint64_t octets_ = 0;
};

}  // namespace mailhaul::contacts
