// Cuts a connection's octets into whole HTTP/1.1 requests (RFC 9112), strictly and within limits, before any library
// sees them: what is ambiguous, endless or smuggled ends here. Pure.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mailhaul::web {

struct ReadLimits {
  std::size_t head = 64 << 10;  // octets of request line and header section
  std::size_t target = 4 << 10;
  std::size_t line = 8 << 10;  // of one header field; the library's own limit
  std::size_t fields = 100;
  std::size_t body = 1 << 20;
  std::size_t import_body = 16 << 20;  // of text/csv
};

struct RawRequest {
  std::string head;  // request line and fields, each ending in CRLF, without Connection, Transfer-Encoding, Expect;
                     // with the Content-Length that the body has; no empty line
  std::string method, target, host;
  std::string body;
  bool keep_alive = true;
  std::string forwarded_for;  // X-Forwarded-For as it came
};

class RequestReader {
 public:
  explicit RequestReader(const ReadLimits& limits = {}) : limits_(limits) {}

  struct Refused {
    int status = 400;
    std::string why;
  };
  enum class State { More, Continue, Whole, Refused };  // Continue: the client waits for "100 Continue", once
  // Takes octets from the front of `input` as far as they go.
  State read(std::string& input);
  RawRequest take();  // after Whole; ready for the next one
  [[nodiscard]] const Refused& refused() const { return refused_; }
  [[nodiscard]] bool begun() const { return begun_; }  // some of a request has come

 private:
  State refuse(int status, std::string why);
  State read_head(std::string& input);
  State read_body(std::string& input);
  State read_chunks(std::string& input);
  bool take_field(std::string_view line);
  ReadLimits limits_;
  RawRequest request_;
  Refused refused_;
  bool in_body_ = false, begun_ = false, chunked_ = false, expects_ = false, trailers_ = false;
  std::optional<std::uint64_t> length_;  // of the body; of the chunk at hand
  bool in_chunk_ = false;
  std::size_t most_ = 0;
  std::size_t searched_ = 0;
};

}  // namespace mailhaul::web
