// What a server said, one value an event. Views are valid until the session is fed or asked for the next event.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "protocols/mail/flags.h"
#include "protocols/mail/identity.h"

namespace mailhaul::imap {

using Tag = Strong<struct TagTag, std::string>;

enum class Condition { Ok, No, Bad, PreAuth, Bye };  // RFC 9051 §7.1

struct StatusText {
  Condition condition = Condition::Ok;
  std::string code;       // upper case, without arguments: "UIDVALIDITY", "OVERQUOTA"; empty if none
  std::string arguments;  // of the code, raw: "3857529045"
  std::string text;       // human text, as sent
  // One line for errors and logs: "NO [OVERQUOTA] Quota exceeded", made printable.
  [[nodiscard]] std::string line() const;
};

struct Greeting {
  StatusText status;
};
struct Completed {
  Tag tag;
  StatusText status;
};  // the tagged reply
struct Notice {
  StatusText status;
};  // untagged OK, NO, BAD, BYE
struct Continuation {
  std::string text;
};                       // "+ …"
struct Capabilities {};  // untagged CAPABILITY; a code in an OK changes the list without it
struct Enabled {
  std::vector<std::string> extensions;
};
struct IdReply {
  std::vector<std::pair<std::string, std::string>> fields;
};
struct ListEntry {
  std::string raw_name;                                      // octets as sent (unquoted)
  std::optional<char> delimiter;                             // NIL: none
  std::vector<std::string> attributes;                       // "\\Noselect", "\\HasChildren", "\\Sent" … as sent
  bool lsub = false;                                         // from LSUB
  [[nodiscard]] bool has(std::string_view attribute) const;  // without regard to case
};
struct NamespaceData {  // RFC 2342
  struct Root {
    std::string prefix;
    std::optional<char> delimiter;
  };
  std::vector<Root> personal, other_users, shared;
};
struct StatusEntry {  // untagged STATUS; absent items are nullopt
  std::string raw_name;
  std::optional<std::uint64_t> messages, uid_next, uid_validity, unseen, highest_modseq, size, deleted;
  std::optional<std::string> mailbox_id;
};
struct Exists {
  std::uint32_t count;
};
struct Expunged {
  mail::SequenceNumber number;
};
struct Vanished {
  mail::UidSet uids;
  bool earlier;
};  // RFC 7162 §3.2.10; "n:*" never occurs
struct FlagsData {
  mail::FlagSet flags;
};                         // untagged FLAGS
struct SearchResult {      // SEARCH or ESEARCH
  std::optional<Tag> tag;  // ESEARCH's correlator
  mail::UidSet uids;
  std::optional<std::uint64_t> count;  // ESEARCH COUNT
  std::optional<mail::ModSeq> modseq;
  bool extended = false;  // ESEARCH
};
struct QuotaData {  // untagged QUOTA, RFC 9208 §4.2.1
  std::string root;
  struct Resource {
    std::string name;  // "STORAGE" (in units of 1,024 octets), "MESSAGE"
    std::uint64_t usage = 0, limit = 0;
  };
  std::vector<Resource> resources;
};
enum class Body { Absent, Nil, Delivered };
// A BODY[] (also RFC822, BODY[]<0>, BINARY[]) as it streams in. Literals, quoted strings and atoms all arrive so.
// BodyBegin … BodyChunk* … BodyEnd … Fetched (of the same response) come in this order, never interleaved.
struct Fetched;
struct BodyBegin {
  std::optional<mail::Uid> uid;     // if it stood before the body in the response
  std::uint64_t octets;             // exact: the literal's own count frames the protocol (RFC822.SIZE is a hint)
  const Fetched* so_far = nullptr;  // what stood before the body in the response; valid until the next event
};
struct BodyChunk {
  std::string_view octets;
};
struct BodyEnd {};  // all announced octets were given out and what follows is still in grammar
struct Fetched {    // one FETCH response, when its line has ended
  mail::SequenceNumber number{};
  std::optional<mail::Uid> uid;
  std::optional<mail::FlagSet> flags;
  std::optional<std::string> internal_date;  // as sent
  std::optional<std::uint64_t> size;         // RFC822.SIZE; floats are understood
  std::optional<mail::ModSeq> modseq;
  std::optional<std::string> email_id;  // RFC 8474 EMAILID, or X-GM-MSGID as text
  Body body = Body::Absent;
};
struct Bye {
  StatusText status;
};  // after this the server closes; also given as the answer to LOGOUT

using Event = std::variant<Greeting, Completed, Notice, Continuation, Capabilities, Enabled, IdReply, ListEntry,
                           NamespaceData, StatusEntry, Exists, Expunged, Vanished, FlagsData, SearchResult, QuotaData,
                           BodyBegin, BodyChunk, BodyEnd, Fetched, Bye>;

}  // namespace mailhaul::imap
