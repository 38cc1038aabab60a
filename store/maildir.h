// A Maildir++ that Dovecot, Courier and mutt read as their own. Knows files and names; knows no protocol, no ledger.
//
// Layout: INBOX is the root; the mailbox Parent/Child is the directory ".Parent.Child" (modified UTF-7, or UTF-8 for
// Courier 5), with cur, new, tmp and an empty "maildirfolder". `mailhaul/` (no leading dot) holds our own files.
// Message file: <seconds>.K<key>.mailhaul,S=<octets on disk>,W=<octets with CRLF>:2,<letters>. Only the key is
// compared.
//
// Durable order (deliver): data synced → renamed into cur/ (never over another file) → directory synced. A failed sync
// voids the whole batch: its files are removed and must be fetched again; a sync is never retried as success. It also
// voids what another thread was receiving at that moment, whose octets may have been among the lost ones.
#pragma once
#include <array>
#include <chrono>
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
#include "protocols/base/types.h"
#include "protocols/mail/digest.h"
#include "protocols/mail/flags.h"
#include "store/destination.h"
#include "store/file_system.h"

namespace mailhaul::store {

enum class MaildirNames { Utf7, Utf8 };

class Maildir final : public Destination {
 public:
  struct Options {
    MaildirNames names = MaildirNames::Utf7;
    bool create = true;
    const Clock* clock = &system_clock();         // tells a stale lock of another program by its age
    std::chrono::milliseconds lock_wait{10'000};  // for a lock that another mail program holds
    unsigned sync_threads = 16;  // where the file system has no barrier; 0: each file is synced by finish() itself
  };
  // Opens or creates; takes the lock mailhaul/lock (held by somebody else: a clear Error). Refuses (AfterUserAction) a
  // directory that is neither empty nor a Maildir. `fs` must outlive it.
  //
  // If the last process died while it was receiving (the file mailhaul/receiving is there), our own leftovers are swept
  // from every tmp/ and everything is synced once, so that what that process renamed but did not sync may be adopted.
  static Result<std::unique_ptr<Maildir>> open(FileSystem& fs, const std::string& path, const Options& options);
  ~Maildir() override;  // close()

  // The clean end: marks that there is nothing to sweep. No message may be under way; the object can only be destroyed
  // then.
  void close();

  [[nodiscard]] const std::string& path() const override;
  [[nodiscard]] std::string_view kind() const override { return "maildir"; }

  // The directory for a mailbox, its hierarchy components decoded (UTF-8, NFC); {"INBOX"} is the root. Hostile
  // components
  // ("..", "/", NUL, CR, "cur", 300 octets, leading blank or '~', empty) become harmless and distinct names. Pure.
  [[nodiscard]] std::string directory_name(std::span<const std::string> components) const override;
  // Reads the components back from a directory name (for a rebuilt state and for verify). nullopt: not a mailbox.
  [[nodiscard]] std::optional<std::vector<std::string>> components_of(std::string_view directory) const override;
  [[nodiscard]] Result<std::vector<std::string>> mailboxes() const;  // directory names, "" for INBOX

  // Makes the mailboxes durable (directories, maildirfolder, parents synced) unless they exist. Cheap the second time;
  // many at once cost one sync. A name too long for the file system is shortened with a hash by directory_name(), never
  // refused.
  Done create(const std::string& directory) override;
  Done create(std::span<const std::string> directories);
  Done subscribe(std::span<const std::vector<std::string>> mailboxes) override;  // adds to `subscriptions`, durable,
                                                                                 // keeps what is there

  // Starts a message in the mailbox's tmp/. Thread-safe, also against deliver() of other messages.
  Result<IncomingMessage> receive(const std::string& directory, const Announced* announced = nullptr) override;
  // Makes a batch durable, in the order above; the batch may span mailboxes. Gives the final file names; an empty name:
  // this message was not delivered, for a file with its key is already there (look() finds it, for adoption). All or
  // nothing is not promised, but: on an Error nothing of the batch may be taken as delivered, its files in tmp/ are
  // removed, and delivering the same keys again, now or after a crash, makes no second copy. One thread at a time.
  Result<std::vector<std::string>> deliver(std::span<std::pair<std::string, Delivery>> batch) override;

  // Hard links straight into cur/, then the directories synced. What the files hold is durable already.
  Result<std::vector<std::string>> duplicate(std::span<const Twin> twins) override;

  // Which of these keys have a file in the mailbox (cur and new; two scans if one could have raced with a rename)?
  // `keys` sorted ascending; so is the answer, one copy a key. What is found is durable and may be adopted. Costs one
  // scan for the first call, then one scan for a call with hits, none for a call without. Memory grows with the hits
  // and with eight octets a file, not with the names. What other programs do to a mailbox after its first scan is
  // noticed for hits only, until refresh(). Thread-safe.
  Result<std::vector<FoundCopy>> look(const std::string& directory, std::span<const DeliveryKey> keys) override;
  void refresh();  // forgets what was scanned
  // Every file of ours in the mailbox, in directory order (new before cur; a file moved meanwhile may come twice).
  Done each_copy(const std::string& directory, const std::function<void(const FoundCopy&)>& visit);
  // Files in cur and new that are not ours (delivered or re-named by other programs).
  Done each_foreign(const std::string& directory, const std::function<void(std::string_view file, bool in_new)>& visit);

  // Renames to the new flags (system letters and keyword letters; foreign letters such as P are kept; a file in new/
  // moves to cur/ once it has a flag). Not durable until sync_directory(). The file may have been renamed by its
  // owner's mail reader meanwhile: looked up once more, so a `copy` put together from what the ledger knows will do,
  // too.
  Result<std::string> set_flags(const std::string& directory, const FoundCopy& copy,
                                const mail::FlagSet& flags) override;
  [[nodiscard]] Result<mail::FlagSet> flags_of(const std::string& directory,
                                               const FoundCopy& copy) override;  // letters + dovecot-keywords
  Done remove(const std::string& directory, const FoundCopy& copy) override;
  Done sync_directory(const std::string& directory) override;
  // A Maildir has letters for 26 keywords a mailbox: how often one had to be left out of a name (the ledger keeps it).
  [[nodiscard]] std::uint64_t keywords_left_out() const;

  [[nodiscard]] Result<std::uint64_t> size_of(const std::string& directory,
                                              const FoundCopy& copy) override;  // octets on disk
  // The wire octets of a stored message, given back exactly, chunk by chunk.
  Done read(const std::string& directory, const FoundCopy& copy, StoredForm form,
            const std::function<bool(std::string_view)>& visit) override;

  // Small files of our own under mailhaul/ (the account UUIDs), replaced durably.
  Result<std::optional<std::string>> read_own(const std::string& name) override;
  Done write_own(const std::string& name, std::string_view content) override;

 private:
  struct Impl;
  explicit Maildir(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace mailhaul::store
