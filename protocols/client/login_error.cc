#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

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

// Why a login was refused, where the words say it.
enum class Why {
  WrongSecret,
  WrongOrOff,
  Locked,
  SwitchedOff,
  SwitchedOffByAdmin,
  AppPassword,
  Browser,
  NoPasswords,
  Throttled,
  Outage
};

struct Meaning {
  Why why;
  Retry retry;
  std::string_view what;
  std::string_view advice;
};
constexpr std::array<Meaning, 10> kMeanings{{
    {Why::WrongSecret, Retry::AfterUserAction, "the server refuses user name or password",
     "Check both; many providers want an app password for programs."},
    {Why::WrongOrOff, Retry::AfterUserAction, "the server refuses user name or password, or IMAP is switched off",
     "Check both, and that IMAP is switched on in the settings of the webmail."},
    {Why::Locked, Retry::AfterUserAction, "the account is locked",
     "Log in by browser and do as the provider says there, or ask its operator; more tries keep it locked."},
    {Why::SwitchedOff, Retry::AfterUserAction, "IMAP is switched off for this mailbox",
     "Switch it on in the settings of the webmail, then run this again."},
    {Why::SwitchedOffByAdmin, Retry::AfterUserAction, "IMAP is switched off by the administrator of the domain",
     "Ask the administrator to allow IMAP for this mailbox."},
    {Why::AppPassword, Retry::AfterUserAction, "an app password is needed here",
     "Make one in the account's security settings at the provider and give it instead of the usual password."},
    {Why::Browser, Retry::AfterUserAction, "the provider wants you to log in by browser first",
     "Do so, or use an app password."},
    {Why::NoPasswords, Retry::AfterUserAction, "the provider takes no passwords from programs any more",
     "It wants OAuth: allow the access with mailhaul authorize ADDRESS."},
    {Why::Throttled, Retry::Later, "the provider wants fewer logins for now", ""},
    {Why::Outage, Retry::Later, "the server cannot check logins now", ""},
}};

// What providers say, in lower case: the first row whose words all occur decides. `host`: only there.
struct Words {
  std::string_view host;
  std::array<std::string_view, 2> words;
  Why why;
};
constexpr std::array<Words, 44> kWords{{
    // an app password
    {"", {"application-specific password", ""}, Why::AppPassword},  // Google, Zoho
    {"", {"app-specific password", ""}, Why::AppPassword},          // Apple
    {"", {"app password", ""}, Why::AppPassword},
    {"", {"application password", ""}, Why::AppPassword},  // Mail.ru
    {"", {"parol prilozheniya", ""}, Why::AppPassword},    // Mail.ru
    {"", {"authorization code", ""}, Why::AppPassword},    // QQ, 163: their name for it
    {"", {"authentication code", ""}, Why::AppPassword},
    {"", {"authorized code", ""}, Why::AppPassword},
    {"", {"two-factor", ""}, Why::AppPassword},
    {"", {"2fa", ""}, Why::AppPassword},
    {"", {"secure mail key", ""}, Why::AppPassword},  // AT&T
    // a browser
    {"", {"log in via your web browser", ""}, Why::Browser},  // Google
    {"", {"web login required", ""}, Why::Browser},
    {"", {"unsafe login", ""}, Why::Browser},  // 163
    // IMAP switched off
    {"", {"imap access is disabled for your domain", ""}, Why::SwitchedOffByAdmin},  // Google Workspace
    {"", {"yet to enable imap", "administrator"}, Why::SwitchedOffByAdmin},          // Zoho
    {"", {"not enabled for imap", ""}, Why::SwitchedOff},                            // Google
    {"", {"not yet enabled for imap", ""}, Why::SwitchedOff},                        // Zoho
    {"", {"enable imap", ""}, Why::SwitchedOff},                                     // Interia, Zoho
    {"", {"or imap is disabled", ""}, Why::WrongOrOff},                              // Yandex
    {"", {"service is not open", ""}, Why::WrongOrOff},                              // QQ: one text for all
    {"", {"imap", "is disabled"}, Why::SwitchedOff},
    {"", {"imap", "not allowed"}, Why::SwitchedOff},
    {"", {"imap", "switched off"}, Why::SwitchedOff},
    {"", {"imap", "not activated"}, Why::SwitchedOff},
    {"", {"access rights to this service", ""}, Why::SwitchedOff},  // Yandex
    {"", {"protocol is disabled", ""}, Why::SwitchedOff},
    // no passwords at all
    {"", {"basicauthblocked", ""}, Why::NoPasswords},  // Microsoft
    {"", {"basic authentication is disabled", ""}, Why::NoPasswords},
    // throttling, before "locked": some lock for an hour and say so
    {"", {"too many", ""}, Why::Throttled},
    {"", {"rate limit", ""}, Why::Throttled},
    {"", {"login frequency", ""}, Why::Throttled},  // QQ
    {"", {"try again later", ""}, Why::Throttled},
    {"", {"temporarily locked", ""}, Why::Throttled},
    {"", {"temporarily blocked", ""}, Why::Throttled},
    // locked
    {"", {"account", "locked"}, Why::Locked},
    {"", {"account", "disabled"}, Why::Locked},
    {"", {"account", "suspended"}, Why::Locked},
    {"", {"account", "blocked"}, Why::Locked},
    {"", {"user", "suspended"}, Why::Locked},
    {"", {"user", "disabled"}, Why::Locked},
    // providers that say nothing but "failed"
    {"outlook.office365.com", {"failed", ""}, Why::NoPasswords},
    {"imap-mail.outlook.com", {"failed", ""}, Why::NoPasswords},
    {"pop-mail.outlook.com", {"failed", ""}, Why::NoPasswords},
}};

