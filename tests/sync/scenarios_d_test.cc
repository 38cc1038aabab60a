// Scenarios of syntax, names and octets, by their numbers.
#include "tests/sync/stage.h"

#include <algorithm>

namespace mailhaul::test {
namespace {

std::string number(const ModelMessage& message) { return std::to_string(message.uid.value); }

STORY("D51 bodies as literals of each form, quoted, in any order and case; BODY[]<0>; RFC822") {
  stage.deliver(8);
  for (auto& message : stage.inbox->messages)
    if (message.uid.value == 4) message.wire = "Subject: \\ \"four\" and nothing else";
  stage.imap.body_as = [&](const ModelMessage& message) -> Answer {
    const auto date = std::string(" INTERNALDATE \"14-Nov-2023 22:13:2") + number(message) + " +0000\"";
    const auto octets = std::to_string(message.wire.size());
    const auto begin = "* 1 FETCH (UID " + number(message);
    std::string quoted = "\"";
    for (const char c : message.wire) (quoted += c == '"' || c == '\\' ? "\\" : "") += c;
    switch (message.uid.value) {
      case 1:
        return begin + date + " BODY[] {" + octets + "+}\r\n" + message.wire + ")";
      case 2:
        return begin + date + " BODY[] ~{" + octets + "}\r\n" + message.wire + ")";
      case 3:
        return "* 1 FETCH (BODY[] {" + octets + "}\r\n" + message.wire + " UID 3" + date + ")";
      case 4:
        return begin + date + " BODY[] " + quoted + "\")";
      case 5:
        return "*  1  fetch  (  body[]  {" + octets + "}\r\n" + message.wire + "  flags  ()  uid  5 " + date + " )";
      case 6:
        return begin + date + " BODY[]<0> {" + octets + "}\r\n" + message.wire + ")";
      case 7:
        return begin + date + " RFC822 {" + octets + "}\r\n" + message.wire + " FLAGS ())";
      default:
        return std::nullopt;
    }
  };
  for (auto& message : stage.inbox->messages) message.date = 1'700'000'000 + message.uid.value;
  CHECK(stage.run().complete());
}

STORY("D51 bodies that are NIL, empty, without a value or not there: none is the message") {
  stage.deliver(6);
  stage.imap.body_as = [&](const ModelMessage& message) -> Answer {
    const auto begin = "* 1 FETCH (UID " + number(message);
    switch (message.uid.value) {
      case 1:
        return begin + " BODY[] NIL)";
      case 2:
        return begin + " BODY[] {0}\r\n)";
      case 3:
        return begin + " BODY[] \"\")";
      case 4:
        return begin + " BODY[])";
      case 5:
        return begin + " FLAGS ())";
      default:
        return std::nullopt;
    }
  };
  stage.imap.answer = [](const std::string& line) -> Answer {
    const bool parts = line.find("BODY.PEEK[HEADER]") != std::string::npos || line.find("[]<") != std::string::npos;
    return parts ? Answer("NO not so either") : std::nullopt;
  };
  for (std::uint32_t uid = 1; uid <= 5; ++uid) stage.never(uid);
  stage.run();
  stage.run();
  stage.imap.answer = {};
  stage.imap.body_as = {};
  stage.clock.now += 8 * 86'400;
  for (std::uint32_t uid = 1; uid <= 5; ++uid) stage.in_time(uid);
  CHECK(stage.run().complete());
}

STORY("D52 noise at each position: data of no message, unknown data, blank lines, NULs, tabs, odd codes") {
  stage.deliver(8);
  stage.mailbox("Work", 3);
  static const std::string noise[] = {"* 0 FETCH (FLAGS ())\r\n",
                                      "* BAD your clock is wrong\r\n",
                                      "* NO disk is nearly full\r\n",
                                      "* OK [WEIRD x[y]] text\r\n",
                                      "\r\n",
                                      std::string("\0\0\r\n", 4),
                                      "\t\r\n",
                                      "* FOO bar (baz \"\") {3}\r\nabc\r\n",
                                      "* 12 FOO\r\n",
                                      "* \r\n",
                                      "*\r\n"};
  stage.imap.noise = [&]() -> std::string {
    ++stage.count;
    return noise[static_cast<std::size_t>(stage.count) % std::size(noise)] +
           noise[static_cast<std::size_t>(stage.count * 7 + 3) % std::size(noise)];
  };
  CHECK(stage.run().complete());
  stage.deliver(2);
  CHECK(stage.run().complete());
}

STORY("D52 a line of half a megabyte that means nothing") {
  stage.deliver(3);
  stage.imap.noise = [&]() -> std::string {
    return ++stage.count % 17 == 0 ? "* FOO " + std::string(500'000, 'x') + "\r\n" : "";
  };
  CHECK(stage.run().complete());
}

STORY("D53 octets: NUL, bare LF and CR, no header end, long lines, 8 bits, no last line end, 'From ', nothing at all") {
  const std::string mails[] = {
      std::string("Subject: nul\r\n\r\na\0b\r\n", 22),
      "Subject: bare lf\r\n\r\none\ntwo\nthree\r\n",
      "Subject: bare cr\r\n\r\none\rtwo\r\r\nthree\r\n",
      "Subject: only LF\n\nbody\n",
      "Subject: no header end\r\nX: y\r\n",
      "no header at all",
      "Subject: long\r\n\r\n" + std::string(100'000, 'x') + "\r\n",
      "Subject: \xe4\xf6\xfc \xff\xfe\r\n\r\n\x80\x81\r\n",
      "Subject: no last line end\r\n\r\nend",
      "Subject: dots\r\n\r\n.\r\n..\r\n.x\r\n",
      "From me@example.org Thu Jan  1 00:00:00 1970\r\nSubject: mbox\r\n\r\nFrom the start\r\n",
      "\r\n",
      "\r\n\r\n",
      ".",
      std::string(1, '\0'),
      "Subject: looks like protocol\r\n\r\n* 3 FETCH (UID 3 BODY[] {5}\r\nabcde)\r\nA12 OK done\r\n",
      "",
  };
  for (const auto& mail : mails) stage.inbox->deliver(mail, {}, 1'700'000'000);
  CHECK(stage.run().complete());
}

STORY("D55 dates: impossible, out of range, without a zone, padded or not, absent: the mail is kept") {
  stage.deliver(12);
  const char* dates[] = {"00-Jan-0000 00:00:00 +0000",
                         "31-Feb-2024 10:00:00 +0000",
                         "01-Jan-1899 00:00:00 +0000",
                         "01-Jan-2099 00:00:00 +0000",
                         " 1-Feb-2024 10:00:00 +0000",
                         "1-Feb-2024 10:00:00 +0000",
                         "01-Feb-2024 10:00:00",
                         "",
                         "rubbish",
                         "01-02-2024 10:00:00 +0000",
                         "01-Feb-2024 10:00:00 +9999",
                         "29-Feb-2023 99:99:99 +0000"};
  for (std::uint32_t uid = 1; uid <= 12; ++uid) stage.imap.date_as[uid] = dates[uid - 1];
  CHECK(stage.run().complete());
  const auto now = stage.census();
  for (const auto& file : now.files) {
    CHECK(file.modified > 0);
    CHECK(file.modified <= stage.clock.now + 2 * 86'400);
  }
}

STORY(
    "D56 cve_2021_20247, cve_2018_14355 names: raw UTF-8 and Latin-1, bad modified UTF-7, blanks, TAB, '..', 300 "
    "octets, twins, odd delimiters") {
  stage.deliver(2);
  const std::string names[] = {"Entw\xc3\xbcrfe",
                               "Entw\xfcrfe",
                               "bad &mUTF7",
                               "bad &AAA",
                               "& and &",
                               "trailing ",
                               " leading",
                               "tab\there",
                               "..",
                               ".",
                               "a.b.c",
                               "~root",
                               "x/../y",
                               "x//y",
                               "/x",
                               "y/",
                               std::string(300, 'n'),
                               "Twin",
                               "TWIN",
                               "caf\xc3\xa9",
                               "cafe\xcc\x81",
                               "with \"quotes\" and \\",
                               "cur",
                               "new/tmp",
                               "mailhaul",
                               "Inbox",
                               "INBOX/Sub",
                               "percent %",
                               "star *",
                               "(paren)"};
  for (const auto& name : names) stage.mailbox(name, 1);
  auto& flat = stage.mailbox("fl/at", 1);
  flat.delimiter = '.';
  auto& parent = stage.mailbox("Parent");
  parent.selectable = false;
  stage.mailbox("Parent/Child", 1);
  CHECK(stage.run().complete());
  for (auto& box : stage.server.mailboxes)
    if (box.selectable) stage.deliver(box, 1);
  CHECK(stage.run().complete());
}

STORY("D56 one mailbox that cannot be opened, and a line without its closing quote, stop no other") {
  stage.deliver(2);
  stage.mailbox("Bad", 2);
  stage.mailbox("Good", 2);
  stage.imap.answer = [](const std::string& line) -> Answer {
    return line.starts_with("EXAMINE \"Bad\"") ? Answer("NO [SERVERBUG] not this one") : std::nullopt;
  };
  stage.imap.noise = [&]() -> std::string {
    if (stage.imap.count("LIST") == 0 || std::exchange(stage.told, true)) return "";
    return "* LIST () \"/\" \"Broken\r\n";
  };
  stage.never(1, "Bad");
  stage.never(2, "Bad");
  const auto report = stage.run();
  TELLS(report.sum.delivered == 4);
}

STORY("D58 flags: \\Recent and unknown ones are none of ours, keywords of every kind are kept") {
  stage.deliver(5);
  stage.imap.body_as = [&](const ModelMessage& message) -> Answer {
    if (message.uid.value != 3) return std::nullopt;
    return "* 1 FETCH (UID 3 FLAGS (\\Recent \\Seen \\Forwarded \\X-Strange $NotJunk) INTERNALDATE \"14-Nov-2023 "
           "22:13:23 +0000\" BODY[] {" +
           std::to_string(message.wire.size()) + "}\r\n" + message.wire + ")";
  };
  mail::FlagSet three;
  three.add("\\Seen");
  three.add("$NotJunk");
  auto& message = stage.inbox->messages[2];
  message.flags = three;
  message.date = 1'700'000'003;
  mail::FlagSet odd;
  for (const auto* keyword : {"$MDNSent", "NonJunk", "EmailswithStickyNotes:FLAG51135", "caf\xc3\xa9", "a[b]"})
    odd.add(keyword);
  stage.inbox->set_flags(stage.inbox->messages[0], odd);
  CHECK(stage.run().complete());
  CHECK(stage.run().sum.delivered == 0);
}

}  // namespace
}  // namespace mailhaul::test
