#include "collector/collect.h"

#include <sys/stat.h>

#include <condition_variable>
#include <cstdio>
#include <filesystem>
#include <mutex>
#include <optional>

#include "collector/imap_destination.h"
#include "collector/imap_source.h"
#include "collector/pop3_source.h"
#include "collector/sync/patience.h"
#include "protocols/discovery/presets.h"
#include "store/copy_book.h"
#include "store/maildir.h"

namespace mailhaul::collector {
namespace {

bool exists(const std::string& path) {
  struct stat st {};
  return ::stat(path.c_str(), &st) == 0;
}

// Appends lines to the trace file, one at a time.
class Trace {
 public:
  explicit Trace(const std::string& path) : file_(std::fopen(path.c_str(), "ae"), &std::fclose) {}
  [[nodiscard]] bool open() const { return file_ != nullptr; }
  void write(std::string_view line) {
    const std::lock_guard lock(mutex_);
    std::fprintf(file_.get(), "%.*s\n", static_cast<int>(line.size()), line.data());
    std::fflush(file_.get());
  }

 private:
  std::mutex mutex_;
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_;
};

// Waits for so long or until somebody asks to stop.
std::function<void(std::chrono::milliseconds)> waiter(const std::stop_token& stop) {
  return [stop](std::chrono::milliseconds pause) {
    std::mutex mutex;
    std::condition_variable_any changed;
    std::unique_lock lock(mutex);
    changed.wait_for(lock, stop, pause, [] { return false; });
  };
}

// Some POP3 servers show so many messages at a time (Gmail 250, others 500 or 1,000), and the others in a new session.
bool more_behind(const sync::Report& last, const Pop3Habits& habits) {
  constexpr std::uint64_t kWindow = 200;
  if (!last.complete() || habits.delays_logins) return false;
  return habits.drained || last.sum.delivered >= (habits.gmail ? 1 : kWindow);
}

// Google counts, and locks the account for a day: 2,500 MB by IMAP, 1,250 MB by POP3.
std::uint64_t daily_octets(const Job& job) {
  if (job.daily_octets) return *job.daily_octets;
  const auto& host = job.source.host;
  if (!host.ends_with(".gmail.com") && !host.ends_with(".googlemail.com")) return 0;
  return job.source.protocol == Protocol::Pop3 ? 1'250'000'000 : 2'500'000'000;
}

// How every connection of a job is made.
client::ClientOptions client_options(const Job& job, const std::stop_token& stop) {
  client::ClientOptions options;
  options.connect.ca_file = job.ca_file;
  options.connect.proxy = job.proxy;
  options.connect.gate = job.gate;
  options.connect.client_certificate = job.client_certificate;
  options.compress = job.compress;
  options.pipeline = 128;
  options.manners = std::make_shared<client::Manners>();
  options.masked_capabilities = job.quirks.masked;
  options.pause = waiter(stop);
  std::shared_ptr<Trace> trace;
  if (!job.trace_file.empty()) trace = std::make_shared<Trace>(job.trace_file);
  if (trace && trace->open()) options.wire_log = [trace](std::string_view line) { trace->write(line); };
  return options;
}

// An IMAP account as destination. Its state says what lies in it, so it is opened first.
Result<Workplace> open_account(const Job& job, bool create, const std::stop_token& stop,
                               const sync::EventSink& events) {
  Workplace place;
  const auto state = state_path(job);
  if (!create && !exists(state)) return place;
  const auto folder = std::filesystem::path(state).parent_path();
  std::error_code error;
  if (!folder.empty()) std::filesystem::create_directories(folder, error);
  auto ledger = store::Ledger::open(state);  // keeps others out, too
  if (!ledger) return ledger.error();
  auto book = store::CopyBook::open(state + ".copies");
  if (!book) return book.error();
  auto options = client_options(job, stop);
  options.manners = std::make_shared<client::Manners>();  // another server, another set of manners
  options.masked_capabilities.clear();
  options.connect.client_certificate.clear();
  if (job.account_ca_file) options.connect.ca_file = *job.account_ca_file;
  client::Account account{{job.account->host, job.account->port},
                          job.account->security,
                          job.account->user,
                          job.account_password,
                          job.account->authzid};
  account.token = job.account_token;
  if (const auto* provider = discovery::preset_of_server(job.account->host)) account.help = provider->help();
  ImapDestinationSettings settings;
  settings.connect = [=] { return client::ImapClient::connect(account, options, stop); };
  settings.text = job.account->text();
  settings.spool = folder.empty() ? "." : folder.string();
  settings.wait = waiter(stop);
  settings.stop = stop;
  settings.second_look = job.second_look;
  auto destination = ImapDestination::open(std::move(settings), *std::move(book));
  if (!destination) return destination.error();
  if (events && !(*destination)->quota().empty()) events(sync::Trouble{"the destination: " + (*destination)->quota()});
  place.destination = *std::move(destination);
  place.ledger = *std::move(ledger);
  return place;
}

}  // namespace

std::string state_path(const Job& job) {
  if (!job.state.empty()) return job.state;
  return job.account ? default_state(*job.account) : job.maildir + "/mailhaul/state.db";
}

Result<Workplace> open_workplace(const Job& job, bool create, const std::stop_token& stop,
                                 const sync::EventSink& events) {
  if (job.account) return open_account(job, create, stop, events);
  Workplace place;
  if (!create && !exists(job.maildir)) return place;
  auto maildir = store::Maildir::open(store::posix_file_system(), job.maildir, {job.names, create});
  if (!maildir) return maildir.error();
  place.destination = *std::move(maildir);
  if (!create && !exists(state_path(job))) return place;
  auto ledger = store::Ledger::open(state_path(job));
  if (!ledger) return ledger.error();
  place.ledger = *std::move(ledger);
  return place;
}

sync::SourceFactory source_factory(const Job& job, const std::stop_token& stop, const sync::EventSink& events,
                                   std::shared_ptr<Pop3Habits> habits) {
  client::Account account{
      {job.source.host, job.source.port}, job.source.security, job.source.user, job.password, job.source.authzid};
  account.token = job.token;
  if (const auto* provider = discovery::preset_of_server(job.source.host)) account.help = provider->help();
  const auto options = client_options(job, stop);
  const ImapSourceOptions about{job.source.host, job.quirks.chosen, job.gmail_labels};
  const auto told = std::make_shared<std::once_flag>();
  if (job.source.protocol == Protocol::Pop3) {
    if (!habits) habits = std::make_shared<Pop3Habits>();
    habits->recent = job.source.user.starts_with("recent:");
    habits->status_flags = job.pop3_status_flags;
    return [=]() -> Result<std::unique_ptr<sync::Source>> {
      auto client = client::Pop3Client::connect(account, options, stop);
      if (!client) return client.error();
      const auto security = (*client)->security();
      auto source = std::make_unique<Pop3Source>(*std::move(client), habits);
      std::call_once(*told, [&] {
        if (events) events(sync::Connected{account.endpoint.host, security});
        if (const auto notice = source->notice(); events && !notice.empty()) events(sync::Trouble{notice});
      });
      return std::unique_ptr<sync::Source>(std::move(source));
    };
  }
  return [=]() -> Result<std::unique_ptr<sync::Source>> {
    auto client = client::ImapClient::connect(account, options, stop);
    if (!client) return client.error();
    std::call_once(*told, [&] {
      if (events) events(sync::Connected{account.endpoint.host, (*client)->security()});
    });
    return std::unique_ptr<sync::Source>(std::make_unique<ImapSource>(*std::move(client), about));
  };
}

Result<sync::Report> collect(const Job& job, const sync::EventSink& events, const std::stop_token& stop) {
  sync::RunContext context;
  const auto habits = std::make_shared<Pop3Habits>();
  context.connect = source_factory(job, stop, events, habits);
  context.wait = waiter(stop);
  // A wrong password or a dead server is found out before anything is created.
  std::optional<std::unique_ptr<sync::Source>> first;
  for (sync::Patience patience(sync::RunSettings{}.patience); !first;) {
    auto source = context.connect();
    if (source) {
      first = *std::move(source);
      break;
    }
    const auto pause = sync::Patience::concerns(source.error()) ? patience.next(source.error()) : std::nullopt;
    if (!pause || stop.stop_requested()) return source.error();
    if (events) events(sync::Trouble{source.error().what + "; waiting " + std::to_string(pause->count()) + " s"});
    context.wait(*pause);
    if (stop.stop_requested()) return source.error();
  }
  auto place = open_workplace(job, !job.dry_run, stop, events);
  if (!place) return place.error();
  context.connect = [connect = context.connect, &first]() -> Result<std::unique_ptr<sync::Source>> {
    if (first) return *std::exchange(first, std::nullopt);
    return connect();
  };
  context.destination = place->destination.get();
  context.ledger = place->ledger.get();
  context.events = events;
  context.clock = &system_clock();
  context.stop = stop;
  sync::RunSettings settings;
  settings.identity = job.source.identity();
  settings.policy = job.policy;
  settings.wanted = [&](const sync::SourceMailbox& m) { return job.rules.wants(m); };
  settings.place = [&](const sync::SourceMailbox& m) { return job.rules.place(m); };
  settings.release = job.release;
  settings.connections = job.source.protocol == Protocol::Pop3 ? 1 : job.connections;  // a maildrop has one session
  settings.newest_first = job.newest_first;
  settings.daily_octets = daily_octets(job);
  settings.dry_run = job.dry_run;
  auto report = sync::run(settings, context);
  for (int idle = 0; report && more_behind(*report, *habits) && idle < 2 && !stop.stop_requested();) {
    habits->drained = false;
    auto next = sync::run(settings, context);
    if (!next) {
      if (habits->gmail) report->error = next.error().what;  // of others it was a guess that there might be more
      return report;
    }
    const auto brought = next->sum.delivered;
    *report = sync::joined(*report, *std::move(next));
    idle = brought > 0 ? 0 : habits->drained ? idle + 1 : 2;
  }
  return report;
}

}  // namespace mailhaul::collector
