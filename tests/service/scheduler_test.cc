// The scheduler with a service around it and a server that takes its time.
#include <doctest/doctest.h>

#include <atomic>

#include "tests/service/scene.h"
#include "tests/support/loopback.h"

namespace mailhaul::service {
namespace {

TEST_CASE("a run that outlasts its own polls begins anew, and has not failed") {
  test::Scratch scratch;
  HandClock clock;
  std::atomic<int> listing{0};
  test::Loopback server([&](test::Stream& stream, std::size_t connection) {
    if (!stream.write("* OK [CAPABILITY IMAP4rev1] hello\r\n")) return;
    for (std::string line; stream.read_line(line); line.clear()) {
      const auto tag = line.substr(0, line.find(' '));
      if (line.find("LIST") != std::string::npos) {
        ++listing;
        if (connection == 0) {  // for ever
          stream.wait_closed();
          return;
        }
        stream.write("* LIST () \"/\" INBOX\r\n");
      }
      if (line.find("STATUS") != std::string::npos)
        stream.write("* STATUS INBOX (MESSAGES 0 UIDNEXT 1 UIDVALIDITY 7 UNSEEN 0)\r\n");
      if (line.find("EXAMINE") != std::string::npos)
        stream.write("* 0 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [UIDNEXT 1] x\r\n");
      stream.write(tag + " OK done\r\n");
    }
  });
  auto service = test::good(Service::open(settings_in(scratch), clock));
  const auto viewer = test::good(service->access().local());
  const auto job = add_job(*service, viewer, server.port());
  test::good(service->start());
  until("the first run", [&] { return listing > 0; });
  clock.passed += 16 * 60;  // polls come every 15 minutes
  until("the second run", [&] { return fine(service->job(viewer, job)).row.last_success > 0; });
  CHECK(server.connections() == 2);
  CHECK(fine(service->job(viewer, job)).row.failures == 0);
}

}  // namespace
}  // namespace mailhaul::service
