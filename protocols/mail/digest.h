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
  std::string message_id;                     // with its angle brackets, trimmed; empty if none
  std::array<std::uint8_t, 16> header_digest{};  // see HeaderScanner
  std::optional<std::int64_t> received_date;  // Unix seconds of the topmost Received:, for the date ladder
  std::optional<std::int64_t> date;           // Unix seconds of Date:
  bool operator==(const Evidence&) const = default;
};

// Gathers Evidence from the first octets of a message, in any chunking; looks at no more than kLimit octets and keeps
// no more. header_digest: the first 16 octets of SHA-256 over the canonical (unfolded, trimmed, lower-case names) first
// values of Message-ID, Date, From, To, Cc, Subject and the last (oldest) Received. Linear time. Not thread-safe.
class HeaderScanner {
 public:
  static constexpr std::size_t kLimit = 256 * 1024;
  void reset();
  void update(std::string_view octets);  // cheap once the header block has ended
  Evidence finish();

 private:
  std::string header_;   // header block so far
  bool ended_ = false;
};

// RFC 5322 §3.3 date-time with the obsolete forms of §4.3, leniently; nullopt if hopeless.
std::optional<std::int64_t> parse_rfc5322_date(std::string_view text);
// RFC 9051 date-time ("17-Jul-1996 02:44:25 -0700", day padded with a blank or not, zone optional = UTC); nullopt if
// it is no date at all or outside 1970-01-02 … `latest`.
std::optional<std::int64_t> parse_internal_date(std::string_view text, std::int64_t latest);

}  // namespace mailhaul::mail
