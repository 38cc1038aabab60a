// The files that a Maildir shares with Dovecot, and its locks (private to the Maildir).
#pragma once
#include <array>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "store/file_system.h"
#include "store/maildir.h"

namespace mailhaul::store {

// A lock file as Dovecot makes it: its existence is the lock; it says "pid:host", and one whose process is dead or that
// is older than two minutes is nobody's. Ours bear a mark besides, where Dovecot no longer reads: as this process holds
// the Maildir's own lock, a marked one is a dead process's and is removed at once. It is written in `tmp` and renamed,
// so that no death leaves one without its mark; an empty one is what a power cut left.
class DotLock {
 public:
  struct Place {
    Handle& directory;  // must outlive the lock
    std::string name;
    Handle& tmp;
    std::string tmp_name;  // fresh
  };
  // Waits at most `wait` for another program.
  static Result<DotLock> take(FileSystem& fs, const Place& place, const Clock& clock, std::chrono::milliseconds wait);
  // A dead process's of ours, or an empty one, goes; anybody else's stays.
  static Done remove_dead(FileSystem& fs, Handle& directory, const std::string& name);
  DotLock(DotLock&& other) noexcept;
  DotLock(const DotLock&) = delete;
  DotLock& operator=(const DotLock&) = delete;
  DotLock& operator=(DotLock&&) = delete;
  ~DotLock();

 private:
  DotLock(FileSystem& fs, Handle& directory, std::string name)
      : fs_(&fs), directory_(&directory), name_(std::move(name)) {}
  FileSystem* fs_;
  Handle* directory_;
  std::string name_;
};

// dovecot-keywords: which letter a–z stands for which keyword in one mailbox. Values only.
class KeywordTable {
 public:
  static constexpr std::size_t kMost = 26;
  static KeywordTable parse(std::string_view text);  // lines that cannot be read are ignored, as Dovecot does
  [[nodiscard]] std::string text() const;

  [[nodiscard]] std::optional<char> letter(std::string_view keyword) const;  // without regard to ASCII case
  [[nodiscard]] std::string_view keyword(char letter) const;                 // empty: none
  bool add(std::string_view keyword);  // false: no letter is free, or the keyword cannot be written down
  [[nodiscard]] bool full() const;

 private:
  std::array<std::string, kMost> keywords_;
};

}  // namespace mailhaul::store
