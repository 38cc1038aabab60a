// From the wire to a batch: one Intake per connection turns what a fetch brings into files in tmp/ and batch items, and
// keeps book of what came. The book (Arrivals) is shared by the connections of a run.
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "collector/sync/allowance.h"
#include "collector/sync/committer.h"
#include "collector/sync/key.h"
#include "collector/sync/ports.h"

namespace mailhaul::sync {

// What a mailbox wants fetched and what has come so far. Thread-safe through Arrivals.
struct Wanted {
  store::MailboxId mailbox_id;
  std::uint32_t generation = 0;
  std::string directory;
  KeyOf key_of;
  UidSet uids;                         // to be delivered
  std::map<Uid, std::uint32_t> reuse;  // where it is not 0
  std::set<Uid> empty_allowed;         // the server itself says that they have no octet
  UidSet doubtful;                     // another message came in their place before: what comes is compared
};

// Why a message is refused whose UID was given the octets of another one.
inline constexpr const char* kAnotherMessage = "the server sent another message in its place";

struct Refusal {
  Uid uid;
  std::string reason;  // the server's words, or what was wrong with the answer
};

class Arrivals {
 public:
  explicit Arrivals(Allowance& allowance) : allowance_(allowance) {}
  void received(std::uint64_t octets) { allowance_.spend(octets); }
  void answered(std::uint64_t messages) { allowance_.answered(messages); }
  void want(std::size_t mailbox, Wanted wanted);
  [[nodiscard]] const Wanted* wanted(std::size_t mailbox) const;  // stable while a fetch runs
  // True once for each wanted UID: the caller has it now.
  bool take(std::size_t mailbox, Uid uid);
  [[nodiscard]] bool expects(std::size_t mailbox, Uid uid) const;
  void refuse(std::size_t mailbox, Uid uid, std::string reason);
  [[nodiscard]] UidSet missing(std::size_t mailbox) const;  // wanted, not come
  [[nodiscard]] UidSet to_ask(std::size_t mailbox) const;   // missing, not abandoned
  [[nodiscard]] UidSet missing_of(std::size_t mailbox, const UidSet& uids) const;
  [[nodiscard]] std::string reason(std::size_t mailbox, Uid uid) const;
  // The mailbox as a whole could not be read: nothing more is asked of it, and nothing that is missing has failed.
  void close(std::size_t mailbox, std::string reason);
  [[nodiscard]] std::string closed(std::size_t mailbox) const;  // why; empty: it is open
  [[nodiscard]] std::uint64_t taken() const;
  [[nodiscard]] std::uint64_t missing_count() const;
  [[nodiscard]] std::vector<std::size_t> mailboxes() const;        // with something missing
  void abandon(std::size_t mailbox, Uid uid, std::string reason);  // not asked for again in this run, still missing
  void forgive();                                                  // what was abandoned may be asked for again
  void allow_empty(std::size_t mailbox, Uid uid);
  // Messages that came with the very octets of another one, or in doubt: not to be committed before somebody has asked
  // which of them they are. False: so many are held that the mailbox simply has many twins.
  bool may_hold(std::size_t mailbox);
  void hold(Batch batch);
  std::vector<Batch> take_held();
  void doubt(std::size_t mailbox, Uid uid);  // it has not come after all
  // A message that was asked for alone did not come. True: so many did not, one after the other, that it is the server
  // that is ill and not the messages.
  bool failed_alone(std::size_t mailbox);

 private:
  struct Box {
    Wanted wanted;
    UidSet taken;
    UidSet abandoned;
    std::string closed;
    std::map<Uid, std::string> reasons;
    std::uint64_t failed_in_a_row = 0;
    std::size_t held = 0;
  };
  Allowance& allowance_;
  mutable std::mutex mutex_;
  std::map<std::size_t, Box> boxes_;
  std::vector<Batch> held_;
  std::uint64_t taken_ = 0;
};

class Intake final : public Receiver {
 public:
  // With the destination's own limits, those of a batch; the same in benchmarks as in life.
  static constexpr std::chrono::seconds kBatchAge{1};

  using OnMailbox = std::function<void(std::size_t mailbox)>;
  // `on_mailbox` is told when messages of another mailbox begin to come; `on_ill` when one message after another, asked
  // for alone, does not come (empty: nobody counts).
  Intake(store::Destination& destination, Committer& committer, Arrivals& arrivals, const Clock& clock,
         OnMailbox on_mailbox = {}, OnMailbox on_ill = {});

  void beside(const FlagSet& flags, std::string_view internal_date) override;
  Done begin(std::size_t mailbox, std::optional<Uid> uid, std::uint64_t octets) override;
  Done octets(std::string_view chunk) override;
  Done end() override;
  Done message(std::size_t mailbox, const FetchedMessage& message) override;
  Done answered(const FetchSlice& slice, const std::string& refused) override;
  Done lost(const FetchSlice& slice, const Error& error) override;
  Done flush();  // hands the open batch over; whatever was half received is dropped
  // The UID whose body was open when the connection went, if it is known or can be told.
  [[nodiscard]] std::optional<std::pair<std::size_t, Uid>> open_body() const;
  // The message that was next to come: the one to suspect where each is asked for alone and nothing had begun.
  [[nodiscard]] std::optional<std::pair<std::size_t, Uid>> next_owed() const;

 private:
  void complete(std::size_t mailbox, Uid uid, const FetchedMessage& message);
  Result<store::IncomingMessage> receive(const Wanted& wanted, std::optional<Uid> uid);
  std::int64_t date_of(const FetchedMessage& message, std::uint8_t& source);

  store::Destination& destination_;
  Committer& committer_;
  Arrivals& arrivals_;
  const Clock& clock_;
  OnMailbox on_mailbox_, on_ill_;
  std::optional<std::size_t> mailbox_;
  std::optional<store::IncomingMessage> incoming_;
  std::optional<store::Received> received_;
  std::uint64_t announced_ = 0;
  const store::BatchLimits limits_;
  std::string_view beside_date_;
  const FlagSet* beside_flags_ = nullptr;
  std::optional<std::pair<std::size_t, Uid>> open_;
  bool begun_ = false;                      // a body, without its UID
  std::map<std::size_t, UidSet> answered_;  // slices with their tagged reply
  std::optional<std::int64_t> neighbour_date_;
  Batch batch_;
  std::chrono::steady_clock::time_point batch_since_;
};

}  // namespace mailhaul::sync
