// POP3 with the connection cut and the process killed, at any moment of a collection and of what --pop3-leave deletes.
// MAILHAUL_WHOLE=1 (preset sweep): behind each octet of a story about 20 messages; else a sample.
#include <cstdlib>

#include "tests/sync/pop3_scene.h"

using namespace mailhaul;
using namespace mailhaul::test;

namespace {

// QUIT tells the server that everything read in its session is safe here: it must be, whatever came next.
void check_kept_word(Pop3Scene& scene) {
  if (scene.pop.count("QUIT") > 0 && scene.pop.count("RETR") > 0) scene.check_whole();
}

}  // namespace

TEST_CASE("POP3: the connection is cut after any octet: everything comes once in the end") {
  const bool whole = std::getenv("MAILHAUL_WHOLE") != nullptr;  // NOLINT(concurrency-mt-unsafe)
  const int messages = whole ? 20 : 8;
  const std::uint64_t step = whole ? 1 : 13;
  std::uint64_t all = 0, cuts = 0;
  {
    Pop3Scene scene;
    scene.deliver(messages);
    scene.clean();
    all = scene.pop.octets_given;
  }
  for (const bool stop : {true, false})
    for (std::uint64_t at = 0; at < all; at += step, ++cuts) {
      INFO("cut after " << at << " octets");
      Pop3Scene scene;
      scene.deliver(messages);
      scene.settings.reconnects = stop ? 0 : 5;
      scene.pop.cut_after = at;
      const auto ending = scene.try_run();
      if (stop && (!ending.report || !ending.report->complete())) CHECK(scene.pop.count("QUIT") == 0);
      scene.clean();
      scene.check_whole();
      scene.check_quiet();
    }
  MESSAGE(cuts << " cuts in " << all << " octets");
}

TEST_CASE("POP3: the connection is cut at any command, with deletions under way") {
  for (int at = 1; at < 40; ++at) {
    INFO("cut at command " << at);
    Pop3Scene scene;
    scene.settings.policy.leave = 0;
    scene.deliver(4);
    scene.clean();
    scene.deliver(2);
    int n = 0;
    scene.pop.on_command = [&](const std::string&) -> Done {
      if (++n == at) return Error{Scope::Account, Retry::Now, "connection lost: reset", ""};
      return done();
    };
    (void)scene.try_run();
    scene.pop.on_command = {};
    scene.clean();
    scene.clean();
    CHECK(scene.pop.messages.empty());
    scene.check_whole();
  }
}

TEST_CASE("POP3: the process dies at any effect: everything once in the end, nothing deleted that is not here") {
  for (const bool power : {false, true}) {
    for (std::uint64_t at = 1;; ++at) {
      INFO("effect " << at << ", power lost: " << power);
      Pop3Scene scene;
      scene.settings.policy.leave = 0;
      scene.deliver(4);
      scene.clean();
      const auto before = scene.fs.effects();
      scene.deliver(3);
      scene.fs.die_at(before + at);
      const bool died = scene.try_run().crashed;
      if (power) {
        std::mt19937_64 luck(at);
        scene.fs.crash(luck);
      } else {
        scene.fs.restart();
      }
      check_kept_word(scene);
      scene.clean();
      scene.clean();
      CHECK(scene.pop.messages.empty());
      scene.check_whole();
      if (!died) break;
    }
  }
}

TEST_CASE("POP3: the process dies at any commit") {
  for (const bool after : {false, true})
    for (std::uint64_t at = 1; at < 14; ++at) {
      INFO("commit " << at << ", after it: " << after);
      Pop3Scene scene;
      scene.deliver(6);
      scene.state.die_at_commit(at, after,
                                [&] { scene.fs.die_at(scene.fs.effects() + 1, MemoryFileSystem::Death::Errors); });
      (void)scene.try_run();
      scene.state.close();
      scene.state.die_at_commit(0, false, {});
      scene.fs.restart();
      check_kept_word(scene);
      scene.clean();
      scene.check_whole();
      scene.check_quiet();
    }
}

TEST_CASE("POP3: death while renamed messages are recognised") {
  for (int at = 1; at < 30; ++at) {
    INFO("command " << at);
    Pop3Scene scene;
    scene.deliver(6);
    scene.clean();
    for (auto& message : scene.pop.messages) message.uidl += "-moved";
    int n = 0;
    scene.pop.on_command = [&](const std::string&) -> Done {
      if (++n == at) throw Crash{};
      return done();
    };
    (void)scene.try_run();
    scene.pop.on_command = {};
    scene.fs.restart();
    scene.clean();
    scene.check_whole();
    scene.check_quiet();
  }
}
