// Mailboxes that were renamed at the source: a row whose mailbox is listed no more, or listed with another UIDVALIDITY,
// is recognised under a new name by evidence. Its directory stays; no body is downloaded again. Two mailboxes that
// have changed names are a pair of such rows.
#include <algorithm>
#include <tuple>

#include "collector/sync/engine.h"
#include "protocols/mail/mailbox_name.h"

namespace mailhaul::sync {
namespace {

using store::MessageState;

constexpr std::uint64_t kSample = 50;

// At most kSample of them, evenly spread.
UidSet sample_of(const UidSet& all) {
  const auto step = std::max<std::uint64_t>(1, all.size() / kSample);
  UidSet out;
  std::uint64_t n = 0;
  all.each([&](Uid uid) {
    if (n++ % step == 0 && out.size() < kSample) out.add(uid);
  });
  return out;
}

bool most(std::uint64_t agreed, std::uint64_t of) { return agreed > 0 && agreed * 10 >= of * 9; }

bool agrees(const store::MessageRow& row, const Headers& message) {
  return row.header_digest == message.evidence.header_digest && row.internal_date == message.date;
}

}  // namespace

// The same UIDVALIDITY alone is worth nothing, for some servers give it to every mailbox: the messages under a sample
// of UIDs must be those of the rows.
Result<bool> Engine::same_uids(const store::MailboxRow& row, const SourceMailbox& mailbox) {
  constexpr MessageState kDelivered[] = {MessageState::Delivered};
  auto uids = context_.ledger->uids(row.id, row.generation, kDelivered);
  if (!uids) return uids.error();
  const auto sample = sample_of(*uids);
  if (sample.empty()) return false;
  auto headers = on_source([&](Source& source) {
    return source.headers({0, mailbox.raw_name, row.uid_validity, sample});
  });
  if (!headers) return headers.error();
  std::uint64_t agreed = 0;
  for (const auto& message : *headers) {
    auto rows = context_.ledger->messages(row.id, row.generation, message.uid, message.uid, 1);
    if (!rows) return rows.error();
    agreed += !rows->empty() && agrees(rows->front(), message) ? 1 : 0;
  }
  return most(agreed, headers->size()) && headers->size() * 2 >= sample.size();
}

// Under a new UIDVALIDITY: as many messages as the row has, and those of a sample are all known there.
Result<bool> Engine::same_messages(const store::MailboxRow& row, const SourceMailbox& mailbox) {
  ObserveRequest request;
  request.raw_name = mailbox.raw_name;
  auto views = on_source([&](Source& source) { return source.observe(std::span(&request, 1)); });
  if (!views) return views.error();
  const auto& view = views->front();
  if (view.error) return *view.error;
  const auto alive = alive_rows(row.tally);
  if (alive == 0 || !most(view.exists, alive) || !most(alive, view.exists)) return false;
  auto headers = on_source([&](Source& source) {
    return source.headers({0, mailbox.raw_name, view.validity, sample_of(view.present)});
  });
  if (!headers) return headers.error();
  std::vector<bool> known(headers->size());
  for (Uid next{1};;) {
    auto rows = context_.ledger->messages(row.id, row.generation, next, Uid{UINT32_MAX}, 2000);
    if (!rows) return rows.error();
    for (const auto& one : *rows)
      for (std::size_t i = 0; i < headers->size(); ++i)
        if (one.sha256 && agrees(one, (*headers)[i])) known[i] = true;
    if (rows->size() < 2000 || rows->back().uid.value == UINT32_MAX) break;
    next = Uid{rows->back().uid.value + 1};
  }
  return most(static_cast<std::uint64_t>(std::ranges::count(known, true)), headers->size());
}

Done Engine::recognise_renames(const std::vector<SourceMailbox>& listed, const std::vector<SourceMailbox>& everything,
                               KnownMailboxes& known) {
  if (settings_.dry_run || !context_.ledger || !context_.destination) return done();
  const auto status_of = [&](const std::string& name) {
    const auto it = std::ranges::find(everything, name, &SourceMailbox::raw_name);
    return it == everything.end() ? nullptr : &*it;
  };
  const auto astray = [&](const store::MailboxRow& row) {  // its own name does not lead to it
    const auto* now = status_of(row.raw_name);
    if (now && now->mailbox_id && row.mailbox_id) return *now->mailbox_id != *row.mailbox_id;
    return !now || (now->uid_validity && row.uid_validity && *now->uid_validity != row.uid_validity->value);
  };
  std::vector<store::MailboxRow> lost;
  for (const auto& [name, row] : known)  // INBOX cannot lose its name (RFC 9051 §6.3.6), only its messages
    if (!row.destination.empty() && row.uid_validity && astray(row)) lost.push_back(row);
  Renames renames;
  for (const auto& mailbox : listed) {
    if (lost.empty()) break;
    const auto own = known.find(mailbox.raw_name);
    if (own != known.end() && !astray(own->second)) continue;
    for (auto row = lost.begin(); row != lost.end(); ++row) {
      if (row->raw_name == mailbox.raw_name) continue;
      const bool same_life = !mailbox.uid_validity || *mailbox.uid_validity == row->uid_validity->value;
      const bool grown = !mailbox.uid_next || !row->uid_next_seen || *mailbox.uid_next >= *row->uid_next_seen;
      // RFC 8474 §4: the same through every RENAME, and never another's.
      const bool told = mailbox.mailbox_id && row->mailbox_id;
      if (told && *mailbox.mailbox_id != *row->mailbox_id) continue;
      auto same = told ? Result<bool>(true) : same_life && grown ? same_uids(*row, mailbox) : Result<bool>(false);
      if (same && !*same && own == known.end() && !status_of(row->raw_name)) same = same_messages(*row, mailbox);
      if (!same && same.error().scope == Scope::Mailbox) {
        undecided_.push_back(mailbox.raw_name);
        break;
      }
      if (!same) return same.error();
      if (!*same) continue;
      renames.emplace_back(*row, &mailbox);
      lost.erase(row);
      break;
    }
  }
  return renames.empty() ? done() : rename_rows(std::move(renames), known);
}

Done Engine::rename_rows(Renames renames, KnownMailboxes& known) {
  // Whose new name is another row's can have it only if that row gets another one, too.
  for (bool again = true; again;)
    again = std::erase_if(renames, [&](const auto& rename) {
              const auto holder = known.find(rename.second->raw_name);
              return holder != known.end() && std::ranges::none_of(renames, [&](const auto& other) {
                       return other.first.id == holder->second.id;
                     });
            }) > 0;
  if (renames.empty()) return done();
  auto transaction = context_.ledger->begin();
  if (!transaction) return transaction.error();
  for (auto& [row, mailbox] : renames) {
    Work old;
    old.row = row;
    if (auto r = settle_files_of_the_old(old, *transaction, key_maker(account_.uuid, row.raw_name, row.uid_validity));
        !r)
      return r;
    known.erase(row.raw_name);
    renamed_[mailbox->raw_name] = mail::display_name(row.raw_name);
    row.raw_name = std::string(1, '\0') + std::to_string(row.id.value);  // no mailbox's name (RFC 9051 §9, CHAR8)
    if (auto r = transaction->update_mailbox(row); !r) return r;
  }
  for (auto& [row, mailbox] : renames) {
    row.raw_name = mailbox->raw_name;
    row.delimiter = mailbox->delimiter;
    row.modseq.reset();
    row.last_full_audit = 0;
    if (auto r = transaction->update_mailbox(row); !r) return r;
    auto now = transaction->mailbox(row.id);
    if (!now) return now.error();
    known.emplace(row.raw_name, *std::move(now));
  }
  return transaction->commit();
}

}  // namespace mailhaul::sync
