// converse(): the pipeline, and who gets which untagged data.
#include <doctest/doctest.h>

#include <string>

#include "tests/client/scenario.h"

using namespace mailhaul;
using namespace mailhaul::test;
using client::Step;

namespace {

imap::Examine examine(const std::string& mailbox) {
  imap::Examine command;
  command.mailbox = mailbox;
  return command;
}

imap::UidFetch fetch(const std::string& uids, const std::string& items = "UID FLAGS") {
  imap::UidFetch command;
  command.uids = uids;
  command.items = items;
  return command;
}

imap::Status status_of(const std::string& mailbox) { return {mailbox, {"MESSAGES"}}; }

constexpr Chunks kAllChunks[] = {Chunks::Whole, Chunks::Octets, Chunks::Random};

// Runs the steps that `steps` makes on the script, in every chunking, and checks what `hear` checks.
template <class MakeSteps, class Check>
void in_every_cut(const std::string& script, MakeSteps&& make, Check&& check) {
  for (const auto chunks : kAllChunks)
    for (std::uint32_t seed = 1; seed <= (chunks == Chunks::Random ? 10U : 1U); ++seed) {
      InMemory memory(kIn + script, chunks, seed);
      REQUIRE_MESSAGE(memory.client, memory.client.error().what);
      Recorder a, b, c;
      Steps steps = make(a, b, c);
      const Done ended = (*memory.client)->converse(steps);
      CHECK_MESSAGE(ended, ended.error().what);
      check(a, b, c);
      CHECK(memory.verdict() == "");
    }
}

}  // namespace

TEST_CASE("bodies stream to the listener of the mailbox") {
  in_every_cut(
      "C: $a EXAMINE \"INBOX\"\nC: $b UID FETCH 1:2 (UID BODY.PEEK[])\n"
      "S: * 2 EXISTS\nS: * OK [UIDVALIDITY 7] ok\nS: $a OK [READ-ONLY] done\n"
      "S: * 1 FETCH (UID 1 BODY[] {12}\nS-raw: hello\\r\\nworld)\\r\\n\nS: * 2 FETCH (UID 2 BODY[] NIL)\nS: $b OK "
      "done\neof",
      [](Recorder& a, Recorder&, Recorder&) {
        return Steps{Step{examine("INBOX"), &a}, Step{fetch("1:2", "UID BODY.PEEK[]"), &a}};
      },
      [](Recorder& a, Recorder&, Recorder&) {
        CHECK(a.text() ==
              "EXISTS 2; OK UIDVALIDITY 7; EXAMINE: OK READ-ONLY; BODY 12; OCTETS hello\r\nworld; END; FETCH uid=1 "
              "body; FETCH uid=2 "
              "nil; UID FETCH: OK");
      });
}

TEST_CASE("tagged replies in reverse order, untagged data between them") {
  in_every_cut(
      "C: $a EXAMINE \"INBOX\"\nC: $b UID FETCH 1 *\nC: $c UID FETCH 2 *\nC: $d UID FETCH 3 *\n"
      "S: * 3 EXISTS\nS: $a OK in\nS: * 3 FETCH (UID 3 FLAGS ())\nS: $d OK\nS: * 4 EXISTS\nS: * 2 FETCH (UID 2 FLAGS "
      "())\nS: $c OK\n"
      "S: * 1 FETCH (UID 1 FLAGS ())\nS: * OK still here\nS: $b NO [EXPUNGEISSUED] some\neof",
      [](Recorder& a, Recorder&, Recorder&) {
        return Steps{Step{examine("INBOX"), &a}, Step{fetch("1"), &a}, Step{fetch("2"), &a}, Step{fetch("3"), &a}};
      },
      [](Recorder& a, Recorder&, Recorder&) {
        CHECK(a.text() ==
              "EXISTS 3; EXAMINE: OK; FETCH uid=3 flags=; UID FETCH: OK; EXISTS 4; FETCH uid=2 flags=; UID FETCH: OK; "
              "FETCH uid=1 "
              "flags=; OK; UID FETCH: NO EXPUNGEISSUED");
      });
}

