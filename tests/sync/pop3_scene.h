// A machine on which the engine runs with the real client and the real Pop3Source, against a maildrop in memory.
#pragma once
#include <doctest/doctest.h>

#include <algorithm>
#include <string>

#include "collector/pop3_source.h"
#include "tests/support/pop3_model.h"
#include "tests/sync/machine.h"

namespace mailhaul::test {

struct Pop3Scene : Machine {
  explicit Pop3Scene(const MemoryFileSystem::Options& disk = {}) : Machine(1, file(), disk) {
    state.lose();
    (void)fs.make_directories("/home");
    connect = [this]() -> Result<std::unique_ptr<sync::Source>> {
      auto client = pop.connect();
      if (!client) return client.error();
      return std::unique_ptr<sync::Source>(std::make_unique<collector::Pop3Source>(*std::move(client), habits));
    };
  }

  void deliver(int n) {
    for (int i = 0; i < n; ++i) pop.deliver("text " + std::to_string(i) + "\r\n.dots\r\n..\r\n.\r\nend\r\n");
    for (auto it = std::prev(pop.messages.end(), n); it != pop.messages.end(); ++it) wanted.push_back(it->wire);
  }
  // Whatever it ends in; habits are a process's own.
  Ending try_run() {
    habits = std::make_shared<collector::Pop3Habits>();
    habits->status_flags = status_flags;
    pop.forget();
    return run_process();
  }
  sync::Report run() {
    auto ending = try_run();
    REQUIRE_MESSAGE(ending.report, ending.error);
    return *ending.report;
  }
  sync::Report clean() {
    auto report = run();
    CHECK(report.error == "");
    CHECK(report.complete());
    return report;
  }
  std::vector<std::string> copies() {
    std::vector<std::string> got;
    for (const auto& one : census().files) {
      std::string wire;
      const bool raw = one.content.find("\r\n") != std::string::npos || one.disk == one.crlf;
      for (const char c : one.content) {
        if (c == '\n' && !raw) wire += '\r';
        wire += c;
      }
      got.push_back(wire);
    }
    std::ranges::sort(got);
    return got;
  }
  // The standing oracle: what was ever wanted is there, once.
  void check_whole() {
    auto expected = wanted;
    std::ranges::sort(expected);
    const auto got = copies();
    CHECK(got.size() == expected.size());
    CHECK(got == expected);
    CHECK(census().trouble == "");
  }
  void check_quiet() {  // another run moves nothing
    const auto report = clean();
    CHECK(report.sum.delivered == 0);
    CHECK(pop.count("RETR") == 0);
  }

  Pop3Model pop;
  std::shared_ptr<collector::Pop3Habits> habits = std::make_shared<collector::Pop3Habits>();
  std::vector<std::string> wanted;
  bool status_flags = false;

 private:
  static StateFile& file() {
    static StateFile one;
    return one;
  }
};

}  // namespace mailhaul::test
