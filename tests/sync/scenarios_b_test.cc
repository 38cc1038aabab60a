// Scenarios of throttling, limits and sessions, by their numbers.
#include "tests/sync/stage.h"

#include <algorithm>

namespace mailhaul::test {
namespace {

bool asks_whole(const std::string& line) {
  return line.starts_with("UID FETCH ") && line.find("BODY.PEEK[]") != std::string::npos;
}

// Told once, at the first command that begins so.
void once(Stage& stage, const std::string& command, const std::string& says) {
  stage.imap.answer = [command, says, told = false](const std::string& line) mutable -> Answer {
    if (told || !line.starts_with(command)) return std::nullopt;
    told = true;
    return says;
  };
}

STORY("B34 BAD Request is throttled, with a time, at FETCH, LIST and STATUS: waited for, nothing is given up") {
  stage.imap.no_status_of = {"INBOX"};
  stage.deliver(12);
  stage.imap.answer = [&](const std::string& line) -> Answer {
    const char* at[] = {"LIST", "STATUS", "EXAMINE", "UID FETCH"};
    if (stage.count >= 4 || !line.starts_with(at[stage.count])) return std::nullopt;
    ++stage.count;
    return "BAD Request is throttled. Suggested Backoff Time: 59961 milliseconds";
  };
  const auto report = stage.run();
  CHECK(report.complete());
  CHECK(stage.count == 4);
  TELLS(stage.waits.size() == 4);
  TELLS(stage.waits.at(0) == 60);
  CHECK(stage.imap.count("LSUB") == 0);
}

STORY("B35 NO [LIMIT] Rate limit hit, and BYE") {
  stage.deliver(10);
  once(stage, "UID FETCH", "NO [LIMIT] UID FETCH Rate limit hit.\n* BYE\nclose");
  CHECK(stage.run().complete());
  CHECK(!stage.waits.empty());
}

STORY("B35 OK … [THROTTLED] at the end of a text") {
  stage.deliver(10);
  stage.imap.success = [](const std::string& line) -> Answer {
    return asks_whole(line) ? Answer("Success [THROTTLED]") : std::nullopt;
  };
  CHECK(stage.run().complete());
}

STORY("B35 NO [OVERQUOTA] on FETCH: the account rests, over a restart, too") {
  stage.deliver(10);
  stage.imap.answer = [&](const std::string& line) -> Answer {
    if (!asks_whole(line) || ++stage.count > 20) return std::nullopt;
    return "NO [OVERQUOTA] Account exceeded command or bandwidth limits. (Failure)";
  };
  const auto first = stage.attempt();
  if (!stage.struck()) {
    REQUIRE(first.report);
    CHECK(first.report->sum.pending == 10);
    CHECK(first.report->failures.empty());
    CHECK(first.report->come_back > stage.clock.now);
  }
  const auto lines = stage.imap.lines.size();
  const auto again = stage.attempt();
  TELLS((again.report || stage.imap.lines.size() == lines));
  stage.imap.answer = {};
  stage.clock.now += 3600;
  CHECK(stage.run().complete());
}

STORY("B36 a greeting that says BYE, in the middle of a run") {
  stage.deliver(10);
  stage.imap.answer = [&](const std::string& line) -> Answer {
    if (stage.told || !asks_whole(line)) return std::nullopt;
    stage.told = true;
    stage.imap.greeting = "BYE Too many connections";
    return "";
  };
  const auto plain = stage.connect;
  stage.connect = [&] {
    stage.settle();
    if (stage.told && ++stage.count == 3) stage.imap.greeting = "OK ready";
    return plain();
  };
  CHECK(stage.run().complete());
  stage.connect = plain;
  stage.imap.answer = {};
}

STORY("B37 [AUTHENTICATIONFAILED] once, then OK") {
  stage.deliver(3);
  once(stage, "LOGIN", "NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)");
  const auto ending = stage.attempt();
  if (!stage.struck()) {
    CHECK(!ending.report);
    CHECK(ending.error.find("Invalid credentials") != std::string::npos);
  }
  CHECK(stage.run().complete());
}

STORY("B38 the server falls silent in mid-literal") {
  stage.options.idle = std::chrono::milliseconds(30);
  stage.settings.reconnects = 20;
  stage.deliver(6);
  stage.imap.stalls = true;
  stage.inbox->messages[3].body = Body::Drops;
  stage.inbox->messages[3].bad_answers = 2;
  CHECK(stage.run().complete());
}

STORY("B38 keep-alives: '* OK Still here' between everything, and blanks") {
  stage.deliver(10);
  stage.imap.noise = [&]() -> std::string { return ++stage.count % 3 == 0 ? "  " : "* OK Still here\r\n"; };
  CHECK(stage.run().complete());
}

STORY("B40 163.com: nothing without ID, an empty STATUS, no UIDNEXT") {
  stage.about.host = "imap.163.com";
  stage.imap.capabilities = "IMAP4rev1";
  stage.server.traits.uid_next = false;
  stage.server.traits.condstore = false;
  stage.deliver(6);
  stage.imap.answer = [&](const std::string& line) -> Answer {
    if (line.starts_with("LOGIN")) stage.told = false;  // ID, on this connection
    if (line.starts_with("ID (")) stage.told = true;
    if (line.starts_with("EXAMINE") && !stage.told)
      return "NO SELECT Unsafe Login. Please contact kefu@188.com for help";
    return line.starts_with("STATUS") ? Answer("* STATUS \"INBOX\" ()\nOK done") : std::nullopt;
  };
  CHECK(stage.run().complete());
  stage.deliver(2);
  stage.expunge(*stage.inbox, 3);
  CHECK(stage.run().complete());
}

STORY("B40 BAD to ID matters to nobody") {
  stage.deliver(3);
  stage.imap.answer = [](const std::string& line) -> Answer {
    return line.starts_with("ID") ? Answer("BAD what?") : std::nullopt;
  };
  CHECK(stage.run().complete());
}

STORY("B41 a server that takes one command at a time, and is not known for it") {
  stage.imap.refuses_pipelining = true;
  stage.deliver(6);
  stage.mailbox("Work", 4);
  CHECK(stage.run().complete());
  stage.deliver(2);
  stage.inbox->expunge(mail::Uid{99});
  CHECK(stage.run().complete());
}

STORY("B41 a server that takes no long lines, no big sets, no bare '*' and no '4294967295'") {
  stage.imap.capabilities = "IMAP4rev1";
  stage.server.traits.condstore = false;
  stage.deliver(120);
  for (std::uint32_t uid = 2; uid <= 120; uid += 2) stage.inbox->expunge(mail::Uid{uid});
  stage.imap.answer = [&](const std::string& line) -> Answer {
    if (line.size() > 200) return "BAD Command line too long";
    if (!line.starts_with("UID FETCH ")) return std::nullopt;
    const auto set = line.substr(10, line.find(' ', 10) - 10);
    if (set == "*" || set.find("4294967295") != std::string::npos) return "BAD invalid set";
    const auto uids = mail::UidSet::parse(set.ends_with(":*") ? "1" : set);
    if (!uids || uids->wire() != (set.ends_with(":*") ? "1" : set)) return "BAD descending or doubled";
    if (uids->size() > 30 && asks_whole(line)) return "NO Too many messages";
    return std::nullopt;
  };
  CHECK(stage.run().complete());
}

}  // namespace
}  // namespace mailhaul::test
