#include "tests/sync/machine.h"

#include "store/maildir.h"

namespace mailhaul::test {

Machine::Machine(std::uint64_t seed, StateFile& the_state, const MemoryFileSystem::Options& disk)
    : server(seed ^ 0x5EEDU), fs(disk), state(the_state) {
  settings.identity = "imap:sim-" + std::to_string(seed) + "@example.org";
  settings.wanted = [](const sync::SourceMailbox&) { return true; };
  settings.place = [](const sync::SourceMailbox& m) { return sync::Placing{m.path, false}; };
  settings.threaded = false;
  settings.newest_first = seed % 4 == 3;
}

Ending Machine::run_process() {
  std::stop_source stop;
  return run_process(stop);
}

Ending Machine::run_process(std::stop_source& stop) {
  Ending ending;
  try {
    store::Maildir::Options options;
    options.clock = &clock;
    options.lock_wait = std::chrono::milliseconds(0);
    options.sync_threads = 0;
    auto maildir = store::Maildir::open(fs, kRoot, options);
    if (!maildir) {
      ending.error = maildir.error().what;
      return ending;
    }
    sync::RunContext context;
    context.connect = connect ? connect : [this] { return server.connect(); };
    context.wait = [this](std::chrono::milliseconds pause) {
      waits.push_back(std::chrono::duration_cast<std::chrono::seconds>(pause).count());
      clock.now += waits.back();
    };
    context.events = [this](const sync::Event& event) {
      if (const auto* trouble = std::get_if<sync::Trouble>(&event)) troubles.push_back(trouble->text);
    };
    context.destination = maildir->get();
    context.ledger = &state.ledger();
    context.clock = &clock;
    context.stop = stop.get_token();
    auto report = sync::run(settings, context);
    if (report)
      ending.report = *std::move(report);
    else
      ending.error = report.error().what;
    (*maildir)->close();
  } catch (const Crash&) {
    ending = Ending{true, {}, {}};
  }
  return ending;
}

Census Machine::census() { return take_census(fs, kRoot, state.ledger(), settings.identity); }

}  // namespace mailhaul::test
