// Parses the items of one FETCH response (RFC 9051 §7.5.2) piece by piece: whenever a literal is announced it goes as
// far as it can and remembers where it was, so that a response with many bodies costs linear time. Private to the room.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "protocols/imap/cursor.h"
#include "protocols/imap/event.h"
#include "protocols/imap/session.h"

namespace mailhaul::imap {

class FetchParser {
 public:
  enum class Step {
    Done,          // the response is complete: take()
    InlineBody,    // a body that was a quoted string or an atom: inline_body(), then advance() again
    BodyLiteral,   // the announced literal is a message body: stream it, then body_streamed()
    PlainLiteral,  // the announced literal belongs to something else: keep it beside the line
    Malformed,
    TooDeep,
    TooMany,
  };

  FetchParser(const Limits& limits, std::uint64_t& work) : limits_(&limits), work_(&work) {}

  // `from`: where the items begin in the line.
  void begin(std::size_t from, mail::SequenceNumber number, std::optional<mail::Uid> uid);
  // The line's text up to `stop` has come; `at_literal`: a literal announcement stands there, else the response ends
  // there.
  Step advance(const Line& line, std::size_t stop, bool at_literal);
  void body_streamed(const Line& line);

  [[nodiscard]] std::optional<mail::Uid> uid() const { return fetched_.uid; }
  [[nodiscard]] const Fetched& so_far() const { return fetched_; }
  [[nodiscard]] const std::string& inline_body() const { return inline_; }
  [[nodiscard]] bool delivered() const { return fetched_.body == Body::Delivered; }
  Fetched take() { return std::move(fetched_); }

 private:
  enum class Where { Name, Section, Value, Nested };
  enum class Item { Uid, Flags, InternalDate, Size, ModSeq, EmailId, GmailId, Body, Other };

  static Item item_of(std::string_view name, bool section);
  static bool is_item_name(std::string_view text);
  std::optional<Step> name(Cursor& c, bool at_literal);
  std::optional<Step> section(Cursor& c, bool at_literal);
  std::optional<Step> value(Cursor& c, bool at_literal);
  std::optional<Step> nested(Cursor& c, bool at_literal);
  std::optional<Step> body_value(Cursor& c);
  std::optional<Step> uid_value(Cursor& c);
  std::optional<Step> flags_value(Cursor& c);
  void id_value(Cursor& c);
  bool second_whole();

  const Limits* limits_;
  std::uint64_t* work_;
  Fetched fetched_;
  std::string inline_;
  std::size_t at_ = 0, mark_ = 0, depth_ = 0;
  Where where_ = Where::Name;
  Item item_ = Item::Other;
  bool whole_ = false;      // the item is all of a message
  bool had_whole_ = false;  // this response has had one
  bool closed_ = false;     // the last thing read was a closing parenthesis
};

}  // namespace mailhaul::imap
