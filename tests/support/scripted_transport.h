// The pretended server of transcript.h as a net::Transport in memory: no socket, no thread, no time. Octets reach the
// client in the chunks asked for.
#pragma once
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "protocols/net/transport.h"
#include "tests/support/transcript.h"

namespace mailhaul::test {

enum class Chunks { Whole, Octets, Random };  // Octets: one by one

// What is left to look at when the client has destroyed its transport.
struct Played {
  std::vector<std::string> lines;  // the client's
  std::string failure;             // "" or the first line that the client missed
  bool finished = false;           // the script was played to its end
};

class ScriptedTransport final : public net::Transport {
 public:
  explicit ScriptedTransport(std::string_view script, Chunks chunks = Chunks::Whole, std::uint32_t seed = 1);
  ~ScriptedTransport() override;

  // A wait that could never end (both sides listen, or `stall`) is a time-out at once. `starttls` is a failure;
  // `compress`, too; `drop` and `reset` are lost connections.
  Result<net::Moved> move(std::string_view out, std::span<char> in, std::chrono::milliseconds idle) override;
  [[nodiscard]] std::string security() const override { return "memory"; }
  [[nodiscard]] std::shared_ptr<const Played> played() const { return played_; }

 private:
  void note();
  Transcript transcript_;
  Chunks chunks_;
  std::mt19937 random_;
  std::string waiting_;    // the server's
  std::size_t given_ = 0;  // of it, to the client
  bool closed_ = false, lost_ = false;
  std::shared_ptr<Played> played_ = std::make_shared<Played>();
};

}  // namespace mailhaul::test
