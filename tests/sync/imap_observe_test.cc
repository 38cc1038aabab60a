// What polls see, in each variant, and what they cost.
#include <doctest/doctest.h>

#include "tests/sync/imap_scene.h"

namespace mailhaul::test {
namespace {

using Answer = std::optional<std::string>;

constexpr const char* kResync = "IMAP4rev1 ENABLE NAMESPACE ESEARCH LIST-EXTENDED LIST-STATUS CONDSTORE QRESYNC";
constexpr const char* kCondstore = "IMAP4rev1 NAMESPACE ESEARCH LIST-EXTENDED LIST-STATUS CONDSTORE";
constexpr const char* kNeither = "IMAP4rev1 NAMESPACE ESEARCH LIST-EXTENDED LIST-STATUS";
constexpr const char* kBare = "IMAP4rev1";
constexpr const char* kVariants[] = {kResync, kCondstore, kNeither, kBare};

struct Poll : ImapScene {
  explicit Poll(const char* capabilities) {
    imap.capabilities = capabilities;
    server.traits.condstore = std::string(capabilities).find("CONDSTORE") != std::string::npos;
  }
  // What `run()` has sent beside the login.
  std::vector<std::string> sent() {
    const auto before = imap.lines.size();
    last = run();
    return {imap.lines.begin() + static_cast<std::ptrdiff_t>(before), imap.lines.end()};
  }
  bool sends(std::string_view part) {
    const auto lines = sent();
    return std::ranges::any_of(lines, [&](const auto& line) { return line.find(part) != std::string::npos; });
  }
  mail::FlagSet flags_of(std::uint32_t uid) {
    for (const auto& row : census().rows)
      if (row.current && row.row.uid.value == uid) return row.row.base;
    return {};
  }
  sync::Report last;
};

mail::FlagSet flagged() {
  mail::FlagSet out;
  out.add(mail::SystemFlag::Flagged);
  return out;
}

TEST_CASE("observe: C42 C44 C45 new, deleted and changed mail in every variant") {
  for (const auto* variant : kVariants) {
    CAPTURE(variant);
    Poll poll(variant);
    poll.deliver(10);
    CHECK(poll.run().complete());
    poll.inbox->expunge(mail::Uid{10});  // the highest
    poll.inbox->expunge(mail::Uid{3});
    poll.deliver(2);  // as many as went: no count shows it
    poll.inbox->set_flags(poll.inbox->messages[0], flagged());
    const auto report = poll.run();
    CHECK(report.complete());
    CHECK(report.sum.delivered == 2);
    CHECK(report.sum.gone == 2);
    CHECK(report.mailboxes[0].flags == 1);
    CHECK(poll.flags_of(1) == flagged());
    CHECK(poll.run().sum.gone == 2);
  }
}

TEST_CASE("observe: QRESYNC is asked for once ENABLED has confirmed it, and spares the list of UIDs") {
  Poll poll(kResync);
  poll.deliver(10);
  poll.run();
  poll.inbox->expunge(mail::Uid{4});
  const auto lines = poll.sent();
  CHECK(poll.last.sum.gone == 1);
  const auto has = [&](std::string_view part) {
    return std::ranges::any_of(lines, [&](const auto& line) { return line.find(part) != std::string::npos; });
  };
  CHECK(has("EXAMINE \"INBOX\" (QRESYNC (1 "));
  CHECK_FALSE(has("UID 1:*"));
  CHECK_FALSE(has("CHANGEDSINCE"));
  CHECK(has("UID FETCH 4 (UID)"));  // the second kind of evidence

  Poll silent(kResync);  // no * ENABLED
  silent.deliver(10);
  silent.imap.answer = [](const std::string& line) -> Answer {
    return line.starts_with("ENABLE") ? Answer("OK sure") : std::nullopt;
  };
  silent.run();
  silent.deliver(1);
  CHECK_FALSE(silent.sends("QRESYNC ("));
  CHECK(silent.last.complete());
}

TEST_CASE("observe: C43 VANISHED for living messages proves nothing") {
  Poll poll(kResync);
  poll.deliver(10);
  poll.run();
  poll.deliver(1);
  poll.inbox->expunged.emplace_back(poll.inbox->modseq, 5);  // it lives
  auto report = poll.run();
  CHECK(report.complete());
  CHECK(report.sum.gone == 0);
  // … not even when the count happens to bear it out.
  poll.inbox->expunge(mail::Uid{7});
  poll.inbox->expunged.back().second = 5;
  report = poll.run();
  CHECK(report.sum.gone == 1);
  CHECK(poll.census().rows.size() == 11);
  for (const auto& row : poll.census().rows)
    CHECK((row.row.state == store::MessageState::Vanished) == (row.row.uid.value == 7));
}

TEST_CASE("observe: A6 QRESYNC leaves a new UID out: the list of UIDs shows it") {
  Poll poll(kResync);
  poll.deliver(10);
  poll.run();
  poll.deliver(2);
  int lies = 1;
  poll.imap.answer = [&](const std::string& line) -> Answer {
    if (!line.starts_with("UID SEARCH") || lies-- <= 0) return std::nullopt;
    return "* ESEARCH UID ALL 12\nOK done";
  };
  const auto report = poll.run();
  CHECK(report.sum.delivered == 2);
  CHECK(report.complete());
}

TEST_CASE("observe: A5 new mail with a MODSEQ below the cursor is collected") {
  Poll poll(kResync);
  poll.deliver(10);
  poll.inbox->modseq = 1000;
  poll.run();
  poll.deliver(1);
  poll.inbox->messages.back().modseq = 900;
  poll.inbox->modseq = 1000;
  CHECK(poll.run().sum.delivered == 1);
}

TEST_CASE("observe: parameters of EXAMINE are stepped down from when they are refused for what they are") {
  Poll poll(kResync);
  poll.deliver(10);
  poll.run();
  poll.imap.answer = [](const std::string& line) -> Answer {
    return line.find("(QRESYNC (") != std::string::npos ? Answer("BAD Unknown SELECT parameter") : std::nullopt;
  };
  poll.inbox->set_flags(poll.inbox->messages[0], flagged());
  poll.deliver(1);
  const auto lines = poll.sent();
  CHECK(poll.last.complete());
  CHECK(poll.last.sum.delivered == 1);
  CHECK(poll.flags_of(1) == flagged());
  CHECK(std::ranges::any_of(lines, [](const auto& line) { return line.find("(CONDSTORE)") != std::string::npos; }));
  CHECK(std::ranges::any_of(lines, [](const auto& line) { return line.find("CHANGEDSINCE") != std::string::npos; }));

  Poll plain(kCondstore);
  plain.deliver(10);
  plain.imap.answer = [](const std::string& line) -> Answer {
    const bool parameter = line.find("(CONDSTORE)") != std::string::npos;
    return parameter || line.find("CHANGEDSINCE") != std::string::npos ? Answer("NO not here") : std::nullopt;
  };
  CHECK(plain.run().complete());
  plain.inbox->set_flags(plain.inbox->messages[0], flagged());
  CHECK(plain.run().complete());
  CHECK(plain.flags_of(1) == flagged());
}

TEST_CASE("observe: C44 CHANGEDSINCE refused: all flags are looked at") {
  Poll poll(kCondstore);
  poll.deliver(10);
  poll.run();
  poll.imap.answer = [](const std::string& line) -> Answer {
    return line.find("CHANGEDSINCE") != std::string::npos ? Answer("BAD what is this") : std::nullopt;
  };
  poll.inbox->set_flags(poll.inbox->messages[2], flagged());
  CHECK(poll.run().complete());
  CHECK(poll.flags_of(3) == flagged());
}

TEST_CASE("observe: a refused list of new mail is no list, whatever the count says") {
  for (const auto* variant : {kResync, kCondstore, kNeither}) {
    CAPTURE(variant);
    Poll poll(variant);
    poll.deliver(10);
    poll.run();
    poll.inbox->expunge(mail::Uid{2});
    poll.deliver(1);  // the count is what it was
    poll.imap.answer = [](const std::string& line) -> Answer {
      const bool asks_for_new = line.find("11:*") != std::string::npos;
      return asks_for_new ? Answer("NO [SERVERBUG] not today") : std::nullopt;
    };
    const auto report = poll.run();
    CHECK_FALSE(report.complete());
    poll.imap.answer = {};
    const auto next = poll.run();
    CHECK(next.complete());
    CHECK(next.sum.delivered == 1);
  }
}

TEST_CASE(
    "observe: C45 without mod-sequences the newest flags each time, all of them at an UNSEEN that changed, and daily") {
  Poll poll(kNeither);
  poll.deliver(2500);
  poll.run();
  CHECK_FALSE(poll.sends(" 1:2500 (UID FLAGS)"));
  // A new flag on an old message that no count shows: within a day.
  poll.inbox->set_flags(poll.inbox->messages[0], flagged());
  CHECK(poll.sends("UID FETCH 501:2500 (UID FLAGS)"));
  CHECK(poll.flags_of(1).empty());
  poll.clock.now += 86'400;
  poll.run();
  CHECK(poll.flags_of(1) == flagged());
  // On a newer one: at once.
  poll.inbox->set_flags(poll.inbox->messages[2400], flagged());
  poll.run();
  CHECK(poll.flags_of(2401) == flagged());
  // An old one is read: UNSEEN tells.
  mail::FlagSet seen;
  seen.add(mail::SystemFlag::Seen);
  poll.inbox->set_flags(poll.inbox->messages[1], seen);
  poll.run();
  CHECK(poll.flags_of(2) == seen);
}

TEST_CASE("observe: C46 LIST-STATUS leaves one mailbox out, and STATUS of one is refused") {
  Poll poll(kNeither);
  poll.deliver(3);
  auto& other = poll.server.mailboxes.emplace_back();
  other.name = "Other";
  other.deliver("Subject: o\r\n\r\no\r\n", {}, 1'700'000'000);
  poll.server.mailboxes.emplace_back().name = "Bad";
  poll.imap.no_status_of = {"Other", "Bad"};
  poll.imap.answer = [](const std::string& line) -> Answer {
    return line.starts_with("STATUS \"Bad\"") ? Answer("NO [SERVERBUG] no") : std::nullopt;
  };
  const auto report = poll.run();
  CHECK(report.sum.delivered == 4);
  CHECK(report.complete());
}

TEST_CASE("observe: C46 a LIST without INBOX (Strato)") {
  Poll poll(kNeither);
  poll.deliver(3);
  poll.imap.answer = [](const std::string& line) -> Answer {
    return line.starts_with("LIST") ? Answer("OK nothing to list") : std::nullopt;
  };
  CHECK(poll.run().sum.delivered == 3);
}

TEST_CASE("observe: A31 A32 C47 UIDNEXT and HIGHESTMODSEQ go back, UIDs are given out again") {
  for (const auto* variant : kVariants) {
    CAPTURE(variant);
    Poll poll(variant);
    poll.deliver(20);
    poll.run();
    // Restored from a backup: the three newest are lost …
    for (const std::uint32_t uid : {20U, 19U, 18U}) poll.inbox->messages.pop_back(), (void)uid;
    poll.inbox->next_uid = 18;
    poll.inbox->modseq = 17;
    auto report = poll.run();
    CHECK(report.complete());
    CHECK(report.sum.gone == 3);
    // … and new ones get their UIDs.
    poll.deliver(2);
    report = poll.run();
    CHECK(report.sum.delivered == 2);
    CHECK(poll.census().files.size() == 22);
    CHECK(poll.run().sum.delivered == 0);
  }
}

TEST_CASE("observe: A32 C47 lost and given out again between two polls: both messages are kept") {
  for (const auto* variant : kVariants) {
    CAPTURE(variant);
    Poll poll(variant);
    poll.deliver(20);
    poll.run();
    for (int i = 0; i < 3; ++i) poll.inbox->messages.pop_back();
    poll.inbox->next_uid = 18;
    poll.inbox->modseq = 17;
    poll.deliver(3);  // UIDNEXT and EXISTS are what they were
    poll.clock.now += 86'400;
    const auto report = poll.run();
    CHECK(report.sum.delivered == 3);
    CHECK(poll.census().files.size() == 23);
    CHECK(poll.run().sum.delivered == 0);
  }
}

TEST_CASE("observe: A9 UIDVALIDITY 0, absent, long, or another one each session: once each, nothing is lost") {
  for (const auto* validity : {"0", "", "1666390893380", "99999999999999999999"}) {
    CAPTURE(validity);
    Poll poll(kNeither);
    poll.inbox->validity_as = validity;
    poll.deliver(10);
    CHECK(poll.run().sum.delivered == 10);
    poll.deliver(1);
    CHECK(poll.run().sum.delivered == 1);
    CHECK(poll.run().complete());
    CHECK(poll.census().files.size() == 11);
  }
  Poll poll(kNeither);
  poll.deliver(10);
  for (int session = 1; session <= 4; ++session) {
    poll.inbox->validity_as = std::to_string(session * 100);
    const auto report = poll.run();
    CHECK(report.sum.delivered == (session == 1 ? 10 : 0));
    CHECK(report.complete());
    CHECK(poll.census().files.size() == 10);
  }
}

TEST_CASE("observe: A33 a gap of UIDs that nothing fills is no news") {
  Poll poll(kNeither);
  poll.deliver(10);
  poll.inbox->next_uid += 420'000;
  CHECK(poll.run().complete());
  const auto lines = poll.imap.lines.size();
  CHECK(poll.run().complete());
  CHECK(poll.imap.lines.size() - lines <= 9);
  poll.deliver(1);
  CHECK(poll.run().sum.delivered == 1);
}

TEST_CASE("observe: EMAILID and MAILBOXID are in the ledger") {
  Poll poll("IMAP4rev1 ENABLE ESEARCH LIST-EXTENDED LIST-STATUS CONDSTORE OBJECTID");
  poll.deliver(1);
  poll.inbox->id = "F2212ea87-6097-4256-9d51-71338625";
  poll.inbox->messages[0].email_id = "M6d99ac3275bb4e";
  poll.run();
  CHECK(poll.census().rows.at(0).row.email_id == "M6d99ac3275bb4e");
  CHECK(poll.census().mailboxes.at(0).mailbox_id == poll.inbox->id);
}

// Round trips after login, counted by the client.
std::uint64_t cost_of_a_poll(Poll& poll) {
  client::ImapClient* counted = nullptr;
  std::uint64_t before = 0;
  std::uint64_t cost = 0;
  const auto plain = poll.connect;
  class Counting final : public sync::Source {
   public:
    Counting(std::unique_ptr<sync::Source> source, std::function<void()> on_end)
        : source_(std::move(source)), on_end_(std::move(on_end)) {}
    ~Counting() override { on_end_(); }
    Result<std::vector<sync::SourceMailbox>> mailboxes() override { return source_->mailboxes(); }
    Result<std::vector<sync::MailboxView>> observe(std::span<const sync::ObserveRequest> r) override {
      return source_->observe(r);
    }
    Result<sync::UidSet> probe(const sync::FetchQueue::Mailbox& m) override { return source_->probe(m); }
    Result<std::vector<sync::Headers>> headers(const sync::FetchQueue::Mailbox& m) override {
      return source_->headers(m);
    }
    Done fetch(sync::FetchQueue& q, sync::Receiver& r) override { return source_->fetch(q, r); }

   private:
    std::unique_ptr<sync::Source> source_;
    std::function<void()> on_end_;
  };
  poll.connect = [&]() -> Result<std::unique_ptr<sync::Source>> {
    auto source = plain();
    if (!source) return source.error();
    counted = &dynamic_cast<collector::ImapSource&>(**source).client();
    before = counted->round_trips();
    return std::unique_ptr<sync::Source>(
        std::make_unique<Counting>(*std::move(source), [&] { cost += counted->round_trips() - before; }));
  };
  poll.last = poll.run();
  poll.connect = plain;
  CHECK(poll.last.complete());
  CHECK(poll.last.sum.delivered == 0);
  return cost;
}

TEST_CASE("observe: C46 a poll without news of 200 mailboxes costs at most 3 round trips after login") {
  for (const std::string variant : kVariants) {
    CAPTURE(variant);
    Poll poll(variant.c_str());
    // Without mod-sequences every mailbox is opened, by three commands each; what does not fit into the pipeline
    // streams, but each filling of it counts here.
    poll.options.pipeline = variant.find("CONDSTORE") != std::string::npos ? 128 : 1024;
    for (int i = 0; i < 199; ++i) {
      auto& box = poll.server.mailboxes.emplace_back();
      box.name = "box" + std::to_string(i);
      box.deliver("Subject: " + std::to_string(i) + "\r\n\r\nx\r\n", {}, 1'700'000'000);
    }
    CHECK(poll.run().complete());
    const auto trips = cost_of_a_poll(poll);
    MESSAGE(trips << " round trips: 200 mailboxes, " << variant);
    CHECK(trips <= 3);
    CHECK(trips >= 1);
  }
}

// All but the first message were delivered long ago: rows without files, which are of no interest to a poll.
void deliver_by_hand(Poll& poll, std::uint32_t many) {
  poll.deliver(1);
  CHECK(poll.run().complete());
  for (std::uint32_t uid = 2; uid <= many; ++uid) poll.inbox->deliver("x", {}, 1'700'000'000);
  auto& ledger = poll.state.ledger();
  auto row = ledger.mailboxes(ledger.accounts()->front().id)->front();
  auto transaction = ledger.begin();
  store::MessageRow message;
  message.state = store::MessageState::Delivered;
  for (message.uid.value = 2; message.uid.value <= many; ++message.uid.value)
    REQUIRE(transaction->put(row.id, row.generation, message));
  row = *transaction->mailbox(row.id);
  row.floor = mail::Uid{many + 1};
  row.exists_seen = row.unseen_seen = many;
  row.uid_next_seen = poll.inbox->next_uid;
  if (poll.server.traits.condstore) row.modseq = mail::ModSeq{poll.inbox->modseq};
  REQUIRE(transaction->update_mailbox(row));
  REQUIRE(transaction->commit());
}

TEST_CASE("observe: a poll without news of one mailbox of 200,000 messages costs at most 3 round trips after login") {
  for (const std::string variant : kVariants) {
    CAPTURE(variant);
    Poll poll(variant.c_str());
    poll.options.pipeline = 128;
    deliver_by_hand(poll, 200'000);
    const auto trips = cost_of_a_poll(poll);
    MESSAGE(trips << " round trips: 200,000 messages, " << variant);
    CHECK(trips <= 3);
    CHECK(poll.last.sum.already == 200'000);
  }
}

}  // namespace
}  // namespace mailhaul::test
