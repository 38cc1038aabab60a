// Mail into an IMAP account: scenarios 10 to 13 of the reference, every place at which a connection or the process can
// end in the middle of an APPEND, and what was there before.
#include <cstdlib>

#include "tests/sync/account_scene.h"

namespace mailhaul::test {
namespace {

const char* const kVariants[] = {"IMAP4rev1 UIDPLUS LITERAL+", "IMAP4rev1 UIDPLUS", "IMAP4rev1", "IMAP4rev1 LITERAL+",
                                 "IMAP4rev1 UIDPLUS LITERAL-"};

// Two that nothing but their bodies tells apart, one without Message-ID, flags and a keyword.
void fill(AccountScene& scene) {
  scene.inbox->deliver(letter("same", "one\r\n"), flags({"\\Seen"}), kDate);
  scene.inbox->deliver(letter("same", "two\r\n"), flags({"\\Seen"}), kDate);
  scene.inbox->deliver("Subject: no id\r\n\r\nbody\r\n", flags({"$Junk"}), kDate + 1);
}

std::size_t step() { return std::getenv("MAILHAUL_WHOLE") ? 1 : 11; }

}  // namespace

TEST_CASE("scenario 10: stored, and the connection goes before the answer: found, not appended again") {
  AccountScene scene;
  fill(scene);
  int n = 0;
  scene.account.on_append = [&](const std::string&, const std::string&) { return ++n == 2 ? "store" : ""; };
  CHECK(scene.clean().sum.delivered == 3);
  CHECK(scene.account.appends == 3);
  CHECK(scene.whole() == "");
}

TEST_CASE("scenario 11: as 10, and it shows only 20 seconds after the first look") {
  AccountScene scene;
  fill(scene);
  int n = 0;
  scene.account.on_append = [&](const std::string&, const std::string&) { return ++n == 2 ? "late 20" : ""; };
  CHECK(scene.clean().sum.delivered == 3);
  CHECK(scene.account.appends == 3);
  CHECK(std::ranges::find(scene.waits, 60) != scene.waits.end());
  CHECK(scene.whole() == "");
}

TEST_CASE("scenario 12: as 10, and it was not stored: exactly one APPEND more, after the second look") {
  AccountScene scene;
  fill(scene);
  int n = 0;
  scene.account.on_append = [&](const std::string&, const std::string&) { return ++n == 2 ? "lose" : ""; };
  CHECK(scene.clean().sum.delivered == 3);
  CHECK(scene.account.appends == 3);
  CHECK(std::ranges::find(scene.waits, 60) != scene.waits.end());
  CHECK(scene.whole() == "");
}

TEST_CASE("scenario 13: OK without APPENDUID, two messages without Message-ID and of one size") {
  AccountScene scene;
  scene.account.capabilities = "IMAP4rev1 LITERAL+";
  scene.inbox->deliver("Subject: x\r\n\r\none\r\n", {}, kDate);
  scene.inbox->deliver("Subject: x\r\n\r\ntwo\r\n", {}, kDate);
  CHECK(scene.clean().sum.delivered == 2);
  CHECK(scene.whole() == "");
  // Each key has the UID of its own message: a flag that changes at the source changes that one.
  scene.inbox->set_flags(scene.inbox->messages.back(), flags({"\\Flagged"}));
  scene.clean();
  CHECK(scene.whole() == "");
}

TEST_CASE("append: what was there before is adopted, each message once, with what its owner gave it") {
  AccountScene scene;
  fill(scene);
  auto& box = scene.account.mailboxes["INBOX"];
  box.messages.push_back({box.next_uid++, scene.inbox->messages[1].wire, flags({"\\Flagged"}), kDate, 0});
  box.messages.push_back({box.next_uid++, letter("same", "six\r\n"), {}, kDate, 0});  // not one of ours
  CHECK(scene.clean().sum.delivered == 3);
  CHECK(scene.account.appends == 2);
  CHECK(box.messages.size() == 4);
  CHECK(box.messages.front().flags == flags({"\\Flagged", "\\Seen"}));
}

TEST_CASE("append: a lost state finds its copies again") {
  AccountScene scene;
  fill(scene);
  scene.clean();
  scene.state().lose();
  auto empty = store::CopyBook::open(":memory:");
  REQUIRE(empty);
  scene.book = *std::move(empty);
  scene.clean();
  CHECK(scene.account.appends == 3);
  CHECK(scene.whole() == "");
}

TEST_CASE("append: another UIDVALIDITY at the destination doubles nothing") {
  AccountScene scene;
  fill(scene);
  scene.clean();
  auto& box = scene.account.mailboxes["INBOX"];
  box.validity = 8;
  box.next_uid = 100;
  for (auto& m : box.messages) m.uid = box.next_uid++;
  scene.inbox->deliver(letter("new"), {}, kDate + 9);
  scene.inbox->set_flags(scene.inbox->messages[1], flags({"\\Answered"}));
  CHECK(scene.haul() <= 2);
  CHECK(scene.account.appends == 4);
}

TEST_CASE("scenario 57: a mailbox that is there in another case, one in a namespace, one that cannot be made") {
  AccountScene scene;
  auto& work = scene.source.mailboxes.emplace_back();
  work.name = "Work";
  work.deliver(letter("w"), flags({"\\Seen"}), kDate);
  const auto appended = [&](const std::string& to) { return std::ranges::count(scene.account.said, "APPEND " + to); };
  SUBCASE("another case") {
    scene.account.fold_case = true;
    scene.account.mailboxes["WORK"];
    scene.clean();
    CHECK(scene.account.mailboxes["WORK"].messages.size() == 1);
    CHECK(scene.account.mailboxes.size() == 2);
  }
  SUBCASE("INBOX.") {
    auto& below = scene.source.mailboxes.emplace_back();
    below.name = "Work/Sub.Sub";
    below.deliver(letter("s"), {}, kDate);
    scene.account.capabilities += " NAMESPACE";
    scene.account.prefix = "INBOX.";
    scene.account.delimiter = '.';
    scene.clean();
    CHECK(scene.account.mailboxes["INBOX.Work"].messages.size() == 1);
    CHECK(scene.account.mailboxes["INBOX.Work.Sub_Sub"].messages.size() == 1);
    scene.clean();
    CHECK(scene.account.appends == 2);
  }
  SUBCASE("cannot be made") {
    fill(scene);
    bool refuses = true;
    scene.account.on_create = [&](const std::string&) { return refuses ? "NO [CANNOT] no such names here" : ""; };
    const auto ending = scene.run();
    REQUIRE(ending.report);
    CHECK(ending.report->error.empty());
    CHECK_FALSE(ending.report->complete());
    CHECK(ending.report->sum.delivered == 3);
    REQUIRE(ending.report->mailboxes.size() == 2);
    CHECK(ending.report->mailboxes.back().name == "Work");
    CHECK(ending.report->mailboxes.back().error.find("no such names here") != std::string::npos);
    CHECK(appended("Work") == 0);
    refuses = false;
    CHECK(scene.clean().sum.delivered == 1);
    CHECK(scene.whole() == "");
  }
  SUBCASE("cannot be made again") {
    scene.clean();
    scene.account.mailboxes.erase("Work");
    work.deliver(letter("x"), {}, kDate);
    scene.inbox = &scene.source.mailboxes.front();
    fill(scene);
    scene.account.on_create = [&](const std::string&) { return "NO [CANNOT] no such names here"; };
    const auto ending = scene.run();
    REQUIRE(ending.report);
    CHECK(ending.report->sum.delivered == 3);
    CHECK_FALSE(ending.report->complete());
  }
}

TEST_CASE("append: no such mailbox, no room, too big, keywords that are not taken") {
  AccountScene scene;
  SUBCASE("TRYCREATE") {
    auto& box = scene.source.mailboxes.emplace_back();
    box.name = "Work";
    box.deliver(letter("w"), {}, kDate);
    int n = 0;
    scene.account.on_append = [&](const std::string&, const std::string&) {
      return ++n == 1 ? "NO [TRYCREATE] not yet" : "";
    };
    scene.clean();
    CHECK(scene.account.appends == 1);
    CHECK(scene.whole() == "");
  }
  SUBCASE("OVERQUOTA ends the run, and the next one goes on") {
    fill(scene);
    bool full = true;
    scene.account.on_append = [&](const std::string&, const std::string& text) {
      return full && text.find("no id") != text.npos ? "NO [OVERQUOTA] full" : "";
    };
    const auto ending = scene.run();
    REQUIRE(ending.report);
    CHECK(ending.report->error.find("OVERQUOTA") != std::string::npos);
    CHECK_FALSE(ending.report->complete());
    CHECK(scene.waits.empty());
    full = false;
    scene.clean();
    CHECK(scene.whole() == "");
  }
  SUBCASE("APPENDLIMIT") {
    fill(scene);
    scene.account.capabilities += " APPENDLIMIT=50";
    const auto ending = scene.run();
    REQUIRE(ending.report);
    CHECK(ending.report->sum.failed == 2);
    CHECK(scene.account.appends == 1);
    CHECK(ending.report->failures.front().reason.find("50 octets") != std::string::npos);
  }
  SUBCASE("a refusal is one message's") {
    fill(scene);
    scene.account.on_append = [&](const std::string&, const std::string& text) {
      return text.find("two") != text.npos ? "NO [CANNOT] no such thing here" : "";
    };
    const auto ending = scene.run();
    REQUIRE(ending.report);
    CHECK(ending.report->sum.failed == 1);
    CHECK(ending.report->sum.delivered == 2);
    CHECK(ending.report->failures.front().reason.find("no such thing here") != std::string::npos);
  }
  SUBCASE("PERMANENTFLAGS") {
    fill(scene);
    scene.account.permanent_flags = "\\Seen";
    scene.clean();
    CHECK(scene.account.mailboxes["INBOX"].messages[0].flags == flags({"\\Seen"}));
    CHECK(scene.account.mailboxes["INBOX"].messages[2].flags == flags({}));
    scene.clean();  // and does not flap
    CHECK(scene.account.appends == 3);
  }
}

TEST_CASE(
    "sweep: the line cut at any octet between APPEND and its tagged reply, either way: nothing lost, nothing twice") {
  for (const auto* capabilities : kVariants) {
    CAPTURE(capabilities);
    AccountScene first;
    first.account.capabilities = capabilities;
    fill(first);
    first.clean();
    const auto up = first.account.from_client, down = first.account.to_client;
    REQUIRE(up > 200);
    for (std::size_t at = 0; at < up + down; at += step()) {
      CAPTURE(at);
      AccountScene scene;
      scene.account.capabilities = capabilities;
      fill(scene);
      (at < up ? scene.account.cut_client : scene.account.cut_server) = at < up ? at : at - up;
      CHECK(scene.haul() <= 2);
      CHECK(scene.whole() == "");
      CHECK(scene.account.appends == 3);
    }
  }
}

TEST_CASE(
    "sweep: killed at any exchange with the destination, or at any commit of ledger and copy book: nothing lost, "
    "nothing twice") {
  for (const auto* capabilities : kVariants) {
    CAPTURE(capabilities);
    for (std::size_t at = 1;; ++at) {
      CAPTURE(at);
      AccountScene scene;
      scene.account.capabilities = capabilities;
      fill(scene);
      std::size_t n = 0;
      scene.account.on_octets = [&] {
        if (++n == at) throw Crash{};
      };
      const bool crashed = scene.run().crashed;
      scene.account.on_octets = {};
      CHECK(scene.haul() == 1);
      CHECK(scene.whole() == "");
      CHECK(scene.account.appends == 3);
      if (!crashed) break;
    }
    bool died = true;
    for (std::uint64_t at = 1; died; ++at)
      for (const bool after : {false, true}) {
        CAPTURE(at);
        CAPTURE(after);
        AccountScene scene;
        scene.account.capabilities = capabilities;
        fill(scene);
        scene.state().die_at_commit(at, after, [&] { scene.account.dead = true; });
        (void)scene.run();
        died = scene.state().dead();
        scene.state().close();
        scene.state().die_at_commit(0, false, {});
        scene.account.dead = false;
        CHECK(scene.haul() == 1);
        CHECK(scene.whole() == "");
        CHECK(scene.account.appends == 3);
      }
  }
}

TEST_CASE("append: a keyword that is refused takes no other flag with it, wherever the line or the process is cut") {
  std::string capabilities;
  const auto through = [&](const std::function<void(AccountScene&)>& mishap) {
    AccountScene scene;
    scene.account.capabilities = capabilities;
    scene.account.refused_keyword = "unwanted";
    scene.inbox->deliver(letter("a"), flags({"\\Seen", "$Junk", "unwanted", "work"}), kDate);
    scene.inbox->deliver(letter("b"), flags({"unwanted"}), kDate);
    mishap(scene);
    const bool crashed = scene.run().crashed;
    scene.account.on_octets = {};
    CHECK(scene.haul() <= 2);
    const auto& there = scene.account.mailboxes["INBOX"].messages;
    REQUIRE(there.size() == 2);
    CHECK(there[0].flags == flags({"\\Seen", "$Junk", "work"}));
    CHECK(there[1].flags.empty());
    return std::tuple(crashed, scene.account.from_client, scene.account.to_client);
  };
  for (const auto* variant : {"IMAP4rev1 UIDPLUS LITERAL+", "IMAP4rev1"}) {
    CAPTURE(capabilities = variant);
    bool crashed = true;
    for (std::size_t at = 1; crashed; ++at) {
      CAPTURE(at);
      std::size_t n = 0;
      crashed = std::get<bool>(through([&](AccountScene& scene) {
        scene.account.on_octets = [&] {
          if (++n == at) throw Crash{};
        };
      }));
    }
    const auto [_, up, down] = through([](AccountScene&) {});
    for (std::size_t at = 0; at < up + down; at += step()) {
      CAPTURE(at);
      through([&, up = up](AccountScene& scene) {
        (at < up ? scene.account.cut_client : scene.account.cut_server) = at < up ? at : at - up;
      });
    }
  }
}

TEST_CASE("append: a long message goes straight through, and what is cut of it is nowhere") {
  const std::string wire = letter("long", std::string(700'000, 'x') + "\r\n");
  for (const std::size_t cut : {SIZE_MAX, std::size_t{50}, std::size_t{300'000}, wire.size(), wire.size() + 90}) {
    CAPTURE(cut);
    AccountScene scene;
    scene.account.cut_client = cut;
    scene.account.refused_keyword = "unwanted";
    std::size_t most = 0;
    for (int tries = 0; tries < 2; ++tries) {
      auto destination = collector::ImapDestination::open(scene.how(), scene.book);
      REQUIRE(destination);
      auto& at = **destination;
      store::Announced announced{wire.size(), {}, kDate, flags({"\\Seen", "work", "unwanted"})};
      auto incoming = at.receive("INBOX", &announced);
      REQUIRE(incoming);
      bool written = true;
      for (std::size_t i = 0; written && i < wire.size(); i += 10'000) {
        written = static_cast<bool>(incoming->write(wire.substr(i, 10'000)));
        most = std::max(most, scene.account.from_client);
        if (i > 400'000 && cut == SIZE_MAX) CHECK(scene.account.from_client > 300'000);  // while it comes
      }
      CHECK(scene.account.appends == 0);  // never before the source's literal has ended
      if (!written) continue;
      REQUIRE(incoming->finish());
      std::vector<std::pair<std::string, store::Delivery>> batch;
      batch.emplace_back("INBOX",
                         store::Delivery{*std::move(incoming), {}, kDate, flags({"\\Seen", "work", "unwanted"})});
      auto names = at.deliver(batch);
      REQUIRE(names);
      if (!names->front().empty()) break;
    }
    CHECK(scene.account.appends == 1);
    REQUIRE(scene.account.mailboxes["INBOX"].messages.size() == 1);
    CHECK(scene.account.mailboxes["INBOX"].messages.front().wire == wire);
    CHECK(scene.account.mailboxes["INBOX"].messages.front().flags == flags({"\\Seen", "work"}));
  }
}

TEST_CASE("append: a long message whose source breaks off is dropped with its connection") {
  AccountScene scene;
  auto destination = collector::ImapDestination::open(scene.how(), scene.book);
  REQUIRE(destination);
  {
    store::Announced announced{700'000, {}, kDate, {}};
    auto incoming = (*destination)->receive("INBOX", &announced);
    REQUIRE(incoming);
    REQUIRE(incoming->write(letter("long", std::string(650'000, 'x'))));
    CHECK(scene.account.from_client > 500'000);
  }
  CHECK(scene.account.appends == 0);
  CHECK(scene.book->unsettled(*scene.book->mailbox("INBOX"))->empty());
}

}  // namespace mailhaul::test
