// POP3 from the greeting to QUIT: logins, what refusals mean, pipelining. STLS is in pop3_starttls_test.cc.
#include <doctest/doctest.h>

#include <string>

#include "protocols/client/pop3_client.h"
#include "tests/client/scenario.h"

using namespace mailhaul;
using namespace mailhaul::test;
using client::Security;

namespace {

bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

struct Pop {
  explicit Pop(std::string_view script, Chunks chunks = Chunks::Whole, const client::Account& account = account_at(995),
               const client::ClientOptions& options = impatient()) {
    auto transport = std::make_unique<ScriptedTransport>(script, chunks, 5);
    played = transport->played();
    client = client::Pop3Client::over(std::move(transport), account, options);
  }
  std::string verdict() {
    client = Error{};
    return played->failure;
  }
  std::shared_ptr<const Played> played;
  Result<std::unique_ptr<client::Pop3Client>> client{Error{}};
};

// Greeting, capabilities and login; `capabilities`: lines of the answer to CAPA.
std::string in(const std::string& capabilities = "") {
  std::string answer = "S: +OK\n";
  for (std::size_t at = 0; at < capabilities.size();) {
    const auto end = capabilities.find(',', at);
    answer += "S: " + capabilities.substr(at, end - at) + "\n";
    at = end == std::string::npos ? capabilities.size() : end + 1;
  }
  answer += "S: .\n";
  return "S: +OK ready\nC: CAPA\n" + answer + "C: USER me@example.org\nS: +OK\nC: PASS hunter2\nS: +OK in\nC: CAPA\n" +
         answer;
}

Error refused(const std::string& script, Security security = Security::Tls) {
  Pop pop(script, Chunks::Whole, account_at(995, security));
  REQUIRE(!pop.client);
  const Error error = pop.client.error();
  for (const char* secret : {"hunter2", "aHVudGVyMg", "AG1lQGV4YW1wbGUub3Jn"})
    CHECK(!has(error.what + error.advice, secret));
  CHECK(error.scope == Scope::Account);
  CHECK(pop.verdict() == "");
  return error;
}

Error refused_pass(const std::string& answer, const std::string& capabilities = "") {
  std::string script = "S: +OK ready\nC: CAPA\nS: +OK\n" + capabilities;
  return refused(script + "S: .\nC: USER me@example.org\nS: +OK\nC: PASS hunter2\nS: " + answer + "\neof");
}

class Reading final : public client::Pop3Dialogue {
 public:
  explicit Reading(std::vector<pop3::Command> commands) : commands_(std::move(commands)) {}
  std::optional<pop3::Command> next() override {
    if (at_ == commands_.size()) return std::nullopt;
    return commands_[at_++];
  }
  Done answered(const pop3::Command& command, const pop3::Status& status) override {
    text += pop3::name_of(command) + ": " + status.line() + "\n";
    return done();
  }
  Done line(const pop3::Command&, std::string_view l) override {
    text += "- " + std::string(l) + "\n";
    return done();
  }
  Done octets(const pop3::Command&, std::string_view o) override {
    body += o;
    return done();
  }
  Done finished(const pop3::Command& command) override {
    text += pop3::name_of(command) + " ends <" + body + ">\n";
    body.clear();
    return done();
  }
  std::string text, body;

 private:
  std::vector<pop3::Command> commands_;
  std::size_t at_ = 0;
};

}  // namespace

TEST_CASE("POP3 login: USER and PASS, or SASL PLAIN where it is offered") {
  for (const auto chunks : {Chunks::Whole, Chunks::Octets, Chunks::Random}) {
    Pop plain(in("UIDL,PIPELINING") + "eof", chunks);
    REQUIRE_MESSAGE(plain.client, plain.client.error().what);
    CHECK((*plain.client)->session().pipelines());
    CHECK((*plain.client)->greeting() == "ready");
    CHECK(plain.verdict() == "");
    Pop sasl(
        "S: +OK ready\nC: CAPA\nS: +OK\nS: SASL LOGIN PLAIN\nS: .\nC: AUTH PLAIN AG1lQGV4YW1wbGUub3JnAGh1bnRlcjI=\n"
        "S: +OK\nC: CAPA\nS: +OK\nS: TOP\nS: .\neof",
        chunks);
    REQUIRE_MESSAGE(sasl.client, sasl.client.error().what);
    CHECK((*sasl.client)->session().has("TOP"));
    CHECK(sasl.verdict() == "");
  }
}

