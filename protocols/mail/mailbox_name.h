// Mailbox names as servers spell them. The raw octets are a mailbox's name for ever (they go back to the server as they
// came); decoding is for people and for laying out the destination only.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mailhaul::mail {

// Modified UTF-7 (RFC 3501 §5.1.3) to UTF-8; nullopt if `raw` is not valid modified UTF-7.
std::optional<std::string> decode_modified_utf7(std::string_view raw);
// UTF-8 to modified UTF-7. Octets that are not UTF-8 are taken as Latin-1.
std::string encode_modified_utf7(std::string_view utf8);

// What a person reads: modified UTF-7 if valid, else UTF-8 if valid, else Latin-1. Always valid UTF-8, any name.
std::string display_name(std::string_view raw);

// The hierarchy, outermost first, decoded with display_name() component by component (never empty; components may be
// empty strings if the server sends such names). No delimiter (NIL): one component. "inbox" as first component in any
// case becomes "INBOX" (RFC 9051 §5.1).
std::vector<std::string> hierarchy(std::string_view raw, std::optional<char> delimiter);

// Normalisation for comparing names: NFC, then full case folding. Two names with one collision key would be one
// file on a case-insensitive or normalising file system.
std::string collision_key(std::string_view utf8);
std::string to_nfc(std::string_view utf8);   // invalid UTF-8 comes back unchanged
std::string to_nfkc(std::string_view utf8);  // the same by compatibility: for passwords (RFC 4013 §2.2)

// ASCII-case-insensitive "INBOX".
bool is_inbox(std::string_view raw);

}  // namespace mailhaul::mail
