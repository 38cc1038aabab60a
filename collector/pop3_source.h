// A POP3 maildrop as a sync::Source: one mailbox, INBOX, whose messages have names (unique-ids) and no UIDs; a NameBook
// gives them theirs. Nothing takes effect at the server but by conclude(): every other end, the destructor too, drops a
// connection on which something was read, without QUIT (RFC 1939 §6; Gmail counts what was read as collected at QUIT).
// pop3_source.cc has the list and the names, pop3_fetch.cc messages and headers.
#pragma once
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "collector/pop3_names.h"
#include "collector/sync/ports.h"
#include "protocols/client/pop3_client.h"

namespace mailhaul::collector {

// What one connection learns of a server and the next ones should know.
struct Pop3Habits {
  bool lockstep = false;            // answers got out of step, or ran into each other: one command at a time
  std::optional<bool> exact_sizes;  // LIST tells the octets of RETR; nullopt: not seen yet
  bool no_top = false;
  bool gmail = false;          // "Gpop": shows some 250 messages at a time, the others once these were read, and QUIT
  bool recent = false;         // Gmail's "recent:" user: reading hides nothing
  bool drained = false;        // messages that we have were read once more, so that the server goes on to others
  bool delays_logins = false;  // LOGIN-DELAY
  bool status_flags = false;   // the user wants flags_of_status()
};

class Pop3Source final : public sync::Source {
 public:
  Pop3Source(std::unique_ptr<client::Pop3Client> client, std::shared_ptr<Pop3Habits> habits);
  ~Pop3Source() override;

  [[nodiscard]] bool usable() const override { return client_->usable(); }
  Result<std::vector<sync::SourceMailbox>> mailboxes() override;
  void use(sync::NameBook& book) override { book_ = &book; }
  Result<std::vector<sync::MailboxView>> observe(std::span<const sync::ObserveRequest> requests) override;
  Result<sync::UidSet> probe(const sync::FetchQueue::Mailbox& mailbox) override;
  Result<std::vector<sync::Headers>> headers(const sync::FetchQueue::Mailbox& mailbox) override;
  Done fetch(sync::FetchQueue& queue, sync::Receiver& receiver) override;
  Result<sync::Farewell> conclude(const sync::FetchQueue::Mailbox& remove) override;

  [[nodiscard]] client::Pop3Client& client() { return *client_; }
  // What the user should know of this server: EXPIRE 0 and the like; empty: nothing.
  [[nodiscard]] std::string notice() const;

 private:
  friend class Pop3Fetching;
  Done stat();
  Done list();  // numbers, sizes and unique-ids of this session
  Done name();  // and their UIDs
  Result<bool> renamed(std::span<const store::NameRow> known);
  Done name_under(mail::UidValidity validity);
  Done look_up();  // list() and name(), once a connection
  Result<sync::MailboxView> view(const sync::ObserveRequest& request);
  // Headers of these messages of the drop, by TOP, or by RETR where TOP is not there.
  Done read_headers(std::vector<std::size_t> which);
  Done read_by(bool top, std::vector<std::size_t>& which);
  Done drain(const sync::UidSet& have);
  Result<sync::UidSet> mark(const sync::UidSet& uids);  // DELE; gives those that were
  [[nodiscard]] const DropMessage* find(mail::Uid uid) const;
  [[nodiscard]] static Error unanswered(std::string_view what, const pop3::Status& status);

  std::unique_ptr<client::Pop3Client> client_;
  std::shared_ptr<Pop3Habits> habits_;
  sync::NameBook* book_ = nullptr;
  std::optional<std::uint64_t> count_;  // STAT
  std::uint64_t octets_ = 0;
  bool listed_ = false, named_ = false;
  std::optional<Error> refused_;  // why the messages cannot be told apart
  mail::UidValidity validity_{1};
  std::vector<DropMessage> drop_;
  std::map<mail::Uid, std::size_t> by_uid_;
  std::set<pop3::MessageNumber> read_;  // RETR was sent for them: QUIT would mean that we have them
  bool touched_ = false;                // something was read or marked: no QUIT but by conclude()
};

}  // namespace mailhaul::collector
