// An IMAP account as a store::Destination: every message once, without a mark in the mail. Before an APPEND is sent its
// key lies in the copy book as meant; where the answer was not seen, the message is looked for (by UIDNEXT window,
// INTERNALDATE, header and size), twice with a pause in between, and never sent again blindly. Mail that is there
// already is adopted.
//
// Short messages wait in memory for their batch and go out pipelined. Long ones that are announced go straight through:
// the first 256 KiB are seen before APPEND is sent, and the last chunk is held back until the source's literal has
// ended well; otherwise the connection is dropped, and nothing was stored (RFC 9051 §6.3.12). Long ones that are not
// announced pass through an unlinked file in `spool`.
//
// imap_destination.cc has the account, names, flags and looking; imap_delivery.cc the way in; imap_doubt.cc what became
// of messages in doubt, and which mail is there already.
#pragma once
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "protocols/client/imap_client.h"
#include "store/copy_book.h"
#include "store/destination.h"

namespace mailhaul::collector {

struct ImapDestinationSettings {
  std::function<Result<std::unique_ptr<client::ImapClient>>()> connect;
  std::string text;   // imaps://user@host:port, for people
  std::string spool;  // a directory; empty: everything stays in memory
  const Clock* clock = &system_clock();
  std::function<void(std::chrono::milliseconds)> wait;  // returns early on a stop
  std::stop_token stop;
  std::chrono::seconds second_look{60};  // after the first one that did not find a message in doubt
};

class ImapMessage;

// Thread-safe where store::Destination says so.
class ImapDestination final : public store::Destination {
 public:
  static constexpr std::uint64_t kLong = 256 * 1024;  // octets

  // Connects, and learns the account's mailboxes.
  static Result<std::unique_ptr<ImapDestination>> open(ImapDestinationSettings settings,
                                                       std::shared_ptr<store::CopyBook> book);
  ~ImapDestination() override;

  [[nodiscard]] std::string_view kind() const override { return "imap"; }
  [[nodiscard]] const std::string& path() const override { return settings_.text; }
  [[nodiscard]] store::BatchLimits limits() const override { return {500, 4U << 20U, kLong}; }
  // "2,048 of 10,240 KiB used"; empty: the server does not say (RFC 9208).
  [[nodiscard]] const std::string& quota() const { return quota_; }
  [[nodiscard]] std::uint64_t keywords_left_out() const { return keywords_left_out_; }

  [[nodiscard]] std::string directory_name(std::span<const std::string> components) const override;
  [[nodiscard]] std::optional<std::vector<std::string>> components_of(std::string_view directory) const override;
  Done create(const std::string& directory) override;
  Done subscribe(std::span<const std::vector<std::string>> mailboxes) override;
  Result<store::IncomingMessage> receive(const std::string& directory,
                                         const store::Announced* announced = nullptr) override;
  Result<std::vector<std::string>> deliver(std::span<std::pair<std::string, store::Delivery>> batch) override;
  Result<std::vector<store::FoundCopy>> look(const std::string& directory,
                                             std::span<const store::DeliveryKey> keys) override;
  Result<std::optional<store::Received>> remembered(const std::string& directory,
                                                    const store::FoundCopy& copy) override;
  Result<std::string> set_flags(const std::string& directory, const store::FoundCopy& copy,
                                const mail::FlagSet& flags) override;
  Result<mail::FlagSet> flags_of(const std::string& directory, const store::FoundCopy& copy) override;
  Done remove(const std::string& directory, const store::FoundCopy& copy) override;
  Done sync_directory(const std::string& directory) override;
  Result<std::uint64_t> size_of(const std::string& directory, const store::FoundCopy& copy) override;
  Done read(const std::string& directory, const store::FoundCopy& copy, store::StoredForm form,
            const std::function<bool(std::string_view)>& visit) override;
  Result<std::optional<std::string>> read_own(const std::string& name) override { return book_->read_own(name); }
  Done write_own(const std::string& name, std::string_view content) override { return book_->write_own(name, content); }

 private:
  friend class ImapMessage;

