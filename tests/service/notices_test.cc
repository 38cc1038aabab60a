// What is worth telling, as a table; and a job of a real service whose server is away for a day of the test's clock.
#include "collector/service/notices.h"

#include <doctest/doctest.h>

#include <atomic>
#include <mutex>

#include "collector/service/service.h"
#include "tests/service/scene.h"
#include "tests/support/loopback.h"
#include "tests/support/scratch.h"

namespace mailhaul::service {
namespace {

using registry::JobRow;

constexpr std::int64_t kHour = 3600, kDay = 86'400;

TEST_CASE("what is worth telling of a job, and once") {
  struct Line {
    std::string what;
    std::int64_t failures, since;
    bool attention, finished_before, finished;
    int held;
    std::int64_t told, success;
    std::string types;
    std::int64_t told_after;
  };
  const Line lines[] = {
      {"all is well", 0, 0, false, false, false, 0, 0, kNow, "", 0},
      {"a first failure", 1, kNow, false, false, false, 0, 0, 0, "", 0},
      {"23 hours", 30, kNow - 23 * kHour, false, false, false, 0, 0, 0, "", 0},
      {"24 hours", 31, kNow - kDay, false, false, false, 0, 0, 0, "job.failing", kToldFailing},
      {"25 hours: it was told", 32, kNow - kDay - kHour, false, false, false, 0, kToldFailing, 0, "", kToldFailing},
      {"a wrong password: at once", 1, kNow, true, false, false, 0, 0, 0, "job.needs_login", kToldNeedsLogin},
      {"still wrong", 5, kNow - kDay, true, false, false, 0, kToldNeedsLogin, 0, "", kToldNeedsLogin},
      {"then the server is away, too", 9, kNow - 2 * kDay, false, false, false, 0, kToldNeedsLogin, 0, "",
       kToldNeedsLogin},
      {"failing, then a wrong password", 40, kNow - 2 * kDay, true, false, false, 0, kToldFailing, 0, "job.needs_login",
       kToldFailing | kToldNeedsLogin},
      {"it works again", 0, 0, false, false, false, 0, kToldFailing, kNow, "job.recovered", 0},
      {"stopped before anything was known", 0, 0, false, false, false, 0, kToldNeedsLogin, kNow - kDay, "",
       kToldNeedsLogin},
      {"a short failure is over", 0, 0, false, false, false, 0, 0, kNow, "", 0},
      {"finished", 0, 0, false, false, true, 0, 0, kNow, "job.finished", 0},
      {"finished before", 0, 0, false, true, true, 0, 0, kNow, "", 0},
      {"a hold", 0, 0, false, false, false, 2, 0, kNow, "job.held", kToldHeld},
      {"it holds", 0, 0, false, false, false, 2, kToldHeld, kNow, "", kToldHeld},
      {"released", 0, 0, false, false, false, 0, kToldHeld, kNow, "", 0},
  };
  for (const auto& line : lines) {
    JobRow before, after;
    before.finished = line.finished_before;
    after.failures = line.failures;
    after.failing_since = line.since;
    after.attention = line.attention;
    after.finished = line.finished;
    after.counts = R"({"held": )" + std::to_string(line.held) + "}";
    after.told = line.told;
    after.last_success = line.success;
    std::string types;
    for (const auto& notice : worth_telling(before, after, "ann", kNow))
      types += (types.empty() ? "" : " ") + notice.type;
    CHECK_MESSAGE(types == line.types, line.what);
    CHECK_MESSAGE(after.told == line.told_after, line.what);
  }
}

TEST_CASE("what is worth telling of a disk") {
  const auto type = [](bool told, std::uint64_t free) {
    const auto row = worth_telling(told, free, 1000, kNow);
    return row ? row->type : "";
  };
  CHECK(type(false, 1000) == "");
  CHECK(type(false, 999) == "disk.low");
  CHECK(type(true, 999) == "");
  CHECK(type(true, 1100) == "");  // not back and forth at the edge
  CHECK(type(true, 1200) == "disk.recovered");
}

TEST_CASE("tries become rare, and end after three days") {
  std::int64_t now = kNow, tries = 1;
  while (const auto next = next_attempt(tries, now)) {
    CHECK(*next > now);
    now = *next;
    ++tries;
  }
  CHECK(tries == 10);
  CHECK(now - kNow > 3 * kDay);
}

// Takes messages, or refuses them, and remembers their types.
class Receiver {
 public:
  Receiver()
      : loopback_([this](test::Stream& stream, std::size_t) {
          std::string head, body, line;
          std::size_t length = 0;
          for (; stream.read_line(line) && !line.empty(); line.clear()) {
            if (line.starts_with("Content-Length: ")) length = std::stoul(line.substr(16));
            if (line.starts_with("webhook-id: ")) head = line.substr(12);
          }
          if (!stream.read_exactly(body, length)) return;
          ++asked_;
          const auto status = status_.load();
          if (status == 200) {
            const std::lock_guard lock(mutex_);
            const auto at = body.find("\"type\":\"") + 8;
            taken_.push_back(body.substr(at, body.find('"', at) - at) + " " + head);
          }
          stream.write("HTTP/1.1 " + std::to_string(status) + " x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }) {}
  std::vector<std::string> taken() {
    const std::lock_guard lock(mutex_);
    return taken_;
  }
  [[nodiscard]] std::uint16_t port() const { return loopback_.port(); }
  std::atomic<int> status_{200}, asked_{0};

 private:
  std::mutex mutex_;
  std::vector<std::string> taken_;
  test::Loopback loopback_;
};

TEST_CASE("a server that is away for a day is told of once, though the service and the receiver die meanwhile") {
  test::Scratch scratch;
  HandClock clock;
  Receiver receiver;
  // Away, then there: a mailbox without mail.
  std::atomic<bool> away{true};
  test::Loopback server([&](test::Stream& stream, std::size_t) {
    if (away || !stream.write("* OK [CAPABILITY IMAP4rev1] hello\r\n")) return;
    for (std::string line; stream.read_line(line); line.clear()) {
      const auto tag = line.substr(0, line.find(' '));
      if (line.find("LIST") != std::string::npos) stream.write("* LIST () \"/\" INBOX\r\n");
      if (line.find("STATUS") != std::string::npos)
        stream.write("* STATUS INBOX (MESSAGES 0 UIDNEXT 1 UIDVALIDITY 7 UNSEEN 0)\r\n");
      if (line.find("EXAMINE") != std::string::npos)
        stream.write("* 0 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [UIDNEXT 1] x\r\n");
      stream.write(tag + " OK done\r\n");
    }
  });
  const auto settings = settings_in(scratch);
  registry::Id job = 0;
  {
    auto service = test::good(Service::open(settings, clock));
    const auto viewer = test::good(service->access().local());
    job = add_job(*service, viewer, server.port());
    ChannelChange channel;
    channel.url = "http://127.0.0.1:" + std::to_string(receiver.port()) + "/hook";
    channel.allow_plaintext = true;
    CHECK(fine(service->add_channel(viewer, notify::Kind::Webhook, channel)).made_secret.starts_with("whsec_"));
    test::good(service->start());
    until("a failure", [&] { return fine(service->job(viewer, job)).row.failures > 0; });
    clock.passed += 23 * kHour;
    const auto before = fine(service->job(viewer, job)).row.failures;
    until("another failure", [&] { return fine(service->job(viewer, job)).row.failures > before; });
    CHECK(receiver.asked_ == 0);
    receiver.status_ = 503;
    clock.passed += 2 * kHour;
    until("a try to tell", [&] { return receiver.asked_ > 0; });
    CHECK(fine(service->job(viewer, job)).now.state == JobState::Failing);
  }
  receiver.status_ = 200;
  auto service = test::good(Service::open(settings, clock));
  const auto viewer = test::good(service->access().local());
  test::good(service->start());
  clock.passed += kHour;  // past every wait so far
  until("the message", [&] { return !receiver.taken().empty(); });
  clock.passed += 3 * kHour;
  const auto failures = fine(service->job(viewer, job)).row.failures;
  until("another failure", [&] { return fine(service->job(viewer, job)).row.failures > failures; });
  away = false;
  clock.passed += 3 * kHour;
  until("news", [&] { return receiver.taken().size() > 1; });
  const auto taken = receiver.taken();
  CHECK(taken.size() == 2);
  CHECK(taken[0].starts_with("job.failing msg_"));
  CHECK(taken[1].starts_with("job.recovered msg_"));
  CHECK(fine(service->channels(viewer, {})).items.at(0).row.told > 0);
}

}  // namespace
}  // namespace mailhaul::service
