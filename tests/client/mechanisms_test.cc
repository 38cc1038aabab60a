// Logins other than PLAIN and LOGIN, on transcripts: which way is taken, what is tried after a refusal, OAuth tokens.
// That the mechanisms are right is for tests/sasl and, on a real server, for tests/e2e/logins_test.py.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "tests/client/scenario.h"
#include "tests/support/loopback.h"

using namespace mailhaul;
using namespace mailhaul::test;

namespace {

bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

std::string hello(const std::string& capabilities) {
  return "S: * OK [CAPABILITY IMAP4rev1 " + capabilities + "] hi\n";
}

// "" if the login succeeds and the whole script was played, else what went wrong.
std::string outcome(const std::string& script, const client::Account& account) {
  InMemory memory(script, Chunks::Whole, 1, account);
  std::string error = memory.client ? "" : memory.client.error().what + "; " + memory.client.error().advice;
  const std::string verdict = memory.verdict();
  return verdict.empty() ? error : "script: " + verdict + " " + error;
}

struct Tokens {
  std::vector<std::string> given{"token-1", "token-2"};
  std::vector<std::string> refused;
  client::TokenSource source() {
    return [this](const Secret& old) -> Result<Secret> {
      refused.push_back(old.reveal());
      if (refused.size() > given.size()) return Error{Scope::Account, Retry::AfterUserAction, "consent is gone", ""};
      return Secret(given[refused.size() - 1]);
    };
  }
};

client::Account with_tokens(Tokens& tokens) {
  client::Account account = account_at(993);
  account.password = Secret();
  account.token = tokens.source();
  return account;
}

std::string xoauth2(const std::string& token) {
  return base64(
      "user=me@example.org\x01"
      "auth=Bearer " +
      token + "\x01\x01");
}

}  // namespace

TEST_CASE("logins: CRAM-MD5, and PLAIN where the server cannot check it so") {
  const std::string challenge = "S: + " + base64("<1@x>") + "\nC: *\n";
  CHECK(outcome(hello("SASL-IR AUTH=CRAM-MD5 AUTH=PLAIN") + "C: $a AUTHENTICATE CRAM-MD5\n" + challenge +
                    "S: $a OK [CAPABILITY IMAP4rev1] in\neof",
                account_at(993)) == "");
  CHECK(outcome(hello("SASL-IR AUTH=CRAM-MD5 AUTH=PLAIN") + "C: $a AUTHENTICATE CRAM-MD5\n" + challenge +
                    "S: $a NO [AUTHENTICATIONFAILED] no\nC: $b AUTHENTICATE PLAIN *\nS: $b OK [CAPABILITY IMAP4rev1] "
                    "in\neof",
                account_at(993)) == "");
  // A server in trouble is not asked again.
  CHECK(has(outcome(hello("SASL-IR AUTH=CRAM-MD5 AUTH=PLAIN") + "C: $a AUTHENTICATE CRAM-MD5\n" + challenge +
                        "S: $a NO [UNAVAILABLE] no\neof",
                    account_at(993)),
            "cannot check logins now"));
}

TEST_CASE("logins: SCRAM refused before anything is proved leaves PLAIN; a bad server does not get it") {
  const std::string start = hello("SASL-IR AUTH=SCRAM-SHA-256 AUTH=PLAIN") + "C: $a AUTHENTICATE SCRAM-SHA-256 *\n";
  CHECK(outcome(start +
                    "S: $a NO [AUTHENTICATIONFAILED] other scheme\nC: $b AUTHENTICATE PLAIN *\nS: $b OK [CAPABILITY "
                    "IMAP4rev1] in\neof",
                account_at(993)) == "");
  CHECK(has(outcome(start + "S: + " + base64("r=other,s=QSXCR+Q6sek8bf92,i=4096") + "\nC: *\nS: $a BAD cancelled\neof",
                    account_at(993)),
            "does not use this exchange's nonce"));
  CHECK(has(outcome(start + "S: $a OK come in\n", account_at(993)), "without having proved"));
}

