// The disk fails at the N-th write, truncation or sync, for every N, once or from then on: what was confirmed is there
// afterwards, nothing is there by halves, and after a sync that failed the ledger stops until it is opened again.
#include <sqlite3.h>

#include <cstring>

#include "tests/store/ledger_fixture.h"

namespace mailhaul::store {
namespace {

struct Fault {
  int countdown = 0;  // mutating calls until the first failure; 0: never
  bool lasting = false;
  int as = SQLITE_OK;   // what a write fails as; a sync always fails as a sync
  bool struck = false;  // some call has failed
  bool sync_failed = false;
  bool strikes() {
    if (countdown > 0) {
      --countdown;
      if (countdown > 0) return false;
    } else if (!struck || !lasting) {
      return false;
    }
    struck = true;
    return true;
  }
};
Fault fault;  // SQLite's VFS carries no context of ours; one test uses it at a time

// A file of SQLite's own VFS behind one that can fail.
struct FaultyFile {
  sqlite3_file base;
  sqlite3_file* real() { return reinterpret_cast<sqlite3_file*>(this + 1); }
};
FaultyFile* faulty(sqlite3_file* file) { return reinterpret_cast<FaultyFile*>(file); }
const sqlite3_io_methods& methods(sqlite3_file* file) { return *faulty(file)->real()->pMethods; }

int write(sqlite3_file* file, const void* data, int size, sqlite3_int64 offset) {
  if (fault.strikes()) return fault.as;
  return methods(file).xWrite(faulty(file)->real(), data, size, offset);
}
int truncate(sqlite3_file* file, sqlite3_int64 size) {
  if (fault.strikes()) return SQLITE_IOERR_TRUNCATE;
  return methods(file).xTruncate(faulty(file)->real(), size);
}
int sync(sqlite3_file* file, int flags) {
  if (fault.strikes()) {
    fault.sync_failed = true;
    return SQLITE_IOERR_FSYNC;
  }
  return methods(file).xSync(faulty(file)->real(), flags);
}

const sqlite3_io_methods kMethods{
    3,
    [](sqlite3_file* f) { return methods(f).xClose(faulty(f)->real()); },
    [](sqlite3_file* f, void* data, int size, sqlite3_int64 at) {
      return methods(f).xRead(faulty(f)->real(), data, size, at);
    },
    write,
    truncate,
    sync,
    [](sqlite3_file* f, sqlite3_int64* size) { return methods(f).xFileSize(faulty(f)->real(), size); },
    [](sqlite3_file* f, int lock) { return methods(f).xLock(faulty(f)->real(), lock); },
    [](sqlite3_file* f, int lock) { return methods(f).xUnlock(faulty(f)->real(), lock); },
    [](sqlite3_file* f, int* held) { return methods(f).xCheckReservedLock(faulty(f)->real(), held); },
    [](sqlite3_file* f, int what, void* argument) {
      return methods(f).xFileControl(faulty(f)->real(), what, argument);
    },
    [](sqlite3_file* f) { return methods(f).xSectorSize(faulty(f)->real()); },
    [](sqlite3_file* f) { return methods(f).xDeviceCharacteristics(faulty(f)->real()); },
    [](sqlite3_file* f, int page, int size, int extend, void volatile** at) {
      return methods(f).xShmMap(faulty(f)->real(), page, size, extend, at);
    },
    [](sqlite3_file* f, int offset, int n, int flags) {
      return methods(f).xShmLock(faulty(f)->real(), offset, n, flags);
    },
    [](sqlite3_file* f) { methods(f).xShmBarrier(faulty(f)->real()); },
    [](sqlite3_file* f, int remove) { return methods(f).xShmUnmap(faulty(f)->real(), remove); },
    [](sqlite3_file* f, sqlite3_int64 at, int size, void** data) {
      return methods(f).xFetch(faulty(f)->real(), at, size, data);
    },
    [](sqlite3_file* f, sqlite3_int64 at, void* data) { return methods(f).xUnfetch(faulty(f)->real(), at, data); }};

// While it lives, every database is opened through faulty files.
class FaultyDisk {
 public:
  FaultyDisk() : usual_(sqlite3_vfs_find(nullptr)), vfs_(*usual_) {
    vfs_.zName = "faulty";
    vfs_.pAppData = usual_;
    vfs_.szOsFile += static_cast<int>(sizeof(FaultyFile));
    vfs_.xOpen = [](sqlite3_vfs* vfs, const char* name, sqlite3_file* file, int flags, int* out) {
      auto* usual = static_cast<sqlite3_vfs*>(vfs->pAppData);
      std::memset(faulty(file)->real(), 0, static_cast<std::size_t>(usual->szOsFile));
      const int code = usual->xOpen(usual, name, faulty(file)->real(), flags, out);
      file->pMethods = faulty(file)->real()->pMethods ? &kMethods : nullptr;
      return code;
    };
    REQUIRE(sqlite3_vfs_register(&vfs_, 1) == SQLITE_OK);
  }
  FaultyDisk(const FaultyDisk&) = delete;
  FaultyDisk& operator=(const FaultyDisk&) = delete;
  ~FaultyDisk() {
    fault = {};
    sqlite3_vfs_unregister(&vfs_);
  }