TEST_CASE("EXAMINE of the next mailbox behind the FETCHes of this one") {
  in_every_cut(
      "C: $a EXAMINE \"A\"\nC: $b UID FETCH 1 *\nC: $c UID FETCH 2 *\nC: $d EXAMINE \"B\"\nC: $e UID FETCH 9 *\n"
      "S: * 2 EXISTS\nS: $a OK\nS: * 1 FETCH (UID 1 FLAGS ())\nS: $b OK\nS: * 2 FETCH (UID 2 FLAGS ())\nS: * 1 "
      "EXPUNGE\nS: $c OK\n"
      "S: * 1 EXISTS\nS: * OK [UIDVALIDITY 8] x\nS: $d OK\nS: * 1 FETCH (UID 9 FLAGS ())\nS: $e OK\neof",
      [](Recorder& a, Recorder& b, Recorder&) {
        return Steps{Step{examine("A"), &a}, Step{fetch("1"), &a}, Step{fetch("2"), &a}, Step{examine("B"), &b},
                     Step{fetch("9"), &b}};
      },
      [](Recorder& a, Recorder& b, Recorder&) {
        CHECK(a.text() ==
              "EXISTS 2; EXAMINE: OK; FETCH uid=1 flags=; UID FETCH: OK; FETCH uid=2 flags=; EXPUNGE 1; UID FETCH: OK");
        CHECK(b.text() == "EXISTS 1; OK UIDVALIDITY 8; EXAMINE: OK; FETCH uid=9 flags=; UID FETCH: OK");
      });
}

TEST_CASE("[CLOSED] parts the mailboxes") {
  // The tagged reply of a FETCH comes late, behind the data of the next mailbox.
  in_every_cut(
      "C: $a EXAMINE \"A\"\nC: $b UID FETCH 1 *\nC: $c EXAMINE \"B\"\n"
      "S: * 2 EXISTS\nS: $a OK\nS: * 1 FETCH (UID 1 FLAGS ())\nS: * OK [CLOSED] Previous mailbox\nS: * 5 EXISTS\nS: $b "
      "OK\nS: $c OK\neof",
      [](Recorder& a, Recorder& b, Recorder&) {
        return Steps{Step{examine("A"), &a}, Step{fetch("1"), &a}, Step{examine("B"), &b}};
      },
      [](Recorder& a, Recorder& b, Recorder&) {
        CHECK(a.text() == "EXISTS 2; EXAMINE: OK; FETCH uid=1 flags=; OK CLOSED; UID FETCH: OK");
        CHECK(b.text() == "EXISTS 5; EXAMINE: OK");
      });
}

TEST_CASE("three mailboxes in a row, two EXAMINEs in flight") {
  in_every_cut(
      "C: $a EXAMINE \"A\"\nC: $b EXAMINE \"B\"\nC: $c EXAMINE \"C\"\n"
      "S: * 1 EXISTS\nS: $a OK\nS: * OK [CLOSED] x\nS: * 2 EXISTS\nS: $b OK\nS: * 3 EXISTS\nS: $c OK\neof",
      [](Recorder& a, Recorder& b, Recorder& c) {
        return Steps{Step{examine("A"), &a}, Step{examine("B"), &b}, Step{examine("C"), &c}};
      },
      [](Recorder& a, Recorder& b, Recorder& c) {
        CHECK(a.text() == "EXISTS 1; EXAMINE: OK");
        CHECK(b.text() == "OK CLOSED; EXISTS 2; EXAMINE: OK");
        CHECK(c.text() == "EXISTS 3; EXAMINE: OK");
      });
}

