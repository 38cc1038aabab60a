// A scenario of a server's misbehaviour on the real client, the real ImapSource, the engine, a Maildir in memory and a
// ledger on disk, with one oracle for all of them (stage.cc, verify()). The same story is told once undisturbed, over a
// real socket, and again with the connection cut or the process killed at any moment of it (sweep_test.cc).
//
//   STORY("A3 FETCH OK but one UID missing: …") {
//     stage.deliver(5);
//     …
//     const auto report = stage.run();
//     TELLS(report.sum.failed == 1);     // only where nothing disturbs
//   }                                    // the oracle asks at the end
#pragma once
#include <doctest/doctest.h>

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "collector/imap_source.h"
#include "tests/support/imap_model.h"
#include "tests/sync/machine.h"

namespace mailhaul::test {

using Answer = std::optional<std::string>;

// What disturbs a story, at its n-th moment of that kind, once.
struct Fault {
  enum class Kind : std::uint8_t {
    None,
    CutAfterLine,     // the connection, behind the n-th line that the server sends, those of messages counted
    CutAfterOctet,    // … behind the n-th octet
    DieAtEffect,      // the process, before an effect on the file system
    DieBeforeCommit,  // … of the ledger
    DieAfterCommit,
  };
  Kind kind = Kind::None;
  std::uint64_t at = 0;
  // What is left of the machine's memory after a death: 0 all of it (SIGKILL), 1 nothing (power), more: by luck.
  std::uint64_t memory = 0;
};

// How many moments of each kind a story has.
struct Moments {
  std::uint64_t lines = 0, octets = 0, effects = 0, commits = 0;
};

class Stage : public Machine {
 public:
  enum class Wire { Memory, Socket };
  explicit Stage(Fault fault = {}, Wire wire = Wire::Memory);
  ~Stage();

  // The cast: INBOX is there.
  ModelMailbox& mailbox(const std::string& name, int messages = 0);
  void deliver(int n) { deliver(*inbox, n); }
  void deliver(ModelMailbox& box, int n);
  void expunge(ModelMailbox& box, std::uint32_t uid);  // the oracle knows whether it was collected before that
  std::string letter(const std::string& body = "", const std::string& id = "");

  // One run of the process. Where the fault strikes, it is the next one, undisturbed, that is told of.
  sync::Report run();
  Ending attempt();  // a run that may have nothing to report
  void settle();     // where the wire is a socket: waits until the server is done with every connection

  // What the oracle cannot know by itself.
  void never(std::uint32_t uid, const std::string& mailbox = "INBOX") { never_.emplace(mailbox, uid); }
  void in_time(std::uint32_t uid, const std::string& mailbox = "INBOX") { never_.erase({mailbox, uid}); }
  void kept(std::string wire) { kept_.push_back(std::move(wire)); }    // gone at the source, collected before
  void maybe(std::string wire) { maybe_.push_back(std::move(wire)); }  // there at most once
  bool owner_has_a_say = false;                                        // flags at the destination are not the source's
  int count = 0;                                                       // for the lambdas of a story, which outlive it
  bool told = false;
  bool broken = false;    // a message is lost, or there twice
  bool restless = false;  // something is asked for in every run: the third one may fetch

  void verify();
  void disturb(Fault fault);  // from the next run on, once
  // Nothing is there twice, and nothing that has to be there is missing but what may be on its way. What there is.
  std::set<std::string> check_no_more_than_expected();
  std::vector<std::string> owner_throws_away_kept();
  [[nodiscard]] bool struck() const { return struck_; }
  [[nodiscard]] bool swept() const { return fault_.kind != Fault::Kind::None; }
  [[nodiscard]] Moments moments() const;
  std::string row_states();                   // "1 delivered, 2 failed", of INBOX
  mail::FlagSet flags_of(std::uint32_t uid);  // of the copy of INBOX's
  // The owner gives a copy other letters.
  void owner_sets(std::uint32_t uid, const std::string& letters);

  ImapModel imap;
  client::ClientOptions options;
  collector::ImapSourceOptions about;
  ModelMailbox* inbox;

 private:
  class Cutting;
  class Listening;
  friend class Cutting;
  Result<std::unique_ptr<client::ImapClient>> connection();
  void arm();
  bool recover(const Ending& ending);
  std::vector<std::string> check_copies(const Census& now, bool all);
  void check_rows(const Census& now, const sync::Report& report);
  void check_report(const Census& now, const sync::Report& report);
  void check_source();
  [[nodiscard]] std::vector<std::string> expected() const;
  static StateFile& file();

  Fault fault_;
  std::unique_ptr<Listening> socket_;
  bool armed_ = false, struck_ = false;
  std::uint64_t lines_ = 0, octets_ = 0, first_commit_ = 0, first_effect_ = 0;
  std::set<std::pair<std::string, std::uint32_t>> never_;
  std::vector<std::string> kept_, maybe_;
  int delivered_ = 0;
};

struct Story {
  const char* name;
  void (*play)(Stage&);
  [[nodiscard]] std::string number() const;  // "A3"
};
std::vector<Story>& stories();

struct Told {
  Told(const char* name, void (*play)(Stage&)) { stories().push_back({name, play}); }
};
// Undisturbed, in memory and over a socket.
void tell(void (*play)(Stage&));
// With this fault; what the story has of each kind of moment.
Moments tell(const Story& story, Fault fault);

#define STORY(name) STORY_AS(name, DOCTEST_ANONYMOUS(story_))
#define STORY_AS(name, function)                                  \
  static void function(Stage& stage);                             \
  static const Told DOCTEST_CAT(function, _told)(name, function); \
  TEST_CASE(name) { tell(function); }                             \
  static void function(Stage& stage)

#define TELLS(...) \
  if (!stage.struck()) CHECK(__VA_ARGS__)

}  // namespace mailhaul::test
