// A small HTTPS client for documents that are small, too: settings, metadata, tokens. By libcurl; limits first. No
// cookies, no proxies of the environment, no content encodings, no credentials out of URLs.
#pragma once
#include <chrono>
#include <cstddef>
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
};

struct Response {
  int status = 0;
  std::string content_type;  // lower case, without parameters
  std::string body;
  std::string url;  // where it came from in the end
};

// An answer of any status is a Response. Errors: Retry::Later for what may pass (no connection, a time-out),
// AfterUserAction for what does not (certificates, limits, a redirect that is not followed, the gate). URLs are shown
// without their query.
Result<Response> fetch(const Request&, const Options&, const std::stop_token& stop = {});

std::string percent_encoded(std::string_view text);  // RFC 3986 §2.3: all but unreserved
std::string percent_decoded(std::string_view text);  // of a form: "+" is a space; what is no "%XX" stays as it is
// "a=b&c=d" (application/x-www-form-urlencoded); to be wiped by the caller if it holds secrets.
std::string form(const std::vector<std::pair<std::string, std::string>>& fields);

}  // namespace mailhaul::http
