// What a run tells people and programs.
#include "collector/report_text.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "collector/progress.h"

using namespace mailhaul;
using namespace mailhaul::collector;

namespace {

sync::MailboxReport mailbox(std::string name, std::uint64_t delivered, std::uint64_t already) {
  sync::MailboxReport out;
  out.name = std::move(name);
  out.count.listed = delivered + already;
  out.count.delivered = delivered;
  out.count.already = already;
  out.exists = out.count.listed;
  return out;
}

sync::Report of(std::vector<sync::MailboxReport> mailboxes) {
  sync::Report out;
  out.mailboxes = std::move(mailboxes);
  for (const auto& m : out.mailboxes) out.sum.add(m.count);
  return out;
}

bool holds(const std::string& text, std::string_view what) { return text.find(what) != std::string::npos; }

}  // namespace

TEST_CASE("report: complete only when everything is accounted for") {
  auto report = of({mailbox("INBOX", 2, 3)});
  CHECK(report.complete());
  auto more_at_source = report;
  more_at_source.mailboxes[0].exists = 6;
  CHECK_FALSE(more_at_source.complete());
  CHECK(holds(report_text(more_at_source, false), "the server says 6 messages, the ledger has 5"));
  auto unread = report;
  unread.mailboxes[0].error = "NO [NOPERM] not yours";
  CHECK_FALSE(unread.complete());
  CHECK(holds(report_text(unread, false), "not read: NO [NOPERM] not yours"));
  auto failed = report;
  failed.sum.failed = 1;
  failed.failures.push_back({"INBOX", 7, "no body", 1700000000});
  CHECK_FALSE(failed.complete());
  CHECK(holds(report_text(failed, false), "failed: INBOX UID 7: no body; tried again after 2023-11-14 22:13 UTC"));
  auto pending = report;
  pending.sum.pending = 1;
  CHECK_FALSE(pending.complete());
  auto stopped = report;
  stopped.stopped = true;
  CHECK_FALSE(stopped.complete());
}

TEST_CASE("report: a long list shows what has news and counts the rest") {
  std::vector<sync::MailboxReport> many;
  for (int i = 0; i < 100; ++i) many.push_back(mailbox("m" + std::to_string(i), i == 42 ? 1 : 0, 1));
  const auto text = report_text(of(many), false);
  CHECK(holds(text, "m42 "));
  CHECK_FALSE(holds(text, "m41 "));
  CHECK(holds(text, "and 99 mailboxes without news"));
}

TEST_CASE("report: a hostile mailbox name neither moves the cursor nor breaks the JSON") {
  auto report = of({mailbox("a\x1b[2Jb\xFF", 1, 0)});
  report.failures.push_back({"\xC3", 1, "bad \x80 octets", 0});
  CHECK_FALSE(holds(report_text(report, false), "\x1b"));
  const auto object = nlohmann::json::parse(report_json(report, false));
  CHECK(object["event"] == "report");
  CHECK(object["mailboxes"][0]["listed"] == 1);
  CHECK(object["sum"]["delivered"] == 1);
  CHECK(object["failures"][0]["uid"] == 1);
}

TEST_CASE("progress: figures for people") {
  CHECK(human_octets(0) == "0 B");
  CHECK(human_octets(999) == "999 B");
  CHECK(human_octets(1000) == "1.0 kB");
  CHECK(human_octets(999'949) == "999.9 kB");
  CHECK(human_octets(999'951) == "1.0 MB");
  CHECK(human_octets(5'000'000'000'000'000) == "5000.0 TB");
  CHECK(human_seconds(0.4) == "0:00");
  CHECK(human_seconds(59.6) == "1:00");
  CHECK(human_seconds(3599.4) == "59:59");
  CHECK(human_seconds(3600) == "1 h 0 min");
}

TEST_CASE("progress: the bar fits its line, whatever it has to show") {
  Snapshot at{5000, 20000, 12'000'000, 2.0, "Gr\u00FC\u00DFe/2019"};
  CHECK(progress_bar(at, 120) ==
        "[=====>              ]  5,000/20,000  12.0 MB  2,500/s  6.0 MB/s  ETA 0:06  Gr\u00FC\u00DFe/2019");
  for (std::size_t columns = 1; columns < 120; ++columns) {
    std::size_t used = 0;
    for (const char c : progress_bar(at, columns)) used += (static_cast<unsigned char>(c) & 0xC0U) != 0x80U ? 1 : 0;
    CHECK(used <= columns);
  }
  at.messages = at.total;
  CHECK(holds(progress_bar(at, 120), "[====================]"));
  CHECK_FALSE(holds(progress_bar(at, 120), "ETA"));
  at.total = 0;
  CHECK(progress_bar(at, 120).starts_with("20,000  12.0 MB"));
}

TEST_CASE("progress: a thousand failures do not scroll the screen away") {
  std::FILE* file = std::tmpfile();
  REQUIRE(file);
  {
    Progress progress(file, ProgressStyle::Lines);
    for (std::uint32_t uid = 1; uid <= 1000; ++uid) progress.on(sync::MessageFailed{"INBOX", uid, "no body"});
  }
  std::rewind(file);
  int lines = 0;
  for (int c = std::fgetc(file); c != EOF; c = std::fgetc(file)) lines += c == '\n' ? 1 : 0;
  std::fclose(file);
  CHECK(lines == 11);
}

TEST_CASE("report: two sessions with a source that shows its mail in windows, told as one") {
  // 250 of 600 in the first; hidden from the second, which brings 250 more.
  auto first = of({mailbox("INBOX", 250, 10)});
  auto second = of({mailbox("INBOX", 250, 10)});
  second.mailboxes[0].count.gone = 250;
  second.mailboxes[0].count.listed = 510;
  second.mailboxes[0].exists = 260;
  const auto both = sync::joined(first, second);
  CHECK(both.sum.delivered == 500);
  CHECK(both.sum.already == 10);
  CHECK(both.sum.gone == 0);
  CHECK(both.sum.listed == 510);
  CHECK(both.complete());
  // Nothing is hidden: what the first delivered the second has already.
  const auto same = sync::joined(of({mailbox("INBOX", 300, 0)}), of({mailbox("INBOX", 0, 300)}));
  CHECK(same.sum.delivered == 300);
  CHECK(same.sum.already == 0);
  CHECK(same.sum.listed == 300);
  CHECK(same.complete());
}
