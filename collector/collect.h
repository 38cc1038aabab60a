// One job, once: opens the destination, the state and the account, runs, gives the report.
#pragma once
#include <memory>
#include <stop_token>

#include "collector/job.h"
#include "collector/sync/events.h"
#include "collector/sync/report.h"

namespace mailhaul::collector {

std::string state_path(const Job& job);  // of its ledger, whether anybody has named it or not

// What a job works on. The Maildir's lock is taken before the ledger's.
struct Workplace {
  std::unique_ptr<store::Destination> destination;  // nullptr: dry run into nothing
  std::unique_ptr<store::Ledger> ledger;
};
Result<Workplace> open_workplace(const Job& job, bool create, const std::stop_token& stop = {},
                                 const sync::EventSink& events = {});

struct Pop3Habits;

// Connects to the job's source; callable from several threads. `habits`: gets what is learnt of a POP3 server.
sync::SourceFactory source_factory(const Job& job, const std::stop_token& stop, const sync::EventSink& events,
                                   std::shared_ptr<Pop3Habits> habits = nullptr);

Result<sync::Report> collect(const Job& job, const sync::EventSink& events, const std::stop_token& stop);

}  // namespace mailhaul::collector
