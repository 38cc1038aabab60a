// What has gone wrong in other IMAP and POP3 clients, re-told from the descriptions: a test for each, by its number.
// Those that concern one room stand there; `grep -rn cve_ tests` finds all of them.
//
//   what went wrong                                        numbers                              where
//   '..' in a mailbox's name, in a path made of one        2021_20247, 2018_14355               sync/scenarios_d_test
//   … and in a unique-id of POP3                           2018_14362                           sync/pop3_test
//   response codes nobody asked for, a STATUS of nothing   2021_3578, 2022_4121                 here
//   messages without header, of no octets                  2021_44143, 2017_1000257             here
//   literals of 2 GiB and more, memory taken in advance    2021_3657, 2025_43857                here
//   many literals: quadratic work, unbounded memory        2026_42245, 2024_34055               imap/limits_test
//   long sizes, sets that end in a comma                   2018_14358, 2021_32055               here
//   address groups that eat memory                         2021_3181 collector/pop3_names_test names, issuers, dates of
//   certificates; NUL; SSLv2      2013_0289, 2010_4532, 2020_14154     here
//                                                          2009_2666, 2010_4533 net/bad_certificates_test, tls_test
//   TLS gone round by PREAUTH or a missing STARTTLS        2020_14093, 2021_22946               here
//                                                          2021_39272                           client/mechanisms_test
//   octets from before TLS believed                        2020_14954, 2020_15953, 2021_22947   here
//   an invalid greeting, a tagged OK before its command    2020_28896, 2026_42246               here
//   a challenge that proves the password (APOP, CRAM)      2007_1558                            client/mechanisms_test
//   a digest as a C string, NUL by URL or in a message     2026_43859, 2026_43861               sasl/mechanism_test
//   mechanisms that are better left alone                  2026_43862, 2013_0249                sasl/mechanism_test
//   long names in SASL, exchanges that end half-way        2018_16839, 2026_8925                sasl/mechanism_test
//   SCRAM's iterations without a bound                     2026_42256                           client/mechanisms_test
//   a token carried along by a redirect                    2025_14524                           http/http_test
//   a connection used again for somebody else              2022_22576, 2026_4873, 2026_8286     here, http/http_test
//   long words of a server in logs and errors              2021_36386, 2008_2711                here
#include <doctest/doctest.h>

#include <string>

#include "protocols/mail/identity.h"
#include "tests/client/scenario.h"

using namespace mailhaul;
using namespace mailhaul::test;
using client::Security;

namespace {

bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

// A server that STARTTLS is asked of: it is refused, after one line at most, and nothing of the account was said.
std::string refused_in_clear(const std::string& script) {
  ScriptedServer server({script + "eof\n"}, {.tls = Tls::StartTls});
  client::ClientOptions options = impatient();
  options.idle = 300ms;
  const Connected client = client::ImapClient::connect(account_at(server.port(), Security::StartTls), options, {});
  REQUIRE(!client);
  const std::string clear = server.in_clear();
  for (const char* secret : {"hunter2", "me@example.org", "LOGIN", "AUTHENTICATE"}) CHECK(!has(clear, secret));
  return client.error().what;
}

std::string refused_certificate(Certificate which, Tls tls) {
  const std::string hello = "S: * OK hi\nC: $s STARTTLS\nS: $s OK go\nstarttls\neof\n";
  ScriptedServer server({tls == Tls::StartTls ? hello : kIn + "eof\n"}, {.tls = tls, .certificate = which});
  const Connected client = client::ImapClient::connect(
      account_at(server.port(), tls == Tls::StartTls ? Security::StartTls : Security::Tls), impatient(), {});
  REQUIRE(!client);
  for (const std::string& line : server.lines()) CHECK(!has(line, "AUTHENTICATE"));
  return client.error().what;
}

// Runs LIST, STATUS and a FETCH against what the server says; what was heard, or the error.
std::string heard(const std::string& answers) {
  InMemory memory(kIn +
                  "C: $a EXAMINE \"INBOX\"\nS: * 2 EXISTS\nS: $a OK [READ-ONLY] done\nC: $b UID FETCH 1:2 (UID "
                  "RFC822.SIZE BODY.PEEK[])\n" +
                  answers + "S: $b OK done\neof");
  REQUIRE(memory.client);
  Recorder recorder;
  imap::Examine examine;
  examine.mailbox = "INBOX";
  if (const auto opened = (*memory.client)->command(examine); !opened) return opened.error().what;
  imap::UidFetch fetch;
  fetch.uids = "1:2";
  fetch.items = "UID RFC822.SIZE BODY.PEEK[]";
  const auto done = (*memory.client)->command(fetch, &recorder);
  return done ? recorder.text() : "error: " + done.error().what;
}

}  // namespace

