// RFC 4918 §13 multistatus, read as it comes: octets in, one Member after the other out. By expat; whatever a server
// sends, memory stays within the limits. No I/O.
//
// Not every XML is read: a document type (and so every entity of a document's own), more than kDepth elements within
// each other, or more than kText octets of text outside of address-data are an Error. Not thread-safe.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/result.h"

namespace mailhaul::dav {

// One DAV:response: a resource, and those of its properties that came with a 2xx propstat.
struct Member {
  std::string href;                     // as the server spells it, trimmed
  int status = 0;                       // of the resource as a whole (404: it is gone); 0: only its properties
  std::string etag;                     // with its quotes
  std::string display_name;             // DAV:displayname
  std::string description;              // CARDDAV:addressbook-description
  std::string color;                    // of Apple's or Inf-It's namespace, as it is
  std::string ctag;                     // CalendarServer's getctag
  std::string sync_token;               // DAV:sync-token, RFC 6578 §4
  std::string principal;                // DAV:current-user-principal
  std::vector<std::string> home_sets;   // CARDDAV:addressbook-home-set
  std::optional<std::uint64_t> octets;  // DAV:getcontentlength
  bool collection = false;              // DAV:resourcetype
  bool addressbook = false;             // CARDDAV:addressbook in it
  bool reports_sync = false;            // sync-collection among DAV:supported-report-set
  std::optional<std::string> card;      // CARDDAV:address-data, its octets and line ends as they were sent
  bool too_long = false;                // the card had more octets than are kept; `card` is empty
};

class MultistatusReader {
 public:
  static constexpr std::size_t kDepth = 32;
  static constexpr std::size_t kText = 64 << 10;  // of one property

  // `member` gets each response as soon as it has ended; its Error ends the reading. Cards longer than `card_limit` are
  // not kept.
  MultistatusReader(std::function<Done(Member&&)> member, std::size_t card_limit);
  ~MultistatusReader();
  MultistatusReader(const MultistatusReader&) = delete;
  MultistatusReader& operator=(const MultistatusReader&) = delete;

  // Error: not a multistatus, or not well-formed (Retry::Later; is_broken() tells it from an Error of `member`).
  Done feed(std::string_view octets);
  Done finish();  // the end of the answer; an Error when the document has not ended
  [[nodiscard]] bool is_broken() const;
  [[nodiscard]] const std::string& sync_token() const;  // of the whole answer (RFC 6578 §6.2); empty: there is none

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Does the body of an error answer name this precondition, such as "valid-sync-token" (RFC 4918 §16)?
bool names_precondition(std::string_view body, std::string_view element);

std::string xml_escaped(std::string_view text);

}  // namespace mailhaul::dav
