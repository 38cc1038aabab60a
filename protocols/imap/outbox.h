// Octets on their way out, in order. What stands behind a synchronizing literal's announcement waits for the server's
// "+" (RFC 9051 §4.3). Octets that were sent are wiped: a password may be among them. Private to the room.
#pragma once
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>

namespace mailhaul::imap {

class Outbox {
 public:
  ~Outbox();
  Outbox() = default;
  Outbox(const Outbox&) = delete;
  Outbox& operator=(const Outbox&) = delete;

  // Takes the octets of a part of command `id`; gated: it waits for a "+". `octets` is wiped.
  void put(std::uint64_t id, std::string& octets, bool gated);
  [[nodiscard]] std::string_view ready() const { return std::string_view(ready_).substr(head_); }
  void sent(std::size_t octets);
  // A "+" has come. False if nothing waits for it, or if what it would answer has not been sent yet.
  bool release();
  void drop(std::uint64_t id);                           // the parts of the command that still wait
  [[nodiscard]] bool untouched(std::uint64_t id) const;  // not one octet of it was sent
  [[nodiscard]] bool wholly_sent(std::uint64_t id) const;
  [[nodiscard]] bool empty() const { return ready().empty() && blocked_.empty(); }

 private:
  struct Blocked {
    std::uint64_t id;
    bool gated;
    std::string octets;
  };
  struct Extent {  // where a part lies in everything that was ever ready
    std::uint64_t id, begin, end;
  };
  void make_ready(std::uint64_t id, std::string& octets);
  void move_on();

  std::string ready_;
  std::size_t head_ = 0;
  std::uint64_t sent_ = 0, queued_ = 0;
  std::deque<Blocked> blocked_;
  std::deque<Extent> unsent_;
};

}  // namespace mailhaul::imap
