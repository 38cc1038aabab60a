// OAuth's answers, good and bad, and the keeper of tokens, against a provider in a loopback socket. The flows with a
// real provider are in tests/e2e/oauth_test.py.
#include "protocols/oauth2/oauth2.h"

#include <doctest/doctest.h>
#include <openssl/evp.h>

#include <array>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "protocols/base/text.h"
#include "protocols/oauth2/keeper.h"
#include "tests/support/loopback.h"

using namespace mailhaul;
using namespace mailhaul::oauth2;
using test::Loopback;
using test::Stream;

namespace {

bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

// Answers POSTs in turn with the given bodies (the last one for ever), and keeps the forms.
struct Endpoint {
  explicit Endpoint(std::vector<std::pair<int, std::string>> given)
      : answers(std::move(given)), loopback([this](Stream& stream, std::size_t connection) {
          std::string line, body;
          std::size_t length = 0;
          while (stream.read_line(line) && !line.empty()) {
            if (line.starts_with("Content-Length: ")) length = std::stoul(line.substr(16));
            line.clear();
          }
          if (length > 0) stream.read_exactly(body, length);
          std::pair<int, std::string> answer;
          {
            const std::lock_guard lock(mutex);
            forms.push_back(body);
            answer = answers[std::min(connection, answers.size() - 1)];
          }
          stream.write("HTTP/1.1 " + std::to_string(answer.first) +
                       " X\r\nContent-Type: application/json\r\nContent-Length: " +
                       std::to_string(answer.second.size()) + "\r\nConnection: close\r\n\r\n" + answer.second);
          stream.close();
        }) {}
  [[nodiscard]] std::string url() const { return "http://127.0.0.1:" + std::to_string(loopback.port()); }
  Provider provider() const {
    return {"test", url() + "/authorize", url() + "/token", url() + "/device", "mail",
            "",     {"me", Secret()},     {"localhost"}};
  }
  std::vector<std::string> seen() {
    const std::lock_guard lock(mutex);
    return forms;
  }
  std::vector<std::pair<int, std::string>> answers;
  std::mutex mutex;
  std::vector<std::string> forms;
  Loopback loopback;
};

class HandClock final : public Clock {
 public:
  std::int64_t now = 1'000'000;
  [[nodiscard]] std::int64_t unix_seconds() const override { return now; }
  [[nodiscard]] std::chrono::steady_clock::time_point steady() const override { return {}; }
};

struct MemoryStore final : TokenStore {
  Tokens tokens{Secret("a0"), Secret("r0"), 1'000'000, 1000};
  std::vector<std::string> saved;
  bool fails = false;
  struct Held final : Lock {};
  Result<std::unique_ptr<Lock>> lock() override { return std::unique_ptr<Lock>(std::make_unique<Held>()); }
  Result<Tokens> load() override { return tokens; }
  Done save(const Tokens& fresh) override {
    if (fails) return Error{Scope::Service, Retry::Later, "disk full", ""};
    tokens = fresh;
    saved.push_back(fresh.access.reveal() + " " + fresh.refresh.reveal());
    return done();
  }
};

std::string grant(const std::string& n, bool rotates = true) {
  return R"({"access_token":"a)" + n + R"(","token_type":"Bearer","expires_in":1000)" +
         (rotates ? R"(,"refresh_token":"r)" + n + "\"" : "") + "}";
}

std::string text(const Result<Secret>& token) { return token ? token->reveal() : "error: " + token.error().what; }

}  // namespace