TEST_CASE("59: POP3 login without CAPA, and with a mechanism that is not one after all") {
  Pop without("S: +OK\nC: CAPA\nS: -ERR what\nC: USER me@example.org\nS: +OK\nC: PASS hunter2\nS: +OK\neof");
  REQUIRE(without.client);
  CHECK(!(*without.client)->session().pipelines());
  CHECK(without.verdict() == "");
  Pop other(
      "S: +OK\nC: CAPA\nS: +OK\nS: SASL PLAIN\nS: .\nC: AUTH PLAIN *\nS: -ERR Unknown command\n"
      "C: USER me@example.org\nS: +OK\nC: PASS hunter2\nS: +OK\nC: CAPA\nS: +OK\nS: .\neof");
  REQUIRE(other.client);
  CHECK(other.verdict() == "");
}

TEST_CASE("59: a POP3 server that dies of CAPA is asked again without it") {
  ScriptedServer server(
      {"S: +OK\nC: CAPA\ndrop\n", "S: +OK\nC: USER me@example.org\nS: +OK\nC: PASS hunter2\nS: +OK\neof\n"},
      {.tls = Tls::Implicit});
  auto client = client::Pop3Client::connect(account_at(server.port()), impatient(), {});
  CHECK_MESSAGE(client, client.error().what);
}

TEST_CASE("59: what a refused POP3 login means") {
  struct Row {
    const char* answer;
    Retry retry;
    std::int64_t wait;
    const char* what;
  };
  const Row rows[] = {
      {"-ERR [AUTH] no", Retry::AfterUserAction, 0, "refuses user name or password"},
      {"-ERR invalid password hunter2", Retry::AfterUserAction, 0, "refuses user name or password"},
      {"-ERR [IN-USE] sorry", Retry::Later, 30, "locked by another session"},
      {"-ERR maildrop already locked", Retry::Later, 30, "locked by another session"},
      {"-ERR [LOGIN-DELAY] too soon", Retry::Later, 60, "more time between two logins"},
      {"-ERR [SYS/TEMP] disk", Retry::Later, 30, "passing fault"},
      {"-ERR [SYS/PERM] gone", Retry::AfterUserAction, 0, "its operator must mend"},
      {"-ERR [SYS/OTHER] x", Retry::Later, 30, "a fault"},
      {"-ERR server unavailable, try again later", Retry::Later, 30, "does not let anybody in now"},
      {"-ERR too many connections", Retry::Later, 30, "does not let anybody in now"},
      {"-ERR POP access is not enabled for this account", Retry::AfterUserAction, 0, "POP3 is switched off"},
      // in providers' words
      {"-ERR [SYS/PERM] Your account is not enabled for POP access. Please visit your settings page.",
       Retry::AfterUserAction, 0, "POP3 is switched off for this mailbox"},
      {"-ERR [AUTH] Application-specific password required: https://support.example.org", Retry::AfterUserAction, 0,
       "an app password is needed"},
      {"-ERR [AUTH] Web login required: https://support.example.org", Retry::AfterUserAction, 0, "by browser first"},
      {"-ERR login fail, please use the authorization code", Retry::AfterUserAction, 0, "an app password is needed"},
      {"-ERR POP3 access is disabled for your domain", Retry::AfterUserAction, 0, "POP3 is switched off"},
      {"-ERR [AUTH] Your account is locked", Retry::AfterUserAction, 0, "the account is locked"},
      {"-ERR [AUTH] Account temporarily locked", Retry::Later, 30, "fewer logins"},
      {"-ERR account locked by another session", Retry::Later, 30, "locked by another session"},
      {"-ERR [AUTH] basic authentication is disabled", Retry::AfterUserAction, 0, "takes no passwords"},
      {"-ERR [X-UNKNOWN] in use", Retry::AfterUserAction, 0, "refuses user name or password"},
  };
  for (const auto& row : rows) {
    INFO(row.answer);
    const auto error = refused_pass(row.answer);
    CHECK(error.retry == row.retry);
    CHECK(error.wait == row.wait);
    CHECK(has(error.what, row.what));
  }
  CHECK(refused_pass("-ERR [LOGIN-DELAY] too soon", "S: LOGIN-DELAY 900\n").wait == 900);
  CHECK(refused_pass("-ERR [IN-USE] x", "S: LOGIN-DELAY 900\n").wait == 30);
}

