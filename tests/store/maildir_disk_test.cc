// The Maildir on the real disk, with the threads that a collection has.
#include <sys/stat.h>

#include <atomic>
#include <condition_variable>
#include <fstream>
#include <mutex>
#include <thread>

#include "tests/store/maildir_fixture.h"

namespace mailhaul::store {
namespace {

std::string file_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Where fsync is all there is: a tmpfs, if this machine has one.
std::string memory_disk() { return std::filesystem::is_directory("/dev/shm") ? "/dev/shm" : "/tmp"; }

TEST_CASE("on the disk: names, content, dates, permissions") {
  for (const std::string& where : {std::filesystem::temp_directory_path().string(), memory_disk()})
    for (const unsigned threads : {0U, 4U}) {
      const TemporaryDirectory directory(where);
      Maildir::Options options;
      options.sync_threads = threads;
      const std::string path = directory.path() + "/Maildir";
      auto maildir = open_maildir(posix_file_system(), path, options);
      std::vector<Letter> letters;
      letters.reserve(50);
      for (int i = 0; i < 50; ++i)
        letters.push_back({std::to_string(i), i % 2 == 0 ? "" : ".Gr&APwA3w-e.Sub",
                           crlf_message("x", static_cast<std::size_t>(i) * 100), mail::FlagSet(8, {"$Junk"}),
                           1'600'000'000 + i});
      const auto names = must(deliver_all(*maildir, letters));
      for (std::size_t i = 0; i < letters.size(); ++i) {
        const std::string box = path + (letters[i].mailbox.empty() ? "" : "/" + letters[i].mailbox);
        struct ::stat status {};
        REQUIRE(::stat((box + "/cur/" + names[i]).c_str(), &status) == 0);
        CHECK(status.st_mtim.tv_sec == letters[i].seconds);
        CHECK((status.st_mode & 0777) == 0600);
        const auto name = MaildirName::parse(names[i]);
        REQUIRE(name);
        CHECK(name->disk_octets == static_cast<std::uint64_t>(status.st_size));
        CHECK(name->crlf_octets == letters[i].wire.size());
        CHECK(name->letters == "Sa");
        CHECK(wire_of(*maildir, letters[i].mailbox, {*name, names[i], false}, StoredForm::Lf) == letters[i].wire);
        CHECK(must(maildir->size_of(letters[i].mailbox, {*name, names[i], false})) == name->disk_octets);
      }
      CHECK(file_text(path + "/dovecot-keywords") == "0 $Junk\n");
      CHECK(std::filesystem::is_empty(path + "/tmp"));
      CHECK(std::filesystem::exists(path + "/.Gr&APwA3w-e.Sub/maildirfolder"));
      CHECK(std::filesystem::exists(path + "/mailhaul/receiving"));
      maildir.reset();
      CHECK_FALSE(std::filesystem::exists(path + "/mailhaul/receiving"));
    }
}

// Hands batches from the threads that receive to the one that delivers.
class Queue {
 public:
  void put(Batch batch) {
    const std::scoped_lock lock(mutex_);
    batches_.push_back(std::move(batch));
    changed_.notify_one();
  }
  void end() {
    const std::scoped_lock lock(mutex_);
    ended_ = true;
    changed_.notify_one();
  }
  std::optional<Batch> take() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return ended_ || !batches_.empty(); });
    if (batches_.empty()) return std::nullopt;
    Batch batch = std::move(batches_.front());
    batches_.erase(batches_.begin());
    return batch;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Batch> batches_;
  bool ended_ = false;
};

TEST_CASE("three threads receive, one delivers, one looks: everything arrives once") {
  for (const std::string& where : {std::filesystem::temp_directory_path().string(), memory_disk()}) {
    const TemporaryDirectory directory(where);
    auto maildir = open_maildir(posix_file_system(), directory.path() + "/m", {});
    std::vector<std::string> mailboxes{""};
    mailboxes.reserve(60);
    for (int i = 1; i < 60; ++i) mailboxes.push_back(".M" + std::to_string(i));
    must(maildir->create(mailboxes));

    Queue queue;
    std::atomic<int> failures{0};
    const auto receive = [&](int thread) {
      for (int b = 0; b < 6; ++b) {
        Batch batch;
        for (int i = 0; i < 40; ++i) {
          const std::string name = std::to_string(thread) + "." + std::to_string(b) + "." + std::to_string(i);
          const auto& mailbox = mailboxes[static_cast<std::size_t>(thread * 7 + b * 11 + i * 13) % mailboxes.size()];
          auto delivery = received(
              *maildir, {name, mailbox, crlf_message(name, 20), mail::FlagSet(0, {"k" + std::to_string(i % 3)})});
          if (!delivery)
            ++failures;
          else
            batch.emplace_back(mailbox, std::move(*delivery));
        }
        queue.put(std::move(batch));
      }
    };
    std::thread committer([&] {
      while (auto batch = queue.take())
        if (auto delivered = maildir->deliver(*batch); !delivered) ++failures;
    });
    std::atomic<bool> looking{true};
    std::thread observer([&] {
      const std::vector<DeliveryKey> keys{key_of("0.0.0")};
      while (looking)
        for (const auto& mailbox : mailboxes)
          if (!maildir->look(mailbox, keys)) ++failures;
    });
    std::vector<std::thread> receivers;
    receivers.reserve(3);
    for (int thread = 0; thread < 3; ++thread) receivers.emplace_back(receive, thread);
    for (auto& thread : receivers) thread.join();
    queue.end();
    committer.join();
    looking = false;
    observer.join();
    CHECK(failures == 0);
    std::size_t copies = 0;
    for (const auto& mailbox : mailboxes) copies += copies_in(*maildir, mailbox).size();
    CHECK(copies == 3 * 6 * 40);
  }
}

TEST_CASE("the fsync pool: every file waits for its own outcome") {
  test::MemoryFileSystem fs({.barrier = false});
  auto options = quick_options();
  options.sync_threads = 8;
  auto maildir = open_maildir(fs, "/m", options);
  Batch batch;
  for (int i = 0; i < 500; ++i)
    batch.emplace_back("", must(received(*maildir, {std::to_string(i), "", crlf_message("x"), {}})));
  must(maildir->deliver(batch));
  fs.crash();
  maildir = open_maildir(fs, "/m", options);
  std::size_t whole = 0;
  for (const auto& copy : copies_in(*maildir, ""))
    whole += wire_of(*maildir, "", copy, StoredForm::Lf) == crlf_message("x") ? 1 : 0;
  CHECK(whole == 500);

  batch.clear();
  for (int i = 500; i < 600; ++i) {
    auto delivery = received(*maildir, {std::to_string(i), "", crlf_message("x"), {}});
    if (i == 550) fs.fail_write_back();  // whatever is not synced yet is lost; all of it is told
    batch.emplace_back("", must(std::move(delivery)));
  }
  auto delivered = maildir->deliver(batch);
  if (delivered) {
    fs.crash();
    maildir = open_maildir(fs, "/m", options);
    CHECK(copies_in(*maildir, "").size() == 600);
  } else {
    CHECK(copies_in(*maildir, "").size() == 500);
  }
}

TEST_CASE("messages that are thrown away while the pool syncs them") {
  const TemporaryDirectory directory(memory_disk());
  auto maildir = open_maildir(posix_file_system(), directory.path() + "/m", {});
  for (int i = 0; i < 200; ++i)
    static_cast<void>(must(received(*maildir, {std::to_string(i), "", crlf_message("x"), {}})));
  CHECK(std::filesystem::is_empty(directory.path() + "/m/tmp"));
}

}  // namespace
}  // namespace mailhaul::store
