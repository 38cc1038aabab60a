// The ledger: one row per source message, in exactly one named state (DESIGN §1), its copies in `placement`, and each
// mailbox's generation and cursors. SQLite in WAL with synchronous=FULL; every change goes through a Transaction, and a
// cursor moves only in the transaction of the last row it vouches for. Knows rows; knows no protocol and no policy.
//
// Threads: one Ledger may be used by several. Transactions exclude each other and each belongs to the thread that began
// it. Reads see what is committed and wait for no Transaction, nor does one wait for them (in memory and on network
// file systems there is one connection only: there they take turns).
// Errors: Scope::Service. Full disk, damaged or unwritable file → AfterUserAction; locked by a foreign program or I/O
// error → Later; a request that contradicts the rows (no such mailbox, a stale generation) → Never.
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/result.h"
#include "protocols/mail/digest.h"
#include "protocols/mail/flags.h"
#include "protocols/mail/identity.h"
#include "store/maildir.h"

namespace mailhaul::store {

using AccountId = Strong<struct AccountIdTag, std::int64_t>;
using MailboxId = Strong<struct MailboxIdTag, std::int64_t>;
using RunId = Strong<struct RunIdTag, std::int64_t>;

enum class MessageState : std::uint8_t {
  Listed = 0,  // known, not yet delivered: the intent
  Delivered = 1,
  Excluded = 2,  // reason
  Failed = 3,    // reason, attempts, next try
  Gone = 4,      // proved vanished before it was delivered
  Vanished = 5,  // delivered, since proved vanished at the source
  Orphan = 6,    // of an old generation, not yet matched
};
inline constexpr std::size_t kMessageStates = 7;
std::string_view to_text(MessageState state);  // "listed" …

// What became of the copy of a vanished message.
enum class Removal : std::uint8_t {
  None = 0,     // nothing: it is there, unless its owner has removed it unnoticed
  Meant = 1,    // the intent: said before the file is touched
  Done = 2,     // removed by policy; the row has no copy any more
  ByOwner = 3,  // its owner had removed it before: there was nothing to do
};
std::string_view to_text(Removal removal);  // "", "meant", "done", "by its owner"

struct AccountRow {
  AccountId id;
  std::string identity;           // "imap:user@host[:port]"
  std::string uuid;               // 36 characters; also kept beside the mail
  std::int64_t rest_until = 0;    // Unix seconds: the server asked to be left alone until then
  std::uint32_t connections = 0;  // so many the server allowed at once; 0: as many as were asked for
  std::int64_t day_began = 0;     // Unix seconds; with day_octets, what was received since then: see spend()
  std::uint64_t day_octets = 0;
  bool operator==(const AccountRow&) const = default;
};

struct Tally {  // per state: how many rows, and the wire octets of those whose size is known
  std::array<std::uint64_t, kMessageStates> messages{};
  std::array<std::uint64_t, kMessageStates> octets{};
  [[nodiscard]] std::uint64_t of(MessageState s) const { return messages[static_cast<std::size_t>(s)]; }
  bool operator==(const Tally&) const = default;
};

struct MailboxRow {
  MailboxId id;
  std::string raw_name;  // as the server spells it
  std::optional<char> delimiter;
  std::string destination;       // directory name in the Maildir
  std::uint32_t generation = 0;  // counts UIDVALIDITY lives, from 1
  std::optional<mail::UidValidity> uid_validity;
  mail::Uid floor{1};                          // every existing UID below it has a row in this generation
  std::optional<mail::ModSeq> modseq;          // every change up to it is in the ledger; nullopt: unknown
  std::optional<std::uint64_t> exists_seen;    // EXISTS at the last clean observation
  std::optional<std::uint64_t> uid_next_seen;  // as reported then
  std::optional<std::uint64_t> unseen_seen;    // UNSEEN then
  std::optional<std::string> mailbox_id;       // RFC 8474
  std::int64_t last_full_audit = 0;            // Unix seconds
  std::string held;                            // why removals are frozen; empty: they are not
  std::int64_t released = 0;                   // Unix seconds: what was missing then was let go by a person; 0: never
  Tally tally;                                 // of the current generation
  bool operator==(const MailboxRow&) const = default;
};

struct MessageRow {
  mail::Uid uid;
  MessageState state = MessageState::Listed;
  mail::FlagSet base;                         // flags both sides last agreed on (delivered rows)
  std::optional<mail::FlagSet> next_base;     // meant next: written before the destination is touched
  std::optional<std::uint64_t> octets;        // on the wire, once received; before that RFC822.SIZE if it was asked for
  std::optional<std::int64_t> internal_date;  // Unix seconds
  std::uint8_t date_source = 0;               // 0 INTERNALDATE, 1 Received, 2 Date, 3 neighbour, 4 now
  StoredForm form = StoredForm::Lf;
  std::optional<mail::Sha256Digest> sha256;  // of the wire octets
  std::string message_id;                    // evidence; empty: none or not yet read
  std::array<std::uint8_t, 16> header_digest{};
  std::string email_id;     // RFC 8474 EMAILID; empty: none
  std::uint32_t reuse = 0;  // counter for reused UIDs; part of the key
  std::string reason;       // excluded, failed: why, with the server's own words
  std::uint32_t attempts = 0;
  std::int64_t next_try = 0;       // Unix seconds; 0: now
  std::int64_t missing_since = 0;  // Unix seconds, when a vanished message was proved to be; 0: not missed (moved)
  Removal removal = Removal::None;
  bool operator==(const MessageRow&) const = default;
};

struct GenerationRow {
  std::uint32_t number = 0;
  std::optional<mail::UidValidity> uid_validity;
  std::int64_t began = 0;  // Unix seconds; 0: nothing noted it
  Tally tally;
};

struct PlacementRow {
  mail::Uid uid;
  std::string directory;  // destination mailbox
  DeliveryKey key{};
  bool operator==(const PlacementRow&) const = default;
};

struct Sibling {  // the same message in a mailbox of the account, by its EMAILID
  MailboxId mailbox;
  std::uint32_t generation = 0;
  bool current = false;  // the mailbox's current generation
  MessageRow row;
  std::optional<PlacementRow> copy;
};

struct NameRow {  // of a source whose messages have names and no UIDs: the UID that we gave this one
  mail::Uid uid;
  std::string name;                // any octets
  std::uint64_t octets = 0;        // as the server told when the name was last found to mean the same message
  std::int64_t first_seen = 0;     // Unix seconds
  std::int64_t removal_meant = 0;  // Unix seconds: its deletion at the source was asked for; 0: never
  bool operator==(const NameRow&) const = default;
};

struct RunRow {
  RunId id;
  std::int64_t started = 0, ended = 0;
  std::string outcome;  // "complete", "incomplete", "stopped", an error's text
  std::uint64_t delivered = 0, octets = 0, failed = 0;
};

struct LedgerOptions;  // for tests: store/ledger_rows.h

class Ledger {
 public:
  // Opens or creates `path` (parents must exist), applies missing migrations each in its own transaction, refuses a
  // schema that is newer than this binary (AfterUserAction), refuses a damaged file, takes `path`.lock (held by
  // somebody else: a clear Error at once). ":memory:" for tests. On NFS/SMB: locking_mode=EXCLUSIVE. Files are 0600.
  static Result<std::unique_ptr<Ledger>> open(const std::string& path);
  static Result<std::unique_ptr<Ledger>> open(const std::string& path, const LedgerOptions& options);
  // Looks on while somebody else, this process included, may be at work with it: reading only, no lock. An Error where
  // the file is not there, is of another version, or is on a network file system.
  static Result<std::unique_ptr<Ledger>> look(const std::string& path);
  ~Ledger();

