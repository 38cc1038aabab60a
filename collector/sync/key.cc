#include "collector/sync/key.h"

#include <algorithm>

#include "protocols/mail/digest.h"

namespace mailhaul::sync {
namespace {

DeliveryKey hashed(std::string_view text) {
  const auto digest = mail::Sha256::of(text);
  DeliveryKey key;
  std::copy_n(digest.begin(), key.size(), key.begin());
  return key;
}

}  // namespace

DeliveryKey delivery_key(std::string_view account_uuid, std::string_view raw_mailbox,
                         std::optional<UidValidity> validity, Uid uid, std::uint32_t reuse) {
  // NUL cannot occur in a UUID, nor in a mailbox name (RFC 9051 §5.1 names are CHAR8 without NUL), so the fields cannot
  // run into each other.
  std::string text;
  text.reserve(account_uuid.size() + raw_mailbox.size() + 48);
  text.append(account_uuid).push_back('\0');
  text.append(raw_mailbox).push_back('\0');
  text.append(validity ? std::to_string(validity->value) : "none").push_back('\0');
  text.append(std::to_string(uid.value)).push_back('\0');
  text.append(std::to_string(reuse));
  return hashed(text);
}

DeliveryKey named_delivery_key(std::string_view account_uuid, std::string_view raw_mailbox, std::string_view name,
                               std::uint32_t reuse) {
  std::string text;  // "named" stands where others have a UIDVALIDITY, which is a number or "none"
  text.reserve(account_uuid.size() + raw_mailbox.size() + name.size() + 24);
  text.append(account_uuid).push_back('\0');
  text.append(raw_mailbox).append(std::string_view("\0named\0", 7));
  text.append(std::to_string(reuse)).push_back('\0');
  text.append(name);
  return hashed(text);
}

KeyOf key_maker(std::string account_uuid, std::string raw_mailbox, std::optional<UidValidity> validity) {
  return [uuid = std::move(account_uuid), name = std::move(raw_mailbox), validity](Uid uid, std::uint32_t reuse) {
    return delivery_key(uuid, name, validity, uid, reuse);
  };
}

}  // namespace mailhaul::sync
