#include <array>
#include <utility>

#include "protocols/base/text.h"
#include "protocols/imap/response_parser.h"

namespace mailhaul::imap {
namespace {

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// Where the "]" stands that closes a response code whose text begins `text`. Flags and mailbox names inside parentheses
// or quotes may hold brackets (RFC 9051 §7.1); if they do not balance, the first "]" it is.
std::size_t end_of_code(std::string_view text) {
  std::size_t brackets = 0, parentheses = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '"') quoted = !quoted;
    if (quoted) {
      if (c == '\\') ++i;
      continue;
    }
    if (c == '(') ++parentheses;
    if (c == ')' && parentheses > 0) --parentheses;
    if (parentheses > 0) continue;
    if (c == '[') ++brackets;
    if (c == ']' && brackets-- == 0) return i;
  }
  return text.find(']');
}

}  // namespace

std::optional<Condition> condition_of(std::string_view text) {
  static constexpr std::array<std::pair<std::string_view, Condition>, 5> kConditions{{{"OK", Condition::Ok},
                                                                                      {"NO", Condition::No},
                                                                                      {"BAD", Condition::Bad},
                                                                                      {"PREAUTH", Condition::PreAuth},
                                                                                      {"BYE", Condition::Bye}}};
  const std::string_view word = text.substr(0, text.find_first_of(" \t["));
  for (const auto& [name, condition] : kConditions)
    if (equal_ignoring_case(word, name)) return condition;
  return std::nullopt;
}

StatusText parse_status(std::string_view text) {
  StatusText status;
  status.condition = condition_of(text).value_or(Condition::Bad);
  text = trimmed(text.substr(std::min(text.find_first_of(" \t["), text.size())));
  if (!text.empty() && text[0] == '[') {
    if (const std::size_t end = end_of_code(text.substr(1)); end != std::string_view::npos) {
      const std::string_view code = trimmed(text.substr(1, end));
      const std::size_t name = std::min(code.find_first_of(" \t"), code.size());
      status.code = to_upper(code.substr(0, name));
      status.arguments = trimmed(code.substr(name));
      text = trimmed(text.substr(end + 2));
    }
  }
  status.text = text;
  return status;
}

std::vector<std::string> parse_capabilities(std::string_view text, std::size_t limit) {
  std::vector<std::string> words;
  for (text = trimmed(text); !text.empty() && words.size() < limit;) {
    const std::size_t length = std::min(text.find_first_of(" \t"), text.size());
    const std::string_view word = text.substr(0, length);
    if (word == "+" && !words.empty() && words.back() == "LITERAL")
      words.back() += '+';  // Infomaniak
    else
      words.push_back(to_upper(word));
    text = trimmed(text.substr(length));
  }
  return words;
}

}  // namespace mailhaul::imap
