// STLS is required, never opportunistic: the POP3 situations of the 2021 study of STARTTLS in mail, under the names by
// which it published them. Each ends either in a refusal or in TLS; neither may let an octet of the credentials out in
// clear, nor believe an octet that came before TLS. Mailhaul asks for STLS without looking at the capabilities, so that
// what a server says of them before TLS is never heard; the situations about CAPA, AUTH and QUIT show that it is so.
// (Two names of the list, "Tampering/.gitignore" and the "-unfinished" twin of X_1, hold no situation of their own.)
#include <doctest/doctest.h>

#include <string>

#include "protocols/client/pop3_client.h"
#include "tests/client/scenario.h"

using namespace mailhaul;
using namespace mailhaul::test;
using client::Security;

namespace {

enum class End { Refused, Secured };

const std::string kAsk = "C: STLS\n";
const std::string kHello = "S: +OK ready\n";
const std::string kSecured =
    "starttls\nC: CAPA\nS: +OK\nS: UIDL\nS: .\nC: USER me@example.org\nS: +OK\nC: PASS hunter2\nS: +OK in\n"
    "C: CAPA\nS: +OK\nS: UIDL\nS: .\neof\n";

bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

void play(const std::string& before, End end, const std::string& says = "") {
  ScriptedServer server({before + (end == End::Secured ? kSecured : "eof\n")}, {.tls = Tls::StartTls});
  std::string error;
  {
    client::ClientOptions options = impatient();
    options.idle = 300ms;
    auto client = client::Pop3Client::connect(account_at(server.port(), Security::StartTls), options, {});
    if (!client) {
      error = client.error().what + client.error().advice;
      CHECK(client.error().scope == Scope::Account);
    } else {
      CHECK((*client)->security().starts_with("TLSv1."));
      CHECK((*client)->session().secure());
      CHECK((*client)->greeting() == "");
      for (const char* capability : {"X-EVIL", "STLS", "SASL", "PIPELINING", "USER"})
        CHECK(!(*client)->session().has(capability));
      CHECK((*client)->session().has("UIDL"));
    }
  }
  CHECK(error.empty() == (end == End::Secured));
  CHECK_MESSAGE(has(error, says), error);
  CHECK(server.verdict() == "");
  CHECK(server.connections() == 1);  // nothing is tried again in clear
  std::string clear = server.in_clear();
  clear = clear.substr(0, clear.find("\x16\x03"));  // a ClientHello that nobody took
  CHECK((clear.empty() || clear == "STLS\r\n"));    // no APOP, no USER, no AUTH
  for (const char* forged : {"evil", "Evil", "EVIL", "0900", "\x1b"})
    CHECK_MESSAGE(error.find(forged) == std::string::npos, error);
}

}  // namespace

#define STLS(name, ...) \
  TEST_CASE("starttls POP3 " name) { play(__VA_ARGS__); }

// Octets behind the OK, in its segment; and in a segment of their own, where the handshake should be.
STLS("Buffering/B_1", kHello + kAsk + "S: +OK go\nS: +OK evil\n", End::Refused, "injection")
STLS("Buffering/B_2", kHello + kAsk + "S-raw: +OK go\\r\\n+OK\\r\\nX-EVIL\\r\\n.\n", End::Refused, "injection")
STLS("Buffering/later segment", kHello + kAsk + "S: +OK go\nflush\nS: +OK\nS: X-EVIL\nS: .\n", End::Refused)

STLS("Negotiation/O_1", kHello + kAsk + "S: -ERR Unknown evil command\n", End::Refused, "does not start TLS")
STLS("Negotiation/O_2", kHello + kAsk + "S: -ERR evil\n", End::Refused, "does not start TLS")
STLS("Negotiation/O_3", "S: +OK POP3 without CAPA, evil\n" + kAsk + "S: -ERR evil\n", End::Refused,
     "does not start TLS")
STLS("Negotiation/O_4", "S: +OK evil <1896.697170952@evil.example>\n" + kAsk + "S: -ERR evil\n", End::Refused,
     "does not start TLS")

// The greeting says that one is in already: POP3 knows no such state.
STLS("others/P_1-unfinished", "S: +OK [EVIL] maildrop open, 3 messages\n" + kAsk + "S: -ERR evil state\n", End::Refused,
     "does not start TLS")
// The server says OK and goes on in clear.
STLS("others/X_1", kHello + kAsk + "S: +OK go\nflush\nS: +OK evil\nS: -ERR evil\n", End::Refused)

// CAPA is refused, and AUTH without a mechanism, the older way to ask, as well or not: neither is asked.
STLS("others/auth/capa_err_auth_err", kHello + kAsk + "S: -ERR evil CAPA AUTH\n", End::Refused, "does not start TLS")
STLS("others/auth/capa_err_auth_ok_all", kHello + kAsk + "S: +OK\nS: PLAIN\nS: LOGIN\nS: EVIL\nS: .\n", End::Refused)
STLS("others/auth/capa_err_auth_ok_empty", kHello + kAsk + "S: +OK\nS: .\n", End::Refused)
STLS("others/auth/capa_err_quit_err_sys_perm", kHello + kAsk + "S: -ERR [SYS/PERM] evil\n", End::Refused,
     "does not start TLS")
