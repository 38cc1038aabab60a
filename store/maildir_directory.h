// Mailbox names as directory names and back (private to the Maildir). Pure.
//
// Each component is escaped, then encoded; components are joined by '.', with a '.' in front. Escaped as a backslash
// and two lower-case hex digits: control octets, '.', '/', '\', octets that are no UTF-8, a leading or trailing blank,
// a leading '~', the first letter of cur, new and tmp and of a first component that is INBOX in other letters. An empty
// component is "\empty". A component that does not fit ends in "\~" and a hash. A backslash thus never stands before
// anything but two hex digits by itself, so no name looks like the escaped, empty or shortened form of another.
#pragma once
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "store/maildir.h"

namespace mailhaul::store {

inline constexpr std::size_t kDirectoryLimit = 240;  // octets; file systems allow 255

std::string directory_name(MaildirNames names, std::span<const std::string> components);
std::optional<std::vector<std::string>> components_of(MaildirNames names, std::string_view directory);

// "" or '.' and something, without '/' and NUL.
bool is_directory_name(std::string_view directory);
// What stands between the dots, as it is on the disk; {"INBOX"} for the root.
std::vector<std::string> directory_parts(std::string_view directory);

}  // namespace mailhaul::store
