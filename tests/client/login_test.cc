// From the greeting to the authenticated session: mechanisms, round trips, and what errors say.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <string>

#include "tests/client/scenario.h"

using namespace mailhaul;
using namespace mailhaul::test;
using client::Security;

namespace {

const std::string kPlain = "AG1lQGV4YW1wbGUub3JnAGh1bnRlcjI=";  // NUL me@example.org NUL hunter2

bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

// The error of a login that must fail; it never holds the password, in any form.
Error refused(std::string_view script, Security security = Security::Tls) {
  InMemory memory(script, Chunks::Whole, 1, account_at(993, security));
  REQUIRE(!memory.client);
  Error error = memory.client.error();
  for (const char* secret : {"hunter2", "aHVudGVyMg", "AG1lQGV4YW1wbGUub3Jn"})
    CHECK(!has(error.what + error.advice, secret));
  CHECK(error.what.starts_with("log in to localhost:993: "));
  CHECK(error.scope == Scope::Account);
  CHECK(memory.verdict() == "");
  return error;
}

Error refused_login(const std::string& answer) {
  return refused("S: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] hi\nC: $a AUTHENTICATE PLAIN *\nS: " + answer +
                 "\neof");
}

}  // namespace

TEST_CASE("login is one round trip when the greeting lists capabilities") {
  for (const auto chunks : {Chunks::Whole, Chunks::Octets, Chunks::Random}) {
    InMemory memory(kIn + "eof", chunks, 3);
    REQUIRE_MESSAGE(memory.client, memory.client.error().what);
    CHECK((*memory.client)->round_trips() == 1);
    CHECK((*memory.client)->session().has("ESEARCH"));
    CHECK((*memory.client)->session().state() == imap::State::Authenticated);
    CHECK((*memory.client)->greeting() == "ready");
    CHECK(memory.verdict() == "");
    CHECK(memory.played->lines.size() == 1);
  }
}

TEST_CASE("D60 capabilities are asked for only where they were not said") {
  SUBCASE("not in the greeting") {
    InMemory memory(
        "S: * OK ready\nC: $a CAPABILITY\nS: * CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN\nS: $a OK\n"
        "C: $b AUTHENTICATE PLAIN *\nS: $b OK [CAPABILITY IMAP4rev1 IDLE] in\neof");
    REQUIRE(memory.client);
    CHECK((*memory.client)->round_trips() == 2);
    CHECK((*memory.client)->session().has("IDLE"));
    CHECK(memory.verdict() == "");
  }
  SUBCASE("not with the OK") {
    InMemory memory(
        "S: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] ready\nC: $b AUTHENTICATE PLAIN *\nS: $b OK in\n"
        "C: $c CAPABILITY\nS: * CAPABILITY IMAP4rev1 UIDPLUS\nS: $c OK\neof");
    REQUIRE(memory.client);
    CHECK((*memory.client)->round_trips() == 2);
    CHECK((*memory.client)->session().has("UIDPLUS"));
    CHECK(!(*memory.client)->session().has("AUTH=PLAIN"));
    CHECK(memory.verdict() == "");
  }
  SUBCASE("untagged before the OK, as Gmail does") {
    InMemory memory(
        "S: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] ready\nC: $b AUTHENTICATE PLAIN *\n"
        "S: * CAPABILITY IMAP4rev1 X-GM-EXT-1\nS: $b OK in\neof");
    REQUIRE(memory.client);
    CHECK((*memory.client)->round_trips() == 1);
    CHECK((*memory.client)->session().has("X-GM-EXT-1"));
    CHECK(memory.verdict() == "");
  }
}

TEST_CASE("D60 AUTHENTICATE PLAIN without SASL-IR waits for the server") {
  InMemory memory("S: * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hi\nC: $a AUTHENTICATE PLAIN\nS: +\nC: " + kPlain +
                  "\nS: $a OK [CAPABILITY IMAP4rev1] in\neof");
  REQUIRE_MESSAGE(memory.client, memory.client.error().what);
  CHECK((*memory.client)->round_trips() == 2);
  CHECK(memory.verdict() == "");
}

TEST_CASE("a server that ignores the initial response is answered once, then cancelled") {
  const std::string start =
      "S: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] hi\nC: $a AUTHENTICATE PLAIN *\nS: + \nC: " + kPlain + "\n";
  InMemory good(start + "S: $a OK [CAPABILITY IMAP4rev1] in\neof");
  CHECK(good.client);
  CHECK(good.verdict() == "");
  CHECK(has(
      refused(start + "S: + more\nC: *\nS: $a BAD cancelled\nC: $b LOGIN *\nS: $b NO [AUTHENTICATIONFAILED] no\neof")
          .what,
      "AUTHENTICATIONFAILED"));
}

