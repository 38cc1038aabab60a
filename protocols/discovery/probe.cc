#include "protocols/discovery/probe.h"

#include <algorithm>
#include <array>
#include <memory>
#include <utility>

#include "protocols/base/text.h"

namespace mailhaul::discovery {
namespace {

constexpr std::size_t kLongestLine = 16 << 10;
constexpr std::size_t kMostLines = 200;

Error odd(std::string what) { return {Scope::Account, Retry::AfterUserAction, std::move(what), ""}; }

// A question and its answer, line by line; nothing here needs more of either protocol.
class Talk {
 public:
  Talk(std::unique_ptr<net::Transport> transport, std::chrono::milliseconds patience)
      : transport_(std::move(transport)), patience_(patience) {}

  Done say(std::string_view text) {
    while (!text.empty()) {
      const auto moved = transport_->move(text, {}, patience_);
      if (!moved) return moved.error();
      text.remove_prefix(moved->sent);
    }
    return done();
  }
  Result<std::string> line() {
    for (;;) {
      if (const auto end = buffer_.find('\n'); end != std::string::npos) {
        std::string one = buffer_.substr(0, end);
        buffer_.erase(0, end + 1);
        if (one.ends_with('\r')) one.pop_back();
        if (++lines_ > kMostLines) return odd("the server talks without end");
        return one;
      }
      if (buffer_.size() > kLongestLine) return odd("a line without end");
      std::array<char, 4096> room{};
      const auto moved = transport_->move({}, room, patience_);
      if (!moved) return moved.error();
      buffer_.append(room.data(), moved->received);
      if (moved->closed && moved->received == 0) return odd("the server closed the connection");
    }
  }
  // RFC 9051 §11.1: octets behind the reply to STARTTLS were put there by somebody else.
  [[nodiscard]] bool clean() const { return buffer_.empty(); }
  Done secure(const net::Endpoint& endpoint, const net::ConnectOptions& options) {
    auto secured = net::start_tls(std::move(transport_), endpoint, options);
    if (!secured) return secured.error();
    transport_ = *std::move(secured);
    return done();
  }
  [[nodiscard]] std::string security() const { return transport_->security(); }