TEST_CASE("logins: SCRAM whose proof is refused without a reason leaves LOGIN, one with a reason does not") {
  for (const std::string reason : {"", "[AUTHENTICATIONFAILED] "}) {
    CAPTURE(reason);
    std::vector<std::string> ways;
    bool in = false;
    {
      Loopback loopback([&](Stream& stream, std::size_t) {
        stream.write("* OK [CAPABILITY IMAP4rev1 AUTH=SCRAM-SHA-256 AUTH=SCRAM-SHA-1] hi\r\n");
        for (std::string line; stream.read_line(line); line.clear()) {
          const auto tag = line.substr(0, line.find(' '));
          ways.push_back(line.substr(tag.size() + 1));
          if (has(line, "AUTHENTICATE")) {
            std::string message;
            stream.write("+ \r\n");
            stream.read_line(message);
            const auto nonce = unbase64(message).value_or("").substr(unbase64(message).value_or("").rfind("r="));
            stream.write("+ " + base64(nonce + "server,s=QSXCR+Q6sek8bf92,i=4096") + "\r\n");
            stream.read_line(message);
            stream.write(tag + " NO " + reason + "authentication failed\r\n");
          } else {
            stream.write(tag + " OK [CAPABILITY IMAP4rev1] done\r\n");
          }
        }
      });
      const client::Account account{
          {"127.0.0.1", loopback.port()}, client::Security::Cleartext, "me", Secret("hunter2")};
      in = static_cast<bool>(client::ImapClient::connect(account, {}, {}));
    }  // its thread has ended
    CHECK(in == reason.empty());
    REQUIRE(ways.size() == (reason.empty() ? 2 : 1));
    CHECK(has(ways.front(), "AUTHENTICATE SCRAM-SHA-256"));
    CHECK(has(ways.back(), reason.empty() ? "LOGIN" : "SCRAM"));
  }
}

TEST_CASE("cve_2026_42256: a SCRAM iteration bomb is refused at once") {
  // The nonce is not known to the script: what stands before the count is checked in tests/sasl.
  CHECK(has(outcome(hello("SASL-IR AUTH=SCRAM-SHA-1") + "C: $a AUTHENTICATE SCRAM-SHA-1 *\nS: + " +
                        base64("r=,s=QSXCR+Q6sek8bf92,i=4294967295") + "\nC: *\nS: $a BAD cancelled\neof",
                    account_at(993)),
            "SCRAM-SHA-1: "));
}

TEST_CASE("logins: the mechanism LOGIN where there is nothing else") {
  CHECK(outcome(hello("LOGINDISABLED AUTH=LOGIN") +
                    "C: $a AUTHENTICATE LOGIN\nS: + VXNlcm5hbWU6\nC: " + base64("me@example.org") +
                    "\nS: + UGFzc3dvcmQ6\nC: " + base64("hunter2") + "\nS: $a OK [CAPABILITY IMAP4rev1] in\neof",
                account_at(993)) == "");
}

TEST_CASE("logins: an administrator names the user") {
  client::Account account = account_at(993);
  account.authzid = "boss";
  CHECK(outcome(hello("SASL-IR AUTH=PLAIN AUTH=LOGIN AUTH=CRAM-MD5") + "C: $a AUTHENTICATE PLAIN " +
                    base64(std::string("boss\0me@example.org\0hunter2", 27)) +
                    "\nS: $a OK [CAPABILITY IMAP4rev1] in\neof",
                account) == "");
  CHECK(has(outcome(hello("AUTH=LOGIN AUTH=CRAM-MD5") + "eof", account), "name another user"));
}

TEST_CASE("logins: an administrator names the user by PROXYAUTH where the server has it") {
  client::Account account = account_at(993);
  account.user = "admin";
  account.authzid = "bob";
  const std::string in = "C: $a AUTHENTICATE PLAIN " + base64(std::string("\0admin\0hunter2", 14)) + "\nS: $a OK in\n";
  const std::string after = "C: $c CAPABILITY\nS: * CAPABILITY IMAP4rev1\nS: $c OK\neof";
  CHECK(outcome(hello("SASL-IR X-NETSCAPE AUTH=PLAIN") + in + "C: $p PROXYAUTH \"bob\"\nS: $p OK you are bob\n" + after,
                account) == "");
  CHECK(
      outcome(
          "S: * OK CommuniGate Pro IMAP Server 6.3 at example.org ready\nC: $b CAPABILITY\nS: * CAPABILITY IMAP4rev1\n"
          "S: $b OK\nC: $a LOGIN \"admin\" \"hunter2\"\nS: $a OK in\nC: $p PROXYAUTH \"bob\"\nS: $p OK\n" +
              after,
          account) == "");
  // Refused: nobody goes on with the administrator's own mail.
  for (const char* no : {"NO no such user", "BAD unknown command"}) {
    const auto error = outcome(
        hello("SASL-IR X-SUN-IMAP AUTH=PLAIN") + in + "C: $p PROXYAUTH \"bob\"\nS: $p " + no + "\neof", account);
    CHECK_MESSAGE(has(error, "the server does not let the administrator act for bob: "), error);
  }
  account.authzid.clear();  // one's own mail
  CHECK(outcome(hello("SASL-IR X-NETSCAPE AUTH=PLAIN") + in + after, account) == "");
}

