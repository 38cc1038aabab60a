// STARTTLS is required, never opportunistic. The situations bear the names under which the 2021 study of STARTTLS in
// mail published them. Each ends either in a refusal or in TLS; neither may let an octet of the credentials out in
// clear, nor believe an octet that came before TLS.
#include <doctest/doctest.h>

#include <string>

#include "tests/client/scenario.h"

using namespace mailhaul;
using namespace mailhaul::test;
using client::Security;

namespace {

enum class End { Refused, Secured };

const std::string kAsk = "C: $s STARTTLS\n";
const std::string kSecured =
    "starttls\n"
    "C: $c CAPABILITY\n"
    "S: * CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN\n"
    "S: $c OK done\n"
    "C: $d AUTHENTICATE PLAIN AG1lQGV4YW1wbGUub3JnAGh1bnRlcjI=\n"
    "S: $d OK [CAPABILITY IMAP4rev1 UIDPLUS] in\n"
    "C: $e LIST \"\" *\n"
    "S: * LIST () \"/\" Real\n"
    "S: $e OK done\n"
    "eof\n";
// Never a prefix of anything that may be sent before TLS.
const char* const kSecrets[] = {"hunter2",    "me@example.org", "AG1l",        "bWVAZXhhbXBsZS5vcmc",
                                "aHVudGVyMg", "LOGIN",          "AUTHENTICATE"};
// Whatever an attacker writes in the scripts below holds one of these.
const char* const kForged[] = {"evil", "Evil", "EVIL", "0900"};

void play(const std::string& before, End end, const std::string& after = "", std::chrono::milliseconds idle = 10s) {
  const std::string rest = !after.empty() ? after : end == End::Secured ? kSecured : "eof\n";
  ScriptedServer server({before + rest}, {.tls = Tls::StartTls});
  std::string error;
  {
    client::ClientOptions options = impatient();
    options.idle = idle;
    const Connected client = client::ImapClient::connect(account_at(server.port(), Security::StartTls), options, {});
    if (!client) {
      error = client.error().what + client.error().advice;
    } else {
      CHECK((*client)->security().starts_with("TLSv1."));
      CHECK((*client)->session().secure());
      CHECK((*client)->greeting() == "");
      for (const char* capability :
           {"X-EVIL", "STARTTLS", "LOGINDISABLED", "AUTH=PLAIN", "UTF8=ONLY", "COMPRESS=DEFLATE"})
        CHECK(!(*client)->session().has(capability));
      CHECK((*client)->session().has("UIDPLUS"));
      Recorder recorder;
      CHECK((*client)->command(imap::List{}, &recorder));
      CHECK(recorder.text() == "LIST Real; LIST: OK");
    }
  }
  CHECK(error.empty() == (end == End::Secured));
  if (end == End::Secured) CHECK(error == "");
  CHECK(server.verdict() == "");
  CHECK(server.connections() == 1);  // no referral is followed, nothing is tried again in clear
  std::string clear = server.in_clear();
  clear = clear.substr(0, clear.find("\x16\x03"));  // a ClientHello that nobody took
  for (const char* secret : kSecrets) CHECK(clear.find(secret) == std::string::npos);
  CHECK((clear.empty() || (clear.ends_with(" STARTTLS\r\n") && clear.find('\n') == clear.size() - 1)));
  for (const char* forged : kForged) CHECK_MESSAGE(error.find(forged) == std::string::npos, error);
}

const std::string kHello = "S: * OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] ready\n";

}  // namespace

#define STARTTLS(name, ...) \
  TEST_CASE("starttls " name) { play(__VA_ARGS__); }

// Octets behind the OK, in its segment.
STARTTLS("Buffering/B_1", kHello + kAsk + "S: $s OK go\nS: * CAPABILITY IMAP4rev1 X-EVIL AUTH=PLAIN\n", End::Refused)
STARTTLS("Buffering/B_2", kHello + kAsk + "S: $s OK go\nS: evil1 OK [CAPABILITY X-EVIL] in\n", End::Refused)
STARTTLS("Buffering/B_3", kHello + kAsk + "S: $s OK go\nS-raw: * OK [ALERT] call 0900\n", End::Refused)
// In a segment of their own they stand where the handshake should be.
STARTTLS("Buffering/later segment", kHello + kAsk + "S: $s OK go\nflush\nS: * CAPABILITY IMAP4rev1 X-EVIL\n",
         End::Refused)

STARTTLS("Negotiation/D_1", "S: * OK hi\n" + kAsk + "S: $s BAD unknown evil command\n", End::Refused)
STARTTLS("Negotiation/D_2", "S: * OK [CAPABILITY IMAP4] hi\n" + kAsk + "S: $s BAD unknown evil command\n", End::Refused)
STARTTLS("Negotiation/D_3", "S: * OK hi\n" + kAsk + "S: * CAPABILITY IMAP4\nS: $s BAD unknown evil command\n",
         End::Refused)

