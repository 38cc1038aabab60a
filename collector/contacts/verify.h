// Proof that a vdir has the contacts that the source has. Changes nothing on either side.
#pragma once
#include <string>
#include <vector>

#include "collector/contacts/collect.h"

namespace mailhaul::contacts {

struct Difference {
  std::string book, card, what;  // `card` empty: the book as a whole
};
struct Verification {
  struct Book {
    std::string name;
    std::uint64_t at_source = 0, at_destination = 0, compared = 0;
  };
  std::vector<Book> books;
  std::vector<Difference> differences;
  std::vector<std::string> owners;  // "<book>: <file>": changed or removed here by their owner, which is no difference
  bool stopped = false;
};

// Lists every book anew. `deep`: fetches every card again and compares its octets with those of the file, or, where the
// owner has changed that, with what was delivered.
Result<Verification> verify(const Context& context, bool deep);
std::string verification_text(const Verification& verification, bool deep);

}  // namespace mailhaul::contacts
