// What sockets add: silence in mid-literal, lost connections, stops, much data.
#include <doctest/doctest.h>

#include <future>
#include <string>
#include <thread>

#include "tests/client/scenario.h"

using namespace mailhaul;
using namespace mailhaul::test;
using client::Step;

namespace {

Steps fetch_all(Recorder& recorder) {
  imap::Examine examine;
  examine.mailbox = "A";
  imap::UidFetch fetch;
  fetch.uids = "1:*";
  fetch.items = "UID BODY.PEEK[]";
  return {Step{examine, &recorder}, Step{fetch, &recorder}};
}

const std::string kFetch =
    "C: $a EXAMINE \"A\"\nC: $b UID FETCH 1:* (UID BODY.PEEK[])\nS: * 1 EXISTS\nS: $a OK\nS: * 1 FETCH (UID 1 BODY[] "
    "{1000}\nS-octets: 500\n";

bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("a connection that dies in mid-literal") {
  struct Case {
    const char* end;
    const char* what;
  };
  for (const bool tls : {false, true})
    for (const Case c : {Case{"stall", "timed out: nothing moved for 150 ms"}, Case{"drop", "connection lost"},
                         Case{"reset", "connection lost"}, Case{"close", "connection lost"}}) {
      CAPTURE(tls);
      CAPTURE(c.end);
      ScriptedServer server({kIn + kFetch + c.end}, {.tls = tls ? Tls::Implicit : Tls::None});
      client::ClientOptions options = impatient();
      if (std::string_view(c.end) == "stall") options.idle = 150ms;
      const auto security = tls ? client::Security::Tls : client::Security::Cleartext;
      Connected client = client::ImapClient::connect(account_at(server.port(), security), options, {});
      REQUIRE_MESSAGE(client, client.error().what);
      Recorder recorder;
      Steps steps = fetch_all(recorder);
      const Done ended = (*client)->converse(steps);
      REQUIRE(!ended);
      CHECK_MESSAGE(has(ended.error().what, c.what), ended.error().what);
      CHECK(ended.error().retry == Retry::Now);
      CHECK(recorder.text().find("END") == std::string::npos);  // half a message is never a message
      client = Error{};
      CHECK(server.verdict() == "");
    }
}

TEST_CASE("a stop ends a conversation within a moment") {
  ScriptedServer server({kIn + kFetch + "stall"}, {.tls = Tls::Implicit});
  std::stop_source stop;
  const Connected client = client::ImapClient::connect(account_at(server.port()), impatient(), stop.get_token());
  REQUIRE(client);
  Recorder recorder;
  std::promise<void> fetching;
  struct Telling final : client::Listener {
    explicit Telling(std::promise<void>& p) : told(p) {}
    Done on(const imap::Event& event) override {
      if (std::holds_alternative<imap::BodyBegin>(event)) told.set_value();
      return done();
    }
    Done completed(const imap::Command&, const imap::StatusText&) override { return done(); }
    std::promise<void>& told;
  } telling(fetching);
  auto conversation = std::async(std::launch::async, [&] {
    Steps steps = fetch_all(recorder);
    for (auto& step : steps.steps) step.listener = &telling;
    return (*client)->converse(steps);
  });
  REQUIRE(fetching.get_future().wait_for(10s) == std::future_status::ready);
  const auto start = std::chrono::steady_clock::now();
  stop.request_stop();
  const Done ended = conversation.get();
  CHECK(std::chrono::steady_clock::now() - start < 2s);  // the machine may be busy
  REQUIRE(!ended);
  CHECK(ended.error().what.ends_with(net::kStopped));
}

TEST_CASE("a stop ends a login that hangs") {
  ScriptedServer server({"S: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] hi\nC: $a AUTHENTICATE *\nstall"},
                        {.tls = Tls::Implicit});
  std::stop_source stop;
  auto connecting = std::async(std::launch::async, [&] {
    return client::ImapClient::connect(account_at(server.port()), impatient(), stop.get_token());
  });
  while (server.lines().empty()) std::this_thread::yield();
  stop.request_stop();
  REQUIRE(connecting.wait_for(5s) == std::future_status::ready);
  const Connected client = connecting.get();
  REQUIRE(!client);
  CHECK(client.error().what.ends_with(net::kStopped));
}

TEST_CASE("a big body arrives whole over TLS, with and without DEFLATE") {
  const std::size_t size = 3'000'000;
  for (const bool compress : {false, true}) {
    const std::string in =
        compress ? "S: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] hi\nC: $i AUTHENTICATE *\n"
                   "S: $i OK [CAPABILITY IMAP4rev1 COMPRESS=DEFLATE] in\nC: $z COMPRESS DEFLATE\nS: $z OK\ncompress\n"
                 : kIn;
    ScriptedServer server(
        {in + "C: $a EXAMINE \"A\"\nC: $b UID FETCH *\nS: * 1 EXISTS\nS: $a OK\nS: * 1 FETCH (UID 1 BODY[] {" +
         std::to_string(size) + "}\nS-octets: " + std::to_string(size) + "\nS: )\nS: $b OK\neof"},
        {.tls = Tls::Implicit});
    {
      client::ClientOptions options = impatient();
      options.compress = compress;
      const Connected client = client::ImapClient::connect(account_at(server.port()), options, {});
      REQUIRE_MESSAGE(client, client.error().what);
      Recorder recorder;
      Steps steps = fetch_all(recorder);
      REQUIRE((*client)->converse(steps));
      REQUIRE(recorder.heard.size() == 7);
      CHECK(recorder.heard[3] == "OCTETS " + pattern(size));
      CHECK((*client)->octets_received() > size);
      CHECK((*client)->octets_sent() < 500);
      CHECK((*client)->round_trips() == (compress ? 3 : 2));
    }
    CHECK(server.verdict() == "");
  }
}

TEST_CASE("a pipeline of many long commands against a server that answers at length does not dead-lock") {
  // 400 commands of 8 KB and 400 answers of 20 KB: more than all socket buffers, in both directions at once.
  std::string script = kIn + "C: $e EXAMINE \"A\"\nS: $e OK\n";
  std::string uids = "1";
  for (int i = 3; uids.size() < 7900; i += 2) uids += "," + std::to_string(i);
  const int count = 400;
  for (int i = 0; i < count; ++i) {
    const std::string tag = "$t" + std::to_string(i);
    script.append("C: ").append(tag).append(
        " UID FETCH *\nS: * 1 FETCH (UID 1 BODY[] {20000}\nS-octets: 20000\nS: )\nflush\nS: ");
    script.append(tag).append(" OK\nflush\n");
  }
  ScriptedServer server({script + "eof"}, {.tls = Tls::Implicit});
  {
    client::ClientOptions options = impatient();
    options.pipeline = 1000;
    const Connected client = client::ImapClient::connect(account_at(server.port()), options, {});
    REQUIRE(client);
    Recorder recorder;
    imap::Examine examine;
    examine.mailbox = "A";
    Steps steps{Step{examine, &recorder}};
    imap::UidFetch fetch;
    fetch.uids = uids;
    fetch.items = "UID BODY.PEEK[]";
    for (int i = 0; i < count; ++i) steps.steps.push_back(Step{fetch, &recorder});
    const Done ended = (*client)->converse(steps);
    CHECK_MESSAGE(ended, ended.error().what);
    CHECK((*client)->octets_sent() > 3'000'000);
    CHECK((*client)->octets_received() > 8'000'000);
  }
  CHECK(server.verdict() == "");
}

TEST_CASE("two connections, two scripts") {
  ScriptedServer server({kIn + "C: $a NOOP\nS: $a OK\neof", kIn + "eof"}, {.tls = Tls::Implicit});
  {
    const Connected first = client::ImapClient::connect(account_at(server.port()), impatient(), {});
    const Connected second = client::ImapClient::connect(account_at(server.port()), impatient(), {});
    REQUIRE(first);
    REQUIRE(second);
    CHECK((*first)->command(imap::Noop{}));
  }
  CHECK(server.verdict() == "");
  CHECK(server.connections() == 2);
}

TEST_CASE("the script's own complaint is heard") {
  ScriptedServer server({kIn + "C: $a CHECK\neof"}, {.tls = Tls::Implicit});
  {
    const Connected client = client::ImapClient::connect(account_at(server.port()), impatient(), {});
    REQUIRE(client);
    CHECK(!(*client)->command(imap::Noop{}));
  }
  CHECK(server.verdict().find("expected \"$a CHECK\", got ") != std::string::npos);
}
