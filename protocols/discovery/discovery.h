// From an address to the settings of its mail server: what is known, what the domain publishes, who its mail exchanger
// is, and at last careful guesses. Only settings with TLS come out, and they were tried before they do.
#pragma once
#include <chrono>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/result.h"
#include "protocols/discovery/presets.h"
#include "protocols/http/http.h"
#include "protocols/net/connector.h"

namespace mailhaul::discovery {

struct Options {
  net::ConnectOptions connect;               // gate, proxy and CA file serve the web requests, too
  std::string resolver;                      // "192.0.2.1:53" for SRV and MX; empty: the system's
  std::vector<std::string> connect_to = {};  // "HOST:PORT:TO-HOST:TO-PORT": as in http::Options, for mail servers, too
  std::chrono::milliseconds step{5'000};     // each question
  std::chrono::milliseconds total{60'000};
  std::stop_token stop;
};

struct Step {
  enum class Outcome { Found, Nothing, Failed };
  std::string
      what;  // "preset", "autoconfig https://…", "SRV _imaps._tcp.example.org", "try imaps://imap.example.org:993"
  std::string result;  // one line
  Outcome outcome = Outcome::Nothing;
  std::chrono::milliseconds took{0};
};

struct Settings {
  Server server;
  std::string user;
  std::vector<std::string> auth;  // as in Preset; of servers that only say what they take: "password"
  std::string source;             // the step that named them
  // The way to this server can be forged (DNS), and it is one of another domain: a person should agree (RFC 6186 §6).
  bool confirm = false;
  bool works = false;   // DNS, TCP, TLS with its name, greeting and capabilities were all right
  std::string problem;  // if not: which of them was not
  std::string security, greeting;
  std::vector<std::string> capabilities, logins;

  [[nodiscard]] std::string url() const;  // "imaps://user@host:993"
};

struct Findings {
  std::string address;  // with its domain in ASCII (xn--)
  std::vector<Step> steps;
  std::vector<Settings> settings;     // in the order of trust
  std::optional<std::size_t> chosen;  // the first that works, IMAP before POP3
  const Preset* provider = nullptr;   // who runs the server, if known; lives as long as the program
};

// An Error only for what is no address, and for a stop. Nothing found is a finding, with all steps.
// `progress` is told of each step when it is over.
Result<Findings> discover(std::string_view address, const Options& options,
                          const std::function<void(const Step&)>& progress = {});

// The address with its domain in the form of DNS (RFC 5891, UTS 46): lower case, xn--. An Error says what is wrong.
Result<std::string> ascii_address(std::string_view address);

}  // namespace mailhaul::discovery
