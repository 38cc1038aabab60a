// `mailhaul serve` and its helpers: settings from the environment, the service and its server, until a stop.
#pragma once
#include <atomic>
#include <map>
#include <stop_token>
#include <string>
#include <vector>

#include "collector/service/service.h"
#include "protocols/base/result.h"
#include "web/server.h"

namespace mailhaul::web {

struct ServeSettings {
  service::ServiceSettings service;
  ServerSettings server;
  bool json_log = false;
};

// Reads MAILHAUL_…; every one of them may be given as a file by NAME_FILE. A name that nobody knows is an Error, for a
// setting with a typing error in it would silently not be set.
Result<ServeSettings> settings_from(const std::map<std::string, std::string>& environment, const std::string& version);
std::map<std::string, std::string> environment();  // MAILHAUL_… of this process

// Runs until `stop`; gives what kept it from starting. Each time that `hangups` grows the certificate is read again.
Done serve(const ServeSettings& settings, const std::stop_token& stop, const std::atomic<int>& hangups);
// Asks the service of this machine how it is; for HEALTHCHECK.
Done healthcheck(const ServeSettings& settings);

}  // namespace mailhaul::web