TEST_CASE("oauth: what a token endpoint answers") {
  const Tokens old{Secret("a"), Secret("r"), 5, 10};
  const auto good = read_tokens(200, R"({"access_token":"x","token_type":"bearer","expires_in":"3600"})", old, 77);
  REQUIRE(good);
  CHECK(good->access.reveal() == "x");
  CHECK(good->refresh.reveal() == "r");
  CHECK(good->issued == 77);
  CHECK(good->life == 3600);
  struct Case {
    int status;
    std::string body;
    Retry retry;
    bool gone;
  };
  const Case cases[] = {
      {400, R"({"error":"invalid_grant"})", Retry::AfterUserAction, true},
      {400, R"({"error":"invalid_grant","error_description":"Token has been expired or revoked."})",
       Retry::AfterUserAction, true},
      {200, R"({"error":"invalid_grant"})", Retry::AfterUserAction, true},
      {400, R"({"error":"interaction_required"})", Retry::AfterUserAction, true},
      {401, R"({"error":"invalid_client"})", Retry::AfterUserAction, false},
      {400, R"({"error":"unsupported_grant_type"})", Retry::AfterUserAction, false},
      {403, "<html>no</html>", Retry::AfterUserAction, false},
      {400, R"({"error":"temporarily_unavailable"})", Retry::Later, false},
      {500, R"({"error":"server_error"})", Retry::Later, false},
      {503, "not now", Retry::Later, false},
      {502, R"({"error":"invalid_grant"})", Retry::Later, false},
      {429, "{}", Retry::Later, false},
      {200, "", Retry::Later, false},
      {200, "{}", Retry::Later, false},
      {200, "[1]", Retry::Later, false},
      {200, R"({"access_token":7})", Retry::Later, false},
      {200, R"({"access_token":"x","token_type":"mac"})", Retry::AfterUserAction, false},
      {200, std::string(5000, '['), Retry::Later, false},
      {200, "{\"access_token\":\"\xFF\"}", Retry::Later, false},
  };
  for (const auto& c : cases) {
    CAPTURE(c.body.substr(0, 80));
    const auto bad = read_tokens(c.status, c.body, old, 0);
    REQUIRE(!bad);
    CHECK(bad.error().retry == c.retry);
    CHECK(consent_gone(bad.error()) == c.gone);
  }
  CHECK(read_tokens(200, R"({"access_token":"x","expires_in":-5})", {}, 0)->life == 0);
  CHECK(read_tokens(200, R"({"access_token":"x","expires_in":1e300})", {}, 0)->life == 0);
}

TEST_CASE("oauth: fresh for 80 % of the life, on this machine's clock") {
  const Tokens tokens{Secret("a"), Secret("r"), 1000, 100};
  CHECK(tokens.fresh(1000));
  CHECK(tokens.fresh(1079));
  CHECK(!tokens.fresh(1080));
  CHECK(!tokens.fresh(999));  // the clock went back: nobody knows
  CHECK(Tokens{Secret("a"), {}, 0, 0}.fresh(1 << 30));
  CHECK(!Tokens{}.fresh(0));
}

TEST_CASE("oauth: authorization with PKCE") {
  Endpoint endpoint({{200, grant("1")}});
  const Provider provider = endpoint.provider();
  const auto begun = begin_authorization(provider, "http://127.0.0.1:7/cb", "me@example.org");
  REQUIRE(begun);
  CHECK(begun->verifier.reveal().size() == 43);  // RFC 7636 §4.1
  std::array<unsigned char, 32> digest{};
  EVP_Digest(begun->verifier.reveal().data(), 43, digest.data(), nullptr, EVP_sha256(), nullptr);
  std::string challenge = base64({reinterpret_cast<const char*>(digest.data()), 32});
  for (char& c : challenge) c = c == '+' ? '-' : c == '/' ? '_' : c;
  challenge.pop_back();
  CHECK(has(begun->url, "code_challenge=" + challenge + "&code_challenge_method=S256"));
  CHECK(has(begun->url, "login_hint=me%40example.org"));
  CHECK(!has(begun->url, begun->verifier.reveal()));
  const http::Options web;
  for (const std::string& query : {std::string("code=x"), std::string("code=x&state=other"), "state=" + begun->state,
                                   "error=access_denied&state=" + begun->state}) {
    CHECK(!finish_authorization(provider, *begun, query, web, {}));
    CHECK(endpoint.seen().empty());
  }
  const auto tokens = finish_authorization(provider, *begun, "code=a%2Bb&state=" + begun->state, web, {});
  REQUIRE_MESSAGE(tokens, tokens.error().what);
  CHECK(tokens->access.reveal() == "a1");
  CHECK(has(endpoint.seen().at(0), "code=a%2Bb&"));
  CHECK(has(endpoint.seen().at(0), "code_verifier=" + begun->verifier.reveal()));
  CHECK(!begin_authorization({"x", "http://evil.example/", "", "", "", "", {"me", {}}, {}}, "", ""));
}

