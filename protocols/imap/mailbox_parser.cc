#include "protocols/imap/mailbox_parser.h"

#include <array>
#include <utility>

#include "protocols/base/text.h"
#include "protocols/imap/broken.h"

namespace mailhaul::imap {
namespace {

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

// NIL and "" mean that there is no hierarchy. False: not in grammar.
bool take_delimiter(Cursor& c, std::optional<char>& delimiter) {
  if (c.take_nil()) return true;
  if (c.rest().substr(0, 4) == "\"\\\" ") {  // the backslash should have been escaped
    c.advance(3);
    delimiter = '\\';
    return true;
  }
  const auto text = c.astring();
  if (!text || text->size() > 1) return false;
  if (!text->empty()) delimiter = text->front();
  return true;
}

// RFC 9051 §7.3.1, mbox-list-extended.
bool is_extended_data(std::string_view text) {
  if (text.empty() || text[0] != '(') return false;
  text.remove_prefix(1);
  if (!text.empty() && text[0] == '"') text.remove_prefix(1);
  static constexpr std::array<std::string_view, 2> kItems{"CHILDINFO", "OLDNAME"};
  for (const auto item : kItems)
    if (equal_ignoring_case(text.substr(0, item.size()), item)) return true;
  return false;
}

// The name in a LIST, which is the last thing on the line but for extended data. Many servers print names as they are:
// with blanks, 8-bit octets, quotes that are not escaped, one quote only.
std::optional<std::string> list_name(Cursor& c) {
  if (c.at_literal()) return c.string();
  const std::string_view rest = trimmed(c.rest());
  Cursor ahead = c;
  if (auto name = ahead.astring()) {
    const bool ended = ahead.at_end() || ahead.at_space();
    ahead.spaces();
    if (ended && (ahead.at_end() || is_extended_data(ahead.rest()))) return name;
  }
  if (rest.empty()) return std::nullopt;
  if (rest.front() == '"') {
    if (rest.size() < 2 || rest.back() != '"') return std::nullopt;  // no closing quote: nobody knows what was cut off
    return std::string(rest.substr(1, rest.size() - 2));
  }
  if (rest.find('"') == rest.size() - 1) return std::string(rest.substr(0, rest.size() - 1));
  return std::string(rest);
}

Parsed list(Cursor& c, const Limits& limits, bool lsub) {  // RFC 9051 §7.3.1
  ListEntry entry;
  entry.lsub = lsub;
  bool over = false;
  auto attributes = c.words(limits.words, over);
  if (over) return too_many("words", limits.words);
  if (!attributes) return std::optional<Event>();
  entry.attributes = *std::move(attributes);
  c.spaces();
  if (!take_delimiter(c, entry.delimiter)) return std::optional<Event>();
  c.spaces();
  auto name = list_name(c);
  if (!name) return std::optional<Event>();
  entry.raw_name = *std::move(name);
  return std::optional<Event>(std::move(entry));
}

// The name in a STATUS, which is what stands before the last "(".
std::optional<std::string> status_name(Cursor& c) {
  if (c.at_literal()) return c.string();
  Cursor ahead = c;
  if (auto name = ahead.astring()) {
    ahead.spaces();
    if (ahead.at('(')) {
      c = ahead;
      return name;
    }
  }
  const std::string_view rest = c.rest();
  const std::size_t items = rest.rfind('(');
  if (items == std::string_view::npos) return std::nullopt;
  std::string_view name = trimmed(rest.substr(0, items));
  c.advance(items);
  if (name.size() >= 2 && name.front() == '"' && name.back() == '"') name = name.substr(1, name.size() - 2);
  return std::string(name);
}

std::optional<std::uint64_t>* number_item(StatusEntry& entry, std::string_view name) {
  struct Row {
    std::string_view name;
    std::optional<std::uint64_t> StatusEntry::*member;
  };
  static constexpr std::array<Row, 7> kRows{{{"MESSAGES", &StatusEntry::messages},
                                             {"UIDNEXT", &StatusEntry::uid_next},
                                             {"UIDVALIDITY", &StatusEntry::uid_validity},
                                             {"UNSEEN", &StatusEntry::unseen},
                                             {"HIGHESTMODSEQ", &StatusEntry::highest_modseq},
                                             {"SIZE", &StatusEntry::size},
                                             {"DELETED", &StatusEntry::deleted}}};
  for (const auto& row : kRows)
    if (equal_ignoring_case(row.name, name)) return &(entry.*row.member);
  return nullptr;
}

bool namespace_roots(Cursor& c, std::vector<NamespaceData::Root>& roots, const Limits& limits) {
  c.spaces();
  if (c.at_end() || c.take_nil()) return true;
  if (!c.take('(')) return false;
  for (c.spaces(); !c.take(')'); c.spaces()) {
    NamespaceData::Root root;
    if (!c.take('(') || roots.size() == limits.words) return false;
    c.spaces();
    auto prefix = c.string();
    if (!prefix) return false;
    root.prefix = *std::move(prefix);
    c.spaces();
    if (!take_delimiter(c, root.delimiter)) return false;
    for (std::size_t depth = 1; depth > 0;) {  // RFC 2342 §5: Namespace_Response_Extension
      if (c.at_end() || depth > limits.nesting) return false;
      if (c.take('('))
        ++depth;
      else if (c.take(')'))
        --depth;
      else if (c.at('"') ? !c.skip_quoted() : !c.skip_literal()) {
        if (c.at('"')) return false;
        c.advance(1);
      }
    }
    roots.push_back(std::move(root));
  }
  return true;
}

}  // namespace

Parsed parse_list(Cursor& c, const Limits& limits, std::uint64_t&) { return list(c, limits, false); }
Parsed parse_lsub(Cursor& c, const Limits& limits, std::uint64_t&) { return list(c, limits, true); }

Parsed parse_mailbox_status(Cursor& c, const Limits&, std::uint64_t&) {  // RFC 9051 §7.3.5
  StatusEntry entry;
  auto name = status_name(c);
  c.spaces();
  if (!name || !c.take('(')) return std::optional<Event>();
  entry.raw_name = *std::move(name);
  for (c.spaces(); !c.take(')'); c.spaces()) {
    const std::string_view item = c.atom();
    if (item.empty()) return std::optional<Event>();
    c.spaces();
    if (c.take('(')) {  // RFC 8474 §4.3: MAILBOXID (id)
      c.spaces();
      const std::string_view id = c.atom();
      if (equal_ignoring_case(item, "MAILBOXID") && !id.empty()) entry.mailbox_id = id;
      c.until(")");
      c.take(')');
    } else if (auto* number = number_item(entry, item)) {
      *number = c.number();
    } else if (!c.skip_literal()) {
      c.atom();
    }
  }
  return std::optional<Event>(std::move(entry));
}

Parsed parse_namespace(Cursor& c, const Limits& limits, std::uint64_t&) {  // RFC 2342 §5
  NamespaceData data;
  for (auto* roots : {&data.personal, &data.other_users, &data.shared})
    if (!namespace_roots(c, *roots, limits)) return std::optional<Event>();
  return std::optional<Event>(std::move(data));
}

}  // namespace mailhaul::imap