TEST_CASE("LOGIN where PLAIN is not offered, not understood or not possible") {
  const std::string in = "C: $l LOGIN \"me@example.org\" \"hunter2\"\nS: $l OK [CAPABILITY IMAP4rev1] in\neof";
  for (const std::string& script :
       {"S: * OK [CAPABILITY IMAP4rev1] hi\n" + in, "S: * OK [CAPABILITY IMAP4rev1 AUTH=GSSAPI] hi\n" + in,
        "S: * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hi\nC: $a AUTHENTICATE *\nS: $a BAD unknown\n" + in,
        "S: * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hi\nC: $a AUTHENTICATE *\nS: $a NO [CANNOT] not this one\n" +
            in}) {
    InMemory memory(script);
    REQUIRE_MESSAGE(memory.client, memory.client.error().what);
    CHECK(memory.verdict() == "");
  }
}

TEST_CASE("D60 LOGIN first for user names with a backslash or a slash") {
  auto account = account_at(993);
  account.user = "DOM\\me";
  InMemory memory(
      "S: * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hi\nC: $l LOGIN *\nS: $l OK [CAPABILITY IMAP4rev1] in\neof",
      Chunks::Whole, 1, account);
  CHECK(memory.client);
  CHECK(memory.verdict() == "");
}

TEST_CASE("a password that needs a literal") {
  auto account = account_at(993);
  account.password = Secret("p\xC3\xA4ss\"w\\rd");
  InMemory memory(
      "S: * OK [CAPABILITY IMAP4rev1] hi\nC: $l LOGIN \"me@example.org\" {10}\nS: + go\nC: *\nS: $l OK [CAPABILITY "
      "IMAP4rev1] in\neof",
      Chunks::Whole, 1, account);
  CHECK_MESSAGE(memory.client, memory.client.error().what);
  CHECK(memory.verdict() == "");
}

TEST_CASE("no second try after a real refusal") {
  const Error error = refused_login("$a NO [AUTHENTICATIONFAILED] Invalid credentials");
  CHECK(error.retry == Retry::AfterUserAction);
  CHECK(has(error.what, "the server refuses user name or password: NO [AUTHENTICATIONFAILED] Invalid credentials"));
  CHECK(has(error.advice, "app password"));
}

TEST_CASE("refusals: whose turn it is") {
  struct Case {
    std::string answer;
    Retry retry;
    std::string part;
  };
  const Case cases[] = {
      {"$a NO [UNAVAILABLE] Internal error", Retry::Later, "cannot check logins now"},
      {"$a NO [INUSE] locked", Retry::Later, "in use"},
      {"$a NO [LIMIT] slow down", Retry::Later, "limits"},
      {"$a NO [AUTHORIZATIONFAILED] no", Retry::AfterUserAction, "may not use"},
      {"$a NO [EXPIRED] old", Retry::AfterUserAction, "expired"},
      {"$a NO [PRIVACYREQUIRED] tls", Retry::AfterUserAction, "encrypted"},
      {"$a NO [WEBALERT https://x.example] Web login required", Retry::AfterUserAction, "browser"},
      {"$a NO LOGIN failed.", Retry::AfterUserAction, "refuses user name or password"},
      {"$a NO Too many simultaneous connections", Retry::Later, "does not let anybody in now"},
      {"$a NO [ALERT] Temporary failure, try again", Retry::Later, "does not let anybody in now"},
      {"$a BAD User is authenticated but not connected.", Retry::Later, "does not let anybody in now"},
      {"$a BAD Request is throttled. Suggested Backoff Time: 299961 milliseconds", Retry::Later,
       "does not let anybody in now"},
      {"* BYE Too many login failures", Retry::Later, "Too many login failures"},
      {"* BYE [UNAVAILABLE] down", Retry::Later, "UNAVAILABLE"},
  };
  for (const auto& c : cases) {
    CAPTURE(c.answer);
    // Where BAD would lead to LOGIN, that is refused in the same words.
    const Error error = refused_login(c.answer);
    CHECK(error.retry == c.retry);
    CHECK_MESSAGE(has(error.what, c.part), error.what);
  }
}

