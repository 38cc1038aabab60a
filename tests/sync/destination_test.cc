// One suite for every destination: what the engine relies on, held on a Maildir and on an IMAP account.
#include <doctest/doctest.h>

#include "store/maildir.h"
#include "tests/sync/account_scene.h"

namespace mailhaul::test {
namespace {

using store::DeliveryKey;

DeliveryKey key_of(int n) {
  DeliveryKey key{};
  key[0] = static_cast<std::uint8_t>(n);
  return key;
}

struct MaildirPlace {
  MaildirPlace() { (void)fs.make_directories("/home"); }
  std::unique_ptr<store::Destination> open() {
    store::Maildir::Options options;
    options.clock = &clock;
    options.sync_threads = 0;
    auto maildir = store::Maildir::open(fs, kRoot, options);
    REQUIRE_MESSAGE(maildir, maildir.error().what);
    return *std::move(maildir);
  }
  TestClock clock;
  MemoryFileSystem fs{MemoryFileSystem::Options{}};
};

struct AccountPlace {
  std::unique_ptr<store::Destination> open() {
    auto destination = collector::ImapDestination::open(scene.how(), scene.book);
    REQUIRE_MESSAGE(destination, destination.error().what);
    return *std::move(destination);
  }
  AccountScene scene;
};

struct AccountWithoutUids : AccountPlace {
  AccountWithoutUids() { scene.account.capabilities = "IMAP4rev1"; }
};

template <class Place>
struct Stage {
  Place place;
  std::unique_ptr<store::Destination> at = place.open();
  std::string inbox = at->directory_name(std::vector<std::string>{"INBOX"});

