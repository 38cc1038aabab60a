// Scripts for a pretended IMAP server, written as transcripts and played without I/O. scripted_server.h plays them on a
// real socket, scripted_transport.h in memory.
//
// A line each; blank lines and lines that start with '#' are ignored, leading blanks too:
//
//   C: $a UID FETCH 1:* (UID)   one line from the client. `*` stands for any run of octets. `$name` ($ and lower-case
//                               letters or digits) stands for one word: bound at its first use (a tag, mostly), the
//                               same word afterwards. Letters are compared without regard to case. A line that ends in
//                               {n} or {n+} is followed by n octets that are the beginning of the next C line.
//   S: $a OK done               a line to the client; CRLF is added, $name is replaced.
//   S-raw: text\r\n             the same without CRLF; \r \n \t \0 \\ \xNN are understood (here only). "S-raw:" alone
//                               sends nothing, which is handy in generated scripts.
//   S-octets: 1000              so many octets of a pattern (lines of 'a'…'z' that end in CRLF; see pattern()).
//   C-any: 3                    three lines of whatever the client sends.
//   C-set: $a LOGIN *           like C, but lines of adjacent C-set directives may come in any order.
//   flush                       ends the segment: what was queued goes out before the next line is queued. Consecutive
//                               S lines leave in one write otherwise.
//   starttls                    the TLS handshake, now (needs a certificate; in memory: impossible).
//   compress                    DEFLATE both ways from here on (RFC 4978). S lines before and after it leave in one
//   write,
//                               unless a flush parts them.
//   close                       closes in good order (TLS: with close_notify). Also what the end of the script does.
//   drop                        closes the TCP connection without close_notify.
//   reset                       sends a TCP reset.
//   stall                       says nothing more, reads on until the client goes away.
//   eof                         the client has to close here; what it still sends (LOGOUT) is read and ignored.
//
// After the last directive the server reads on until the client goes away, as `eof` does.
#pragma once
#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace mailhaul::test {

// n octets: lines of 78 letters and CRLF, cut at n. What S-octets sends.
std::string pattern(std::size_t n);

class Transcript {
 public:
  // A malformed script throws std::invalid_argument: it is a bug of the test.
  explicit Transcript(std::string_view script);

  enum class Want { Input, Output, StartTls, Compress, Close, Drop, Reset, Stall, End, Failed };
  // Goes as far as it can and says what it needs. Output: take_output() first. StartTls: told as soon as all before it
  // has been taken; Compress: take_output() is still plain. Call again after doing it.
  Want advance();
  std::string take_output();
  void feed(std::string_view octets);
  void closed();  // the client has gone away

  // The lines that C directives have taken, with their bindings applied; and why Want::Failed.
  [[nodiscard]] const std::vector<std::string>& lines() const { return lines_; }
  [[nodiscard]] const std::string& failure() const { return failure_; }
  [[nodiscard]] bool finished() const { return at_ == steps_.size(); }  // every directive was played
  [[nodiscard]] const std::string& unread() const { return input_; }
  // Octets that came before `starttls` and after the line it answers are thrown away here, as servers must.
  void forget_input() { input_.clear(); }

 private:
  enum class Kind { Client, ClientSet, ClientAny, Server, Flush, StartTls, Compress, Close, Drop, Reset, Stall, Eof };
  struct Step {
    Kind kind;
    std::string text;
    std::size_t number = 0;  // line in the script
    std::size_t count = 0;
    bool taken = false;
  };
  bool next_line(std::string& line);
  bool match(const Step& step, std::string_view line);
  bool take_client(const std::string& line);
  std::string expand(std::string_view text, const Step& step);
  Want fail(const Step& step, std::string_view got);

  std::vector<Step> steps_;
  std::size_t at_ = 0;
  bool flushing_ = false;
  bool gone_ = false;
  std::string input_, output_, failure_;
  std::size_t literal_ = 0;  // octets of a literal that are still to come before the line goes on
  std::string begun_;        // the literal so far
  std::vector<std::string> lines_;
  std::map<std::string, std::string, std::less<>> bound_;
};

}  // namespace mailhaul::test
