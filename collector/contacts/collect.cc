#include "collector/contacts/collect.h"

#include <algorithm>
#include <map>
#include <set>

#include "collector/contacts/delivery.h"
#include "protocols/base/text.h"

namespace mailhaul::contacts {
namespace {

using store::BookRow;
using store::CardRow;
using store::CardState;

constexpr std::size_t kAtOnce = 200;              // cards of one multiget
constexpr std::uint64_t kAlone = 512 << 10;       // octets from which on a card is fetched by itself
constexpr std::uint64_t kAtOnceOctets = 8 << 20;  // listed octets of one multiget

class Collection {
 public:
  Collection(const Settings& settings, const Context& context, std::string account, const Book& book, BookRow row,
             BookReport& report)
      : settings_(settings),
        context_(context),
        account_(std::move(account)),
        book_(book),
        row_(std::move(row)),
        report_(report) {}

  Done run();

 private:
  Done recover();
  Done take_stock(const Changes& changes);
  Done deliver();
  Done fetch(std::span<const Listed* const> cards, Batch& batch);
  Done fetch_alone(const Listed& card, Batch& batch);
  Done fail(CardRow& row, std::string reason);
  Done remove();
  void count();
  [[nodiscard]] bool settled() const;
  [[nodiscard]] std::int64_t now() const { return context_.clock->unix_seconds(); }
  [[nodiscard]] std::string file_name(const CardRow& row) const { return file_of(account_, row_.path, row.path); }

