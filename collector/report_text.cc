#include "collector/report_text.h"

#include <algorithm>
#include <array>
#include <ctime>
#include <nlohmann/json.hpp>

#include "collector/progress.h"
#include "protocols/base/types.h"

namespace mailhaul::collector {
namespace {

constexpr std::size_t kLongList = 60;

nlohmann::json to_json(const sync::Count& c) {
  return {{"listed", c.listed}, {"delivered", c.delivered}, {"already", c.already}, {"excluded", c.excluded},
          {"failed", c.failed}, {"pending", c.pending},     {"gone", c.gone},       {"bytes", c.bytes}};
}

std::string time_text(std::int64_t unix_seconds) {
  const auto at = static_cast<std::time_t>(unix_seconds);
  std::tm parts{};
  std::array<char, 32> buffer{};
  if (!gmtime_r(&at, &parts) || std::strftime(buffer.data(), buffer.size(), "%Y-%m-%d %H:%M UTC", &parts) == 0)
    return "?";
  return buffer.data();
}

std::size_t columns_of(const std::string& utf8) {
  return static_cast<std::size_t>(
      std::ranges::count_if(utf8, [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }));
}

std::string padded(const std::string& text, std::size_t columns) {
  const auto have = columns_of(text);
  return have < columns ? text + std::string(columns - have, ' ') : text;
}

void row(std::string& out, const std::string& name, std::size_t columns, const sync::Count& c) {
  out += padded(name, columns);
  for (const auto n : {c.listed, c.delivered, c.already, c.excluded, c.failed, c.pending, c.gone}) {
    const auto text = std::to_string(n);
    out += std::string(text.size() < 10 ? 10 - text.size() : 1, ' ') + text;
  }
  const auto size = human_octets(c.bytes);
  out += std::string(size.size() < 11 ? 11 - size.size() : 1, ' ') + size + "\n";
}

bool quiet(const sync::MailboxReport& m) {
  const auto& c = m.count;
  return m.error.empty() && c.delivered + c.failed + c.pending == 0 &&
         m.flags + m.removed + m.marked + m.deleted == 0 && m.held.empty() && m.sums_up();
}

}  // namespace

std::string report_text(const sync::Report& report, bool dry_run) {
  std::string out;
  std::size_t columns = 12, hidden = 0;
  const bool brief = report.mailboxes.size() > kLongList;
  const auto label = [](const sync::MailboxReport& m) {
    return printable(m.name) + (m.home.empty() ? "" : " → " + printable(m.home));
  };
  for (const auto& m : report.mailboxes)
    if (!(brief && quiet(m))) columns = std::max(columns, columns_of(label(m)));
  columns = std::min<std::size_t>(columns, 48);
  out += padded("mailbox", columns) +
         "    listed delivered   already  excluded    failed   pending      gone      bytes\n";
  std::uint64_t flags = 0, removed = 0, marked = 0, deleted = 0;
  for (const auto& m : report.mailboxes) {
    flags += m.flags;
    removed += m.removed;
    deleted += m.deleted;
    marked += m.marked;
    if (brief && quiet(m)) {
      ++hidden;
      continue;
    }
    row(out, label(m), columns, m.count);
    if (!m.error.empty())
      out += "    not read: " + m.error + "\n";
    else if (!m.sums_up())
      out += "    the server says " + std::to_string(*m.exists) + " messages, the ledger has " +
             std::to_string(m.count.listed - m.count.gone) + "; the next run looks again\n";
  }
  if (hidden > 0) out += "… and " + std::to_string(hidden) + " mailboxes without news\n";
  row(out, "sum", columns, report.sum);
  if (deleted > 0)
    out +=
        "deleted " + std::to_string(deleted) + " messages at the source; their copies were read again and are whole\n";
  if (removed > 0)
    out += "removed " + std::to_string(removed) + " copies of messages that have vanished at the source\n";
  if (marked > 0)
    out += "marked " + std::to_string(marked) + " copies $SourceGone: their messages have vanished at the source\n";
  for (const auto& m : report.mailboxes)
    if (!m.held.empty())
      out += "held: " + printable(m.name) + ": " + m.held +
             "; no copy is touched there until you say: mailhaul collect --release-hold '" + printable(m.name) + "'\n";
  for (const auto& m : report.mailboxes)
    if (!m.by_content.empty())
      out += "recognised by content: " + printable(m.name) + ": " + m.by_content +
             "; what it holds is compared by date, size and header at each run\n";
  for (const auto& m : report.mailboxes)
    if (!m.renamed_from.empty())
      out += "renamed at the source: " + printable(m.renamed_from) + " is " + printable(m.name) +
             " now; its copies stay where they are\n";
  for (const auto& name : report.unlisted)
    out += "not listed by the server: " + printable(name) + "; whether it still exists is unknown, its copies stay\n";
  if (flags > 0) out += "flags levelled on " + std::to_string(flags) + " messages\n";
  for (const auto& f : report.failures)
    out += "failed: " + printable(f.mailbox) + " UID " + std::to_string(f.uid) + ": " + f.reason +
           "; tried again after " + time_text(f.next_try) + "\n";
  if (dry_run) out += "dry run: nothing was written; pending is what a run would deliver\n";
  if (!report.error.empty()) out += "stopped early: " + report.error + "\n";
  if (const auto& budget = report.budget) {
    const auto days = budget->waiting / std::max<std::uint64_t>(budget->octets, 1) + 1;
    out += "the day's allowance of " + human_octets(budget->octets) +
           " is used up (--daily-bytes): " + std::to_string(report.sum.pending) + " messages, about " +
           human_octets(budget->waiting) + ", wait; run again after " + time_text(budget->again) +
           ", all is here after about " + std::to_string(days) + (days == 1 ? " more day\n" : " more days\n");
  }
  if (report.come_back != 0)
    out += "the server wants to be left alone: run again after " + time_text(report.come_back) + "\n";
  return out;
}

std::string report_json(const sync::Report& report, bool dry_run) {
  nlohmann::json out{{"event", "report"},
                     {"complete", report.complete()},
                     {"stopped", report.stopped},
                     {"dry_run", dry_run},
                     {"error", report.error.empty() ? nlohmann::json() : nlohmann::json(report.error)},
                     {"come_back", report.come_back == 0 ? nlohmann::json() : nlohmann::json(report.come_back)},
                     {"budget", !report.budget ? nlohmann::json()
                                               : nlohmann::json{{"octets", report.budget->octets},
                                                                {"again", report.budget->again},
                                                                {"waiting", report.budget->waiting}}},
                     {"mailboxes", nlohmann::json::array()},
                     {"sum", to_json(report.sum)},
                     {"unlisted", report.unlisted},
                     {"failures", nlohmann::json::array()}};
  for (const auto& m : report.mailboxes) {
    auto entry = to_json(m.count);
    entry["mailbox"] = m.name;
    entry["destination"] = m.destination.empty() ? "INBOX" : m.destination;
    entry["exists"] = m.exists ? nlohmann::json(*m.exists) : nlohmann::json();
    entry["flags"] = m.flags;
    entry["adopted"] = m.adopted;
    entry["moved"] = m.moved;
    entry["deleted"] = m.deleted;
    entry["removed"] = m.removed;
    entry["marked"] = m.marked;
    if (!m.renamed_from.empty()) entry["renamed_from"] = m.renamed_from;
    if (!m.by_content.empty()) entry["by_content"] = m.by_content;
    entry["held"] = m.held.empty() ? nlohmann::json() : nlohmann::json(m.held);
    entry["error"] = m.error.empty() ? nlohmann::json() : nlohmann::json(m.error);
    out["mailboxes"].push_back(std::move(entry));
  }
  for (const auto& f : report.failures)
    out["failures"].push_back({{"mailbox", f.mailbox}, {"uid", f.uid}, {"reason", f.reason}, {"next_try", f.next_try}});
  return out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace mailhaul::collector