TEST_CASE("POP3 greetings that are refusals, and what is no POP3") {
  CHECK(refused("S: -ERR [SYS/TEMP] later\neof").retry == Retry::Later);
  CHECK(refused("S: -ERR [SYS/PERM] never\neof").retry == Retry::AfterUserAction);
  CHECK(refused("S: -ERR go away\neof").retry == Retry::Later);
  CHECK(has(refused("S: * OK [CAPABILITY IMAP4rev1] hi\neof").what, "this is an IMAP server"));
  CHECK(has(refused("S: 220 smtp ESMTP\neof").what, "SMTP"));
  CHECK(has(refused("S: HTTP/1.0 400\neof").what, "web server"));
  CHECK(has(refused("S: hello\neof").what, "not a POP3 server"));
  CHECK(has(refused("drop").what, "does not greet"));
}

TEST_CASE("POP3 commands: pipelined where offered, else one by one; answers find their commands") {
  const std::vector<pop3::Command> commands{pop3::Stat{}, pop3::Retr{1}, pop3::Retr{2}, pop3::Uidl{}, pop3::Noop{}};
  const std::string expected =
      "STAT: +OK 2 10\nRETR 1: +OK\nRETR 1 ends <one\r\n>\nRETR 2: -ERR no\nUIDL: +OK\n- 1 a\n- 2 b\nUIDL ends "
      "<>\nNOOP: +OK\n";
  for (const auto chunks : {Chunks::Whole, Chunks::Octets, Chunks::Random}) {
    Pop all(in("PIPELINING") +
                "C: STAT\nC: RETR 1\nC: RETR 2\nC: UIDL\nC: NOOP\nS: +OK 2 10\nS: +OK\nS: one\nS: .\nS: -ERR no\n"
                "S: +OK\nS: 1 a\nS: 2 b\nS: .\nS: +OK\neof",
            chunks);
    REQUIRE(all.client);
    Reading reading(commands);
    CHECK((*all.client)->converse(reading));
    CHECK(reading.text == expected);
    CHECK(all.verdict() == "");
    const std::string each =
        "C: STAT\nS: +OK 2 10\nC: RETR 1\nS: +OK\nS: one\nS: .\nC: RETR 2\nS: -ERR no\nC: UIDL\nS: +OK\nS: 1 a\n"
        "S: 2 b\nS: .\nC: NOOP\nS: +OK\neof";
    Pop one(in() + each, chunks);
    REQUIRE(one.client);
    Reading slowly(commands);
    CHECK((*one.client)->converse(slowly));
    CHECK(slowly.text == expected);
    CHECK(one.verdict() == "");
  }
}

TEST_CASE("a POP3 client that goes away says nothing; QUIT is asked for by name") {
  Pop silent(in() + "eof");
  REQUIRE(silent.client);
  CHECK(silent.verdict() == "");
  for (const auto& line : silent.played->lines) CHECK(!has(line, "QUIT"));
  Pop polite(in() + "C: QUIT\nS: -ERR some messages not removed\neof");
  REQUIRE(polite.client);
  const auto answer = (*polite.client)->quit();
  REQUIRE(answer);
  CHECK(!answer->ok);
  CHECK(!(*polite.client)->usable());
  Pop lost(in() + "C: QUIT\ndrop");
  REQUIRE(lost.client);
  CHECK(!(*lost.client)->quit());
}