STLS("others/auth/capa_err_quit_ok_sys_perm", kHello + kAsk + "S: -ERR [SYS/PERM] evil\nS: +OK [SYS/PERM] evil\n",
     End::Refused)

STLS("others/capa/capa_err", kHello + kAsk + "S: +OK go\n", End::Secured)
STLS("others/capa/capa_err_code_sys_perm", kHello + kAsk + "S: -ERR [SYS/PERM] evil\n", End::Refused,
     "does not start TLS")
STLS("others/capa/capa_ok_all", "S: +OK STLS SASL PLAIN X-EVIL\n" + kAsk + "S: +OK go\n", End::Secured)
STLS("others/capa/capa_ok_empty", kHello + kAsk + "S: +OK\n", End::Secured)
STLS("others/capa/capa_ok_sasl_no_stls", "S: +OK SASL PLAIN LOGIN\n" + kAsk + "S: -ERR evil\n", End::Refused,
     "does not start TLS")
STLS("others/code", "S: +OK [EVIL] hi\n" + kAsk + "S: +OK [EVIL/EVIL] go\n", End::Secured)

STLS("others/greeting/err", "S: -ERR evil\n", End::Refused, "does not let anybody in")
STLS("others/greeting/err_escape", "S-raw: -ERR \\x1b[31mevil\\r\\n\n", End::Refused, "does not let anybody in")
STLS("others/greeting/err_sys_perm", "S: -ERR [SYS/PERM] evil\n", End::Refused, "does not let anybody in")
STLS("others/greeting/err_sys_temp", "S: -ERR [SYS/TEMP] evil\n", End::Refused, "does not let anybody in")
STLS("others/greeting/err_timestamp", "S: -ERR <1.2@evil.example>\n", End::Refused, "does not let anybody in")
STLS("others/greeting/greeting_1", "S: evil greeting\n", End::Refused, "not a POP3 server")
STLS("others/greeting/greeting_2", "S: evil greeting\nS: +OK hi\n", End::Refused, "not a POP3 server")
STLS("others/greeting/ok", "S: +OK\n" + kAsk + "S: +OK\n", End::Secured)
STLS("others/greeting/ok_escape", "S-raw: +OK \\x1b[31mevil\\r\\n\n" + kAsk + "S: +OK\n", End::Secured)
STLS("others/greeting/ok_sys_perm", "S: +OK [SYS/PERM] evil\n" + kAsk + "S: +OK go\n", End::Secured)
STLS("others/greeting/ok_sys_temp", "S: +OK [SYS/TEMP] evil\n" + kAsk + "S: +OK go\n", End::Secured)
STLS("others/greeting/ok_timestamp", "S: +OK <1896.697170952@evil.example>\n" + kAsk + "S: +OK go\n", End::Secured)

// No QUIT is sent before TLS, so that no answer to it is shown.
STLS("others/quit/greeting_err_quit_err", "S: -ERR evil\nS: -ERR evil\n", End::Refused, "does not let anybody in")
STLS("others/quit/greeting_err_quit_ok", "S: -ERR evil\nS: +OK evil\n", End::Refused, "does not let anybody in")
STLS("others/quit/greeting_ok_capa_stls_stls_err_quit_err", kHello + kAsk + "S: -ERR evil\nflush\nS: -ERR evil\n",
     End::Refused, "does not start TLS")
STLS("others/quit/greeting_ok_capa_stls_stls_err_quit_ok", kHello + kAsk + "S: -ERR evil\nflush\nS: +OK evil\n",
     End::Refused, "does not start TLS")

STLS("others/stls/greeting_ok_capa_ok_stls_err", kHello + kAsk + "S: -ERR evil\n", End::Refused, "does not start TLS")
STLS("others/stls/greeting_ok_capa_ok_stls_err_sys_perm", kHello + kAsk + "S: -ERR [SYS/PERM] evil\n", End::Refused,
     "does not start TLS")
STLS("others/stls/greeting_ok_capa_ok_stls_ok", kHello + kAsk + "S: +OK Begin TLS, evil\n", End::Secured)
STLS("others/stls/greeting_ok_capa_ok_stls_ok_sys_perm", kHello + kAsk + "S: +OK [SYS/PERM] evil\n", End::Secured)

// The lines of a list that nobody asked for, instead of the answer.
STLS("others/unsolicited/multi_line_scan_listing", kHello + kAsk + "S: 1 evil\nS: 2 evil\nS: .\nS: +OK\n", End::Refused,
     "no POP3")
STLS("others/unsolicited/continuation", kHello + kAsk + "S: + evil\n", End::Refused, "no POP3")
