// The door to the network: one thread holds all connections, gives whole requests to a few workers, and writes what
// they answer. Slow or endless clients hold memory within limits and no worker; streams of events hold neither.
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "protocols/base/result.h"
#include "protocols/net/tls_server.h"
#include "web/request_reader.h"

namespace mailhaul::web {

struct FrontSettings {
  std::string address = "127.0.0.1";  // numeric; "::" for all
  std::uint16_t port = 8025;          // 0: any that is free
  std::size_t workers = 8;
  std::size_t connections = 1024;
  std::size_t per_address = 64;
  std::size_t streams = 256;
  std::size_t waiting = 256;  // requests that no worker has taken yet; more are answered 503
  ReadLimits limits;
  std::chrono::seconds request{20};     // from the first octet to the last
  std::chrono::seconds idle{30};        // between requests
  std::chrono::seconds beat{15};        // a comment in a stream
  std::shared_ptr<net::TlsServer> tls;  // null: cleartext
};

struct Answer {
  std::string octets;  // a whole response
  bool close = false;
  // Not null: the connection stays open after `octets`, and whatever this gives is sent: called from the front's thread
  // after wake(), at each beat, and while there is room; gives "" when there is nothing, nullopt to end it.
  std::function<std::optional<std::string>()> stream;
};

class Front {
 public:
  // `handler` is called from several threads; `remote` is the peer's numeric address.
  using Handler = std::function<Answer(RawRequest&& request, const std::string& remote)>;
  static Result<std::unique_ptr<Front>> open(const FrontSettings& settings, Handler handler);
  ~Front();
  void serve();  // until stop()
  void stop();   // from any thread or a signal handler's thread; answers that are being made are still given
  void wake();   // streams are asked again; from any thread, does not block
  [[nodiscard]] std::uint16_t port() const;
  [[nodiscard]] std::size_t connections() const;

 private:
  struct Impl;
  explicit Front(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace mailhaul::web