TEST_CASE("logins: XOAUTH2") {
  Tokens tokens;
  CHECK(outcome(hello("SASL-IR AUTH=XOAUTH2 AUTH=PLAIN") + "C: $a AUTHENTICATE XOAUTH2 " + xoauth2("token-1") +
                    "\nS: $a OK [CAPABILITY IMAP4rev1] in\neof",
                with_tokens(tokens)) == "");
  CHECK(tokens.refused == std::vector<std::string>{""});
  Tokens second;
  CHECK(outcome(hello("AUTH=XOAUTH2") + "C: $a AUTHENTICATE XOAUTH2\nS: +\nC: " + xoauth2("token-1") +
                    "\nS: $a OK [CAPABILITY IMAP4rev1] in\neof",
                with_tokens(second)) == "");
}

TEST_CASE("logins: a refused token is renewed once, then it is the consent") {
  const auto round = [](const std::string& tag, const std::string& token) {
    return "C: $" + tag + " AUTHENTICATE XOAUTH2 " + xoauth2(token) + "\nS: + " +
           base64(R"({"status":"401","schemes":"bearer","scope":"mail"})") + "\nC: \nS: $" + tag +
           " NO [AUTHENTICATIONFAILED] Invalid credentials\n";
  };
  Tokens tokens;
  CHECK(outcome(hello("SASL-IR AUTH=XOAUTH2") + round("a", "token-1") + "C: $b AUTHENTICATE XOAUTH2 " +
                    xoauth2("token-2") + "\nS: $b OK [CAPABILITY IMAP4rev1] in\neof",
                with_tokens(tokens)) == "");
  CHECK(tokens.refused == std::vector<std::string>{"", "token-1"});

  Tokens both;
  const std::string error =
      outcome(hello("SASL-IR AUTH=XOAUTH2") + round("a", "token-1") + round("b", "token-2") + "eof", with_tokens(both));
  CHECK(has(error, "the server refuses the access token"));
  CHECK(has(error, "\"status\":\"401\""));
  CHECK(!has(error, "token-2"));

  Tokens one;
  one.given.pop_back();
  CHECK(
      has(outcome(hello("SASL-IR AUTH=XOAUTH2") + round("a", "token-1") + "eof", with_tokens(one)), "consent is gone"));

  // An outage is no reason for a new token.
  Tokens spared;
  CHECK(has(outcome(hello("SASL-IR AUTH=XOAUTH2") + "C: $a AUTHENTICATE XOAUTH2 *\nS: $a NO [UNAVAILABLE] down\neof",
                    with_tokens(spared)),
            "cannot check logins now"));
  CHECK(spared.refused.size() == 1);
}

TEST_CASE("logins: OAUTHBEARER is answered ^A after its error") {
  Tokens tokens;
  const std::string message = base64(
      "n,a=me@example.org,\x01host=localhost\x01port=993\x01"
      "auth=Bearer token-1\x01\x01");
  CHECK(outcome(hello("SASL-IR AUTH=XOAUTH2 AUTH=OAUTHBEARER") + "C: $a AUTHENTICATE OAUTHBEARER " + message +
                    "\nS: + " + base64("{\"status\":\"invalid_token\"}") +
                    "\nC: AQ==\nS: $a NO no\nC: $b AUTHENTICATE OAUTHBEARER *\n" +
                    "S: $b OK [CAPABILITY IMAP4rev1] in\neof",
                with_tokens(tokens)) == "");
}

TEST_CASE("logins: a server without OAuth does not get a token") {
  Tokens tokens;
  CHECK(has(outcome(hello("SASL-IR AUTH=PLAIN") + "eof", with_tokens(tokens)), "takes no OAuth tokens"));
}

