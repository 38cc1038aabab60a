// The delivery key: 128 bits of SHA-256 over what names a message for ever. No row id, host name, clock or random
// number goes in, so that a lost state or a moved container cannot make two names for one message.
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "collector/sync/model.h"

namespace mailhaul::sync {

DeliveryKey delivery_key(std::string_view account_uuid, std::string_view raw_mailbox,
                         std::optional<UidValidity> validity, Uid uid, std::uint32_t reuse);

// Of a message that has a name and no UID: the name counts, not the UID that we gave it, and no validity either, so
// that a lost state finds the files again.
DeliveryKey named_delivery_key(std::string_view account_uuid, std::string_view raw_mailbox, std::string_view name,
                               std::uint32_t reuse);

KeyOf key_maker(std::string account_uuid, std::string raw_mailbox, std::optional<UidValidity> validity);

}  // namespace mailhaul::sync
