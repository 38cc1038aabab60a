// LIST, LSUB, STATUS and NAMESPACE: the responses that hold mailbox names, and so the oddest octets. Private to the
// room.
#pragma once
#include "protocols/imap/cursor.h"
#include "protocols/imap/response_parser.h"

namespace mailhaul::imap {

Parsed parse_list(Cursor& c, const Limits& limits, std::uint64_t& work);
Parsed parse_lsub(Cursor& c, const Limits& limits, std::uint64_t& work);
Parsed parse_mailbox_status(Cursor& c, const Limits& limits, std::uint64_t& work);
Parsed parse_namespace(Cursor& c, const Limits& limits, std::uint64_t& work);

}  // namespace mailhaul::imap
