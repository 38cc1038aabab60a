// An IMAP server in memory that mail is delivered to: APPEND in all its spellings, and connections that are cut at any
// octet, in either direction. One object is one account; every connection is a transport of its own. Single-threaded.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "protocols/base/types.h"
#include "protocols/client/imap_client.h"
#include "protocols/mail/flags.h"
#include "protocols/net/transport.h"

namespace mailhaul::test {

struct HeldMessage {
  std::uint32_t uid = 0;
  std::string wire;
  mail::FlagSet flags;
  std::int64_t date = 0;
  std::int64_t shown_from = 0;  // Unix seconds: a server that finishes an APPEND late
};

struct HeldMailbox {
  std::uint32_t validity = 7;
  std::uint32_t next_uid = 1;
  std::string special_use;
  bool subscribed = false;
  std::vector<HeldMessage> messages;
};

class DestinationModel {
 public:
  explicit DestinationModel(const Clock& the_clock) : clock(the_clock) { mailboxes["INBOX"]; }

  const Clock& clock;
  std::string capabilities = "IMAP4rev1 UIDPLUS LITERAL+ CREATE-SPECIAL-USE";
  std::string permanent_flags = "\\Answered \\Flagged \\Deleted \\Seen \\Draft \\*";
  std::string prefix;  // what every name but INBOX has to begin with, told by NAMESPACE
  char delimiter = '/';
  bool fold_case = false;  // "Work" and "WORK" are one mailbox
  // Asked before a CREATE is carried out: "" carries on; everything else is the tagged reply.
  std::function<std::string(const std::string& mailbox)> on_create;
  std::string refused_keyword;  // APPEND and STORE with it among others are refused as a whole
  std::map<std::string, HeldMailbox> mailboxes;
  // Asked before an APPEND that has come whole is carried out: "" carries on; "lose" closes without storing, "store"
  // stores and closes, "late N" stores, shows it N seconds from now and closes; everything else is the tagged reply.
  std::function<std::string(const std::string& mailbox, const std::string& message)> on_append;

  // The connection in which it happens is cut once so many octets have gone that way, counted over all connections
  // from the first octet of the first APPEND line on; SIZE_MAX: never.
  std::size_t cut_client = SIZE_MAX, cut_server = SIZE_MAX;
  std::function<void()> on_octets;  // told at every exchange from there on: a place to die at
  bool dead = false;                // no connection gets through: the process that had them is no more
  std::size_t from_client = 0, to_client = 0;
  std::size_t appends = 0;  // carried out
  std::size_t lines = 0;    // commands
  std::vector<std::string> said;

  Result<std::unique_ptr<client::ImapClient>> connect();

 private:
  friend class DestinationModelConnection;
  bool counting_ = false;
};

}  // namespace mailhaul::test