  // Reading. Sees every committed transaction. Not while this thread holds a Transaction of the same Ledger (which has
  // reads of its own). `generation` 0 means the mailbox's current one; an unknown mailbox or generation is an Error.
  Result<std::vector<AccountRow>> accounts();
  Result<std::optional<AccountRow>> account(std::string_view identity);
  Result<std::vector<MailboxRow>> mailboxes(AccountId account);       // in the order they were added
  Result<std::vector<GenerationRow>> generations(MailboxId mailbox);  // oldest first
  // Rows of one generation, uid ascending, first <= uid <= last, at most `limit`.
  Result<std::vector<MessageRow>> messages(MailboxId mailbox, std::uint32_t generation, mail::Uid first, mail::Uid last,
                                           std::size_t limit);
  // The delivered rows with the highest UIDs, at most `limit`, uid descending.
  Result<std::vector<MessageRow>> newest(MailboxId mailbox, std::uint32_t generation, std::size_t limit);
  // UIDs in one of these states, as a set (cheap: no row is built; the cost of any state but Delivered does not depend
  // on how many rows are delivered). `due_by` limits Failed to next_try <= due_by.
  Result<mail::UidSet> uids(MailboxId mailbox, std::uint32_t generation, std::span<const MessageState> states,
                            std::int64_t due_by = INT64_MAX);
  // Copies, uid ascending; a message may have several.
  Result<std::vector<PlacementRow>> placements(MailboxId mailbox, std::uint32_t generation, mail::Uid first,
                                               mail::Uid last);
  // Vanished rows that removals or marks may yet touch: with a copy, nothing done about it (Removal::None, Meant),
  // missed at `by` or before.
  Result<mail::UidSet> vanished_copies(MailboxId mailbox, std::uint32_t generation, std::int64_t by);
  // How many vanished rows of the current generation were missed after `since`, or, with `waiting`, at any time if
  // their copy may yet be removed; those missed at row.released or before are not counted.
  Result<std::uint64_t> vanished_count(const MailboxRow& row, std::int64_t since, bool waiting);
  // Every name that was given a UID under this validity, uid ascending: 1, 2, 3 … without gaps.
  Result<std::vector<NameRow>> names(MailboxId mailbox, mail::UidValidity validity);
  Result<std::vector<RunRow>> runs(AccountId account, std::size_t limit);  // newest first; ended == 0: it was cut off
  Result<std::uint32_t> rows_in_state(AccountId account, MessageState state);  // of all generations; from the tallies
  // Every row of every generation, by mailbox, generation and UID, with its copies. The ledger is free between windows
  // of a thousand rows, so a row that moves meanwhile is seen as it was or as it is. `visit` returns false to stop.
  using Visit = std::function<bool(const MailboxRow&, std::uint32_t generation, const MessageRow&,
                                   std::span<const PlacementRow>)>;
  Done each_message(AccountId account, const Visit& visit);
  // Every row of the account with this EMAILID (not empty), of all generations, in the order of their making.
  Result<std::vector<Sibling>> siblings(AccountId account, std::string_view email_id);
  // Recounts every tally from the rows and compares; an Error names the first difference. Also has SQLite examine the
  // whole file. For tests and `verify`; walks every page.
  Done check();