TEST_CASE("a refused EXAMINE: nobody gets the data behind it, the script goes on") {
  in_every_cut(
      "C: $a EXAMINE \"Gone\"\nC: $b UID FETCH 1 *\nC: $c EXAMINE \"B\"\n"
      "S: $a NO [NONEXISTENT] no such mailbox\nS: * 7 EXISTS\nS: $b BAD no mailbox\nS: * 1 EXISTS\nS: $c OK\neof",
      [](Recorder& a, Recorder& b, Recorder&) {
        return Steps{Step{examine("Gone"), &a}, Step{fetch("1"), &a}, Step{examine("B"), &b}};
      },
      [](Recorder& a, Recorder& b, Recorder&) {
        CHECK(a.text() == "EXAMINE: NO NONEXISTENT; UID FETCH: BAD");
        CHECK(b.text() == "EXISTS 1; EXAMINE: OK");
      });
}

TEST_CASE("LIST and STATUS go to their own commands or nowhere") {
  in_every_cut(
      "C: $a EXAMINE \"A\"\nC: $b UID FETCH 1 *\nC: $c LIST \"\" *\nC: $d STATUS \"X\" *\nC: $e STATUS \"Y\" *\n"
      "S: * 1 EXISTS\nS: $a OK\nS: * LSUB () \"/\" Stray\nS: * LIST () \"/\" Found\nS: * STATUS Y (MESSAGES 2)\n"
      "S: * STATUS X (MESSAGES 1)\nS: $e OK\nS: $d OK\nS: $c OK\nS: * LIST () \"/\" Stray\nS: * STATUS Stray (MESSAGES "
      "9)\n"
      "S: * 1 FETCH (UID 1 FLAGS ())\nS: $b OK\neof",
      [](Recorder& a, Recorder& b, Recorder& c) {
        return Steps{Step{examine("A"), &a}, Step{fetch("1"), &a}, Step{imap::List{}, &b}, Step{status_of("X"), &b},
                     Step{status_of("Y"), &c}};
      },
      [](Recorder& a, Recorder& b, Recorder& c) {
        CHECK(a.text() == "EXISTS 1; EXAMINE: OK; FETCH uid=1 flags=; UID FETCH: OK");
        CHECK(b.text() == "LIST Found; STATUS X 1; STATUS: OK; LIST: OK");
        CHECK(c.text() == "STATUS Y 2; STATUS: OK");
      });
}

TEST_CASE("ESEARCH by its tag, SEARCH to the mailbox") {
  in_every_cut(
      "C: $a EXAMINE \"A\"\nC: $b UID SEARCH RETURN (ALL) UID 1:5\nC: $c UID SEARCH RETURN (ALL) UID 6:9\nC: $d UID "
      "SEARCH "
      "ALL\n"
      "S: * 9 EXISTS\nS: $a OK\nS: * ESEARCH (TAG \"$c\") UID ALL 6:7\nS: * ESEARCH (TAG \"$b\") UID ALL 1:3\n"
      "S: * ESEARCH (TAG \"stray\") UID ALL 8\nS: $c OK\nS: $b OK\nS: * SEARCH 1 2\nS: $d OK\neof",
      [](Recorder& a, Recorder& b, Recorder& c) {
        return Steps{Step{examine("A"), &a}, Step{imap::UidSearch{"UID 1:5", "ALL"}, &b},
                     Step{imap::UidSearch{"UID 6:9", "ALL"}, &c}, Step{imap::UidSearch{"ALL", ""}, &a}};
      },
      [](Recorder& a, Recorder& b, Recorder& c) {
        CHECK(a.text() == "EXISTS 9; EXAMINE: OK; SEARCH 1:2; UID SEARCH: OK");
        CHECK(b.text() == "ESEARCH 1:3; UID SEARCH: OK");
        CHECK(c.text() == "ESEARCH 6:7; UID SEARCH: OK");
      });
}

TEST_CASE("a second conversation on the mailbox that the first one opened") {
  InMemory memory(kIn +
                  "C: $a EXAMINE \"A\"\nS: * 1 EXISTS\nS: $a OK\nC: $b UID FETCH 1 *\nS: * 1 FETCH (UID 1 FLAGS "
                  "())\nS: $b OK\neof");
  REQUIRE(memory.client);
  Recorder a, b;
  Steps first{Step{examine("A"), &a}}, second{Step{fetch("1"), &b}};
  CHECK((*memory.client)->converse(first));
  CHECK((*memory.client)->converse(second));
  CHECK(a.text() == "EXISTS 1; EXAMINE: OK");
  CHECK(b.text() == "FETCH uid=1 flags=; UID FETCH: OK");
}

