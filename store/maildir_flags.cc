// Flags: letters in file names, keywords through dovecot-keywords; and the list of subscribed mailboxes.
#include <algorithm>

#include "protocols/base/text.h"
#include "store/maildir_directory.h"
#include "store/maildir_impl.h"

namespace mailhaul::store {
namespace {

const std::string kKeywords = "dovecot-keywords";
const std::string kSubscriptions = "subscriptions";
constexpr std::string_view kVersion2 = "V\t2\n\n";

bool is_keyword_letter(char c) { return c >= 'a' && c <= 'z'; }

// Letters that stand for nothing we know belong to other programs and stay.
std::string with_foreign(std::string letters, std::string_view old_letters, const KeywordTable& table) {
  for (const char c : old_letters) {
    const bool ours = std::string_view("DFRST").find(c) != std::string_view::npos ||
                      (is_keyword_letter(c) && !table.keyword(c).empty());
    if (!ours) letters += c;
  }
  std::sort(letters.begin(), letters.end());  // Maildir: ascending, each once
  letters.erase(std::unique(letters.begin(), letters.end()), letters.end());
  return letters;
}

}  // namespace

// A file put in place by replace_file() whose directory was not synced then is there, and may go again.
Done Maildir::Impl::settle_shared(Folder& folder, const Handles& handles) {
  if (!folder.self_owed) return done();
  if (auto synced = fs.sync_directory(*handles.self); !synced) return synced;
  folder.self_owed = false;
  return done();
}

Result<KeywordTable> Maildir::Impl::table_with(Folder& folder, const Handles& handles,
                                               const std::set<std::string>& keywords) {
  const std::scoped_lock guard(keywords_mutex_);
  if (auto settled = settle_shared(folder, handles); !settled) return settled.error();
  const auto load = [&]() -> Result<KeywordTable> {
    auto text = read_file(fs, *handles.self, kKeywords);
    if (!text) return text.error();
    return KeywordTable::parse(text->value_or(""));
  };
  auto table = load();
  if (!table) return table;
  const auto unknown = [&](const std::string& keyword) { return !table->letter(keyword); };
  if (table->full() || std::none_of(keywords.begin(), keywords.end(), unknown)) return table;
  if (auto marked = mark_receiving(); !marked) return marked.error();
  auto locked = DotLock::take(fs, {*handles.self, kKeywordsLock, *handles.tmp, staging.new_name()}, *options.clock,
                              options.lock_wait);
  if (!locked) return locked.error();
  table = load();  // somebody may have changed it before the lock was ours
  if (!table) return table;
  const std::string before = table->text();
  for (const auto& keyword : keywords) table->add(keyword);
  const std::string after = table->text();
  if (after == before) return table;
  folder.self_owed = true;
  if (auto written = replace_file(fs, *handles.tmp, staging.new_name(), *handles.self, kKeywords, after); !written)
    return written.error();
  folder.self_owed = false;
  return table;
}

std::string Maildir::Impl::letters_of(const mail::FlagSet& flags, const KeywordTable& table) {
  std::string letters = flags.maildir_letters();
  if (flags.keywords().empty()) return letters;
  for (const auto& keyword : flags.keywords()) {
    if (const auto letter = table.letter(keyword))
      letters += *letter;
    else
      ++keywords_left_out;
  }
  std::sort(letters.begin(), letters.end());
  return letters;
}

std::uint64_t Maildir::keywords_left_out() const { return impl_->keywords_left_out; }

// What a file is called once it has these flags.
Result<std::string> Maildir::Impl::flagged(Folder& folder, const Handles& handles, const std::string& file,
                                           const mail::FlagSet& flags) {
  const std::size_t colon = file.find(':');
  const bool info = colon != std::string::npos && file.compare(colon, 3, ":2,") == 0;
  const std::string old_letters = info ? file.substr(colon + 3) : std::string();
  KeywordTable table;
  if (!flags.keywords().empty() || std::any_of(old_letters.begin(), old_letters.end(), is_keyword_letter)) {
    auto known = table_with(folder, handles, {flags.keywords().begin(), flags.keywords().end()});
    if (!known) return known.error();
    table = std::move(*known);
  }
  const std::string letters = with_foreign(letters_of(flags, table), old_letters, table);
  if (letters.empty() && colon == std::string::npos) return file;  // new mail without a flag
  return file.substr(0, colon) + ":2," + letters;
}

Result<std::string> Maildir::set_flags(const std::string& directory, const FoundCopy& copy,
                                       const mail::FlagSet& flags) {
  Folder& folder = impl_->folders.folder(directory);
  auto handles = impl_->folders.open(folder);
  if (!handles) return handles.error();
  FoundCopy now = copy;
  for (int round = 0; round < 2; ++round) {
    Handle& from = now.in_new ? *(*handles)->fresh : *(*handles)->cur;
    auto file = impl_->flagged(folder, **handles, now.file, flags);
    if (!file) return file.error();
    if (*file == now.file) {
      auto there = impl_->fs.stat(from, now.file);
      if (!there) return there.error();
      if (*there) return now.file;
    } else {
      auto renamed = impl_->fs.rename_new(from, now.file, *(*handles)->cur, *file);
      if (!renamed) return renamed.error();
      if (*renamed == FileSystem::Renamed::Yes) return *file;
      if (*renamed == FileSystem::Renamed::TargetExists)
        return Error{Scope::Message, Retry::Later, "set flags: " + printable(*file) + " is there already", ""};
    }
    auto found = impl_->find(**handles, {&copy.name.key, 1});
    if (!found) return found.error();
    if (found->empty()) break;
    now = std::move(found->front());
  }
  return Error{Scope::Message, Retry::Later, "set flags of " + printable(copy.file) + ": it is no longer there", ""};
}

Result<mail::FlagSet> Maildir::flags_of(const std::string& directory, const FoundCopy& copy) {
  auto flags = mail::FlagSet::from_maildir_letters(copy.name.letters);
  if (std::none_of(copy.name.letters.begin(), copy.name.letters.end(), is_keyword_letter)) return flags;
  Folder& folder = impl_->folders.folder(directory);
  auto handles = impl_->folders.open(folder);
  if (!handles) return handles.error();
  auto table = impl_->table_with(folder, **handles, {});
  if (!table) return table.error();
  for (const char letter : copy.name.letters)
    if (const auto keyword = table->keyword(letter); !keyword.empty()) flags.add(keyword);
  return flags;
}

Done Maildir::Impl::subscribe(std::span<const std::vector<std::string>> mailboxes) {
  const std::scoped_lock guard(keywords_mutex_);
  Folder& folder = folders.folder("");
  auto handles = folders.open(folder);
  if (!handles) return handles.error();
  if (auto settled = settle_shared(folder, **handles); !settled) return settled;
  if (auto marked = mark_receiving(); !marked) return marked;
  auto locked = DotLock::take(fs, {*root, kSubscriptionsLock, *(*handles)->tmp, staging.new_name()}, *options.clock,
                              options.lock_wait);
  if (!locked) return locked.error();
  auto old = read_file(fs, *root, kSubscriptions);
  if (!old) return old.error();
  std::string text = old->value_or("");
  const bool version2 = text.empty() || text.starts_with("V\t2\n");
  if (text.empty()) text = kVersion2;
  std::set<std::string, std::less<>> known;
  for (std::string_view rest = text; !rest.empty();) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    known.emplace(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  bool changed = false;
  for (const auto& components : mailboxes) {
    std::string line;  // Dovecot: version 2 separates levels by TAB, the old format as on the disk
    for (const auto& part : directory_parts(store::directory_name(options.names, components)))
      line += (line.empty() ? "" : version2 ? "\t" : ".") + part;
    if (!known.insert(line).second) continue;
    if (!text.ends_with('\n')) text += '\n';
    text += line + "\n";
    changed = true;
  }
  if (!changed) return done();
  folder.self_owed = true;
  auto written = replace_file(fs, *(*handles)->tmp, staging.new_name(), *root, kSubscriptions, text);
  if (written) folder.self_owed = false;
  return written;
}

Done Maildir::subscribe(std::span<const std::vector<std::string>> mailboxes) { return impl_->subscribe(mailboxes); }

}  // namespace mailhaul::store
