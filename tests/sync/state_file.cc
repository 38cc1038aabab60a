#include "tests/sync/state_file.h"

#include <sqlite3.h>
#include <stdlib.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <stdexcept>

namespace mailhaul::test {
namespace {

struct Death {
  std::uint64_t countdown = 0;
  bool after = false;
  bool dead = false;
  std::function<void()> on_death;
  std::function<bool()> elsewhere;
} death;  // SQLite's hook is a plain function, and the simulation has one process at a time

std::uint64_t commits_so_far = 0;

// Non-zero turns the COMMIT into a ROLLBACK.
int at_commit(void*) {
  ++commits_so_far;
  if (death.dead || (death.elsewhere && death.elsewhere())) return 1;
  if (death.countdown == 0 || --death.countdown > 0) return 0;
  death.dead = true;
  if (death.on_death) death.on_death();
  return death.after ? 0 : 1;
}

int watch(sqlite3* connection, const char**, const void*) {
  sqlite3_commit_hook(connection, at_commit, nullptr);
  return SQLITE_OK;
}

std::string content_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace

StateFile::StateFile() {
  sqlite3_auto_extension(reinterpret_cast<void (*)()>(watch));
  const auto* fast = "/dev/shm";
  auto name = (std::filesystem::is_directory(fast) ? fast : std::filesystem::temp_directory_path().string()) +
              std::string("/mailhaul-simulation-XXXXXX");
  if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("no directory for the state");
  directory_ = name;
  path_ = directory_ + "/state.db";
  ledger();
  close();
  empty_ = content_of(path_);
}

StateFile::~StateFile() {
  close();
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
  sqlite3_cancel_auto_extension(reinterpret_cast<void (*)()>(watch));
}

store::Ledger& StateFile::ledger() {
  if (!ledger_) {
    auto opened = store::Ledger::open(path_);
    if (!opened) throw std::runtime_error(opened.error().what);
    ledger_ = *std::move(opened);
  }
  return *ledger_;
}

void StateFile::close() { ledger_.reset(); }

void StateFile::write(const std::string& content) {
  close();
  std::filesystem::remove(path_ + "-wal");
  std::filesystem::remove(path_ + "-shm");
  std::ofstream(path_, std::ios::binary | std::ios::trunc) << content;
}

void StateFile::lose() { write(empty_); }
void StateFile::restore(const std::string& backup) { write(backup); }

std::string StateFile::backup() {
  close();  // SQLite moves the log into the file
  return content_of(path_);
}

void StateFile::die_at_commit(std::uint64_t n, bool after, std::function<void()> on_death) {
  death = Death{n, after, false, std::move(on_death), {}};
}

void StateFile::refuse_while(std::function<bool()> dead) { death.elsewhere = std::move(dead); }

bool StateFile::dead() const { return death.dead; }

std::uint64_t StateFile::commits() const { return commits_so_far; }

}  // namespace mailhaul::test