  const Settings& settings_;
  const Context& context_;
  std::string account_;
  const Book& book_;
  BookRow row_;
  BookReport& report_;
  std::vector<CardRow> cards_;  // by path; does not grow after take_stock()
  std::vector<Listed> due_;
  std::unique_ptr<store::VdirBook> vdir_;
};

CardRow* find(std::vector<CardRow>& rows, std::size_t sorted, std::string_view path) {
  const auto end = rows.begin() + static_cast<std::ptrdiff_t>(sorted);
  const auto at = std::ranges::lower_bound(rows.begin(), end, path, {}, &CardRow::path);
  return at != end && at->path == path ? &*at : nullptr;
}

// What an earlier run has said and not settled: the file tells whether it was done.
Done Collection::recover() {
  std::vector<CardRow> changed;
  for (auto& row : cards_) {
    if (row.next_file.empty()) continue;
    auto here = vdir_->digest_of(row.next_file);
    if (!here) return here.error();
    if (*here && *here == row.next_sha256) {
      row.state = CardState::Delivered;
      row.etag = row.next_etag;
      row.sha256 = row.next_sha256;
      row.octets = row.next_octets;
      row.file = row.next_file;
      row.removed = false;
    }
    row.next_file.clear();
    row.next_etag.clear();
    row.next_sha256.reset();
    changed.push_back(row);
  }
  return context_.ledger->put(row_.id, changed);
}

bool Collection::settled() const {
  return std::ranges::none_of(cards_, [&](const CardRow& row) { return step_of(&row, {}, now()) != Step::Nothing; });
}

Done Collection::take_stock(const Changes& changes) {
  std::map<std::string_view, const Listed*> present;
  for (const auto& card : changes.present) present.emplace(card.path, &card);
  const std::size_t known = cards_.size();
  std::vector<CardRow> changed;
  std::vector<CardRow> fresh;
  const std::set<std::string_view> named_gone(changes.gone.begin(), changes.gone.end());
  for (const auto& [path, card] : present) {
    const Seen seen{Seen::What::Present, card->etag};
    CardRow* row = find(cards_, known, path);
    const Step step = step_of(row, seen, now());
    if (step == Step::Fetch) {
      due_.push_back(*card);
      if (row != nullptr && row->state == CardState::Failed && row->wanted != card->etag) row->attempts = 0;
    }
    if (row == nullptr) {
      row = &fresh.emplace_back();
      row->path = card->path;
    } else if (row->wanted == card->etag && row->url == card->url && row->state != CardState::Gone &&
               row->state != CardState::Vanished) {
      continue;
    }
    row->wanted = card->etag;
    row->url = card->url;
    row->listed_octets = card->octets;
    if (row->state == CardState::Gone || row->state == CardState::Vanished) row->state = CardState::Listed;
    changed.push_back(*row);
  }
  for (std::size_t i = 0; i < known; ++i) {
    CardRow& row = cards_[i];
    if (present.contains(row.path)) continue;
    const bool gone = changes.whole || named_gone.contains(row.path);
    const Step step = step_of(&row, {gone ? Seen::What::Gone : Seen::What::Unmentioned, ""}, now());
    if (step == Step::Fetch) due_.push_back({row.path, row.url, row.wanted, row.listed_octets});
    if (step != Step::Forget && step != Step::Miss) continue;
    row.state = step == Step::Miss ? CardState::Vanished : CardState::Gone;
    row.missing_since = now();
    changed.push_back(row);
  }
  std::ranges::move(fresh, std::back_inserter(cards_));
  std::ranges::sort(cards_, {}, &CardRow::path);
  if (settings_.dry_run) return done();
  return context_.ledger->put(row_.id, changed);  // said: from here on the source need not tell it again
}

Done Collection::fail(CardRow& row, std::string reason) {
  row.state = CardState::Failed;
  row.reason = std::move(reason);
  row.next_try = now() + pause_after(++row.attempts);
  return context_.ledger->put(row_.id, std::span(&row, 1));
}

Done Collection::fetch_alone(const Listed& card, Batch& batch) {
  CardRow* row = find(cards_, cards_.size(), card.path);
  if (auto begun = vdir_->begin(); !begun) return begun;
  std::uint64_t octets = 0;
  Done stored = done();
  auto there = context_.source->get(card, [&](std::string_view piece) -> Done {
    octets += piece.size();
    if (octets > settings_.max_card)
      return Error{Scope::Message, Retry::AfterUserAction,
                   "the card is longer than " + std::to_string(settings_.max_card) + " octets", ""};
    stored = vdir_->write(piece);
    return stored;
  });
  if (!there || !*there || octets == 0) vdir_->abandon();
  if (!stored) return stored;
  if (!there && there.error().scope == Scope::Message) return fail(*row, there.error().what);
  if (!there) return there.error();
  if (!*there) {
    row->state = row->sha256 ? CardState::Vanished : CardState::Gone;
    row->missing_since = now();
    return context_.ledger->put(row_.id, std::span(row, 1));
  }
  if (octets == 0) return fail(*row, "the server sends it without content");
  auto staged = vdir_->end();
  if (!staged) return staged.error();
  return batch.add(*row, file_name(*row), card.etag, *staged);
}

Done Collection::fetch(std::span<const Listed* const> cards, Batch& batch) {
  std::map<std::string_view, const Listed*> open;
  for (const auto* card : cards) open.emplace(card->path, card);
  auto fetched = context_.source->fetch(book_, cards, [&](Card&& card) -> Done {
    const auto asked = open.find(card.path);
    if (asked == open.end()) return done();  // nobody has asked for it, or it came already
    CardRow* row = find(cards_, cards_.size(), card.path);
    open.erase(asked);
    if (!card.gone) return batch.add(*row, file_name(*row), card);
    row->state = row->sha256 ? CardState::Vanished : CardState::Gone;
    row->missing_since = now();
    return context_.ledger->put(row_.id, std::span(row, 1));
  });
  if (!fetched) return fetched;
  for (const auto& [path, card] : open) {
    if (context_.stop.stop_requested()) return done();
    if (auto one = fetch_alone(*card, batch); !one) return one;
  }
  return done();
}

Done Collection::deliver() {
  Batch batch(*context_.ledger, *vdir_, row_.id, report_);
  std::vector<const Listed*> together;
  std::uint64_t octets = 0;
  Done worked = done();
  const auto fetch_together = [&] {
    if (!together.empty() && worked) worked = fetch(together, batch);
    together.clear();
    octets = 0;
  };
  for (const auto& card : due_) {
    if (!worked || context_.stop.stop_requested()) break;
    if (card.octets.value_or(0) >= kAlone) {
      worked = fetch_alone(card, batch);
      continue;
    }
    together.push_back(&card);
    octets += card.octets.value_or(0);
    if (together.size() >= kAtOnce || octets >= kAtOnceOctets) fetch_together();
  }
  if (!context_.stop.stop_requested()) fetch_together();
  const Done flushed = batch.flush();  // what came before an error is kept
  return worked ? flushed : worked;
}

Done Collection::remove() {
  const bool released = std::ranges::find(settings_.release, report_.name) != settings_.release.end();
  const auto removals = removals_of(cards_, settings_.policy, released, now());
  report_.hold = row_.hold = removals.hold;
  for (const auto at : removals.rows) {
    CardRow& row = cards_[at];
    auto here = vdir_->digest_of(row.file);
    if (!here) return here.error();
    if (*here && *here == row.sha256) {  // the owner's own version stays
      auto removed = vdir_->remove(row.file);
      if (!removed) return removed.error();
      ++report_.removed;
    }
    row.removed = true;
    if (auto ok = context_.ledger->put(row_.id, std::span(&row, 1)); !ok) return ok;
  }
  return done();
}

void Collection::count() {
  std::uint64_t there = 0;
  for (const auto& row : cards_) {
    ++report_.listed;
    switch (row.state) {
      case CardState::Delivered:
        ++(row.etag == row.wanted || row.wanted.empty() ? there : report_.pending);
        break;
      case CardState::Listed:
        ++report_.pending;
        break;
      case CardState::Failed:
        ++report_.failed;
        report_.failures.push_back(printable(row.path) + ": " + row.reason);
        break;
      case CardState::Gone:
      case CardState::Vanished:
        ++report_.gone;
    }
  }
  report_.already = there - std::min(there, report_.delivered);
}

Done Collection::run() {
  auto rows = context_.ledger->cards(row_.id);
  if (!rows) return rows.error();
  cards_ = *std::move(rows);
  auto worked = [&]() -> Done {
    if (!settings_.dry_run) {
      auto vdir = store::VdirBook::open(*context_.files, context_.vdir, row_.directory, true);
      if (!vdir) return vdir.error();
      vdir_ = *std::move(vdir);
      if (auto ok = recover(); !ok) return ok;
      if (auto ok = vdir_->describe("displayname", book_.name); !ok) return ok;
      if (auto ok = vdir_->describe("color", book_.color.substr(0, 7)); !ok) return ok;
    }
    if (book_.state.empty() || book_.state != row_.version || !settled()) {
      const bool afresh = row_.version.empty();
      auto changes = context_.source->changes(book_, afresh ? std::string() : row_.sync_token);
      if (!changes) return changes.error();
      if (auto ok = take_stock(*changes); !ok) return ok;
      if (settings_.dry_run) return done();
      if (auto ok = deliver(); !ok) return ok;
      if (context_.stop.stop_requested()) return done();
      row_.version = changes->whole || !changes->sync_token.empty() ? book_.state : std::string();
      row_.sync_token = changes->sync_token;
    }
    if (settings_.dry_run) return done();
    if (auto ok = remove(); !ok) return ok;
    row_.name = book_.name;
    row_.color = book_.color;
    return context_.ledger->put(row_);  // cursors last
  }();
  count();
  return worked;
}

// The rows of an account and a book; a dry run makes none.
Result<store::CardAccount> account_of(store::CardLedger& ledger, const std::string& identity, bool dry_run) {
  if (!dry_run) return ledger.account(identity);
  auto all = ledger.accounts();
  if (!all) return all.error();
  const auto found = std::ranges::find(*all, identity, &store::CardAccount::identity);
  return found == all->end() ? store::CardAccount{0, identity, ""} : *found;
}
Result<BookRow> book_row(store::CardLedger& ledger, std::int64_t account, const std::string& path,
                         const std::string& directory, bool dry_run) {
  if (!dry_run) return ledger.book(account, path, directory);
  auto all = ledger.books(account);
  if (!all) return all.error();
  const auto found = std::ranges::find(*all, path, &BookRow::path);
  if (found != all->end()) return *found;
  BookRow row;
  row.path = path;
  row.directory = directory;
  return row;
}

}  // namespace

BookReport Report::sum() const {
  BookReport out;
  for (const auto& book : books) {
    out.listed += book.listed;
    out.delivered += book.delivered;
    out.already += book.already;
    out.failed += book.failed;
    out.pending += book.pending;
    out.gone += book.gone;
    out.bytes += book.bytes;
    out.removed += book.removed;
  }
  return out;
}

bool Report::complete() const {
  return error.empty() && std::ranges::all_of(books, [](const BookReport& book) {
           return book.error.empty() && book.failed == 0 && book.pending == 0;
         });
}

Result<Report> collect(const Settings& settings, const Context& context) {
  Report report;
  const auto identity = context.source->identity();
  auto account = account_of(*context.ledger, identity, settings.dry_run);
  if (!account) return account.error();
  auto books = context.source->books(account->home);
  if (!books) return books.error();
  if (!settings.dry_run)
    if (auto ok = context.ledger->set_home(account->id, context.source->home()); !ok) return ok.error();
  std::vector<std::string> seen;
  for (const auto& book : *books) {
    if (context.stop.stop_requested()) break;
    const auto path = context.source->path_of(book);
    seen.push_back(path);
    auto row = book_row(*context.ledger, account->id, path, directory_of(identity, path), settings.dry_run);
    if (!row) return row.error();
    auto& about = report.books.emplace_back();
    about.directory = row->directory;
    about.name = book.name.empty() ? row->directory : printable(book.name);
    Done done_so_far = Collection(settings, context, identity, book, *row, about).run();
    if (done_so_far) continue;
    about.error = done_so_far.error().what;
    if (done_so_far.error().scope == Scope::Service) break;  // this machine cannot go on
  }
  auto known = context.ledger->books(account->id);
  if (!known) return known.error();
  if (!context.stop.stop_requested())
    for (const auto& row : *known)
      if (std::ranges::find(seen, row.path) == seen.end())
        report.vanished_books.push_back(printable(row.name.empty() ? row.path : row.name));
  report.requests = context.source->requests();
  return report;
}

std::string report_text(const Report& report) {
  std::string out;
  for (const auto& book : report.books) {
    out += "contacts " + book.name + ": " + std::to_string(book.listed) + " listed, " + std::to_string(book.delivered) +
           " delivered, " + std::to_string(book.already) + " already here, " + std::to_string(book.failed) +
           " failed, " + std::to_string(book.pending) + " pending, " + std::to_string(book.gone) + " gone";
    if (book.removed > 0) out += ", " + std::to_string(book.removed) + " removed here";
    out += "\n";
    for (const auto& failure : book.failures) out += "  failed: " + failure + "\n";
    for (const auto& both : book.conflicts) out += "  changed here and at the source, both are kept: " + both + "\n";
    if (!book.hold.empty()) out += "  removals are held: " + book.hold + "; --release-hold lets them go ahead\n";
    if (!book.error.empty()) out += "  error: " + book.error + "\n";
  }
  for (const auto& name : report.vanished_books)
    out += "contacts " + name + ": no longer at the source; its cards stay here\n";
  if (!report.error.empty()) out += "contacts: " + report.error + "\n";
  if (report.books.empty() && report.error.empty()) out += "contacts: there are no address books\n";
  return out;
}

}  // namespace mailhaul::contacts
