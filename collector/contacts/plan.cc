#include "collector/contacts/plan.h"

#include <algorithm>

#include "protocols/base/text.h"
#include "store/destination.h"

namespace mailhaul::contacts {
namespace {

using store::CardRow;
using store::CardState;

constexpr std::size_t kFuse = 50;  // so many at once are a person's doing, whatever their share

store::DeliveryKey key_of(std::string_view account, std::string_view book_path, std::string_view card_path) {
  std::string text("card");  // NUL occurs in none of them
  for (const auto part : {account, book_path, card_path}) {
    text += '\0';
    text += part;
  }
  const auto digest = mail::Sha256::of(text);
  store::DeliveryKey key{};
  std::copy_n(digest.begin(), key.size(), key.begin());
  return key;
}

}  // namespace

Step step_of(const CardRow* row, const Seen& seen, std::int64_t now) {
  if (seen.what == Seen::What::Gone) {
    if (row == nullptr || row->state == CardState::Gone || row->state == CardState::Vanished) return Step::Nothing;
    return row->state == CardState::Delivered ? Step::Miss : Step::Forget;
  }
  const bool present = seen.what == Seen::What::Present;
  if (row == nullptr) return present ? Step::Fetch : Step::Nothing;
  const bool other = present && (seen.etag != row->wanted || seen.etag.empty());
  switch (row->state) {
    case CardState::Listed:
      return Step::Fetch;
    case CardState::Failed:
      return other || row->next_try <= now ? Step::Fetch : Step::Nothing;
    case CardState::Delivered:
      if (!present) return row->wanted != row->etag ? Step::Fetch : Step::Nothing;
      return seen.etag.empty() || seen.etag != row->etag ? Step::Fetch : Step::Nothing;
    case CardState::Gone:
    case CardState::Vanished:
      return present ? Step::Fetch : Step::Nothing;
  }
  return Step::Nothing;
}

Delivery delivery_of(const std::optional<mail::Sha256Digest>& base, const mail::Sha256Digest& fetched,
                     const std::optional<mail::Sha256Digest>& file, bool removed_by_policy) {
  if (!file) return base == fetched && !removed_by_policy ? Delivery::Settle : Delivery::Write;
  if (*file == fetched) return Delivery::Adopt;
  if (base == fetched) return Delivery::Settle;
  return base == *file ? Delivery::Replace : Delivery::KeepBoth;
}

Removals removals_of(std::span<const CardRow> rows, const Policy& policy, bool released, std::int64_t now) {
  Removals out;
  if (policy.on_source_delete != Policy::OnSourceDelete::Remove) return out;
  std::size_t there = 0, missing = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    there += rows[i].state == CardState::Delivered ? 1 : 0;
    if (rows[i].state != CardState::Vanished || rows[i].removed) continue;
    ++missing;
    if (rows[i].missing_since + policy.grace <= now) out.rows.push_back(i);
  }
  const bool all = there == 0 && missing > 0;
  if (!released && (all || missing > std::max(kFuse, (there + missing) / 5))) {
    out.rows.clear();
    out.hold =
        std::to_string(missing) + " of " + std::to_string(there + missing) + " cards have vanished at the source";
  }
  return out;
}

std::int64_t pause_after(std::uint32_t attempts) {
  const auto doublings = std::min<std::uint32_t>(attempts == 0 ? 0 : attempts - 1, 11);
  return std::min<std::int64_t>(std::int64_t{60} << doublings, 86'400);
}

std::string directory_of(std::string_view account, std::string_view book_path) {
  // Something of the book's own name for people; the key makes it the book's.
  auto path = book_path;
  while (path.ends_with('/')) path.remove_suffix(1);
  std::string slug;
  for (const char c : path.substr(path.rfind('/') + 1)) {
    const char lower = ascii_lower(c);
    slug += (lower >= 'a' && lower <= 'z') || is_digit(lower) ? lower : '-';
    if (slug.size() == 40) break;
  }
  const auto from = slug.find_first_not_of('-');
  slug = from == slug.npos ? "book" : slug.substr(from, slug.find_last_not_of('-') - from + 1);
  return slug + "-" + store::to_text(key_of(account, book_path, "")).substr(0, 12);
}

std::string file_of(std::string_view account, std::string_view book_path, std::string_view card_path) {
  return store::to_text(key_of(account, book_path, card_path)) + ".vcf";
}

std::string second_file_of(std::string_view file, const mail::Sha256Digest& content) {
  return std::string(file.substr(0, file.find_first_of("-."))) + "-" + mail::hex(content).substr(0, 8) + ".vcf";
}

}  // namespace mailhaul::contacts