const Words* words_of(const std::string& text, const Account& account) {
  for (const Words& row : kWords) {
    if (!row.host.empty() && !equal_ignoring_case(row.host, account.endpoint.host)) continue;
    if (text.find(row.words[0]) != std::string::npos && text.find(row.words[1]) != std::string::npos) return &row;
  }
  return nullptr;
}

// The server's words without the user's secrets, should it repeat them, plain or in the response's base64.
std::string without_secrets(std::string text, const Account& account, const Secret& token) {
  std::vector<std::string> secrets;
  if (const std::string& password = account.password.reveal(); !password.empty()) {
    secrets.push_back(base64(account.authzid + std::string(1, '\0') + account.user + std::string(1, '\0') + password));
    secrets.push_back(password);
    secrets.push_back(base64(password));
  }
  if (!token.empty()) secrets.push_back(token.reveal());
  for (std::string& secret : secrets) {
    for (auto at = text.find(secret); at != std::string::npos; at = text.find(secret, at))
      text.replace(at, secret.size(), "***");
    wipe(secret);
  }
  return text;
}

Error meant(Why why, const std::string& said, const Account& account) {
  const auto* meaning =
      std::find_if(kMeanings.begin(), kMeanings.end(), [&](const Meaning& m) { return m.why == why; });
  const bool later = meaning->retry == Retry::Later;
  return {Scope::Account, meaning->retry, std::string(meaning->what) + ": " + said,
          later || account.help.empty() ? std::string(meaning->advice) : account.help, later ? imap::kUsualWait : 0};
}

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  for (auto at = text.find(from); at != text.npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
  return text;
}

Error token_refused(std::string said, const Account& account) {
  return {Scope::Account, Retry::AfterUserAction, "the server refuses the access token: " + std::move(said),
          account.help.empty() ? "Allow the access again, and check that IMAP is switched on for this mailbox."
                               : account.help};
}

}  // namespace

// Whatever is not known to pass is taken as a refusal: trying a wrong password again and again locks accounts.
Error login_refused(const imap::StatusText& status, const Account& account, const std::string& inside,
                    const Secret& token) {
  const std::string said = without_secrets(status.line() + (inside.empty() ? "" : " (" + inside + ")"), account, token);
  const auto asked = imap::plea_of(status);
  const auto row = std::find_if(kCodes.begin(), kCodes.end(), [&](const CodeRow& r) { return r.code == status.code; });
  if (row != kCodes.end() && row->retry == Retry::Later)
    return {Scope::Account, Retry::Later, std::string(row->what) + ": " + said, std::string(row->advice), asked.wait};
  if (asked.plea != imap::Plea::None || status.condition == imap::Condition::Bye)
    return {Scope::Account, Retry::Later, "the server does not let anybody in now: " + said, "", asked.wait};
  const Words* words = words_of(to_lower(status.arguments + " " + status.text), account);
  if (words != nullptr && (token.empty() || words->why != Why::NoPasswords)) return meant(words->why, said, account);
  if (!token.empty() && status.condition != imap::Condition::Bad) return token_refused(said, account);
  if (row != kCodes.end())
    return {Scope::Account, row->retry, std::string(row->what) + ": " + said,
            account.help.empty() || row->code != "AUTHENTICATIONFAILED" ? std::string(row->advice) : account.help};
  if (status.condition == imap::Condition::Bad)
    return {Scope::Account, Retry::AfterUserAction, "the server does not understand the login: " + said,
            "Check that user name and password are what this server expects."};
  return {Scope::Account, Retry::AfterUserAction, std::string(kMeanings[0].what) + ": " + said,
          account.help.empty() ? std::string(kMeanings[0].advice) : account.help};
}

std::optional<Error> pop3_refused_in_words(const std::string& text, const std::string& said, const Account& account,
                                           bool by_token) {
  const std::string lower = to_lower(text);
  const Words* words = words_of(replaced(replaced(lower, "pop3", "imap"), "pop access", "imap access"), account);
  if (words == nullptr || (by_token && words->why == Why::NoPasswords)) return std::nullopt;
  // A maildrop is locked while another session has it (RFC 1939 §4).
  constexpr std::array<std::string_view, 4> kPassing{"session", "another", "mailbox", "maildrop"};
  const bool passing = std::ranges::any_of(kPassing, [&](std::string_view w) { return lower.find(w) != lower.npos; });
  if (words->why == Why::Locked && passing) return std::nullopt;
  Error error = meant(words->why, "", account);
  error.what = replaced(std::move(error.what), "IMAP", "POP3") + said;
  error.advice = replaced(std::move(error.advice), "IMAP", "POP3");
  return error;
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
