// The file system seam: what holds for the real one and for the one in memory alike, and what each has of its own.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cerrno>
#include <fstream>

#include "tests/store/maildir_fixture.h"

namespace mailhaul::store {
namespace {

using Renamed = FileSystem::Renamed;

std::string content(FileSystem& fs, Handle& directory, const std::string& name) {
  std::string text;
  const bool there = must(fs.read(directory, name, [&](std::string_view chunk) {
    text += chunk;
    return true;
  }));
  return there ? text : "(absent)";
}

void put(FileSystem& fs, Handle& directory, const std::string& name, std::string_view text) {
  auto file = must(fs.create(directory, name));
  REQUIRE(file);
  must(fs.write(*file, text));
}

void conforms(FileSystem& fs, const std::string& path) {
  must(fs.make_directories(path + "/a/b"));
  must(fs.make_directories(path + "/a/b"));
  CHECK_FALSE(must(fs.open_directory(path + "/none")));
  auto root = must(fs.open_directory(path + "/a"));
  REQUIRE(root);
  bool created = true;
  must(fs.make_directory(*root, "b", &created));
  CHECK_FALSE(created);
  must(fs.make_directory(*root, "c", &created));
  CHECK(created);
  CHECK_FALSE(must(fs.open_directory(*root, "none")));
  auto b = must(fs.open_directory(*root, "b"));
  auto c = must(fs.open_directory(*root, "c"));
  REQUIRE(b);
  REQUIRE(c);

  put(fs, *b, "x", "one");
  CHECK_FALSE(must(fs.create(*b, "x")));
  CHECK(content(fs, *b, "x") == "one");
  CHECK(content(fs, *b, "y") == "(absent)");
  CHECK_FALSE(fs.make_directory(*b, "x"));
  CHECK_FALSE(fs.open_directory(*b, "x"));
  must(fs.set_modified(*b, "x", 1'234'567'890));
  CHECK(must(fs.stat(*b, "x"))->modified == 1'234'567'890);
  CHECK(must(fs.stat(*b, "x"))->size == 3);
  CHECK(must(fs.stat(*b, "x"))->kind == Kind::File);
  CHECK(must(fs.stat(*root, "b"))->kind == Kind::Directory);
  CHECK_FALSE(must(fs.stat(*b, "y")));
  auto file = must(fs.open_file(*b, "x"));
  REQUIRE(file);
  must(fs.set_modified(*file, -5));
  CHECK(must(fs.stat(*file)).modified == -5);
  must(fs.sync(*file));
  must(fs.sync_directory(*b));
  CHECK_FALSE(must(fs.open_file(*b, "y")));

  put(fs, *b, "y", "two");
  CHECK(must(fs.rename_new(*b, "x", *c, "x")) == Renamed::Yes);
  CHECK(must(fs.rename_new(*b, "x", *c, "z")) == Renamed::SourceMissing);
  CHECK(must(fs.rename_new(*b, "y", *c, "x")) == Renamed::TargetExists);
  CHECK(content(fs, *c, "x") == "one");
  must(fs.replace(*b, "y", *c, "x"));
  CHECK(content(fs, *c, "x") == "two");
  CHECK_FALSE(fs.replace(*b, "y", *c, "x"));
  CHECK(must(fs.remove(*c, "x")));
  CHECK_FALSE(must(fs.remove(*c, "x")));
  CHECK_FALSE(fs.remove(*root, "b"));

  std::map<std::string, Kind> seen;
  put(fs, *root, "file", "");
  must(fs.list(*root, [&](const Entry& entry) { seen.emplace(entry.name, entry.kind); }));
  CHECK(seen == std::map<std::string, Kind>{{"b", Kind::Directory}, {"c", Kind::Directory}, {"file", Kind::File}});

  const std::string big(200'000, 'q');
  put(fs, *b, "big", big);
  CHECK(content(fs, *b, "big") == big);
  std::size_t chunks = 0;
  CHECK(must(fs.read(*b, "big", [&](std::string_view) { return ++chunks < 2; })));
  CHECK(chunks == 2);

  auto held = must(fs.try_lock(*root, "lock"));
  REQUIRE(held);
  CHECK_FALSE(must(fs.try_lock(*root, "lock")));
  held.reset();
  CHECK(must(fs.try_lock(*root, "lock")));

  if (auto barrier = must(fs.open_barrier(*root))) must(barrier->sync());
}

TEST_CASE("file system: the real one and the one in memory keep the same contract") {
  const TemporaryDirectory directory;
  conforms(posix_file_system(), directory.path() + "/deep/er");
  test::MemoryFileSystem memory;
  conforms(memory, "/deep/er");
}

TEST_CASE("posix: no name leaves its directory, no link is followed below a handle") {
  const TemporaryDirectory directory;
  auto& fs = posix_file_system();
  auto root = must(fs.open_directory(directory.path()));
  must(fs.make_directory(*root, "d"));
  std::filesystem::create_directory_symlink("/etc", directory.path() + "/etc");
  std::filesystem::create_symlink("/etc/passwd", directory.path() + "/passwd");
  for (const std::string& name : {std::string(), std::string("."), std::string(".."), std::string("../x"),
                                  std::string("d/x"), std::string("/tmp"), std::string("a\0b", 3)}) {
    CAPTURE(name);
    CHECK_FALSE(fs.open_directory(*root, name));
    CHECK_FALSE(fs.make_directory(*root, name));
    CHECK_FALSE(fs.create(*root, name));
    CHECK_FALSE(fs.open_file(*root, name));
    CHECK_FALSE(fs.set_modified(*root, name, 0));
    CHECK_FALSE(fs.rename_new(*root, "d", *root, name));
    CHECK_FALSE(fs.rename_new(*root, name, *root, "e"));
    CHECK_FALSE(fs.replace(*root, name, *root, "e"));
    CHECK_FALSE(fs.remove(*root, name));
    CHECK_FALSE(fs.stat(*root, name));
    CHECK_FALSE(fs.read(*root, name, [](std::string_view) { return true; }));
    CHECK_FALSE(fs.try_lock(*root, name));
  }
  CHECK_FALSE(fs.open_directory(*root, "etc"));
  CHECK_FALSE(fs.open_file(*root, "passwd"));
  CHECK_FALSE(fs.make_directory(*root, "etc"));
  CHECK(must(fs.stat(*root, "etc"))->kind == Kind::Other);
  CHECK(must(fs.open_directory(directory.path() + "/etc")));  // a path that its owner wrote down
}

TEST_CASE("posix: files and directories are the owner's alone") {
  const TemporaryDirectory directory;
  auto& fs = posix_file_system();
  const auto old_mask = ::umask(0);
  auto root = must(fs.open_directory(directory.path()));
  put(fs, *root, "f", "x");
  must(fs.make_directories(directory.path() + "/d/e"));
  ::umask(old_mask);
  struct ::stat status {};
  REQUIRE(::stat((directory.path() + "/f").c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0600);
  REQUIRE(::stat((directory.path() + "/d/e").c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0700);
}

TEST_CASE("errors: what to do about them follows from errno, the text names call, path and reason") {
  for (const int full : {ENOSPC, EDQUOT}) {
    const Error error = file_error(full, "write /m/x");
    CHECK(error.retry == Retry::AfterUserAction);
    CHECK(error.what.starts_with("disk full: write /m/x: "));
    CHECK_FALSE(error.advice.empty());
  }
  for (const int denied : {EACCES, EPERM, EROFS}) CHECK(file_error(denied, "x").retry == Retry::AfterUserAction);
  CHECK(file_error(EIO, "x").retry == Retry::Later);

  const TemporaryDirectory directory;
  auto& fs = posix_file_system();
  auto root = must(fs.open_directory(directory.path()));
  auto missing = fs.set_modified(*root, "no\nne", 0);
  REQUIRE_FALSE(missing);
  CHECK(missing.error().what.find(directory.path() + "/no\\x0ane: No such file") != std::string::npos);
  auto read_only = must(fs.try_lock(*root, "l"));
  const std::string long_name(300, 'x');
  CHECK_FALSE(fs.create(*root, long_name));
}

// A small file system of its own; needs root and the right to mount.
class SmallDisk {
 public:
  explicit SmallDisk(const std::string& path, const char* size) : path_(path) {
    mounted_ = ::mount("mailhaul-test", path.c_str(), "tmpfs", 0, size) == 0;
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;
  ~SmallDisk() {
    if (mounted_) ::umount2(path_.c_str(), MNT_DETACH);
  }
  [[nodiscard]] bool mounted() const { return mounted_; }

 private:
  std::string path_;
  bool mounted_ = false;
};

TEST_CASE("a full disk: the error says so, nothing is delivered, and it goes on once there is space") {
  const TemporaryDirectory directory;
  const SmallDisk disk(directory.path(), "size=256k");
  if (!disk.mounted()) {
    std::printf("SKIP a full disk: cannot mount a tmpfs (%s)\n", std::generic_category().message(errno).c_str());
    return;
  }
  const std::string path = directory.path() + "/Maildir";
  {
    auto maildir = open_maildir(posix_file_system(), path);
    std::vector<Letter> letters;
    letters.reserve(100);
    for (int i = 0; i < 100; ++i) letters.push_back({"m" + std::to_string(i), "", crlf_message("x", 1000), {}});
    auto delivered = deliver_all(*maildir, letters);
    REQUIRE_FALSE(delivered);
    CHECK(delivered.error().retry == Retry::AfterUserAction);
    CHECK(delivered.error().what.find("disk full") != std::string::npos);
    CHECK(copies_in(*maildir, "").empty());
    CHECK(std::filesystem::is_empty(path + "/tmp"));
    must(deliver_all(*maildir, {letters[0], letters[1]}));
    CHECK(copies_in(*maildir, "").size() == 2);
  }
}

TEST_CASE("memory: a crash forgets what was not synced, and each name by itself") {
  test::MemoryFileSystem fs;
  must(fs.make_directories("/d"));
  auto d = must(fs.open_directory("/d"));
  {
    auto synced = must(fs.create(*d, "synced"));
    must(fs.write(*synced, "data"));
    must(fs.sync(*synced));
    must(fs.write(*synced, " more"));
    must(fs.sync_directory(*d));
    put(fs, *d, "unnamed", "data");
    auto nameless = must(fs.open_file(*d, "unnamed"));
    must(fs.sync(*nameless));
  }
  fs.crash();
  CHECK(fs.files() == std::map<std::string, std::string>{{"/d/", ""}, {"/d/synced", "data"}});
  CHECK_FALSE(fs.list(*d, [](const Entry&) {}));  // a handle of the life before

  d = must(fs.open_directory("/d"));
  auto barrier = must(fs.open_barrier(*d));
  put(fs, *d, "all", "of it");
  must(barrier->sync());
  put(fs, *d, "late", "");
  CHECK(must(fs.remove(*d, "synced")));
  fs.crash();
  CHECK(fs.files() == std::map<std::string, std::string>{{"/d/", ""}, {"/d/all", "of it"}, {"/d/synced", "data"}});
}

TEST_CASE("memory: a sync that failed has lost the data, although the next one succeeds") {
  test::MemoryFileSystem fs;
  must(fs.make_directories("/d"));
  auto d = must(fs.open_directory("/d"));
  put(fs, *d, "f", "data");
  must(fs.sync_directory(*d));
  auto file = must(fs.open_file(*d, "f"));
  fs.fail_at(fs.effects() + 1, EIO);
  CHECK_FALSE(fs.sync(*file));
  CHECK(fs.sync(*file));
  fs.crash();
  CHECK(fs.files().at("/d/f").empty());

  // In the background: told once to whoever watched from before.
  d = must(fs.open_directory("/d"));
  auto before = must(fs.open_barrier(*d));
  put(fs, *d, "g", "data");
  must(fs.sync_directory(*d));
  fs.fail_write_back();
  auto after = must(fs.open_barrier(*d));
  CHECK_FALSE(before->sync());
  CHECK(before->sync());
  CHECK(after->sync());
  fs.crash();
  CHECK(fs.files().at("/d/g").empty());
}

TEST_CASE("memory: dying at an effect") {
  test::MemoryFileSystem fs;
  must(fs.make_directories("/d"));
  auto d = must(fs.open_directory("/d"));
  fs.die_at(fs.effects() + 3);
  put(fs, *d, "f", "");
  CHECK_THROWS_AS(static_cast<void>(fs.create(*d, "g")), test::Crash);
  CHECK(fs.dead());
  CHECK_FALSE(fs.create(*d, "h"));
  fs.restart();
  d = must(fs.open_directory("/d"));
  CHECK(content(fs, *d, "f").empty());
  fs.die_at(fs.effects() + 1, test::MemoryFileSystem::Death::Errors);
  CHECK_FALSE(fs.create(*d, "g"));
  CHECK(fs.dead());
  fs.crash();
  CHECK(fs.files().size() == 1);
}

}  // namespace
}  // namespace mailhaul::store
