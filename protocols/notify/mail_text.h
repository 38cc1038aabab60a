// A message as mail: header and text, all of it ASCII on the wire. Pure.
#pragma once
#include <string>
#include <string_view>

#include "protocols/notify/notify.h"

namespace mailhaul::notify {

// "user@example.org": ASCII, one "@", nothing that could end a header line or an SMTP command.
bool is_mail_address(std::string_view text);

// RFC 5322, with CRLF; the subject as RFC 2047 has it, the text in base64. Marked as sent by a program (RFC 3834).
std::string mail_text(const Message& message, std::string_view from, std::string_view to);

}  // namespace mailhaul::notify
