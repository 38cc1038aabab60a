#include "collector/service/service.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

namespace mailhaul::service {

using registry::AccountRow;
using registry::DestinationRow;
using registry::Id;
using registry::JobRow;
using registry::RunKind;
using registry::RunRow;
using registry::Sealed;

struct Service::Lock {
  int file = -1;
  ~Lock() {
    if (file >= 0) ::close(file);
  }
};

namespace {

Error trouble(std::string what, std::string advice) {
  return {Scope::Service, Retry::AfterUserAction, std::move(what), std::move(advice)};
}

Done make_directory(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error)
    return trouble("the directory " + path + " cannot be made: " + error.message(),
                   "It must be writable by the user who runs this program.");
  return done();
}

Done take_lock(const std::string& data, int& file) {
  const auto lock = data + "/lock";
  file = ::open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0)
    return trouble("the data directory " + data + " cannot be written",
                   "It must belong to the user who runs this program.");
  if (::flock(file, LOCK_EX | LOCK_NB) != 0)
    return trouble("another mailhaul serves " + data, "Stop it first, or name another data directory.");
  return done();
}

std::string place_of(Sealed what, Id id) {
  return what == Sealed::Password ? place_of_password(id) : place_of_channel_secret(id);
}
std::string named(Sealed what, Id id) {
  return (what == Sealed::Password ? "account " : "channel ") + std::to_string(id);
}

Error io_trouble(const std::string& path, const std::error_code& error) {
  return trouble(path + ": " + error.message(),
                 "The data directory must be writable by the user who runs this program.");
}

}  // namespace

Result<std::string> Service::restore(const ServiceSettings& settings, const std::string& backup, const Clock& clock) {
  namespace fs = std::filesystem;
  if (auto made = make_directory(settings.data); !made) return made.error();
  Lock lock;
  if (auto taken = take_lock(settings.data, lock.file); !taken) return taken.error();
  const auto there = settings.data + "/service.db", fresh = there + ".restoring";
  std::error_code error;
  for (const char* part : {"", "-wal", "-shm"}) fs::remove(fresh + part, error);
  if (!fs::copy_file(backup, fresh, error)) return io_trouble(backup, error);
  fs::permissions(fresh, fs::perms::owner_read | fs::perms::owner_write, error);
  {
    auto opened = registry::Registry::open(fresh);  // brought to today's schema, and looked through
    Done examined = opened ? (*opened)->examine() : Done(opened.error());
    auto whole = examined ? (*opened)->audit_is_whole() : Result<bool>(examined.error());
    if (!whole || !*whole) {
      opened = Error{};
      for (const char* part : {"", "-wal", "-shm"}) fs::remove(fresh + part, error);
      return whole ? trouble(backup + ": its audit log was edited", "Take another backup.")
                   : whole.error().in("restore");
    }
  }
  const auto kept = there + ".replaced-" + std::to_string(clock.unix_seconds());
  const bool replaces = fs::exists(there, error);
  for (const char* part : {"-wal", "-shm", ""}) {  // an old WAL beside the new file would be played into it
    if (!fs::exists(there + part, error)) continue;
    fs::rename(there + part, kept + part, error);
    if (error) return io_trouble(there + part, error);
  }
  for (const char* part : {"-wal", ""}) {
    if (!fs::exists(fresh + part, error)) continue;
    fs::rename(fresh + part, there + part, error);
    if (error) return io_trouble(there, error);
  }
  fs::remove(fresh + "-shm", error);
  const int directory = ::open(settings.data.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory >= 0) ::fsync(directory);
  if (directory >= 0) ::close(directory);
  return replaces ? kept : std::string();
}

Service::Service(const ServiceSettings& settings, const Clock& clock)
    : settings_(settings), clock_(clock), lock_(std::make_unique<Lock>()), events_(clock) {}
Service::~Service() { stop(); }

