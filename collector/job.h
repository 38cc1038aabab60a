// A job as a user states it: where from, where to, under which rules. Parsing and checking of that text; no I/O.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "collector/gmail.h"
#include "collector/sync/run.h"
#include "protocols/base/result.h"
#include "protocols/client/imap_client.h"
#include "protocols/imap/quirks.h"
#include "store/maildir.h"

namespace mailhaul::collector {

enum class Protocol { Imap, Pop3 };

struct SourceAddress {
  Protocol protocol = Protocol::Imap;
  client::Security security = client::Security::Tls;
  std::string user;
  std::string host;
  std::uint16_t port = 0;
  std::string authzid = {};  // whose mail it is, where `user` is an administrator
  // "imap:user@host", "pop3:user@host", with the port if it is not one of the two usual ones: the same mail over
  // imap:// and imaps:// is the same account; another port may be another server. The user is the one whose mail it is,
  // without Gmail's "recent:".
  [[nodiscard]] std::string identity() const;
  [[nodiscard]] std::string text() const;  // for people
};

// imaps://user@host[:port], imap://user@host[:port], pop3s://…, pop3://…. The last '@' splits; %XX is decoded. Every
// other form is an Error of the kind "usage" (Retry::AfterUserAction) that says what to write instead.
Result<SourceAddress> parse_source(std::string_view text);
struct DestinationAddress {
  std::string maildir;                // the path, without a trailing slash; empty: an IMAP account
  std::optional<SourceAddress> imap;  // imaps://user@host[:port], or imap://…
};
// maildir:/path, or an IMAP account as for a source.
Result<DestinationAddress> parse_destination(std::string_view text);
// Where the state of a job into an IMAP account is kept if nobody says: $XDG_STATE_HOME/mailhaul/<user@host>/state.db,
// or below ~/.local/state. One for all sources of a destination.
std::string default_state(const SourceAddress& destination);

struct MailboxRules {
  std::vector<std::string> include;  // shell patterns on "Parent/Child"; empty: all
  std::vector<std::string> exclude;
  std::vector<std::pair<std::string, std::string>> map;  // "A" → "B", for A and everything below it
  bool all_namespaces = false;
  bool special_use = true;  // Sent, Drafts, Junk, Trash and Archive under these names, whatever they are called

  [[nodiscard]] bool wants(const sync::SourceMailbox& mailbox) const;
  [[nodiscard]] sync::Placing place(const sync::SourceMailbox& mailbox) const;
};

Result<std::pair<std::string, std::string>> parse_map(std::string_view rule);  // "A=B"
// --pop3-leave: forever → nullopt, delete → 0, a number of days → seconds.
Result<std::optional<std::int64_t>> parse_leave(std::string_view text);
// What a POP3 source cannot do, or not safely, among what the job asks for.
Done suits_protocol(const SourceAddress& source, const sync::Policy& policy);
Result<std::int64_t> parse_day(std::string_view text);    // YYYY-MM-DD → Unix seconds, UTC
Result<std::uint64_t> parse_size(std::string_view text);  // 1048576, 10M, 2G

struct Quirks {                     // what the user switches; the rest is recognised
  imap::QuirkChoice chosen;         // rows of the quirk table
  std::vector<std::string> masked;  // capabilities to be taken for absent
};
Done apply_quirk(std::string_view text, Quirks& quirks);  // "+lockstep", "-lockstep", "+no-CONDSTORE"
std::string quirks_text();                                // the table, for people

struct Job {
  SourceAddress source;
  Secret password;
  client::TokenSource token;             // not empty: OAuth instead of the password
  std::string maildir;                   // empty: `account`
  std::optional<SourceAddress> account;  // an IMAP account as destination
  Secret account_password;
  client::TokenSource account_token;
  std::optional<std::string> account_ca_file;  // nullopt: `ca_file` is for both ends
  std::chrono::seconds second_look{60};        // see ImapDestinationSettings
  std::string state;                           // empty: <maildir>/mailhaul/state.db, or default_state()
  std::string ca_file;
  std::string proxy;
  net::AddressGate gate;           // where connections may go; the command line lets everything through
  std::string client_certificate;  // PEM with its key; empty: none
  MailboxRules rules;
  sync::Policy policy;
  GmailLabels gmail_labels = GmailLabels::Mailboxes;
  bool pop3_status_flags = false;    // flags from the Status and X-Status fields that mbox servers write
  std::vector<std::string> release;  // mailboxes whose held removals may go ahead
  Quirks quirks;
  std::size_t connections = 1;
  bool newest_first = false;
  std::optional<std::uint64_t> daily_octets;  // what a day may bring; 0: no limit; nullopt: what its provider allows
  bool compress = false;
  bool dry_run = false;
  store::MaildirNames names = store::MaildirNames::Utf7;
  std::string trace_file;  // wire log; empty: none
};

}  // namespace mailhaul::collector