TEST_CASE("a server that repeats the password does not get it into the error") {
  const Error plain = refused_login("$a NO login of me with hunter2 failed");
  CHECK(has(plain.what, "login of me with *** failed"));
  CHECK(has(refused_login("$a NO bad response " + kPlain).what, "bad response ***"));
  CHECK(has(refused_login("* BYE hunter2 hunter2").what, "*** ***"));
}

TEST_CASE("D60 LOGINDISABLED") {
  const Error error = refused("S: * OK [CAPABILITY IMAP4rev1 LOGINDISABLED AUTH=XOAUTH2] hi\neof");
  CHECK(error.retry == Retry::AfterUserAction);
  CHECK(has(error.what, "LOGINDISABLED"));
  const Error clear = refused("S: * OK [CAPABILITY IMAP4rev1 LOGINDISABLED] hi\neof", Security::Cleartext);
  CHECK(has(clear.what, "without encryption"));
  CHECK(has(clear.advice, "STARTTLS"));
  // BAD to PLAIN does not open the door that the server has shut.
  CHECK(has(
      refused(
          "S: * OK [CAPABILITY IMAP4rev1 LOGINDISABLED AUTH=PLAIN SASL-IR] hi\nC: $a AUTHENTICATE *\nS: $a BAD x\neof")
          .what,
      "does not understand"));
}

TEST_CASE("greetings that refuse") {
  for (const char* greeting :
       {"* BYE Too many connections", "* NO go away", "* BAD not today", "* BYE [UNAVAILABLE] starting"}) {
    CAPTURE(greeting);
    const Error error = refused(std::string("S: ") + greeting + "\neof");
    CHECK(error.retry == Retry::Later);
    CHECK_MESSAGE(has(error.what, "the server does not let anybody in now"), error.what);
  }
}

TEST_CASE("PREAUTH over TLS needs no login") {
  InMemory memory("S: * PREAUTH [CAPABILITY IMAP4rev1] welcome\neof");
  REQUIRE(memory.client);
  CHECK((*memory.client)->round_trips() == 0);
  CHECK((*memory.client)->session().state() == imap::State::Authenticated);
  CHECK(memory.verdict() == "");
}

TEST_CASE("what is not IMAP is named") {
  struct Case {
    std::string first, part, advice;
  };
  const Case cases[] = {
      {"S: HTTP/1.1 400 Bad Request", "web server", "993"},
      {"S: +OK POP3 ready", "POP3 server", "993"},
      {"S: 220 mail.example.org ESMTP", "SMTP", "993"},
      {"S: SSH-2.0-OpenSSH_9.2", "SSH", "993"},
      {"S-raw: \\x15\\x03\\x01\\x00\\x02\\x02\\x46", "TLS from the first octet", "imaps://"},
      {"S: hello there", "it begins with \"hello there", "993"},
      {"S: * 5 EXISTS", "it begins with \"* 5 EXISTS", "993"},
      {"S: A1 OK hi", "it begins with \"A1 OK hi", "993"},
  };
  for (const auto& c : cases) {
    CAPTURE(c.first);
    const Error error = refused(c.first + "\neof", Security::Cleartext);
    CHECK_MESSAGE(has(error.what, c.part), error.what);
    CHECK(has(error.advice, c.advice));
    CHECK(error.what.find('\n') == std::string::npos);
  }
}

TEST_CASE("a server that never greets, and one that stops in mid-greeting") {
  const Error silent = refused("stall", Security::Cleartext);
  CHECK(has(silent.what, "the server does not greet"));
  CHECK(has(silent.advice, "imaps://"));
  CHECK(silent.retry == Retry::Later);
  CHECK(has(refused("S-raw: * OK hal\nstall").what, "no whole greeting came"));
  CHECK(has(refused("drop").what, "the server does not greet (connection lost"));
}

TEST_CASE("TLS on a plain port, and plain on a TLS port") {
  ScriptedServer plain({"S: * OK ready\neof"});
  const Connected a = client::ImapClient::connect(account_at(plain.port()), impatient(), {});
  REQUIRE(!a);
  CHECK(has(a.error().what, "does not speak TLS"));
  CHECK(has(a.error().advice, "STARTTLS"));

  ScriptedServer tls({"eof"}, {.tls = Tls::Implicit});
  client::ClientOptions options = impatient();
  options.connect.timeout = 50ms;
  const Connected b = client::ImapClient::connect(account_at(tls.port(), Security::StartTls), options, {});
  REQUIRE(!b);
  CHECK(has(b.error().what, "does not greet"));
  CHECK(has(b.error().advice, "imaps://"));
  CHECK(tls.in_clear() == "");
}

