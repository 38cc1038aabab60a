#include "store/registry/registry.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>

#include "migrations/migrations.h"
#include "store/registry/rows.h"

namespace mailhaul::registry {

using rows::bind_all;

namespace {

constexpr std::int64_t kApplicationId = 0x4D485352;  // "MHSR", as migration 1 writes it
constexpr char kDamaged[] =
    "Restore a backup (mailhaul backup makes them). Collected mail and its ledgers lie beside the mail and are not "
    "affected.";

Error cannot(const std::string& what, int number) {
  return {Scope::Service, Retry::AfterUserAction, what + ": " + std::generic_category().message(number),
          "The data directory must be writable by the user who runs this program."};
}

Done make_private(const std::string& path) {
  const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0) return cannot(path, errno);
  ::close(file);
  return done();
}

Done copy_to(sqlite::Database& db, const std::string& path) {
  // VACUUM INTO makes the file itself, with the mode of a stranger: it must be there before, empty and private.
  std::error_code error;
  if (std::filesystem::exists(path, error))
    return Error{Scope::Service, Retry::AfterUserAction, path + " exists already", "Name another file."};
  if (auto made = make_private(path); !made) return made;
  auto q = db.use("VACUUM INTO ?1");
  q->bind(1, std::string_view(path));
  return q->run();
}

Done upgrade(sqlite::Database& db, const std::string& path) {
  auto version = db.schema_version();
  if (!version) return version.error();
  const auto all = migrations::service();
  if (*version > all.back().number)
    return Error{Scope::Service, Retry::AfterUserAction,
                 path + ": written by a newer mailhaul: its schema is version " + std::to_string(*version) +
                     ", this program knows versions up to " + std::to_string(all.back().number),
                 "Use the newer mailhaul, or restore a backup of the older one."};
  if (*version > 0 && *version < all.back().number) {
    const auto copy = path + ".before-" + all.back().name;
    std::error_code ignored;
    std::filesystem::remove(copy, ignored);
    if (auto copied = copy_to(db, copy); !copied) return copied.error().in("copy before the schema changes");
  }
  for (const auto& migration : all) {
    if (migration.number <= *version) continue;
    if (auto ok = db.migrate(migration.number, migration.sql); !ok)
      return ok.error().in("service database: migration " + std::string(migration.name));
  }
  return done();
}

}  // namespace

Registry::~Registry() = default;

Result<std::unique_ptr<Registry>> Registry::open(const std::string& path) {
  auto kind = sqlite::kind_of_file(path);
  if (!kind) return kind.error();
  if (*kind == sqlite::FileKind::Fresh)
    if (auto made = make_private(path); !made) return made.error();
  if (*kind == sqlite::FileKind::Damaged || *kind == sqlite::FileKind::Foreign)
    return Error{Scope::Service, Retry::AfterUserAction, path + " is no database of mailhaul, or a damaged one",
                 kDamaged};
  sqlite::Database::Options how;
  how.application_id = kApplicationId;
  how.advice_if_damaged = kDamaged;
  how.exclusive = sqlite::on_network(path);
  auto db = sqlite::Database::open(path, how);
  if (!db) return db.error();
  if (auto ok = upgrade(**db, path); !ok) return ok.error();
  return std::unique_ptr<Registry>(new Registry(*std::move(db)));
}

Result<std::string> Registry::setting(std::string_view name) {
  return locked([&](sqlite::Database& db) -> Result<std::string> {
    auto q = db.use("SELECT value FROM setting WHERE name = ?1");
    bind_all(*q, name);
    auto row = q->step();
    if (!row) return row.error();
    return *row ? std::string(q->text(0)) : std::string();
  });
}

Done Registry::set(std::string_view name, std::string_view value) {
  return locked([&](sqlite::Database& db) {
    auto q = db.use("INSERT INTO setting VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = excluded.value");
    bind_all(*q, name, value);
    return q->run();
  });
}

Done Registry::backup(const std::string& path) {
  return locked([&](sqlite::Database& db) { return copy_to(db, path); });
}

Done Registry::examine() {
  return locked([](sqlite::Database& db) { return db.examine(); });
}

Result<bool> Registry::answers() {
  return locked([](sqlite::Database& db) -> Result<bool> {
    auto count = db.query_integer("SELECT count(*) FROM setting");
    if (!count) return count.error();
    return true;
  });
}

}  // namespace mailhaul::registry
