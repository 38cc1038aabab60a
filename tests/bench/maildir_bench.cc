// What it costs to store messages in a Maildir, without a network: CPU and wall time a message.
//   maildir_bench COUNT OCTETS DIRECTORY [BATCH] [MAILBOXES] [lf|raw] [serial|overlapped]
// DIRECTORY must be new: creating files next to recently deleted ones is slow on ext4, so nothing is deleted here.
// "overlapped" delivers on a second thread while the next batch is received, as a collection does.
//
// Build by hand, beside a release build in build/release:
//   g++ -std=c++20 -O2 -I. tests/bench/maildir_bench.cc build/release/lib{store,mail,base}.a -lcrypto -lunistring
//   -lpthread
#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <future>
#include <string>
#include <vector>

#include "store/maildir.h"

namespace {

using namespace mailhaul;
using Batch = std::vector<std::pair<std::string, store::Delivery>>;

template <class T>
T must(Result<T> result) {
  if (result) return std::move(*result);
  std::fprintf(stderr, "%s\n", result.error().what.c_str());
  std::exit(1);
}

double seconds_of(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

std::string message_of(std::size_t octets, const char* line_end) {
  std::string text = "From: a@example.org" + std::string(line_end) + "To: b@example.org" + line_end + "Subject: bench" +
                     line_end + "Message-ID: <1@example.org>" + line_end + "Date: Thu, 1 Jan 2026 00:00:00 +0000" +
                     line_end + line_end;
  while (text.size() < octets) text += std::string(70, 'x') + line_end;
  return text;
}

store::DeliveryKey key_of(std::size_t i) {
  const auto digest = mail::Sha256::of(std::to_string(i));
  store::DeliveryKey key{};
  for (std::size_t k = 0; k < key.size(); ++k) key[k] = digest[k];
  return key;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) return 2;
  const auto argument = [&](int i, const char* otherwise) { return std::string(argc > i ? argv[i] : otherwise); };
  const std::size_t count = std::stoul(argument(1, ""));
  const std::size_t batch_size = std::stoul(argument(4, "2000"));
  const std::size_t mailboxes = std::stoul(argument(5, "1"));
  const std::string message = message_of(std::stoul(argument(2, "")), argument(6, "lf") == "lf" ? "\r\n" : "\n");
  const bool overlapped = argument(7, "overlapped") == "overlapped";
  std::vector<store::DeliveryKey> keys;
  for (std::size_t i = 0; i < count; ++i) keys.push_back(key_of(i));

  auto& fs = store::posix_file_system();
  const auto start = std::chrono::steady_clock::now();
  auto maildir = must(store::Maildir::open(fs, argv[3], {}));
  std::vector<std::string> directories;
  for (std::size_t i = 0; i < mailboxes; ++i) directories.push_back(i == 0 ? "" : ".M" + std::to_string(i));
  must(maildir->create(directories));

  std::future<void> committing;
  const auto commit = [&](Batch batch) {
    if (committing.valid()) committing.get();
    committing = std::async(overlapped ? std::launch::async : std::launch::deferred,
                            [&maildir, batch = std::move(batch)]() mutable { must(maildir->deliver(batch)); });
    if (!overlapped) committing.get();
  };
  Batch batch;
  for (std::size_t i = 0; i < count; ++i) {
    const auto& directory = directories[i * mailboxes / count];
    auto incoming = must(maildir->receive(directory));
    must(incoming.write(message));
    must(incoming.finish(1700000000));
    batch.emplace_back(directory, store::Delivery{std::move(incoming), keys[i], 1700000000, mail::FlagSet(8, {})});
    if (batch.size() == batch_size) commit(std::exchange(batch, {}));
  }
  commit(std::move(batch));
  if (committing.valid()) committing.get();
  maildir.reset();

  const double wall = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const double user = seconds_of(usage.ru_utime);
  const double system = seconds_of(usage.ru_stime);
  const double each = 1e6 / static_cast<double>(count);
  std::printf(
      "%zu x %zu octets, batch %zu, %zu mailboxes: %.3f s, %.0f msg/s; CPU us/msg %.1f (user %.1f, system %.1f); RSS "
      "%ld KiB\n",
      count, message.size(), batch_size, mailboxes, wall, static_cast<double>(count) / wall, (user + system) * each,
      user * each, system * each, usage.ru_maxrss);
}
