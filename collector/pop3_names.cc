#include "collector/pop3_names.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "protocols/base/text.h"

namespace mailhaul::collector {
namespace {

// Fields that mbox servers add to and change in stored mail.
constexpr std::array<std::string_view, 9> kServersOwn{"status",     "x-status",   "x-uid",          "x-uidl", "x-imap",
                                                      "x-keywords", "x-imapbase", "content-length", "lines"};

bool servers_own(std::string_view line) {
  const auto name = line.substr(0, line.find(':'));
  return line.starts_with("From ") ||
         std::ranges::any_of(kServersOwn, [&](std::string_view own) { return equal_ignoring_case(name, own); });
}

std::string header_digest(std::string_view text) {
  mail::Sha256 hash;
  bool skipping = false;
  while (!text.empty()) {
    const auto end = text.find('\n');
    auto line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    while (line.ends_with('\r')) line.remove_suffix(1);
    const bool folded = line.starts_with(' ') || line.starts_with('\t');
    if (!folded) skipping = servers_own(line);
    if (skipping) continue;
    hash.update(line);
    hash.update("\n");
  }
  return mail::hex(hash.finish()).substr(0, 32);
}

std::string_view base_of(std::string_view name) { return name.substr(0, name.find('\0')); }

// A row that is delivered says what its name meant; where nothing was delivered yet, anything may come under it.
bool same(const mail::Evidence& then, const mail::Evidence& now) {
  return then.header_digest == now.header_digest || (!then.message_id.empty() && then.message_id == now.message_id);
}

}  // namespace

void HeaderText::add(std::string_view octets) {
  if (ended_) return;
  const auto from = text_.size() < 3 ? 0 : text_.size() - 3;
  text_.append(octets.substr(0, kLimit - std::min(kLimit, text_.size())));
  auto end = text_.find("\r\n\r\n", from);
  const auto bare = text_.find("\n\n", from);
  end = std::min(end == std::string::npos ? end : end + 2, bare == std::string::npos ? bare : bare + 1);
  if (end != std::string::npos) text_.resize(end);
  ended_ = end != std::string::npos || text_.size() >= kLimit;
}

HeaderText::Read HeaderText::finish() {
  std::string_view text = text_;
  if (text.starts_with("+OK")) {  // FTGate answers TOP twice
    const auto end = text.find('\n');
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  mail::HeaderScanner scanner;
  scanner.update(text);
  scanner.update("\r\n");
  Read read{scanner.finish(), header_digest(text)};
  reset();
  return read;
}

void HeaderText::reset() {
  text_.clear();
  ended_ = false;
}

mail::FlagSet flags_of_status(std::string_view header) {
  mail::FlagSet out;
  bool status = false, extended = false;
  while (!header.empty()) {
    const auto line = header.substr(0, header.find('\n'));
    header.remove_prefix(std::min(line.size() + 1, header.size()));
    const auto colon = line.find(':');
    if (colon == std::string_view::npos) continue;
    const auto value = line.substr(colon + 1);
    const auto says = [&](char letter) { return value.find(letter) != std::string_view::npos; };
    if (equal_ignoring_case(line.substr(0, colon), "Status") && !std::exchange(status, true) && says('R'))
      out.add("\\Seen");
    if (!equal_ignoring_case(line.substr(0, colon), "X-Status") || std::exchange(extended, true)) continue;
    if (says('A')) out.add("\\Answered");
    if (says('F')) out.add("\\Flagged");
    if (says('T')) out.add("\\Draft");
  }
  return out;
}

Naming::Naming(std::span<const store::NameRow> known) {
  for (const auto& row : known) {
    known_.emplace(row.name, KnownName{row.uid, row.octets});
    if (const auto base = base_of(row.name); !base.empty() && base.size() < row.name.size()) ++qualified_[base];
  }
}

const KnownName* Naming::find(std::string_view name) const {
  const auto it = known_.find(name);
  return it == known_.end() ? nullptr : &it->second;
}

std::vector<std::size_t> Naming::need_headers(std::span<const DropMessage> drop) const {
  std::map<std::string_view, int> times;
  for (const auto& message : drop) ++times[message.uidl];
  std::vector<std::size_t> out;
  for (std::size_t i = 0; i < drop.size(); ++i) {
    const auto& uidl = drop[i].uidl;
    const auto* known = find(uidl);
    if (uidl.empty() || times[uidl] > 1 || qualified_.contains(uidl) || (known && known->octets != drop[i].octets))
      out.push_back(i);
  }
  return out;
}

sync::UidSet Naming::to_check(std::span<const DropMessage> drop) const {
  sync::UidSet out;
  for (const auto index : need_headers(drop))
    if (const auto* known = find(drop[index].uidl); known && !drop[index].uidl.empty()) out.add(known->uid);
  return out;
}

std::map<mail::Uid, std::uint64_t> Naming::name_all(std::span<DropMessage> drop,
                                                    const std::map<mail::Uid, mail::Evidence>& delivered) {
  std::map<mail::Uid, std::uint64_t> resized;
  std::map<std::string, int> ordinals;
  sync::UidSet taken;
  const auto needed = need_headers(drop);
  const auto take = [&](DropMessage& message, std::string name) {
    message.name = std::move(name);
    if (const auto* known = find(message.name)) {
      message.uid = known->uid;
      taken.add(known->uid);
      if (known->octets != message.octets) resized[known->uid] = message.octets;
    }
  };
  for (std::size_t i = 0; i < drop.size(); ++i) {
    auto& message = drop[i];
    if (!message.header || !std::ranges::binary_search(needed, i)) {
      take(message, message.uidl);
      continue;
    }
    if (const auto* known = find(message.uidl); !message.uidl.empty() && known && !taken.contains(known->uid)) {
      const auto before = delivered.find(known->uid);
      if (before == delivered.end() || same(before->second, message.header->evidence)) {
        take(message, message.uidl);
        continue;
      }
    }
    // Which of several equal ones is which cannot be told and does not matter, as long as each is counted once.
    auto name = message.uidl + std::string(1, '\0') + message.header->digest;
    const auto ordinal = ordinals[name]++;
    if (ordinal > 0) name += std::string(1, '\0') + std::to_string(ordinal);
    take(message, std::move(name));
  }
  return resized;
}

bool looks_renamed(std::uint64_t delivered, std::uint64_t missing, std::uint64_t listed, std::uint64_t fresh) {
  return missing > 0 && fresh > 0 && missing * 2 >= delivered && fresh * 2 >= listed;
}

bool parse_numbered(std::string_view line, pop3::MessageNumber& number, std::string_view& rest) {
  while (line.starts_with(' ')) line.remove_prefix(1);
  const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), number);
  if (error != std::errc{} || number == 0) return false;
  rest = line.substr(static_cast<std::size_t>(end - line.data()));
  if (!rest.empty() && rest.front() != ' ' && rest.front() != '\t') return false;
  while (!rest.empty() && (rest.front() == ' ' || rest.front() == '\t')) rest.remove_prefix(1);
  while (!rest.empty() && (rest.back() == ' ' || rest.back() == '\t')) rest.remove_suffix(1);
  return true;
}

}  // namespace mailhaul::collector
