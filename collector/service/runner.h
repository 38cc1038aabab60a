// One run of one job of the service: rows in, what came of it out. No queue, no clock of its own.
#pragma once
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "collector/job.h"
#include "collector/service/ledger_view.h"
#include "collector/service/policy.h"
#include "collector/sync/events.h"
#include "store/registry/registry.h"
#include "store/registry/secrets.h"

namespace mailhaul::service {

struct Wish {  // what a person asks of the next run; values, kept as JSON until it begins
  bool run = false;
  bool retry_failed = false;
  std::vector<std::string> release;
  bool operator==(const Wish&) const = default;
};
Wish read_wish(const std::string& json);  // "": nothing is wished
std::string to_json(const Wish& wish);    // nothing: ""

struct Order {
  registry::AccountRow account;
  registry::DestinationRow destination;
  std::optional<registry::AccountRow> into;  // the destination's account, if it is one
  JobPolicy policy;
  Wish wish;
  registry::RunKind kind = registry::RunKind::Collect;
  bool deep = false;
  bool contacts = true;  // if the policy wants them
};

struct Ran {
  registry::RunState state = registry::RunState::Failed;
  Retry retry = Retry::Later;  // of a run that could not run
  std::int64_t wait = 0;       // seconds for which the server wants to be left alone
  std::uint64_t delivered = 0, octets = 0, failed = 0;
  std::string error, advice;
  std::string report;    // JSON
  bool changed = false;  // something at the destination, or something to tell
  std::uint64_t delivered_inbox = 0;
  std::size_t held = 0;  // mailboxes whose removals wait for a person
};

class Consents;

struct Ground {      // what all runs stand on
  std::string data;  // the service's directory
  const registry::SecretBox* secrets = nullptr;
  net::AddressGate gate;  // where connections may go
  Consents* consents = nullptr;
};

std::string place_of_password(registry::Id account);  // what a sealed password is bound to
// Of a Maildir below it; of an account in `data`, named by it: another account under the same row is another place.
std::string state_path(const std::string& data, const registry::DestinationRow& destination);
// The job in the engine's terms; refuses what cannot be understood. With the password opened.
Result<collector::Job> engine_job(const Ground& ground, const Order& order);
// Where the account comes from, in the ledger's terms: "imap:user@host".
std::string identity_of(const registry::AccountRow& account);

Ran carry_out(const Ground& ground, const Order& order, const sync::EventSink& events, const std::stop_token& stop);

}  // namespace mailhaul::service
