// What a transaction does to the rows.
#include "store/ledger_impl.h"

namespace mailhaul::store {
namespace {

constexpr char kInsert[] =
    "INSERT INTO message (id, " MAILHAUL_MESSAGE_COLUMNS
    ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)";
constexpr char kReplace[] =
    "UPDATE message SET state = ?2, flags = ?3, keywords = ?4, next_flags = ?5, next_keywords = ?6, octets = ?7, "
    "internal_date = ?8, date_source = ?9, form = ?10, sha256 = ?11, message_id = ?12, header_digest = ?13, "
    "email_id = ?14, reuse = ?15, reason = ?16, attempts = ?17, next_try = ?18, missing_since = ?19, removal = ?20 "
    "WHERE id = ?1";
// Evidence that the settled row lacks stays as it was.
constexpr char kSettle[] =
    "UPDATE message SET state = ?2, flags = ?3, keywords = ?4, next_flags = ?5, next_keywords = ?6, "
    "octets = coalesce(?7, octets), internal_date = coalesce(?8, internal_date), date_source = ?9, form = ?10, "
    "sha256 = coalesce(?11, sha256), message_id = coalesce(?12, message_id), "
    "header_digest = coalesce(?13, header_digest), email_id = coalesce(?14, email_id), reuse = ?15, "
    "reason = NULL, attempts = 0, next_try = 0, missing_since = ?19, removal = ?20 WHERE id = ?1";
constexpr char kStored[] = "SELECT state, octets FROM message WHERE id = ?1";
constexpr int kOrphanWindow = 4096;

}  // namespace

Ledger::Transaction::Impl::~Impl() {
  if (begun) (void)finish("ROLLBACK");  // what fails here was not committed either
}

Done Ledger::Transaction::Impl::finish(const char* how) {
  auto ended = db.in_transaction() ? db.execute(how) : done();  // after some errors SQLite has rolled back itself
  if (!ended && db.lost_write()) ledger.broken = ended.error();
  if (db.in_transaction()) (void)db.execute("ROLLBACK");
  begun = false;
  ledger.owner.store(std::thread::id());
  hold.unlock();
  return ended;
}

Result<Ledger::Transaction::Impl::OpenLife*> Ledger::Transaction::Impl::life(MailboxId mailbox,
                                                                             std::uint32_t generation) {
  if (const auto known = lives.find({mailbox.value, generation}); known != lives.end()) return &known->second;
  auto found = rows::find_life(db, mailbox, generation);
  if (!found) return found.error();
  auto& open = lives[{mailbox.value, found->number}];  // not there yet, unless asked for as 0
  static_cast<rows::Life&>(open) = *found;
  return &open;
}

void Ledger::Transaction::Impl::moved(OpenLife& life, const std::optional<Stored>& before,
                                      const std::optional<Stored>& after) {
  if (before) {
    --life.change.messages[static_cast<std::size_t>(before->state)];
    life.change.octets[static_cast<std::size_t>(before->state)] -= before->octets.value_or(0);
  }
  if (after) {
    ++life.change.messages[static_cast<std::size_t>(after->state)];
    life.change.octets[static_cast<std::size_t>(after->state)] += after->octets.value_or(0);
  }
}

Done Ledger::Transaction::Impl::flush() {
  for (auto& [where, life] : lives) {
    if (life.change == Tally{}) continue;
    auto old = db.use("SELECT " MAILHAUL_TALLY_COLUMNS " FROM generation WHERE id = ?1");
    old->bind(1, life.id);
    auto row = old->step();
    if (!row) return row.error();
    const Tally stored = rows::read_tally(*old, 0);
    old->reset();
    auto q = db.use(
        "UPDATE generation SET listed = ?2, delivered = ?3, excluded = ?4, failed = ?5, gone = ?6, vanished = ?7, "
        "orphan = ?8, listed_octets = ?9, delivered_octets = ?10, excluded_octets = ?11, failed_octets = ?12, "
        "gone_octets = ?13, vanished_octets = ?14, orphan_octets = ?15 WHERE id = ?1");
    q->bind(1, life.id);
    for (std::size_t s = 0; s < kMessageStates; ++s) {
      q->bind(static_cast<int>(s) + 2, stored.messages[s] + life.change.messages[s]);
      q->bind(static_cast<int>(s + kMessageStates) + 2, stored.octets[s] + life.change.octets[s]);
    }
    if (auto ok = q->run(); !ok) return ok;
    life.change = {};
  }
  return done();
}