TEST_CASE("oauth: device authorization") {
  Endpoint endpoint({{200, R"({"device_code":"d","user_code":"AB-CD","verification_uri":"https://x.example/device",)"
                           R"("verification_uri_complete":"javascript:alert","expires_in":60,"interval":1})"},
                     {400, R"({"error":"authorization_pending"})"},
                     {400, R"({"error":"slow_down"})"},
                     {503, "later"},
                     {200, grant("1")},
                     {400, R"({"error":"expired_token"})"},
                     {400, R"({"error":"access_denied"})"}});
  const Provider provider = endpoint.provider();
  const http::Options web;
  auto code = ask_device_code(provider, web, {});
  REQUIRE_MESSAGE(code, code.error().what);
  CHECK(code->user_code == "AB-CD");
  CHECK(code->url_complete.empty());  // not an address that a person should open
  auto polled = poll_device(provider, *code, web, {});
  REQUIRE(polled);
  CHECK(!*polled);
  CHECK(code->interval.count() == 1);
  polled = poll_device(provider, *code, web, {});
  REQUIRE(polled);
  CHECK(code->interval.count() == 6);
  CHECK(poll_device(provider, *code, web, {}).error().retry == Retry::Later);
  polled = poll_device(provider, *code, web, {});
  REQUIRE(polled);
  CHECK((*polled)->access.reveal() == "a1");
  CHECK(has(poll_device(provider, *code, web, {}).error().what, "expired"));
  CHECK(has(poll_device(provider, *code, web, {}).error().what, "denied"));
  CHECK(has(endpoint.seen().at(1), "device_code=d&client_id=me"));
}

TEST_CASE("oauth: metadata must be of the issuer that was asked for") {
  std::string issuer = "http://127.0.0.1:1";
  Endpoint endpoint({{404, ""}, {200, ""}});
  issuer = endpoint.url();
  const auto document = [&](const std::string& named, const std::string& token) {
    return R"({"issuer":")" + named + R"(","token_endpoint":")" + token +
           R"(","authorization_endpoint":"https://x/a"})";
  };
  endpoint.answers = {{404, ""}, {200, document(issuer, "https://x.example/token")}};
  const auto good = provider_by_metadata(issuer, {}, {});
  REQUIRE_MESSAGE(good, good.error().what);
  CHECK(good->token == "https://x.example/token");
  for (const auto& bad : {document("https://other.example", "https://x/t"), document(issuer, "http://x.example/t"),
                          document(issuer, ""), std::string("{}"), std::string("x")}) {
    endpoint.answers = {{200, bad}};
    CHECK(!provider_by_metadata(issuer, {}, {}));
  }
  CHECK(!provider_by_metadata("http://issuer.example", {}, {}));
}

TEST_CASE("keeper: renewed when due, saved before it is given out") {
  Endpoint endpoint({{200, grant("1")}, {200, grant("2")}, {200, grant("3", false)}});
  MemoryStore store;
  HandClock clock;
  TokenKeeper keeper(store, endpoint.provider(), {}, clock);
  CHECK(text(keeper.access({}, {})) == "a0");
  clock.now += 799;
  CHECK(text(keeper.access({}, {})) == "a0");
  CHECK(endpoint.seen().empty());
  clock.now += 1;
  CHECK(text(keeper.access({}, {})) == "a1");
  CHECK(store.saved == std::vector<std::string>{"a1 r1"});
  CHECK(has(endpoint.seen().at(0), "refresh_token=r0"));
  CHECK(text(keeper.access(Secret("a1"), {})) == "a2");  // refused before its time
  CHECK(has(endpoint.seen().at(1), "refresh_token=r1"));
  clock.now -= 5000;
  CHECK(text(keeper.access({}, {})) == "a3");
  CHECK(store.saved.back() == "a3 r2");  // no new one came: the old one stays
}

