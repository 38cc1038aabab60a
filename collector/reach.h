// How a job's IMAP source is reached: for whoever wants a connection beside a run.
#pragma once
#include <memory>
#include <stop_token>

#include "collector/job.h"

namespace mailhaul::collector {

// Connects and logs in; blocks as long as the server does. `stop` ends every later wait on the connection, too.
Result<std::unique_ptr<client::ImapClient>> connect_imap(const Job& job, const std::stop_token& stop);

}  // namespace mailhaul::collector
