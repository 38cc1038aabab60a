// What the Maildir's tests share: a Maildir in memory or on the disk, messages with keys, and their delivery.
#pragma once
#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "store/maildir.h"
#include "tests/support/memory_file_system.h"

namespace mailhaul::store {

template <class T>
T must(Result<T> result) {
  if (!result) FAIL(result.error().what);
  return std::move(*result);
}
inline void must(const Done& result) {
  if (!result) FAIL(result.error().what);
}

class StillClock final : public Clock {
 public:
  std::int64_t now = 1'800'000'000;
  [[nodiscard]] std::int64_t unix_seconds() const override { return now; }
  [[nodiscard]] std::chrono::steady_clock::time_point steady() const override { return {}; }
};

inline Maildir::Options quick_options() {
  static const StillClock clock;
  Maildir::Options options;
  options.clock = &clock;
  options.lock_wait = std::chrono::milliseconds(0);
  options.sync_threads = 0;
  return options;
}

inline std::unique_ptr<Maildir> open_maildir(FileSystem& fs, const std::string& path = "/m",
                                             const Maildir::Options& options = quick_options()) {
  return must(Maildir::open(fs, path, options));
}

inline DeliveryKey key_of(std::string_view text) {
  const auto digest = mail::Sha256::of(text);
  DeliveryKey key{};
  for (std::size_t i = 0; i < key.size(); ++i) key[i] = digest[i];
  return key;
}

struct Letter {
  std::string name;  // identifies it: its key comes from this
  std::string mailbox;
  std::string wire;
  mail::FlagSet flags;
  std::int64_t seconds = 1'700'000'000;
};

inline std::string crlf_message(std::string_view subject, std::size_t lines = 3) {
  std::string text = "Subject: " + std::string(subject) + "\r\n\r\n";
  for (std::size_t i = 0; i < lines; ++i) text += "line " + std::to_string(i) + "\r\n";
  return text;
}

using Batch = std::vector<std::pair<std::string, Delivery>>;

inline Result<Delivery> received(Maildir& maildir, const Letter& letter, Received* told = nullptr) {
  auto incoming = maildir.receive(letter.mailbox);
  if (!incoming) return incoming.error();
  if (auto written = incoming->write(letter.wire); !written) return written.error();
  auto finished = incoming->finish(letter.seconds);
  if (!finished) return finished.error();
  if (told != nullptr) *told = *finished;
  return Delivery{std::move(*incoming), key_of(letter.name), letter.seconds, letter.flags};
}

// Makes the mailboxes, receives and delivers; the first error ends it.
inline Result<std::vector<std::string>> deliver_all(Maildir& maildir, const std::vector<Letter>& letters) {
  Batch batch;
  std::vector<std::string> directories;
  directories.reserve(letters.size());
  for (const auto& letter : letters) directories.push_back(letter.mailbox);
  if (auto made = maildir.create(directories); !made) return made.error();
  for (const auto& letter : letters) {
    auto delivery = received(maildir, letter);
    if (!delivery) return delivery.error();
    batch.emplace_back(letter.mailbox, std::move(*delivery));
  }
  return maildir.deliver(batch);
}

inline std::vector<FoundCopy> copies_in(Maildir& maildir, const std::string& mailbox) {
  std::vector<FoundCopy> copies;
  must(maildir.each_copy(mailbox, [&](const FoundCopy& copy) { copies.push_back(copy); }));
  return copies;
}

inline std::string wire_of(Maildir& maildir, const std::string& mailbox, const FoundCopy& copy, StoredForm form) {
  std::string wire;
  must(maildir.read(mailbox, copy, form, [&](std::string_view chunk) {
    wire += chunk;
    return true;
  }));
  return wire;
}

inline std::size_t count_ending(const std::map<std::string, std::string>& files, std::string_view ending) {
  std::size_t count = 0;
  for (const auto& [path, content] : files) count += path.ends_with(ending) ? 1 : 0;
  return count;
}

// A directory of its own on the real disk, removed at the end.
class TemporaryDirectory {
 public:
  explicit TemporaryDirectory(const std::string& where = std::filesystem::temp_directory_path()) {
    std::string name = where + "/maildir-test-XXXXXX";
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace mailhaul::store
