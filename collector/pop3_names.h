// What the messages of a POP3 maildrop are called in the ledger: their unique-ids (RFC 1939 §7) as far as these name
// one message each, else a digest of their headers. Pure; who reads headers is the caller.
#pragma once
#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "collector/sync/ports.h"
#include "protocols/mail/digest.h"
#include "protocols/mail/flags.h"
#include "protocols/pop3/command.h"

namespace mailhaul::collector {

// The header block of a message, gathered from its first octets.
class HeaderText {
 public:
  static constexpr std::size_t kLimit = 256 * 1024;
  void add(std::string_view octets);
  struct Read {
    mail::Evidence evidence;
    std::string digest;  // 32 hexadecimal digits, of all fields but those that servers write into mail themselves
  };
  [[nodiscard]] std::string_view text() const { return text_; }
  Read finish();  // and begins anew
  void reset();

 private:
  std::string text_;
  bool ended_ = false;
};

// What mail readers on an mbox have left in a header (the fields Status and X-Status): R is \Seen, A \Answered,
// F \Flagged, T \Draft. D is left out: what somebody meant to delete there is still wanted here. Of several fields the
// first one counts.
mail::FlagSet flags_of_status(std::string_view header);

struct DropMessage {  // one line of this session's list
  pop3::MessageNumber number = 0;
  std::uint64_t octets = 0;  // as LIST says, a hint
  std::string uidl;          // empty: none
  std::optional<HeaderText::Read> header;
  std::string name;
  mail::Uid uid;
};

struct KnownName {
  mail::Uid uid;
  std::uint64_t octets = 0;
};

// Two passes over a maildrop: which messages cannot be named without their header, then the names.
class Naming {
 public:
  // `known`: the ledger's names; must outlive it.
  explicit Naming(std::span<const store::NameRow> known);

  // Messages without unique-id, several with the same one, and those whose size is not what it was.
  [[nodiscard]] std::vector<std::size_t> need_headers(std::span<const DropMessage> drop) const;
  // Of known messages whose identity must be checked: UIDs whose ledger rows name_all() will ask for.
  [[nodiscard]] sync::UidSet to_check(std::span<const DropMessage> drop) const;
  // Sets `name` of every message, and `uid` of those that are known. `delivered`: header digest and Message-ID of the
  // rows of to_check() that were delivered. Gives what has another size now than the ledger says.
  std::map<mail::Uid, std::uint64_t> name_all(std::span<DropMessage> drop,
                                              const std::map<mail::Uid, mail::Evidence>& delivered);

 private:
  [[nodiscard]] const KnownName* find(std::string_view name) const;
  std::map<std::string_view, KnownName> known_;
  std::map<std::string_view, int> qualified_;  // unique-ids that once meant several messages
};

// Did the server give all its messages other names (a migration)? Half of what was delivered is missing, half of the
// list is new: then a look at some headers decides.
bool looks_renamed(std::uint64_t delivered, std::uint64_t missing, std::uint64_t listed, std::uint64_t fresh);

// "3 abc" of UIDL, "3 1200" of LIST; false: it is no such line.
bool parse_numbered(std::string_view line, pop3::MessageNumber& number, std::string_view& rest);

}  // namespace mailhaul::collector
