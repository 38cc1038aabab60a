#include "protocols/imap/quirks.h"

#include <algorithm>

#include "protocols/base/text.h"

namespace mailhaul::imap {
namespace {

// In the order of the enumeration.
constexpr std::array<QuirkRow, kQuirks> kRows{{
    {Quirk::SendId, "send-id", "says who it is (ID) before it opens a mailbox, even where ID is not offered",
     "163.com: \"NO SELECT Unsafe Login. Please contact kefu@188.com\" without it (himalaya #549, offlineimap3 #71)",
     "hosts of NetEase (163, 126, yeah, 188), greeting Coremail"},
    {Quirk::NoNamespace, "no-namespace", "does not ask for NAMESPACE",
     "Exchange 2003 drops the connection at it (evolution-data-server)", "greeting Microsoft Exchange Server 2003"},
    {Quirk::NoExamine, "no-examine", "opens mailboxes by SELECT instead of EXAMINE; still changes nothing",
     "Courier: UIDVALIDITY is not stable with EXAMINE (offlineimap IMAP.py)", "greeting or ID Courier-IMAP"},
    {Quirk::Lockstep, "lockstep", "sends one command at a time",
     "old servers and proxies mix up or refuse pipelined commands (mail-server reports)", ""},
    {Quirk::NarrowPipeline, "narrow-pipeline", "has at most 8 commands in flight",
     "Exchange Online, Yahoo: bursts of commands are throttled (imapsync FAQ.Exchange)",
     "hosts of Microsoft 365, Outlook.com, Yahoo, AOL; greeting Microsoft Exchange"},
    {Quirk::ShortLines, "short-lines", "keeps command lines below 900 octets",
     "RFC 2683 §3.2.1.5 asks servers for no more than 1,000; some take just that", ""},
    {Quirk::SmallSlices, "small-slices", "fetches 20 messages a command",
     "Yahoo: NO [LIMIT] and failing batches with more (dovecot imapc, imapsync #119)", "hosts of Yahoo, AOL, AT&T"},
    {Quirk::FetchUids, "fetch-uids", "lists UIDs by FETCH, not by SEARCH",
     "Yandex and QQ search unreliably, iCloud gave sequence numbers (imapsync FAQ.Yandex, MailKit #1143, msgvault "
     "#436)",
     "hosts of Yandex, QQ, iCloud"},
    {Quirk::NoSizes, "no-sizes", "does not ask for RFC822.SIZE",
     "DavMail downloads every message to tell it (davmail #343, getmail #69)", "greeting or ID DavMail"},
    {Quirk::RoughSizes, "rough-sizes", "does not hold a message that came in parts against its RFC822.SIZE",
     "Exchange: sizes are estimates unless EnableExactRFC822Size is set (vandelay #12)",
     "greeting Microsoft Exchange; hosts of Microsoft 365, Outlook.com"},
    {Quirk::BrokenQresync, "broken-qresync", "does not use QRESYNC",
     "iCloud: VANISHED for living messages, no ENABLED (Mailspring-Sync SyncWorker.cpp)", "hosts of iCloud"},
    {Quirk::UidOnly, "uid-only", "says ENABLE UIDONLY",
     "Yahoo shows the newest 10,000 messages of a mailbox only without it (bichon #271)",
     "capabilities UIDONLY and MESSAGELIMIT"},
    {Quirk::Placeholders, "placeholders", "does not take Exchange's error message for the message",
     "\"Retrieval using the IMAP4 protocol failed for the following message\" (MailKit #908, freescout #3203)",
     "greeting Microsoft Exchange; hosts of Microsoft 365, Outlook.com"},
    {Quirk::WholePartials, "whole-partials", "does not fetch a message piece by piece",
     "Outlook.com gives the whole body for each piece (FairEmail, partial=false)",
     "hosts of Microsoft 365, Outlook.com"},
}};

enum class At : std::uint8_t { Host, Greeting, Capability };  // Greeting: the ID answer, too

struct Sign {
  Quirk quirk;
  At at;
  std::string_view what;  // lower case; Host: the end of the name, at a dot
  std::string_view and_what = {};
};

constexpr Sign kSigns[] = {
    {Quirk::SendId, At::Host, "163.com"},
    {Quirk::SendId, At::Host, "126.com"},
    {Quirk::SendId, At::Host, "yeah.net"},
    {Quirk::SendId, At::Host, "188.com"},
    {Quirk::SendId, At::Greeting, "coremail"},
    {Quirk::NoNamespace, At::Greeting, "microsoft exchange server 2003"},
    {Quirk::NoExamine, At::Greeting, "courier-imap"},
    {Quirk::NarrowPipeline, At::Greeting, "microsoft exchange"},
    {Quirk::NarrowPipeline, At::Host, "office365.com"},
    {Quirk::NarrowPipeline, At::Host, "outlook.com"},
    {Quirk::NarrowPipeline, At::Host, "yahoo.com"},
    {Quirk::NarrowPipeline, At::Host, "aol.com"},
    {Quirk::SmallSlices, At::Host, "yahoo.com"},
    {Quirk::SmallSlices, At::Host, "aol.com"},
    {Quirk::SmallSlices, At::Host, "att.net"},
    {Quirk::FetchUids, At::Host, "yandex.com"},
    {Quirk::FetchUids, At::Host, "yandex.ru"},
    {Quirk::FetchUids, At::Host, "yandex.net"},
    {Quirk::FetchUids, At::Host, "qq.com"},
    {Quirk::FetchUids, At::Host, "mail.me.com"},
    {Quirk::FetchUids, At::Host, "icloud.com"},
    {Quirk::NoSizes, At::Greeting, "davmail"},
    {Quirk::RoughSizes, At::Greeting, "microsoft exchange"},
    {Quirk::RoughSizes, At::Host, "office365.com"},
    {Quirk::RoughSizes, At::Host, "outlook.com"},
    {Quirk::BrokenQresync, At::Host, "mail.me.com"},
    {Quirk::BrokenQresync, At::Host, "icloud.com"},
    {Quirk::UidOnly, At::Capability, "UIDONLY", "MESSAGELIMIT="},
    {Quirk::Placeholders, At::Greeting, "microsoft exchange"},
    {Quirk::Placeholders, At::Host, "office365.com"},
    {Quirk::Placeholders, At::Host, "outlook.com"},
    {Quirk::WholePartials, At::Host, "office365.com"},
    {Quirk::WholePartials, At::Host, "outlook.com"},
};

bool ends_at_a_dot(std::string_view host, std::string_view end) {
  return host.ends_with(end) && (host.size() == end.size() || host[host.size() - end.size() - 1] == '.');
}

}  // namespace

std::span<const QuirkRow> quirk_rows() { return kRows; }
const QuirkRow& row_of(Quirk quirk) { return kRows[static_cast<std::size_t>(quirk)]; }

std::optional<Quirk> quirk_named(std::string_view name) {
  const auto row = std::ranges::find_if(kRows, [&](const QuirkRow& r) { return equal_ignoring_case(r.name, name); });
  return row == kRows.end() ? std::nullopt : std::optional(row->quirk);
}

std::string QuirkSet::names() const {
  std::string out;
  for (const auto& row : kRows)
    if (has(row.quirk)) out.append(out.empty() ? "" : " ").append(row.name);
  return out;
}

QuirkSet quirks_of(const ServerSigns& server, const QuirkChoice& choice) {
  const auto host = to_lower(server.host);
  auto says = to_lower(server.greeting);
  for (const auto& [field, value] : server.id) says += "\n" + to_lower(value);
  const auto capable = [&](std::string_view name) { return server.has_capability && server.has_capability(name); };
  const auto fits = [&](const Sign& sign) {
    switch (sign.at) {
      case At::Host:
        return ends_at_a_dot(host, sign.what);
      case At::Greeting:
        return says.find(sign.what) != std::string::npos;
      case At::Capability:
        return capable(sign.what) && (sign.and_what.empty() || capable(sign.and_what));
    }
    return false;
  };
  QuirkSet out;
  for (const auto& sign : kSigns)
    if (fits(sign)) out.set(sign.quirk, true);
  for (const auto& [quirk, on] : choice) out.set(quirk, on);
  return out;
}

}  // namespace mailhaul::imap