Result<std::optional<Ledger::Transaction::Impl::Stored>> Ledger::Transaction::Impl::stored(std::int64_t key) {
  auto q = db.use(kStored);
  return stored(*q, key);
}

Result<std::optional<Ledger::Transaction::Impl::Stored>> Ledger::Transaction::Impl::stored(sqlite::Statement& q,
                                                                                           std::int64_t key) {
  q.bind(1, key);
  auto row = q.step();
  if (!row) return row.error();
  if (!*row) return std::optional<Stored>();
  std::optional<Stored> found(Stored{q.as<MessageState>(0), std::nullopt});
  if (!q.is_null(1)) found->octets = q.as<std::uint64_t>(1);
  q.rewind();
  return found;
}

Done Ledger::Transaction::Impl::change(OpenLife& life, mail::Uid uid, MessageState state, const char* sql,
                                       std::int64_t value) {
  const auto key = life.key(uid);
  auto before = stored(key);
  if (!before) return before.error();
  if (!*before) return rows::refused("no row for UID " + std::to_string(uid.value));
  auto q = db.use(sql);
  q->bind(1, key);
  q->bind(2, state);
  q->bind(3, value);
  if (auto ok = q->run(); !ok) return ok;
  if (db.changes() == 1) moved(life, *before, Stored{state, (*before)->octets});
  return done();
}

Result<std::int64_t> Ledger::Transaction::Impl::directory(std::string_view name) {
  if (const auto known = directories.find(name); known != directories.end()) return known->second;
  auto find = db.use("SELECT id FROM directory WHERE name = ?1");
  find->bind(1, name);
  auto row = find->step();
  if (!row) return row.error();
  std::int64_t id = 0;
  if (*row) {
    id = find->integer(0);
  } else {
    auto add = db.use("INSERT INTO directory (name) VALUES (?1)");
    add->bind(1, name);
    if (auto ok = add->run(); !ok) return ok.error();
    id = db.last_id();
  }
  directories.emplace(name, id);
  return id;
}

Result<bool> Ledger::Transaction::Impl::has_copy(std::int64_t key) {
  auto q = db.use("SELECT 1 FROM placement WHERE message = ?1 LIMIT 1");
  q->bind(1, key);
  return q->step();
}

Done Ledger::Transaction::Impl::put_one(OpenLife& life, const MessageRow& row) {
  if (row.uid.value == 0) return rows::refused("a row with UID 0");  // RFC 9051 section 2.3.1.1: UIDs begin at 1
  const auto key = life.key(row.uid);
  auto before = stored(key);
  if (!before) return before.error();
  auto q = db.use(*before ? kReplace : kInsert);
  rows::BoundMessage bound;
  bound.bind(*q, key, row);
  if (auto ok = q->run(); !ok) return ok;
  moved(life, *before, Stored{row.state, row.octets});
  return done();
}

// One INSERT of many rows costs half of many INSERTs.
Done Ledger::Transaction::Impl::list(OpenLife& life, const mail::UidSet& uids) {
  constexpr std::uint64_t kRun = 32;
  static const std::string insert_run = [] {
    std::string sql = "INSERT INTO message (id, state) VALUES (?1, 0)";
    for (std::uint64_t i = 1; i < kRun; ++i) sql += ", (?1 + " + std::to_string(i) + ", 0)";
    return sql + " ON CONFLICT DO NOTHING";
  }();
  auto many = db.use(insert_run.c_str());
  auto one = db.use("INSERT INTO message (id, state) VALUES (?1, 0) ON CONFLICT DO NOTHING");
  for (const auto& range : uids.ranges()) {
    for (std::uint64_t uid = range.first; uid <= range.last;) {
      const bool run = range.last - uid + 1 >= kRun;
      auto& q = run ? *many : *one;
      q.bind(1, life.key(mail::Uid{static_cast<std::uint32_t>(uid)}));
      if (auto ok = q.run(); !ok) return ok;
      for (auto added = db.changes(); added > 0; --added) moved(life, std::nullopt, Stored{});
      uid += run ? kRun : 1;
    }
  }
  return done();
}