  void new_life() {
    at.reset();
    at = place.open();
  }
  store::Delivery message(int n, const std::string& wire, const mail::FlagSet& set = {}, const std::string& box = {}) {
    auto incoming = at->receive(box.empty() ? inbox : box);
    REQUIRE_MESSAGE(incoming, incoming.error().what);
    for (std::size_t i = 0; i < wire.size(); i += 1000) REQUIRE(incoming->write(wire.substr(i, 1000)));
    auto received = incoming->finish();
    REQUIRE(received);
    CHECK(received->wire_octets == wire.size());
    CHECK(received->sha256 == mail::Sha256::of(wire));
    return {*std::move(incoming), key_of(n), kDate + n, set};
  }
  std::vector<std::string> deliver(std::vector<std::pair<std::string, store::Delivery>> batch) {
    auto names = at->deliver(batch);
    REQUIRE_MESSAGE(names, names.error().what);
    return *names;
  }
  std::string put(int n, const std::string& wire, const mail::FlagSet& set = {}) {
    std::vector<std::pair<std::string, store::Delivery>> batch;
    batch.emplace_back(inbox, message(n, wire, set));
    return deliver(std::move(batch)).front();
  }
  std::vector<store::FoundCopy> look(std::initializer_list<int> numbers) {
    std::vector<DeliveryKey> keys;
    for (const int n : numbers) keys.push_back(key_of(n));
    auto found = at->look(inbox, keys);
    REQUIRE_MESSAGE(found, found.error().what);
    return *found;
  }
  std::string text(const store::FoundCopy& copy) {
    std::string out;
    const auto read = at->read(inbox, copy, store::StoredForm::Lf, [&](std::string_view chunk) {
      out += chunk;
      return true;
    });
    REQUIRE_MESSAGE(read, read.error().what);
    return out;
  }
};

}  // namespace

TEST_CASE_TEMPLATE("destination: what was delivered is found under its key, with its octets, date and flags", Place,
                   MaildirPlace, AccountPlace, AccountWithoutUids) {
  Stage<Place> stage;
  REQUIRE(stage.at->create(stage.inbox));
  CHECK(stage.look({1, 2}).empty());
  CHECK_FALSE(stage.put(1, letter("a"), flags({"\\Seen", "$Junk"})).empty());
  CHECK_FALSE(stage.put(2, letter("b")).empty());
  for (const bool again : {false, true}) {
    if (again) stage.new_life();
    const auto found = stage.look({1, 2, 3});
    REQUIRE(found.size() == 2);
    CHECK(found[0].name.key == key_of(1));
    CHECK(found[0].name.seconds == kDate + 1);
    CHECK(stage.text(found[0]) == letter("a"));
    CHECK(stage.text(found[1]) == letter("b"));
    CHECK(*stage.at->flags_of(stage.inbox, found[0]) == flags({"\\Seen", "$Junk"}));
    CHECK(*stage.at->flags_of(stage.inbox, found[1]) == flags({}));
  }
}

TEST_CASE_TEMPLATE("destination: no key has two copies, in one batch, in two, in another life", Place, MaildirPlace,
                   AccountPlace, AccountWithoutUids) {
  Stage<Place> stage;
  REQUIRE(stage.at->create(stage.inbox));
  std::vector<std::pair<std::string, store::Delivery>> batch;
  for (const int n : {1, 2, 1}) batch.emplace_back(stage.inbox, stage.message(n, letter("a")));
  const auto names = stage.deliver(std::move(batch));
  CHECK_FALSE(names[0].empty());
  CHECK_FALSE(names[1].empty());
  CHECK(names[2].empty());
  CHECK(stage.put(1, letter("a")).empty());
  stage.new_life();
  CHECK(stage.put(2, letter("a")).empty());
  CHECK(stage.look({1, 2}).size() == 2);
  if constexpr (!std::is_same_v<Place, MaildirPlace>)
    CHECK(stage.place.scene.account.mailboxes["INBOX"].messages.size() == 2);
}

TEST_CASE_TEMPLATE("destination: a message that is not delivered leaves no trace", Place, MaildirPlace, AccountPlace) {
  Stage<Place> stage;
  REQUIRE(stage.at->create(stage.inbox));
  {
    const auto dropped = stage.message(1, letter("a"));
    auto half = stage.at->receive(stage.inbox);
    REQUIRE(half->write("Subject: "));
  }
  stage.new_life();
  CHECK(stage.look({1}).empty());
}

TEST_CASE_TEMPLATE("destination: flags are changed one by one, copies removed alone", Place, MaildirPlace,
                   AccountPlace) {
  Stage<Place> stage;
  REQUIRE(stage.at->create(stage.inbox));
  stage.put(1, letter("a"), flags({"\\Seen"}));
  stage.put(2, letter("b"), flags({"\\Flagged", "mine"}));
  auto found = stage.look({1, 2});
  REQUIRE(stage.at->set_flags(stage.inbox, found[0], flags({"\\Answered", "todo"})));
  REQUIRE(stage.at->sync_directory(stage.inbox));
  found = stage.look({1, 2});
  CHECK(*stage.at->flags_of(stage.inbox, found[0]) == flags({"\\Answered", "todo"}));
  CHECK(*stage.at->flags_of(stage.inbox, found[1]) == flags({"\\Flagged", "mine"}));
  REQUIRE(stage.at->remove(stage.inbox, found[0]));
  REQUIRE(stage.at->sync_directory(stage.inbox));
  CHECK(stage.look({1, 2}).size() == 1);
  // Its owner, or a policy, has removed it: under the same key it can come once more.
  CHECK_FALSE(stage.put(1, letter("a")).empty());
  CHECK(stage.look({1, 2}).size() == 2);
}

TEST_CASE_TEMPLATE("destination: names come back, hostile ones stay apart, own texts are kept", Place, MaildirPlace,
                   AccountPlace) {
  Stage<Place> stage;
  const std::vector<std::vector<std::string>> all{{"INBOX"}, {"Sent"}, {"Архив", "2024"}, {"a", "b c"}};
  std::set<std::string> names;
  for (const auto& components : all) {
    const auto name = stage.at->directory_name(components);
    CHECK(names.insert(name).second);
    CHECK(stage.at->components_of(name) == components);
    REQUIRE(stage.at->create(name));
    REQUIRE(stage.at->create(name));
  }
  CHECK(names.insert(stage.at->directory_name(std::vector<std::string>{"a/b", "..", ""})).second);
  CHECK_FALSE(stage.at->read_own("accounts")->has_value());
  REQUIRE(stage.at->write_own("accounts", "one"));
  REQUIRE(stage.at->write_own("accounts", "two"));
  stage.new_life();
  CHECK(**stage.at->read_own("accounts") == "two");
}

}  // namespace mailhaul::test
