#include "collector/contacts_job.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "collector/collect.h"
#include "collector/contacts/vcard.h"
#include "protocols/dav/href.h"
#include "protocols/discovery/carddav.h"
#include "store/ledger.h"

namespace mailhaul::collector {
namespace {

namespace fs = std::filesystem;
using contacts::CardSource;

Error of_user(std::string what, std::string advice) {
  return {Scope::Account, Retry::AfterUserAction, std::move(what), std::move(advice)};
}

Result<dav::Settings> carddav_settings(const ContactsJob& job, const std::string& url) {
  dav::Settings settings;
  settings.url = url;
  settings.user = job.user;
  settings.password = job.password;
  if (job.token) {
    auto token = job.token({});
    if (!token) return token.error();
    settings.bearer = *std::move(token);
  }
  settings.web.timeout = std::chrono::hours(2);
  settings.web.stall = std::chrono::minutes(5);  // a small server takes that long to read 10,000 cards
  settings.web.max_body = 64 << 10;              // of what is no multistatus
  settings.web.ca_file = job.ca_file;
  settings.web.proxy = job.proxy;
  settings.web.gate = job.gate;
  settings.web.connect_to = job.connect_to;
  settings.web.plain_http = job.plain_http;
  return settings;
}

// Where the contacts come from. A server that is looked for is asked before anything is made of it.
Result<std::unique_ptr<CardSource>> open_source(const ContactsJob& job, const std::stop_token& stop) {
  if (job.from.starts_with("http://") && !job.plain_http)
    return of_user("http:// without TLS: everybody on the way can read password and contacts",
                   "write https://, or add --allow-plaintext");
  if (job.from.find("://") != std::string::npos) {
    auto settings = carddav_settings(job, job.from);
    if (!settings) return settings.error();
    return contacts::carddav_source(*std::move(settings), stop);
  }
  if (!job.from.empty()) return contacts::file_source(job.from);
  discovery::Options options;
  options.resolver = job.resolver;
  const auto places = discovery::find_carddav(job.address, job.mail_host, options);
  if (places.urls.empty())
    return of_user(
        (places.provider.empty() ? "the provider" : places.provider) + " offers no CardDAV that is known here",
        "Export the contacts there as vCard and name the file: --contacts=FILE.vcf");
  std::optional<Error> first;
  for (const auto& url : places.urls) {
    auto settings = carddav_settings(job, url);
    if (!settings) return settings.error();
    auto source = contacts::carddav_source(*std::move(settings), stop);
    auto books = source->books("");
    if (books) return source;
    if (!first) first = books.error();
  }
  if (!places.forgeable.empty())
    return of_user("only DNS, which can be forged, says where the contacts are",
                   "If that is right, say so: --contacts=" + places.forgeable);
  return first->in("the contacts of " + job.address + " were not found");
}

contacts::Policy policy_of(const sync::Policy& policy) {
  using From = sync::OnSourceDelete;
  using To = contacts::Policy::OnSourceDelete;
  return {policy.on_source_delete == From::Remove ? To::Remove
          : policy.on_source_delete == From::Flag ? To::Flag
                                                  : To::Keep,
          policy.grace};
}

struct Place {
  std::unique_ptr<store::Ledger> lock;  // the mail's: whoever has it is alone here
  std::unique_ptr<store::CardLedger> ledger;
};

Result<Place> open_place(const ContactsJob& job, bool create) {
  Place place;
  std::error_code ignored;
  const auto cards = job.state + ".cards";
  if (!create && !fs::exists(cards, ignored)) {
    auto ledger = store::CardLedger::open(":memory:");
    if (!ledger) return ledger.error();
    place.ledger = *std::move(ledger);
    return place;
  }
  if (const auto folder = fs::path(job.state).parent_path(); !folder.empty()) fs::create_directories(folder, ignored);
  auto lock = store::Ledger::open(job.state);
  if (!lock) return lock.error();
  place.lock = *std::move(lock);
  auto ledger = store::CardLedger::open(cards);
  if (!ledger) return ledger.error();
  place.ledger = *std::move(ledger);
  return place;
}

// Every card of every book of a vdir, books and cards in the order of their names.
Done each_card(const std::string& vdir,
               const std::function<Done(const std::string& book, const std::string& file, store::VdirBook&)>& visit) {
  std::vector<std::string> directories;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(vdir, error))
    if (entry.is_directory(error)) directories.push_back(entry.path().filename().string());
  if (error) return of_user("there are no contacts in " + vdir, "run mailhaul collect --contacts first");
  std::ranges::sort(directories);
  for (const auto& directory : directories) {
    auto book = store::VdirBook::open(store::posix_file_system(), vdir, directory, false);
    if (!book) return book.error();
    if (*book == nullptr) continue;
    auto cards = (*book)->cards();
    if (!cards) return cards.error();
    for (const auto& file : *cards)
      if (auto ok = visit(directory, file, **book); !ok) return ok;
  }
  return done();
}

}  // namespace

Done is_contacts_place(std::string_view from) {
  if (from == kContactsFound) return done();
  if (from.starts_with("https://") && dav::origin_of(from)) return done();
  return of_user("'" + printable(from) + "' is not where contacts are", "write https://host/path, or found");
}