Result<std::unique_ptr<Service>> Service::open(const ServiceSettings& settings, const Clock& clock) {
  for (const auto& path : {settings.data, settings.mail_root})
    if (auto made = make_directory(path); !made) return made.error();
  ::chmod(settings.data.c_str(), 0700);
  std::unique_ptr<Service> service(new Service(settings, clock));
  if (auto taken = take_lock(settings.data, service->lock_->file); !taken) return taken.error();
  auto secrets = registry::SecretBox::open(settings.data + "/keys", settings.master_key);
  if (!secrets) return secrets.error();
  service->secrets_ = *std::move(secrets);
  auto opened = registry::Registry::open(settings.data + "/service.db");
  if (!opened) return opened.error();
  service->registry_ = *std::move(opened);
  // What is damaged is not run on: rows that cannot be read would be taken for rows that are not there.
  if (auto whole = service->registry_->examine(); !whole) return whole.error();
  service->access_ = std::make_unique<Access>(*service->registry_, clock, service->events_, settings.data);
  service->consents_ = std::make_unique<Consents>(*service->registry_, *service->secrets_, clock, settings.gate, "",
                                                  [raw = service.get()](Id account) { raw->try_at_once(account); });
  auto& notifier = service->notifier_ = std::make_unique<Notifier>(
      *service->registry_, *service->secrets_, settings.gate, service->events_, clock, [raw = service.get()] {
        return Notifier::Disk{raw->disk_free(), raw->settings_.scheduler.disk_reserve};
      });
  service->scheduler_ = std::make_unique<Scheduler>(*service->registry_, service->ground(), service->events_, clock,
                                                    settings.scheduler, [raw = notifier.get()] { raw->wake(); });
  service->started_ = clock.unix_seconds();
  return service;
}

Done Service::start() {
  if (auto started = scheduler_->start(); !started) return started;
  notifier_->start();
  return done();
}
void Service::stop() {
  stopping_.request_stop();
  if (consents_) consents_->stop();
  if (scheduler_) scheduler_->stop();
  if (notifier_) notifier_->stop();
}

std::string Service::name_of(Id user) {
  auto row = registry_->user(user);
  return row && *row ? (*row)->name : std::string();
}

Outcome<std::string> Service::path_below_root(const std::string& path) const {
  const auto root = std::filesystem::path(settings_.mail_root).lexically_normal();
  const auto normal = (root / path).lexically_normal();
  auto text = normal.string();
  while (text.size() > 1 && text.ends_with('/')) text.pop_back();
  const auto below = std::filesystem::path(text).lexically_relative(root);
  const bool odd = std::ranges::any_of(path, [](unsigned char c) { return c < 0x20 || c == 0x7f; });
  if (path.empty() || odd || below.empty() || below.native() == "." || below.native().starts_with(".."))
    return invalid("path", "mail goes below " + root.string(), "Name a directory there, such as you@example.org.");
  // A symbolic link on the way would lead out of the root.
  std::error_code error;
  const auto real = std::filesystem::weakly_canonical(text, error);
  const auto real_root = std::filesystem::weakly_canonical(root, error);
  const auto inside = real.lexically_relative(real_root);
  if (error || inside.empty() || inside.native().starts_with(".."))
    return invalid("path", "this path leads out of " + root.string());
  return text;
}

Outcome<PageOf<DestinationView>> Service::destinations(const Viewer& viewer, const PageRequest& request) {
  registry::Registry::Page page;
  page.owner = viewer.sees();
  page.limit = request.limit + 1;
  std::from_chars(request.cursor.data(), request.cursor.data() + request.cursor.size(), page.after);
  auto rows = registry_->destinations(page);
  if (!rows) return rows.error();
  return page_of<DestinationView>(*rows, request.limit, [this](const auto& row) { return view(row); });
}

Outcome<DestinationView> Service::view(const DestinationRow& row) {
  auto jobs = registry_->jobs_of_destination(row.id);
  if (!jobs) return jobs.error();
  return DestinationView{row, *std::move(jobs), name_of(row.owner)};
}

Outcome<DestinationView> Service::destination(const Viewer& viewer, Id id) {
  auto row = registry_->destination(id);
  if (!row) return row.error();
  if (!*row || (viewer.sees() != 0 && (*row)->owner != viewer.sees())) return not_found("there is no such destination");
  return view(**row);
}

Outcome<DestinationView> Service::add_destination(const Viewer& viewer, const std::string& name,
                                                  const std::string& path, const std::string& names) {
  auto below = path_below_root(path);
  if (!below) return below.refusal();
  if (names != "utf7" && names != "utf8") return invalid("names", "names is utf7 or utf8");
  DestinationRow row;
  row.name = name.empty() ? path : name;
  row.path = *below;
  row.names = names;
  return keep(viewer, std::move(row), "path");
}

Outcome<DestinationView> Service::add_destination(const Viewer& viewer, const std::string& name, Id account) {
  auto into = own_account(viewer, account);
  if (!into) return invalid("account", "there is no such account");
  auto address = collector::parse_source(into->source);
  if (!address) return invalid("account", address.error().what, address.error().advice);
  if (address->protocol == collector::Protocol::Pop3)
    return invalid("account", "nothing can be put into an account over POP3", "Add it with imaps:// for that.");
  DestinationRow row;
  row.name = name.empty() ? into->name : name;
  row.names = "utf7";
  row.account = account;
  row.source = into->source;
  return keep(viewer, std::move(row), "account");
}