TEST_CASE("D60 cve_2020_14093, cve_2021_22946: PREAUTH and a missing STARTTLS do not lead round TLS") {
  CHECK(has(refused_in_clear("S: * PREAUTH [CAPABILITY IMAP4rev1] welcome\n"), "PREAUTH"));
  CHECK(has(refused_in_clear("S: * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hi\nC: $s STARTTLS\nS: $s BAD unknown\n"),
            "does not start TLS"));
}

TEST_CASE("D60 cve_2020_14954, cve_2020_15953, cve_2021_22947: what stands behind the OK to STARTTLS is not believed") {
  CHECK(refused_in_clear("S: * OK hi\nC: $s STARTTLS\nS: $s OK go\nS: * CAPABILITY IMAP4rev1 AUTH=PLAIN\n") != "");
  CHECK(refused_in_clear("S: * OK hi\nC: $s STARTTLS\nS: $s OK go\nS: * PREAUTH evil\n") != "");
}

TEST_CASE("cve_2020_28896: an invalid greeting ends the connection, not its encryption") {
  CHECK(refused_in_clear("S: OK hi\n") != "");
  CHECK(refused_in_clear("S: * HELLO\n") != "");
}

TEST_CASE("cve_2026_42246: a tagged OK that comes before the command is no answer to it") {
  for (const char* tag : {"A1", "A001", "a", "1", "*1"})
    CHECK(refused_in_clear("S: * OK hi\nS: " + std::string(tag) + " OK Begin TLS\n") != "");
}

TEST_CASE("cve_2013_0289, cve_2010_4532, cve_2020_14154: names, issuers and dates of certificates count") {
  for (const Tls tls : {Tls::Implicit, Tls::StartTls}) {
    CHECK(has(refused_certificate(Certificate::WrongName, tls), "is not for localhost but for elsewhere.example"));
    CHECK(has(refused_certificate(Certificate::SelfSigned, tls), "self-signed"));
    CHECK(has(refused_certificate(Certificate::Expired, tls), "expired"));
    CHECK(has(refused_certificate(Certificate::UnknownIssuer, tls), "issuer is unknown"));
  }
}