TEST_CASE("the POP3 trace holds no secret and no message") {
  std::string trace;
  auto options = impatient();
  options.wire_log = [&](std::string_view line) { trace.append(line).append("\n"); };
  Pop pop(in() + "C: RETR 1\nS: +OK\nS: very private\nS: .\neof", Chunks::Whole, account_at(995), options);
  REQUIRE(pop.client);
  Reading reading({pop3::Retr{1}});
  CHECK((*pop.client)->converse(reading));
  CHECK(has(trace, "C: PASS\n"));
  CHECK(has(trace, "S: <14 octets>"));
  CHECK(!has(trace, "hunter2"));
  CHECK(!has(trace, "private"));
}

TEST_CASE("POP3 login by SASL: the strongest mechanism, fallbacks, tokens, administrators") {
  const std::string asked = "S: +OK\nC: CAPA\nS: +OK\nS: SASL ";
  const std::string after = "S: +OK in\nC: CAPA\nS: +OK\nS: .\neof";
  SUBCASE("CRAM-MD5 before PLAIN (RFC 2195's own example)") {
    auto account = account_at(995);
    account.user = "tim";
    account.password = Secret("tanstaaftanstaaf");
    Pop pop(asked +
                "PLAIN CRAM-MD5\nS: .\nC: AUTH CRAM-MD5\n"
                "S: + PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+\n"
                "C: dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw\n" +
                after,
            Chunks::Whole, account);
    CHECK_MESSAGE(pop.client, pop.client.error().what);
    CHECK(pop.verdict() == "");
  }
  SUBCASE("SCRAM that the server has no secret for: the next way") {
    Pop pop(asked +
            "SCRAM-SHA-256 PLAIN\nS: .\nC: AUTH SCRAM-SHA-256 *\nS: -ERR [AUTH] Authentication failed\n"
            "C: AUTH PLAIN AG1lQGV4YW1wbGUub3JnAGh1bnRlcjI=\n" +
            after);
    CHECK_MESSAGE(pop.client, pop.client.error().what);
    CHECK(pop.verdict() == "");
  }
  SUBCASE("a wrong password is not tried in another way") {
    const auto error = refused(asked + "PLAIN LOGIN\nS: .\nC: AUTH PLAIN *\nS: -ERR [AUTH] hunter2 is wrong\neof");
    CHECK(error.retry == Retry::AfterUserAction);
    CHECK(has(error.what, "refuses user name or password"));
  }
  SUBCASE("an administrator needs SASL") {
    auto account = account_at(995);
    account.authzid = "other@example.org";
    Pop none("S: +OK\nC: CAPA\nS: +OK\nS: USER\nS: .\neof", Chunks::Whole, account);
    REQUIRE(!none.client);
    CHECK(has(none.client.error().what, "administrator"));
    Pop plain(asked + "PLAIN\nS: .\nC: AUTH PLAIN " +
                  base64(std::string("other@example.org\0me@example.org\0hunter2", 40)) + "\n" + after,
              Chunks::Whole, account);
    CHECK_MESSAGE(plain.client, plain.client.error().what);
    CHECK(plain.verdict() == "");
  }
  SUBCASE("a token that is refused is fetched anew, once") {
    auto account = account_at(995);
    int tokens = 0;
    account.token = [&](const Secret&) -> Result<Secret> { return Secret("token" + std::to_string(++tokens)); };
    Pop pop(asked +
                "XOAUTH2 PLAIN\nS: .\nC: AUTH XOAUTH2 *\nS: + eyJzdGF0dXMiOiI0MDAifQ==\nC: *\nS: -ERR [AUTH] no\n"
                "C: AUTH XOAUTH2 *\n" +
                after,
            Chunks::Whole, account);
    CHECK_MESSAGE(pop.client, pop.client.error().what);
    CHECK(tokens == 2);
    CHECK(pop.verdict() == "");
  }
}
