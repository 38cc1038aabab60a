#include "tests/sync/plan_notation.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <sstream>

namespace mailhaul::sync {
namespace {

using store::MessageRow;
using store::MessageState;
using store::Removal;

std::map<std::string, std::string> options_of(std::istringstream& words) {
  std::map<std::string, std::string> out;
  for (std::string word; words >> word;) {
    const auto equals = word.find('=');
    REQUIRE(equals != std::string::npos);
    auto value = word.substr(equals + 1);
    std::ranges::replace(value, '_', ' ');
    out[word.substr(0, equals)] = value;
  }
  return out;
}

MessageState state_of(const std::string& word) {
  for (std::size_t s = 0; s < store::kMessageStates; ++s)
    if (store::to_text(static_cast<MessageState>(s)) == word) return static_cast<MessageState>(s);
  FAIL("no such state: " << word);
  return {};
}

std::string number_of(const DeliveryKey& key) { return std::to_string(key[15]); }

void put_row(Situation& at, MessageRow row) {
  std::erase_if(at.ledger.rows, [&](const MessageRow& r) { return r.uid == row.uid; });
  at.ledger.rows.push_back(std::move(row));
  std::ranges::sort(at.ledger.rows, {}, &MessageRow::uid);
}

MessageRow row_of(const Situation& at, Uid uid) {
  const auto it = std::ranges::find(at.ledger.rows, uid, &MessageRow::uid);
  if (it != at.ledger.rows.end()) return *it;
  MessageRow row;
  row.uid = uid;
  return row;
}

void place(Situation& at, Uid uid, const DeliveryKey& key) {
  at.ledger.placements.push_back({uid, "", key});
  std::ranges::sort(at.ledger.placements, {}, &store::PlacementRow::uid);
}

FlagSet source_flags(const Situation& at, Uid uid) {
  const auto it = std::ranges::find(at.source.messages, uid, &SourceMessage::uid);
  return it == at.source.messages.end() ? FlagSet{} : it->flags.value_or(FlagSet{});
}

Copy* copy_at(Situation& at, const DeliveryKey& key) {
  const auto it = std::ranges::find(at.copies, key, &Copy::key);
  return it == at.copies.end() ? nullptr : &*it;
}

void settle(Situation& at, Uid uid, const DeliveryKey& key, std::uint32_t reuse, FlagSet base) {
  auto row = row_of(at, uid);
  row.state = MessageState::Delivered;
  row.reuse = reuse;
  row.base = std::move(base);
  row.next_base.reset();
  row.reason.clear();
  put_row(at, row);
  place(at, uid, key);
}

struct Executor {
  Situation& at;
  void operator()(const Deliver& a) const {
    settle(at, a.uid, a.key, a.reuse, source_flags(at, a.uid));
    at.copies.push_back({a.key, source_flags(at, a.uid)});
    std::ranges::sort(at.copies, {}, &Copy::key);
  }
  void operator()(const Adopt& a) const {
    auto* copy = copy_at(at, a.key);
    REQUIRE(copy);
    const auto theirs = source_flags(at, a.uid);
    copy->flags = merged(theirs.intersected(copy->flags), theirs, copy->flags);
    settle(at, a.uid, a.key, a.reuse, theirs);
  }
  void operator()(const Exclude& a) const {
    auto row = row_of(at, a.uid);
    row.state = MessageState::Excluded;
    row.reason = a.reason;
    put_row(at, row);
  }
  void operator()(const StoreFlags& a) const {
    auto* copy = copy_at(at, a.key);
    REQUIRE(copy);
    copy->flags = a.flags;
    (*this)(SettleFlags{a.uid, a.base});
  }
  void operator()(const SettleFlags& a) const {
    auto row = row_of(at, a.uid);
    row.base = a.base;
    row.next_base.reset();
    put_row(at, row);
  }
  void operator()(const Revive& a) const {
    set_state(a.uid, MessageState::Delivered);
    set_removal(a.uid, Removal::None);
  }
  void operator()(const Relist& a) const {
    set_state(a.uid, MessageState::Listed);
    set_removal(a.uid, Removal::None);
    std::erase_if(at.ledger.placements, [&](const auto& p) { return p.uid == a.uid; });
  }
  void operator()(const Remove& a) const {
    std::erase_if(at.copies, [&](const Copy& c) { return c.key == a.key; });
    std::erase_if(at.ledger.placements, [&](const auto& p) { return p.uid == a.uid; });
    set_removal(a.uid, Removal::Done);
  }
  void operator()(const NoteRemoved& a) const { set_removal(a.uid, Removal::ByOwner); }
  void set_removal(Uid uid, Removal removal) const {
    auto row = row_of(at, uid);
    row.removal = removal;
    put_row(at, row);
  }
  void operator()(const MarkGone& a) const { set_state(a.uid, MessageState::Gone); }
  void operator()(const MarkVanished& a) const {
    auto row = row_of(at, a.uid);
    row.state = MessageState::Vanished;
    row.missing_since = at.now;
    put_row(at, row);
  }
  void set_state(Uid uid, MessageState state) const {
    auto row = row_of(at, uid);
    row.state = state;
    put_row(at, row);
  }
};

}  // namespace

FlagSet flags_of(std::string_view text) {
  if (text == "-") return {};
  const auto plus = std::min(text.find('+'), text.size());
  auto out = FlagSet::from_maildir_letters(text.substr(0, plus));
  std::istringstream keywords{std::string(text.substr(plus))};
  for (std::string word; std::getline(keywords, word, '+');)
    if (!word.empty()) out.add(word);
  return out;
}

std::string to_text(const FlagSet& flags) {
  std::string out = flags.maildir_letters();
  for (const auto& keyword : flags.keywords()) out += "+" + keyword;
  return out.empty() ? "-" : out;
}

DeliveryKey key_of(Uid uid, std::uint32_t reuse) {
  DeliveryKey key{};
  for (std::size_t i = 0; i < 4; ++i) key[i] = static_cast<std::uint8_t>(uid.value >> (24 - 8 * i));
  key[15] = static_cast<std::uint8_t>(reuse);
  return key;
}

void Situation::set_source(std::string_view text) {
  std::istringstream words{std::string(text)};
  std::string what;
  words >> what;
  if (what == "vanished") {
    source.removals = static_cast<bool>(words >> what);
    return source.vanished.add(kSeven);
  }
  if (what == "silent") return;
  REQUIRE(what == "present");
  auto& message = source.messages.emplace_back(SourceMessage{kSeven, {}, {}, {}});
  for (const auto& [key, value] : options_of(words)) {
    if (key == "flags")
      message.flags = flags_of(value);
    else if (key == "size")
      message.size = std::stoull(value);
    else if (key == "date")
      message.date = std::stoll(value);
    else if (key == "elsewhere")
      message.elsewhere = value;
    else
      FAIL("no such word: " << key);
  }
}

void Situation::set_row(std::string_view text) {
  std::istringstream words{std::string(text)};
  std::string what;
  words >> what;
  if (what == "none") return;
  MessageRow row;
  row.uid = kSeven;
  row.state = state_of(what);
  for (const auto& [key, value] : options_of(words)) {
    if (key == "base")
      row.base = flags_of(value);
    else if (key == "next")
      row.next_base = flags_of(value);
    else if (key == "reuse")
      row.reuse = static_cast<std::uint32_t>(std::stoul(value));
    else if (key == "at")
      place(*this, kSeven, key_of(kSeven, static_cast<std::uint32_t>(std::stoul(value))));
    else if (key == "try")
      row.next_try = std::stoll(value);
    else if (key == "reason")
      row.reason = value;
    else if (key == "since")
      row.missing_since = std::stoll(value);
    else if (key == "removal")
      row.removal = value == "meant" ? Removal::Meant : value == "done" ? Removal::Done : Removal::ByOwner;
    else
      FAIL("no such word: " << key);
  }
  put_row(*this, std::move(row));
}

void Situation::set_copies(std::string_view text) {
  std::istringstream words{std::string(text)};
  for (std::string word; words >> word;) {
    if (word == "nothing") continue;
    const auto colon = std::min(word.find(':'), word.size());
    const auto flags = colon < word.size() ? flags_of(word.substr(colon + 1)) : FlagSet{};
    copies.push_back({key_of(kSeven, static_cast<std::uint32_t>(std::stoul(word.substr(0, colon)))), flags});
  }
  std::ranges::sort(copies, {}, &Copy::key);
}

Plan Situation::decide() const { return plan(policy, source, ledger, copies, key_of, now); }

std::string to_text(const Plan& plan) {
  struct Teller {
    std::string operator()(const Deliver& a) const {
      CHECK(a.key == key_of(a.uid, a.reuse));
      return "deliver " + number_of(a.key) + (a.new_row ? " new" : "");
    }
    std::string operator()(const Adopt& a) const {
      CHECK(a.key == key_of(a.uid, a.reuse));
      return "adopt " + number_of(a.key) + (a.new_row ? " new" : "");
    }
    std::string operator()(const Exclude& a) const { return "exclude: " + a.reason; }
    std::string operator()(const StoreFlags& a) const {
      return "store " + number_of(a.key) + " " + to_text(a.flags) + " agree " + to_text(a.base);
    }
    std::string operator()(const SettleFlags& a) const { return "agree " + to_text(a.base); }
    std::string operator()(const Revive&) const { return "revive"; }
    std::string operator()(const MarkGone&) const { return "gone"; }
    std::string operator()(const MarkVanished&) const { return "vanished"; }
    std::string operator()(const Relist&) const { return "relist"; }
    std::string operator()(const Remove& a) const { return "remove " + number_of(a.key); }
    std::string operator()(const NoteRemoved&) const { return "note removed"; }
  };
  std::string out;
  for (const auto& action : plan.actions) {
    CHECK(std::visit([](const auto& a) { return a.uid; }, action) == kSeven);
    out += (out.empty() ? "" : "; ") + std::visit(Teller{}, action);
  }
  return out;
}

void execute(const Plan& plan, Situation& situation) {
  for (const auto& action : plan.actions) std::visit(Executor{situation}, action);
}

void hold(std::span<const Decision> table, const Policy& policy) {
  for (const auto& line : table) {
    CAPTURE(line.source);
    CAPTURE(line.row);
    CAPTURE(line.copies);
    Situation at;
    at.policy = policy;
    at.set_source(line.source);
    at.set_row(line.row);
    at.set_copies(line.copies);
    CHECK(to_text(at.decide()) == line.plan);
  }
}

Policy policy_of(OnSourceDelete what, std::int64_t grace) {
  Policy policy;
  policy.on_source_delete = what;
  policy.grace = grace;
  return policy;
}

}  // namespace mailhaul::sync
