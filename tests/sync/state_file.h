// The ledger of the simulation: a real file (in memory, where the machine has such a place), so that what is committed
// survives the process that dies, and a process that can be made to die at any commit.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "store/ledger.h"

namespace mailhaul::test {

class StateFile {
 public:
  StateFile();
  ~StateFile();
  StateFile(const StateFile&) = delete;
  StateFile& operator=(const StateFile&) = delete;

  store::Ledger& ledger();  // opened when it is not
  void close();
  void lose();  // the file is gone; an empty one takes its place when ledger() is called
  [[nodiscard]] std::string backup();
  void restore(const std::string& backup);

  // The process dies at the n-th commit from now, before it or just after it. From then on no commit comes through;
  // `on_death` is called. 0: it lives.
  void die_at_commit(std::uint64_t n, bool after, std::function<void()> on_death);
  // While this says true the process is dead for another reason, and no commit comes through.
  void refuse_while(std::function<bool()> dead);
  [[nodiscard]] bool dead() const;
  [[nodiscard]] std::uint64_t commits() const;  // so far, of all state files

 private:
  void write(const std::string& content);
  std::string directory_;
  std::string path_;
  std::string empty_;  // a file with the schema and nothing in it
  std::unique_ptr<store::Ledger> ledger_;
};

}  // namespace mailhaul::test
