#include "collector/password.h"

#include <string.h>
#include <termios.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>

namespace mailhaul::collector {
namespace {

Result<Secret> prompt(const std::string& what, const Side& side) {
  termios before{};
  if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &before) != 0)
    return Error{Scope::Service, Retry::AfterUserAction, "no password was given for " + what,
                 std::string("use ") + side.option + " FILE, the variable " + side.variable + ", or a terminal"};
  auto quiet = before;
  quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO);
  tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);  // before the prompt: who answers it at once must not be echoed
  std::fprintf(stderr, "Password for %s: ", what.c_str());
  std::string line;
  const bool read = static_cast<bool>(std::getline(std::cin, line));
  tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
  std::fputc('\n', stderr);
  if (!read || line.empty()) return Error{Scope::Service, Retry::AfterUserAction, "the password is empty", ""};
  Secret secret(line);
  explicit_bzero(line.data(), line.size());
  return secret;
}

}  // namespace

Result<Secret> password(const std::string& file, const SourceAddress& account, const Side& side) {
  const auto trimmed = [](std::string text) {
    while (text.ends_with('\n') || text.ends_with('\r')) text.pop_back();
    return text;
  };
  auto path = file;
  if (const char* named = std::getenv((std::string(side.variable) + "_FILE").c_str()); path.empty() && named)
    path = named;
  if (!path.empty()) {
    std::ifstream in(path, std::ios::binary);
    if (!in)
      return Error{Scope::Service, Retry::AfterUserAction, "the password file " + path + " cannot be read",
                   "check its name and its permissions"};
    Secret secret(trimmed({std::istreambuf_iterator<char>(in), {}}));
    if (secret.empty())
      return Error{Scope::Service, Retry::AfterUserAction, "the password file " + path + " is empty", ""};
    return secret;
  }
  if (const char* value = std::getenv(side.variable); value && *value) return Secret(trimmed(value));
  return prompt(account.text(), side);
}

}  // namespace mailhaul::collector
