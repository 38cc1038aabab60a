// One history: a server, a machine and the owner of the mail, all of them acting by the dice of one seed; runs of the
// engine in between, each of which may die anywhere; and a book of what must be true (promises.cc), kept without asking
// the code under test.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "tests/sync/machine.h"

namespace mailhaul::test {

// What can go wrong in a run, at its n-th moment of that kind.
enum class Trouble {
  None,
  DieAtEffect,      // the process, before an effect on the file system
  DiskGone,         // from an effect on everything fails, the process lives
  FailedEffect,     // one effect fails, later ones work
  FailedWriteBack,  // what is not synced yet is lost, nobody is told
  DieAtStep,        // the process, while it talks to the server
  LostConnection,
  Throttled,     // the server asks to be left alone, for longer than a run waits or not
  Stop,          // by a signal
  WorldChanges,  // mail comes and goes, flags change, while the run goes on
  DieBeforeCommit,
  DieAfterCommit,
};
inline constexpr int kTroubles = 12;

// What the book says of one message.
struct Letter {
  std::string wire;
  std::string mailbox;
  std::int64_t date = 0;
  mail::FlagSet flags;  // at the source; of an expunged one: the last
  bool in_source = true;
  bool was_wanted = false;  // a policy has let it through while it was there
  bool ever_bad = false;    // the server could not give it, for a while
  bool settled = false;     // the ledger has said that it is delivered
  bool removed = false;     // by its owner, after that
  bool uncertain = false;   // so many things happened that it may be there or not
  bool blurred = false;     // cannot be told from a twin any more
  bool unmarked = false;    // its owner has taken $SourceGone off
  bool removable = false;   // the policy may have removed its copy: it was gone for as long as the grace period
  std::int64_t gone_at = 0;

  // Since the last clean run:
  bool agreed = false;  // there was one, and it left these flags on both sides
  mail::FlagSet source_then, copy_then;
  mail::FlagSet source_touched, copy_touched;
  bool forgotten = false;                    // the state was lost or went back in time
  bool copy_unknown = false;                 // there was a file that may be its copy, or a twin's
  std::optional<mail::FlagSet> copy_before;  // the copy's flags before the run that is checked
};

class World : public Machine {
 public:
  struct Kind {
    bool renumbers = false;  // UIDVALIDITY changes
    bool forgets = false;    // the state is lost, or an old one comes back
    bool hides = false;      // lists leave messages out; then nothing is expunged, see act_source()
    bool troubles = true;
    bool removes = false;  // what vanishes is marked or removed here
  };
  World(std::uint64_t seed, StateFile& file);

  // Plays the whole history and its quiet end; false: a promise is broken, story() tells.
  bool play();
  [[nodiscard]] std::string story() const;
  [[nodiscard]] const std::map<std::string, int>& counts() const { return counts_; }

 private:
  // world.cc
  void begin();
  void round();
  std::uint64_t dice(std::uint64_t sides) { return luck_() % sides; }
  bool chance(unsigned percent) { return dice(100) < percent; }
  template <class T>
  auto& any(T& of) {
    return of[static_cast<std::size_t>(dice(of.size()))];
  }
  void tell(std::string what) { story_.push_back(std::move(what)); }
  void broken(const std::string& what);
  Ending run(Trouble trouble, std::uint64_t moment);
  void settle_down();  // the server behaves from now on, and everything is due
  void arm(Trouble trouble, std::uint64_t moment, std::stop_source& stop);
  void recover(const Ending& ending);
  std::uint64_t a_moment(Trouble trouble);

  // actors.cc: what the server and the owner do
  void act_source();
  std::uint64_t deliver(ModelMailbox& mailbox, std::string wire, mail::FlagSet flags);
  void deliver_some();
  void blur_twins(std::uint64_t tag);
  void flag_at_source();
  void expunge();
  void move();
  void restore();
  void misbehave();
  void renumber();
  void expunge_or_add();
  void act_owner();
  void owner_flags(const CensusFile& file, std::uint64_t tag);
  void owner_removes(const CensusFile& file, std::uint64_t tag, bool to_another);
  void act_state();
  void act_policy();
  void act_person();
  mail::FlagSet some_flags();
  std::string some_wire(std::uint64_t tag);

  // promises.cc
  void note_before_run();
  void check_always(const Census& now, const char* when);
  void check_clean(const Census& now, bool quiet_end);
  void check_files(const Census& now, const char* when);
  void check_rows(const Census& now, const char* when);
  void check_copies(const Census& now, bool quiet_end);
  void check_flags(const Census& now);
  void check_report(const sync::Report& report);
  void note_removable();
  [[nodiscard]] bool has_twin_elsewhere(const Letter& letter, bool gone_or_not) const;
  void check_removals(const Census& now, const char* when);
  void check_marks(const Census& now);
  bool check_removed_in_the_end();
  bool check_quiet_end();
  [[nodiscard]] std::string flag_trouble(const Letter& letter, const mail::FlagSet& copy) const;
  [[nodiscard]] std::optional<std::uint64_t> tag_of(const CensusFile& file, const Census& now) const;
  [[nodiscard]] std::pair<int, int> copies_of(const Letter& letter, bool quiet_end) const;
  // Of the messages that the ledger has as delivered.
  [[nodiscard]] std::map<std::uint64_t, const CensusFile*> files_by_tag(const Census& now) const;

  std::uint64_t seed_;
  std::mt19937_64 luck_;
  Kind kind_;
  std::map<std::uint64_t, Letter> letters_;                                               // by tag
  std::map<std::tuple<std::string, std::uint64_t, std::uint32_t>, std::uint64_t> names_;  // mailbox, validity, UID
  std::map<std::pair<std::string, std::string>, int> strays_;  // directory, content: moved there by the owner
  std::uint64_t next_tag_ = 1;
  bool faulty_ = false;  // something went wrong since the last clean run
  bool lucky_ = false;   // after a loss of power some of what was not synced survived
  bool quiet_ = true;    // nothing disturbed the run that has just ended
  Census last_;          // as it is between two runs
  std::vector<std::tuple<std::string, std::uint64_t, ModelMessage>> graves_;  // mailbox, validity, what was expunged
  std::string backup_;
  std::vector<std::string> story_;
  bool broken_ = false;
  std::map<std::string, int> counts_;  // how often what happened, to see that it does
};

}  // namespace mailhaul::test
