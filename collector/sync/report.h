// The account of a run: what DESIGN calls the sum. Values only.
//   listed = delivered + already + excluded + failed + pending + gone, and EXISTS = listed − gone.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace mailhaul::sync {

struct Count {
  std::uint64_t listed = 0;
  std::uint64_t delivered = 0;  // by this run
  std::uint64_t already = 0;    // by earlier runs
  std::uint64_t excluded = 0;
  std::uint64_t failed = 0;
  std::uint64_t pending = 0;  // due, but stopped, over budget or backing off
  std::uint64_t gone = 0;     // vanished from the source, delivered before that or not
  std::uint64_t bytes = 0;    // wire octets delivered by this run
  void add(const Count& other);
};

struct Failure {
  std::string mailbox;
  std::uint32_t uid = 0;
  std::string reason;
  std::int64_t next_try = 0;  // Unix seconds
};

struct MailboxReport {
  std::string name;         // for people
  std::string destination;  // directory; "" is INBOX
  std::string home;         // for people: its name at the destination, where that is another one
  Count count;
  std::optional<std::uint64_t> exists;  // EXISTS at the last observation; nullopt: not observed
  std::string error;                    // could not be opened or observed; empty: fine
  std::uint64_t flags = 0;              // messages whose flags were levelled
  std::uint64_t adopted = 0;            // of `delivered`: their file was there already
  std::uint64_t rebound = 0;            // of `already`: recognised under a new UIDVALIDITY, not downloaded again
  std::uint64_t moved = 0;              // of `delivered`: copied from the mailbox they were in, not downloaded
  std::uint64_t removed = 0;            // copies of vanished messages removed by this run
  std::uint64_t marked = 0;             // … marked $SourceGone by it
  std::uint64_t deleted = 0;            // messages that the source was told to delete, and said it would (--pop3-leave)
  std::string by_content;               // why its UIDs mean nothing from one run to the next; empty: they do
  std::string held;                     // why removals are frozen; empty: they are not
  std::string renamed_from;             // what it was called at the source until this run; empty: the same
  bool planned_only = false;
  [[nodiscard]] bool sums_up() const { return !exists || *exists == count.listed - count.gone; }
};

struct Report {
  std::vector<MailboxReport> mailboxes;
  std::vector<Failure> failures;
  std::vector<std::string> unlisted;  // mailboxes collected before that the server did not list: unknown, all kept
  Count sum;
  bool stopped = false;  // by a signal or a user
  std::string error;     // why the run ended early; empty: it did not
  // The day's allowance is used up, and messages wait for the next.
  struct Budget {
    std::uint64_t octets = 0;   // a day's
    std::int64_t again = 0;     // Unix seconds: the next day begins
    std::uint64_t waiting = 0;  // octets that wait, as far as the average of what has come tells
  };
  std::optional<Budget> budget;
  std::int64_t come_back = 0;           // Unix seconds: the server asked to be left alone until then; 0: it did not
  [[nodiscard]] bool complete() const;  // nothing failed, nothing pending, every mailbox observed
};

// Two runs, one after the other, told as one: what the first delivered counts as delivered, even if the source has not
// shown it to the second.
Report joined(const Report& first, Report second);

}  // namespace mailhaul::sync
