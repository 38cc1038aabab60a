#include "collector/service/ledger_view.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <tuple>

#include "protocols/mail/mailbox_name.h"

namespace mailhaul::service {
namespace {

using store::MessageState;

struct Look {
  std::unique_ptr<store::Ledger> ledger;  // nullptr: nothing collected yet
  store::AccountRow account;
};

Result<std::optional<store::AccountRow>> account_of(store::Ledger& ledger, const std::string& identity) {
  auto accounts = ledger.accounts();
  if (!accounts) return accounts.error();
  // The ledger's account is the source and this very destination; a state that was moved elsewhere has several.
  std::optional<store::AccountRow> found;
  for (auto& account : *accounts)
    if (account.identity.starts_with(identity + " ")) found = std::move(account);
  return found;
}

Result<Look> look(const std::string& path, const std::string& identity) {
  if (::access(path.c_str(), F_OK) != 0) return Look{};
  auto ledger = store::Ledger::look(path);
  if (!ledger) return ledger.error();
  auto account = account_of(**ledger, identity);
  if (!account) return account.error();
  if (!*account) return Look{};
  return Look{*std::move(ledger), **std::move(account)};
}

Counts counts_of(const store::Tally& tally) {
  Counts c;
  c.delivered = tally.of(MessageState::Delivered);
  c.excluded = tally.of(MessageState::Excluded);
  c.failed = tally.of(MessageState::Failed);
  c.pending = tally.of(MessageState::Listed);
  c.gone = tally.of(MessageState::Gone) + tally.of(MessageState::Vanished);
  c.listed = c.delivered + c.excluded + c.failed + c.pending + c.gone;
  c.octets = tally.octets[static_cast<std::size_t>(MessageState::Delivered)];
  return c;
}

struct Place {
  std::int64_t mailbox = 0;
  std::uint32_t generation = 0, uid = 0;
  bool operator<(const Place& other) const {
    return std::tie(mailbox, generation, uid) < std::tie(other.mailbox, other.generation, other.uid);
  }
};

Place read_cursor(const std::string& cursor) {
  Place place;
  const char* at = cursor.data();
  const char* end = at + cursor.size();
  const auto number = [&](auto& into) {
    at = std::from_chars(at, end, into).ptr;
    if (at != end) ++at;
  };
  number(place.mailbox);
  number(place.generation);
  number(place.uid);
  return place;
}

Done collect_generation(store::Ledger& ledger, const store::MailboxRow& mailbox, std::uint32_t generation,
                        std::uint32_t after, const MessageFilter& filter, MessagePage& page) {
  const auto name = mail::display_name(mailbox.raw_name);
  const auto add = [&](store::MessageRow& row) {
    if (page.messages.size() == filter.limit) {
      const auto& last = page.messages.back();
      page.next = std::to_string(mailbox.id.value) + "." + std::to_string(generation) + "." +
                  std::to_string(last.generation == generation && last.mailbox == name ? last.row.uid.value : 0);
      return false;
    }
    page.messages.push_back({name, generation, std::move(row)});
    return true;
  };
  if (after == UINT32_MAX) return done();
  if (!filter.state) {
    auto rows = ledger.messages(mailbox.id, generation, mail::Uid{after + 1}, mail::Uid{UINT32_MAX},
                                filter.limit - page.messages.size() + 1);
    if (!rows) return rows.error();
    for (auto& row : *rows)
      if (!add(row)) break;
    return done();
  }
  const std::array states{*filter.state};
  auto uids = ledger.uids(mailbox.id, generation, states);
  if (!uids) return uids.error();
  for (const auto& range : uids->ranges())
    for (std::uint64_t uid = std::max<std::uint64_t>(range.first, std::uint64_t{after} + 1); uid <= range.last; ++uid) {
      const mail::Uid one{static_cast<std::uint32_t>(uid)};
      auto rows = ledger.messages(mailbox.id, generation, one, one, 1);
      if (!rows) return rows.error();
      if (!rows->empty() && !add(rows->front())) return done();
    }
  return done();
}

}  // namespace

void Counts::add(const Counts& other) {
  listed += other.listed;
  delivered += other.delivered;
  excluded += other.excluded;
  failed += other.failed;
  pending += other.pending;
  gone += other.gone;
  octets += other.octets;
}

Result<std::vector<MailboxView>> mailboxes_in(const std::string& path, const std::string& identity) {
  auto seen = look(path, identity);
  if (!seen) return seen.error();
  std::vector<MailboxView> out;
  if (!seen->ledger) return out;
  auto rows = seen->ledger->mailboxes(seen->account.id);
  if (!rows) return rows.error();
  for (const auto& row : *rows)
    out.push_back({mail::display_name(row.raw_name), row.destination.empty() ? "INBOX" : row.destination,
                   counts_of(row.tally), row.exists_seen, row.held});
  return out;
}

Result<MessagePage> messages_in(const std::string& path, const std::string& identity, const MessageFilter& filter) {
  auto seen = look(path, identity);
  if (!seen) return seen.error();
  MessagePage page;
  if (!seen->ledger) return page;
  auto rows = seen->ledger->mailboxes(seen->account.id);
  if (!rows) return rows.error();
  const auto from = read_cursor(filter.cursor);
  for (const auto& mailbox : *rows) {
    if (mailbox.id.value < from.mailbox) continue;
    if (!filter.mailbox.empty() && mail::display_name(mailbox.raw_name) != filter.mailbox) continue;
    auto generations = seen->ledger->generations(mailbox.id);
    if (!generations) return generations.error();
    for (const auto& generation : *generations) {
      const Place start{mailbox.id.value, generation.number, 0};
      const bool begun = start.mailbox == from.mailbox && start.generation == from.generation;
      if (!begun && start < from) continue;
      auto collected =
          collect_generation(*seen->ledger, mailbox, generation.number, begun ? from.uid : 0, filter, page);
      if (!collected) return collected.error();
      if (!page.next.empty()) return page;
    }
  }
  return page;
}

Done make_failed_due(const std::string& path, const std::string& identity) {
  if (::access(path.c_str(), F_OK) != 0) return done();
  auto ledger = store::Ledger::open(path);
  if (!ledger) return ledger.error();
  auto account = account_of(**ledger, identity);
  if (!account) return account.error();
  if (!*account) return done();
  auto mailboxes = (*ledger)->mailboxes((*account)->id);
  if (!mailboxes) return mailboxes.error();
  auto transaction = (*ledger)->begin();
  if (!transaction) return transaction.error();
  for (const auto& mailbox : *mailboxes) {
    const std::array states{MessageState::Failed};
    auto uids = transaction->uids(mailbox.id, mailbox.generation, states);
    if (!uids) return uids.error();
    for (const auto& range : uids->ranges()) {
      auto rows = transaction->messages(mailbox.id, mailbox.generation, mail::Uid{range.first}, mail::Uid{range.last},
                                        SIZE_MAX);
      if (!rows) return rows.error();
      for (auto& row : *rows) {
        row.next_try = 0;
        if (auto put = transaction->put(mailbox.id, mailbox.generation, row); !put) return put;
      }
    }
  }
  return transaction->commit();
}

}  // namespace mailhaul::service
