#include "protocols/mail/flags.h"

#include <algorithm>

#include "protocols/base/text.h"

namespace mailhaul::mail {
namespace {

const SystemFlagRow* system_row(std::string_view wire) {
  for (const auto& row : kSystemFlags)
    if (equal_ignoring_case(row.wire, wire)) return &row;
  return nullptr;
}

bool keyword_less(const std::string& a, std::string_view b) { return less_ignoring_case(a, b); }

}  // namespace

FlagSet::FlagSet(std::uint8_t system_bits, std::vector<std::string> keywords) {
  for (const auto& row : kSystemFlags)
    if ((system_bits & static_cast<std::uint8_t>(row.flag)) != 0) add(row.flag);
  std::erase_if(keywords, [this](const std::string& k) {
    if (!k.empty() && k[0] != '\\') return false;
    add(k);
    return true;
  });
  std::stable_sort(keywords.begin(), keywords.end(), less_ignoring_case);
  keywords.erase(std::unique(keywords.begin(), keywords.end(), equal_ignoring_case), keywords.end());
  keywords_ = std::move(keywords);
}

void FlagSet::add(std::string_view wire_flag) {
  if (wire_flag.empty()) return;
  if (wire_flag[0] == '\\') {
    if (const auto* row = system_row(wire_flag)) add(row->flag);
    return;
  }
  const auto at = std::lower_bound(keywords_.begin(), keywords_.end(), wire_flag, keyword_less);
  if (at == keywords_.end() || !equal_ignoring_case(*at, wire_flag)) keywords_.emplace(at, wire_flag);
}

void FlagSet::remove(std::string_view wire_flag) {
  if (const auto* row = system_row(wire_flag)) {
    system_ = static_cast<std::uint8_t>(system_ & ~static_cast<std::uint8_t>(row->flag));
    return;
  }
  const auto at = std::lower_bound(keywords_.begin(), keywords_.end(), wire_flag, keyword_less);
  if (at != keywords_.end() && equal_ignoring_case(*at, wire_flag)) keywords_.erase(at);
}

bool FlagSet::has(std::string_view wire_flag) const {
  if (const auto* row = system_row(wire_flag)) return has(row->flag);
  const auto at = std::lower_bound(keywords_.begin(), keywords_.end(), wire_flag, keyword_less);
  return at != keywords_.end() && equal_ignoring_case(*at, wire_flag);
}

FlagSet FlagSet::united(const FlagSet& other) const {
  FlagSet result;
  result.system_ = static_cast<std::uint8_t>(system_ | other.system_);
  std::set_union(keywords_.begin(), keywords_.end(), other.keywords_.begin(), other.keywords_.end(),
                 std::back_inserter(result.keywords_), less_ignoring_case);
  return result;
}

FlagSet FlagSet::minus(const FlagSet& other) const {
  FlagSet result;
  result.system_ = static_cast<std::uint8_t>(system_ & ~other.system_);
  std::set_difference(keywords_.begin(), keywords_.end(), other.keywords_.begin(), other.keywords_.end(),
                      std::back_inserter(result.keywords_), less_ignoring_case);
  return result;
}

FlagSet FlagSet::intersected(const FlagSet& other) const {
  FlagSet result;
  result.system_ = static_cast<std::uint8_t>(system_ & other.system_);
  std::set_intersection(keywords_.begin(), keywords_.end(), other.keywords_.begin(), other.keywords_.end(),
                        std::back_inserter(result.keywords_), less_ignoring_case);
  return result;
}

std::string FlagSet::wire() const {
  std::string text;
  const auto put = [&text](std::string_view flag) {
    if (!text.empty()) text += ' ';
    text += flag;
  };
  for (const auto& row : kSystemFlags)
    if (has(row.flag)) put(row.wire);
  for (const auto& keyword : keywords_) put(keyword);
  return text;
}

std::string FlagSet::maildir_letters() const {
  std::string letters;
  for (const auto& row : kSystemFlags)
    if (has(row.flag)) letters += row.maildir;
  return letters;
}

FlagSet FlagSet::from_maildir_letters(std::string_view letters) {
  FlagSet result;
  for (const auto& row : kSystemFlags)
    if (letters.find(row.maildir) != std::string_view::npos) result.add(row.flag);
  return result;
}

bool FlagSet::operator==(const FlagSet& other) const {
  return system_ == other.system_ && std::equal(keywords_.begin(), keywords_.end(), other.keywords_.begin(),
                                                other.keywords_.end(), equal_ignoring_case);
}

}  // namespace mailhaul::mail
