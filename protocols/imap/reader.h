// Frames what a server sends (RFC 9051 §2.2, §4.3): lines, literals that are kept beside their line, message bodies
// that are streamed and never stored. Framing comes first, meaning second: a response that cannot be understood is lost
// alone, the stream goes on. Private to the room.
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <variant>

#include "protocols/base/result.h"
#include "protocols/imap/event.h"
#include "protocols/imap/fetch_parser.h"
#include "protocols/imap/line.h"
#include "protocols/imap/session.h"

namespace mailhaul::imap {

class ResponseReader {
 public:
  enum class Kind { Tagged, Continuation, Status, Data };  // Status: untagged OK, NO, BAD, BYE, PREAUTH
  struct LineRead {};                                      // line() and kind() are valid until the next call of next()
  using Frame = std::variant<LineRead, BodyBegin, BodyChunk, BodyEnd, Fetched>;

  ResponseReader(const Limits& limits, std::uint64_t& work) : limits_(&limits), work_(&work), fetch_(limits, work) {}
  ResponseReader(const ResponseReader&) = delete;
  ResponseReader& operator=(const ResponseReader&) = delete;

  void feed(std::string_view received) { input_ = received; }
  Result<std::optional<Frame>> next();  // nullopt: everything that was fed is used up

  [[nodiscard]] const Line& line() const { return line_; }
  [[nodiscard]] Kind kind() const { return kind_; }
  [[nodiscard]] std::size_t content() const { return content_; }  // where the line goes on behind "* ", "+ " or nothing

  [[nodiscard]] bool between_responses() const { return done_ || (phase_ == Phase::Line && line_.text.empty()); }
  [[nodiscard]] std::string_view unread() const { return input_; }
  std::string_view take_unread() { return std::exchange(input_, {}); }

 private:
  struct Announcement {
    std::size_t begin;
    std::uint64_t octets;  // UINT64_MAX if it is more than that
  };
  // Line: reads up to a line end. Segment: the items of a FETCH up to there are being parsed. InlineChunk, InlineEnd: a
  // body in quotes is being given out. Kept: a literal is put beside the line. Body, Behind: one is streamed, has
  // ended.
  enum class Phase { Line, Segment, InlineChunk, InlineEnd, Kept, Body, Behind };
  using Step = Result<std::optional<Frame>>;

  Step step();
  Step more_line();
  Step end_of_segment();
  Step fetch_segment();
  Step start_kept(const Announcement& literal);
  Step start_body(const Announcement& literal);
  void more_kept();
  Step more_body();
  Step behind_body();
  [[nodiscard]] bool starved() const;
  void classify();
  [[nodiscard]] bool begin_fetch();
  [[nodiscard]] std::optional<Announcement> announced() const;
  bool inside_quotes(std::size_t end);
  Done room_for(std::uint64_t octets) const;
  void new_line();
  Step line_done(std::optional<Frame> frame);

  const Limits* limits_;
  std::uint64_t* work_;
  FetchParser fetch_;
  std::string_view input_;
  Line line_;
  Phase phase_ = Phase::Line;
  Kind kind_ = Kind::Data;
  bool done_ = false;  // the line has been given out
  bool classified_ = false, is_fetch_ = false;
  std::size_t content_ = 0;
  std::size_t segment_ = 0;              // where in the line the part behind the last literal begins
  std::optional<Announcement> literal_;  // at the end of the segment of a FETCH
  std::uint64_t left_ = 0;               // octets of the literal that are still to come
  std::size_t quotes_seen_ = 0;          // how far the line was searched for quotes
  bool in_quotes_ = false;
  enum class Behind { Nothing, Cr, LineEnd } behind_ = Behind::Nothing;  // what has come after a body so far
};

}  // namespace mailhaul::imap
