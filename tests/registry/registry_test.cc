#include "store/registry/registry.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "store/registry/secrets.h"
#include "tests/support/scratch.h"

namespace mailhaul::registry {
namespace {

using test::good;
using test::Scratch;

TEST_CASE("rows come back as they were put, also after the file was closed") {
  Scratch scratch;
  const auto path = scratch.path() + "/service.db";
  Id account = 0, job = 0;
  {
    auto registry = good(Registry::open(path));
    CHECK(good(registry->add_first({0, "ann", "hash", Role::Owner, 5})) == 1);
    CHECK(!good(registry->add_first({0, "bob", "hash", Role::Owner, 5})));
    CHECK(!registry->add(UserRow{0, "ANN", "hash", Role::Viewer, 5}));  // names differ by more than case
    const auto destination = good(registry->add(DestinationRow{0, 1, "home", "/mail/ann", "utf7", 6, 0, ""}));
    AccountRow row;
    row.owner = 1;
    row.name = "Old mail";
    row.source = "imaps://ann@example.org";
    row.created = row.updated = 7;
    account = good(registry->add(row, [](Id id) -> Result<std::string> { return "sealed for " + std::to_string(id); }));
    JobRow one;
    one.owner = 1;
    one.account = account;
    one.destination = destination;
    one.policy = "{}";
    one.schedule = "{}";
    job = good(registry->add(one));
    CHECK(!registry->add(one));  // the pair is taken
    good(registry->update_job(job, [](JobRow& j) { j.error = "why"; }));
    CHECK(!good(registry->remove_destination(destination)));
    CHECK(!good(registry->remove_user(1)));
  }
  auto registry = good(Registry::open(path));
  CHECK(good(registry->account(account))->password == "sealed for " + std::to_string(account));
  CHECK(good(registry->job(job))->error == "why");
  Registry::Page page;
  page.search = "old";
  CHECK(good(registry->accounts(page)).size() == 1);
  page.search = "%";
  CHECK(good(registry->accounts(page)).empty());
  page.search.clear();
  page.owner = 2;
  CHECK(good(registry->accounts(page)).empty());
  good(registry->remove_account(account));
  CHECK(!good(registry->job(job)));
  CHECK((std::filesystem::status(path).permissions() & std::filesystem::perms::others_all) ==
        std::filesystem::perms::none);
}

TEST_CASE("the audit log is a chain that shows tampering") {
  Scratch scratch;
  const auto path = scratch.path() + "/service.db";
  {
    auto registry = good(Registry::open(path));
    for (int n = 0; n < 5; ++n) good(registry->add(AuditRow{0, n, "ann", "log in", "user 1", "done", "::1"}));
    CHECK(good(registry->audit_is_whole()));
    CHECK(good(registry->audit(0, 2)).front().id == 5);
  }
  sqlite::Database::Options how;
  auto db = good(sqlite::Database::open(path, how));
  CHECK(!db->execute("UPDATE audit SET who = 'eve' WHERE id = 3"));
  CHECK(!db->execute("DELETE FROM audit WHERE id = 3"));
  good(db->execute("DROP TRIGGER audit_is_not_edited; UPDATE audit SET who = 'eve' WHERE id = 3"));
  db.reset();
  CHECK(!good(good(Registry::open(path))->audit_is_whole()));
}

TEST_CASE("a backup is a database of its own; what exists is not written over") {
  Scratch scratch;
  auto registry = good(Registry::open(scratch.path() + "/service.db"));
  good(registry->set("name", "value"));
  good(registry->backup(scratch.path() + "/copy.db"));
  CHECK(!registry->backup(scratch.path() + "/copy.db"));
  CHECK(good(good(Registry::open(scratch.path() + "/copy.db"))->setting("name")) == "value");
}

TEST_CASE("a foreign or damaged file is refused and left alone") {
  Scratch scratch;
  const auto path = scratch.path() + "/service.db";
  std::ofstream(path) << "this is no database, and it is longer than a header of one is: " << std::string(4096, 'x');
  CHECK(!Registry::open(path));
  std::ifstream in(path);
  CHECK(std::string{std::istreambuf_iterator<char>(in), {}}.starts_with("this is no database"));
}

TEST_CASE("secrets open where they were sealed, and nowhere else") {
  Scratch scratch;
  const auto keys = scratch.path() + "/keys";
  auto box = good(SecretBox::open(keys, ""));
  const auto sealed = good(box.seal(Secret("hunter2"), "account/1/password"));
  CHECK(sealed.find("hunter2") == std::string::npos);
  CHECK(good(box.open_sealed(sealed, "account/1/password")).reveal() == "hunter2");
  CHECK(!box.open_sealed(sealed, "account/2/password"));
  auto changed = sealed;
  changed.back() = static_cast<char>(changed.back() ^ 1);
  CHECK(!box.open_sealed(changed, "account/1/password"));
  CHECK(!box.open_sealed("short", "account/1/password"));
  CHECK(good(box.seal(Secret("hunter2"), "account/1/password")) != sealed);  // a nonce of its own

  CHECK(good(good(SecretBox::open(keys, "")).open_sealed(sealed, "account/1/password")).reveal() == "hunter2");
  good(box.rotate(keys));
  CHECK(!box.current(sealed));
  CHECK(good(box.open_sealed(sealed, "account/1/password")).reveal() == "hunter2");
  good(SecretBox::remove_older(keys));
  CHECK(!good(SecretBox::open(keys, "")).open_sealed(sealed, "account/1/password"));
}

TEST_CASE("keys that are none are refused") {
  Scratch scratch;
  const auto file = scratch.path() + "/given";
  const auto opens = [&](const std::string& text) {
    std::ofstream(file, std::ios::binary | std::ios::trunc) << text;
    return static_cast<bool>(SecretBox::open(scratch.path() + "/none", file));
  };
  CHECK(opens("0123456789abcdef0123456789abcdef"));
  CHECK(opens("00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n"));
  CHECK(!opens("short"));
  CHECK(!opens(""));
  CHECK(!opens(std::string(32, 'a')));
  CHECK(!opens(std::string(64, 'x')));
  CHECK(!SecretBox::open(scratch.path() + "/none", scratch.path() + "/absent"));
}

TEST_CASE("passwords of users are hashed, and only the right one matches") {
  const auto hash = good(hash_password(Secret("four small words here")));
  CHECK(hash.starts_with("$argon2id$"));
  CHECK(password_matches(Secret("four small words here"), hash));
  CHECK(!password_matches(Secret("four small words herE"), hash));
  CHECK(!password_matches(Secret(""), ""));
  CHECK(random_token() != random_token());
}

}  // namespace
}  // namespace mailhaul::registry
