// Scenarios of loss and duplication, by their numbers. What the oracle checks behind each of them: stage.h.
#include "tests/sync/stage.h"

#include <algorithm>
#include <random>

namespace mailhaul::test {
namespace {

bool asks_whole(const std::string& line) {
  return line.starts_with("UID FETCH ") && line.find("BODY.PEEK[]") != std::string::npos &&
         line.find("]<") == std::string::npos;
}
bool asks_parts(const std::string& line) {
  return line.find("BODY.PEEK[HEADER]") != std::string::npos || line.find("BODY.PEEK[TEXT]") != std::string::npos ||
         line.find("BODY.PEEK[]<") != std::string::npos;
}
bool asks_text(const std::string& line) { return asks_whole(line) || asks_parts(line); }

bool names(const std::string& line, std::uint32_t uid) {
  if (!line.starts_with("UID FETCH ")) return false;
  const auto set = mail::UidSet::parse(line.substr(10, line.find(' ', 10) - 10));
  return set && set->contains(mail::Uid{uid});
}

constexpr std::int64_t kDay = 86'400;

STORY("A2 cut sweep: 20 messages in three FETCHes that are in flight together") {
  stage.deliver(7);
  stage.mailbox("Work", 7);
  stage.mailbox("Sent", 6);
  const auto report = stage.run();
  TELLS(report.sum.delivered == 20);
  TELLS(stage.imap.most_at_once >= 6);
}

STORY("A3 FETCH OK but one UID missing: it is asked for again, and comes when it can") {
  stage.deliver(5);
  stage.inbox->messages[2].body = Body::Missing;
  stage.imap.answer = [](const std::string& line) -> Answer {
    return asks_parts(line) ? Answer("OK nothing") : std::nullopt;
  };
  auto report = stage.run();
  CHECK(stage.row_states() == "4 delivered, 1 failed");
  TELLS(report.failures.size() == 1);
  stage.inbox->messages[2].body = Body::Fine;
  stage.clock.now += kDay;
  CHECK(stage.run().sum.failed == 0);
}

STORY("A3 FETCH OK but one UID missing, once: nobody hears of it") {
  stage.deliver(5);
  stage.inbox->messages[2].body = Body::Missing;
  stage.inbox->messages[2].bad_answers = 1;
  CHECK(stage.run().complete());
}

STORY("A4 FETCH OK but one UID missing, and SEARCH does not know it either: it is gone") {
  stage.deliver(5);
  const auto lost = stage.inbox->messages[2].wire;
  stage.imap.answer = [&](const std::string& line) -> Answer {
    if (asks_whole(line) && stage.inbox->find(mail::Uid{3})) {
      stage.inbox->expunge(mail::Uid{3});
      stage.maybe(lost);
    }
    return std::nullopt;
  };
  const auto report = stage.run();
  TELLS(report.sum.gone == 1);
  CHECK(report.failures.empty());
}

STORY("A5 new mail with a MODSEQ below the cursor is collected") {
  stage.deliver(10);
  stage.inbox->modseq = 1000;
  stage.run();
  stage.deliver(1);
  stage.inbox->messages.back().modseq = 900;
  stage.inbox->modseq = 1000;
  const auto report = stage.run();
  TELLS(report.sum.delivered == 1);
}

STORY("A6 QRESYNC leaves a new UID out: the list of UIDs shows it, and no cursor moves before that") {
  stage.deliver(10);
  stage.run();
  stage.deliver(2);
  const auto before = stage.census().mailboxes.at(0).modseq;
  stage.imap.answer = [](const std::string& line) -> Answer {
    return line.starts_with("UID SEARCH") ? Answer("* ESEARCH UID ALL 12\nOK done") : std::nullopt;
  };
  (void)stage.attempt();
  if (stage.census().files.size() < 12) CHECK(stage.census().mailboxes.at(0).modseq == before);
  stage.imap.answer = {};
  CHECK(stage.run().complete());
}

STORY("A7 another UIDVALIDITY, another order, two with one Message-ID: only what is new is downloaded") {
  stage.deliver(20);
  stage.inbox->deliver(stage.letter("a copy for the list\r\n", "shared"), {}, 1'700'000'500);
  stage.inbox->deliver(stage.letter("the mail itself\r\n", "shared"), {}, 1'700'000'501);
  stage.run();
  std::mt19937_64 luck(7);
  stage.inbox->renumber(luck);
  stage.deliver(3);
  const auto bodies = stage.imap.bodies;
  const auto report = stage.run();
  TELLS(stage.imap.bodies == bodies + 3);
  TELLS(report.sum.delivered == 3);
  TELLS(report.mailboxes[0].rebound == 22);
}

STORY("A7 another UIDVALIDITY, and the headers are refused: nothing is downloaded again, the next run asks again") {
  stage.deliver(12);
  stage.run();
  std::mt19937_64 luck(7);
  stage.inbox->renumber(luck);
  stage.imap.answer = [](const std::string& line) -> Answer {
    return line.find("HEADER") != std::string::npos ? Answer("NO [UNAVAILABLE] later") : std::nullopt;
  };
  const auto bodies = stage.imap.bodies;
  const auto report = stage.run();
  CHECK(stage.imap.bodies == bodies);
  CHECK(report.mailboxes[0].error.find("could not be recognised") != std::string::npos);
  CHECK(!report.complete());
  stage.imap.answer = {};
  CHECK(stage.run().complete());
  CHECK(stage.imap.bodies == bodies);
}

STORY("A7 another UIDVALIDITY, and at first the mailbox looks empty (A11): all of it is recognised when it shows") {
  stage.deliver(12);
  stage.run();
  std::mt19937_64 luck(7);
  stage.inbox->renumber(luck);
  auto away = std::exchange(stage.inbox->messages, {});
  stage.run();
  stage.inbox->messages = away;
  const auto bodies = stage.imap.bodies;
  CHECK(stage.run().complete());
  CHECK(stage.imap.bodies == bodies);
}

STORY("A8 UIDVALIDITY changes between the look at a mailbox and its bodies") {
  stage.deliver(10);
  stage.imap.answer = [&](const std::string& line) -> Answer {
    if (line.starts_with("EXAMINE") && ++stage.count == 2) {
      std::mt19937_64 luck(8);
      stage.inbox->renumber(luck);
    }
    return std::nullopt;
  };
  (void)stage.attempt();
  stage.imap.answer = {};
  CHECK(stage.run().complete());
}

STORY("A8 UIDVALIDITY changes while a mailbox is selected: what is in flight is dropped") {
  stage.deliver(10);
  stage.imap.answer = [&](const std::string& line) -> Answer {
    if (stage.told || !asks_whole(line)) return std::nullopt;
    stage.told = true;
    std::mt19937_64 luck(8);
    stage.inbox->renumber(luck);
    const auto& wire = stage.inbox->messages[4].wire;  // under a UID that meant another one
    return "* OK [UIDVALIDITY " + std::to_string(stage.inbox->validity) +
           "] it was rebuilt\n* 5 FETCH (UID 5 BODY[] {" + std::to_string(wire.size()) + "}\r\n" + wire + ")\nOK done";
  };
  (void)stage.attempt();
  CHECK(stage.told);
  stage.imap.answer = {};
  CHECK(stage.run().complete());
}

STORY("A9 UIDVALIDITY is 0, absent, longer than 32 bits or than 64") {
  stage.imap.capabilities = "IMAP4rev1 NAMESPACE ESEARCH LIST-EXTENDED LIST-STATUS";
  stage.server.traits.condstore = false;
  for (const auto* validity : {"0", "", "1666390893380", "99999999999999999999"})
    stage.mailbox("V" + std::string(validity).substr(0, 2), 4).validity_as = validity;
  CHECK(stage.run().complete());
  for (auto& box : stage.server.mailboxes) stage.deliver(box, 1);
  CHECK(stage.run().complete());
}

STORY("A9 UIDs that mean other messages, and no UIDVALIDITY that tells: recognised by what they are") {
  stage.imap.capabilities = "IMAP4rev1 NAMESPACE ESEARCH LIST-EXTENDED LIST-STATUS";
  stage.server.traits.condstore = false;
  auto& quiet = stage.mailbox("quiet", 5);
  quiet.validity_as = "";
  auto& honest = stage.mailbox("honest", 5);
  honest.sticky = false;
  CHECK(stage.run().complete());
  const auto bodies = stage.imap.bodies;
  const auto turn = [](ModelMailbox& box, std::uint32_t first) {
    std::ranges::reverse(box.messages);
    for (auto& message : box.messages) message.uid = mail::Uid{first++};
    box.next_uid = first;
  };
  turn(quiet, 1);
  turn(honest, 100);
  const auto report = stage.run();
  CHECK(report.complete());
  TELLS(stage.imap.bodies == bodies);
  for (const auto& box : report.mailboxes) TELLS(box.by_content.empty() == (box.name == "INBOX"));
  stage.deliver(quiet, 1);
  stage.deliver(honest, 1);
  CHECK(stage.run().complete());
  TELLS(stage.imap.bodies == bodies + 2);
}

STORY("A9 UIDVALIDITY is another one each session") {
  stage.deliver(10);
  stage.imap.answer = [&](const std::string& line) -> Answer {
    if (line.starts_with("LOGIN") || line.starts_with("AUTHENTICATE")) ++stage.inbox->validity;
    return std::nullopt;
  };
  CHECK(stage.run().complete());
  const auto bodies = stage.imap.bodies;
  for (int i = 0; i < 6; ++i) CHECK(stage.run().complete());
  TELLS(stage.imap.bodies == bodies);
  stage.deliver(1);
  CHECK(stage.run().complete());
  const auto report = stage.run();
  TELLS(stage.imap.bodies == bodies + 1);
  TELLS(report.mailboxes.at(0).by_content.find("times within a day") != std::string::npos);
  stage.restless = true;
  stage.imap.answer = {};
}

STORY("A14 NO to every batch with UID 7: the rest comes, 7 waits for its hour and is delivered then") {
  stage.deliver(12);
  stage.imap.answer = [](const std::string& line) -> Answer {
    return names(line, 7) && asks_text(line) ? Answer("NO [UNAVAILABLE] Server error while fetching messages")
                                             : std::nullopt;
  };
  stage.never(7);
  const auto report = stage.run();
  TELLS(report.failures.at(0).next_try == stage.clock.now + 3600);
  stage.run();
  CHECK(stage.row_states() == "11 delivered, 1 failed");
  stage.clock.now += kDay;
  stage.run();
  CHECK(stage.row_states() == "11 delivered, 1 failed");
  stage.imap.answer = {};
  stage.clock.now += kDay;
  stage.in_time(7);
  CHECK(stage.run().complete());
}

STORY("A14 NO to every batch with UID 7, and it stays so") {
  stage.deliver(8);
  stage.imap.answer = [](const std::string& line) -> Answer {
    return names(line, 7) && asks_text(line) ? Answer("NO [UNAVAILABLE] Server error while fetching messages")
                                             : std::nullopt;
  };
  stage.never(7);
  stage.run();
}

STORY("A15 the server hangs up in mid-literal whenever UID 7 is asked for") {
  stage.deliver(10);
  stage.settings.reconnects = 100;
  stage.inbox->messages[6].body = Body::Drops;
  stage.imap.answer = [](const std::string& line) -> Answer {
    return names(line, 7) && asks_parts(line) ? Answer("") : std::nullopt;
  };
  stage.never(7);
  stage.run();
  CHECK(stage.row_states() == "9 delivered, 1 failed");
}

STORY("A16 Exchange: OK with nothing, then a placeholder; it is not the message") {
  stage.imap.greeting = "OK The Microsoft Exchange IMAP4 service is ready.";
  stage.deliver(4);
  stage.inbox->messages[1].body = Body::Missing;
  stage.inbox->messages[1].bad_answers = 2;
  stage.imap.placeholder_for = {2};
  stage.imap.answer = [](const std::string& line) -> Answer {
    return names(line, 2) && asks_parts(line) ? Answer("OK nothing") : std::nullopt;
  };
  stage.never(2);
  const auto report = stage.run();
  TELLS(report.failures.at(0).reason.find("Retrieval using the IMAP4 protocol failed") != std::string::npos);
}

STORY("A17 RFC822.SIZE is wrong both ways, 0, absent or no number; the literals are right") {
  stage.deliver(12);
  stage.settings.policy.max_size = 100'000'000;  // sizes are asked for
  for (std::uint32_t uid = 1; uid <= 12; ++uid) {
    const auto size = stage.inbox->messages[uid - 1].wire.size();
    const std::string lies[] = {std::to_string(size * 3), std::to_string(size * 7 / 10), "0", "", "4.2e+06", "-1"};
    stage.imap.size_as[uid] = lies[uid % 6];
  }
  const auto report = stage.run();
  CHECK(report.complete());
  TELLS(stage.imap.bodies == 12);
}

STORY("A18 literals that are announced longer or shorter than they are, once each") {
  stage.deliver(40);
  stage.settings.reconnects = 100;
  for (int i = 0; i < 40; ++i) stage.imap.literal_lie[static_cast<std::uint32_t>(i + 1)] = i < 20 ? i - 21 : i - 18;
  stage.imap.lying_literals = 40;
  stage.imap.literal_lie.erase(20);  // -2: Domino's way of counting, not to be told from it
  CHECK(stage.run().complete());
}

STORY("A18 literals that are always announced wrongly") {
  stage.deliver(8);
  stage.settings.reconnects = 100;
  stage.imap.literal_lie = {{3, 25}, {6, -10}};
  stage.imap.answer = [](const std::string& line) -> Answer {
    return asks_parts(line) ? Answer("NO not in parts") : std::nullopt;
  };
  stage.never(3);
  stage.never(6);
  stage.run();
}

STORY("A18 a literal that swallows the rest of its response and the tagged reply") {
  stage.settings.reconnects = 100;
  stage.deliver(3);
  // ")", CRLF, a tag of up to six octets, a blank and "OK"
  for (int octets = 8; octets <= 14; ++octets) {
    stage.imap.literal_lie = {{static_cast<std::uint32_t>(stage.inbox->next_uid - 1), octets}};
    stage.imap.lying_literals = 1;
    (void)stage.attempt();
    stage.deliver(1);
  }
  stage.imap.literal_lie.clear();
  CHECK(stage.run().complete());
}

STORY("A19 EXPUNGE, VANISHED and EXISTS between the responses of a FETCH") {
  stage.deliver(20);
  stage.imap.noise = [&]() -> std::string {
    const char* noise[] = {"* 3 EXPUNGE\r\n", "* VANISHED 4:5\r\n", "* 19 EXISTS\r\n", "", "* 1 EXPUNGE\r\n"};
    return stage.imap.count("UID FETCH") > 0 ? noise[++stage.count % 5] : "";
  };
  (void)stage.attempt();
  stage.imap.noise = {};
  stage.clock.now += kDay;
  CHECK(stage.run().complete());
}

STORY("A20 the body of UID 6 comes as that of UID 5, once") {
  if (stage.swept()) return;  // told apart are messages of one batch; a cut may part them
  stage.deliver(8);
  stage.imap.body_of[5] = 6;
  stage.imap.answer = [&](const std::string& line) -> Answer {
    if (names(line, 5) && asks_text(line) && ++stage.count > 1) stage.imap.body_of.clear();
    return std::nullopt;
  };
  stage.run();
  CHECK(stage.run().complete());
}

STORY("A20 the body of UID 6 comes as that of UID 5, always: never two copies of it") {
  if (stage.swept()) return;  // told apart are messages of one batch; a cut may part them
  stage.deliver(8);
  stage.imap.body_of[5] = 6;
  stage.never(5);
  stage.run();
  // Asked for alone it is not another one's twin: what came in its place once is not believed without its header.
  stage.clock.now += kDay;
  stage.run();
}

STORY("A20 two messages that are the same are two messages") {
  stage.deliver(3);
  const auto twin = stage.letter();
  stage.inbox->deliver(twin, {}, 1'700'000'100);
  stage.inbox->deliver(twin, {}, 1'700'000'101);
  stage.deliver(3);
  const auto report = stage.run();
  CHECK(report.complete());
}

STORY("A21 flags in a second FETCH behind the body, and a FETCH that nobody asked for") {
  stage.deliver(10);
  mail::FlagSet seen;
  seen.add("\\Seen");
  stage.imap.noise = [&]() -> std::string {
    if (stage.imap.bodies == 0 || ++stage.count > 10) return "";
    auto& message = stage.inbox->messages[static_cast<std::size_t>(stage.count - 1)];
    if (stage.count % 3 == 0) return "* 99 FETCH (UID 99999 FLAGS (\\Deleted) BODY[] {3}\r\nabc)\r\n";
    stage.inbox->set_flags(message, seen);
    return "* 1 FETCH (UID " + std::to_string(message.uid.value) + " FLAGS (\\Seen))\r\n";
  };
  stage.run();
  stage.imap.noise = {};
  CHECK(stage.run().complete());
}

STORY("A22 EXISTS is 0 for one poll, LIST lacks half of the mailboxes: nothing is removed") {
  stage.settings.policy.on_source_delete = sync::OnSourceDelete::Remove;
  stage.settings.policy.grace = 0;
  stage.deliver(20);
  for (int i = 0; i < 6; ++i) stage.mailbox("box" + std::to_string(i), 3);
  stage.run();
  stage.clock.now += kDay;
  stage.inbox->exists_lie = -20;
  stage.inbox->lying_answers = 1;
  (void)stage.attempt();
  stage.clock.now += kDay;
  auto all = stage.server.mailboxes.size();
  stage.imap.answer = [&](const std::string& line) -> Answer {
    if (!line.starts_with("LIST")) return std::nullopt;
    return "* LIST () \"/\" INBOX\n* LIST () \"/\" box0\n* LIST () \"/\" box1\nOK done";
  };
  const auto report = stage.run();
  TELLS(report.unlisted.size() == all - 3);
  stage.imap.answer = {};
  stage.clock.now += 8 * kDay;
  stage.run();
}

STORY("A22 a mailbox shows nothing at all for one poll, and says so: held, not removed") {
  stage.settings.policy.on_source_delete = sync::OnSourceDelete::Remove;
  stage.settings.policy.grace = 3600;
  stage.settings.policy.fuse_messages = 5;
  stage.deliver(20);
  stage.run();
  auto away = std::exchange(stage.inbox->messages, {});
  stage.clock.now += kDay;
  stage.run();
  stage.clock.now += kDay;
  const auto report = stage.run();
  TELLS(!report.mailboxes[0].held.empty());
  stage.inbox->messages = away;
  stage.clock.now += kDay;
  stage.run();
}

STORY("A23 30 % vanish: held; one vanishes: removed after the grace period") {
  stage.settings.policy.on_source_delete = sync::OnSourceDelete::Remove;
  stage.settings.policy.grace = kDay;
  stage.settings.policy.fuse_messages = 5;
  stage.deliver(20);
  auto& work = stage.mailbox("Work", 10);
  stage.run();
  for (std::uint32_t uid = 1; uid <= 6; ++uid) stage.expunge(*stage.inbox, uid);
  stage.maybe(work.messages[0].wire);
  work.expunge(mail::Uid{1});
  stage.run();
  stage.clock.now += 2 * kDay;
  const auto report = stage.run();
  TELLS(!report.mailboxes[0].held.empty());
  TELLS(report.mailboxes[1].removed == 1);
  CHECK(stage.census().files.size() == 29);
}

STORY("A30 Yahoo shows all of it to UIDONLY, so many messages a command") {
  stage.imap.capabilities = "IMAP4rev1 ENABLE UIDONLY MESSAGELIMIT=30";
  stage.imap.shown_without_uid_only = 20;
  stage.imap.message_limit = 30;
  stage.deliver(100);
  const auto report = stage.run();
  TELLS(report.sum.delivered == 100);
}

STORY("A31 UIDNEXT and HIGHESTMODSEQ go back though UIDVALIDITY stays") {
  stage.deliver(20);
  stage.run();
  for (const std::uint32_t uid : {20U, 19U, 18U}) stage.expunge(*stage.inbox, uid);
  stage.inbox->next_uid = 18;
  stage.inbox->modseq = 17;
  stage.run();
  stage.deliver(1);
  stage.run();
}

STORY("A31 no HIGHESTMODSEQ, 0, less than 0, NOMODSEQ; a code without a text") {
  stage.deliver(6);
  stage.run();
  stage.imap.answer = [&](const std::string& line) -> Answer {
    if (!line.starts_with("EXAMINE \"INBOX\"")) return std::nullopt;
    const char* says[] = {"* OK [HIGHESTMODSEQ 0]", "* OK [HIGHESTMODSEQ -1] none", "* OK [NOMODSEQ]",
                          "* OK [HIGHESTMODSEQ]"};
    return "* " + std::to_string(stage.inbox->messages.size()) + " EXISTS\n* OK [UIDVALIDITY 1]\n* OK [UIDNEXT " +
           std::to_string(stage.inbox->next_uid) + "]\n" + says[stage.count++ % 4] + "\nOK [READ-ONLY]";
  };
  // The answers above select nothing in the model: the mailbox is opened for it beforehand.
  (void)stage.attempt();
  stage.imap.answer = {};
  mail::FlagSet flagged;
  flagged.add("\\Flagged");
  stage.inbox->set_flags(stage.inbox->messages[2], flagged);
  stage.deliver(1);
  CHECK(stage.run().complete());
}

STORY("A32 UIDs are given out again under one UIDVALIDITY: both messages are kept") {
  stage.deliver(20);
  stage.run();
  for (const std::uint32_t uid : {20U, 19U, 18U}) stage.expunge(*stage.inbox, uid);
  stage.inbox->next_uid = 18;
  stage.inbox->modseq = 17;
  stage.deliver(3);
  stage.clock.now += kDay;
  stage.run();
}

STORY("A33 a gap of UIDs that nothing fills is no news") {
  stage.deliver(10);
  stage.inbox->next_uid += 420'000;
  CHECK(stage.run().complete());
  const auto lines = stage.imap.lines.size();
  CHECK(stage.run().complete());
  TELLS(stage.imap.lines.size() - lines <= 8);
  TELLS(stage.troubles.empty());
  stage.deliver(1);
  CHECK(stage.run().complete());
}

}  // namespace
}  // namespace mailhaul::test
