// What should happen to a card. Pure: values in, decisions out.
//
// The source wins, unless the owner has changed the card here: then both are kept. What the owner removed stays removed
// until the source changes it.
//
//   source            row                       → step
//   present           none                        Fetch
//   present           listed                      Fetch
//   present           failed                      Fetch when its next try is due, or its ETag is another one
//   present           delivered, same ETag        Nothing
//   present           delivered, other ETag       Fetch
//   present           gone or vanished            Fetch
//   no word of it     listed, failed (due)        Fetch (an earlier run has seen it, and the cursor is past it)
//   gone              none, gone, vanished        Nothing
//   gone              listed, failed              Forget: it is gone, before it was delivered
//   gone              delivered                   Miss: vanished; its file by the policy
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "protocols/mail/digest.h"
#include "store/card_ledger.h"

namespace mailhaul::contacts {

enum class Step { Nothing, Fetch, Forget, Miss };
struct Seen {
  enum class What { Unmentioned, Present, Gone } what = What::Unmentioned;
  std::string etag;  // of what is present
};
Step step_of(const store::CardRow* row, const Seen& seen, std::int64_t now);

// A card has been fetched. `base`: what was delivered last; `file`: what is in its place here, nullopt: nothing.
enum class Delivery {
  Settle,    // it has not changed (an ETag can change without it): whatever is here stays
  Adopt,     // it is here already (the state was lost)
  Write,     // nothing is here
  Replace,   // what is here is what was delivered
  KeepBoth,  // the owner has changed what is here
};
Delivery delivery_of(const std::optional<mail::Sha256Digest>& base, const mail::Sha256Digest& fetched,
                     const std::optional<mail::Sha256Digest>& file, bool removed_by_policy);

// Removals of a book: those of its vanished cards whose grace is over, or a reason to hold them all. The fuse is that
// of mail: more than max(50, 20 %) at once, or all that there were.
struct Policy {
  enum class OnSourceDelete { Keep, Flag, Remove } on_source_delete = OnSourceDelete::Keep;
  std::int64_t grace = 7 * 86'400;  // seconds
};
struct Removals {
  std::vector<std::size_t> rows;  // to be removed now, as indexes
  std::string hold;               // not empty: none of them, and why
};
Removals removals_of(std::span<const store::CardRow> rows, const Policy& policy, bool released, std::int64_t now);

// When a card that failed so many times is tried again: 1 min, 2, 4 … 1 day, in seconds.
std::int64_t pause_after(std::uint32_t attempts);

// Names that are made of identity alone, so that neither a lost state nor another machine makes two of one.
std::string directory_of(std::string_view account, std::string_view book_path);
std::string file_of(std::string_view account, std::string_view book_path, std::string_view card_path);
std::string second_file_of(std::string_view file, const mail::Sha256Digest& content);  // beside the owner's version

}  // namespace mailhaul::contacts
