// What the engine asks of a place that mail goes to. Two fulfil it: a Maildir here, an IMAP account in
// collector/imap_destination. Every promise below is held by one suite of tests on both
// (tests/sync/destination_test.cc).
//
// A copy is known by its delivery key, which is computed from what names the message at its source for ever. Where
// copies have no room for a key (IMAP), the destination keeps the keys itself.
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "protocols/base/result.h"
#include "protocols/mail/digest.h"
#include "protocols/mail/flags.h"

namespace mailhaul::store {

// 128 bits from a message's identity; base32 (RFC 4648 §6, lower case, no padding: 26 letters) in file names.
using DeliveryKey = std::array<std::uint8_t, 16>;
std::string to_text(const DeliveryKey& key);
std::optional<DeliveryKey> key_from_text(std::string_view base32);

// A file name of ours, taken apart. Of a copy that is no file: seconds and key, and its octets twice.
struct MaildirName {
  std::int64_t seconds = 0;
  DeliveryKey key{};
  std::uint64_t disk_octets = 0;  // S=
  std::uint64_t crlf_octets = 0;  // W=
  std::string letters;            // after ":2,": system letters and a–z keywords; empty if none
  [[nodiscard]] std::string text() const;
  static std::optional<MaildirName> parse(std::string_view file_name);  // nullopt: not one of ours
};

// How the octets of the wire lie on the disk.
enum class StoredForm : std::uint8_t {
  Lf = 0,  // every line ended in CRLF: stored with LF alone; expanding LF to CRLF gives the wire back
  AsReceived =
      1,  // some LF had no CR before it, or two (a stored CRLF would read as one line end): stored octet by octet
};

struct Received {  // what is known when a message has been written to tmp/ in full
  std::uint64_t wire_octets = 0;
  std::uint64_t disk_octets = 0;
  std::uint64_t crlf_octets = 0;
  StoredForm form = StoredForm::Lf;
  mail::Sha256Digest sha256{};  // of the wire octets
  mail::Evidence evidence;
};

struct FoundCopy {
  MaildirName name;
  std::string file;  // the file's whole name; of a copy that is no file: the destination's own words for it
  bool in_new = false;
};

// What is known of a message before its octets come.
struct Announced {
  std::uint64_t octets = 0;  // exactly
  DeliveryKey key{};
  std::int64_t seconds = 0;  // INTERNALDATE
  mail::FlagSet flags;
};

// A message on its way in: octets go to tmp/ chunk by chunk, hashed on the way. Destroyed without having been
// handed to deliver(), it leaves no trace; it must be either before its destination ends. Belongs to one thread at a
// time. A Maildir's holds a file descriptor and a 64 KiB buffer until finish(), then about 200 octets.
class IncomingMessage {
 public:
  class Body {
   public:
    virtual ~Body() = default;
    virtual Done write(std::string_view wire_octets) = 0;
    virtual Result<Received> finish(std::optional<std::int64_t> seconds) = 0;
    // After deliver(): why the destination will not take it; empty: it does not say so.
    [[nodiscard]] virtual std::string refused() const { return {}; }
    // It occupies something that others wait for: hand it to deliver() at once.
    [[nodiscard]] virtual bool urgent() const { return false; }
  };
  explicit IncomingMessage(std::unique_ptr<Body> body) : body_(std::move(body)) {}
  Done write(std::string_view wire_octets) { return body_->write(wire_octets); }
  // All octets have come; the message is complete but not yet durable. `seconds`: the INTERNALDATE if it is known by
  // now, which saves deliver() from looking the file up again.
  Result<Received> finish(std::optional<std::int64_t> seconds = std::nullopt) { return body_->finish(seconds); }
  [[nodiscard]] std::string refused() const { return body_->refused(); }
  [[nodiscard]] bool urgent() const { return body_->urgent(); }
  [[nodiscard]] Body* body() const { return body_.get(); }  // nullptr: moved from

