// SHA-256, and the evidence by which a message is recognised again when UIDs no longer help (mail-server experience:
// a Message-ID or digest is evidence, used once per match, never identity).
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace mailhaul::mail {

using Sha256Digest = std::array<std::uint8_t, 32>;

// Incremental SHA-256 (FIPS 180-4) on OpenSSL. reset() makes one object serve many messages without an allocation.
// Not thread-safe.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;
  void reset();
  void update(std::string_view octets);
  Sha256Digest finish();  // call reset() before the next update()
  static Sha256Digest of(std::string_view octets);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

std::string hex(std::string_view octets);
std::string hex(const Sha256Digest& digest);

// What is read off a message's header block, for recognition only.
struct Evidence {
  std::string message_id;                        // with its angle brackets, trimmed; empty if none
  std::array<std::uint8_t, 16> header_digest{};  // see HeaderScanner
  std::optional<std::int64_t> received_date;     // Unix seconds of the topmost Received:, for the date ladder
  std::optional<std::int64_t> date;              // Unix seconds of Date:
  bool operator==(const Evidence&) const = default;
};

// Gathers Evidence from the first octets of a message, in any chunking; looks at no more than kLimit octets and keeps
// no more. header_digest: the first 16 octets of SHA-256 over one line "name:value\n" for each of Message-ID, Date,
// From, To, Cc, Subject (the first of each) and the last (oldest) Received, in this order, those that exist; name in
// lower case, value unfolded, trimmed, runs of white space as one blank. Linear time. Not thread-safe.
class HeaderScanner {
 public:
  static constexpr std::size_t kLimit = 256 * 1024;
  void reset();
  void update(std::string_view octets);  // cheap once the header block has ended
  Evidence finish();                     // then reset() before the next message

 private:
  static constexpr std::size_t kFields = 8;
  struct Span {  // of a field's value in header_; end 0: no such field
    std::size_t begin = 0, end = 0;
  };
  void end_line(std::size_t end);
  void begin_field(std::size_t end);
  void append_canonical(std::string_view name, const Span& value);

  std::string header_;  // header block so far
  bool ended_ = false;
  std::size_t line_ = 0;     // where the line begins that is being read
  std::size_t scanned_ = 0;  // how far it was searched for its end
  std::array<Span, kFields> fields_{};
  std::size_t current_ = kFields;  // the field that a folded line would continue; kFields: none that matters
  std::string canonical_;          // kept for its memory only
};

// RFC 5322 §3.3 date-time with the obsolete forms of §4.3, leniently (parts in any order, comments, no weekday, no zone
// = UTC, no time = midnight); nullopt if hopeless or not from 1900 … 9999.
std::optional<std::int64_t> parse_rfc5322_date(std::string_view text);
// RFC 9051 date-time ("17-Jul-1996 02:44:25 -0700", day padded with a blank or not, month as a number too, zone
// optional = UTC), without quotes; nullopt if it is no date at all or outside 1970-01-02 … `latest` (Unix seconds).
std::optional<std::int64_t> parse_internal_date(std::string_view text, std::int64_t latest);

// The same, written (RFC 9051 §9, date-time), in UTC, without quotes: " 1-Feb-2024 02:44:25 +0000".
std::string internal_date_text(std::int64_t unix_seconds);

}  // namespace mailhaul::mail
