// Private to rooms that hold a transport themselves: turns octets of an IMAP connection into log lines that are safe to
// show. log_wire() is this around a Transport. Not thread-safe.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace mailhaul::net {

class WireLog {
 public:
  explicit WireLog(std::function<void(std::string_view line)> write) : write_(std::move(write)) {}
  void sent(std::string_view octets);
  void received(std::string_view octets);

 private:
  // One direction: a line is kept up to kKept octets (plus its end, which may announce a literal).
  struct Direction {
    std::string text;
    std::string tail;
    std::uint64_t literal = 0;  // octets of a literal still to come
    std::uint64_t cut = 0;      // octets of the line that were not kept
  };
  static constexpr std::size_t kKept = 2000;

  template <class OnLine>
  void take(Direction& direction, std::string_view octets, OnLine&& on_line);
  static void keep(Direction& direction, std::string_view octets);
  void client_line(Direction& line);
  void server_line(Direction& line);

  std::function<void(std::string_view)> write_;
  Direction client_, server_;
  bool secret_ = false;     // the rest of the client's line is a secret
  bool continued_ = false;  // the line goes on behind a literal
};

}  // namespace mailhaul::net
