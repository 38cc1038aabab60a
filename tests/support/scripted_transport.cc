#include "tests/support/scripted_transport.h"

#include <algorithm>

namespace mailhaul::test {

ScriptedTransport::ScriptedTransport(std::string_view script, Chunks chunks, std::uint32_t seed)
    : transcript_(script), chunks_(chunks), random_(seed) {}

ScriptedTransport::~ScriptedTransport() {
  transcript_.closed();
  // A client that goes away in time is what `eof` and `stall` wait for; before a C line it is a failure.
  while (!closed_ && !lost_) {
    const auto want = transcript_.advance();
    if (want == Transcript::Want::Output) {
      transcript_.take_output();
      continue;
    }
    break;
  }
  note();
}

void ScriptedTransport::note() {
  played_->lines = transcript_.lines();
  played_->failure = transcript_.failure();
  played_->finished = transcript_.finished();
}

Result<net::Moved> ScriptedTransport::move(std::string_view out, std::span<char> in, std::chrono::milliseconds) {
  net::Moved moved;
  const auto cut = [&](std::size_t n) {
    if (chunks_ == Chunks::Whole || n == 0) return n;
    return chunks_ == Chunks::Octets
               ? 1
               : std::uniform_int_distribution<std::size_t>(1, std::min<std::size_t>(n, 40))(random_);
  };
  if (!lost_ && !closed_ && !out.empty()) {
    moved.sent = cut(out.size());
    transcript_.feed(out.substr(0, moved.sent));
  }
  while (given_ == waiting_.size() && !closed_ && !lost_) {
    const auto want = transcript_.advance();
    note();
    if (want == Transcript::Want::Output)
      waiting_ = transcript_.take_output(), given_ = 0;
    else if (want == Transcript::Want::Close)
      closed_ = true;
    else if (want == Transcript::Want::Input || want == Transcript::Want::Stall || want == Transcript::Want::End)
      break;
    else
      lost_ = true;
  }
  moved.received = std::min(in.size(), cut(std::min(in.size(), waiting_.size() - given_)));
  std::copy_n(waiting_.data() + given_, moved.received, in.data());
  given_ += moved.received;
  if (moved.sent > 0 || moved.received > 0) return moved;
  if (lost_ && !played_->failure.empty())
    return Error{Scope::Account, Retry::Now, "connection lost: script: " + played_->failure, ""};
  if (lost_) return Error{Scope::Account, Retry::Now, "connection lost", ""};
  if (closed_) {
    moved.closed = true;
    return moved;
  }
  return Error{Scope::Account, Retry::Now, "timed out: the script waits, too", ""};
}

}  // namespace mailhaul::test