STARTTLS("Negotiation/L_1_A", kHello + kAsk + "S: $s NO [REFERRAL imap://evil.example/] evil\n", End::Refused)
STARTTLS("Negotiation/L_1_B", kHello + kAsk + "S: $s OK go\n", End::Refused,
         "starttls\nC: $c CAPABILITY\nS: * CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR LOGIN-REFERRALS\nS: $c OK\n"
         "C: $d AUTHENTICATE PLAIN *\nS: $d NO [REFERRAL imap://me@other.example/] elsewhere\neof\n")

STARTTLS("Negotiation/M_1_A", "S: * PREAUTH [CAPABILITY IMAP4rev1 MAILBOX-REFERRALS] evil\n", End::Refused)
STARTTLS("Negotiation/M_1_B", "S: * PREAUTH [CAPABILITY IMAP4rev1 MAILBOX-REFERRALS STARTTLS] evil\n", End::Refused)
STARTTLS("Negotiation/M_2_A", kHello + "S: * NO [REFERRAL imap://evil.example/INBOX] evil\n" + kAsk + "S: $s OK go\n",
         End::Secured)
STARTTLS("Negotiation/M_2_B", kHello + kAsk + "S: * NO [REFERRAL imap://evil.example/INBOX] evil\nS: $s OK go\n",
         End::Secured)

STARTTLS("Negotiation/O_1", "S: * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hi\n" + kAsk + "S: $s BAD evil\n", End::Refused)
STARTTLS("Negotiation/O_2", kHello + kAsk + "S: $s NO evil\n", End::Refused)
STARTTLS("Negotiation/O_3", kHello + kAsk + "S: $s BAD evil\n", End::Refused)
STARTTLS("Negotiation/O_4", kHello + kAsk + "S: + evil\n", End::Refused, "", 300ms)

STARTTLS("Negotiation/P", "S: * PREAUTH evil\n", End::Refused)
STARTTLS("Negotiation/P_1", "S: * PREAUTH [CAPABILITY IMAP4rev1] evil\n", End::Refused)
STARTTLS("Negotiation/P_2", "S: * PREAUTH [CAPABILITY IMAP4rev1 STARTTLS] evil\n", End::Refused)
STARTTLS("Negotiation/P_3", "S: * PREAUTH [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] evil\n", End::Refused)
STARTTLS("Negotiation/P_4", "S: * PREAUTH [CAPABILITY IMAP4rev1 AUTH=PLAIN AUTH=LOGIN] evil\n", End::Refused)
STARTTLS("Negotiation/P_5", "S: * PREAUTH [ALERT] evil, call 0900\nS: * CAPABILITY IMAP4rev1 STARTTLS\n", End::Refused)

// Data of a mailbox that nobody opened, before TLS.
#define TAMPERING(name, data)                                                                                 \
  STARTTLS("Tampering/untagged/after_greeting/" name, kHello + (data) + kAsk + "S: $s OK go\n", End::Secured) \
  STARTTLS("Tampering/untagged/before_starttls/" name, kHello + kAsk + (data) + "S: $s OK go\n", End::Secured)

TAMPERING("01_list", "S: * LIST () \"/\" Evil\n")
TAMPERING("02_lsub", "S: * LSUB () \"/\" Evil\n")
TAMPERING("03_status_1", "S: * STATUS Evil (MESSAGES 3)\n")
TAMPERING("03_status_2", "S: * STATUS INBOX (MESSAGES 3 UIDNEXT 4 UIDVALIDITY 1)\n")
TAMPERING("04_search", "S: * SEARCH 1 2 3\n")
TAMPERING("05_flags", "S: * FLAGS (\\Seen $Evil)\n")
TAMPERING("06_exists", "S: * 23 EXISTS\n")
TAMPERING("07_recent", "S: * 5 RECENT\n")
TAMPERING("08_expunge", "S: * 1 EXPUNGE\n")
TAMPERING("09_fetch", "S: * 1 FETCH (UID 1 FLAGS (\\Seen) BODY[] {6}\nS: Evil\nS: )\n")

STARTTLS("Tampering/untagged/protocol_state/01_referral",
         kHello + kAsk + "S: $s OK [REFERRAL imap://evil.example/] go\n", End::Secured)

STARTTLS("UI Spoofing/greeting/no/01_alert", "S: * NO [ALERT] call 0900\n", End::Refused)
STARTTLS("UI Spoofing/greeting/no/02_badcharset", "S: * NO [BADCHARSET (EVIL)] call 0900\n", End::Refused)
STARTTLS("UI Spoofing/greeting/no/03_parse", "S: * NO [PARSE] call 0900\n", End::Refused)
STARTTLS("UI Spoofing/greeting/ok/01_alert", "S: * OK [ALERT] call 0900\n" + kAsk + "S: $s OK go\n", End::Secured)
STARTTLS("UI Spoofing/greeting/ok/02_badcharset", "S: * OK [BADCHARSET (EVIL)] call 0900\n" + kAsk + "S: $s OK go\n",
         End::Secured)