Done Ledger::Transaction::Impl::settle(OpenLife& life, std::span<const Settled> batch) {
  auto select = db.use(kStored);
  auto update = db.use(kSettle);
  auto insert = db.use(kInsert);
  auto copy = db.use("INSERT INTO placement (message, directory, key) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING");
  rows::BoundMessage bound;
  for (const auto& settled : batch) {
    if (settled.row.uid.value == 0) return rows::refused("a row with UID 0");
    const auto key = life.key(settled.row.uid);
    auto before = stored(*select, key);
    if (!before) return before.error();
    auto place = directory(settled.directory);
    if (!place) return place.error();
    Stored after{life.current ? MessageState::Delivered : MessageState::Orphan, settled.row.octets};
    if (!after.octets && *before) after.octets = (*before)->octets;

    auto& q = *before ? *update : *insert;
    bound.bind(q, key, settled.row);
    q.bind(2, after.state);
    q.bind_null(16);  // reason
    q.bind(17, 0);    // attempts
    q.bind(18, 0);    // next_try
    if (auto ok = q.run(); !ok) return ok;
    copy->bind(1, key);
    copy->bind(2, *place);
    copy->bind_blob(3, settled.key);
    if (auto ok = copy->run(); !ok) return ok;
    moved(life, *before, after);
  }
  return done();
}

Done Ledger::Transaction::Impl::add_generation(MailboxId mailbox, std::uint32_t number,
                                               std::optional<mail::UidValidity> validity, std::int64_t began) {
  auto q = db.use("INSERT INTO generation (mailbox, number, uid_validity, began) VALUES (?1, ?2, ?3, ?4)");
  q->bind(1, mailbox.value);
  q->bind(2, number);
  if (validity)
    q->bind(3, validity->value);
  else
    q->bind_null(3);
  q->bind(4, began);
  return q->run();
}

Result<MailboxRow> Ledger::Transaction::Impl::add_mailbox(AccountId account, const MailboxRow& row) {
  auto q = db.use(
      "INSERT INTO mailbox (raw_name, delimiter, destination, floor, modseq, exists_seen, uid_next_seen, mailbox_id, "
      "last_full_audit, held, released, unseen_seen, account, generation) "
      "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, 1)");
  rows::bind_mailbox(*q, row);
  q->bind(13, account.value);
  if (auto ok = q->run(); !ok) return ok.error().in("add mailbox " + printable(row.raw_name));
  const MailboxId id{db.last_id()};
  if (auto ok = add_generation(id, 1, row.uid_validity, 0); !ok) return ok.error();
  return rows::mailbox(db, id);
}

Done Ledger::Transaction::Impl::update_mailbox(const MailboxRow& row) {
  auto now = rows::mailbox(db, row.id);
  if (!now) return now.error();
  if (now->generation != row.generation)
    return rows::refused("mailbox " + printable(row.raw_name) + " is in generation " + std::to_string(now->generation) +
                         ", not " + std::to_string(row.generation));
  now->tally = row.tally;
  if (*now == row) return done();
  auto q = db.use(
      "UPDATE mailbox SET raw_name = ?1, delimiter = ?2, destination = ?3, floor = ?4, modseq = ?5, exists_seen = ?6, "
      "uid_next_seen = ?7, mailbox_id = ?8, last_full_audit = ?9, held = ?10, released = ?11, "
      "unseen_seen = ?12 WHERE id = ?13");
  rows::bind_mailbox(*q, row);
  q->bind(13, row.id.value);
  if (auto ok = q->run(); !ok) return ok;
  if (now->uid_validity == row.uid_validity) return done();
  auto validity = db.use("UPDATE generation SET uid_validity = ?3 WHERE mailbox = ?1 AND number = ?2");
  validity->bind(1, row.id.value);
  validity->bind(2, row.generation);
  if (row.uid_validity) validity->bind(3, row.uid_validity->value);
  return validity->run();
}

