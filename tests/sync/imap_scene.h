// A machine on which the engine runs with the real client and the real ImapSource, against the model in IMAP.
#pragma once
#include <algorithm>
#include <string>

#include "collector/imap_source.h"
#include "tests/support/imap_model.h"
#include "tests/sync/machine.h"

namespace mailhaul::test {

struct ImapScene : Machine {
  ImapScene() : Machine(1, file(), {}), imap(server) {
    state.lose();
    (void)fs.make_directories("/home");
    inbox = &server.mailboxes.emplace_back();
    inbox->name = "INBOX";
    connect = [this]() -> Result<std::unique_ptr<sync::Source>> {
      auto client = imap.connect(options);
      if (!client) return client.error();
      return std::unique_ptr<sync::Source>(std::make_unique<collector::ImapSource>(*std::move(client), about));
    };
  }

  void deliver(int n) {
    for (int i = 0; i < n; ++i) {
      const auto id = std::to_string(++delivered_);
      inbox->deliver("Message-ID: <" + id + "@example.org>\r\nSubject: " + id + "\r\n\r\nbody of " + id + "\r\n", {},
                     1'700'000'000 + delivered_);
    }
  }
  sync::Report run() {
    auto ending = run_process();
    REQUIRE_MESSAGE(ending.report, ending.error);
    return *ending.report;
  }
  // The standing oracle: everything is there once, and another run moves nothing.
  void check_whole() {
    std::vector<std::string> expected, got;
    for (const auto& box : server.mailboxes)
      for (const auto& message : box.messages) {
        auto local = message.wire;
        std::string text;
        for (std::size_t i = 0; i < local.size(); ++i)
          if (!(local[i] == '\r' && i + 1 < local.size() && local[i + 1] == '\n')) text += local[i];
        expected.push_back(text);
      }
    for (const auto& one : census().files) got.push_back(one.content);
    std::ranges::sort(expected);
    std::ranges::sort(got);
    CHECK(expected == got);
    const auto bodies = imap.count("UID FETCH");
    const auto effects = fs.effects();
    const auto report = run();
    CHECK(report.complete());
    CHECK(report.sum.delivered == 0);
    CHECK(fs.effects() == effects);
    (void)bodies;
  }

  ImapModel imap;
  client::ClientOptions options;
  collector::ImapSourceOptions about;
  ModelMailbox* inbox;

 private:
  static StateFile& file() {
    static StateFile one;
    return one;
  }
  int delivered_ = 0;
};

}  // namespace mailhaul::test
