// The errors that leave a stream unusable. Private to the room.
#pragma once
#include <string>
#include <string_view>
#include <utility>

#include "protocols/base/result.h"

namespace mailhaul::imap {

inline Error broken(std::string what) { return {Scope::Account, Retry::Now, std::move(what), {}}; }
inline Error too_many(std::string_view what, std::size_t limit) {
  return broken("a list has more than the limit of " + std::to_string(limit) + " " + std::string(what));
}
inline Error too_deep(std::size_t limit) {
  return broken("parentheses are nested deeper than the limit of " + std::to_string(limit));
}

}  // namespace mailhaul::imap
