// A run's report in words and as JSON. Pure.
#pragma once
#include <string>

#include "collector/sync/report.h"

namespace mailhaul::collector {

std::string report_text(const sync::Report& report, bool dry_run);
// One line: {"event":"report","complete":…,"mailboxes":[…],"sum":{…},"failures":[…]}
std::string report_json(const sync::Report& report, bool dry_run);

}  // namespace mailhaul::collector
