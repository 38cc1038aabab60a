// Which mailbox of an account is its Sent, Drafts, Junk, Trash or Archive, so that those of several accounts meet in
// one place whatever language they were named in. The server's word counts first (RFC 6154 §2, Gmail's XLIST), then a
// table of the names that providers and mail programs give. Pure.
#pragma once
#include <vector>

#include "collector/sync/ports.h"

namespace mailhaul::collector {

// Sets `home` of the mailboxes that are special and of those below them. One mailbox per use, and none whose home is
// the name of another mailbox of the account: nothing of one account is merged.
void assign_homes(std::vector<sync::SourceMailbox>& mailboxes);

}  // namespace mailhaul::collector