TEST_CASE("the whole way over a socket with TLS is one round trip") {
  ScriptedServer server({kIn + "eof"}, {.tls = Tls::Implicit});
  std::string log;
  {
    client::ClientOptions options = impatient();
    options.wire_log = [&](std::string_view line) { log += std::string(line) + "\n"; };
    const Connected client = client::ImapClient::connect(account_at(server.port()), options, {});
    REQUIRE_MESSAGE(client, client.error().what);
    CHECK((*client)->round_trips() == 1);
    CHECK((*client)->security().starts_with("TLSv1.3"));
    (*client)->logout();
    CHECK(!(*client)->command(imap::Noop{}));
  }
  CHECK(server.verdict() == "");
  CHECK(has(log, "AUTHENTICATE PLAIN <secret>"));
  CHECK(has(log, " LOGOUT"));
  CHECK(!has(log, kPlain));
}

TEST_CASE("COMPRESS when asked for and offered") {
  const std::string tail = "C: $n NOOP\nS: $n OK done\neof";
  struct Case {
    bool wanted, compressed;
    std::string script;
    std::uint64_t round_trips;
  };
  const std::string in = "C: $a AUTHENTICATE PLAIN *\n";
  const Case cases[] = {
      {true, true,
       "S: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] hi\n" + in +
           "S: $a OK [CAPABILITY IMAP4rev1 COMPRESS=DEFLATE] in\nC: $c COMPRESS DEFLATE\nS: $c OK on\ncompress\n",
       2},
      // Octets behind the OK, in its segment, are compressed already.
      {true, true,
       "S: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] hi\n" + in +
           "S: $a OK [CAPABILITY IMAP4rev1 COMPRESS=DEFLATE] in\nC: $c COMPRESS DEFLATE\nS: $c OK on\ncompress\nS: * "
           "OK quick\nflush\n",
       2},
      // Capabilities were not said again: both questions leave together.
      {true, true,
       "S: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN COMPRESS=DEFLATE] hi\n" + in +
           "S: $a OK in\nC: $b CAPABILITY\nC: $c COMPRESS DEFLATE\nS: * CAPABILITY IMAP4rev1 X\nS: $b OK\nS: $c OK "
           "on\ncompress\n",
       2},
      {true, false,
       "S: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] hi\n" + in +
           "S: $a OK [CAPABILITY IMAP4rev1 COMPRESS=DEFLATE] in\nC: $c COMPRESS DEFLATE\nS: $c NO not now\n",
       2},
      {true, false,
       "S: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] hi\n" + in + "S: $a OK [CAPABILITY IMAP4rev1] in\n", 1},
      {false, false,
       "S: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] hi\n" + in +
           "S: $a OK [CAPABILITY IMAP4rev1 COMPRESS=DEFLATE] in\n",
       1},
  };
  for (const auto& c : cases) {
    CAPTURE(c.script);
    ScriptedServer server({c.script + tail}, {.tls = Tls::Implicit});
    {
      client::ClientOptions options = impatient();
      options.compress = c.wanted;
      const Connected client = client::ImapClient::connect(account_at(server.port()), options, {});
      REQUIRE_MESSAGE(client, client.error().what);
      CHECK((*client)->round_trips() == c.round_trips);
      CHECK((*client)->security().ends_with("DEFLATE") == c.compressed);
      const auto status = (*client)->command(imap::Noop{});
      REQUIRE(status);
      CHECK(status->condition == imap::Condition::Ok);
    }
    CHECK(server.verdict() == "");
  }
}

TEST_CASE("masked capabilities do not exist") {
  client::ClientOptions options = impatient();
  options.masked_capabilities = {"sasl-ir", "ESEARCH"};
  InMemory memory("S: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] hi\nC: $a AUTHENTICATE PLAIN\nS: +\nC: " + kPlain +
                      "\nS: $a OK [CAPABILITY IMAP4rev1 ESEARCH] in\neof",
                  Chunks::Whole, 1, account_at(993), options);
  REQUIRE(memory.client);
  CHECK(!(*memory.client)->session().has("ESEARCH"));
  CHECK(memory.verdict() == "");
}

TEST_CASE("a password in clear only where the user allowed it") {
  ScriptedServer server({kIn + "eof"});
  {
    const Connected client =
        client::ImapClient::connect(account_at(server.port(), Security::Cleartext), impatient(), {});
    REQUIRE(client);
    CHECK((*client)->security() == "none");
  }
  CHECK(server.verdict() == "");
  CHECK(has(server.in_clear(), kPlain));
}
