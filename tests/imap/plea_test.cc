// The spellings of throttling and trouble, one a line.
#include <doctest/doctest.h>

#include <string>

#include "protocols/imap/plea.h"
#include "protocols/imap/response_parser.h"

using namespace mailhaul::imap;

namespace {

std::string asked(const char* line) {
  const auto [plea, wait] = plea_of(parse_status(line));
  static constexpr const char* kNames[] = {"none", "slower", "patience", "fewer", "trouble"};
  return kNames[static_cast<int>(plea)] + (wait > 0 ? " " + std::to_string(wait) : std::string());
}

}  // namespace

TEST_CASE("plea: throttling in all its spellings") {
  CHECK(asked("BAD Request is throttled. Suggested Backoff Time: 299961 milliseconds") == "patience 300");
  CHECK(asked("NO Request is throttled. Suggested Backoff Time: 4 seconds") == "patience 4");
  CHECK(asked("BAD Request is throttled. Suggested Backoff Time: soon") == "patience 30");
  CHECK(asked("BAD Request is throttled. Suggested Backoff Time: 999999999999999999999 milliseconds") ==
        "patience 86400");
  CHECK(asked("NO [LIMIT] UID FETCH Rate limit hit.") == "patience 30");
  CHECK(asked("NO [OVERQUOTA] Account exceeded command or bandwidth limits. (Failure)") == "patience 30");
  CHECK(asked("NO Account exceeded command or bandwidth limits") == "patience 30");
  CHECK(asked("NO [THROTTLED] slow down, try again in 5 minutes") == "patience 300");
  CHECK(asked("BAD Too many requests, please wait 90 s") == "patience 90");
  CHECK(asked("BAD User is authenticated but not connected.") == "patience 30");
  CHECK(asked("BYE Temporary problem, please try again in 2 hours") == "patience 7200");
}

TEST_CASE("plea: a success that asks for slowness") {
  CHECK(asked("OK Success [THROTTLED]") == "slower");
  CHECK(asked("OK [THROTTLED] done") == "slower");
  CHECK(asked("OK [READ-ONLY] INBOX selected. (Success)") == "none");
  CHECK(asked("OK [ALERT] rate limit: 2000 a day") == "none");
}

TEST_CASE("plea: connections") {
  CHECK(asked("BYE Too many connections") == "fewer 30");
  CHECK(asked("NO [ALERT] Too many simultaneous connections. (Failure)") == "fewer 30");
  CHECK(
      asked("NO [UNAVAILABLE] Maximum number of connections from user+IP exceeded (mail_max_userip_connections=30)") ==
      "fewer 30");
  CHECK(asked("BAD [LIMIT] too many concurrent sessions") == "fewer 30");
}

TEST_CASE("plea: trouble") {
  CHECK(asked("NO [UNAVAILABLE] UID FETCH Server error while fetching messages") == "trouble");
  CHECK(asked("NO [SERVERBUG] Internal error occurred.") == "trouble");
  CHECK(asked("NO [INUSE] Mailbox is locked") == "trouble");
  CHECK(asked("NO Server Unavailable. 15") == "trouble");
  CHECK(asked("NO Mailbox is temporarily locked") == "trouble");
}

TEST_CASE("plea: answers to the command itself") {
  CHECK(asked("BAD Error in IMAP command LIST: Unknown option") == "none");
  CHECK(asked("BAD Command Argument Error. 12") == "none");
  CHECK(asked("NO [NONEXISTENT] no mailbox \"Throttling\", rate limit") == "none");
  CHECK(asked("NO [CANNOT] unavailable here") == "none");
  CHECK(asked("NO [AUTHENTICATIONFAILED] Invalid credentials, try again") == "none");
  CHECK(asked("PREAUTH throttling") == "none");
  CHECK(unsupported(parse_status("BAD Unknown command")));
  CHECK(unsupported(parse_status("NO not here")));
  CHECK_FALSE(unsupported(parse_status("BAD Request is throttled.")));
  CHECK_FALSE(unsupported(parse_status("NO [UNAVAILABLE] later")));
  CHECK_FALSE(unsupported(parse_status("OK fine")));
}
