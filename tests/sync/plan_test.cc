// The planner's table, one line a decision, and what must hold of every decision there is. The notation is told in
// plan_notation.h.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>

#include "collector/sync/key.h"
#include "tests/sync/plan_notation.h"

namespace mailhaul::sync {
namespace {

constexpr std::array kDeliveries = std::to_array<Decision>({
    // nothing known, nothing there
    {"present", "none", "nothing", "deliver 0 new"},
    {"present flags=S", "none", "nothing", "deliver 0 new"},
    // the state was lost, the bytes were not
    {"present", "none", "0:S", "adopt 0 new"},
    // the intent, before and after the effect
    {"present", "listed", "nothing", "deliver 0"},
    {"present", "listed", "0", "adopt 0"},
    // another message's file under a reused UID does not count
    {"present", "none", "1", "deliver 0 new"},
    {"present", "listed reuse=1", "0", "deliver 1"},
    {"present", "listed reuse=1", "1", "adopt 1"},
    {"present", "listed reuse=1", "0 1", "adopt 1"},
    // failed: when its next try is due (now is 1000)
    {"present", "failed try=1001", "nothing", ""},
    {"present", "failed try=1000", "nothing", "deliver 0"},
    {"present", "failed try=0", "nothing", "deliver 0"},
    {"present", "failed try=1001", "0", "adopt 0"},
    {"present", "failed try=999 reuse=2", "nothing", "deliver 2"},
    // gone, and the server shows it again
    {"present", "gone", "nothing", "deliver 0"},
    {"present", "gone", "0", "adopt 0"},
    // delivered: the owner removed it, it stays removed
    {"present", "delivered at=0", "nothing", ""},
    {"present flags=-", "delivered at=0", "nothing", ""},
    {"present", "delivered", "nothing", ""},
    // an old generation's row says nothing here
    {"present", "orphan", "nothing", ""},
});

constexpr std::array kVanishings = std::to_array<Decision>({
    {"vanished", "none", "nothing", ""},
    {"vanished", "listed", "nothing", "gone"},
    {"vanished", "listed", "0", "gone"},
    {"vanished", "excluded reason=big", "nothing", "gone"},
    {"vanished", "failed try=1001", "nothing", "gone"},
    {"vanished", "delivered at=0", "0", "vanished"},
    {"vanished", "delivered at=0", "nothing", "vanished"},
    {"vanished", "gone", "nothing", ""},
    {"vanished", "vanished at=0", "0", ""},
    {"vanished", "orphan", "0", ""},
    // silence is never evidence
    {"silent", "none", "0", ""},
    {"silent", "listed", "nothing", ""},
    {"silent", "failed try=0", "nothing", ""},
    {"silent", "delivered at=0", "0", ""},
    {"silent", "delivered base=S at=0", "0:F", ""},
    {"silent", "vanished at=0", "0", ""},
    // vanished, and the server shows it again
    {"present", "vanished at=0", "0", "revive"},
    {"present", "vanished at=0", "nothing", "revive"},
    {"present flags=S", "vanished base=S at=0", "0:S", "revive"},
    {"present flags=S", "vanished at=0", "0", "revive; store 0 S agree S"},
    {"present flags=S", "vanished at=0", "nothing", "revive; agree S"},
});

constexpr std::array kFlags = std::to_array<Decision>({
    // unknown flags are no flags
    {"present", "delivered base=S at=0", "0:S", ""},
    {"present", "delivered base=S next=F at=0", "0:S", ""},
    // nothing changed, whatever the owner did
    {"present flags=S", "delivered base=S at=0", "0:S", ""},
    {"present flags=S", "delivered base=S at=0", "0:FS", ""},
    {"present flags=S", "delivered base=S at=0", "0:F", ""},
    {"present flags=-", "delivered base=- at=0", "0:R", ""},
    // the source added, dropped, both
    {"present flags=FS", "delivered base=S at=0", "0:S", "store 0 FS agree FS"},
    {"present flags=-", "delivered base=S at=0", "0:S", "store 0 - agree -"},
    {"present flags=F", "delivered base=S at=0", "0:S", "store 0 F agree F"},
    // the owner did the same before: stored all the same, as that makes it durable
    {"present flags=FS", "delivered base=S at=0", "0:FS", "store 0 FS agree FS"},
    {"present flags=-", "delivered base=S at=0", "0:-", "store 0 - agree -"},
    // both changed, different flags: flag by flag, never the whole set
    {"present flags=FS", "delivered base=S at=0", "0:RS", "store 0 FRS agree FS"},
    {"present flags=FS", "delivered base=S at=0", "0:R", "store 0 FR agree FS"},
    {"present flags=-", "delivered base=FS at=0", "0:FRT", "store 0 RT agree -"},
    {"present flags=DFRST", "delivered base=- at=0", "0:-", "store 0 DFRST agree DFRST"},
    // keywords, without regard to case
    {"present flags=S+work", "delivered base=S at=0", "0:S", "store 0 S+work agree S+work"},
    {"present flags=S", "delivered base=S+work at=0", "0:S+work+mine", "store 0 S+mine agree S"},
    {"present flags=S+Work", "delivered base=S+work at=0", "0:S+work", ""},
    {"present flags=+$Junk", "delivered base=- at=0", "0:+$junk", "store 0 +$junk agree +$Junk"},
    {"present flags=+a+b", "delivered base=+a at=0", "0:+c", "store 0 +b+c agree +a+b"},
    // the copy lies under the key it was delivered with
    {"present flags=S", "delivered base=- reuse=3 at=3", "3:-", "store 3 S agree S"},
    {"present flags=S", "delivered base=- reuse=0 at=3", "0:- 3:-", "store 3 S agree S"},
    // the owner removed the file: what the source says is remembered, nothing is written
    {"present flags=S", "delivered base=- at=0", "nothing", "agree S"},
    {"present flags=S", "delivered base=S at=0", "nothing", ""},
    {"present flags=S", "delivered base=S next=S at=0", "nothing", "agree S"},
});

// The run was cut off between the intent (next) and its settling; the copy shows which of the two holds.
constexpr std::array kCutOff = std::to_array<Decision>({
    // before the rename
    {"present flags=S", "delivered base=- next=S at=0", "0:-", "store 0 S agree S"},
    {"present flags=-", "delivered base=S next=- at=0", "0:S", "store 0 - agree -"},
    // after it; whether that was made durable is not known, so it is stored once more
    {"present flags=S", "delivered base=- next=S at=0", "0:S", "store 0 S agree S"},
    {"present flags=-", "delivered base=S next=- at=0", "0:-", "store 0 - agree -"},
    // after it, and the source has changed its mind
    {"present flags=-", "delivered base=- next=S at=0", "0:S", "store 0 - agree -"},
    {"present flags=S", "delivered base=S next=- at=0", "0:-", "store 0 S agree S"},
    // before it, likewise: nothing to do, but the intent must go
    {"present flags=-", "delivered base=- next=S at=0", "0:-", "store 0 - agree -"},
    {"present flags=S", "delivered base=S next=- at=0", "0:S", "store 0 S agree S"},
    // what the owner set meanwhile is not taken for ours
    {"present flags=S", "delivered base=- next=S at=0", "0:F", "store 0 FS agree S"},
    {"present flags=S", "delivered base=- next=S at=0", "0:FS", "store 0 FS agree S"},
    {"present flags=-", "delivered base=S next=- at=0", "0:FS", "store 0 F agree -"},
    // flag by flag: what old and next base share needs no witness, so its owner may have dropped it
    {"present flags=RS", "delivered base=S next=RS at=0", "0:-", "store 0 R agree RS"},
    {"present flags=RS", "delivered base=S next=RS at=0", "0:R", "store 0 R agree RS"},
    {"present flags=R", "delivered base=S next=R at=0", "0:S", "store 0 R agree R"},
    {"present flags=R", "delivered base=S next=R at=0", "0:R", "store 0 R agree R"},
    {"present flags=R+work", "delivered base=S next=R+work at=0", "0:R", "store 0 R+work agree R+work"},
    {"present flags=+work", "delivered base=- next=+work at=0", "0:+Work", "store 0 +Work agree +work"},
});

TEST_CASE("plan: deliveries and adoptions") { hold(kDeliveries); }
TEST_CASE("plan: what vanished, and what only was not mentioned") { hold(kVanishings); }
TEST_CASE("plan: flags go one way, flag by flag") { hold(kFlags); }
TEST_CASE("plan: flags after a run that was cut off") { hold(kCutOff); }

TEST_CASE("plan: a policy excludes with a reason, and judges again each time") {
  const Policy small{100, 500};
  constexpr auto kTable = std::to_array<Decision>({
      {"present size=100 date=500", "none", "nothing", "deliver 0 new"},
      {"present size=101 date=500", "none", "nothing", "exclude: larger than 100 octets"},
      {"present size=100 date=499", "none", "nothing", "exclude: older than the date asked for"},
      {"present size=101 date=499", "none", "nothing", "exclude: larger than 100 octets"},
      // what is not known excludes nothing
      {"present", "none", "nothing", "deliver 0 new"},
      {"present size=7", "none", "nothing", "deliver 0 new"},
      // the same judgement is not written twice; another reason is
      {"present size=101", "excluded reason=larger_than_100_octets", "nothing", ""},
      {"present size=101", "excluded reason=larger_than_50_octets", "nothing", "exclude: larger than 100 octets"},
      {"present date=3", "excluded reason=larger_than_100_octets", "nothing", "exclude: older than the date asked for"},
      // today's policy takes it
      {"present size=99 date=600", "excluded reason=larger_than_50_octets", "nothing", "deliver 0"},
      {"present", "excluded reason=larger_than_50_octets", "nothing", "deliver 0"},
      // intents and failures are judged again, too
      {"present size=101", "listed", "nothing", "exclude: larger than 100 octets"},
      {"present size=101", "failed try=0", "nothing", "exclude: larger than 100 octets"},
      {"present size=101", "gone", "nothing", "exclude: larger than 100 octets"},
      // a message that is kept in another mailbox of the source is not kept here, until it is no longer there
      {"present elsewhere=INBOX", "none", "nothing", "exclude: kept in INBOX"},
      {"present elsewhere=INBOX", "listed", "nothing", "exclude: kept in INBOX"},
      {"present elsewhere=INBOX", "failed try=0", "nothing", "exclude: kept in INBOX"},
      {"present elsewhere=INBOX", "excluded reason=kept_in_INBOX", "nothing", ""},
      {"present elsewhere=Work", "excluded reason=kept_in_INBOX", "nothing", "exclude: kept in Work"},
      {"present", "excluded reason=kept_in_INBOX", "nothing", "deliver 0"},
      {"present elsewhere=INBOX", "listed", "0", "adopt 0"},
      {"present elsewhere=INBOX", "delivered at=0", "0", ""},
      // what is there, is there
      {"present size=101", "none", "0", "adopt 0 new"},
      {"present size=101", "excluded reason=larger_than_100_octets", "0", "adopt 0"},
      {"present size=101 flags=S", "delivered base=- at=0", "0:-", "store 0 S agree S"},
      {"present size=101", "delivered at=0", "nothing", ""},
  });
  hold(kTable, small);
  CHECK(small.needs_descriptors());
  CHECK_FALSE(Policy{}.needs_descriptors());
}

constexpr std::array kSources{"silent",          "vanished",        "vanished allowed", "present",
                              "present flags=-", "present flags=S", "present flags=FS", "present flags=S size=200"};
constexpr std::array kRows{"none",
                           "listed",
                           "listed reuse=1",
                           "excluded reason=x",
                           "failed try=999",
                           "failed try=1001",
                           "gone",
                           "delivered at=0",
                           "delivered base=S at=0",
                           "delivered base=S next=F at=0",
                           "delivered base=- next=S at=0",
                           "delivered base=FS next=FS at=0",
                           "delivered reuse=1 base=R at=1",
                           "vanished base=S at=0",
                           "vanished base=S next=R at=0",
                           "vanished base=S+$SourceGone at=0 since=999",
                           "vanished base=S next=S+$SourceGone at=0 since=1",
                           "vanished base=S at=0 since=1 removal=meant",
                           "vanished base=S at=0 since=1 removal=owner",
                           "vanished since=1 removal=done",
                           "orphan base=S at=0"};
constexpr std::array kCopies{"nothing", "0", "0:S", "0:F+$SourceGone", "0:FRS", "1:S", "0:S 1:F"};

template <class F>
void each_situation(F&& visit) {
  for (const auto* source : kSources)
    for (const auto* row : kRows)
      for (const auto* copies : kCopies)
        for (const auto& policy : {Policy{}, Policy{100, 0}, policy_of(OnSourceDelete::Flag),
                                   policy_of(OnSourceDelete::Remove, 100), policy_of(OnSourceDelete::Remove, 0)}) {
          CAPTURE(source);
          CAPTURE(row);
          CAPTURE(copies);
          Situation at;
          at.policy = policy;
          at.set_source(source);
          at.set_row(row);
          at.set_copies(copies);
          visit(at);
        }
}

TEST_CASE("plan: planning again after the plan was executed yields nothing") {
  int situations = 0;
  each_situation([&](Situation& at) {
    ++situations;
    const auto first = at.decide();
    CAPTURE(to_text(first));
    CHECK(to_text(at.decide()) == to_text(first));  // the same arguments, the same plan
    execute(first, at);
    CHECK(to_text(at.decide()).empty());
  });
  CHECK(situations == static_cast<int>(5 * kSources.size() * kRows.size() * kCopies.size()));
}

TEST_CASE("plan: every situation keeps the rules that have no exceptions") {
  each_situation([&](Situation& at) {
    const auto before = at;
    bool relisted = false;
    for (const auto& action : at.decide().actions) {
      relisted = relisted || std::holds_alternative<Relist>(action);
      const auto* store = std::get_if<StoreFlags>(&action);
      const bool marks = store && store->base.has(kSourceGone);
      const bool touches =
          marks || std::holds_alternative<Remove>(action) || std::holds_alternative<NoteRemoved>(action);
      if (touches) CHECK((at.source.removals && at.policy.on_source_delete != OnSourceDelete::Keep));
      if (std::holds_alternative<Remove>(action)) CHECK(at.source.vanished.contains(kSeven));
      const bool delivery = std::holds_alternative<Deliver>(action);
      if (delivery) CHECK(std::ranges::find(at.copies, std::get<Deliver>(action).key, &Copy::key) == at.copies.end());
      if (at.source.messages.empty())
        CHECK((std::holds_alternative<MarkGone>(action) || std::holds_alternative<MarkVanished>(action) || touches));
      if (at.source.vanished.empty())
        CHECK_FALSE((std::holds_alternative<MarkGone>(action) || std::holds_alternative<MarkVanished>(action)));
      // Once delivered, never again, unless we removed it.
      if (!at.ledger.placements.empty() && !relisted) CHECK_FALSE(delivery);
      if (store) CHECK(std::ranges::find(at.copies, store->key, &Copy::key) != at.copies.end());
      if (std::holds_alternative<SettleFlags>(action))  // only where there is no copy to ask
        for (const auto& placement : at.ledger.placements)
          CHECK(std::ranges::find(at.copies, placement.key, &Copy::key) == at.copies.end());
    }
    execute(at.decide(), at);
    const bool allowed = at.source.removals && at.policy.on_source_delete == OnSourceDelete::Remove;
    CHECK(at.copies.size() + (allowed ? 1 : 0) >= before.copies.size());
  });
}

TEST_CASE("merged: of each flag by itself, all eight cases") {
  struct Case {
    bool base, source, copy, wanted;
  };
  constexpr std::array<Case, 8> kTruth{{{false, false, false, false},
                                        {false, false, true, true},   // the owner set it
                                        {false, true, false, true},   // the source set it
                                        {false, true, true, true},    // both did
                                        {true, false, false, false},  // both dropped it
                                        {true, false, true, false},   // the source dropped it
                                        {true, true, false, false},   // the owner dropped it
                                        {true, true, true, true}}};
  constexpr std::array<const char*, 3> kNames{"\\Seen", "\\Deleted", "$Work"};
  for (const auto& a : kTruth)
    for (const auto& b : kTruth)
      for (const auto& c : kTruth) {
        FlagSet base, source, copy, wanted;
        const std::array<Case, 3> cases{a, b, c};
        for (std::size_t i = 0; i < cases.size(); ++i) {
          if (cases[i].base) base.add(kNames[i]);
          if (cases[i].source) source.add(kNames[i]);
          if (cases[i].copy) copy.add(kNames[i]);
          if (cases[i].wanted) wanted.add(kNames[i]);
        }
        CHECK(merged(base, source, copy) == wanted);
        CHECK(merged(source, source, merged(base, source, copy)) == wanted);
      }
}

TEST_CASE("plan: a window of many UIDs, each by its own row and copy") {
  Situation at;
  for (std::uint32_t uid = 1; uid <= 6; ++uid) at.source.messages.push_back({Uid{uid}, FlagSet{}, {}, {}});
  const auto row = [&](std::uint32_t uid, store::MessageState state) {
    store::MessageRow r;
    r.uid = Uid{uid};
    r.state = state;
    at.ledger.rows.push_back(r);
  };
  row(2, store::MessageState::Listed);
  row(3, store::MessageState::Delivered);
  row(5, store::MessageState::Failed);
  row(8, store::MessageState::Delivered);
  at.ledger.placements = {{Uid{3}, "", key_of(Uid{3}, 0)}, {Uid{8}, "", key_of(Uid{8}, 0)}};
  at.source.vanished = UidSet({{8, 9}});
  at.copies = {{key_of(Uid{3}, 0), {}}, {key_of(Uid{4}, 0), {}}, {key_of(Uid{8}, 0), {}}};
  const auto actions = at.decide().actions;
  REQUIRE(actions.size() == 6);
  CHECK(std::get<Deliver>(actions[0]).uid == Uid{1});
  CHECK(std::get<Deliver>(actions[1]).uid == Uid{2});
  CHECK_FALSE(std::get<Deliver>(actions[1]).new_row);
  CHECK(std::get<Adopt>(actions[2]).uid == Uid{4});
  CHECK(std::get<Deliver>(actions[3]).uid == Uid{5});
  CHECK(std::get<Deliver>(actions[4]).uid == Uid{6});
  CHECK(std::get<MarkVanished>(actions[5]).uid == Uid{8});
}

TEST_CASE("keys of interest: by identity until delivered, then by placement") {
  const auto keys = [](const char* source, const char* row) {
    Situation at;
    at.set_source(source);
    at.set_row(row);
    return keys_of_interest(at.source, at.ledger, key_of);
  };
  using Keys = std::vector<DeliveryKey>;
  CHECK(keys("present", "none") == Keys{key_of(kSeven, 0)});
  CHECK(keys("present", "listed reuse=2") == Keys{key_of(kSeven, 2)});
  CHECK(keys("present", "failed") == Keys{key_of(kSeven, 0)});
  CHECK(keys("present", "gone") == Keys{key_of(kSeven, 0)});
  CHECK(keys("present", "excluded") == Keys{key_of(kSeven, 0)});
  CHECK(keys("present flags=S", "delivered at=4") == Keys{key_of(kSeven, 4)});
  CHECK(keys("present flags=S", "vanished at=4") == Keys{key_of(kSeven, 4)});
  CHECK(keys("present", "delivered at=4").empty());                 // no question about its flags: no look
  CHECK(keys("present flags=S", "delivered base=S at=4").empty());  // nor if they are as agreed
  CHECK(keys("present", "vanished at=4") == Keys{key_of(kSeven, 4)});
  CHECK(keys("present", "vanished removal=done") == Keys{key_of(kSeven, 0)});
  CHECK(keys("present", "vanished at=4 removal=meant") == Keys{key_of(kSeven, 0), key_of(kSeven, 4)});
  CHECK(keys("vanished", "delivered at=4").empty());
  CHECK(keys("vanished allowed", "delivered at=4") == Keys{key_of(kSeven, 4)});
  Situation at;
  for (std::uint32_t uid = 1; uid <= 3; ++uid) at.source.messages.push_back({Uid{4 - uid}, {}, {}, {}});
  const auto sorted = keys_of_interest(at.source, at.ledger, key_of);
  CHECK(std::ranges::is_sorted(sorted));
  CHECK(sorted.size() == 3);
}

TEST_CASE("key: every part of an identity makes another key, and none runs into the next") {
  const std::string uuid = "7f3a2c1e-0000-4000-8000-0123456789ab";
  const auto key = delivery_key(uuid, "INBOX", UidValidity{1}, Uid{7}, 0);
  // Written down once: it must never change, or every Maildir out there is downloaded again.
  CHECK(store::to_text(key) == "z3gm2mrl7gw575fcxtt2lmcjrq");
  const std::vector<DeliveryKey> all{
      key,
      delivery_key("7f3a2c1e-0000-4000-8000-0123456789ac", "INBOX", UidValidity{1}, Uid{7}, 0),
      delivery_key(uuid, "INBOX2", UidValidity{1}, Uid{7}, 0),
      delivery_key(uuid, "inbox", UidValidity{1}, Uid{7}, 0),
      delivery_key(uuid, "INBOX", UidValidity{2}, Uid{7}, 0),
      delivery_key(uuid, "INBOX", std::nullopt, Uid{7}, 0),
      delivery_key(uuid, "INBOX", UidValidity{17}, Uid{7}, 0),
      delivery_key(uuid, "INBOX", UidValidity{1}, Uid{77}, 0),
      delivery_key(uuid, "INBOX", UidValidity{1}, Uid{70}, 0),
      delivery_key(uuid, "INBOX", UidValidity{1}, Uid{7}, 1)};
  for (std::size_t i = 0; i < all.size(); ++i)
    for (std::size_t j = 0; j < i; ++j) CHECK(all[i] != all[j]);
  CHECK(key_maker(uuid, "INBOX", UidValidity{1})(Uid{7}, 0) == key);
}

}  // namespace
}  // namespace mailhaul::sync
