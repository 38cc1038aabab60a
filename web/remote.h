// The service's API from a command line: mailhaul accounts, jobs, runs, api.
#pragma once
#include <string>
#include <vector>

#include "protocols/base/result.h"
#include "protocols/base/types.h"

namespace mailhaul::web {

struct Remote {
  std::string server;      // "http://localhost:8025", with the base path if there is one
  std::string token_file;  // else MAILHAUL_TOKEN_FILE, MAILHAUL_TOKEN
  std::string ca_file;
};

// `words`: what stands after "accounts", "jobs", "runs": nothing or "list"; "show ID"; "delete ID"; of jobs "run ID",
// "pause ID", "resume ID", "cancel ID", "preview ID", "verify ID", "mailboxes ID", "failed ID". Gives what is to be
// printed: a table, or with `as_json` the API's answer. An Error holds the API's own detail and advice.
Result<std::string> remote_list(const Remote& remote, const std::string& kind, const std::vector<std::string>& words,
                                bool as_json);
// Any call: METHOD, path below /api/v1, JSON body or "".
Result<std::string> remote_call(const Remote& remote, const std::string& method, const std::string& path,
                                const std::string& body);

}  // namespace mailhaul::web
