// Gmail's labels, which IMAP shows as mailboxes: one message in each of its labels, and in the mailbox with \All.
#pragma once
#include <vector>

#include "collector/sync/ports.h"

namespace mailhaul::collector {

enum class GmailLabels {
  Mailboxes,  // a copy in every label's mailbox; what has no label goes to the archive
  Primary,    // one copy, in the first of: INBOX, Sent, Drafts, labels in the order of their names, Important, archive
};

// Which of the mailboxes are collected, and which of them keep a message that is in several: `aside`, `rank` and, of
// \All, `home`. By special use (RFC 6154), never by name: Gmail's names are in the user's language. Without \All, all
// of them are collected as they are. Pure.
void arrange_labels(std::vector<sync::SourceMailbox>& mailboxes, GmailLabels layout);

}  // namespace mailhaul::collector