TEST_CASE("a command that cannot be sent is refused alone") {
  InMemory memory(kIn + "C: $a EXAMINE \"B\"\nS: $a OK\neof");
  REQUIRE(memory.client);
  Recorder a, b;
  Steps steps{Step{fetch("1"), &a}, Step{examine(std::string("nul\0in it", 9)), &a}, Step{examine("B"), &b}};
  CHECK((*memory.client)->converse(steps));
  CHECK(a.text() == "UID FETCH: BAD; EXAMINE: BAD");
  CHECK(b.text() == "EXAMINE: OK");
  CHECK(memory.verdict() == "");
}

TEST_CASE("a tagged BYE ends the connection, not every step that is left") {
  client::ClientOptions options = impatient();
  options.pipeline = 1;
  InMemory memory(kIn + "C: $a NOOP\nS: $a BYE over\nclose", Chunks::Whole, 1, account_at(993), options);
  REQUIRE(memory.client);
  Recorder a;
  Steps steps{Step{imap::Noop{}, &a}, Step{imap::Noop{}, &a}, Step{imap::Noop{}, &a}};
  const Done ended = (*memory.client)->converse(steps);
  REQUIRE(!ended);
  CHECK(ended.error().retry == Retry::Now);
  CHECK(a.text() == "NOOP: BYE");
}

TEST_CASE("the pipeline is kept full and never overfull") {
  struct Counting final : client::Script, client::Listener {
    std::optional<Step> next() override {
      if (given == 100) return std::nullopt;
      ++given;
      most = std::max(most, ++in_flight);
      return Step{imap::Noop{}, this};
    }
    Done on(const imap::Event&) override { return done(); }
    Done completed(const imap::Command&, const imap::StatusText&) override {
      --in_flight;
      return done();
    }
    int given = 0, in_flight = 0, most = 0;
  };
  struct Case {
    std::size_t pipeline;
    std::uint64_t round_trips;
    int most;
  };
  // The script server answers each command as it comes, so that one turn of the pipeline is one round trip.
  for (const Case c : {Case{1, 100, 1}, Case{16, 7, 16}, Case{1000, 1, 100}}) {
    CAPTURE(c.pipeline);
    std::string script;
    for (std::size_t at = 0; at < 100;) {
      const std::size_t n = std::min<std::size_t>(c.pipeline, 100 - at);
      for (std::size_t i = 0; i < n; ++i) script += "C: $t" + std::to_string(at + i) + " NOOP\n";
      for (std::size_t i = 0; i < n; ++i) script += "S: $t" + std::to_string(at + i) + " OK\n";
      at += n;
    }
    client::ClientOptions options = impatient();
    options.pipeline = c.pipeline;
    InMemory memory(kIn + script + "eof", Chunks::Whole, 1, account_at(993), options);
    REQUIRE(memory.client);
    Counting counting;
    CHECK((*memory.client)->converse(counting));
    CHECK(counting.given == 100);
    CHECK(counting.in_flight == 0);
    CHECK(counting.most == c.most);
    CHECK((*memory.client)->round_trips() == 1 + c.round_trips);
    CHECK(memory.verdict() == "");
  }
}

TEST_CASE("a script that pauses is asked again after each completion") {
  struct Pausing final : client::Script, client::Listener {
    std::optional<Step> next() override {
      ++asked;
      // The second step needs the first one's answer.
      if (given == 0 || (given == 1 && answered)) {
        ++given;
        return Step{imap::Noop{}, this};
      }
      return std::nullopt;
    }
    Done on(const imap::Event&) override { return done(); }
    Done completed(const imap::Command&, const imap::StatusText&) override {
      answered = true;
      return done();
    }
    int asked = 0, given = 0;
    bool answered = false;
  };
  InMemory memory(kIn + "C: $a NOOP\nS: $a OK\nC: $b NOOP\nS: $b OK\neof");
  REQUIRE(memory.client);
  Pausing pausing;
  CHECK((*memory.client)->converse(pausing));
  CHECK(pausing.given == 2);
  CHECK(pausing.asked == 5);
  CHECK(memory.verdict() == "");
}

