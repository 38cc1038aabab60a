// SCRAM-SHA-1 and SCRAM-SHA-256 (RFC 5802, RFC 7677), with and without channel binding. The server's signature is
// verified; a server that leaves it out, or asks for an absurd number of iterations, is not logged in to.
#pragma once
#include <memory>
#include <string>

#include "protocols/sasl/mechanism.h"

namespace mailhaul::sasl {

struct ScramOptions {
  bool sha256 = true;
  std::string binding_type;  // "tls-exporter", "tls-server-end-point"; empty: none
  std::string binding_data;  // raw
  bool could_bind = false;   // without binding_type: the client could, the server does not offer it
  std::string nonce;         // printable, without comma
};

Result<std::unique_ptr<Mechanism>> scram(const Credentials&, ScramOptions);

// RFC 4013 as far as it matters for a password that people type: one spelling for each text (NFKC, every space a
// space); an Error for control characters.
Result<Secret> prepared_password(const Secret& password);

}  // namespace mailhaul::sasl
