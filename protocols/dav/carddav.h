// A CardDAV client (RFC 6352) for reading address books: where they are, what has changed in them, and the cards.
//
// Credentials go to one origin (scheme, host and port), that of the settings' URL; redirects are followed there and
// nowhere else. Errors: AfterUserAction for a refused login, a redirect or home set elsewhere, no address books;
// Later for what may pass, with the server's Retry-After. Belongs to one thread at a time.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/result.h"
#include "protocols/base/types.h"
#include "protocols/dav/multistatus.h"
#include "protocols/http/http.h"

namespace mailhaul::dav {

struct Settings {
  std::string url;  // a server, a principal, a home set or an address book
  std::string user;
  Secret password;
  Secret bearer;                     // not empty: instead of user and password
  http::Options web;                 // its time-out is that of one request
  std::size_t card_limit = 1 << 20;  // octets of a card that are kept in memory
};

struct Book {
  std::string url;
  std::string name, description, color;  // as the server has them; may be empty
  std::string state;  // sync-token and ctag: the same text, the same cards; empty: the server tells neither
  std::string sync_token;
  bool reports_sync = false;
};

struct Listed {      // a card in a list
  std::string path;  // by path_of: what it is known by
  std::string url;
  std::string etag;
  std::optional<std::uint64_t> octets;
};

struct Changes {
  std::vector<Listed> present;    // new or changed; all of them if `whole`
  std::vector<std::string> gone;  // paths that the server has named as removed
  std::string sync_token;         // for the next time; empty: there is none
  bool whole = false;             // `present` is all that is there (a Complete view)
};

struct Card {
  std::string path, etag;
  std::string octets;
  bool gone = false;  // the server says that it is no longer there (404)
};

class CardDav {
 public:
  CardDav(Settings settings, std::stop_token stop);

  // The address books. `home`: where they were found before (home()); looked for if it is empty or no longer good.
  Result<std::vector<Book>> books(const std::string& home = {});
  [[nodiscard]] const std::string& home() const { return home_; }

  // What has changed since the token, by sync-collection (RFC 6578); everything without a token, or where the server
  // does not accept it any longer, or has no such report (PROPFIND).
  Result<Changes> changes(const Book& book, const std::string& sync_token);

  // addressbook-multiget (RFC 6352 §8.7). `card` gets what comes, in any order; a card that the server leaves out,
  // sends empty or longer than the limit is not among them. An Error of `card` ends it. An answer that cannot be read
  // is no Error: what came before it has been given, the rest can be asked for one by one (get).
  Done multiget(const Book& book, std::span<const Listed* const> cards, const std::function<Done(Card&&)>& card);

  // One card by GET, piece by piece, of any size. false: it is not there (404, 410).
  Result<bool> get(const std::string& url, const std::function<Done(std::string_view)>& octets);

  [[nodiscard]] std::size_t requests() const { return connection_.requests(); }

 private:
  struct Answer {
    http::Response response;
    std::string sync_token;
    bool broken = false;
    std::string why;  // it is broken
  };
  Result<http::Response> send(http::Request request);
  // A request whose answer is a multistatus; redirects on the same origin are followed.
  Result<Answer> ask(std::string_view method, const std::string& url, std::string_view depth, std::string body,
                     const std::function<Done(Member&&)>& member);
  Result<std::vector<Member>> properties(const std::string& url, std::string_view depth, std::string_view which,
                                         int* status = nullptr);
  Done find_home();
  Result<bool> try_home(const std::string& url);
  Result<std::vector<Book>> books_at(const std::string& home, int* status);
  Result<std::optional<Changes>> sync(const Book& book, const std::string& token);
  Result<Changes> list(const Book& book);
  std::optional<Listed> listed(const Book& book, const Member& member) const;
  Done stay_home(const std::string& url) const;  // is it of the origin that may have our credentials?

  Settings settings_;
  std::stop_token stop_;
  http::Connection connection_;
  std::string home_;
  bool digest_ = false;
};

}  // namespace mailhaul::dav