TEST_CASE("BYE in mid-fetch ends the conversation") {
  for (const auto chunks : kAllChunks) {
    InMemory memory(
        kIn +
            "C: $a EXAMINE \"A\"\nC: $b UID FETCH 1:2 *\nS: * 2 EXISTS\nS: $a OK\nS: * 1 FETCH (UID 1 FLAGS ())\n"
            "S: * BYE [UNAVAILABLE] shutting down\nclose",
        chunks);
    REQUIRE(memory.client);
    Recorder a;
    Steps steps{Step{examine("A"), &a}, Step{fetch("1:2"), &a}};
    const Done ended = (*memory.client)->converse(steps);
    REQUIRE(!ended);
    CHECK(ended.error().what == "localhost:993: the server ended the connection: BYE [UNAVAILABLE] shutting down");
    CHECK(ended.error().scope == Scope::Account);
    CHECK(ended.error().retry == Retry::Now);
    CHECK(a.text() == "EXISTS 2; EXAMINE: OK; FETCH uid=1 flags=");
    const auto later = (*memory.client)->command(imap::Noop{});
    REQUIRE(!later);
    CHECK(later.error().what.find("used up") != std::string::npos);
  }
}

TEST_CASE("a listener's error ends the conversation with it") {
  for (const char* where : {"EXISTS 2", "OCTETS hel", "EXAMINE: OK"}) {
    InMemory memory(
        kIn +
        "C: $a EXAMINE \"A\"\nC: $b UID FETCH 1 *\nS: * 2 EXISTS\nS: $a OK\nS: * 1 FETCH (UID 1 BODY[] {3}\n"
        "S-raw: hel)\\r\\n\nS: $b OK\neof");
    REQUIRE(memory.client);
    Recorder a;
    a.fail_on = where;
    a.fail_at = Error{Scope::Service, Retry::Later, "disk full", "make room"};
    Steps steps{Step{examine("A"), &a}, Step{fetch("1", "BODY.PEEK[]"), &a}};
    const Done ended = (*memory.client)->converse(steps);
    REQUIRE(!ended);
    CHECK(ended.error().what.find("disk full") != std::string::npos);
    CHECK(ended.error().scope == Scope::Service);
    CHECK(a.heard.back() == where);
    CHECK(!(*memory.client)->command(imap::Noop{}));
  }
}

TEST_CASE("a stream that breaks ends the conversation") {
  for (const char* broken : {"* 1 FETCH (BODY[] {99999999999999999999}", "nonsense OK done"}) {
    InMemory memory(kIn + "C: $a NOOP\nS: " + broken + "\neof");
    REQUIRE(memory.client);
    const auto status = (*memory.client)->command(imap::Noop{});
    CHECK(!status);
    CHECK(status.error().scope == Scope::Account);
  }
}

TEST_CASE("one command: its listener gets all untagged data") {
  InMemory memory(kIn +
                  "C: $a LIST \"\" *\nS: * LIST () \"/\" One\nS: * 4 EXISTS\nS: $a OK\nC: $b LIST \"\" *\nS: $b NO "
                  "[NONEXISTENT] x\neof");
  REQUIRE(memory.client);
  Recorder a;
  const auto good = (*memory.client)->command(imap::List{}, &a);
  REQUIRE(good);
  CHECK(good->condition == imap::Condition::Ok);
  CHECK(a.text() == "LIST One; EXISTS 4; LIST: OK");
  const auto bad = (*memory.client)->command(imap::List{});
  REQUIRE(bad);
  CHECK(bad->code == "NONEXISTENT");
  CHECK(memory.verdict() == "");
}
