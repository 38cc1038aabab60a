// One test a row of the quirk table: a server that is so, the row on, and what goes wrong or missing with it off.
#include <doctest/doctest.h>

#include "tests/sync/imap_scene.h"

namespace mailhaul::test {
namespace {

using Answer = std::optional<std::string>;
using imap::Quirk;

void choose(ImapScene& scene, Quirk quirk, bool on) { scene.about.quirks = {{quirk, on}}; }

std::size_t longest_line(const ImapScene& scene) {
  std::size_t longest = 0;
  for (const auto& line : scene.imap.lines) longest = std::max(longest, line.size());
  return longest;
}

TEST_CASE("quirk send-id: B40 163.com opens nothing for clients that do not say who they are") {
  for (const bool on : {true, false}) {
    ImapScene scene;
    scene.imap.capabilities = "IMAP4rev1";
    scene.about.host = "imap.163.com";
    if (!on) choose(scene, Quirk::SendId, false);
    scene.deliver(3);
    scene.imap.answer = [&](const std::string& line) -> Answer {
      if (!line.starts_with("EXAMINE") || scene.imap.count("ID (") > 0) return std::nullopt;
      return "NO SELECT Unsafe Login. Please contact kefu@188.com for help";
    };
    const auto report = scene.run();
    CHECK(report.sum.delivered == (on ? 3 : 0));
    CHECK(report.complete() == on);
  }
}

TEST_CASE("B40 ID goes before the first EXAMINE of every connection, and BAD to it matters to nobody") {
  ImapScene scene;
  scene.deliver(3);
  scene.imap.answer = [](const std::string& line) -> Answer {
    return line.starts_with("ID") ? Answer("BAD what?") : std::nullopt;
  };
  CHECK(scene.run().complete());
  const auto at = [&](std::string_view beginning) {
    return std::ranges::find_if(scene.imap.lines, [&](const auto& line) { return line.starts_with(beginning); });
  };
  CHECK(at("ID (") < at("EXAMINE"));
  // A connection that has nothing to list, too.
  auto source = scene.connect();
  REQUIRE(source);
  scene.imap.lines.clear();
  CHECK((*source)->probe({0, "INBOX", mail::UidValidity{1}, mail::UidSet({{1, 1}})}));
  CHECK(at("ID (") < at("EXAMINE"));
}

TEST_CASE("quirk no-namespace: a server that hangs up at NAMESPACE") {
  for (const bool on : {true, false}) {
    ImapScene scene;
    scene.imap.greeting = "OK Microsoft Exchange Server 2003 IMAP4rev1 server version 6.5 ready.";
    if (!on) choose(scene, Quirk::NoNamespace, false);
    scene.settings.reconnects = 1;
    scene.deliver(1);
    scene.imap.answer = [](const std::string& line) { return line == "NAMESPACE" ? Answer("") : std::nullopt; };
    const auto ending = scene.run_process();
    CHECK((ending.report && ending.report->complete()) == on);
  }
}

TEST_CASE("quirk no-examine: SELECT where EXAMINE is not to be trusted") {
  for (const bool on : {true, false}) {
    ImapScene scene;
    scene.imap.greeting = "OK [CAPABILITY IMAP4rev1 UIDPLUS] Courier-IMAP ready.";
    if (!on) choose(scene, Quirk::NoExamine, false);
    scene.deliver(2);
    CHECK(scene.run().complete());
    CHECK((scene.imap.count("EXAMINE") == 0) == on);
    CHECK((scene.imap.count("SELECT") > 0) == on);
  }
}

TEST_CASE("quirk lockstep, narrow-pipeline: B41 how many commands are in flight") {
  const auto most_in_flight = [](const imap::QuirkChoice& choice) {
    ImapScene scene;
    scene.about.quirks = choice;
    scene.imap.capabilities = "IMAP4rev1";
    for (int i = 0; i < 30; ++i) scene.server.mailboxes.emplace_back().name = "box" + std::to_string(i);
    CHECK(scene.run().complete());
    return scene.imap.most_at_once;
  };
  CHECK(most_in_flight({{Quirk::Lockstep, true}}) == 1);
  CHECK(most_in_flight({{Quirk::NarrowPipeline, true}}) == 8);
  CHECK(most_in_flight({}) > 8);
}

TEST_CASE("quirk short-lines: B41 command lines of less than 1,000 octets") {
  for (const bool on : {true, false}) {
    ImapScene scene;
    choose(scene, Quirk::ShortLines, on);
    scene.deliver(800);
    for (std::uint32_t uid = 2; uid <= 800; uid += 2) scene.inbox->expunge(mail::Uid{uid});
    CHECK(scene.run().complete());
    CHECK((longest_line(scene) < 1000) == on);
  }
}

TEST_CASE("B41 a server that takes no long lines is served without being known") {
  ImapScene scene;
  scene.deliver(800);
  for (std::uint32_t uid = 2; uid <= 800; uid += 2) scene.inbox->expunge(mail::Uid{uid});
  scene.imap.answer = [](const std::string& line) -> Answer {
    return line.size() > 500 ? Answer("BAD Command line too long") : std::nullopt;
  };
  CHECK(scene.run().complete());
  scene.check_whole();
}

TEST_CASE("quirk small-slices: Yahoo gives no more than so many messages a command") {
  for (const bool on : {true, false}) {
    ImapScene scene;
    choose(scene, Quirk::SmallSlices, on);
    scene.deliver(100);
    std::size_t refusals = 0;
    scene.imap.answer = [&](const std::string& line) -> Answer {
      if (line.find("BODY.PEEK[]") == std::string::npos) return std::nullopt;
      const auto set = mail::UidSet::parse(line.substr(10, line.find(' ', 10) - 10));
      if (!set || set->size() <= 20) return std::nullopt;
      ++refusals;
      return "NO [UNAVAILABLE] UID FETCH Server error while fetching messages";
    };
    CHECK(scene.run().complete());
    CHECK((refusals == 0) == on);
  }
}

TEST_CASE("quirk fetch-uids: UIDs that SEARCH makes up") {
  for (const bool on : {true, false}) {
    ImapScene scene;
    choose(scene, Quirk::FetchUids, on);
    scene.deliver(5);
    scene.imap.answer = [](const std::string& line) -> Answer {
      if (!line.starts_with("UID SEARCH")) return std::nullopt;
      return "* ESEARCH UID ALL 101:105\nOK done";
    };
    const auto report = scene.run();
    CHECK((scene.imap.count("UID SEARCH") == 0) == on);
    CHECK(report.sum.delivered == (on ? 5 : 0));
    CHECK(report.complete() == on);
  }
}

TEST_CASE("quirk no-sizes: O5 RFC822.SIZE makes DavMail download everything") {
  for (const bool on : {true, false}) {
    ImapScene scene;
    scene.imap.id_reply = "(\"name\" \"DavMail\")";
    if (!on) choose(scene, Quirk::NoSizes, false);
    scene.settings.policy.since = 1'600'000'000;
    scene.deliver(3);
    CHECK(scene.run().complete());
    const bool asked = std::ranges::any_of(
        scene.imap.lines, [](const auto& line) { return line.find("RFC822.SIZE") != std::string::npos; });
    CHECK(asked != on);
  }
}

TEST_CASE("quirk rough-sizes: E2 a size that is an estimate does not reject a message that came in parts") {
  for (const bool on : {true, false}) {
    ImapScene scene;
    scene.imap.greeting = "OK The Microsoft Exchange IMAP4 service is ready.";
    if (!on) choose(scene, Quirk::RoughSizes, false);
    scene.deliver(1);
    scene.imap.size_lie = 1000;
    scene.inbox->messages[0].body = Body::Missing;
    const auto report = scene.run();
    CHECK(report.sum.delivered == (on ? 1 : 0));
    CHECK(report.sum.failed == (on ? 0 : 1));
  }
}

TEST_CASE("quirk broken-qresync: C43 VANISHED for living messages at iCloud") {
  for (const bool on : {true, false}) {
    ImapScene scene;
    scene.about.host = "imap.mail.me.com";
    if (!on) choose(scene, Quirk::BrokenQresync, false);
    scene.deliver(3);
    CHECK(scene.run().complete());
    CHECK((scene.imap.count("ENABLE") == 0) == on);
  }
}

TEST_CASE("quirk uid-only: A30 Yahoo shows everything after ENABLE UIDONLY only") {
  for (const bool on : {true, false}) {
    ImapScene scene;
    scene.imap.capabilities = "IMAP4rev1 ENABLE UIDONLY MESSAGELIMIT=100";
    if (!on) choose(scene, Quirk::UidOnly, false);
    scene.imap.shown_without_uid_only = 40;
    scene.imap.message_limit = 100;
    scene.deliver(344);
    CHECK(scene.run().sum.delivered == (on ? 344 : 40));
    if (on) scene.check_whole();
  }
}

TEST_CASE("quirk placeholders: A16 Exchange's error message is not the message") {
  for (const bool on : {true, false}) {
    ImapScene scene;
    scene.imap.greeting = "OK The Microsoft Exchange IMAP4 service is ready.";
    if (!on) choose(scene, Quirk::Placeholders, false);
    scene.deliver(3);
    scene.imap.placeholder_for = {2};
    const auto report = scene.run();
    CHECK(report.sum.delivered == (on ? 2 : 3));
    REQUIRE(report.failures.size() == (on ? 1 : 0));
    if (!on) continue;
    CHECK(report.failures[0].uid == 2);
    CHECK(report.failures[0].reason.find("Retrieval using the IMAP4 protocol failed") != std::string::npos);
  }
}

TEST_CASE("quirk whole-partials: a body that is given whole for each piece is not asked for in pieces") {
  for (const bool on : {true, false}) {
    ImapScene scene;
    choose(scene, Quirk::WholePartials, on);
    scene.deliver(1);
    scene.inbox->messages[0].body = Body::Missing;
    scene.imap.answer = [](const std::string& line) -> Answer {
      return line.find("BODY.PEEK[HEADER]") != std::string::npos ? Answer("NO [SERVERBUG] no header") : std::nullopt;
    };
    const auto report = scene.run();
    const bool asked = std::ranges::any_of(
        scene.imap.lines, [](const auto& line) { return line.find("BODY.PEEK[]<") != std::string::npos; });
    CHECK(asked != on);
    CHECK(report.sum.delivered == (on ? 0 : 1));
  }
}

}  // namespace
}  // namespace mailhaul::test