 private:
  std::unique_ptr<Body> body_;
};

struct Delivery {  // one message of a batch
  IncomingMessage message;
  DeliveryKey key{};
  std::int64_t seconds = 0;  // INTERNALDATE: file mtime and first part of the name
  mail::FlagSet flags;
};

struct Twin {  // a copy that lies here, to be had under one more key
  std::string from;
  FoundCopy copy;
  std::string to;
  DeliveryKey key{};
  mail::FlagSet flags;  // of the new copy
};

struct BatchLimits {
  std::size_t messages = 1200;
  std::uint64_t octets = 16U << 20U;
  std::uint64_t announce = UINT64_MAX;  // longer messages are announced to receive() where that can be done
};

class Destination {
 public:
  Destination() = default;
  virtual ~Destination() = default;
  Destination(const Destination&) = delete;
  Destination& operator=(const Destination&) = delete;

  [[nodiscard]] virtual std::string_view kind() const = 0;    // "maildir", "imap"
  [[nodiscard]] virtual const std::string& path() const = 0;  // for people
  [[nodiscard]] virtual BatchLimits limits() const { return {}; }

  // What the mailbox with these components (decoded, UTF-8, NFC) is called here; {"INBOX"} is the inbox. Hostile
  // components become harmless and distinct names. Pure.
  [[nodiscard]] virtual std::string directory_name(std::span<const std::string> components) const = 0;
  [[nodiscard]] virtual std::optional<std::vector<std::string>> components_of(std::string_view directory) const = 0;
  // Makes the mailbox, durably, unless it is there. Scope::Mailbox: this one cannot be, others can.
  virtual Done create(const std::string& directory) = 0;
  virtual Done subscribe(std::span<const std::vector<std::string>> mailboxes) = 0;

  // Starts a message. Thread-safe, also against deliver() of others.
  virtual Result<IncomingMessage> receive(const std::string& directory, const Announced* announced = nullptr) = 0;
  // Makes a batch durable; it may span mailboxes. Gives what the copies are called; an empty name: not delivered,
  // because a copy with its key is there already (look() finds it), or because the destination refuses the message
  // (IncomingMessage::refused()). On an Error nothing of the batch may be taken as delivered, and delivering the same
  // keys again, now or after a crash, makes no second copy. One thread at a time.
  virtual Result<std::vector<std::string>> deliver(std::span<std::pair<std::string, Delivery>> batch) = 0;

  // Copies of copies, without their octets passing: hard links. Gives what they are called, durable; an empty name:
  // this one cannot be had so (or its key is there already), deliver it. Repeated, now or after a crash, it makes no
  // second copy. One thread at a time, not beside deliver().
  virtual Result<std::vector<std::string>> duplicate(std::span<const Twin> twins) {
    return std::vector<std::string>(twins.size());
  }

  // Which of these keys have a copy in the mailbox? `keys` and the answer sorted ascending, one copy a key. What is
  // found is durable. Thread-safe.
  virtual Result<std::vector<FoundCopy>> look(const std::string& directory, std::span<const DeliveryKey> keys) = 0;
  // What was delivered under the key, if the destination remembers it better than its copy could tell; nullopt: read
  // the copy.
  virtual Result<std::optional<Received>> remembered(const std::string&, const FoundCopy&) {
    return std::optional<Received>{};
  }
  // Not durable until sync_directory().
  virtual Result<std::string> set_flags(const std::string& directory, const FoundCopy& copy,
                                        const mail::FlagSet& flags) = 0;
  [[nodiscard]] virtual Result<mail::FlagSet> flags_of(const std::string& directory, const FoundCopy& copy) = 0;
  virtual Done remove(const std::string& directory, const FoundCopy& copy) = 0;
  virtual Done sync_directory(const std::string& directory) = 0;

  [[nodiscard]] virtual Result<std::uint64_t> size_of(const std::string& directory, const FoundCopy& copy) = 0;
  // The octets of a copy as they came, chunk by chunk; the visitor returns false to stop.
  virtual Done read(const std::string& directory, const FoundCopy& copy, StoredForm form,
                    const std::function<bool(std::string_view)>& visit) = 0;

  // Small texts of our own beside the mail (the account UUIDs), replaced durably.
  virtual Result<std::optional<std::string>> read_own(const std::string& name) = 0;
  virtual Done write_own(const std::string& name, std::string_view content) = 0;
};

}  // namespace mailhaul::store