Outcome<DestinationView> Service::keep(const Viewer& viewer, DestinationRow row, const char* field) {
  row.owner = viewer.user;
  row.created = clock_.unix_seconds();
  auto id = registry_->add(row);
  if (!id && id.error().retry == Retry::AfterUserAction)
    return Refusal{Why::Conflict, id.error().what, "Use the one there is, or another.", field};
  if (!id) return id.error();
  row.id = *id;
  access_->note(viewer, "add destination", "destination " + std::to_string(row.id));
  return view(row);
}

Accepted Service::remove_destination(const Viewer& viewer, Id id) {
  auto there = destination(viewer, id);
  if (!there) return there.refusal();
  auto removed = registry_->remove_destination(id);
  if (!removed) return removed.error();
  if (!*removed) return Refusal{Why::Conflict, "a job collects into this destination", "Remove the job first."};
  access_->note(viewer, "remove destination", "destination " + std::to_string(id));
  return accepted();
}

Outcome<std::optional<Service::Remembered>> Service::remembered(const Viewer& viewer, const std::string& key,
                                                                const std::string& request) {
  (void)registry_->expire_idempotency(clock_.unix_seconds() - 86'400);
  auto row = registry_->idempotency(viewer.user, key);
  if (!row) return row.error();
  if (!*row) return std::optional<Remembered>{};
  if ((*row)->request != registry::token_hash(request))
    return Refusal{Why::Conflict, "this Idempotency-Key was used for another request", "Use a new key.",
                   "Idempotency-Key"};
  return std::optional<Remembered>({(*row)->status, (*row)->body});
}

void Service::remember(const Viewer& viewer, const std::string& key, const std::string& request, int status,
                       const std::string& body) {
  (void)registry_->add(
      registry::IdempotencyRow{key, viewer.user, registry::token_hash(request), status, body, clock_.unix_seconds()});
}

Done Service::rotate_key() {
  const auto directory = settings_.data + "/keys";
  if (auto rotated = secrets_->rotate(directory); !rotated) return rotated;
  auto resealed = registry_->reseal([&](Sealed what, Id id, const std::string& sealed) -> Result<std::string> {
    auto secret = secrets_->open_sealed(sealed, place_of(what, id));
    if (!secret) return secret.error().in(named(what, id));
    return secrets_->seal(*secret, place_of(what, id));
  });
  if (!resealed) return resealed;
  return registry::SecretBox::remove_older(directory);
}

Done Service::verify_key() {
  std::string lost;
  auto looked = registry_->reseal([&](Sealed what, Id id, const std::string& sealed) -> Result<std::string> {
    if (!secrets_->open_sealed(sealed, place_of(what, id))) lost += (lost.empty() ? "" : ", ") + named(what, id);
    return sealed;
  });
  if (!looked || lost.empty()) return looked;
  return trouble("the secrets of these cannot be opened with the keys that are here: " + lost,
                 "Enter them again, or give the service its old key back.");
}

Done Service::backup(const std::string& path) { return registry_->backup(path); }

std::uint64_t Service::disk_free() const {
  struct statvfs disk {};
  return ::statvfs(settings_.mail_root.c_str(), &disk) == 0 ? std::uint64_t{disk.f_bavail} * disk.f_frsize : 0;
}

SystemView Service::system() {
  SystemView out;
  out.version = settings_.version;
  out.mail_root = settings_.mail_root;
  out.started = started_;
  out.disk_free = disk_free();
  out.disk_reserve = settings_.scheduler.disk_reserve;
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;)
    if (word == "VmRSS:") {
      status >> out.memory;
      out.memory <<= 10;
      break;
    }
  out.load = scheduler_->load();
  out.totals = scheduler_->totals();
  out.watched = scheduler_->watched();
  out.workers = settings_.scheduler.workers;
  out.key_generated = secrets_->generated();
  out.notes_lost = access_->notes_lost();
  out.log_level = log_level_;
  return out;
}

SystemView Service::set_log_level(const Viewer& viewer, Level level) {
  log_level_ = level;
  access_->note(viewer, "change log level", std::to_string(static_cast<int>(level)));
  return system();
}

Result<bool> Service::ready() {
  auto answers = registry_->answers();
  if (!answers) return answers;
  return system().disk_free > settings_.scheduler.disk_reserve;
}

}  // namespace mailhaul::service
