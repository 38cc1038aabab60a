#include "protocols/imap/response_parser.h"

#include <algorithm>
#include <array>
#include <utility>

#include "protocols/base/text.h"
#include "protocols/imap/broken.h"
#include "protocols/imap/cursor.h"
#include "protocols/imap/mailbox_parser.h"

namespace mailhaul::imap {
namespace {

Parsed nothing() { return std::optional<Event>(); }
Parsed event(Event e) { return std::optional<Event>(std::move(e)); }

// A uid-set. Holds nullopt if it is none: with "*" too, which means nothing without the mailbox.
Result<std::optional<mail::UidSet>> uid_set(std::string_view text, const Limits& limits, std::uint64_t& work) {
  work += text.size();
  if (static_cast<std::size_t>(std::count(text.begin(), text.end(), ',')) >= limits.list)
    return too_many("ranges", limits.list);
  return mail::UidSet::parse(text, limits.list);
}

Parsed enabled(Cursor& c, const Limits& limits, std::uint64_t&) {
  return event(Enabled{parse_capabilities(c.rest(), limits.words)});
}

Parsed flags(Cursor& c, const Limits& limits, std::uint64_t&) {
  bool over = false;
  auto words = c.words(limits.words, over);
  if (over) return too_many("words", limits.words);
  if (!words) return nothing();
  return event(FlagsData{mail::FlagSet(0, *std::move(words))});
}

Parsed id(Cursor& c, const Limits& limits, std::uint64_t&) {  // RFC 2971 §3.2
  IdReply reply;
  if (c.take_nil()) return event(std::move(reply));
  if (!c.take('(')) return nothing();
  for (c.spaces(); !c.take(')'); c.spaces()) {
    if (reply.fields.size() == limits.words) return too_many("fields", limits.words);
    auto name = c.astring();
    c.spaces();
    std::optional<std::string> value;
    if (c.take_nil())
      value.emplace();
    else
      value = c.astring();
    if (!name || !value) return nothing();
    reply.fields.emplace_back(*std::move(name), *std::move(value));
  }
  return event(std::move(reply));
}

Parsed vanished(Cursor& c, const Limits& limits, std::uint64_t& work) {  // RFC 7162 §3.2.10
  bool over = false;
  const auto tags = c.at('(') ? c.words(limits.words, over) : std::vector<std::string>{};
  if (over) return too_many("words", limits.words);
  if (!tags) return nothing();
  c.spaces();
  auto uids = uid_set(c.atom(), limits, work);
  if (!uids) return uids.error();
  if (!*uids) return nothing();
  return event(Vanished{**std::move(uids), !tags->empty() && equal_ignoring_case(tags->front(), "EARLIER")});
}

Parsed search(Cursor& c, const Limits& limits, std::uint64_t&) {  // RFC 3501 §7.2.5
  SearchResult result;
  std::vector<mail::UidRange> ranges;
  for (c.spaces(); !c.at_end(); c.spaces()) {
    if (c.take('(')) {  // RFC 7162 §3.1.5: (MODSEQ n)
      c.atom();
      c.spaces();
      if (const auto modseq = c.number(); modseq && *modseq > 0) result.modseq = mail::ModSeq{*modseq};
      break;
    }
    const auto number = c.digits();
    if (!number || *number > UINT32_MAX) return nothing();
    const auto uid = static_cast<std::uint32_t>(*number);
    if (uid == 0) continue;
    if (!ranges.empty() && ranges.back().last + std::uint64_t{1} == uid) {
      ranges.back().last = uid;
      continue;
    }
    if (ranges.size() == limits.list) return too_many("numbers", limits.list);
    ranges.push_back({uid, uid});
  }
  result.uids = mail::UidSet(std::move(ranges));
  return event(std::move(result));
}

// The value of a search return item that nobody asked for; false if there is none.
bool skip_value(Cursor& c, std::size_t nesting, bool& too_deep) {
  std::size_t depth = 0;
  do {
    if (c.at_end()) return false;
    if (c.take('(')) {
      too_deep = ++depth > nesting;
      if (too_deep) return false;
    } else if (c.at(')')) {
      if (depth == 0) return false;
      c.take(')');
      --depth;
    } else if (c.at('"')) {
      if (!c.skip_quoted()) return false;
    } else if (depth == 0 && !c.at_literal()) {
      c.atom();
    } else if (!c.skip_literal()) {
      c.advance(1);
    }
  } while (depth > 0);
  return true;
}

Parsed esearch(Cursor& c, const Limits& limits, std::uint64_t& work) {  // RFC 9051 §7.3.4
  SearchResult result;
  result.extended = true;
  if (c.take('(')) {
    c.spaces();
    c.atom();  // TAG
    c.spaces();
    if (auto tag = c.astring()) result.tag = Tag{*std::move(tag)};
    c.spaces();
    if (!c.take(')')) return nothing();
  }
  for (c.spaces(); !c.at_end(); c.spaces()) {
    const std::string_view item = c.atom();
    if (item.empty()) return nothing();
    if (equal_ignoring_case(item, "UID")) continue;
    c.spaces();
    if (equal_ignoring_case(item, "ALL")) {
      auto uids = uid_set(c.atom(), limits, work);
      if (!uids) return uids.error();
      if (!*uids) return nothing();
      result.uids = **std::move(uids);
    } else if (equal_ignoring_case(item, "COUNT")) {
      result.count = c.number();
    } else if (equal_ignoring_case(item, "MODSEQ")) {
      if (const auto modseq = c.number(); modseq && *modseq > 0) result.modseq = mail::ModSeq{*modseq};
    } else {
      bool too_deep = false;
      const bool skipped = skip_value(c, limits.nesting, too_deep);
      if (too_deep) return imap::too_deep(limits.nesting);
      if (!skipped) return nothing();
    }
  }
  return event(std::move(result));
}

// "* 23 EXISTS" and its like (RFC 9051 §7.4.1, §7.5.1).
Parsed numbered(Cursor& c) {
  const auto number = c.digits();
  c.spaces();
  const std::string_view name = c.atom();
  if (!number || *number > UINT32_MAX) return nothing();
  const auto value = static_cast<std::uint32_t>(*number);
  if (equal_ignoring_case(name, "EXISTS")) return event(Exists{value});
  if (equal_ignoring_case(name, "EXPUNGE")) return event(Expunged{mail::SequenceNumber{value}});
  return nothing();
}

Parsed quota(Cursor& c, const Limits& limits, std::uint64_t&) {  // RFC 9208 §4.2.1
  QuotaData out;
  auto root = c.astring();
  c.spaces();
  if (!root || !c.take('(')) return nothing();
  out.root = *std::move(root);
  for (c.spaces(); !c.take(')'); c.spaces()) {
    QuotaData::Resource one;
    one.name = c.atom();
    c.spaces();
    const auto usage = c.number();
    c.spaces();
    const auto limit = c.number();
    if (one.name.empty() || !usage || !limit || out.resources.size() == limits.words) return nothing();
    one.usage = *usage;
    one.limit = *limit;
    out.resources.push_back(std::move(one));
  }
  return event(std::move(out));
}

struct Row {
  std::string_view name;
  Parsed (*parse)(Cursor&, const Limits&, std::uint64_t&);
};
constexpr std::array<Row, 12> kRows{{{"ENABLED", enabled},
                                     {"ESEARCH", esearch},
                                     {"FLAGS", flags},
                                     {"ID", id},
                                     {"LIST", parse_list},
                                     {"LSUB", parse_lsub},
                                     {"NAMESPACE", parse_namespace},
                                     {"QUOTA", quota},
                                     {"SEARCH", search},
                                     {"STATUS", parse_mailbox_status},
                                     {"VANISHED", vanished},
                                     {"XLIST", parse_list}}};

}  // namespace

Parsed parse_data(const Line& line, std::size_t content, const Limits& limits, std::uint64_t& work) {
  Cursor c(line, content, work);
  if (!c.at_end() && is_digit(line.text[content])) return numbered(c);
  const std::string_view name = c.atom();
  c.spaces();
  for (const auto& row : kRows)
    if (equal_ignoring_case(row.name, name)) return row.parse(c, limits, work);
  return nothing();
}

}  // namespace mailhaul::imap
