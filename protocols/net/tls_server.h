// The server's side of TLS (RFC 8446; 1.2 and up): a certificate that can be changed while connections go on, and
// sessions over non-blocking sockets.
#pragma once
#include <sys/types.h>

#include <memory>
#include <string>

#include "protocols/base/result.h"

namespace mailhaul::net {

// One connection; of one thread at a time. The socket is its owner's, and outlives it.
class TlsSession {
 public:
  virtual ~TlsSession() = default;
  // As recv() and send() have it: octets; 0: the peer has said that it ends; -1 with errno EAGAIN, or another one when
  // the connection is of no use any more. The handshake is made along with them.
  virtual ssize_t receive(char* octets, std::size_t size) = 0;
  virtual ssize_t send(const char* octets, std::size_t size) = 0;
  [[nodiscard]] virtual bool wants_write() const = 0;  // before it can go on, in either direction
  [[nodiscard]] virtual bool pending() const = 0;      // octets are here that no poll will tell of
  [[nodiscard]] virtual bool cleartext() const = 0;    // the peer speaks HTTP without TLS
  virtual void end() = 0;                              // tells the peer; does not wait
};

// Thread-safe.
class TlsServer {
 public:
  // PEM: the chain, the server's own certificate first, and its key. Errors (AfterUserAction): what is wrong with them.
  static Result<std::unique_ptr<TlsServer>> open(const std::string& certificate, const std::string& key);
  virtual ~TlsServer() = default;
  virtual Done reload() = 0;  // reads the files again; on error the pair stays as it was
  virtual std::unique_ptr<TlsSession> accept(int socket) = 0;
};

}  // namespace mailhaul::net
