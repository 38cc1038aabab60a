// `mailhaul discover ADDRESS`, and the address alone as a source: what was found, told to people and to programs.
#pragma once
#include <stop_token>
#include <string>
#include <vector>

#include "protocols/base/result.h"
#include "protocols/discovery/discovery.h"

namespace mailhaul::collector {

struct DiscoverRequest {
  std::string address;
  std::string resolver;  // "ADDRESS:PORT" of a DNS server; empty: the system's
  std::string ca_file, proxy;
  std::vector<std::string> connect_to;  // "HOST:PORT:TO-HOST:TO-PORT"
  net::AddressGate gate = {};
};

std::string step_text(const discovery::Step& step);  // one line
std::string step_json(const discovery::Step& step);  // one object, no line end
std::string findings_text(const discovery::Findings& findings);
std::string findings_json(const discovery::Findings& findings);

Result<discovery::Findings> discover(const DiscoverRequest& request,
                                     const std::function<void(const discovery::Step&)>& progress,
                                     const std::stop_token& stop);

// SOURCE for what was chosen, as parse_source() takes it: "imaps://user@host:993". An Error where nothing was found, or
// where the way to the server can be forged and a person has to say yes by naming it.
Result<std::string> source_of(const discovery::Findings& findings);

// Prints the steps as they come and the findings to stdout. 0 found, 1 not found, 2 not an address, 3 could not run.
int run_discover(const DiscoverRequest& request, bool json, const std::stop_token& stop);

}  // namespace mailhaul::collector
