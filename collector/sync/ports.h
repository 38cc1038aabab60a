// What the engine asks of a source. Implementations: ImapSource, and the model server of the simulation.
#pragma once
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "collector/sync/allowance.h"
#include "collector/sync/model.h"
#include "protocols/base/result.h"
#include "protocols/mail/digest.h"

namespace mailhaul::sync {

struct SourceMailbox {
  std::string raw_name;  // as the server spells it
  std::optional<char> delimiter;
  std::vector<std::string> path;  // decoded hierarchy, outermost first, without the user's own namespace prefix
  std::vector<std::string> home;  // where such a mailbox is kept by convention (its special use); empty: under `path`
  std::vector<std::string> attributes;
  bool selectable = true;
  bool subscribed = false;
  bool personal = true;  // in the user's own namespace
  // Where the server says which messages are the same (Source::identifies): a message that is also in a mailbox of a
  // lower rank is kept there and not here. Of equal rank: in both.
  std::uint32_t rank = 0;
  bool aside = false;  // left alone: it only shows what other mailboxes have
  bool named = false;  // its messages have names and no UIDs: those come from the NameBook
  // From STATUS; nullopt: not said.
  std::optional<std::uint64_t> messages, uid_next, uid_validity, highest_modseq, octets, unseen;
  std::optional<std::string> mailbox_id;  // RFC 8474: the same through every RENAME
};

enum class Completeness { Complete, Delta };  // only a Complete view may speak of absence

struct ObserveRequest {
  std::size_t index = 0;  // the caller's number for the mailbox
  std::string raw_name;
  std::optional<mail::UidValidity> known_validity;  // of our rows; nullopt: first time
  mail::Uid floor{1};                               // new mail is asked for from here, by UID alone
  std::optional<mail::ModSeq> modseq;  // flag changes since here, by MODSEQ alone; nullopt: all flags of known rows
  bool flags = false;                  // flag changes of known rows are wanted
  std::optional<UidSet> flags_of;      // where there is no modseq: of these alone; nullopt: of all
  bool beyond = false;                 // there are rows from the floor upwards, too: an earlier run was cut short
  bool descriptors = false;            // size and date of new messages are wanted
  UidSet landmarks;                    // known messages whose size and date are wanted, to see that they are the same
};

// Flags of many messages in eight octets each: most messages share a few sets.
class SeenFlags {
 public:
  void add(Uid uid, const FlagSet& flags);
  [[nodiscard]] std::size_t size() const { return entries_.size(); }
  void sort();  // by uid; of a UID seen twice the later one stays
  // After sort(): visits entries with first <= uid <= last.
  template <class F>
  void each(Uid first, Uid last, F&& visit) const;
  [[nodiscard]] std::vector<Uid> uids() const;

 private:
  struct Entry {
    Uid uid;
    std::uint32_t set;
  };
  std::vector<Entry> entries_;
  std::vector<FlagSet> sets_;
};

struct Descriptor {
  Uid uid;
  std::uint64_t size = 0;
  std::int64_t date = 0;
};

struct MailboxView {
  std::size_t index = 0;
  std::optional<Error> error;  // it could not be selected or listed; nothing else is set
  Completeness completeness = Completeness::Delta;
  std::optional<mail::UidValidity> validity;
  std::optional<std::uint64_t> uid_next;
  std::uint64_t exists = 0;
  std::optional<mail::ModSeq> modseq;   // HIGHESTMODSEQ of the opening; nullopt: none
  UidSet present;                       // Complete: every UID there is. Delta: those from the floor upwards
  SeenFlags changes;                    // of UIDs below the floor; if rows are `beyond`, of all
  UidSet vanished;                      // known UIDs that the server says are gone (VANISHED): one kind of evidence
  std::vector<Descriptor> descriptors;  // uid ascending, of `present`, if asked for
  std::vector<Descriptor> landmarks;    // those that were answered; size 0, date INT64_MAX: not said
};

struct Headers {  // evidence of one message, read from the source without its body
  Uid uid;
  mail::Evidence evidence;
  std::optional<std::uint64_t> size;
  std::optional<std::int64_t> date;
  FlagSet flags;
};

// What a server calls a message in every mailbox of the account (RFC 8474 EMAILID, Gmail's X-GM-MSGID): equal ids are
// equal octets and INTERNALDATEs.
struct Identity {
  Uid uid;
  std::string email_id;
  FlagSet flags;
  std::optional<std::int64_t> date;
};

// How a body is asked for: as a whole; or, of a message that cannot be had so, by its header and text, or piece by
// piece.
enum class Form { Whole, Parts, Pieces };

// One piece of fetching: some UIDs of one mailbox, wanted once.
struct FetchSlice {
  std::size_t mailbox = 0;  // the caller's number
  std::string raw_name;
  std::optional<mail::UidValidity> validity;  // results under another one are dropped
  UidSet uids;
};

// The work of a fetch, shared by all connections. Thread-safe.
class FetchQueue {
 public:
  struct Mailbox {
    std::size_t index = 0;
    std::string raw_name;
    std::optional<mail::UidValidity> validity;
    UidSet uids;
    bool first = false;  // before whatever is not
  };
  enum class Order { OldestFirst, NewestFirst };  // of a mailbox's messages, slice by slice
  // `slice`: messages a command asks for at most. 500 is what Exchange answers reliably; 1 isolates bad messages.
  // `allowance`: what a day may bring (nullptr: anything); outlives the queue.
  explicit FetchQueue(std::size_t slice = 500, Form form = Form::Whole, Allowance* allowance = nullptr,
                      Order order = Order::OldestFirst)
      : slice_(slice), form_(form), allowance_(allowance), order_(order) {}
  void add(Mailbox mailbox);
  // The next piece, if possible of the mailbox that the connection has selected; nullopt: nothing left, or no more
  // today.
  std::optional<FetchSlice> next(std::optional<std::size_t> selected);
  void drop(std::size_t mailbox);  // what is left of it
  [[nodiscard]] Form form() const { return form_; }

