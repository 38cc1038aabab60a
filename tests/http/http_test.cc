// The HTTPS client against servers that mean no good.
#include "protocols/http/http.h"

#include <doctest/doctest.h>

#include <atomic>
#include <functional>
#include <string>
#include <thread>

#include "tests/support/certificates.h"
#include "tests/support/loopback.h"

using namespace mailhaul;
using namespace mailhaul::test;
using namespace std::chrono_literals;

namespace {

// Answers every request with what `page` makes of its first line; keeps what it was sent.
struct Web {
  using Page = std::function<std::string(const std::string& request)>;
  explicit Web(Page page, Certificate which = Certificate::Good)
      : context(Authority::instance().server_context(which)), loopback([this, page](Stream& stream, std::size_t) {
          if (!stream.start_tls(context.get())) return;
          std::string line, first, header;
          std::size_t length = 0;
          while (stream.read_line(line) && !line.empty()) {
            if (first.empty()) first = line;
            if (line.starts_with("Content-Length: ")) length = std::stoul(line.substr(16));
            header += line + "\n";
            line.clear();
          }
          std::string body;
          if (length > 0) stream.read_exactly(body, length);
          {
            const std::lock_guard lock(mutex);
            seen += header + body;
          }
          const std::string answer = page(first);
          stream.write(answer);
          stream.close();
        }) {}
  [[nodiscard]] std::string url(const std::string& path = "/") const {
    return "https://localhost:" + std::to_string(loopback.port()) + path;
  }
  std::string sent_to() {
    const std::lock_guard lock(mutex);
    return seen;
  }
  std::mutex mutex;
  std::string seen;
  std::shared_ptr<SSL_CTX> context;
  Loopback loopback;
};

std::string ok(const std::string& body) {
  return "HTTP/1.1 200 OK\r\nContent-Type: Application/JSON; charset=utf-8\r\nConnection: close\r\n\r\n" + body;
}
std::string redirect(const std::string& to) {
  return "HTTP/1.1 302 Found\r\nLocation: " + to + "\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
}

http::Options trusting() {
  http::Options options;
  options.ca_file = Authority::instance().ca_file();
  return options;
}

bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("http: a document, a form") {
  Web web([](const std::string&) { return ok("{}"); });
  const auto got = http::fetch({web.url("/a?q=1")}, trusting());
  REQUIRE_MESSAGE(got, got.error().what);
  CHECK(got->status == 200);
  CHECK(got->content_type == "application/json");
  CHECK(got->body == "{}");
  CHECK(http::form({{"a b", "c&d"}, {"e", "\xC3\xA9="}}) == "a%20b=c%26d&e=%C3%A9%3D");
  http::Request request{web.url("/token"), "", http::form({{"code", "s3cret"}}), "application/x-www-form-urlencoded"};
  request.secret = true;
  CHECK(http::fetch(request, trusting()));
  CHECK(has(web.sent_to(), "POST /token HTTP/1.1"));
  CHECK(has(web.sent_to(), "code=s3cret"));
}

TEST_CASE("http: redirects are followed on https only, and not for ever") {
  Web last([](const std::string&) { return ok("there"); });
  Web first([&](const std::string& request) {
    if (has(request, "/loop")) return redirect("/loop");
    if (has(request, "/plain")) return redirect("http://localhost/");
    if (has(request, "/file")) return redirect("file:///etc/passwd");
    if (has(request, "/login")) return redirect("https://u:p@localhost/");
    return redirect(last.url("/x"));
  });
  const auto got = http::fetch({first.url("/go")}, trusting());
  REQUIRE_MESSAGE(got, got.error().what);
  CHECK(got->body == "there");
  CHECK(got->url == last.url("/x"));
  struct Case {
    std::string path, part;
  };
  for (const Case& c : {Case{"/loop", "too many redirects"}, Case{"/plain", "away from https"},
                        Case{"/file", "away from https"}, Case{"/login", "credentials"}}) {
    const auto refused = http::fetch({first.url(c.path)}, trusting());
    REQUIRE(!refused);
    CHECK_MESSAGE(has(refused.error().what, c.part), refused.error().what);
  }
}

TEST_CASE("cve_2025_14524: a secret is not carried to where a redirect leads") {
  Web thief([](const std::string&) { return ok("thanks"); });
  Web web([&](const std::string&) { return redirect(thief.url()); });
  http::Request bearer{web.url()};
  bearer.bearer = Secret("t0ken");
  http::Request form{web.url(), "", "refresh_token=t0ken", "application/x-www-form-urlencoded"};
  form.secret = true;
  for (const auto& request : {bearer, form}) {
    const auto refused = http::fetch(request, trusting());
    REQUIRE(!refused);
    CHECK(has(refused.error().what, "not done with secrets"));
    CHECK(!has(refused.error().what, "t0ken"));
  }
  CHECK(has(web.sent_to(), "Authorization: Bearer t0ken"));
  CHECK(thief.sent_to().empty());
}

TEST_CASE("cve_2022_22576, cve_2026_8286: a connection serves one request, whoever asks next and whatever he trusts") {
  Web web([](const std::string&) {
    return "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok";
  });
  for (const char* token : {"first", "second"}) {
    http::Request request{web.url()};
    request.bearer = Secret(token);
    CHECK(http::fetch(request, trusting()));
  }
  CHECK(web.loopback.connections() == 2);
  CHECK(!http::fetch({web.url()}, {}));  // the system's authorities do not know this server
  CHECK(web.loopback.connections() == 3);
}

TEST_CASE("http: what is too long is not read") {
  const std::string big(1 << 20, 'x');
  Web web([&](const std::string& request) {
    return has(request, "/header") ? "HTTP/1.1 200 OK\r\nX: " + big.substr(0, 90'000) + "\r\n\r\n" : ok(big);
  });
  http::Options options = trusting();
  options.max_body = 1000;
  CHECK(has(http::fetch({web.url()}, options).error().what, "longer than 1000 octets"));
  CHECK(!http::fetch({web.url("/header")}, trusting()));
}

TEST_CASE("http: certificates and protocols") {
  for (const auto which :
       {Certificate::Expired, Certificate::WrongName, Certificate::SelfSigned, Certificate::UnknownIssuer}) {
    Web web([](const std::string&) { return ok(""); }, which);
    const auto refused = http::fetch({web.url()}, trusting());
    REQUIRE(!refused);
    CHECK(has(refused.error().what, "certificate"));
    CHECK(refused.error().retry == Retry::AfterUserAction);
    CHECK(web.sent_to().empty());
  }
  for (const char* url :
       {"http://localhost/", "ftp://localhost/", "file:///etc/passwd", "localhost", "", "https://", "gopher://x"})
    CHECK_MESSAGE(!http::fetch({url}, trusting()), url);
}

TEST_CASE("http: the gate, at first and after a redirect") {
  Web web([](const std::string&) { return ok("secret of the house"); });
  http::Options options = trusting();
  options.gate = *net::AddressGate::public_and("");
  for (const std::string host : {"localhost", "127.0.0.1", "[::1]", "0x7f.1", "2130706433", "[::ffff:127.0.0.1]"}) {
    const auto refused = http::fetch({"https://" + host + ":" + std::to_string(web.loopback.port()) + "/"}, options);
    REQUIRE(!refused);
    CHECK_MESSAGE(has(refused.error().what, "not allowed here"), refused.error().what);
  }
  CHECK(web.loopback.connections() == 0);
  // 127.0.0.1 may be asked, but not lead to another house.
  options.gate = *net::AddressGate::public_and("127.0.0.1");
  Web guide([](const std::string&) { return redirect("https://169.254.169.254/latest/meta-data/"); });
  const std::string numeric = "https://127.0.0.1:" + std::to_string(guide.loopback.port()) + "/";
  const auto led = http::fetch({numeric}, options);
  REQUIRE(!led);
  CHECK(has(led.error().what, "169.254.169.254 is a link-local address"));
}

TEST_CASE("http: nobody answers, and a stop") {
  Loopback silent([](Stream& stream, std::size_t) { stream.wait_closed(); });
  http::Options options = trusting();
  options.timeout = 200ms;
  const auto late = http::fetch({"https://localhost:" + std::to_string(silent.port()) + "/"}, options);
  REQUIRE(!late);
  CHECK(has(late.error().what, "no answer in time"));
  CHECK(late.error().retry == Retry::Later);
  std::stop_source stop;
  stop.request_stop();
  CHECK(!http::fetch({"https://localhost:" + std::to_string(silent.port()) + "/"}, trusting(), stop.get_token()));
}

TEST_CASE("http: requests in a row share a connection, and a relative redirect does not show the password") {
  std::atomic<int> connections = 0;
  Loopback loopback([&](Stream& stream, std::size_t) {
    ++connections;
    for (std::string line; stream.read_line(line); line.clear()) {
      std::string header = line;
      do {
        line.clear();
      } while (stream.read_line(line) && !line.empty());
      stream.write(header.starts_with("GET /moved")
                       ? "HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n"
                       : "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde");
    }
  });
  http::Options options;
  options.plain_http = true;
  const std::string base = "http://localhost:" + std::to_string(loopback.port());
  {
    http::Connection connection(options);
    http::Request request;
    request.url = base + "/moved";
    request.user = "ann";
    request.password = Secret("geheim");
    const auto moved = connection.send(request);
    REQUIRE(moved);
    CHECK(moved->status == 302);
    CHECK(moved->location == base + "/there");
    request.url = moved->location;
    std::string got;
    request.sink = [&](std::string_view octets) {
      got += octets;
      return done();
    };
    REQUIRE(connection.send(request));
    CHECK(got == "abcde");
    request.sink = [](std::string_view) -> Done { return Error{Scope::Message, Retry::Never, "enough", ""}; };
    const auto ended = connection.send(request);
    REQUIRE_FALSE(ended);
    CHECK(ended.error().what.ends_with("enough"));
    CHECK(connection.requests() == 3);
    CHECK(connections == 1);
    CHECK(http::fetch({base + "/there"}, options)->body == "abcde");
  }
}
