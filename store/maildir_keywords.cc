#include "store/maildir_keywords.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <thread>

#include "protocols/base/text.h"
#include "store/maildir_impl.h"

namespace mailhaul::store {
namespace {

constexpr std::string_view kOurs{"\0mailhaul\n", 10};
constexpr std::int64_t kStale = 120;  // seconds; Dovecot's own limit for its uidlist lock
constexpr std::chrono::milliseconds kPause{50};

std::string mark() {
  std::array<char, 256> host{};
  if (::gethostname(host.data(), host.size() - 1) != 0) host[0] = 0;
  return std::to_string(::getpid()) + ":" + host.data() + std::string(kOurs);
}

// Ours, or what a power cut has left of anybody's: a living program writes its lock before it gives it its name.
bool is_nobodys(std::string_view content) {
  return content.find_first_not_of('\0') == content.npos || content.ends_with(kOurs);
}

// Whether a lock that somebody holds may be taken away; false, too, if it is gone by now.
Result<bool> is_dead(FileSystem& fs, Handle& directory, const std::string& name, const Clock& clock) {
  auto stat = fs.stat(directory, name);
  if (!stat) return stat.error();
  if (!*stat) return false;
  auto content = read_file(fs, directory, name);
  if (!content) return content.error();
  return (*stat)->modified + kStale < clock.unix_seconds() || (*content && is_nobodys(**content));
}

// false: another program holds it.
Result<bool> rename_to_lock(FileSystem& fs, const DotLock::Place& place, const Clock& clock,
                            std::chrono::milliseconds wait) {
  for (auto waited = std::chrono::milliseconds(0);;) {
    auto renamed = fs.rename_new(place.tmp, place.tmp_name, place.directory, place.name);
    if (!renamed) return renamed.error();
    if (*renamed == FileSystem::Renamed::Yes) return true;
    if (*renamed == FileSystem::Renamed::SourceMissing)
      return Error{Scope::Mailbox, Retry::Later, place.tmp_name + " has just been removed", ""};
    auto dead = is_dead(fs, place.directory, place.name, clock);
    if (!dead) return dead.error();
    if (*dead) {
      if (auto removed = fs.remove(place.directory, place.name); !removed) return removed.error();
      continue;
    }
    if (waited >= wait) return false;
    std::this_thread::sleep_for(kPause);
    waited += kPause;
  }
}

}  // namespace

Result<DotLock> DotLock::take(FileSystem& fs, const Place& place, const Clock& clock, std::chrono::milliseconds wait) {
  auto file = fs.create(place.tmp, place.tmp_name);
  if (!file) return file.error();
  if (!*file) return Error{Scope::Service, Retry::Now, "create " + place.tmp_name + ": it is there already", ""};
  Result<bool> taken = false;
  if (auto written = fs.write(**file, mark()); written)
    taken = rename_to_lock(fs, place, clock, wait);
  else
    taken = written.error();
  if (taken && *taken) return DotLock(fs, place.directory, place.name);
  static_cast<void>(fs.remove(place.tmp, place.tmp_name));  // the error that counts is the first
  if (!taken) return taken.error();
  return Error{Scope::Mailbox, Retry::Later, "another mail program holds " + place.name,
               "Try again later; remove the file if no mail program is running."};
}

Done DotLock::remove_dead(FileSystem& fs, Handle& directory, const std::string& name) {
  auto content = read_file(fs, directory, name);
  if (!content) return content.error();
  if (!*content || !is_nobodys(**content)) return done();
  auto removed = fs.remove(directory, name);
  return removed ? done() : removed.error();
}

DotLock::DotLock(DotLock&& other) noexcept
    : fs_(std::exchange(other.fs_, nullptr)), directory_(other.directory_), name_(std::move(other.name_)) {}

DotLock::~DotLock() {
  if (fs_ == nullptr) return;
  try {
    static_cast<void>(fs_->remove(*directory_, name_));  // what cannot be removed is stale soon
  } catch (...) {                                        // NOLINT(bugprone-empty-catch): as above
  }
}

KeywordTable KeywordTable::parse(std::string_view text) {
  KeywordTable table;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    std::size_t index = 0;
    const auto [rest, error] = std::from_chars(line.data(), line.data() + line.size(), index);
    const std::string_view keyword = line.substr(static_cast<std::size_t>(rest - line.data()));
    if (error == std::errc() && index < kMost && keyword.size() > 1 && keyword[0] == ' ')
      table.keywords_[index] = keyword.substr(1);
  }
  return table;
}

std::string KeywordTable::text() const {
  std::string out;
  for (std::size_t i = 0; i < kMost; ++i)
    if (!keywords_[i].empty()) out += std::to_string(i) + " " + keywords_[i] + "\n";
  return out;
}

std::optional<char> KeywordTable::letter(std::string_view keyword) const {
  for (std::size_t i = 0; i < kMost; ++i)
    if (!keyword.empty() && equal_ignoring_case(keywords_[i], keyword)) return static_cast<char>('a' + i);
  return std::nullopt;
}

std::string_view KeywordTable::keyword(char letter) const {
  return letter >= 'a' && letter <= 'z' ? std::string_view(keywords_[static_cast<std::size_t>(letter - 'a')]) : "";
}

bool KeywordTable::full() const {
  return std::none_of(keywords_.begin(), keywords_.end(), [](const auto& keyword) { return keyword.empty(); });
}

bool KeywordTable::add(std::string_view keyword) {
  if (letter(keyword)) return true;
  const auto unwritable = [](char c) { return static_cast<unsigned char>(c) <= 0x20 || c == 0x7F; };
  if (keyword.empty() || std::any_of(keyword.begin(), keyword.end(), unwritable)) return false;
  // Behind the last one first: the letter of a gap may still stand in file names.
  const auto last = std::find_if(keywords_.rbegin(), keywords_.rend(), [](const auto& k) { return !k.empty(); });
  auto slot = last.base();
  if (slot == keywords_.end()) slot = std::find(keywords_.begin(), keywords_.end(), std::string());
  if (slot == keywords_.end()) return false;
  *slot = keyword;
  return true;
}

}  // namespace mailhaul::store
