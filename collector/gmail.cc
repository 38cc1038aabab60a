#include "collector/gmail.h"

#include <algorithm>

#include "protocols/base/text.h"

namespace mailhaul::collector {
namespace {

using sync::SourceMailbox;

bool is(const SourceMailbox& mailbox, std::string_view use) {
  return std::ranges::any_of(mailbox.attributes,
                             [&](const std::string& attribute) { return equal_ignoring_case(attribute, use); });
}

bool is_all(const SourceMailbox& mailbox) { return is(mailbox, "\\All") || is(mailbox, "\\AllMail"); }

// What was said by others than mail: not to be had by IMAP. It has no special use.
bool is_chats(const SourceMailbox& mailbox) {
  return mailbox.path.size() == 2 && (mailbox.path[0] == "[Gmail]" || mailbox.path[0] == "[Google Mail]") &&
         mailbox.path[1] == "Chats";
}

// Of what a person would look for a message in, first to last. Junk and Trash share no message with the others.
std::uint32_t place_of(const SourceMailbox& mailbox) {
  if (is(mailbox, "\\Junk") || is(mailbox, "\\Trash")) return 0;
  if (mailbox.path.size() == 1 && equal_ignoring_case(mailbox.path[0], "INBOX")) return 0;
  if (is(mailbox, "\\Sent")) return 1;
  if (is(mailbox, "\\Drafts")) return 2;
  if (is(mailbox, "\\Important")) return 4;
  return is_all(mailbox) ? 5 : 3;
}

}  // namespace

void arrange_labels(std::vector<SourceMailbox>& mailboxes, GmailLabels layout) {
  const bool whole = std::ranges::any_of(mailboxes, [](const auto& m) { return m.selectable && is_all(m); });
  for (auto& mailbox : mailboxes) mailbox.aside = is_chats(mailbox);
  if (!whole) return;
  const std::vector<std::string> archive{"Archive"};
  const bool archived =
      std::ranges::any_of(mailboxes, [&](const auto& m) { return m.path == archive || m.home == archive; });
  std::vector<std::pair<std::uint32_t, SourceMailbox*>> order;
  for (auto& mailbox : mailboxes) {
    if (is(mailbox, "\\Flagged")) mailbox.aside = true;  // the flag says it
    if (is_all(mailbox) && mailbox.home.empty() && !archived) mailbox.home = archive;
    if (layout == GmailLabels::Mailboxes) mailbox.rank = is_all(mailbox) ? 1 : 0;
    if (layout == GmailLabels::Primary) order.emplace_back(place_of(mailbox), &mailbox);
  }
  // A rank of its own for each label: of two of one rank both would keep it.
  std::ranges::sort(order, {}, [](const auto& o) { return std::pair(o.first, o.second->raw_name); });
  std::uint32_t rank = 0;
  for (std::size_t i = 0; i < order.size(); ++i) {
    if (i > 0 && order[i].first > 0) ++rank;
    order[i].second->rank = rank;
  }
}

}  // namespace mailhaul::collector