 private:
  std::mutex mutex_;
  std::size_t slice_;
  Form form_;
  Allowance* allowance_;
  Order order_;
  std::vector<Mailbox> mailboxes_;
};

struct FetchedMessage {
  std::optional<Uid> uid;
  std::optional<FlagSet> flags;
  std::string internal_date;  // as sent; empty: none
  bool body = false;          // octets were given for this response, in full
  std::string email_id{};     // RFC 8474 EMAILID or its like; empty: none
  std::string not_it{};       // why the octets are not the message, but something in its place; empty: they are it
};

// Receives what a fetch brings, in stream order: begin, octets…, end for a body, then message for its response;
// answered when a slice's command has its tagged reply. An Error ends the fetch. Belongs to one connection's thread.
class Receiver {
 public:
  virtual ~Receiver() = default;
  // Before begin(), where both stood before the body, which then has exactly the octets announced: lets a long message
  // go straight on to its destination. Views are valid until begin() returns.
  virtual void beside(const FlagSet& /*flags*/, std::string_view /*internal_date*/) {}
  virtual Done begin(std::size_t mailbox, std::optional<Uid> uid, std::uint64_t octets) = 0;
  virtual Done octets(std::string_view chunk) = 0;
  virtual Done end() = 0;
  virtual Done message(std::size_t mailbox, const FetchedMessage& message) = 0;
  // `refused`: the server's NO or BAD; empty: OK. UIDs of the slice that were not delivered are the receiver's to know.
  virtual Done answered(const FetchSlice& slice, const std::string& refused) = 0;
  // The mailbox could not be opened, or its UIDVALIDITY is another one than the slices': none of them was asked for.
  virtual Done lost(const FetchSlice& slice, const Error& error) = 0;
};

// The names of a mailbox whose messages have no UIDs (POP3's unique-ids), and the UIDs that the ledger gave them. A UID
// is durable before anything is delivered under it: that is the intent. Belongs to one thread.
class NameBook {
 public:
  virtual ~NameBook() = default;
  [[nodiscard]] virtual std::optional<UidValidity> validity() const = 0;  // of the ledger's rows; nullopt: no rows yet
  // Every name under this validity; the name of UID n is at n - 1. Stays valid until the next call of add().
  virtual Result<std::span<const store::NameRow>> names(UidValidity validity) = 0;
  // New names get the next UIDs, in their order. `names`: with name and octets only.
  virtual Done add(UidValidity validity, std::vector<store::NameRow> names) = 0;
  virtual Done note_octets(UidValidity validity, const std::map<Uid, std::uint64_t>& octets) = 0;
  virtual Result<UidSet> in_state(std::span<const store::MessageState> states) = 0;  // of the current rows
  virtual Result<std::vector<store::MessageRow>> rows(const UidSet& uids) = 0;       // likewise
};

// What ended a session with a source where a session's work takes effect at its end.
struct Farewell {
  bool effective = true;  // the source has said so; otherwise it may offer everything again
  std::string why_not;    // in that case
  UidSet removed;         // messages that it was told to delete
};

// One connection to the source. Belongs to one thread. Errors end the connection (Scope::Account) unless said
// otherwise.
class Source {
 public:
  virtual ~Source() = default;
  // False when the connection is lost or used up; after an Error that asks for patience it may well be usable.
  [[nodiscard]] virtual bool usable() const { return true; }
  // Every mailbox the account shows, with STATUS where it can be had in the same breath.
  virtual Result<std::vector<SourceMailbox>> mailboxes() = 0;
  // Opens each mailbox and looks, all of them pipelined. One view a request, in the order of the requests.
  virtual Result<std::vector<MailboxView>> observe(std::span<const ObserveRequest> requests) = 0;
  // Second kind of evidence: which of these UIDs does the server still show when asked for one by one?
  virtual Result<UidSet> probe(const FetchQueue::Mailbox& mailbox) = 0;
  // Does it say which messages of different mailboxes are the same?
  [[nodiscard]] virtual bool identifies() const { return false; }
  // As headers(); messages that it does not name are left out, too.
  virtual Result<std::vector<Identity>> identities(const FetchQueue::Mailbox&) { return std::vector<Identity>{}; }
  // Messages that are not shown are left out; an Error of Scope::Mailbox: it shows none, and says NO to the question.
  virtual Result<std::vector<Headers>> headers(const FetchQueue::Mailbox& mailbox) = 0;
  // Fetches bodies until the queue is empty.
  virtual Done fetch(FetchQueue& queue, Receiver& receiver) = 0;
  // Where the messages of its mailboxes come from names. Called before anything but mailboxes(); the book outlives it.
  virtual void use(NameBook&) {}
  // The run is over and everything that it took is durable: deletes these messages and ends the session, with effect. A
  // source that ends in any other way leaves no trace (POP3: no QUIT, RFC 1939 §6). Not for sources with UIDs.
  virtual Result<Farewell> conclude(const FetchQueue::Mailbox&) { return Farewell{}; }
};

template <class F>
void SeenFlags::each(Uid first, Uid last, F&& visit) const {
  std::size_t low = 0, high = entries_.size();
  while (low < high) {
    const auto middle = (low + high) / 2;
    if (entries_[middle].uid < first)
      low = middle + 1;
    else
      high = middle;
  }
  for (; low < entries_.size() && entries_[low].uid <= last; ++low) visit(entries_[low].uid, sets_[entries_[low].set]);
}

}  // namespace mailhaul::sync
