#include <zlib.h>

#include <algorithm>
#include <array>
#include <new>
#include <utility>

#include "protocols/net/connector.h"
#include "protocols/net/socket.h"

namespace mailhaul::net {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t kRawBuffer = 64 * 1024;
constexpr std::size_t kOutputLimit = 64 * 1024;  // compressed octets that may wait before `out` is left alone

class DeflateTransport final : public Transport {
 public:
  DeflateTransport(std::unique_ptr<Transport> inner, std::string already_received)
      : inner_(std::move(inner)), raw_(std::max(kRawBuffer, already_received.size())) {
    // Commands are short: a window of 4 KiB does, and costs 32 KiB instead of 256.
    const bool good = deflateInit2(&out_, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -12, 5, Z_DEFAULT_STRATEGY) == Z_OK &&
                      inflateInit2(&in_, -15) == Z_OK;  // RFC 4978 §3: raw DEFLATE (RFC 1951)
    if (!good) throw std::bad_alloc();
    std::copy(already_received.begin(), already_received.end(), raw_.begin());
    give(already_received.size());
  }
  ~DeflateTransport() override {
    deflateEnd(&out_);
    inflateEnd(&in_);
  }
  DeflateTransport(const DeflateTransport&) = delete;
  DeflateTransport& operator=(const DeflateTransport&) = delete;

  Result<Moved> move(std::string_view out, std::span<char> in, milliseconds idle) override;
  [[nodiscard]] std::string security() const override { return inner_->security() + " DEFLATE"; }

 private:
  void give(std::size_t octets) {
    in_.next_in = reinterpret_cast<Bytef*>(raw_.data());
    in_.avail_in = static_cast<uInt>(octets);
  }
  void compress(std::string_view octets);
  Result<std::size_t> expand(std::span<char> in);

  std::unique_ptr<Transport> inner_;
  z_stream out_{}, in_{};
  std::string waiting_;       // compressed, not yet sent
  std::vector<char> raw_;     // received, not yet expanded; what is left is in_.next_in, in_.avail_in
  bool more_inside_ = false;  // the last expansion filled the caller's buffer: zlib may hold more
  bool ended_ = false, closed_ = false;
};

void DeflateTransport::compress(std::string_view octets) {
  std::array<char, 4096> chunk;
  out_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(octets.data()));
  out_.avail_in = static_cast<uInt>(octets.size());
  do {
    out_.next_out = reinterpret_cast<Bytef*>(chunk.data());
    out_.avail_out = static_cast<uInt>(chunk.size());
    deflate(&out_, Z_SYNC_FLUSH);  // the peer can read all of it at once (RFC 4978 §4)
    waiting_.append(chunk.data(), chunk.size() - out_.avail_out);
  } while (out_.avail_out == 0);
}

Result<std::size_t> DeflateTransport::expand(std::span<char> in) {
  if (in.empty() || ended_ || (in_.avail_in == 0 && !more_inside_)) return std::size_t{0};
  const std::size_t room = std::min<std::size_t>(in.size(), 1U << 30);
  in_.next_out = reinterpret_cast<Bytef*>(in.data());
  in_.avail_out = static_cast<uInt>(room);
  const int code = inflate(&in_, Z_SYNC_FLUSH);
  if (code == Z_STREAM_END)
    ended_ = true;
  else if (code != Z_OK && code != Z_BUF_ERROR)
    return connection_lost("the compressed stream is broken");
  more_inside_ = in_.avail_out == 0;
  return room - in_.avail_out;
}

Result<Moved> DeflateTransport::move(std::string_view out, std::span<char> in, milliseconds idle) {
  Moved moved;
  for (;;) {
    if (moved.sent == 0 && !out.empty() && waiting_.size() < kOutputLimit) {
      moved.sent = std::min<std::size_t>(out.size(), kOutputLimit);
      compress(out.substr(0, moved.sent));
    }
    Result<std::size_t> expanded = expand(in);
    if (!expanded) return expanded.error();
    moved.received = *expanded;
    moved.closed = moved.received == 0 && (ended_ || closed_) && !in.empty();
    // What is already here goes to the caller first; it comes back soon, and then the rest is sent.
    if (moved.received > 0 || moved.closed) return moved;
    if (moved.sent > 0 && waiting_.empty()) return moved;
    if (waiting_.empty() && in.empty()) return moved;
    const std::span<char> room = in.empty() ? std::span<char>{} : std::span<char>(raw_);
    const Result<Moved> inner = inner_->move(waiting_, room, idle);
    if (!inner) return inner.error();
    waiting_.erase(0, inner->sent);
    if (!room.empty()) give(inner->received);
    closed_ = inner->closed;
    if (idle == milliseconds::zero() && inner->sent + inner->received == 0 && !closed_) return moved;
  }
}

}  // namespace

std::unique_ptr<Transport> start_deflate(std::unique_ptr<Transport> inner, std::string already_received) {
  return std::make_unique<DeflateTransport>(std::move(inner), std::move(already_received));
}

}  // namespace mailhaul::net
