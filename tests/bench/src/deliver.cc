// deliver MAILDIR: the smallest program that a fetcher can hand a message to. Standard input becomes one file in
// MAILDIR/new, by way of tmp; nothing is synced, so that the fetcher is measured and not the disk.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <string>

int main(int count, char** words) {
  constexpr int kTryAgain = 75;  // EX_TEMPFAIL
  if (count != 2) return 64;
  const std::string maildir = words[1];
  for (const char* folder : {"", "/cur", "/new", "/tmp"}) mkdir((maildir + folder).c_str(), 0700);
  const auto now = std::chrono::system_clock::now().time_since_epoch().count();
  const auto name = std::to_string(now) + ".P" + std::to_string(getpid()) + ".bench";
  const auto made = maildir + "/tmp/" + name, final_place = maildir + "/new/" + name;
  const int file = open(made.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (file < 0) return kTryAgain;
  std::array<char, 65536> piece;
  ssize_t n = 0;
  while ((n = read(STDIN_FILENO, piece.data(), piece.size())) > 0)
    if (write(file, piece.data(), static_cast<size_t>(n)) != n) return kTryAgain;
  return n < 0 || close(file) != 0 || rename(made.c_str(), final_place.c_str()) != 0 ? kTryAgain : 0;
}
