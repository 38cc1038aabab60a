// Servers that ask for patience: what the client does with such an answer, and what is left of the connection.
#include <doctest/doctest.h>

#include "protocols/imap/plea.h"
#include "tests/client/scenario.h"

using namespace mailhaul;
using namespace mailhaul::test;
using client::Step;

namespace {

imap::UidFetch fetch(const std::string& uids) { return {uids, "UID", {}, false}; }
imap::Examine examine(const std::string& name) { return {name, false, {}, false}; }

}  // namespace

TEST_CASE("patience: B34 a throttled BAD is no answer, the rest of the pipeline is awaited, the connection lives") {
  InMemory memory(kIn +
                  "C: $a EXAMINE \"A\"\nC: $b UID FETCH 1 *\nC: $c UID FETCH 2 *\n"
                  "S: $a OK in\nS: $b BAD Request is throttled. Suggested Backoff Time: 299961 milliseconds\n"
                  "S: * 1 FETCH (UID 2)\nS: $c OK\n"
                  "C: $d UID FETCH 1 *\nS: * 1 FETCH (UID 1)\nS: $d OK\neof");
  REQUIRE(memory.client);
  Recorder heard;
  Steps steps{Step{examine("A"), &heard}, Step{fetch("1"), &heard}, Step{fetch("2"), &heard}};
  const Done ended = (*memory.client)->converse(steps);
  REQUIRE_FALSE(ended);
  CHECK(ended.error().retry == Retry::Later);
  CHECK(ended.error().scope == Scope::Account);
  CHECK(ended.error().wait == 300);
  CHECK(heard.text() == "EXAMINE: OK; FETCH uid=2; UID FETCH: OK");
  CHECK((*memory.client)->usable());
  Recorder later;
  Steps again{Step{fetch("1"), &later}};
  CHECK((*memory.client)->converse(again));
  CHECK(later.text() == "FETCH uid=1; UID FETCH: OK");
  CHECK(memory.verdict() == "");
}

TEST_CASE("patience: nothing more is sent behind it") {
  auto options = impatient();
  options.pipeline = 1;
  InMemory memory(kIn + "C: $a UID FETCH 1 *\nS: $a NO [LIMIT] Rate limit hit.\neof", Chunks::Whole, 1, account_at(993),
                  options);
  REQUIRE(memory.client);
  Recorder heard;
  Steps steps{Step{imap::Noop{}, &heard}};
  // A command that is valid without a mailbox, twice: the second one never leaves.
  InMemory noop(kIn + "C: $a NOOP\nS: $a NO [LIMIT] Rate limit hit.\neof", Chunks::Whole, 1, account_at(993), options);
  REQUIRE(noop.client);
  Steps two{Step{imap::Noop{}, &heard}, Step{imap::Noop{}, &heard}};
  const Done ended = (*noop.client)->converse(two);
  REQUIRE_FALSE(ended);
  CHECK(ended.error().wait == imap::kUsualWait);
  CHECK(heard.text().empty());
  CHECK(noop.verdict() == "");
}

TEST_CASE("patience: B35 rate limit and BYE: the limit is what is told, the connection is used up") {
  InMemory memory(kIn + "C: $a NOOP\nS: $a NO [LIMIT] UID FETCH Rate limit hit.\nS: * BYE\n");
  REQUIRE(memory.client);
  Recorder heard;
  Steps steps{Step{imap::Noop{}, &heard}, Step{imap::Noop{}, &heard}};
  const Done ended = (*memory.client)->converse(steps);
  REQUIRE_FALSE(ended);
  CHECK(ended.error().retry == Retry::Later);
  CHECK(ended.error().what.find("Rate limit hit") != std::string::npos);
}

TEST_CASE("patience: a BYE that names a limit") {
  InMemory memory(kIn + "C: $a NOOP\nS: * BYE Too many connections, try again in 2 minutes\nclose");
  REQUIRE(memory.client);
  Recorder heard;
  Steps steps{Step{imap::Noop{}, &heard}};
  const Done ended = (*memory.client)->converse(steps);
  REQUIRE_FALSE(ended);
  CHECK(ended.error().retry == Retry::Later);
  CHECK(ended.error().wait == 120);
  CHECK_FALSE((*memory.client)->usable());
}

TEST_CASE("patience: B35 OK [THROTTLED] slows down, by twice each time, and speeds up again") {
  std::vector<long> pauses;
  auto options = impatient();
  options.pause = [&](std::chrono::milliseconds pause) { pauses.push_back(pause.count()); };
  std::string script = kIn;
  const char* const answers[] = {"OK Success [THROTTLED]",
                                 "OK Success [THROTTLED]",
                                 "OK Success [THROTTLED]",
                                 "OK Success",
                                 "OK Success",
                                 "OK Success"};
  for (int i = 0; i < 6; ++i) {
    const auto tag = "$t" + std::to_string(i);
    script += "C: " + tag + " NOOP\nS: " + tag + " " + answers[i] + "\n";
  }
  options.pipeline = 1;
  InMemory memory(script + "eof", Chunks::Whole, 1, account_at(993), options);
  REQUIRE(memory.client);
  Recorder heard;
  Steps steps;
  for (int i = 0; i < 6; ++i) steps.steps.push_back(Step{imap::Noop{}, &heard});
  CHECK((*memory.client)->converse(steps));
  CHECK(pauses == std::vector<long>{50, 100, 200, 100, 50});
  CHECK(memory.verdict() == "");
}

TEST_CASE("patience: B36 a greeting that says BYE asks for a later try") {
  InMemory memory("S: * BYE Too many connections\nclose");
  REQUIRE_FALSE(memory.client);
  CHECK(memory.client.error().retry == Retry::Later);
  CHECK(memory.client.error().wait == imap::kUsualWait);
}
