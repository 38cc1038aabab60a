// A small HTTPS client for documents that are small, too: settings, metadata, tokens, and for requests in a row to one
// server. By libcurl; limits first. No
// cookies, no proxies of the environment, no content encodings, no credentials out of URLs.
#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "protocols/base/result.h"
#include "protocols/base/types.h"
#include "protocols/net/address_gate.h"

namespace mailhaul::http {

struct Options {
  std::chrono::milliseconds timeout{15'000};  // of everything, redirects included
  std::size_t max_body = 256 << 10;           // octets; more is an Error, and is not read
  std::chrono::seconds stall{0};              // not 0: silence for so long ends a request
  int redirects = 3;
  bool plain_http = false;     // http:// too; for tests and an operator's own provider on this machine
  std::string ca_file, proxy;  // as in net::ConnectOptions
  std::string ca = {};         // certificates to trust instead (PEM), given as they are
  net::AddressGate gate = {};  // for every address that is connected to, after redirects, too
  std::vector<std::string> connect_to =
      {};  // "HOST:PORT:TO-HOST:TO-PORT": where a host is instead; names are still checked
};

struct Request {
  std::string url;
  std::string method = {};  // empty: POST with a body, else GET
  std::string body = {};
  std::string content_type = {};  // of the body
  // Sent as "Authorization: Bearer"; or `secret`: the body holds a secret. With either, redirects are an Error: a
  // secret goes to the place that it is meant for (CVE-2025-14524).
  Secret bearer = {};
  bool secret = false;
  std::vector<std::pair<std::string, std::string>> headers = {};  // more of them; fit to be sent as they are
  std::string accept = "*/*";
  std::string user = {};  // not empty: HTTP authentication with `password` (RFC 7617), or by digest (RFC 7616)
  Secret password = {};
  bool digest = false;
  // Gets the body of a 2xx answer piece by piece instead of Response::body, without a limit. Its Error ends the request
  // and is the result.
  std::function<Done(std::string_view)> sink = {};

  [[nodiscard]] bool has_secret() const { return secret || !bearer.empty() || !user.empty(); }
};

struct Response {
  int status = 0;
  std::string content_type;  // lower case, without parameters
  std::string body;
  std::string url;               // where it came from in the end
  std::string location = {};     // of a redirect, absolute; empty: there is none
  std::string challenge = {};    // the schemes of WWW-Authenticate, lower case, one a line
  std::int64_t retry_after = 0;  // seconds; 0: nothing was said
};

// An answer of any status is a Response. Errors: Retry::Later for what may pass (no connection, a time-out),
// AfterUserAction for what does not (certificates, limits, a redirect that is not followed, the gate). URLs are shown
// without their query.
Result<Response> fetch(const Request&, const Options&, const std::stop_token& stop = {});

// Requests to one server that share a connection (keep-alive). Redirects are not followed: they are Responses. Belongs
// to one thread at a time.
class Connection {
 public:
  explicit Connection(Options options);
  ~Connection();
  Connection(Connection&&) noexcept;
  Connection& operator=(Connection&&) noexcept;
  Result<Response> send(const Request&, const std::stop_token& stop = {});
  [[nodiscard]] std::size_t requests() const;  // that were sent so far

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

std::string percent_encoded(std::string_view text);  // RFC 3986 §2.3: all but unreserved
std::string percent_decoded(std::string_view text);  // of a form: "+" is a space; what is no "%XX" stays as it is
// "a=b&c=d" (application/x-www-form-urlencoded); to be wiped by the caller if it holds secrets.
std::string form(const std::vector<std::pair<std::string, std::string>>& fields);

}  // namespace mailhaul::http