  // One SQLite transaction. Destroyed without commit(), it rolls back. Statements are prepared once per Ledger. After
  // an Error of any kind it can only be rolled back: commit() gives that Error again. Nothing is written, and no sync
  // happens, for a Transaction that changed nothing.
  class Transaction {
   public:
    ~Transaction();
    Transaction(Transaction&&) noexcept;

    Result<AccountRow> add_account(std::string_view identity, std::string_view uuid);
    Done update_account(const AccountRow& row);  // rest_until and connections
    Done spend(AccountId account, std::int64_t day_began, std::uint64_t day_octets);
    Result<MailboxRow> add_mailbox(AccountId account, const MailboxRow& row);  // row.id ignored; generation 1
    // All but id and tally; a row of another generation than the current one is refused. The same values: no write.
    Done update_mailbox(const MailboxRow& row);
    // A new generation: the rows of the old one become orphans, floor 1, modseq and what was seen unknown (in the same
    // transaction). mailbox() gives the row to go on with. `now`: Unix seconds.
    Done new_generation(MailboxId mailbox, std::optional<mail::UidValidity> validity, std::int64_t now);

    // Inserts rows in state Listed for UIDs that have none in the current generation; leaves existing rows alone.
    Done list(MailboxId mailbox, std::uint32_t generation, const mail::UidSet& uids);
    Done put(MailboxId mailbox, std::uint32_t generation, const MessageRow& row);  // insert or replace, tallies follow
    // The settling of deliveries and adoptions: rows become Delivered (Orphan, if their generation ended meanwhile),
    // placements are added. Reason, attempts and next_try are cleared; octets, date, digests and ids that the given
    // row lacks stay as they were. Fast path, fastest in ascending order.
    struct Settled {
      MessageRow row;
      std::string_view directory;
      DeliveryKey key;
    };
    Done settle(MailboxId mailbox, std::uint32_t generation, std::span<const Settled> settled);
    // State and reason of an existing row, nothing else. The same values: no write.
    Done set_state(MailboxId mailbox, std::uint32_t generation, mail::Uid uid, MessageState state,
                   std::string_view reason = {});
    // Proved vanished now. A row that is vanished already keeps its time.
    Done vanish(MailboxId mailbox, std::uint32_t generation, mail::Uid uid, std::int64_t now);
    // Present again: Delivered with the copy it has; without one (removed by policy) `relist` makes it Listed.
    Done revive(MailboxId mailbox, std::uint32_t generation, mail::Uid uid);
    Done relist(MailboxId mailbox, std::uint32_t generation, mail::Uid uid);  // drops its copies' rows
    // Of a vanished row whose message is in another mailbox now: missing_since 0, no grace period, no part in any
    // count.
    Done not_missing(MailboxId mailbox, std::uint32_t generation, mail::Uid uid);
    // Of a vanished row; Done drops its copies' rows.
    Done set_removal(MailboxId mailbox, std::uint32_t generation, mail::Uid uid, Removal removal);
    // What the server calls the message in every mailbox; of an existing row. The same: no write.
    Done identify(MailboxId mailbox, std::uint32_t generation, mail::Uid uid, std::string_view email_id);
    // Flags: the intent, then the settled base.
    Done intend_flags(MailboxId mailbox, std::uint32_t generation, mail::Uid uid, const mail::FlagSet& next_base);
    Done settle_flags(MailboxId mailbox, std::uint32_t generation, mail::Uid uid, const mail::FlagSet& base);
    Done remove_placement(MailboxId mailbox, std::uint32_t generation, mail::Uid uid);  // all copies of the message
    // A message of an old generation recognised under a new UID: the row moves, its key (and so its file) stays. It
    // becomes Delivered if it has a copy, else Listed. Takes the place of a row that has no copy; refuses another.
    Done rebind(MailboxId mailbox, std::uint32_t from_generation, mail::Uid from, std::uint32_t generation,
                mail::Uid to);

