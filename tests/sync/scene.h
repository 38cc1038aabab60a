// A machine with one mailbox, and what told runs of the engine say of it.
#pragma once
#include <doctest/doctest.h>

#include <algorithm>
#include <string>

#include "tests/sync/machine.h"

namespace mailhaul::test {

inline mail::FlagSet flags(std::initializer_list<const char*> names) {
  mail::FlagSet out;
  for (const auto* name : names) out.add(name);
  return out;
}

inline std::string letter(const std::string& id, const std::string& body = "hello\r\n") {
  return "Message-ID: <" + id + "@example.org>\r\nSubject: " + id + "\r\n\r\n" + body;
}

inline constexpr std::int64_t kDate = 1'700'000'000;

struct Scene : Machine {
  explicit Scene(bool barrier = true) : Machine(1, file(), disk(barrier)) {
    state.lose();
    (void)fs.make_directories("/home");
    inbox = &server.mailboxes.emplace_back();
    inbox->name = "INBOX";
  }
  // What is in INBOX, by its first header line's ID, with its flags: "a -, b FS".
  std::string copies() {
    std::vector<std::string> out;
    for (const auto& file : census().files) {
      const auto at = file.content.find('<') + 1;
      out.push_back(file.content.substr(at, file.content.find('@') - at) + " " + text_of(file.flags));
    }
    std::ranges::sort(out);
    std::string text;
    for (const auto& one : out) text += (text.empty() ? "" : ", ") + one;
    return text;
  }
  sync::Report clean() {
    auto ending = run_process();
    REQUIRE_MESSAGE(ending.report, ending.error);
    CHECK(ending.report->error.empty());
    CHECK(ending.report->complete());
    return *ending.report;
  }
  // Dies, by SIGKILL, when the server hears of `step` for the n-th time.
  void die_at_step(const std::string& step, int n = 1) {
    server.on_step = [this, step, n](std::string_view now) mutable -> Done {
      if (now == step && --n == 0) {
        server.on_step = {};
        throw Crash{};
      }
      return done();
    };
    CHECK(run_process().crashed);
  }
  void die_at_commit(std::uint64_t n, bool after) {
    state.die_at_commit(n, after, [this] { fs.die_at(fs.effects() + 1, MemoryFileSystem::Death::Errors); });
    (void)run_process();
    CHECK(state.dead());
    state.close();
    state.die_at_commit(0, false, {});
  }
  store::MessageRow row(std::uint32_t uid) {
    for (const auto& r : census().rows)
      if (r.current && r.row.uid.value == uid) return r.row;
    FAIL("no row for UID " << uid);
    return {};
  }

  ModelMailbox* inbox;

 private:
  static StateFile& file() {
    static StateFile one;
    return one;
  }
  static MemoryFileSystem::Options disk(bool barrier) {
    MemoryFileSystem::Options options;
    options.barrier = barrier;
    return options;
  }
  static std::string text_of(const mail::FlagSet& set) {
    std::string out = set.maildir_letters();
    for (const auto& keyword : set.keywords()) out += "+" + keyword;
    return out.empty() ? "-" : out;
  }
};

}  // namespace mailhaul::test
