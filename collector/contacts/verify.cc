#include "collector/contacts/verify.h"

#include <algorithm>
#include <map>

#include "protocols/base/text.h"

namespace mailhaul::contacts {
namespace {

using store::CardRow;
using store::CardState;

class BookVerifier {
 public:
  BookVerifier(const Context& context, bool deep, Verification& out) : context_(context), deep_(deep), out_(out) {}

  Done run(const Book& book, const store::BookRow& row, const std::string& name) {
    name_ = name;
    auto changes = context_.source->changes(book, "");
    if (!changes) return changes.error();
    auto rows = context_.ledger->cards(row.id);
    if (!rows) return rows.error();
    auto vdir = store::VdirBook::open(*context_.files, context_.vdir, row.directory, false);
    if (!vdir) return vdir.error();
    std::map<std::string_view, const CardRow*> known;
    for (const auto& one : *rows) known.emplace(one.path, &one);
    auto& sum = out_.books.emplace_back(Verification::Book{name, changes->present.size(), 0, 0});
    if (!changes->whole) differ("", "the server did not list the whole address book");
    for (const auto& card : changes->present) {
      if (context_.stop.stop_requested()) return done();
      const auto found = known.find(card.path);
      if (found == known.end()) {
        differ(card.path, "at the source, never collected");
        continue;
      }
      const CardRow& one = *found->second;
      known.erase(found);
      if (auto ok = card_here(card, one, vdir->get(), sum); !ok) return ok;
    }
    for (const auto& [path, one] : known)
      if (changes->whole && (one->state == CardState::Delivered || one->state == CardState::Listed))
        differ(std::string(path), "collected, no longer at the source: run collect again");
    return done();
  }

 private:
  void differ(const std::string& card, std::string what) {
    out_.differences.push_back({name_, printable(card), std::move(what)});
  }

  Done card_here(const Listed& card, const CardRow& row, store::VdirBook* vdir, Verification::Book& sum) {
    if (row.state != CardState::Delivered || !row.sha256) {
      differ(card.path, std::string(store::to_text(row.state)) + (row.reason.empty() ? "" : ": " + row.reason));
      return done();
    }
    std::optional<mail::Sha256Digest> here;
    if (vdir != nullptr) {
      auto digest = vdir->digest_of(row.file);
      if (!digest) return digest.error();
      here = *digest;
    }
    if (here) ++sum.at_destination;
    if (here != row.sha256) out_.owners.push_back(name_ + ": " + row.file + (here ? " was changed" : " was removed"));
    if (!deep_) {
      if (!card.etag.empty() && card.etag != row.etag) differ(card.path, "has another ETag now: run collect again");
      return done();
    }
    mail::Sha256 hash;
    auto there = context_.source->get(card, [&](std::string_view octets) {
      hash.update(octets);
      return done();
    });
    if (!there && there.error().scope != Scope::Message) return there.error();
    if (!there) {
      differ(card.path, there.error().what);
      return done();
    }
    ++sum.compared;
    if (!*there)
      differ(card.path, "is listed by the server and cannot be fetched");
    else if (hash.finish() != row.sha256)
      differ(card.path, "the server sends other octets than were delivered");
    return done();
  }

  const Context& context_;
  bool deep_;
  Verification& out_;
  std::string name_;
};

}  // namespace

Result<Verification> verify(const Context& context, bool deep) {
  Verification out;
  const auto identity = context.source->identity();
  auto accounts = context.ledger->accounts();
  if (!accounts) return accounts.error();
  const auto account = std::ranges::find(*accounts, identity, &store::CardAccount::identity);
  if (account == accounts->end())
    return Error{Scope::Service, Retry::AfterUserAction, "no contacts have been collected from there yet",
                 "run mailhaul collect --contacts first"};
  auto books = context.source->books(account->home);
  if (!books) return books.error();
  auto rows = context.ledger->books(account->id);
  if (!rows) return rows.error();
  for (const auto& book : *books) {
    if (context.stop.stop_requested()) break;
    const auto path = context.source->path_of(book);
    const auto name = printable(book.name.empty() ? path : book.name);
    const auto row = std::ranges::find(*rows, path, &store::BookRow::path);
    if (row == rows->end()) {
      out.differences.push_back({name, "", "at the source, never collected"});
      continue;
    }
    if (auto ok = BookVerifier(context, deep, out).run(book, *row, name); !ok) return ok.error();
  }
  out.stopped = context.stop.stop_requested();
  return out;
}

std::string verification_text(const Verification& v, bool deep) {
  std::string out;
  std::uint64_t source = 0, here = 0, compared = 0;
  for (const auto& book : v.books) {
    source += book.at_source;
    here += book.at_destination;
    compared += book.compared;
  }
  for (const auto& d : v.differences)
    out += "contacts " + d.book + (d.card.empty() ? "" : " " + d.card) + ": " + d.what + "\n";
  for (const auto& line : v.owners) out += "contacts " + line + " here by its owner\n";
  out += std::to_string(v.books.size()) + " address books: " + std::to_string(source) + " cards at the source, " +
         std::to_string(here) + " at the destination";
  if (deep) out += ", " + std::to_string(compared) + " fetched again and compared";
  return out +
         (v.differences.empty() ? "; no difference\n" : "; " + std::to_string(v.differences.size()) + " differences\n");
}

}  // namespace mailhaul::contacts