TEST_CASE("cve_2021_39272, cve_2007_1558: nothing is proved without TLS, by no mechanism") {
  for (const char* name : {"PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256"}) {
    ScriptedServer server({hello(std::string("SASL-IR AUTH=") + name) + "C: $a STARTTLS\nS: $a NO not today\neof"});
    const Connected client =
        client::ImapClient::connect(account_at(server.port(), client::Security::StartTls), impatient(), {});
    CHECK(!client);
    CHECK(server.verdict() == "");
    CHECK(!has(server.in_clear(), "AUTHENTICATE"));
    CHECK(!has(server.in_clear(), "LOGIN "));
  }
}

TEST_CASE("logins: refusals in providers' words") {
  struct Case {
    std::string host, said, part;
    Retry retry;
  };
  const Case cases[] = {
      {"",
       "NO [ALERT] Application-specific password required: https://support.google.com/accounts/answer/185833 "
       "(Failure)",
       "an app password is needed", Retry::AfterUserAction},
      {"",
       "NO [AUTHENTICATIONFAILED] NEOBHODIM parol prilozheniya https://help.mail.ru/ / Application password is "
       "REQUIRED",
       "an app password is needed", Retry::AfterUserAction},
      {"", "NO Login fail. Please using the authorization code", "an app password is needed", Retry::AfterUserAction},
      {"", "NO [ALERT] Your account is not enabled for IMAP use. Please visit your Gmail settings page (Failure)",
       "IMAP is switched off for this mailbox", Retry::AfterUserAction},
      {"", "NO [ALERT] Please enable IMAP access", "IMAP is switched off for this mailbox", Retry::AfterUserAction},
      {"", "NO [AUTHORIZATIONFAILED] IMAP access is disabled for your domain. Please contact your domain administrator",
       "switched off by the administrator", Retry::AfterUserAction},
      {"", "NO [AUTHENTICATIONFAILED] LOGIN invalid credentials or IMAP is disabled", "or IMAP is switched off",
       Retry::AfterUserAction},
      {"", "NO AUTHENTICATE This user does not have access rights to this service", "IMAP is switched off",
       Retry::AfterUserAction},
      {"", "NO [WEBALERT https://accounts.google.com/x] Web login required.", "by browser first",
       Retry::AfterUserAction},
      {"", "NO [AUTHENTICATIONFAILED] Account is locked", "the account is locked", Retry::AfterUserAction},
      {"", "NO [AUTHENTICATIONFAILED] Your account has been suspended", "the account is locked",
       Retry::AfterUserAction},
      {"", "NO [AUTHENTICATIONFAILED] Account temporarily locked", "fewer logins", Retry::Later},
      {"", "NO [AUTHENTICATIONFAILED] LOGIN Rate limit hit", "", Retry::Later},
      {"", "NO [AUTHENTICATIONFAILED] Too many login failures", "", Retry::Later},
      {"outlook.office365.com", "NO AUTHENTICATE failed.", "takes no passwords", Retry::AfterUserAction},
      {"outlook.office365.com", "NO LOGIN failed.", "takes no passwords", Retry::AfterUserAction},
      {"", "NO LOGIN failed.", "refuses user name or password", Retry::AfterUserAction},
      {"", "NO [UNAVAILABLE] Temporary authentication failure.", "cannot check logins now", Retry::Later},
      {"", "NO [SERVERBUG] LOGIN Server error - Please try again later", "", Retry::Later},
      {"", "NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)", "refuses user name or password",
       Retry::AfterUserAction},
  };
  for (const auto& c : cases) {
    CAPTURE(c.said);
    client::Account account = account_at(993);
    if (!c.host.empty()) account.endpoint.host = c.host;
    InMemory memory(hello("SASL-IR AUTH=PLAIN LOGINDISABLED") + "C: $a AUTHENTICATE PLAIN *\nS: $a " + c.said + "\neof",
                    Chunks::Whole, 1, account);
    REQUIRE(!memory.client);
    const Error error = memory.client.error();
    CHECK_MESSAGE(has(error.what, c.part), error.what);
    CHECK_MESSAGE(error.retry == c.retry, error.what);
    CHECK(memory.verdict() == "");
  }
}

TEST_CASE("logins: what the provider wants is the advice") {
  client::Account account = account_at(993);
  account.help = "Make a key at example.org/keys.";
  CHECK(has(outcome(hello("SASL-IR AUTH=PLAIN") + "C: $a AUTHENTICATE PLAIN *\nS: $a NO [AUTHENTICATIONFAILED] no\neof",
                    account),
            "Make a key at example.org/keys."));
}