TEST_CASE("cve_2021_36386, cve_2008_2711: long words of a server are cut in errors") {
  const std::string words(100'000, 'x');
  InMemory memory("S: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] hi\nC: $a AUTHENTICATE PLAIN *\nS: $a NO " +
                  words + "\\x1b[31m\neof");
  REQUIRE(!memory.client);
  CHECK(memory.client.error().what.size() < 600);
  for (const char c : memory.client.error().what) CHECK(static_cast<unsigned char>(c) >= 0x20);
}

TEST_CASE("cve_2017_1000257: a message of no octets") {
  const std::string text =
      heard("S: * 1 FETCH (UID 1 RFC822.SIZE 0 BODY[] {0}\nS: )\nS: * 2 FETCH (UID 2 BODY[] \"\")\n");
  CHECK_MESSAGE(has(text, "BODY 0"), text);
  CHECK(has(text, "uid=2"));
}

TEST_CASE("cve_2021_44143: messages without a header, and nothing but line ends or a NUL") {
  const std::string text = heard(
      "S-raw: * 1 FETCH (UID 1 BODY[] {4}\\r\\n\\r\\n\\r\\n)\\r\\n\nS-raw: * 2 FETCH (UID 2 BODY[] "
      "{1}\\r\\n\\0)\\r\\n\n");
  CHECK_MESSAGE(has(text, "BODY 4"), text);
  CHECK_MESSAGE(has(text, "BODY 1"), text);
  CHECK(has(text, "uid=2"));
}

TEST_CASE("cve_2021_3657, cve_2025_43857: an announced literal is no reason to take memory") {
  for (const char* octets : {"2147483648", "4294967296", "1099511627776"}) {
    const std::string text = heard("S-raw: * 1 FETCH (UID 1 BODY[] {" + std::string(octets) + "}\\r\\nabc\ndrop\n");
    CHECK_MESSAGE(has(text, "error: "), text);
  }
  CHECK(has(heard("S: * 1 FETCH (UID 1 BODY[] {99999999999999999999}\n"), "error: "));
}

TEST_CASE("cve_2018_14358: a size with too many digits is no size") {
  const std::string text = heard("S: * 1 FETCH (UID 1 RFC822.SIZE " + std::string(5000, '9') + " FLAGS ())\n");
  CHECK(has(text, "uid=1"));
}

TEST_CASE("cve_2021_32055: sets that end in a comma") {
  for (const char* set : {"1:3,", ",", "1,,2", "1:", ":", "1:2:3", "0", "1:99999999999999999999"})
    CHECK_MESSAGE(!has(heard("S: * VANISHED " + std::string(set) + "\n"), "error: "), set);
}

TEST_CASE("cve_2021_3578, cve_2022_4121: codes and statuses that nobody asked for") {
  const std::string text = heard(
      "S: * OK [APPENDUID 1 4294967295] x\nS: * OK [COPYUID 1 2:5 6:9] x\nS: * STATUS INBOX\nS: * STATUS INBOX ()\n"
      "S: * STATUS\nS: * 1 FETCH (UID 1 FLAGS ())\n");
  CHECK(!has(text, "error: "));
  CHECK(has(text, "uid=1"));
}

TEST_CASE(
    "cve_2022_22576, cve_2026_4873, cve_2026_8286: a connection belongs to one account and its way of encryption") {
  const auto in = [](const std::string& user, const std::string& password) {
    return "S: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] ready\nC: $in AUTHENTICATE PLAIN " +
           base64(std::string(1, '\0') + user + std::string(1, '\0') + password) +
           "\nS: $in OK [CAPABILITY IMAP4rev1] in\nC: $n NOOP\nS: $n OK\neof\n";
  };
  // The same server; another password, another user, the first one again, and one with a certificate's issuer of no
  // use.
  ScriptedServer server({in("a", "1"), in("a", "2"), in("b", "1"), in("a", "1"), "S: * OK never seen\neof\n"},
                        {.tls = Tls::Implicit});
  {
    std::vector<std::unique_ptr<client::ImapClient>> open;  // the earlier ones are free to be used
    for (const auto& [user, password] : {std::pair{"a", "1"}, {"a", "2"}, {"b", "1"}, {"a", "1"}}) {
      client::Account account = account_at(server.port());
      account.user = user;
      account.password = Secret(password);
      Connected client = client::ImapClient::connect(account, impatient(), {});
      REQUIRE_MESSAGE(client, client.error().what);
      CHECK((*client)->command(imap::Noop{}));
      open.push_back(*std::move(client));
    }
    client::ClientOptions strict = impatient();
    strict.connect.ca_file.clear();  // the system's, which does not know this server
    client::Account account = account_at(server.port());
    account.user = "a";
    account.password = Secret("1");
    CHECK(!client::ImapClient::connect(account, strict, {}));
  }
  CHECK(server.connections() == 5);
}