TEST_CASE("keeper: tokens that cannot be saved are not used") {
  Endpoint endpoint({{200, grant("1")}});
  MemoryStore store;
  store.fails = true;
  HandClock clock;
  clock.now += 900;
  TokenKeeper keeper(store, endpoint.provider(), {}, clock);
  const auto token = keeper.access({}, {});
  REQUIRE(!token);
  CHECK(has(token.error().what, "disk full"));
}

TEST_CASE("keeper: what another process has renewed is taken over") {
  Endpoint endpoint({{500, ""}});
  MemoryStore store;
  HandClock clock;
  TokenKeeper keeper(store, endpoint.provider(), {}, clock);
  CHECK(text(keeper.access({}, {})) == "a0");
  store.tokens = {Secret("a9"), Secret("r9"), clock.now, 1000};
  CHECK(text(keeper.access({}, {})) == "a0");
  CHECK(text(keeper.access(Secret("a0"), {})) == "a9");
  CHECK(endpoint.seen().empty());
}

TEST_CASE("keeper: an outage uses what lives, a lost consent nothing") {
  Endpoint endpoint({{503, ""}, {503, ""}, {400, R"({"error":"invalid_grant"})"}});
  MemoryStore store;
  HandClock clock;
  TokenKeeper keeper(store, endpoint.provider(), {}, clock);
  clock.now += 900;
  CHECK(text(keeper.access({}, {})) == "a0");
  clock.now += 200;
  const auto dead = keeper.access({}, {});
  REQUIRE(!dead);
  CHECK(dead.error().retry == Retry::Later);
  const auto gone = keeper.access({}, {});
  REQUIRE(!gone);
  CHECK(gone.error().retry == Retry::AfterUserAction);
  CHECK(consent_gone(gone.error()));
  CHECK(endpoint.seen().size() == 3);
}

TEST_CASE("keeper: many threads, one renewal") {
  Endpoint endpoint({{200, grant("1")}, {400, R"({"error":"invalid_grant"})"}});
  MemoryStore store;
  HandClock clock;
  clock.now += 900;
  TokenKeeper keeper(store, endpoint.provider(), {}, clock);
  std::vector<std::jthread> threads;
  std::array<std::string, 8> got;
  for (std::string& one : got) threads.emplace_back([&] { one = text(keeper.access({}, {})); });
  threads.clear();
  for (const std::string& one : got) CHECK(one == "a1");
  CHECK(endpoint.seen().size() == 1);
}

TEST_CASE("oauth: the providers of the table") {
  const auto google = provider_of(*discovery::preset_of_domain("gmail.com"));
  REQUIRE(google);
  CHECK(google->device == "https://oauth2.googleapis.com/device/code");
  CHECK(google->hosts == std::vector<std::string>{"imap.gmail.com", "pop.gmail.com"});
  const auto work = provider_of(*discovery::preset_of_mx("x.mail.protection.outlook.com"), true);
  REQUIRE(work);
  CHECK(has(work->token, "/common/oauth2/v2.0/token"));
  CHECK(has(work->scope, "POP.AccessAsUser.All"));
  CHECK(has(provider_of(*discovery::preset_of_domain("hotmail.com"))->token, "/consumers/"));
  for (const char* domain : {"yahoo.com", "yandex.ru", "mail.ru", "aol.com"})
    CHECK(provider_of(*discovery::preset_of_domain(domain)));
  CHECK(!provider_of(*discovery::preset_of_domain("posteo.de")));
}
