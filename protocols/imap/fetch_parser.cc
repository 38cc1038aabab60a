#include "protocols/imap/fetch_parser.h"

#include <array>
#include <utility>

#include "protocols/base/text.h"

namespace mailhaul::imap {
namespace {

bool ends_value(const Cursor& c) { return c.at_end() || c.at_space() || c.at(')'); }

}  // namespace

void FetchParser::begin(std::size_t from, mail::SequenceNumber number, std::optional<mail::Uid> uid) {
  fetched_ = {};
  fetched_.number = number;
  fetched_.uid = uid;
  at_ = from;
  mark_ = depth_ = 0;
  where_ = Where::Name;
  whole_ = had_whole_ = closed_ = false;
}

FetchParser::Item FetchParser::item_of(std::string_view name, bool section) {
  struct Row {
    std::string_view name;
    Item item;
    bool section;  // has "[…]" behind it
  };
  // RFC 9051 §7.5.2, RFC 3501 §7.4.2, RFC 3516, RFC 8474 §5.4; servers echo BODY.PEEK too.
  static constexpr std::array<Row, 13> kRows{{{"UID", Item::Uid, false},
                                              {"FLAGS", Item::Flags, false},
                                              {"INTERNALDATE", Item::InternalDate, false},
                                              {"RFC822.SIZE", Item::Size, false},
                                              {"MODSEQ", Item::ModSeq, false},
                                              {"EMAILID", Item::EmailId, false},
                                              {"X-GM-MSGID", Item::GmailId, false},
                                              {"BODY", Item::Body, true},
                                              {"BODY.PEEK", Item::Body, true},
                                              {"BINARY", Item::Body, true},
                                              {"BINARY.PEEK", Item::Body, true},
                                              {"RFC822", Item::Body, false},
                                              {"RFC822.TEXT", Item::Body, false}}};
  for (const auto& row : kRows)
    if (row.section == section && equal_ignoring_case(row.name, name)) return row.item;
  return Item::Other;
}

bool FetchParser::is_item_name(std::string_view text) {
  static constexpr std::array<std::string_view, 7> kOthers{"ENVELOPE", "BODY",       "BODYSTRUCTURE", "RFC822.HEADER",
                                                           "THREADID", "X-GM-THRID", "X-GM-LABELS"};
  const std::size_t bracket = text.find('[');
  if (item_of(text.substr(0, bracket), bracket != std::string_view::npos) != Item::Other) return true;
  for (const auto other : kOthers)
    if (equal_ignoring_case(other, text)) return true;
  return false;
}

FetchParser::Step FetchParser::advance(const Line& line, std::size_t stop, bool at_literal) {
  Cursor c(line, at_, stop, mark_, *work_);
  std::optional<Step> step;
  while (!step) {
    switch (where_) {
      case Where::Name:
        step = name(c, at_literal);
        break;
      case Where::Section:
        step = section(c, at_literal);
        break;
      case Where::Value:
        step = value(c, at_literal);
        break;
      case Where::Nested:
        step = nested(c, at_literal);
        break;
    }
  }
  at_ = c.position();
  mark_ = c.mark();
  return *step;
}

void FetchParser::body_streamed(const Line& line) {
  fetched_.body = Body::Delivered;
  at_ = line.text.size();
  where_ = Where::Name;
}

std::optional<FetchParser::Step> FetchParser::name(Cursor& c, bool at_literal) {
  for (;;) {  // servers double blanks, some parentheses too
    if (c.take(')'))
      closed_ = true;
    else if (!c.take('(') && !c.take(' ') && !c.take('\t'))
      break;
  }
  // Where a body has come, a line that does not end as it should is the rest of another one.
  if (c.at_end()) return at_literal || (delivered() && !closed_) ? Step::Malformed : Step::Done;
  closed_ = false;
  const std::string_view text = c.until(" \t()[\"");
  if (text.empty()) return Step::Malformed;
  item_ = item_of(text, c.at('['));
  whole_ = equal_ignoring_case(text, "RFC822");
  where_ = c.take('[') ? Where::Section : Where::Value;
  if (where_ == Where::Section && c.at(']')) whole_ = true;
  return std::nullopt;
}

std::optional<FetchParser::Step> FetchParser::section(Cursor& c, bool at_literal) {
  for (;;) {
    c.until("]\"{");
    if (c.at_end()) return at_literal ? Step::PlainLiteral : Step::Malformed;
    if (c.take(']')) break;
    if (c.at('"') && !c.skip_quoted()) return Step::Malformed;
    if (c.at('{') && !c.skip_literal()) c.take('{');
  }
  if (c.take('<')) {  // RFC 9051 §7.5.2: BODY[…]<origin octet>
    c.until("> \t()");
    c.take('>');
  }
  where_ = Where::Value;
  return std::nullopt;
}

std::optional<FetchParser::Step> FetchParser::value(Cursor& c, bool at_literal) {
  c.spaces();
  if (c.at_end() && at_literal) {
    if (item_ != Item::Body) return Step::PlainLiteral;
    return second_whole() ? Step::Malformed : Step::BodyLiteral;
  }
  where_ = Where::Name;
  if (c.at_end() || c.at(')')) return std::nullopt;  // an item without a value
  const bool textual = item_ == Item::InternalDate || item_ == Item::EmailId || item_ == Item::GmailId;
  if (!textual && c.skip_literal()) return std::nullopt;
  // Told again behind a body: these are another response's.
  const bool again =
      (item_ == Item::Flags && fetched_.flags) || (item_ == Item::InternalDate && fetched_.internal_date);
  if (again && delivered()) return Step::Malformed;
  switch (item_) {
    case Item::Body:
      return body_value(c);
    case Item::Uid:
      return uid_value(c);
    case Item::Flags:
      return flags_value(c);
    case Item::InternalDate:
      if (c.take_nil()) return std::nullopt;
      fetched_.internal_date = c.string();
      return fetched_.internal_date ? std::nullopt : std::optional(Step::Malformed);
    case Item::Size:
      fetched_.size = c.number();
      return std::nullopt;
    case Item::ModSeq:
      c.take('(');
      c.spaces();
      if (const auto modseq = c.number(); modseq && *modseq > 0) fetched_.modseq = mail::ModSeq{*modseq};
      return std::nullopt;
    case Item::EmailId:
    case Item::GmailId:
      id_value(c);
      return std::nullopt;
    case Item::Other:
      break;
  }
  if (c.at('('))
    where_ = Where::Nested;
  else if (c.at('"') ? !c.skip_quoted() : !c.skip_literal() && c.atom().empty())
    return Step::Malformed;
  return std::nullopt;
}

std::optional<FetchParser::Step> FetchParser::nested(Cursor& c, bool at_literal) {
  do {
    if (c.at_end()) return at_literal ? Step::PlainLiteral : Step::Malformed;
    if (c.take('(')) {
      if (++depth_ > limits_->nesting) return Step::TooDeep;
    } else if (c.take(')')) {
      --depth_;
    } else if (c.at('"')) {
      if (!c.skip_quoted()) return Step::Malformed;
    } else if (!c.skip_literal()) {
      c.advance(1);
    }
  } while (depth_ > 0);
  where_ = Where::Name;
  return std::nullopt;
}

std::optional<FetchParser::Step> FetchParser::body_value(Cursor& c) {
  if (c.take_nil()) {
    if (whole_ && had_whole_) return Step::Malformed;
    if (fetched_.body == Body::Absent) fetched_.body = Body::Nil;
    return std::nullopt;
  }
  if (c.at('(')) {
    where_ = Where::Nested;
    item_ = Item::Other;
    return std::nullopt;
  }
  if (c.at('"')) {
    auto text = c.quoted();
    if (!text || !ends_value(c)) return Step::Malformed;
    inline_ = *std::move(text);
  } else {
    // Yandex leaves the value out; then what follows is the next item. Looked at, not consumed.
    Cursor ahead = c;
    const std::string_view text = ahead.atom();
    if (is_item_name(text)) return std::nullopt;
    inline_ = text;
    c = ahead;
  }
  if (second_whole()) return Step::Malformed;
  fetched_.body = Body::Delivered;
  return Step::InlineBody;
}

// Two whole messages in one response: the literal of the first has swallowed the beginning of another response.
bool FetchParser::second_whole() { return whole_ && std::exchange(had_whole_, true); }

std::optional<FetchParser::Step> FetchParser::uid_value(Cursor& c) {
  const auto number = c.number();
  if (!number || *number > UINT32_MAX) return Step::Malformed;
  const mail::Uid uid{static_cast<std::uint32_t>(*number)};
  if (uid.value == 0) return std::nullopt;
  // Two UIDs in one response: the end of one response was swallowed by a literal of another.
  if (fetched_.uid && *fetched_.uid != uid) return Step::Malformed;
  fetched_.uid = uid;
  return std::nullopt;
}

std::optional<FetchParser::Step> FetchParser::flags_value(Cursor& c) {
  bool too_many = false;
  auto flags = c.words(limits_->words, too_many);
  if (!flags) return too_many ? Step::TooMany : Step::Malformed;
  fetched_.flags = mail::FlagSet(0, *std::move(flags));
  return std::nullopt;
}

void FetchParser::id_value(Cursor& c) {
  const bool wrapped = c.take('(');  // RFC 8474 §5.4: EMAILID (id); Gmail: X-GM-MSGID n
  c.spaces();
  if (!c.take_nil())
    if (auto id = c.astring(); id && (item_ == Item::EmailId || !fetched_.email_id)) fetched_.email_id = *std::move(id);
  c.spaces();
  if (wrapped) c.take(')');
}

}  // namespace mailhaul::imap
