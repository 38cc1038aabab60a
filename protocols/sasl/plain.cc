#include "protocols/sasl/plain.h"

#include <string>
#include <utility>

namespace mailhaul::sasl {

Result<Secret> plain(std::string_view authzid, std::string_view user, const Secret& password) {
  const auto refused = [](const char* why) {
    return Error{Scope::Account, Retry::AfterUserAction, std::string("PLAIN: ") + why, {}};
  };
  if (user.empty()) return refused("the user name is empty");
  if (password.empty()) return refused("the password is empty");
  constexpr char kNul = '\0';  // RFC 4616 §2 separates by it, so that no part can hold one
  for (const std::string_view part : {authzid, user, std::string_view(password.reveal())})
    if (part.find(kNul) != std::string_view::npos) return refused("user name and password cannot hold a NUL octet");

  std::string message;
  message.reserve(authzid.size() + user.size() + password.reveal().size() + 2);  // a regrown string would leave copies
  message.append(authzid).push_back(kNul);
  message.append(user).push_back(kNul);
  message += password.reveal();
  return Secret(std::move(message));
}

}  // namespace mailhaul::sasl