  struct Candidate {  // a message of the destination's that no key belongs to
    mail::Uid uid{0};
    std::uint64_t octets = 0;
    std::int64_t seconds = 0;
    std::string message_id;
    std::array<std::uint8_t, 16> header_digest{};
  };
  struct Box {
    std::string name;
    store::CopyBook::MailboxNumber number = 0;
    bool known = false;  // what follows was learnt in this life
    std::uint64_t exists = 0;
    mail::UidValidity validity{};
    mail::Uid next{1};  // no new message has a UID below it
    mail::FlagSet permanent;
    bool any_keyword = false;
    std::optional<std::vector<Candidate>> strangers;  // nullopt: nobody has looked
    struct Store {
      mail::FlagSet flags;
      mail::UidSet uids;
    };
    std::map<std::pair<bool, std::string>, Store> stores;  // for sync_directory(); by whether to add, and the flags
  };
  struct Posting;  // one message of a batch (imap_delivery.cc)
  class PostScript;
  using Client = client::ImapClient;

  ImapDestination(ImapDestinationSettings settings, std::shared_ptr<store::CopyBook> book)
      : settings_(std::move(settings)), book_(std::move(book)) {}

  // Runs `step` on the main connection, again on a new one after a lost one. What it does must bear repetition. Errors
  // come out as the destination's: Scope::Service.
  Done on_main(const std::function<Done(Client&)>& step);
  Done again_after(const Error& why, int& failures);  // waits as it makes sense, or gives the Error to end with
  Done learn_account(Client& client);
  [[nodiscard]] bool has(std::string_view capability) const { return capabilities_.contains(std::string(capability)); }
  Result<Box*> box(const std::string& directory);  // known
  Result<std::vector<store::FoundCopy>> look_in(const std::string& directory, std::span<const store::DeliveryKey> keys);
  Done select(Client& client, Box& box, bool again = false);
  Done make(Client& client, const std::string& directory);
  [[nodiscard]] mail::FlagSet permitted(const Box& box, const mail::FlagSet& flags);
  Done store_flags(Client& client, const std::string& uids, bool add, const mail::FlagSet& flags);
  Result<mail::Uid> uid_of(Box& box, const store::FoundCopy& copy);

  // imap_doubt.cc
  Done settle_doubts(Box& box);                                // nothing of the box is Meant afterwards
  Done look_for(Box& box, std::vector<store::CopyRow>& rows);  // those that are found are settled and taken out
  Done candidates(Client& client, Box& box, mail::Uid from, std::vector<Candidate>& out);
  Done digest_of(Client& client, Box& box, mail::Uid uid, mail::Sha256Digest& out);
  Done load_strangers(Box& box);
  Result<std::optional<mail::Uid>> adoptable(Box& box, const store::CopyRow& row, bool digest_known);
  Done adopt(Box& box, store::CopyRow& row, mail::Uid uid, const mail::FlagSet& flags);

  // imap_delivery.cc
  Done begin_long(ImapMessage& message);
  Done post(std::vector<Posting>& postings);
  Done post_once(std::vector<Posting>& postings);
  Done judge(Posting& posting, bool& again);
  Done book_results(std::vector<Posting>& postings);
  Done store_keywords(std::vector<Posting>& postings);
  Result<std::unique_ptr<Client>> borrow();
  void give_back(std::unique_ptr<Client> client);

  ImapDestinationSettings settings_;
  std::shared_ptr<store::CopyBook> book_;
  std::mutex mutex_;  // everything below
  std::unique_ptr<Client> main_;
  std::string selected_;  // on the main connection
  std::vector<std::unique_ptr<Client>> idle_;
  std::map<std::string, Box> boxes_;
  std::set<store::DeliveryKey> passing_;  // long messages in the middle of their literal: in nobody's doubt yet
  std::set<std::string> there_;           // mailboxes
  std::set<std::string> capabilities_;
  std::optional<std::uint64_t> append_limit_;
  std::map<std::string, std::string> special_;  // "Sent" → what the account calls it
  std::string prefix_;                          // of the user's own mailboxes
  std::optional<char> delimiter_ = '/';
  std::string quota_;
  mail::FlagSet refused_keywords_;  // in spite of PERMANENTFLAGS: too long, for example
  std::uint64_t keywords_left_out_ = 0;
};

}  // namespace mailhaul::collector
