// A message that lies in several mailboxes: one file on the disk, a name in each.
#include <sys/stat.h>

#include "tests/store/maildir_fixture.h"

namespace mailhaul::store {
namespace {

Twin twin_of(Maildir& maildir, const std::string& from, const std::string& to, const std::string& name,
             const mail::FlagSet& flags = {}) {
  const auto copies = copies_in(maildir, from);
  REQUIRE(copies.size() == 1);
  return {from, copies.front(), to, key_of(name), flags};
}

std::vector<Letter> one_letter() { return {{"a", "", crlf_message("a"), mail::FlagSet(8, {"$Junk"})}}; }

TEST_CASE("twins on the disk: one file with its date, each name with its own flags") {
  const TemporaryDirectory directory;
  const auto path = directory.path() + "/Maildir";
  auto maildir = open_maildir(posix_file_system(), path);
  const auto first = must(deliver_all(*maildir, one_letter()));
  must(maildir->create(".Work"));
  const std::vector<Twin> twins{twin_of(*maildir, "", ".Work", "b", mail::FlagSet(8, {"later"}))};
  const auto names = must(maildir->duplicate(twins));
  REQUIRE(names.size() == 1);
  struct ::stat here {
  }, there{};
  REQUIRE(::stat((path + "/cur/" + first[0]).c_str(), &here) == 0);
  REQUIRE(::stat((path + "/.Work/cur/" + names[0]).c_str(), &there) == 0);
  CHECK(here.st_ino == there.st_ino);
  CHECK(here.st_nlink == 2);
  const auto found = must(maildir->look(".Work", std::vector{key_of("b")}));
  REQUIRE(found.size() == 1);
  CHECK(must(maildir->flags_of(".Work", found[0])) == mail::FlagSet(8, {"later"}));
  CHECK(wire_of(*maildir, ".Work", found[0], StoredForm::Lf) == crlf_message("a"));
  must(maildir->remove("", copies_in(*maildir, "").front()));  // the other one stays
  CHECK(wire_of(*maildir, ".Work", found[0], StoredForm::Lf) == crlf_message("a"));
}

TEST_CASE("twins: a key that is there is not there twice") {
  test::MemoryFileSystem fs;
  auto maildir = open_maildir(fs);
  must(deliver_all(*maildir, one_letter()));
  must(maildir->create(".Work"));
  const auto twin = twin_of(*maildir, "", ".Work", "b");
  CHECK_FALSE(must(maildir->duplicate(std::vector{twin, twin}))[0].empty());
  CHECK(must(maildir->duplicate(std::vector{twin})) == std::vector<std::string>{""});
  CHECK(copies_in(*maildir, ".Work").size() == 1);
}

TEST_CASE("twins: no links, or no file: nothing is done, and it is said") {
  test::MemoryFileSystem::Options options;
  options.links = false;
  test::MemoryFileSystem fs(options);
  auto maildir = open_maildir(fs);
  must(deliver_all(*maildir, one_letter()));
  must(maildir->create(".Work"));
  const auto twin = twin_of(*maildir, "", ".Work", "b");
  CHECK(must(maildir->duplicate(std::vector{twin})) == std::vector<std::string>{""});
  CHECK(copies_in(*maildir, ".Work").empty());
}

TEST_CASE("twins: what was told is there after any crash") {
  for (std::uint64_t n = 1;; ++n) {
    CAPTURE(n);
    test::MemoryFileSystem fs;
    auto maildir = open_maildir(fs);
    must(deliver_all(*maildir, one_letter()));
    must(maildir->create(".Work"));
    const auto twin = twin_of(*maildir, "", ".Work", "b");
    fs.die_at(fs.effects() + n, test::MemoryFileSystem::Death::Errors);
    const auto names = maildir->duplicate(std::vector{twin});
    const bool reached = fs.dead();
    maildir.reset();
    fs.crash();
    maildir = open_maildir(fs);
    const auto copies = copies_in(*maildir, ".Work");
    CHECK(copies.size() <= 1);
    if (names) CHECK(copies.size() == 1);
    for (const auto& copy : copies) CHECK(wire_of(*maildir, ".Work", copy, StoredForm::Lf) == crlf_message("a"));
    if (!reached) break;
  }
}

}  // namespace
}  // namespace mailhaul::store
