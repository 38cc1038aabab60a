// A machine whose destination is an IMAP account in memory, on which the engine runs with the real client.
#pragma once
#include <doctest/doctest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "collector/imap_destination.h"
#include "tests/support/destination_model.h"
#include "tests/sync/scene.h"

namespace mailhaul::test {

struct AccountScene {
  AccountScene() {
    state().lose();
    inbox = &source.mailboxes.emplace_back();
    inbox->name = "INBOX";
    auto opened = store::CopyBook::open(":memory:");
    REQUIRE(opened);
    book = *std::move(opened);
    settings.identity = "imap:me@example.org";
    settings.wanted = [](const sync::SourceMailbox&) { return true; };
    settings.place = [](const sync::SourceMailbox& m) { return sync::Placing{m.path, false}; };
    settings.threaded = false;
  }

  collector::ImapDestinationSettings how() {
    collector::ImapDestinationSettings out;
    out.connect = [this] { return account.connect(); };
    out.text = "imaps://you@destination.example";
    out.clock = &clock;
    out.wait = [this](std::chrono::milliseconds pause) {
      waits.push_back(std::chrono::ceil<std::chrono::seconds>(pause).count());
      clock.now += waits.back();
    };
    return out;
  }
  Ending run() {
    Ending ending;
    try {
      auto destination = collector::ImapDestination::open(how(), book);
      if (!destination) return {false, {}, destination.error().what};
      sync::RunContext context;
      context.connect = [this] { return source.connect(); };
      context.wait = [this](std::chrono::milliseconds pause) { clock.now += pause.count() / 1000; };
      context.destination = destination->get();
      context.ledger = &state().ledger();
      context.clock = &clock;
      auto report = sync::run(settings, context);
      account.on_octets = {};  // a process that is through says LOGOUT, and does not die of it
      if (report)
        ending.report = *std::move(report);
      else
        ending.error = report.error().what;
    } catch (const Crash&) {
      ending = Ending{true, {}, {}};
    }
    return ending;
  }
  sync::Report clean() {
    auto ending = run();
    REQUIRE_MESSAGE(ending.report, ending.error);
    CHECK(ending.report->error.empty());
    CHECK(ending.report->complete());
    return *ending.report;
  }
  // Runs until a run is complete, as a scheduler would; how many it took.
  int haul() {
    for (int n = 1; n <= 4; ++n) {
      const auto ending = run();
      if (ending.report && ending.report->error.empty() && ending.report->complete()) return n;
    }
    return 99;
  }
  // "" or what is wrong: every message of the source is there once, with its flags and date, and another run appends
  // nothing. The oracle is the two servers' own contents.
  std::string whole() {
    auto differences = compare();
    const auto before = account.appends;
    const auto ending = run();
    if (!ending.report || !ending.report->complete()) differences += " another run is not complete: " + ending.error;
    if (account.appends != before) differences += " another run appends";
    return differences + compare();
  }
  std::string compare() {
    const auto text = [](const std::string& box, const std::string& wire, const mail::FlagSet& flags,
                         std::int64_t date) {
      return box + "|" + std::to_string(date) + "|" + flags.wire() + "|" + wire;
    };
    std::vector<std::string> expected, got;
    for (const auto& box : source.mailboxes)
      for (const auto& m : box.messages) expected.push_back(text(box.name, m.wire, m.flags, m.date));
    for (const auto& [name, box] : account.mailboxes)
      for (const auto& m : box.messages) got.push_back(text(name, m.wire, m.flags, m.date));
    std::ranges::sort(expected);
    std::ranges::sort(got);
    if (expected == got) return {};
    return "expected " + std::to_string(expected.size()) + " messages, found " + std::to_string(got.size()) +
           (expected.size() == got.size() ? " (others)" : "");
  }

  TestClock clock;
  ModelServer source{1};
  DestinationModel account{clock};
  std::shared_ptr<store::CopyBook> book;
  sync::RunSettings settings;
  std::vector<std::int64_t> waits;
  ModelMailbox* inbox = nullptr;

  static StateFile& state() {
    static StateFile one;
    return one;
  }
};

}  // namespace mailhaul::test
