#include "protocols/dav/carddav.h"

#include <algorithm>
#include <map>

#include "protocols/base/text.h"
#include "protocols/dav/href.h"

namespace mailhaul::dav {
namespace {

constexpr int kRedirects = 5;
constexpr int kPages = 100'000;  // of one sync-collection
constexpr std::string_view kProlog = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n";
constexpr std::string_view kSpaces =
    " xmlns:D=\"DAV:\" xmlns:C=\"urn:ietf:params:xml:ns:carddav\" xmlns:CS=\"http://calendarserver.org/ns/\""
    " xmlns:A=\"http://apple.com/ns/ical/\" xmlns:I=\"http://inf-it.com/ns/ab/\"";
constexpr std::string_view kWhere = "<D:resourcetype/><D:current-user-principal/><C:addressbook-home-set/>";
constexpr std::string_view kBook =
    "<D:resourcetype/><D:displayname/><C:addressbook-description/><CS:getctag/><D:sync-token/>"
    "<D:supported-report-set/><I:addressbook-color/><A:calendar-color/>";
constexpr std::string_view kCard = "<D:getetag/><D:getcontentlength/><D:resourcetype/>";

Error of_user(std::string what, std::string advice = "") {
  return {Scope::Account, Retry::AfterUserAction, std::move(what), std::move(advice)};
}
Error passing(std::string what, std::int64_t wait = 0) {
  return {Scope::Account, Retry::Later, std::move(what), "", wait};
}

std::string element(std::string_view name, std::string_view inside) {
  return std::string(kProlog) + "<" + std::string(name) + std::string(kSpaces) + ">" + std::string(inside) + "</" +
         std::string(name) + ">";
}

// What a status that is no success means.
Error failed(const http::Response& response, std::string_view what) {
  const std::string said = std::string(what) + ": the server answers " + std::to_string(response.status);
  switch (response.status) {
    case 401:
      return of_user("the server of the address books refuses the login (401)",
                     "Many providers want an app password for CardDAV.");
    case 403:
      return of_user(said + " (forbidden)");
    case 404:
    case 405:
      return of_user(said, "Name the address of the CardDAV server: --contacts=https://…");
    case 429:
    case 503:
      return passing(said + " (it wants to be left alone)", response.retry_after);
    default:
      return response.status >= 500 ? passing(said, response.retry_after) : of_user(said);
  }
}

Book book_of(const Member& member, std::string url) {
  Book book{std::move(url),    member.display_name, member.description, member.color, "",
            member.sync_token, member.reports_sync};
  if (!member.sync_token.empty() || !member.ctag.empty()) book.state = member.sync_token + "\n" + member.ctag;
  return book;
}

}  // namespace

CardDav::CardDav(Settings settings, std::stop_token stop)
    : settings_(std::move(settings)), stop_(std::move(stop)), connection_(settings_.web) {}

Done CardDav::stay_home(const std::string& url) const {
  const auto here = origin_of(settings_.url), there = origin_of(url);
  if (!here) return of_user("'" + printable(settings_.url) + "' is not the address of a CardDAV server");
  if (there == here) return done();
  return of_user("the server leads to " + (there ? printable(there->text()) : "another place") +
                     ", and the password is not sent there",
                 "If that is right, name it: --contacts=" + printable(url));
}

Result<http::Response> CardDav::send(http::Request request) {
  if (const Done allowed = stay_home(request.url); !allowed) return allowed.error();
  if (!settings_.bearer.empty()) {
    request.bearer = settings_.bearer;
  } else {
    request.user = settings_.user;
    request.password = settings_.password;
    request.digest = digest_;
  }
  auto response = connection_.send(request, stop_);
  // RFC 7616: Basic is not among what the server takes.
  if (response && response->status == 401 && !digest_ && settings_.bearer.empty() &&
      response->challenge.find("digest") != std::string::npos &&
      response->challenge.find("basic") == std::string::npos) {
    digest_ = request.digest = true;
    response = connection_.send(request, stop_);
  }
  return response;
}

Result<CardDav::Answer> CardDav::ask(std::string_view method, const std::string& url, std::string_view depth,
                                     std::string body, const std::function<Done(Member&&)>& member) {
  http::Request request;
  request.url = url;
  request.method = method;
  request.body = std::move(body);
  request.content_type = "application/xml; charset=utf-8";
  request.accept = "application/xml, text/xml";
  request.headers = {{"Depth", std::string(depth)}, {"Prefer", "return=minimal"}};  // RFC 7240, RFC 8144
  for (int hop = 0;; ++hop) {
    MultistatusReader reader(member, settings_.card_limit);
    request.sink = [&](std::string_view octets) { return reader.feed(octets); };
    auto response = send(request);
    Answer answer;
    if (!response) {
      if (!reader.is_broken()) return response.error();
      answer.broken = true;
      answer.why = response.error().what;
      return answer;
    }
    answer.response = *std::move(response);
    if (!answer.response.location.empty() && answer.response.status / 100 == 3) {
      if (hop == kRedirects) return of_user("the server of the address books redirects without end");
      const auto next = resolved(request.url, answer.response.location);
      if (!next) return of_user("the server of the address books redirects to nowhere");
      if (const Done allowed = stay_home(*next); !allowed) return allowed.error();
      request.url = *next;
      continue;
    }
    if (answer.response.status == 207) {
      if (const Done ended = reader.finish(); !ended) {
        if (!reader.is_broken()) return ended.error();
        answer.broken = true;
        answer.why = ended.error().what;
      }
      answer.sync_token = reader.sync_token();
    }
    return answer;
  }
}

Result<std::vector<Member>> CardDav::properties(const std::string& url, std::string_view depth, std::string_view which,
                                                int* status) {
  std::vector<Member> members;
  auto answer = ask("PROPFIND", url, depth, element("D:propfind", "<D:prop>" + std::string(which) + "</D:prop>"),
                    [&](Member&& member) {
                      members.push_back(std::move(member));
                      return done();
                    });
  if (!answer) return answer.error();
  if (answer->broken) return passing(printable(path_of(url)) + ": " + answer->why);
  if (status != nullptr) *status = answer->response.status;
  if (answer->response.status == 207) return members;
  if (status != nullptr && answer->response.status != 401 && answer->response.status / 100 == 4 &&
      answer->response.status != 429)
    return std::vector<Member>();
  return failed(answer->response, printable(path_of(url)));
}

// Is the home set told at `url`, or is it a book itself? RFC 6764 §6, RFC 5397, RFC 6352 §7.1.1.
Result<bool> CardDav::try_home(const std::string& url) {
  std::string at = url;
  for (int step = 0; step < 3; ++step) {
    int status = 0;
    auto members = properties(at, "0", kWhere, &status);
    if (!members) return members.error();
    if (members->empty()) return false;
    const Member& found = members->front();
    if (found.addressbook) {
      home_ = at;
      return true;
    }
    if (!found.home_sets.empty()) {
      const auto home = resolved(at, found.home_sets.front());
      if (!home) return of_user("the server names a home of the address books that is no address");
      if (const Done allowed = stay_home(*home); !allowed) return allowed.error();
      home_ = *home;
      return true;
    }
    const auto principal = resolved(at, found.principal);
    if (!principal || path_of(*principal) == path_of(at)) return false;
    if (const Done allowed = stay_home(*principal); !allowed) return allowed.error();
    at = *principal;
  }
  return false;
}

Done CardDav::find_home() {
  const auto origin = origin_of(settings_.url);
  if (!origin) return of_user("'" + printable(settings_.url) + "' is not the address of a CardDAV server");
  std::vector<std::string> places;
  const auto named = resolved(settings_.url, path_of(settings_.url).empty() ? "/" : settings_.url);
  const std::string root = origin->text() + "/", known = origin->text() + "/.well-known/carddav";
  if (named && *named != root) places.push_back(*named);
  places.push_back(known);  // RFC 6764 §5
  places.push_back(root);
  for (const auto& place : places) {
    auto found = try_home(place);
    if (!found) return found.error();
    if (*found) return done();
  }
  return of_user("no address books were found at " + printable(origin->text()),
                 "Name their address: --contacts=https://…");
}

Result<std::vector<Book>> CardDav::books_at(const std::string& home, int* status) {
  auto members = properties(home, "1", kBook, status);
  if (!members) return members.error();
  std::vector<Book> books;
  for (const auto& member : *members) {
    const auto url = resolved(home, member.href);
    if (!member.addressbook || !url || !stay_home(*url)) continue;
    books.push_back(book_of(member, *url));
  }
  return books;
}

Result<std::vector<Book>> CardDav::books(const std::string& home) {
  if (!home.empty() && stay_home(home)) {
    int status = 0;
    auto books = books_at(home, &status);
    if (!books) return books;
    home_ = home;
    if (status == 207 && !books->empty()) return books;
  }
  if (const Done found = find_home(); !found) return found.error();
  int status = 0;
  auto books = books_at(home_, &status);
  if (!books) return books;
  if (status != 207) return of_user("the address books at " + printable(home_) + " cannot be listed");
  return books;
}

std::optional<Listed> CardDav::listed(const Book& book, const Member& member) const {
  const auto url = resolved(book.url, member.href);
  if (!url || !stay_home(*url)) return std::nullopt;
  auto path = path_of(*url);
  if (!is_member(path_of(book.url), path)) return std::nullopt;
  return Listed{std::move(path), *url, member.etag, member.octets};
}

// nullopt: there is no such report here, or the token is not good any longer.
Result<std::optional<Changes>> CardDav::sync(const Book& book, const std::string& token) {
  Changes out;
  out.whole = token.empty();
  out.sync_token = token;
  std::map<std::string, std::optional<Listed>> latest;  // pages can name a card again: the last word counts
  for (int page = 0; page < kPages; ++page) {
    bool more = false;
    auto answer = ask("REPORT", book.url, "0",
                      element("D:sync-collection", "<D:sync-token>" + xml_escaped(out.sync_token) +
                                                       "</D:sync-token><D:sync-level>1</D:sync-level><D:prop>" +
                                                       std::string(kCard) + "</D:prop>"),
                      [&](Member&& member) {
                        const auto url = resolved(book.url, member.href);
                        if (url && member.status == 507 && path_of(*url) == path_of(book.url)) more = true;  // §3.6
                        auto card = listed(book, member);
                        if (!card || member.collection) return done();
                        auto path = card->path;
                        if (member.status == 404)
                          latest[path] = std::nullopt;
                        else if (member.status == 0 || member.status / 100 == 2)
                          latest[path] = std::move(card);
                        return done();
                      });
    if (!answer) return answer.error();
    if (answer->broken) return passing(printable(path_of(book.url)) + ": " + answer->why);
    const auto& response = answer->response;
    if (response.status == 401 || response.status == 429 || response.status >= 500) {
      if (response.status != 501) return failed(response, printable(path_of(book.url)));
    }
    if (response.status != 207) return std::optional<Changes>();
    if (answer->sync_token.empty() || (more && answer->sync_token == out.sync_token))
      return std::optional<Changes>();  // a view of which nobody knows how much it is
    out.sync_token = answer->sync_token;
    if (more) continue;
    for (auto& [path, card] : latest)
      if (card)
        out.present.push_back(*std::move(card));
      else
        out.gone.push_back(path);
    return std::optional(std::move(out));
  }
  return passing("the list of changes has no end");
}

Result<Changes> CardDav::list(const Book& book) {
  Changes out;
  out.whole = true;
  auto members = properties(book.url, "1", kCard);
  if (!members) return members.error();
  bool itself = false;
  for (auto& member : *members) {
    const auto url = resolved(book.url, member.href);
    if (url && path_of(*url) == path_of(book.url)) itself = true;
    if (member.status == 507) out.whole = false;
    auto card = listed(book, member);
    if (card && !member.collection && (member.status == 0 || member.status / 100 == 2))
      out.present.push_back(*std::move(card));
  }
  if (!itself) out.whole = false;  // RFC 4918 §9.1: Depth 1 has the collection, too
  return out;
}

Result<Changes> CardDav::changes(const Book& book, const std::string& sync_token) {
  if (book.reports_sync || !book.sync_token.empty()) {
    for (const auto& token :
         sync_token.empty() ? std::vector<std::string>{""} : std::vector<std::string>{sync_token, ""}) {
      auto synced = sync(book, token);
      if (!synced) return synced.error();
      if (*synced) return **std::move(synced);
    }
  }
  return list(book);
}

Done CardDav::multiget(const Book& book, std::span<const Listed* const> cards,
                       const std::function<Done(Card&&)>& card) {
  std::string body = "<D:prop><D:getetag/><C:address-data/></D:prop>";
  for (const auto* one : cards) {
    const auto origin = origin_of(one->url);
    body +=
        "<D:href>" + xml_escaped(std::string_view(one->url).substr(origin ? origin->text().size() : 0)) + "</D:href>";
  }
  auto answer = ask("REPORT", book.url, "1", element("C:addressbook-multiget", body), [&](Member&& member) -> Done {
    auto found = listed(book, member);
    if (!found) return done();
    if (member.status == 404 || member.status == 410) return card({found->path, "", "", true});
    if (!member.card || member.card->empty() || member.too_long) return done();
    return card({found->path, member.etag, *std::move(member.card), false});
  });
  if (!answer) return answer.error();
  if (answer->broken) return done();
  const int status = answer->response.status;
  if (status == 401 || status == 429 || status == 503) return failed(answer->response, "the cards");
  return done();  // a server without the report, or one that trips over a card: GET is left
}

Result<bool> CardDav::get(const std::string& url, const std::function<Done(std::string_view)>& octets) {
  http::Request request;
  request.url = url;
  request.accept = "*/*";  // the card as it is stored; Xandikos 0.2.8 answers a choice of types with 500
  request.sink = octets;
  auto response = send(std::move(request));
  if (!response) return response.error();
  if (response->status == 404 || response->status == 410) return false;
  if (response->status == 200) return true;
  auto error = failed(*response, printable(path_of(url)));
  if (response->status != 401 && response->status != 429 && response->status != 503) error.scope = Scope::Message;
  return error;
}

}  // namespace mailhaul::dav
