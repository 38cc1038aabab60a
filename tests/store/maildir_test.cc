// The Maildir as its users see it: opening, mailboxes, flags, keywords, subscriptions, looking.
#include <set>

#include "tests/store/maildir_fixture.h"

namespace mailhaul::store {
namespace {

using Names = std::vector<std::string>;

void put(FileSystem& fs, const std::string& directory, const std::string& name, std::string_view text = {}) {
  auto handle = must(fs.open_directory(directory));
  REQUIRE(handle);
  auto file = must(fs.create(*handle, name));
  REQUIRE(file);
  must(fs.write(*file, text));
}

std::string rename_by_hand(FileSystem& fs, const std::string& from, const std::string& old_name, const std::string& to,
                           const std::string& new_name) {
  auto source = must(fs.open_directory(from));
  auto target = must(fs.open_directory(to));
  must(fs.replace(*source, old_name, *target, new_name));
  return new_name;
}

FoundCopy only_copy(Maildir& maildir, const std::string& mailbox) {
  const auto copies = copies_in(maildir, mailbox);
  REQUIRE(copies.size() == 1);
  return copies[0];
}

TEST_CASE("open: makes a Maildir, takes it again, keeps a second process out") {
  test::MemoryFileSystem fs;
  {
    auto maildir = open_maildir(fs, "/home/me/Maildir/");
    CHECK(maildir->path() == "/home/me/Maildir");
    auto second = Maildir::open(fs, "/home/me/Maildir", quick_options());
    REQUIRE_FALSE(second);
    CHECK(second.error().what.find("another mailhaul") != std::string::npos);
    CHECK(must(maildir->mailboxes()) == Names{""});
  }
  fs.crash();  // it was durable
  auto options = quick_options();
  options.create = false;
  CHECK(open_maildir(fs, "/home/me/Maildir", options));
}

TEST_CASE("open: refuses what is not a Maildir") {
  test::MemoryFileSystem fs;
  must(fs.make_directories("/full"));
  put(fs, "/full", "thesis.txt");
  auto refused = Maildir::open(fs, "/full", quick_options());
  REQUIRE_FALSE(refused);
  CHECK(refused.error().retry == Retry::AfterUserAction);
  CHECK(refused.error().what ==
        "open the Maildir: \"/full\" is not a Maildir and not empty (it has no cur/, but \"thesis.txt\")");
  CHECK_FALSE(refused.error().advice.empty());
  CHECK(count_ending(fs.files(), "/") == 1);  // nothing was made in it

  auto options = quick_options();
  options.create = false;
  for (const char* path : {"/none", "/", ""}) {
    auto missing = Maildir::open(fs, path, options);
    REQUIRE_FALSE(missing);
    CHECK(missing.error().retry == Retry::AfterUserAction);
  }
  put(fs, "/", "file");
  CHECK_FALSE(Maildir::open(fs, "/file", quick_options()));
  CHECK_FALSE(Maildir::open(fs, "/file/below", quick_options()));
}

TEST_CASE("open: somebody else's Maildir is taken as it is") {
  test::MemoryFileSystem fs;
  must(fs.make_directories("/m/cur"));
  must(fs.make_directories("/m/new"));
  must(fs.make_directories("/m/tmp"));
  must(fs.make_directories("/m/.Sent/cur"));
  must(fs.make_directories("/m/.broken/new"));
  put(fs, "/m/cur", "1.x.host:2,S", "hello\n");
  put(fs, "/m/tmp", "2.y.host", "theirs");
  auto maildir = open_maildir(fs);
  CHECK(must(maildir->mailboxes()) == Names{"", ".Sent"});
  Names foreign;
  must(maildir->each_foreign("", [&](std::string_view file, bool) { foreign.emplace_back(file); }));
  CHECK(foreign == Names{"1.x.host:2,S"});
  CHECK(fs.files().contains("/m/tmp/2.y.host"));
  must(maildir->create(".broken"));
  CHECK(must(maildir->mailboxes()) == Names{"", ".Sent", ".broken"});
}

TEST_CASE("create: many mailboxes cost one sync, a second time nothing, and they survive a crash") {
  for (const bool barrier : {true, false}) {
    test::MemoryFileSystem fs({.barrier = barrier, .trace = true});
    auto maildir = open_maildir(fs);
    Names directories{""};
    directories.reserve(21);
    for (int i = 0; i < 20; ++i) directories.push_back(maildir->directory_name(Names{"a", "b" + std::to_string(i)}));
    fs.clear_trace();
    must(maildir->create(directories));
    const auto syncs = std::count(fs.trace().begin(), fs.trace().end(), "barrier");
    CHECK(syncs == (barrier ? 1 : 0));
    const auto before = fs.effects();
    must(maildir->create(directories));
    CHECK(fs.effects() == before);
    maildir.reset();
    fs.crash();
    maildir = open_maildir(fs);
    CHECK(must(maildir->mailboxes()).size() == 21);
    CHECK(count_ending(fs.files(), "/maildirfolder") == 20);
    const auto again = fs.effects();
    must(maildir->create(directories));
    CHECK(fs.effects() == again);
    CHECK_FALSE(maildir->create("cur"));
    CHECK_FALSE(maildir->create(".."));
    CHECK_FALSE(maildir->create("../x"));
    CHECK_FALSE(maildir->create(".a/b"));
  }
}

TEST_CASE("create: a failed sync is not taken for done the next time") {
  test::MemoryFileSystem fs;
  auto maildir = open_maildir(fs);
  must(maildir->create(".first"));
  auto before = fs.effects();
  must(maildir->create(".second"));
  fs.fail_at(fs.effects() + (fs.effects() - before), EIO);  // the sync is the last effect
  CHECK_FALSE(maildir->create(".z"));
  before = fs.effects();
  must(maildir->create(".z"));
  CHECK(fs.effects() > before);  // synced after all
  fs.crash();
  CHECK(fs.files().contains("/m/.z/cur/"));
}

TEST_CASE("flags: letters are changed, foreign ones kept, new/ is left only for a flag") {
  test::MemoryFileSystem fs;
  auto maildir = open_maildir(fs);
  must(deliver_all(*maildir, {{"m", "", crlf_message("x"), mail::FlagSet(8 | 2, {})}}));
  FoundCopy copy = only_copy(*maildir, "");
  CHECK(copy.name.letters == "FS");
  rename_by_hand(fs, "/m/cur", copy.file, "/m/cur", copy.file.substr(0, copy.file.find(':')) + ":2,FPSX");

  // `copy` still says FS: the file is looked up once more, its foreign letters stay.
  std::string file = must(maildir->set_flags("", copy, mail::FlagSet(1 | 4, {})));
  CHECK(file.ends_with(":2,PRTX"));
  copy = only_copy(*maildir, "");
  CHECK(copy.file == file);
  CHECK(must(maildir->set_flags("", copy, mail::FlagSet(1 | 4, {}))) == file);
  CHECK(must(maildir->flags_of("", copy)) == mail::FlagSet(1 | 4, {}));

  // As a mail reader that puts it back as new mail.
  const std::string bare = file.substr(0, file.find(':'));
  rename_by_hand(fs, "/m/cur", file, "/m/new", bare);
  copy = only_copy(*maildir, "");
  CHECK(copy.in_new);
  CHECK(must(maildir->set_flags("", copy, {})) == bare);
  CHECK(only_copy(*maildir, "").in_new);
  CHECK(must(maildir->set_flags("", copy, mail::FlagSet(8, {}))) == bare + ":2,S");
  CHECK_FALSE(only_copy(*maildir, "").in_new);

  must(maildir->remove("", copy));  // under its old name: found all the same
  CHECK(copies_in(*maildir, "").empty());
  must(maildir->remove("", copy));
  auto gone = maildir->set_flags("", copy, {});
  REQUIRE_FALSE(gone);
  CHECK(gone.error().scope == Scope::Message);
  CHECK_FALSE(maildir->read("", copy, StoredForm::Lf, [](std::string_view) { return true; }));
}

TEST_CASE("keywords: through dovecot-keywords, what is there is kept, a 27th is left out and counted") {
  test::MemoryFileSystem fs;
  auto maildir = open_maildir(fs);
  put(fs, "/m", "dovecot-keywords", "0 $Junk\n3 zebra\nnonsense\n99 x\n");
  must(deliver_all(*maildir, {{"m", "", crlf_message("x"), mail::FlagSet(8, {"$junk", "New", "ZEBRA"})}}));
  CHECK(fs.files().at("/m/dovecot-keywords") == "0 $Junk\n3 zebra\n4 New\n");
  FoundCopy copy = only_copy(*maildir, "");
  CHECK(copy.name.letters == "Sade");
  CHECK(must(maildir->flags_of("", copy)) == mail::FlagSet(8, {"$Junk", "New", "zebra"}));
  CHECK_FALSE(fs.files().contains("/m/dovecot-uidlist.lock"));

  std::vector<std::string> many;
  many.reserve(31);
  for (int i = 0; i < 30; ++i) many.push_back("k" + std::to_string(i));
  many.emplace_back("has blank");
  const auto file = must(maildir->set_flags("", copy, mail::FlagSet(8, many)));
  CHECK(maildir->keywords_left_out() == 31 - 23);  // 26 less $Junk, zebra and New
  copy = only_copy(*maildir, "");
  CHECK(copy.name.letters.size() == 24);
  CHECK(must(maildir->flags_of("", copy)).keywords().size() == 23);
  // A letter that nobody explains is somebody's: it stays. One that is explained goes with its keyword.
  const auto none = must(maildir->set_flags("", copy, mail::FlagSet(8, {})));
  CHECK(none.ends_with(":2,S"));
}

TEST_CASE("keywords: a table whose directory sync failed is synced before letters are given out by it") {
  test::MemoryFileSystem fs({.barrier = false});
  auto maildir = open_maildir(fs);
  const Letter letter{"m", "", crlf_message("x"), mail::FlagSet(0, {"k"})};
  Batch batch;
  batch.emplace_back("", must(received(*maildir, letter)));
  fs.fail_at(fs.effects() + 8,
             EIO);  // lock: create, write, rename; table: create, write, fsync, replace, sync the directory
  CHECK_FALSE(maildir->deliver(batch));
  CHECK(fs.files().at("/m/dovecot-keywords") == "0 k\n");
  must(deliver_all(*maildir, {letter}));
  maildir.reset();
  fs.crash();
  CHECK(fs.files().at("/m/dovecot-keywords") == "0 k\n");
  maildir = open_maildir(fs);
  CHECK(must(maildir->flags_of("", only_copy(*maildir, ""))) == letter.flags);
}

TEST_CASE("keywords: another mailbox has its own letters; an unknown letter is kept") {
  test::MemoryFileSystem fs;
  auto maildir = open_maildir(fs);
  must(deliver_all(*maildir, {{"1", ".A", crlf_message("x"), mail::FlagSet(0, {"one"})},
                              {"2", ".B", crlf_message("x"), mail::FlagSet(0, {"two"})}}));
  CHECK(fs.files().at("/m/.A/dovecot-keywords") == "0 one\n");
  CHECK(fs.files().at("/m/.B/dovecot-keywords") == "0 two\n");
  FoundCopy copy = only_copy(*maildir, ".A");
  copy.file = rename_by_hand(fs, "/m/.A/cur", copy.file, "/m/.A/cur", copy.file + "q");
  copy = only_copy(*maildir, ".A");
  CHECK(must(maildir->set_flags(".A", copy, mail::FlagSet(8, {}))).ends_with(":2,Sq"));
}

TEST_CASE("keywords: Dovecot's lock is waited for, a dead one is taken away") {
  test::MemoryFileSystem fs;
  StillClock clock;
  auto options = quick_options();
  options.clock = &clock;
  auto maildir = open_maildir(fs, "/m", options);
  const Letter letter{"m", "", crlf_message("x"), mail::FlagSet(0, {"k"})};
  put(fs, "/m", "dovecot-uidlist.lock", "1:host");
  auto root = must(fs.open_directory("/m"));
  must(fs.set_modified(*root, "dovecot-uidlist.lock", clock.now - 100));
  auto held = deliver_all(*maildir, {letter});
  REQUIRE_FALSE(held);
  CHECK(held.error().scope == Scope::Mailbox);
  CHECK(held.error().retry == Retry::Later);
  CHECK(copies_in(*maildir, "").empty());
  clock.now += 30;
  must(deliver_all(*maildir, {letter}));
  CHECK_FALSE(fs.files().contains("/m/dovecot-uidlist.lock"));

  // One of ours, from a process that was killed: at once.
  const std::string marked("4711:somewhere\0mailhaul\n", 24);
  put(fs, "/m", "dovecot-uidlist.lock", marked);
  must(fs.set_modified(*root, "dovecot-uidlist.lock", clock.now));
  must(deliver_all(*maildir, {{"n", "", crlf_message("x"), mail::FlagSet(0, {"other"})}}));
  CHECK_FALSE(fs.files().contains("/m/dovecot-uidlist.lock"));

  // Its data had not reached the disk when the power went.
  put(fs, "/m", "dovecot-uidlist.lock", "");
  must(fs.set_modified(*root, "dovecot-uidlist.lock", clock.now));
  must(deliver_all(*maildir, {{"o", "", crlf_message("x"), mail::FlagSet(0, {"third"})}}));

  // Nobody may need that mailbox's lock again: after an unclean end it goes with the unfinished files.
  maildir.reset();
  put(fs, "/m", "dovecot-uidlist.lock", marked);
  put(fs, "/m", "subscriptions.lock", "4711:somewhere\n");
  put(fs, "/m/mailhaul", "receiving", "");
  maildir = open_maildir(fs, "/m", options);
  CHECK_FALSE(fs.files().contains("/m/dovecot-uidlist.lock"));
  CHECK(fs.files().contains("/m/subscriptions.lock"));
}

TEST_CASE("subscriptions: version 2 for a new file, the old format is continued, nothing is lost or doubled") {
  test::MemoryFileSystem fs;
  auto maildir = open_maildir(fs);
  const std::vector<Names> some{{"INBOX"}, {"INBOX", "Sent"}, {"Gr\u00FC\u00DFe", "a.b"}};
  must(maildir->subscribe(some));
  CHECK(fs.files().at("/m/subscriptions") == "V\t2\n\nINBOX\nINBOX\tSent\nGr&APwA3w-e\ta\\2eb\n");
  const auto before = fs.effects();
  must(maildir->subscribe(some));
  CHECK(fs.effects() <= before + 4);  // the lock, and nothing written
  must(maildir->subscribe(std::vector<Names>{{"x"}, {"INBOX"}}));
  CHECK(fs.files().at("/m/subscriptions").ends_with("\ta\\2eb\nx\n"));
  fs.crash();
  CHECK(fs.files().at("/m/subscriptions").ends_with("\ta\\2eb\nx\n"));

  maildir.reset();
  must(fs.make_directories("/old"));
  must(fs.make_directories("/old/cur"));
  put(fs, "/old", "subscriptions", "Sent\nA.B");
  maildir = open_maildir(fs, "/old");
  must(maildir->subscribe(std::vector<Names>{{"A", "B"}, {"C", "D"}}));
  CHECK(fs.files().at("/old/subscriptions") == "Sent\nA.B\nC.D\n");
}

TEST_CASE("look: hits only, sorted, in cur and new, and after other programs moved files") {
  test::MemoryFileSystem fs;
  auto maildir = open_maildir(fs);
  std::vector<Letter> letters;
  std::vector<DeliveryKey> keys;
  for (int i = 0; i < 300; ++i) {
    letters.push_back({"m" + std::to_string(i), ".A", crlf_message("x"), {}});
    keys.push_back(key_of(letters.back().name));
  }
  must(maildir->create(".A"));
  std::sort(keys.begin(), keys.end());
  CHECK(must(maildir->look(".A", keys)).empty());
  must(deliver_all(*maildir, letters));
  auto all = must(maildir->look(".A", keys));
  REQUIRE(all.size() == 300);
  for (std::size_t i = 0; i < 300; ++i) CHECK(all[i].name.key == keys[i]);
  std::vector<DeliveryKey> strangers{key_of("other"), key_of("another")};
  std::sort(strangers.begin(), strangers.end());
  CHECK(must(maildir->look(".A", strangers)).empty());

  rename_by_hand(fs, "/m/.A/cur", all[5].file, "/m/.A/new", all[5].file);
  must(maildir->remove(".A", all[7]));
  auto now = must(maildir->look(".A", keys));
  CHECK(now.size() == 299);
  CHECK(now[5].in_new);
  CHECK(now[7].name.key == keys[8]);
  CHECK(must(maildir->look(".A", keys)).size() == 299);  // what was not found was forgotten, the rest was not

  // A second process finds the same.
  maildir.reset();
  maildir = open_maildir(fs);
  CHECK(must(maildir->look(".A", keys)).size() == 299);
  auto nowhere = maildir->look(".none", keys);
  REQUIRE_FALSE(nowhere);
  CHECK(nowhere.error().scope == Scope::Mailbox);

  // What another program adds is seen after refresh().
  rename_by_hand(fs, "/m/.A/cur", now[0].file, "/m/cur", now[0].file);
  CHECK(must(maildir->look("", std::span(keys).first(1))).size() == 1);
  rename_by_hand(fs, "/m/.A/cur", now[1].file, "/m/cur", now[1].file);
  maildir->refresh();
  CHECK(must(maildir->look("", keys)).size() == 2);
}

// Renames a file between two readings of its directory, so that one scan sees it under neither name.
class RacingFileSystem final : public FileSystem {
 public:
  explicit RacingFileSystem(FileSystem& inner) : inner_(inner) {}
  std::string hidden;  // this name is left out of the next listing that has it
  int lists = 0;

