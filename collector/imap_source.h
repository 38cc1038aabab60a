// An IMAP account as a sync::Source: which commands to ask in which order, and what their answers mean. The mailbox is
// opened with EXAMINE and read with BODY.PEEK[]; nothing here changes anything at the source. imap_source.cc has the
// account and its list of mailboxes, imap_observe.cc what is in them, imap_fetch.cc the bodies.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "collector/gmail.h"
#include "collector/sync/ports.h"
#include "protocols/client/imap_client.h"
#include "protocols/imap/quirks.h"

namespace mailhaul::collector {

class Steps;

struct ImapSourceOptions {
  std::string host;          // for the quirk table
  imap::QuirkChoice quirks;  // the user's
  GmailLabels labels = GmailLabels::Mailboxes;
};

class ImapSource final : public sync::Source {
 public:
  explicit ImapSource(std::unique_ptr<client::ImapClient> client, ImapSourceOptions options = {});
  ~ImapSource() override;

  [[nodiscard]] bool usable() const override { return client_->usable(); }
  Result<std::vector<sync::SourceMailbox>> mailboxes() override;
  Result<std::vector<sync::MailboxView>> observe(std::span<const sync::ObserveRequest> requests) override;
  Result<sync::UidSet> probe(const sync::FetchQueue::Mailbox& mailbox) override;
  [[nodiscard]] bool identifies() const override { return has("OBJECTID") || has("X-GM-EXT-1"); }
  Result<std::vector<sync::Identity>> identities(const sync::FetchQueue::Mailbox& mailbox) override;
  Result<std::vector<sync::Headers>> headers(const sync::FetchQueue::Mailbox& mailbox) override;
  Done fetch(sync::FetchQueue& queue, sync::Receiver& receiver) override;

  [[nodiscard]] client::ImapClient& client() { return *client_; }
  [[nodiscard]] const imap::QuirkSet& quirks() const { return quirks_; }

 private:
  class Introduction;

  [[nodiscard]] bool has(std::string_view capability) const { return client_->session().has(capability); }
  [[nodiscard]] bool quirk(imap::Quirk quirk) const { return quirks_.has(quirk); }
  void recognise();
  // Who we are and what we want to use, once a connection: added to the steps that are first, or asked before them.
  void introduce(Steps& steps);
  void introduced();
  Done introduce();

  Done list();
  Done complete_status();
  [[nodiscard]] std::vector<std::string> status_items() const;
  [[nodiscard]] std::string identity_item() const;  // " EMAILID" or the like; empty: it has none
  [[nodiscard]] std::size_t line_octets() const;    // of UIDs in one command
  [[nodiscard]] imap::Command examine(const std::string& raw_name) const;
  // UIDs of `mailbox` in slices, each asked with `items`; answers go to the listener.
  Done ask_each(const sync::FetchQueue::Mailbox& mailbox, const std::string& items, client::Listener& listener,
                std::size_t slice = 500);
  Done salvage(sync::FetchQueue& queue, sync::Receiver& receiver);

  std::unique_ptr<client::ImapClient> client_;
  ImapSourceOptions options_;
  imap::QuirkSet quirks_;
  std::unique_ptr<Introduction> introduction_;  // what the server answered; nullptr: not asked yet
  bool resync_refused_ = false;                 // parameters of EXAMINE that the server does not take after all
  std::vector<sync::SourceMailbox> found_;
  std::vector<std::pair<std::string, std::optional<char>>> personal_;  // namespace prefixes
  std::vector<std::string> foreign_;                                   // prefixes of other users' and shared mailboxes
};

}  // namespace mailhaul::collector
