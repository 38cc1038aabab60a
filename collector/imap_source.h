// An IMAP account as a sync::Source: which commands to ask in which order, and what their answers mean. The mailbox is
// opened with EXAMINE and read with BODY.PEEK[]; nothing here changes anything at the source.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "collector/sync/ports.h"
#include "protocols/client/imap_client.h"

namespace mailhaul::collector {

class ImapSource final : public sync::Source {
 public:
  // `read_write`: open with SELECT (servers that do not understand EXAMINE); still nothing is changed there.
  explicit ImapSource(std::unique_ptr<client::ImapClient> client, bool read_write = false)
      : client_(std::move(client)), read_write_(read_write) {}
  ~ImapSource() override;

  Result<std::vector<sync::SourceMailbox>> mailboxes() override;
  Result<std::vector<sync::MailboxView>> observe(std::span<const sync::ObserveRequest> requests) override;
  Result<sync::UidSet> probe(const sync::FetchQueue::Mailbox& mailbox) override;
  Result<std::vector<sync::Headers>> headers(const sync::FetchQueue::Mailbox& mailbox) override;
  Done fetch(sync::FetchQueue& queue, sync::Receiver& receiver) override;

  [[nodiscard]] client::ImapClient& client() { return *client_; }

 private:
  Done list();
  Done complete_status();
  // UIDs of `mailbox` in slices, each asked with `items`; answers go to `on_fetched`.
  Done ask_each(const sync::FetchQueue::Mailbox& mailbox, const std::string& items, client::Listener& listener);

  std::unique_ptr<client::ImapClient> client_;
  bool read_write_;
  std::vector<sync::SourceMailbox> found_;
  std::vector<std::pair<std::string, std::optional<char>>> personal_;  // namespace prefixes
  std::vector<std::string> foreign_;                                   // prefixes of other users' and shared mailboxes
};

}  // namespace mailhaul::collector