  Result<HandlePtr> open_directory(const std::string& p) override { return inner_.open_directory(p); }
  Result<HandlePtr> open_directory(Handle& d, const std::string& n) override { return inner_.open_directory(d, n); }
  Done make_directory(Handle& d, const std::string& n, bool* c) override { return inner_.make_directory(d, n, c); }
  Done make_directories(const std::string& p) override { return inner_.make_directories(p); }
  Result<HandlePtr> create(Handle& d, const std::string& n) override { return inner_.create(d, n); }
  Result<HandlePtr> open_file(Handle& d, const std::string& n) override { return inner_.open_file(d, n); }
  Done write(Handle& f, std::string_view o) override { return inner_.write(f, o); }
  Done set_modified(Handle& f, std::int64_t s) override { return inner_.set_modified(f, s); }
  Done set_modified(Handle& d, const std::string& n, std::int64_t s) override { return inner_.set_modified(d, n, s); }
  Done sync(Handle& f) override { return inner_.sync(f); }
  Done sync_directory(Handle& d) override { return inner_.sync_directory(d); }
  Result<std::unique_ptr<Barrier>> open_barrier(Handle& d) override { return inner_.open_barrier(d); }
  Result<Renamed> rename_new(Handle& f, const std::string& o, Handle& t, const std::string& n) override {
    return inner_.rename_new(f, o, t, n);
  }
  Done replace(Handle& f, const std::string& o, Handle& t, const std::string& n) override {
    return inner_.replace(f, o, t, n);
  }
  Result<bool> remove(Handle& d, const std::string& n) override { return inner_.remove(d, n); }
  Done list(Handle& d, const std::function<void(const Entry&)>& visit) override {
    ++lists;
    bool raced = false;
    auto listed = inner_.list(d, [&](const Entry& entry) {
      if (entry.name == hidden)
        raced = true;
      else
        visit(entry);
    });
    if (raced) {
      const std::string again = std::exchange(hidden, "") + "T";  // what the owner's mail reader made of it
      must(inner_.rename_new(d, again.substr(0, again.size() - 1), d, again));
    }
    return listed;
  }
  Result<Stat> stat(Handle& h) override { return inner_.stat(h); }
  Result<std::optional<Stat>> stat(Handle& d, const std::string& n) override { return inner_.stat(d, n); }
  Result<bool> read(Handle& d, const std::string& n, const std::function<bool(std::string_view)>& visit) override {
    return inner_.read(d, n, visit);
  }
  Result<HandlePtr> try_lock(Handle& d, const std::string& n) override { return inner_.try_lock(d, n); }