 private:
  std::unique_ptr<net::Transport> transport_;
  std::chrono::milliseconds patience_;
  std::string buffer_;
  std::size_t lines_ = 0;
};

void add_words(std::string_view text, std::vector<std::string>& to) {
  while (!text.empty()) {
    const std::string_view word = text.substr(0, text.find(' '));
    text.remove_prefix(std::min(word.size() + 1, text.size()));
    if (!word.empty() && to.size() < kMostLines) to.push_back(printable(word, 80));
  }
}

// The tagged reply; capabilities on the way are kept.
Result<std::string> imap_reply(Talk& talk, const std::string& tag, std::vector<std::string>& capabilities) {
  for (;;) {
    Result<std::string> line = talk.line();
    if (!line) return line;
    const std::string upper = to_upper(*line);
    if (upper.starts_with("* CAPABILITY ")) {
      capabilities.clear();
      add_words(line->substr(13), capabilities);
    }
    if (upper.starts_with("* BYE")) return odd("the server does not let anybody in now: " + printable(*line, 120));
    if (line->starts_with(tag + " ")) return to_upper(line->substr(tag.size() + 1));
  }
}

Done probe_imap(Talk& talk, const Server& server, const net::ConnectOptions& options, Probed& out) {
  Result<std::string> greeting = talk.line();
  if (!greeting) return greeting.error();
  const std::string upper = to_upper(*greeting);
  const bool in_clear = server.security == Security::StartTls;
  if (!upper.starts_with("* OK") && (in_clear || !upper.starts_with("* PREAUTH")))
    return odd(upper.starts_with("* ") ? "the server does not let anybody in now" : "this is not an IMAP server");
  if (in_clear) {
    if (Done said = talk.say("m1 STARTTLS\r\n"); !said) return said;
    Result<std::string> reply = imap_reply(talk, "m1", out.capabilities);
    if (!reply) return reply.error();
    if (!reply->starts_with("OK")) return odd("the server does not start TLS");
    if (!talk.clean()) return odd("something answers before TLS: the connection may be tampered with");
    if (Done secured = talk.secure({server.host, server.port}, options); !secured) return secured;
    out.capabilities.clear();
  } else {
    out.greeting = printable(greeting->substr(2), 120);
  }
  if (Done said = talk.say("m2 CAPABILITY\r\n"); !said) return said;
  Result<std::string> reply = imap_reply(talk, "m2", out.capabilities);
  if (!reply) return reply.error();
  (void)talk.say("m3 LOGOUT\r\n");  // good manners; nobody waits for the answer
  const auto has = [&](std::string_view name) {
    return std::any_of(out.capabilities.begin(), out.capabilities.end(),
                       [&](const std::string& own) { return equal_ignoring_case(own, name); });
  };
  if (!has("IMAP4rev1") && !has("IMAP4rev2")) return odd("this is not an IMAP4rev1 server");
  for (const std::string& capability : out.capabilities)
    if (equal_ignoring_case(std::string_view(capability).substr(0, 5), "AUTH="))
      out.logins.push_back(to_upper(capability.substr(5)));
  if (!has("LOGINDISABLED")) out.logins.emplace_back("LOGIN command");
  return done();
}

Done probe_pop3(Talk& talk, const Server& server, const net::ConnectOptions& options, Probed& out) {
  Result<std::string> greeting = talk.line();
  if (!greeting) return greeting.error();
  if (!greeting->starts_with("+OK")) return odd("this is not a POP3 server that lets anybody in");
  if (server.security == Security::StartTls) {  // RFC 2595 §4
    if (Done said = talk.say("STLS\r\n"); !said) return said;
    Result<std::string> reply = talk.line();
    if (!reply) return reply.error();
    if (!reply->starts_with("+OK")) return odd("the server does not start TLS");
    if (!talk.clean()) return odd("something answers before TLS: the connection may be tampered with");
    if (Done secured = talk.secure({server.host, server.port}, options); !secured) return secured;
  } else {
    out.greeting = printable(*greeting, 120);
  }
  if (Done said = talk.say("CAPA\r\n"); !said) return said;  // RFC 2449 §5
  Result<std::string> reply = talk.line();
  if (!reply) return reply.error();
  bool user = !reply->starts_with("+OK");  // a server without CAPA is one with USER
  while (reply->starts_with("+OK")) {
    Result<std::string> line = talk.line();
    if (!line) return line.error();
    if (*line == ".") break;
    const std::string upper = to_upper(*line);
    user = user || upper == "USER";
    if (upper.starts_with("SASL ")) add_words(std::string_view(upper).substr(5), out.logins);
    if (out.capabilities.size() < kMostLines) out.capabilities.push_back(printable(*line, 80));
  }
  (void)talk.say("QUIT\r\n");
  if (user) out.logins.emplace_back("USER command");
  return done();
}

}  // namespace

Result<Probed> probe(const Server& server, const net::Endpoint& to, const net::ConnectOptions& options,
                     std::stop_token stop) {
  auto tcp = net::connect_tcp(to, options, std::move(stop));
  if (!tcp) return tcp.error();
  Talk talk(*std::move(tcp), options.timeout);
  if (server.security == Security::Tls)
    if (Done secured = talk.secure({server.host, server.port}, options); !secured) return secured.error();
  Probed out;
  const Done probed = server.protocol == Protocol::Imap ? probe_imap(talk, server, options, out)
                                                        : probe_pop3(talk, server, options, out);
  if (!probed) return probed.error();
  out.security = talk.security();
  return out;
}

}  // namespace mailhaul::discovery
