// IMAP commands as values (RFC 9051 §6). Text on the wire is made by the session, which knows tags, capabilities and
// literals.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "protocols/base/types.h"
#include "protocols/mail/identity.h"

namespace mailhaul::imap {

struct Capability {};  // §6.1.1
struct Noop {};        // §6.1.2
struct Logout {};      // §6.1.3
struct StartTls {};    // §6.2.1
struct Login {
  std::string user;
  Secret password;
};                     // §6.2.3
struct Authenticate {  // §6.2.2; the client answers Continuation events by respond()
  std::string mechanism;
  std::optional<Secret> initial_response;  // raw, not base64; sent with the command if SASL-IR (RFC 4959)
};
struct Id {
  std::vector<std::pair<std::string, std::string>> fields;
};  // RFC 2971
struct Enable {
  std::vector<std::string> extensions;
};                    // RFC 5161
struct Compress {};   // COMPRESS DEFLATE, RFC 4978
struct Namespace {};  // §6.3.10
struct List {         // §6.3.9; RFC 5258, 5819, 6154
  std::string reference;
  std::string pattern = "*";
  std::vector<std::string> returns;       // "SUBSCRIBED", "CHILDREN", "SPECIAL-USE"
  std::vector<std::string> status_items;  // not empty: RETURN (… STATUS (…))
};
struct Lsub {
  std::string reference;
  std::string pattern = "*";
};  // RFC 3501 §6.3.9
struct Status {
  std::string mailbox;
  std::vector<std::string> items;
};                         // §6.3.11
struct Examine {           // §6.3.3
  std::string mailbox;     // raw octets as LIST gave them
  bool condstore = false;  // (CONDSTORE), RFC 7162 §3.1.8
  struct Resync {
    mail::UidValidity validity;
    mail::ModSeq modseq;
    std::string known_uids;
  };
  std::optional<Resync> qresync;  // (QRESYNC (…)), RFC 7162 §3.2.5
  bool read_write = false;        // SELECT instead (quirk no-examine)
};
struct UidFetch {                             // §6.4.5, §6.4.9; items always in parentheses
  std::string uids;                           // sequence-set text; "lo:*" and "lo:4294967295" allowed
  std::string items;                          // "UID FLAGS INTERNALDATE BODY.PEEK[]"
  std::optional<mail::ModSeq> changed_since;  // RFC 7162 §3.1.4.1
  bool vanished = false;                      // with changed_since: (CHANGEDSINCE n VANISHED)
};
struct UidSearch {       // §6.4.4
  std::string criteria;  // "ALL", "UID 1:5"
  std::string returns;   // "ALL COUNT" → RETURN (…), RFC 4731; empty: plain SEARCH
};
struct Append {              // §6.3.12
  std::string mailbox;       // raw octets as LIST gave them
  std::string flags;         // "\\Seen $Junk"
  std::int64_t date = 0;     // Unix seconds
  std::uint64_t octets = 0;  // of the message, exactly
  std::string_view message;  // all of it, or its beginning: the rest by Session::append(). Copied by submit()
  bool binary = false;       // literal8, for messages with a NUL (RFC 3516 §4.4)
};
struct Create {  // §6.3.4
  std::string mailbox;
  std::string special_use{};  // "\\Sent": CREATE … (USE (\\Sent)), RFC 6154 §3; empty: without
};
struct Subscribe {
  std::string mailbox;
};                 // §6.3.7
struct UidStore {  // §6.4.6
  std::string uids;
  bool add = true;  // +FLAGS.SILENT, or -FLAGS.SILENT
  std::string flags;
};
struct UidExpunge {
  std::string uids;
};                     // RFC 4315 §2.1
struct GetQuotaRoot {  // RFC 9208 §4.1.2
  std::string mailbox;
};
struct ProxyAuth {
  std::string user;
};                     // of Netscape's descendants and CommuniGate: from here on the session is that user's
struct Idle {};        // RFC 2177; ended by Session::end_idle()
struct Notify {        // RFC 5465
  std::string events;  // "SET (selected (MessageNew MessageExpunge))", "NONE"
};

using Command = std::variant<Capability, Noop, Logout, StartTls, Login, Authenticate, Id, Enable, Compress, Namespace,
                             List, Lsub, Status, Examine, UidFetch, UidSearch, Append, Create, Subscribe, UidStore,
                             UidExpunge, GetQuotaRoot, ProxyAuth, Idle, Notify>;

// "UID FETCH", "LOGIN": for logs and errors; never an argument.
std::string_view name_of(const Command& command);

}  // namespace mailhaul::imap