ContactsJob contacts_beside(const Job& job, const std::string& from, const std::string& address) {
  ContactsJob out;
  if (from != kContactsFound) out.from = from;
  const bool whole = job.source.user.find('@') != std::string::npos;
  out.address = !address.empty() ? address : whole ? job.source.user : job.source.user + "@" + job.source.host;
  out.mail_host = job.source.host;
  out.user = job.source.user;
  out.password = job.password;
  out.token = job.token;
  out.state = state_path(job);
  out.vdir = job.account ? out.state.substr(0, out.state.rfind('/') + 1) + "contacts" : job.maildir + "/contacts";
  out.ca_file = job.ca_file;
  out.proxy = job.proxy;
  out.gate = job.gate;
  out.settings.policy = policy_of(job.policy);
  out.settings.release = job.release;
  out.settings.dry_run = job.dry_run;
  return out;
}

Result<contacts::Report> collect_contacts(const ContactsJob& job, const std::stop_token& stop) {
  auto source = open_source(job, stop);
  if (!source) return source.error();
  auto place = open_place(job, !job.settings.dry_run);
  if (!place) return place.error();
  contacts::Context context{source->get(), place->ledger.get(), &store::posix_file_system(),
                            job.vdir,      &system_clock(),     stop};
  return contacts::collect(job.settings, context);
}

Result<contacts::Verification> verify_contacts(const ContactsJob& job, bool deep, const std::stop_token& stop) {
  auto source = open_source(job, stop);
  if (!source) return source.error();
  auto place = open_place(job, false);
  if (!place) return place.error();
  contacts::Context context{source->get(), place->ledger.get(), &store::posix_file_system(),
                            job.vdir,      &system_clock(),     stop};
  return contacts::verify(context, deep);
}

Result<std::size_t> export_contacts(const std::string& vdir, const std::string& file) {
  const fs::path path(file);
  auto& files = store::posix_file_system();
  const auto folder = path.has_parent_path() ? path.parent_path().string() : std::string(".");
  auto directory = files.open_directory(folder);
  if (!directory) return directory.error();
  if (*directory == nullptr) return of_user(folder + " is not there", "make it first");
  const auto staged = "." + path.filename().string() + ".tmp";
  if (auto removed = files.remove(**directory, staged); !removed) return removed.error();
  auto out = files.create(**directory, staged);
  if (!out) return out.error();
  if (*out == nullptr) return of_user(staged + " is in the way", "remove it");
  std::size_t count = 0;
  auto written = each_card(vdir, [&](const std::string&, const std::string& name, store::VdirBook& book) -> Done {
    Done done_so_far = done();
    char last = '\n';
    auto read = book.read(name, [&](std::string_view octets) {
      if (!octets.empty()) last = octets.back();
      done_so_far = files.write(**out, octets);
      return static_cast<bool>(done_so_far);
    });
    if (!read) return read.error();
    ++count;
    if (done_so_far && last != '\n') done_so_far = files.write(**out, "\r\n");  // the next card begins a line
    return done_so_far;
  });
  if (written) written = files.sync(**out);
  if (written) written = files.replace(**directory, staged, **directory, path.filename().string());
  if (written) written = files.sync_directory(**directory);
  if (!written) {
    (void)files.remove(**directory, staged);
    return written.error();
  }
  return count;
}

Result<std::string> duplicate_contacts(const std::string& vdir) {
  constexpr std::size_t kLooked = 256 << 10;            // octets of a card; a photo may follow
  std::map<std::string, std::set<std::string>> having;  // e-mail address or phone → cards
  auto looked =
      each_card(vdir, [&](const std::string& book, const std::string& name, store::VdirBook& vdir_book) -> Done {
        std::string card;
        auto read = vdir_book.read(name, [&](std::string_view octets) {
          card += octets.substr(0, kLooked - card.size());
          return card.size() < kLooked;
        });
        if (!read) return read.error();
        const auto names = contacts::values_of(card, "FN");
        std::string shown = book;
        shown.append("/")
            .append(name)
            .append(" (")
            .append(printable(names.empty() ? "" : names.front(), 60))
            .append(")");
        for (auto& mark : contacts::marks_of(card)) having[std::move(mark)].insert(shown);
        return done();
      });
  if (!looked) return looked.error();
  std::string out;
  for (const auto& [mark, cards] : having) {
    if (cards.size() < 2) continue;
    out += printable(mark) + "\n";
    for (const auto& card : cards) out += "  " + card + "\n";
  }
  return out;
}

std::string contacts_json(const contacts::Report& report) {
  using nlohmann::ordered_json;
  const auto numbers = [](const contacts::BookReport& book) {
    return ordered_json{{"listed", book.listed}, {"delivered", book.delivered}, {"already", book.already},
                        {"failed", book.failed}, {"pending", book.pending},     {"gone", book.gone},
                        {"bytes", book.bytes},   {"removed", book.removed}};
  };
  ordered_json out{{"books", ordered_json::array()}};
  for (const auto& book : report.books) {
    ordered_json one{{"book", book.name}, {"directory", book.directory}};
    one.update(numbers(book));
    one["conflicts"] = book.conflicts;
    one["failures"] = book.failures;
    one["hold"] = book.hold;
    one["error"] = book.error;
    out["books"].push_back(std::move(one));
  }
  out["sum"] = numbers(report.sum());
  out["vanished_books"] = report.vanished_books;
  out["requests"] = report.requests;
  out["error"] = report.error;
  return out.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

}  // namespace mailhaul::collector