Done Ledger::Transaction::Impl::new_generation(MailboxId mailbox, std::optional<mail::UidValidity> validity,
                                               std::int64_t now) {
  auto old = life(mailbox, 0);
  if (!old) return old.error();
  if (auto ok = orphan_all(**old); !ok) return ok;
  (*old)->current = false;
  const std::uint32_t number = (*old)->number + 1;
  if (auto ok = add_generation(mailbox, number, validity, now); !ok) return ok;
  auto q = db.use(
      "UPDATE mailbox SET generation = ?2, floor = 1, modseq = NULL, exists_seen = NULL, uid_next_seen = NULL, "
      "last_full_audit = 0 WHERE id = ?1");
  q->bind(1, mailbox.value);
  q->bind(2, number);
  return q->run();
}

// In windows: one UPDATE over a million rows would keep a journal of its own for all of them.
Done Ledger::Transaction::Impl::orphan_all(OpenLife& life) {
  auto find =
      db.use("SELECT id, state, octets FROM message WHERE id BETWEEN ?1 AND ?2 AND state <> 6 ORDER BY id LIMIT ?3");
  auto change = db.use("UPDATE message SET state = 6 WHERE id = ?1");
  std::vector<std::pair<std::int64_t, Stored>> window;
  for (std::int64_t next = life.key(mail::Uid{0});;) {
    window.clear();
    find->bind(1, next);
    find->bind(2, life.key(mail::Uid{UINT32_MAX}));
    find->bind(3, kOrphanWindow);
    for (;;) {
      auto row = find->step();
      if (!row) return row.error();
      if (!*row) break;
      auto& [id, before] = window.emplace_back(find->integer(0), Stored{find->as<MessageState>(1), std::nullopt});
      if (!find->is_null(2)) before.octets = find->as<std::uint64_t>(2);
    }
    if (window.empty()) return done();
    for (const auto& [id, before] : window) {
      change->bind(1, id);
      if (auto ok = change->run(); !ok) return ok;
      moved(life, before, Stored{MessageState::Orphan, before.octets});
    }
    next = window.back().first + 1;
  }
}

Done Ledger::Transaction::Impl::rebind(OpenLife& old_life, mail::Uid from, OpenLife& new_life, mail::Uid to) {
  const auto old_key = old_life.key(from);
  const auto new_key = new_life.key(to);
  if (old_key == new_key) return rows::refused("a rebind of a message to itself");
  auto source = stored(old_key);
  if (!source) return source.error();
  if (!*source) return rows::refused("no row to rebind for UID " + std::to_string(from.value));
  auto target = stored(new_key);
  if (!target) return target.error();
  auto copied = has_copy(new_key);
  if (!copied) return copied.error();
  if (*copied) return rows::refused("a rebind to UID " + std::to_string(to.value) + ", which has a copy of its own");
  auto delivered = has_copy(old_key);
  if (!delivered) return delivered.error();

  if (*target) {
    auto clear = db.use("DELETE FROM message WHERE id = ?1");
    clear->bind(1, new_key);
    if (auto ok = clear->run(); !ok) return ok;
    moved(new_life, *target, std::nullopt);
  }
  const Stored after{*delivered ? MessageState::Delivered : MessageState::Listed, (*source)->octets};
  auto q = db.use(
      "UPDATE message SET id = ?2, state = ?3, reason = NULL, attempts = 0, next_try = 0, missing_since = 0, "
      "removal = 0 "
      "WHERE id = ?1");  // the copies follow: ON UPDATE CASCADE
  q->bind(1, old_key);
  q->bind(2, new_key);
  q->bind(3, after.state);
  if (auto ok = q->run(); !ok) return ok;
  moved(old_life, *source, std::nullopt);
  moved(new_life, std::nullopt, after);
  return done();
}

}  // namespace mailhaul::store
