// A listening socket on 127.0.0.1 (or ::1) at a port that the kernel picks, with a handler per connection on its own
// thread. The destructor wakes and joins all of them. The server's side of TLS and DEFLATE is here.
#pragma once
#include <openssl/ssl.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace mailhaul::test {

// The server's end of a connection; blocking, but woken when the Loopback goes. Belongs to the handler's thread.
class Stream {
 public:
  Stream(int fd, int wake);
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  bool read(std::string& into);       // appends at least one octet; false: closed, lost or the test is over
  bool read_line(std::string& line);  // without CRLF; for handlers that are no transcripts
  bool read_exactly(std::string& into, std::size_t octets);
  bool write(std::string_view octets);              // all of it; does not read meanwhile
  bool start_tls(SSL_CTX* context);                 // false: the handshake failed, see tls_error()
  void start_compression(std::string before = {});  // `before` is sent first, plain, in one piece with what comes next
  bool wait_closed();                               // reads and forgets until the client goes
  void close();                                     // in good order
  void drop();                                      // without close_notify
  void reset();                                     // RST
  [[nodiscard]] int descriptor() const { return fd_; }
  [[nodiscard]] bool encrypted() const { return ssl_ != nullptr; }
  [[nodiscard]] const std::string& tls_error() const { return tls_error_; }

 private:
  struct Deflate;
  bool wait(short events);
  bool write_raw(std::string_view octets);
  long read_raw(char* into, std::size_t room);

  int fd_, wake_;
  SSL* ssl_ = nullptr;
  std::unique_ptr<Deflate> deflate_;
  std::string buffered_, before_, tls_error_;
};

class Loopback {
 public:
  using Handler = std::function<void(Stream&, std::size_t connection)>;  // connection: 0, 1, …
  explicit Loopback(Handler handler, bool ipv6 = false);
  ~Loopback();
  Loopback(const Loopback&) = delete;
  Loopback& operator=(const Loopback&) = delete;

  [[nodiscard]] std::uint16_t port() const { return port_; }
  [[nodiscard]] bool usable() const { return listener_ >= 0; }  // false: no IPv6 here
  [[nodiscard]] std::size_t connections() const { return connections_; }
  // Waits until every handler started so far has returned.
  void join_handlers();

 private:
  void accept_all();
  Handler handler_;
  int listener_ = -1, wake_ = -1;
  std::uint16_t port_ = 0;
  std::atomic<std::size_t> connections_ = 0;
  std::mutex mutex_;
  std::vector<std::thread> handlers_;
  std::thread acceptor_;
};

}  // namespace mailhaul::test
