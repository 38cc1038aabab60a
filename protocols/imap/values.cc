#include <array>

#include "protocols/base/text.h"
#include "protocols/imap/command.h"
#include "protocols/imap/event.h"

namespace mailhaul::imap {

std::string_view name_of(const Command& command) {
  static constexpr std::array<std::string_view, std::variant_size_v<Command>> kNames{
      "CAPABILITY",   "NOOP",       "LOGOUT",    "STARTTLS", "LOGIN",     "AUTHENTICATE", "ID",
      "ENABLE",       "COMPRESS",   "NAMESPACE", "LIST",     "LSUB",      "STATUS",       "EXAMINE",
      "UID FETCH",    "UID SEARCH", "APPEND",    "CREATE",   "SUBSCRIBE", "UID STORE",    "UID EXPUNGE",
      "GETQUOTAROOT", "PROXYAUTH",  "IDLE",      "NOTIFY"};
  return kNames[command.index()];
}

std::string StatusText::line() const {
  static constexpr std::array<std::string_view, 5> kConditions{"OK", "NO", "BAD", "PREAUTH", "BYE"};
  std::string out(kConditions[static_cast<std::size_t>(condition)]);
  if (!code.empty()) out.append(" [").append(code).append(arguments.empty() ? "" : " ").append(arguments).append("]");
  if (!text.empty()) out.append(" ").append(text);
  return printable(out);
}

bool ListEntry::has(std::string_view attribute) const {
  for (const auto& own : attributes)
    if (equal_ignoring_case(own, attribute)) return true;
  return false;
}

}  // namespace mailhaul::imap
