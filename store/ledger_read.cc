#include <algorithm>
#include <map>

#include "store/ledger_rows.h"

namespace mailhaul::store::rows {
namespace {

// The first twelve as bind_mailbox() numbers them.
#define MAILHAUL_MAILBOX_SELECT                                                                              \
  "SELECT raw_name, mailbox.delimiter, destination, floor, modseq, exists_seen, uid_next_seen, mailbox_id, " \
  "last_full_audit, held, released, unseen_seen, mailbox.id, mailbox.generation, "                           \
  "generation.uid_validity, " MAILHAUL_TALLY_COLUMNS                                                         \
  " FROM mailbox JOIN generation ON generation.mailbox = mailbox.id AND generation.number = mailbox.generation "

template <class T>
std::optional<T> optional_integer(const sqlite::Statement& q, int column) {
  if (q.is_null(column)) return std::nullopt;
  return q.as<T>(column);
}

MailboxRow read_mailbox(const sqlite::Statement& q) {
  MailboxRow row;
  const auto name = q.blob(0);
  row.raw_name.assign(name.begin(), name.end());
  row.delimiter = optional_integer<char>(q, 1);
  row.destination = q.text(2);
  row.floor = mail::Uid{q.as<std::uint32_t>(3)};
  if (!q.is_null(4)) row.modseq = mail::ModSeq{q.as<std::uint64_t>(4)};
  row.exists_seen = optional_integer<std::uint64_t>(q, 5);
  row.uid_next_seen = optional_integer<std::uint64_t>(q, 6);
  if (!q.is_null(7)) row.mailbox_id = q.text(7);
  row.last_full_audit = q.integer(8);
  row.held = q.text(9);
  row.released = q.integer(10);
  row.unseen_seen = optional_integer<std::uint64_t>(q, 11);
  row.id = MailboxId{q.integer(12)};
  row.generation = q.as<std::uint32_t>(13);
  if (!q.is_null(14)) row.uid_validity = mail::UidValidity{q.as<std::uint64_t>(14)};
  row.tally = read_tally(q, 15);
  return row;
}

// Adds what `q` yields, keys of messages in ascending order, to `set`.
Done gather(sqlite::Statement& q, mail::UidSet& set) {
  for (;;) {
    auto row = q.step();
    if (!row) return row.error();
    if (!*row) return done();
    set.add(uid_of(q.integer(0)));
  }
}

Done compare(const std::map<std::int64_t, Tally>& stored, std::int64_t generation, const Tally& counted) {
  const auto found = stored.find(generation);
  if (found == stored.end())
    return refused("messages of generation " + std::to_string(generation) + ", which does not exist");
  for (std::size_t s = 0; s < kMessageStates; ++s) {
    const auto difference = [&](std::string_view what, std::uint64_t kept, std::uint64_t real) {
      return refused("tally of generation " + std::to_string(generation) + ", state " +
                     std::string(to_text(static_cast<MessageState>(s))) + ": " + std::to_string(kept) + " " +
                     std::string(what) + " noted, " + std::to_string(real) + " counted");
    };
    if (found->second.messages[s] != counted.messages[s])
      return difference("messages", found->second.messages[s], counted.messages[s]);
    if (found->second.octets[s] != counted.octets[s])
      return difference("octets", found->second.octets[s], counted.octets[s]);
  }
  return done();
}

Done compare_all(sqlite::Database& db) {
  std::map<std::int64_t, Tally> stored;
  auto generations = db.use("SELECT id, " MAILHAUL_TALLY_COLUMNS " FROM generation");
  for (;;) {
    auto row = generations->step();
    if (!row) return row.error();
    if (!*row) break;
    stored.emplace(generations->integer(0), read_tally(*generations, 1));
  }
  auto messages = db.use("SELECT id, state, octets FROM message ORDER BY id");
  std::optional<std::int64_t> generation;
  Tally counted;
  for (;;) {
    auto row = messages->step();
    if (!row) return row.error();
    const auto next = *row ? std::optional(messages->integer(0) >> 32) : std::nullopt;
    if (generation && next != generation) {
      if (auto same = compare(stored, *generation, counted); !same) return same;
      stored.erase(*generation);
      counted = {};
    }
    if (!next) break;
    generation = next;
    const auto s = messages->as<std::size_t>(1);
    if (s >= kMessageStates) return refused("a message in state " + std::to_string(s));
    ++counted.messages[s];
    counted.octets[s] += messages->as<std::uint64_t>(2);  // NULL reads as 0
  }
  for (const auto& [id, tally] : stored)
    if (auto same = compare(stored, id, Tally{}); !same) return same;
  return done();
}

}  // namespace

Result<std::vector<MailboxRow>> mailboxes(sqlite::Database& db, AccountId account) {
  auto q = db.use(MAILHAUL_MAILBOX_SELECT "WHERE mailbox.account = ?1 ORDER BY mailbox.id");
  q->bind(1, account.value);
  std::vector<MailboxRow> found;
  for (;;) {
    auto row = q->step();
    if (!row) return row.error();
    if (!*row) return found;
    found.push_back(read_mailbox(*q));
  }
}

Result<MailboxRow> mailbox(sqlite::Database& db, MailboxId id) {
  auto q = db.use(MAILHAUL_MAILBOX_SELECT "WHERE mailbox.id = ?1");
  q->bind(1, id.value);
  auto row = q->step();
  if (!row) return row.error();
  if (!*row) return refused("no mailbox " + std::to_string(id.value));
  return read_mailbox(*q);
}

void bind_mailbox(sqlite::Statement& q, const MailboxRow& row) {
  q.bind_blob(1, {reinterpret_cast<const std::uint8_t*>(row.raw_name.data()), row.raw_name.size()});
  q.bind(2, row.delimiter);
  q.bind_text(3, row.destination);
  q.bind(4, row.floor.value);
  if (row.modseq)
    q.bind(5, row.modseq->value);
  else
    q.bind_null(5);
  q.bind(6, row.exists_seen);
  q.bind(7, row.uid_next_seen);
  if (row.mailbox_id)
    q.bind_text(8, *row.mailbox_id);
  else
    q.bind_null(8);
  q.bind(9, row.last_full_audit);
  q.bind_text(10, row.held);
  q.bind(11, row.released);
  q.bind(12, row.unseen_seen);
}

static Result<std::vector<MessageRow>> read_messages(sqlite::Statement& q) {
  std::vector<MessageRow> found;
  for (;;) {
    auto row = q.step();
    if (!row) return row.error();
    if (!*row) return found;
    found.push_back(read_message(q));
  }
}

Result<std::vector<MessageRow>> messages(sqlite::Database& db, const Life& life, mail::Uid first, mail::Uid last,
                                         std::size_t limit) {
  auto q =
      db.use("SELECT id, " MAILHAUL_MESSAGE_COLUMNS " FROM message WHERE id BETWEEN ?1 AND ?2 ORDER BY id LIMIT ?3");
  q->bind(1, life.key(first));
  q->bind(2, life.key(last));
  q->bind(3, limit);
  return read_messages(*q);
}

Result<std::vector<MessageRow>> newest(sqlite::Database& db, const Life& life, std::size_t limit) {
  auto q = db.use("SELECT id, " MAILHAUL_MESSAGE_COLUMNS
                  " FROM message WHERE id BETWEEN ?1 AND ?2 AND state = ?3 ORDER BY id DESC LIMIT ?4");
  q->bind(1, life.key(mail::Uid{0}));
  q->bind(2, life.key(mail::Uid{UINT32_MAX}));
  q->bind(3, MessageState::Delivered);
  q->bind(4, limit);
  return read_messages(*q);
}

Result<mail::UidSet> uids(sqlite::Database& db, const Life& life, std::span<const MessageState> states,
                          std::int64_t due_by) {
  // "state <> 1" repeats the condition of the partial index; INDEXED BY makes any other plan an error.
#define MAILHAUL_UNDELIVERED \
  "SELECT id FROM message INDEXED BY message_undelivered WHERE state <> 1 AND state = ?3 AND id BETWEEN ?1 AND ?2 "
  static constexpr char kDelivered[] = "SELECT id FROM message WHERE state = 1 AND id BETWEEN ?1 AND ?2 ORDER BY id";
  static constexpr char kOthers[] = MAILHAUL_UNDELIVERED "ORDER BY id";
  static constexpr char kDue[] = MAILHAUL_UNDELIVERED "AND next_try <= ?4 ORDER BY id";
  mail::UidSet all;
  for (std::size_t s = 0; s < kMessageStates; ++s) {
    const auto state = static_cast<MessageState>(s);
    if (std::find(states.begin(), states.end(), state) == states.end()) continue;
    const bool due = state == MessageState::Failed && due_by != INT64_MAX;
    auto q = db.use(state == MessageState::Delivered ? kDelivered : due ? kDue : kOthers);
    q->bind(1, life.key(mail::Uid{0}));
    q->bind(2, life.key(mail::Uid{UINT32_MAX}));
    if (state != MessageState::Delivered) q->bind(3, state);
    if (due) q->bind(4, due_by);
    mail::UidSet set;
    if (auto ok = gather(*q, set); !ok) return ok.error();
    if (all.empty())
      all = std::move(set);
    else
      all.merge(set);
  }
  return all;
}

namespace {

Result<std::vector<PlacementRow>> placements(sqlite::Database& db, std::int64_t first, std::int64_t last) {
  auto q = db.use(
      "SELECT message, name, key FROM placement CROSS JOIN directory ON directory.id = placement.directory "
      "WHERE message BETWEEN ?1 AND ?2 ORDER BY message");
  q->bind(1, first);
  q->bind(2, last);
  std::vector<PlacementRow> found;
  for (;;) {
    auto row = q->step();
    if (!row) return row.error();
    if (!*row) return found;
    PlacementRow& placement = found.emplace_back();
    placement.uid = uid_of(q->integer(0));
    placement.directory = q->text(1);
    const auto key = q->blob(2);
    if (key.size() == placement.key.size()) std::copy(key.begin(), key.end(), placement.key.begin());
  }
}

}  // namespace

Result<std::vector<PlacementRow>> placements(sqlite::Database& db, const Life& life, mail::Uid first, mail::Uid last) {
  return placements(db, life.key(first), life.key(last));
}

Result<std::vector<Sibling>> siblings(sqlite::Database& db, AccountId account, std::string_view email_id) {
  std::vector<Sibling> found;
  std::vector<std::int64_t> keys;
  auto q = db.use("SELECT message.id, " MAILHAUL_MESSAGE_COLUMNS
                  ", mailbox.id, generation.number, generation.number = mailbox.generation FROM message "
                  "CROSS JOIN generation ON generation.id = message.id >> 32 "
                  "CROSS JOIN mailbox ON mailbox.id = generation.mailbox "
                  "WHERE email_id = ?1 AND mailbox.account = ?2 ORDER BY message.id");
  q->bind_text(1, email_id);
  q->bind(2, account.value);
  for (;;) {
    auto row = q->step();
    if (!row) return row.error();
    if (!*row) break;
    keys.push_back(q->integer(0));
    Sibling& one = found.emplace_back();
    one.row = read_message(*q);
    one.mailbox = MailboxId{q->integer(20)};
    one.generation = q->as<std::uint32_t>(21);
    one.current = q->integer(22) != 0;
  }
  for (std::size_t i = 0; i < found.size(); ++i) {
    auto copies = placements(db, keys[i], keys[i]);
    if (!copies) return copies.error();
    if (!copies->empty()) found[i].copy = std::move(copies->front());
  }
  return found;
}

Result<mail::UidSet> vanished_copies(sqlite::Database& db, const Life& life, std::int64_t by) {
  auto q = db.use(MAILHAUL_UNDELIVERED
                  "AND removal < 2 AND missing_since <= ?4 AND EXISTS (SELECT 1 FROM placement WHERE message = "
                  "message.id) ORDER BY id");
  q->bind(1, life.key(mail::Uid{0}));
  q->bind(2, life.key(mail::Uid{UINT32_MAX}));
  q->bind(3, MessageState::Vanished);
  q->bind(4, by);
  mail::UidSet set;
  if (auto ok = gather(*q, set); !ok) return ok.error();
  return set;
}

Result<std::uint64_t> vanished_count(sqlite::Database& db, const Life& life, const MailboxRow& row, std::int64_t since,
                                     bool waiting) {
  auto q = db.use(
      "SELECT count(*) FROM message INDEXED BY message_undelivered WHERE state <> 1 AND state = ?3 "
      "AND id BETWEEN ?1 AND ?2 AND missing_since > ?4 AND (missing_since > ?5 OR (?6 AND removal < 2))");
  q->bind(1, life.key(mail::Uid{0}));
  q->bind(2, life.key(mail::Uid{UINT32_MAX}));
  q->bind(3, MessageState::Vanished);
  q->bind(4, row.released);
  q->bind(5, since);
  q->bind(6, waiting ? 1 : 0);
  auto counted = q->step();
  if (!counted) return counted.error();
  return q->as<std::uint64_t>(0);
}

Done recount(sqlite::Database& db) {
  if (auto ok = db.execute("BEGIN"); !ok) return ok;
  auto same = compare_all(db);
  if (auto ok = db.execute("COMMIT"); same && !ok) return ok;
  return same;
}

}  // namespace mailhaul::store::rows