 private:
  sqlite3_vfs* usual_;
  sqlite3_vfs vfs_;
};

constexpr int kTransactions = 6;

Done haul(Ledger& ledger, const Home& home) {
  auto t = ledger.begin();
  if (!t) return t.error();
  auto box = t->mailbox(home.inbox.id);
  if (!box) return box.error();
  const std::uint32_t first = box->floor.value;
  std::vector<Ledger::Transaction::Settled> batch;
  for (std::uint32_t uid = first; uid < first + 200; ++uid) {
    batch.push_back({{}, "", key_of(uid)});
    batch.back().row.uid = mail::Uid{uid};
  }
  if (auto ok = t->list(box->id, 1, uid_set({{first, first + 399}})); !ok) return ok;
  if (auto ok = t->settle(box->id, 1, batch); !ok) return ok;
  box->floor = mail::Uid{first + 400};
  if (auto ok = t->update_mailbox(*box); !ok) return ok;
  return t->commit();
}

void verify(const std::string& path, const Home& home, std::uint32_t confirmed) {
  auto ledger = opened(path);
  good(ledger->check());
  const auto box = reread(*ledger, home);
  const auto batches = (box.floor.value - 1) / 400;
  CHECK(batches >= confirmed);
  CHECK(batches <= kTransactions);
  CHECK(box.tally.of(MessageState::Listed) == batches * 200);
  CHECK(box.tally.of(MessageState::Delivered) == batches * 200);
}

// Hauls with a fault at the N-th mutating call. False: the work was done before the fault could strike.
bool struck_at(int n, bool lasting, int as) {
  CAPTURE(n);
  Scratch scratch;
  fault = {};
  Home home;
  {
    auto ledger = opened(scratch.state());
    home = make_home(*ledger);
  }
  std::uint32_t confirmed = 0;
  bool struck = false;
  {
    auto ledger = opened(scratch.state());
    fault = {.countdown = n, .lasting = lasting, .as = as};
    for (int i = 0; i < kTransactions; ++i) {
      const bool before = fault.sync_failed;
      const auto done = haul(*ledger, home);
      if (done) {
        ++confirmed;
        continue;
      }
      struck = true;
      CHECK(fault.struck);
      CHECK(done.error().scope == Scope::Service);
      CHECK(done.error().retry == (as == SQLITE_FULL && !fault.sync_failed ? Retry::AfterUserAction : Retry::Later));
      if (before || fault.sync_failed) CHECK_FALSE(ledger->begin());
    }
    if (fault.struck) struck = true;  // a checkpoint's failure is made good by the next one
  }
  fault = {};
  verify(scratch.state(), home, confirmed);
  return struck;
}

TEST_CASE("a disk that fails at any write or sync") {
  const FaultyDisk disk;
  for (const int as : {SQLITE_IOERR_WRITE, SQLITE_FULL}) {
    for (const bool lasting : {false, true}) {
      CAPTURE(as);
      CAPTURE(lasting);
      int n = 1;
      while (struck_at(n, lasting, as)) n += n < 40 ? 1 : 7;
      CHECK(n > 40);
    }
  }
}

TEST_CASE("a disk that fails while the state is made: the next start makes it whole") {
  const FaultyDisk disk;
  bool struck = true;
  int n = 1;
  for (; struck; ++n) {
    CAPTURE(n);
    Scratch scratch;
    fault = {.countdown = n, .lasting = true, .as = SQLITE_IOERR_WRITE};
    struck = !Ledger::open(scratch.state()) || fault.struck;
    fault = {};
    auto ledger = opened(scratch.state());
    const Home home = make_home(*ledger);
    CHECK(reread(*ledger, home).raw_name == "INBOX");
  }
  CHECK(n > 10);
}

}  // namespace
}  // namespace mailhaul::store
