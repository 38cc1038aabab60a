#include "protocols/discovery/dns.h"

#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <netdb.h>
#include <netinet/in.h>
#include <resolv.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <functional>
#include <tuple>

#include "protocols/base/text.h"

namespace mailhaul::discovery {
namespace {

constexpr int kMostRecords = 20;

Error failed(std::string why) { return {Scope::Account, Retry::Later, "DNS: " + std::move(why), ""}; }

// A resolver of one's own: the C library's state belongs to its thread.
class Resolver {
 public:
  explicit Resolver(const DnsOptions& options) {
    good_ = res_ninit(&state_) == 0;
    if (!good_) return;
    state_.retrans = std::max(1, static_cast<int>(options.timeout.count() / 2));
    state_.retry = 2;
    state_.options &= ~(static_cast<unsigned long>(RES_DNSRCH) | RES_DEFNAMES);  // the name as it is, nothing appended
    if (!options.server.empty()) good_ = ask(options.server);
  }
  ~Resolver() { res_nclose(&state_); }
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  Done query(const std::string& name, ns_type type, const std::function<void(ns_msg&, ns_rr&)>& record) {
    if (!good_) return failed("the resolver cannot be set up");
    std::vector<unsigned char> answer(NS_MAXMSG);
    const int length = res_nquery(&state_, name.c_str(), ns_c_in, type, answer.data(), static_cast<int>(answer.size()));
    if (length < 0) {
      if (state_.res_h_errno == HOST_NOT_FOUND || state_.res_h_errno == NO_DATA) return done();
      return failed(state_.res_h_errno == NO_RECOVERY ? "the answer is a failure" : "no answer");
    }
    ns_msg message;
    if (ns_initparse(answer.data(), std::min(length, static_cast<int>(answer.size())), &message) != 0)
      return failed("the answer is malformed");
    const int count = std::min<int>(ns_msg_count(message, ns_s_an), kMostRecords);
    for (int i = 0; i < count; ++i) {
      ns_rr row;
      if (ns_parserr(&message, ns_s_an, i, &row) != 0) return failed("the answer is malformed");
      if (ns_rr_type(row) == type) record(message, row);
    }
    return done();
  }

 private:
  bool ask(const std::string& server) {
    const auto colon = server.rfind(':');
    std::uint16_t port = 53;
    if (colon != std::string::npos &&
        std::from_chars(server.data() + colon + 1, server.data() + server.size(), port).ec != std::errc{})
      return false;
    sockaddr_in& to = state_.nsaddr_list[0];
    to = {};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    state_.nscount = 1;
    return ::inet_pton(AF_INET, server.substr(0, colon).c_str(), &to.sin_addr) == 1;
  }

  struct __res_state state_ {};
  bool good_ = false;
};

// The name at `at` of the message; empty if there is none, or if it could not be a host.
std::string name_at(ns_msg& message, const unsigned char* at) {
  std::array<char, NS_MAXDNAME> text{};
  if (dn_expand(ns_msg_base(message), ns_msg_end(message), at, text.data(), static_cast<int>(text.size())) < 0)
    return {};
  std::string name = to_lower(text.data());
  if (name.empty()) return ".";  // the root
  const bool good = std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || is_digit(c) || c == '.' || c == '-' || c == '_';
  });
  return good ? name : std::string();
}

}  // namespace

Result<std::vector<Srv>> look_up_srv(const std::string& name, const DnsOptions& options) {
  std::vector<Srv> out;
  const Done asked = Resolver(options).query(name, ns_t_srv, [&](ns_msg& message, ns_rr& row) {
    if (ns_rr_rdlen(row) < 7) return;
    const unsigned char* data = ns_rr_rdata(row);
    const auto word = [&](int i) { return static_cast<std::uint16_t>(data[2 * i] << 8 | data[2 * i + 1]); };
    Srv srv{word(0), word(1), word(2), name_at(message, data + 6)};
    if (!srv.target.empty()) out.push_back(std::move(srv));
  });
  if (!asked) return asked.error();
  std::stable_sort(out.begin(), out.end(), [](const Srv& a, const Srv& b) {
    return std::tuple(a.priority, -a.weight) < std::tuple(b.priority, -b.weight);
  });
  return out;
}

Result<std::vector<Mx>> look_up_mx(const std::string& name, const DnsOptions& options) {
  std::vector<Mx> out;
  const Done asked = Resolver(options).query(name, ns_t_mx, [&](ns_msg& message, ns_rr& row) {
    if (ns_rr_rdlen(row) < 3) return;
    const unsigned char* data = ns_rr_rdata(row);
    Mx mx{static_cast<std::uint16_t>(data[0] << 8 | data[1]), name_at(message, data + 2)};
    if (!mx.host.empty() && mx.host != ".") out.push_back(std::move(mx));  // RFC 7505: "." takes no mail
  });
  if (!asked) return asked.error();
  std::stable_sort(out.begin(), out.end(), [](const Mx& a, const Mx& b) { return a.preference < b.preference; });
  return out;
}

}  // namespace mailhaul::discovery
