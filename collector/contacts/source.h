// What the collection asks of a place that contacts come from: a CardDAV server, or .vcf files.
#pragma once
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "protocols/dav/carddav.h"

namespace mailhaul::contacts {

using dav::Book;
using dav::Card;
using dav::Changes;
using dav::Listed;

class CardSource {
 public:
  virtual ~CardSource() = default;
  [[nodiscard]] virtual std::string identity() const = 0;  // of the account, for ever
  // `home`: where they were found the last time; empty: not known.
  virtual Result<std::vector<Book>> books(const std::string& home) = 0;
  [[nodiscard]] virtual std::string home() const { return {}; }
  [[nodiscard]] virtual std::string path_of(const Book& book) const = 0;  // what the book is known by
  // What has changed since the token; all of it without one.
  virtual Result<Changes> changes(const Book& book, const std::string& sync_token) = 0;
  // Cards in any order; those that do not come can be asked for by get(). An Error of `card` ends it.
  virtual Done fetch(const Book& book, std::span<const Listed* const> cards,
                     const std::function<Done(Card&&)>& card) = 0;
  // One card of any size, piece by piece. false: it is not there.
  virtual Result<bool> get(const Listed& card, const std::function<Done(std::string_view)>& octets) = 0;
  [[nodiscard]] virtual std::size_t requests() const { return 0; }
};

std::unique_ptr<CardSource> carddav_source(const dav::Settings& settings, std::stop_token stop);
// A .vcf file, or a folder of them: each file is an address book. Cards are known by their UID, or by their octets.
Result<std::unique_ptr<CardSource>> file_source(const std::string& path);

}  // namespace mailhaul::contacts