STARTTLS("UI Spoofing/greeting/ok/03_parse", "S: * OK [PARSE] call 0900\n" + kAsk + "S: $s OK go\n", End::Secured)
STARTTLS("UI Spoofing/starttls/ok/01_alert", kHello + kAsk + "S: $s OK [ALERT] call 0900\n", End::Secured)
STARTTLS("UI Spoofing/starttls/no/01_alert", kHello + kAsk + "S: $s NO [ALERT] call 0900\n", End::Refused)
STARTTLS("UI Spoofing/starttls/bye", kHello + kAsk + "S: * BYE [ALERT] call 0900\n", End::Refused)

// The server says OK and goes on in clear.
STARTTLS("others/X_1", kHello + kAsk + "S: $s OK go\nflush\nS: * OK still here, evil\n", End::Refused)
STARTTLS("others/exploit/list_injection_expunge",
         kHello + kAsk +
             "S: * LIST () \"/\" INBOX\nS: * 3 EXISTS\nS: * 1 EXPUNGE\nS: * LIST () \"/\" Evil\nS: $s OK go\n",
         End::Secured)
STARTTLS("others/exploit/stripping_drafts",
         kHello + kAsk + "S: * LIST (\\Drafts) \"/\" Evil\nS: * LIST (\\Sent) \"/\" Evil\nS: $s OK go\n", End::Secured)
STARTTLS("others/imapsieve_1",
         "S: * OK [CAPABILITY IMAP4rev1 STARTTLS X-EVIL IMAPSIEVE=sieve://evil.example] hi\n" + kAsk + "S: $s OK go\n",
         End::Secured)
STARTTLS("others/protocol/construction/01_greeting_invalid", "S: evil\n", End::Refused)
STARTTLS("others/protocol/construction/02_greeting_invalid_ok", "S: evil\nS: * OK hi\n", End::Refused)
STARTTLS("others/protocol/construction/03_greeting_invalid_invalid_ok", "S: evil\nS: evil\nS: * OK hi\n", End::Refused)
STARTTLS("others/protocol/construction/greeting_tagged", "S: A1 OK evil\n", End::Refused)
STARTTLS("others/protocol/construction/reorder", "S: * OK hi\nS: A1 OK evil\n", End::Refused)
STARTTLS("others/protocol/greeting/01_greeting_ok", "S: * OK\n" + kAsk + "S: $s OK\n", End::Secured)
STARTTLS("others/protocol/greeting/02_greeting_no", "S: * NO evil\n", End::Refused)
STARTTLS("others/protocol/greeting/03_greeting_bad", "S: * BAD evil\n", End::Refused)
STARTTLS("others/protocol/greeting/04_greeting_preauth", "S: * PREAUTH evil\n", End::Refused)
STARTTLS("others/protocol/greeting/05_greeting_bye", "S: * BYE evil\n", End::Refused)
// Untagged lines without anything in them.
STARTTLS("others/reproduction/balsa_issue_48", kHello + kAsk + "S: * \nS: *\nS: * OK\nS: $s OK go\n", End::Secured)
STARTTLS("others/untagged_capability_after_greeting",
         kHello + "S: * CAPABILITY IMAP4rev1 X-EVIL COMPRESS=DEFLATE\n" + kAsk + "S: $s OK go\n", End::Secured)
STARTTLS("others/untagged_capability_before_starttls",
         kHello + kAsk + "S: * CAPABILITY IMAP4rev1 X-EVIL LOGINDISABLED\nS: $s OK [CAPABILITY X-EVIL] go\n",
         End::Secured)
STARTTLS("others/utf8_only_1", "S: * OK [CAPABILITY IMAP4rev1 STARTTLS UTF8=ONLY] hi\n" + kAsk + "S: $s OK go\n",
         End::Secured)
STARTTLS("others/utf8_only_2", kHello + kAsk + "S: * CAPABILITY IMAP4rev1 UTF8=ONLY\nS: $s OK go\n", End::Secured)

TEST_CASE("starttls with a certificate that is not good enough") {
  const std::string script = kHello + kAsk + "S: $s OK go\n" + kSecured;
  for (const auto which :
       {Certificate::Expired, Certificate::WrongName, Certificate::UnknownIssuer, Certificate::SelfSigned}) {
    ScriptedServer server({script}, {.tls = Tls::StartTls, .certificate = which});
    const Connected client =
        client::ImapClient::connect(account_at(server.port(), Security::StartTls), impatient(), {});
    REQUIRE(!client);
    CHECK(client.error().what.find("the certificate") != std::string::npos);
    CHECK(client.error().retry == Retry::AfterUserAction);
    CHECK(server.verdict() == "");
    CHECK(server.lines().size() == 1);
  }
}

TEST_CASE("starttls round trips: the command, the capabilities, the login") {
  ScriptedServer server({kHello + kAsk + "S: $s OK go\n" + kSecured}, {.tls = Tls::StartTls});
  {
    const Connected client =
        client::ImapClient::connect(account_at(server.port(), Security::StartTls), impatient(), {});
    REQUIRE(client);
    CHECK((*client)->round_trips() == 3);
    CHECK((*client)->command(imap::List{}));
  }
  CHECK(server.verdict() == "");
}
