#include <algorithm>
#include <array>
#include <string_view>

#include "protocols/base/text.h"
#include "protocols/client/login.h"
#include "protocols/imap/plea.h"

namespace mailhaul::client {
namespace {

struct CodeRow {
  std::string_view code;
  Retry retry;
  std::string_view what;
  std::string_view advice;
};

// RFC 5530 §3, and codes that large providers use beside it.
constexpr std::array<CodeRow, 14> kCodes{{
    {"AUTHENTICATIONFAILED", Retry::AfterUserAction, "the server refuses user name or password",
     "Check both; many providers want an app password for programs."},
    {"AUTHORIZATIONFAILED", Retry::AfterUserAction, "the user may not use this mailbox", "Ask the server's operator."},
    {"EXPIRED", Retry::AfterUserAction, "the password has expired", "Set a new one at the provider."},
    {"PRIVACYREQUIRED", Retry::AfterUserAction, "the server wants an encrypted connection",
     "Use imaps://, or imap:// with STARTTLS."},
    {"CONTACTADMIN", Retry::AfterUserAction, "the server wants you to contact its operator",
     "Ask the server's operator."},
    {"WEBALERT", Retry::AfterUserAction, "the provider wants you to log in by browser first",
     "Do so, or use an app password."},
    {"REFERRAL", Retry::AfterUserAction, "the server refers to another one",
     "Use that server's name if you trust it; it is not followed."},
    {"UNAVAILABLE", Retry::Later, "the server cannot check logins now", ""},
    {"INUSE", Retry::Later, "the mailbox is in use", ""},
    {"LIMIT", Retry::Later, "the server's limits are reached", "Use fewer connections."},
    {"OVERQUOTA", Retry::Later, "the server's limits are reached", ""},
    {"THROTTLED", Retry::Later, "the server asks for patience", ""},
    {"SERVERBUG", Retry::Later, "the server has failed inside", ""},
    {"CLIENTBUG", Retry::Later, "the server did not like how it was asked", ""},
}};

// The server's words without the user's password, should it repeat it, plain or in the response's base64.
std::string without_secrets(std::string text, const Account& account) {
  const std::string& password = account.password.reveal();
  if (password.empty()) return text;
  const std::string response = base64(std::string(1, '\0') + account.user + std::string(1, '\0') + password);
  for (const std::string& secret : {response, password, base64(password)})
    for (auto at = text.find(secret); at != std::string::npos; at = text.find(secret, at))
      text.replace(at, secret.size(), "***");
  return text;
}

}  // namespace

// Whatever is not known to pass is taken as a refusal: trying a wrong password again and again locks accounts.
Error login_refused(const imap::StatusText& status, const Account& account) {
  const std::string said = without_secrets(status.line(), account);
  const auto asked = imap::plea_of(status);
  const auto row = std::find_if(kCodes.begin(), kCodes.end(), [&](const CodeRow& r) { return r.code == status.code; });
  if (row != kCodes.end())
    return {Scope::Account, row->retry, std::string(row->what) + ": " + said, std::string(row->advice),
            row->retry == Retry::Later ? asked.wait : 0};
  if (asked.plea != imap::Plea::None || status.condition == imap::Condition::Bye)
    return {Scope::Account, Retry::Later, "the server does not let anybody in now: " + said, "", asked.wait};
  if (status.condition == imap::Condition::Bad)
    return {Scope::Account, Retry::AfterUserAction, "the server does not understand the login: " + said,
            "Check that user name and password are what this server expects."};
  return {Scope::Account, Retry::AfterUserAction, "the server refuses user name or password: " + said,
          "Check both; many providers want an app password for programs."};
}

Error not_imap(std::string_view first, const Account& account) {
  Error error{Scope::Account, Retry::AfterUserAction, "",
              "Check host and port (IMAP: 993 with TLS, 143 with STARTTLS)."};
  const auto record = first.empty() ? 0 : static_cast<unsigned char>(first[0]);
  if (first.empty()) {
    error.retry = Retry::Later;
    error.what = "the server does not greet";
    if (account.security != Security::Tls)
      error.advice = "If this port expects TLS from the first octet, use imaps://.";
  } else if (first.size() >= 2 && (record == 0x15 || record == 0x16) && first[1] == 3) {
    error.what = "the server speaks TLS from the first octet here";
    error.advice = "Use imaps://.";
  } else if (first.starts_with("HTTP/") || first.starts_with("<")) {
    error.what = "this is a web server, not an IMAP server";
  } else if (first.starts_with("+OK") || first.starts_with("-ERR")) {
    error.what = "this is a POP3 server, not an IMAP server";
  } else if (first.starts_with("220") || first.starts_with("554") || first.starts_with("421")) {
    error.what = "this is an SMTP or FTP server, not an IMAP server";
  } else if (first.starts_with("SSH-")) {
    error.what = "this is an SSH server, not an IMAP server";
  } else {
    error.what = "this is not an IMAP server";
    // Before STARTTLS anybody may have written it.
    if (account.security != Security::StartTls) error.what += ": it begins with \"" + printable(first, 60) + "\"";
  }
  return error;
}

}  // namespace mailhaul::client