 private:
  FileSystem& inner_;
};

TEST_CASE("look: a file renamed while the directory is read is found all the same") {
  test::MemoryFileSystem memory;
  RacingFileSystem fs(memory);
  auto maildir = open_maildir(fs);
  const auto names = must(deliver_all(*maildir, {{"m", "", crlf_message("x"), mail::FlagSet(8, {})}}));
  const std::vector<DeliveryKey> keys{key_of("m")};
  fs.hidden = names[0];
  auto found = must(maildir->look("", keys));  // the index knows it, one scan misses it
  REQUIRE(found.size() == 1);
  CHECK(found[0].file == names[0] + "T");

  maildir->refresh();
  fs.hidden = names[0] + "T";
  found = must(maildir->look("", keys));  // the scan for the index misses it
  REQUIRE(found.size() == 1);
  CHECK(found[0].file == names[0] + "TT");

  maildir->refresh();
  fs.lists = 0;
  CHECK(must(maildir->look("", std::vector{key_of("other")})).empty());
  CHECK(fs.lists == 2);  // quiet: one scan of new and cur
}

TEST_CASE("own files: replaced durably, absent is no error") {
  test::MemoryFileSystem fs;
  auto maildir = open_maildir(fs);
  CHECK_FALSE(must(maildir->read_own("accounts")));
  must(maildir->write_own("accounts", "one"));
  must(maildir->write_own("accounts", "two"));
  fs.crash();
  maildir = open_maildir(fs);
  CHECK(must(maildir->read_own("accounts")) == "two");
  const auto first = fs.effects();
  must(maildir->write_own("accounts", "three"));
  const auto effects = fs.effects() - first;
  CHECK(effects == 5);  // create, write, fsync, replace, fsync of the directory
  for (std::uint64_t n = 1; n <= effects; ++n) {
    fs.die_at(fs.effects() + n);
    CHECK_THROWS_AS(static_cast<void>(maildir->write_own("accounts", "four")), test::Crash);
    maildir.reset();
    fs.crash();
    maildir = open_maildir(fs);
    const auto text = must(maildir->read_own("accounts"));
    CHECK((text == "three" || text == "four"));
    must(maildir->write_own("accounts", "three"));
  }
}

TEST_CASE("descriptors: 300 mailboxes at once are no more than a few dozen at a time") {
  test::MemoryFileSystem fs;
  auto maildir = open_maildir(fs);
  std::vector<Letter> letters;
  for (int i = 0; i < 300; ++i)
    for (int k = 0; k < 2; ++k)
      letters.push_back(
          {"m" + std::to_string(i) + "." + std::to_string(k), ".B" + std::to_string(i), crlf_message("x"), {}});
  must(deliver_all(*maildir, letters));
  CHECK(fs.most_open_handles() < 210);
  for (int i = 0; i < 300; ++i) CHECK(copies_in(*maildir, ".B" + std::to_string(i)).size() == 2);
}

TEST_CASE("a mailbox that its owner removes is an error of that mailbox, and can be made again") {
  const TemporaryDirectory directory;
  auto maildir = open_maildir(posix_file_system(), directory.path() + "/m");
  must(deliver_all(*maildir, {{"1", ".A", crlf_message("x"), {}}}));
  std::filesystem::remove_all(directory.path() + "/m/.A");
  auto incoming = maildir->receive(".A");
  REQUIRE_FALSE(incoming);
  CHECK(incoming.error().scope == Scope::Mailbox);
  must(deliver_all(*maildir, {{"2", ".A", crlf_message("x"), {}}}));
  CHECK(copies_in(*maildir, ".A").size() == 1);
}

}  // namespace
}  // namespace mailhaul::store