    // Names, with the next UIDs that are free; a name that has one already, or a UID that is taken, is an Error.
    Done add_names(MailboxId mailbox, mail::UidValidity validity, std::span<const NameRow> names);
    Done update_name(MailboxId mailbox, mail::UidValidity validity, const NameRow& row);  // octets and removal_meant

    Result<RunId> start_run(AccountId account, std::int64_t now);
    Done end_run(const RunRow& row);

    // Reading inside the transaction: its own changes are seen.
    Result<MailboxRow> mailbox(MailboxId mailbox);
    Result<std::vector<MessageRow>> messages(MailboxId mailbox, std::uint32_t generation, mail::Uid first,
                                             mail::Uid last, std::size_t limit);
    Result<mail::UidSet> uids(MailboxId mailbox, std::uint32_t generation, std::span<const MessageState> states,
                              std::int64_t due_by = INT64_MAX);
    Result<std::vector<PlacementRow>> placements(MailboxId mailbox, std::uint32_t generation, mail::Uid first,
                                                 mail::Uid last);

    // Durable when it returns. After an Error it is unknown whether a lost write reached the disk: the ledger refuses
    // further transactions until it is opened again, and rows not seen as committed are to be taken as not committed.
    Done commit();

   private:
    friend class Ledger;
    struct Impl;
    explicit Transaction(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
  };
  // Waits for other threads' transactions. This thread holds one already: an Error.
  Result<Transaction> begin();

 private:
  struct Impl;
  explicit Ledger(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace mailhaul::store
