// The command line: reads it, wires the rooms, waits for the end or a signal.
#include <malloc.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <thread>

#include "collector/authorize_command.h"
#include "collector/collect.h"
#include "collector/discover_command.h"
#include "collector/ledger_export.h"
#include "collector/progress.h"
#include "collector/report_text.h"
#include "collector/token_file.h"
#include "collector/verify.h"
#include "web/remote.h"
#include "web/serve.h"

namespace {

using namespace mailhaul;             // NOLINT(google-build-using-namespace)
using namespace mailhaul::collector;  // NOLINT(google-build-using-namespace)

enum Exit { kComplete = 0, kIncomplete = 1, kUsage = 2, kCouldNotRun = 3, kSignal = 128 };

int complain(const Error& error, int code) {
  std::fprintf(stderr, "mailhaul: %s%s%s\n", error.what.c_str(), error.advice.empty() ? "" : "; ",
               error.advice.c_str());
  return code;
}

// SIGINT and SIGTERM ask the run to stop; the second one ends the process at once.
class Signals {
 public:
  Signals() {
    sigemptyset(&set_);
    sigaddset(&set_, SIGINT);
    sigaddset(&set_, SIGTERM);
    sigaddset(&set_, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &set_, nullptr);
    std::signal(SIGPIPE, SIG_IGN);
    thread_ = std::thread([this] { wait(); });
  }
  ~Signals() {
    over_ = true;
    pthread_kill(thread_.native_handle(), SIGUSR1);
    thread_.join();
  }
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;
  std::stop_token token() { return stop_.get_token(); }
  [[nodiscard]] int caught() const { return caught_; }

 private:
  void wait() {
    for (int number = 0; sigwait(&set_, &number) == 0;) {
      if (over_) return;
      if (number == SIGUSR1) continue;
      if (caught_ != 0) _exit(kSignal + number);
      caught_ = number;
      stop_.request_stop();
    }
  }
  sigset_t set_{};
  std::stop_source stop_;
  std::atomic<int> caught_{0};
  std::atomic<bool> over_{false};
  std::thread thread_;
};

Result<Secret> prompt(const std::string& what) {
  termios before{};
  if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &before) != 0)
    return Error{Scope::Service, Retry::AfterUserAction, "no password was given for " + what,
                 "use --source-password-file FILE, the variable MAILHAUL_SOURCE_PASSWORD, or a terminal"};
  auto quiet = before;
  quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO);
  tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);  // before the prompt: who answers it at once must not be echoed
  std::fprintf(stderr, "Password for %s: ", what.c_str());
  std::string line;
  const bool read = static_cast<bool>(std::getline(std::cin, line));
  tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
  std::fputc('\n', stderr);
  if (!read || line.empty()) return Error{Scope::Service, Retry::AfterUserAction, "the password is empty", ""};
  Secret secret(line);
  explicit_bzero(line.data(), line.size());
  return secret;
}

// The file, else the environment, else the terminal. One line; its end does not belong to the password.
Result<Secret> password(const std::string& file, const SourceAddress& source) {
  const auto trimmed = [](std::string text) {
    while (text.ends_with('\n') || text.ends_with('\r')) text.pop_back();
    return text;
  };
  auto path = file;
  if (const char* named = std::getenv("MAILHAUL_SOURCE_PASSWORD_FILE"); path.empty() && named) path = named;
  if (!path.empty()) {
    std::ifstream in(path, std::ios::binary);
    if (!in)
      return Error{Scope::Service, Retry::AfterUserAction, "the password file " + path + " cannot be read",
                   "check its name and its permissions"};
    Secret secret(trimmed({std::istreambuf_iterator<char>(in), {}}));
    if (secret.empty())
      return Error{Scope::Service, Retry::AfterUserAction, "the password file " + path + " is empty", ""};
    return secret;
  }
  if (const char* value = std::getenv("MAILHAUL_SOURCE_PASSWORD"); value && *value) return Secret(trimmed(value));
  return prompt(source.text());
}

struct Options {  // the command line as text, before it is understood
  std::string source, destination, password_file, token_file, authzid, certificate, resolver, ca_file, proxy, state,
      since, max_size, trace;
  std::string namespaces = "personal", special_use = "map", on_delete = "keep", names = "utf7", leave = "forever";
  std::vector<std::string> connect_to, include, exclude, map, quirks, release_hold;
  unsigned grace = 7;  // days
  std::size_t connections = 1;
  bool json = false, dry_run = false, allow_plaintext = false, compress = false, deep = false;
};

void add_discovery_options(CLI::App& command, Options& o) {
  command.add_option("--ca-file", o.ca_file, "certificates to trust instead of the system's (PEM)");
  command.add_option("--proxy", o.proxy, "socks5h://host:port or http://host:port");
  command.add_option("--resolver", o.resolver, "the DNS server to ask for a domain's mail servers (ADDRESS:PORT)");
  command.add_option("--connect-to", o.connect_to,
                     "HOST:PORT:TO-HOST:TO-PORT: where a server is while it is looked for (repeatable)");
}

void add_authorize_options(CLI::App& command, Options& o, AuthorizeRequest& request) {
  command.add_option("ADDRESS", o.source, "user@domain")->required();
  add_discovery_options(command, o);
  command.add_option("--issuer", request.issuer, "a provider that is not known here, by its metadata document");
  command.add_option("--host", request.hosts, "with --issuer: the mail server that the tokens are for (repeatable)");
  command.add_option("--scope", request.scope, "what to ask for, where it is not known");
  command.add_option("--client-id", request.client_id, "as the provider has registered you");
  command.add_option("--client-secret-file", request.client_secret_file,
                     "file with the client's secret, if it has one");
  command.add_option("--token-file", o.token_file, "where the tokens are kept");
  command.add_flag("--browser", request.browser, "allow it in this machine's browser even where a code would do");
  command.add_flag("--pop3", request.pop3, "for POP3 instead of IMAP");
  command.add_flag("--json", o.json, "one JSON object a line");
  command.footer("Exit status: 0 allowed, 1 not allowed, 2 usage, 3 could not run.");
}

void add_options(CLI::App& command, Options& o, bool collecting) {
  command
      .add_option("SOURCE", o.source,
                  "an address (user@domain), imaps://user@host[:port] or pop3s://user@host[:port]; imap:// and pop3:// "
                  "start TLS themselves")
      ->required();
  command.add_option("DESTINATION", o.destination, "maildir:/path (Maildir++, created when absent)")->required();
  command.add_option("--source-password-file", o.password_file,
                     "file with the password (or MAILHAUL_SOURCE_PASSWORD, or a prompt)");
  command.add_option("--source-token-file", o.token_file,
                     "tokens that mailhaul authorize has made (used by themselves where no password is given)");
  command.add_option("--source-authzid", o.authzid, "the user whose mail it is, where SOURCE names an administrator");
  command.add_option("--client-certificate", o.certificate, "certificate and key to show to the server (PEM)");
  add_discovery_options(command, o);
  command.add_option("--state", o.state, "the ledger's file (default: DESTINATION/mailhaul/state.db)");
  command.add_option("--include", o.include, "only mailboxes whose name matches this pattern (repeatable)");
  command.add_option("--exclude", o.exclude, "no mailboxes whose name matches this pattern (repeatable)");
  command.add_option("--namespaces", o.namespaces, "personal, or all: other users' and shared mailboxes too");
  command.add_option("--quirk", o.quirks, "+NAME or -NAME, see mailhaul quirks (repeatable)");
  command.add_option("--maildir-names", o.names, "utf7 (Dovecot, mutt) or utf8 (Courier 5)");
  command.add_option("--trace", o.trace, "append the protocol to this file, secrets struck out");
  command.add_flag("--allow-plaintext", o.allow_plaintext,
                   "imap:// or pop3:// without TLS: everybody on the way can read password and mail");
  command.add_flag("--compress", o.compress, "COMPRESS=DEFLATE if the server offers it");
  command.add_flag("--json", o.json, "one JSON object a line, the last one is the report");
  if (!collecting) {
    command.add_flag("--deep", o.deep, "read every message on both sides again and compare SHA-256");
    return;
  }
  command.add_flag("--dry-run", o.dry_run, "say what would be done, write nothing");
  command.add_option("--map", o.map, "'A=B': put mailbox A, and what is below it, into B (repeatable)");
  command.add_option("--special-use", o.special_use,
                     "map: Sent, Drafts, Junk, Trash, Archive under these names, or keep: as the source calls them");
  command.add_option("--since", o.since, "only mail that arrived at the source on or after YYYY-MM-DD");
  command.add_option("--max-size", o.max_size, "no messages larger than this (octets, or 500K, 20M, 2G)");
  command.add_option("--connections", o.connections, "connections to the source")->check(CLI::Range(1, 16));
  command.add_option(
      "--on-source-delete", o.on_delete,
      "what happens to the copy of a message that has vanished there: keep, flag ($SourceGone) or remove");
  command.add_option("--grace", o.grace, "days before --on-source-delete remove removes a copy (default 7)")
      ->check(CLI::Range(0, 3650));
  command.add_option("--pop3-leave", o.leave,
                     "POP3: messages stay at the source forever (default), a number of days, or delete: until the next "
                     "run has compared their copies");
  command.add_option("--release-hold", o.release_hold, "let the held removals of this mailbox go ahead (repeatable)");
}

Error usage(std::string what, std::string advice = "") {
  return {Scope::Service, Retry::AfterUserAction, std::move(what), std::move(advice)};
}

Done understand_rules(const Options& o, Job& job) {
  job.rules.include = o.include;
  job.rules.exclude = o.exclude;
  for (const auto& rule : o.map) {
    auto parsed = parse_map(rule);
    if (!parsed) return parsed.error();
    job.rules.map.push_back(*std::move(parsed));
  }
  if (o.namespaces != "personal" && o.namespaces != "all") return usage("--namespaces is personal or all");
  if (o.special_use != "map" && o.special_use != "keep") return usage("--special-use is map or keep");
  job.rules.special_use = o.special_use == "map";
  job.rules.all_namespaces = o.namespaces == "all";
  if (o.names != "utf7" && o.names != "utf8") return usage("--maildir-names is utf7 or utf8");
  job.names = o.names == "utf8" ? store::MaildirNames::Utf8 : store::MaildirNames::Utf7;
  if (!o.since.empty()) {
    auto since = parse_day(o.since);
    if (!since) return since.error().in("--since");
    job.policy.since = *since;
  }
  if (!o.max_size.empty()) {
    auto size = parse_size(o.max_size);
    if (!size) return size.error().in("--max-size");
    job.policy.max_size = *size;
  }
  for (const auto& quirk : o.quirks)
    if (auto applied = apply_quirk(quirk, job.quirks); !applied) return applied.error().in("--quirk");
  using sync::OnSourceDelete;
  if (o.on_delete != "keep" && o.on_delete != "flag" && o.on_delete != "remove")
    return usage("--on-source-delete is keep, flag or remove");
  job.policy.on_source_delete = o.on_delete == "flag"     ? OnSourceDelete::Flag
                                : o.on_delete == "remove" ? OnSourceDelete::Remove
                                                          : OnSourceDelete::Keep;
  job.policy.grace = static_cast<std::int64_t>(o.grace) * 86'400;
  job.release = o.release_hold;
  auto leave = parse_leave(o.leave);
  if (!leave) return leave.error().in("--pop3-leave");
  job.policy.leave = *leave;
  return suits_protocol(job.source, job.policy);
}

// An address alone is looked up.
Result<std::string> found_source(const Options& o) {
  if (o.source.find("://") != std::string::npos || o.source.find('@') == std::string::npos) return o.source;
  auto findings = discover({o.source, o.resolver, o.ca_file, o.proxy, o.connect_to}, {}, {});
  if (!findings) return findings.error();
  auto url = source_of(*findings);
  if (url && !o.json) std::fprintf(stderr, "found %s\n", url->c_str());
  return url;
}

// The tokens to log in with; empty: a password.
std::string token_file(const Options& o, const SourceAddress& source, bool password_given) {
  if (!o.token_file.empty() || password_given) return o.token_file;
  for (const auto& address : {source.user, o.source})
    if (auto file = default_token_file(address); !file.empty() && access(file.c_str(), R_OK) == 0) return file;
  return {};
}

Result<Job> understand(const Options& o) {
  Job job;
  const auto url = found_source(o);
  if (!url) return url.error();
  auto source = parse_source(*url);
  if (!source) return source.error();
  job.source = *std::move(source);
  job.source.authzid = o.authzid;
  job.client_certificate = o.certificate;
  if (o.allow_plaintext) {
    if (job.source.security == client::Security::Tls)
      return usage("--allow-plaintext does not go with imaps:// and pop3s://",
                   "leave it out, or write imap:// or pop3://");
    job.source.security = client::Security::Cleartext;
  }
  auto destination = parse_destination(o.destination);
  if (!destination) return destination.error();
  job.maildir = *std::move(destination);
  if (auto rules = understand_rules(o, job); !rules) return rules.error();
  if (!o.ca_file.empty() && access(o.ca_file.c_str(), R_OK) != 0)
    return usage("--ca-file: " + o.ca_file + " cannot be read", "check its name and its permissions");
  job.ca_file = o.ca_file;
  job.proxy = o.proxy;
  job.state = o.state;
  job.trace_file = o.trace;
  job.connections = o.connections;
  job.compress = o.compress;
  job.dry_run = o.dry_run;
  if (const bool named = !o.password_file.empty() || std::getenv("MAILHAUL_SOURCE_PASSWORD");
      !named && !o.certificate.empty())
    return job;  // who shows a certificate needs no password
  else if (const auto file = token_file(o, job.source, named); !file.empty()) {
    http::Options web;
    web.ca_file = o.ca_file;
    web.proxy = o.proxy;
    auto token = token_source(file, job.source.host, web, {});
    if (!token) return token.error();
    job.token = *std::move(token);
    return job;
  }
  auto secret = password(o.password_file, job.source);
  if (!secret) return secret.error();
  job.password = *std::move(secret);
  return job;
}

int stopped_by(const Signals& signals, bool json) {
  if (!json) std::fprintf(stderr, "stopped; nothing is lost: run the same command again to go on\n");
  return kSignal + signals.caught();
}

int run_collect(const Options& o, const Job& job) {
  Signals signals;
  const auto style = o.json ? ProgressStyle::Json : isatty(STDERR_FILENO) ? ProgressStyle::Bar : ProgressStyle::Lines;
  auto report = [&] {
    Progress progress(o.json ? stdout : stderr, style);
    return collect(
        job, [&](const sync::Event& event) { progress.on(event); }, signals.token());
  }();
  if (!report) {
    if (signals.caught() != 0) return stopped_by(signals, o.json);
    return complain(report.error(), kCouldNotRun);
  }
  std::fputs((o.json ? report_json(*report, o.dry_run) + "\n" : report_text(*report, o.dry_run)).c_str(), stdout);
  std::fflush(stdout);
  if (signals.caught() != 0) return stopped_by(signals, o.json);
  if (!report->error.empty()) return complain(usage(report->error), kIncomplete);
  if (o.dry_run) return kComplete;
  return report->complete() ? kComplete : kIncomplete;
}

int run_verify(const Options& o, const Job& job) {
  Signals signals;
  auto outcome = verify(job, o.deep, {}, signals.token());
  if (!outcome) {
    if (signals.caught() != 0) return stopped_by(signals, o.json);
    return complain(outcome.error(), kCouldNotRun);
  }
  std::fputs((o.json ? verification_json(*outcome, o.deep) + "\n" : verification_text(*outcome, o.deep)).c_str(),
             stdout);
  if (signals.caught() != 0) return stopped_by(signals, o.json);
  return outcome->differences.empty() ? kComplete : kIncomplete;
}

int run_ledger(const std::string& path, ExportForm form) {
  if (access(path.c_str(), F_OK) != 0)
    return complain(usage("there is no ledger " + path, "name the state.db of an earlier run (--state)"), kUsage);
  auto ledger = store::Ledger::open(path);
  if (!ledger) return complain(ledger.error(), kCouldNotRun);
  std::signal(SIGPIPE, SIG_IGN);
  auto exported = export_ledger(**ledger, form, [](std::string_view line) {
    return std::fwrite(line.data(), 1, line.size(), stdout) == line.size();
  });
  if (!exported) return complain(exported.error(), kCouldNotRun);
  if (std::fflush(stdout) == 0 || errno == EPIPE) return kComplete;
  return complain(usage(std::string("the output cannot be written: ") + std::strerror(errno)), kCouldNotRun);
}

// An account and its job, without a running service: for scripts that set one up.
int run_add(const Options& o, unsigned minutes) {
  auto settings = web::settings_from(web::environment(), MAILHAUL_VERSION);
  if (!settings) return complain(settings.error(), kUsage);
  auto source = parse_source(o.source);
  if (!source) return complain(source.error(), kUsage);
  auto secret = password(o.password_file, *source);
  if (!secret) return complain(secret.error(), kUsage);
  service::AccountChange account;
  account.source = o.source;
  account.password = *std::move(secret);
  account.allow_plaintext = o.allow_plaintext;
  if (!o.ca_file.empty()) {
    std::ifstream in(o.ca_file, std::ios::binary);
    if (!in) return complain(usage("--ca-file: " + o.ca_file + " cannot be read"), kUsage);
    account.ca = std::string{std::istreambuf_iterator<char>(in), {}};
  }
  auto service = service::Service::open(settings->service, system_clock());
  if (!service) return complain(service.error(), kCouldNotRun);
  auto viewer = (*service)->access().local();
  if (!viewer) return complain(viewer.error(), kCouldNotRun);
  const auto refuse = [](const service::Refusal& why) { return complain(usage(why.what, why.advice), kUsage); };
  auto added = (*service)->add_account(*viewer, account);
  if (!added) return refuse(added.refusal());
  const auto path = o.destination.empty() ? source->user : o.destination;
  auto destination = (*service)->add_destination(*viewer, "", path, o.names);
  if (!destination) return refuse(destination.refusal());
  service::JobChange job;
  job.schedule = R"({"kind":"every","minutes":)" + std::to_string(minutes) + "}";
  auto made = (*service)->add_job(*viewer, added->row.id, destination->row.id, job);
  if (!made) return refuse(made.refusal());
  std::printf("job %lld: %s into %s, every %u minutes\n", static_cast<long long>(made->row.id), made->source.c_str(),
              made->destination_path.c_str(), minutes);
  return kComplete;
}

int run_service(CLI::App& serving, CLI::App& checking, CLI::App& keys, CLI::App& backing_up, const std::string& what) {
  const auto given = web::environment();
  auto settings = web::settings_from(given, MAILHAUL_VERSION);
  if (!settings) return complain(settings.error(), kUsage);
  if (serving) {
    Signals signals;
    const auto served = web::serve(*settings, signals.token());
    return served ? kComplete : complain(served.error(), kCouldNotRun);
  }
  if (checking) {
    const auto well = web::healthcheck(*settings);
    return well ? kComplete : complain(well.error(), kIncomplete);
  }
  if (keys) {
    auto service = service::Service::open(settings->service, system_clock());
    if (!service) return complain(service.error(), kCouldNotRun);
    const auto outcome = what == "rotate" ? (*service)->rotate_key() : (*service)->verify_key();
    if (!outcome) return complain(outcome.error(), kCouldNotRun);
    std::puts(what == "rotate" ? "Every password is sealed with a new key." : "Every password can be opened.");
  }
  if (backing_up) {
    auto registry = registry::Registry::open(settings->service.data + "/service.db");
    if (!registry) return complain(registry.error(), kCouldNotRun);
    const auto copied = (*registry)->backup(what);
    if (!copied) return complain(copied.error(), kCouldNotRun);
    std::puts(("The service's database was copied to " + what + ". Keep the key apart from it.").c_str());
  }
  return kComplete;
}

}  // namespace

int main(int argc, char** argv) {
  umask(077);
  mallopt(M_ARENA_MAX, 1);               // one message at a time crosses threads: an arena for each would only idle
  mallopt(M_MMAP_THRESHOLD, 128 << 10);  // a batch that is done with goes back to the system
  CLI::App app{
      "Mailhaul collects a remote mailbox into a local one: every message once, with its folders, flags and dates."};
  app.name("mailhaul");
  app.require_subcommand(1);
  app.failure_message([](const CLI::App* failed, const CLI::Error& error) {
    return "mailhaul: " + std::string(error.what()) + "; see " +
           (failed->get_parent() ? "mailhaul " + failed->get_name() : failed->get_name()) + " --help\n";
  });
  Options options;
  auto* collecting = app.add_subcommand(
      "collect", "Collect SOURCE into DESTINATION, now. Run it again to go on or to fetch what is new.");
  add_options(*collecting, options, true);
  collecting->footer(
      "Exit status: 0 complete, 1 some messages failed or pending, 2 usage, 3 could not run, 128+n stopped by signal "
      "n.");
  auto* verifying = app.add_subcommand("verify", "Compare SOURCE and DESTINATION, mailbox by mailbox.");
  add_options(*verifying, options, false);
  verifying->footer(
      "Exit status: 0 no difference, 1 differences, 2 usage, 3 could not run, 128+n stopped by signal n.");
  auto* ledger =
      app.add_subcommand("ledger", "Print every message that the ledger knows: state, digest, place, reason.");
  ledger->add_option("--state", options.state, "the ledger's file: DESTINATION/mailhaul/state.db")->required();
  bool csv = false;
  auto* as_csv = ledger->add_flag("--csv", csv, "comma-separated, with a header line (the default)");
  ledger->add_flag("--json", options.json, "one JSON object a line")->excludes(as_csv);
  auto* discovering = app.add_subcommand("discover", "Find the mail server of an address, and say where it was found.");
  discovering->add_option("ADDRESS", options.source, "user@domain")->required();
  add_discovery_options(*discovering, options);
  discovering->add_flag("--json", options.json, "one JSON object a line: each step, then the findings");
  discovering->footer("Exit status: 0 found, 1 not found, 2 not an address, 3 could not run.");
  AuthorizeRequest authorization;
  auto* authorizing = app.add_subcommand("authorize", "Allow the access to an account at its provider (OAuth).");
  add_authorize_options(*authorizing, options, authorization);
  auto* quirks = app.add_subcommand("quirks", "List what is done differently for single kinds of server.");
  auto* serving = app.add_subcommand("serve", "Serve the dashboard and the REST API, and run jobs when they are due.");
  serving->footer(
      "Settings come from the environment: MAILHAUL_DATA (/var/lib/mailhaul), MAILHAUL_MAIL (where mail goes, default "
      "DATA/mail), MAILHAUL_LISTEN (127.0.0.1:8025), MAILHAUL_WORKERS, MAILHAUL_ALLOWED_HOSTS, "
      "MAILHAUL_TRUSTED_PROXIES, MAILHAUL_BASE_PATH, MAILHAUL_MASTER_KEY_FILE, MAILHAUL_LOG_FORMAT (text, json).");
  auto* adding = app.add_subcommand("add", "Add an account and its job to a service that is stopped.");
  adding->add_option("SOURCE", options.source, "imaps://user@host[:port], or imap://user@host[:port]")->required();
  adding->add_option("PATH", options.destination,
                     "where its mail goes, below MAILHAUL_MAIL (default: the user's name)");
  adding->add_option("--source-password-file", options.password_file,
                     "file with the password (or MAILHAUL_SOURCE_PASSWORD, or a prompt)");
  adding->add_option("--ca-file", options.ca_file, "certificates to trust instead of the system's (PEM)");
  adding->add_flag("--allow-plaintext", options.allow_plaintext, "imap:// without TLS");
  unsigned minutes = 15;
  adding->add_option("--minutes", minutes, "between two polls (default 15)")->check(CLI::Range(1, 10080));
  auto* checking = app.add_subcommand("healthcheck", "Ask the service of this machine whether it is well.");
  auto* keys = app.add_subcommand("key", "The key that seals passwords; the service must be stopped.");
  std::string what;
  keys->add_option("ACTION", what, "rotate: a new key for all of them. verify: can they all be opened?")
      ->required()
      ->check(CLI::IsMember({"rotate", "verify"}));
  web::Remote remote;
  std::vector<std::string> words;
  std::vector<CLI::App*> remote_lists;
  const auto add_remote = [&](CLI::App* command) {
    command->add_option("--server", remote.server, "its address (or MAILHAUL_SERVER; default http://localhost:8025)");
    command->add_option("--token-file", remote.token_file, "file with an API token (or MAILHAUL_TOKEN_FILE)");
    command->add_option("--ca-file", remote.ca_file, "certificates to trust instead of the system's (PEM)");
    return command;
  };
  for (const auto& [kind, help] : {std::pair("accounts", "list, show ID, test ID, delete ID"),
                                   std::pair("jobs",
                                             "list, show ID, run ID, retry ID, pause ID, resume ID, cancel ID, "
                                             "preview ID, verify ID, mailboxes ID, failed ID, delete ID"),
                                   std::pair("runs", "list, show ID")}) {
    auto* command = add_remote(app.add_subcommand(kind, "Of a running service: " + std::string(help) + "."));
    command->add_option("ACTION", words, help);
    command->add_flag("--json", options.json, "lists as JSON");
    remote_lists.push_back(command);
  }
  auto* calling = add_remote(app.add_subcommand("api", "Any call of a running service's REST API."));
  calling->add_option("METHOD PATH [JSON]", words, "for example: api POST /destinations '{\"path\": \"me\"}'")
      ->required()
      ->expected(2, 3);
  auto* backing_up = app.add_subcommand("backup", "Copy the service's database to FILE, while it runs.");
  backing_up->add_option("FILE", what, "a file that does not exist yet")->required();
  auto* version = app.add_subcommand("version", "Print the version.");
  app.set_version_flag("--version", "mailhaul " MAILHAUL_VERSION);
  const auto commands = app.get_subcommands([](const CLI::App*) { return true; });
  if (argc > 1 && argv[1][0] != '-' &&
      std::ranges::none_of(commands, [&](const CLI::App* c) { return c->check_name(argv[1]); }))
    return complain(usage("there is no command '" + printable(argv[1]) + "'", "see mailhaul --help"), kUsage);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kComplete : kUsage;
  }
  if (*quirks) {
    std::fputs(quirks_text().c_str(), stdout);
    return kComplete;
  }
  if (*version) {
    std::puts("mailhaul " MAILHAUL_VERSION);
    return kComplete;
  }
  if (*adding) return run_add(options, minutes);
  const auto print = [](const Result<std::string>& answer) -> int {
    if (!answer) return complain(answer.error(), kIncomplete);
    std::fputs(answer->c_str(), stdout);
    return kComplete;
  };
  for (auto* command : remote_lists)
    if (*command) return print(web::remote_list(remote, command->get_name(), words, options.json));
  if (*calling) return print(web::remote_call(remote, words[0], words[1], words.size() > 2 ? words[2] : ""));
  if (*serving || *checking || *keys || *backing_up) return run_service(*serving, *checking, *keys, *backing_up, what);
  if (*ledger) return run_ledger(options.state, options.json ? ExportForm::Json : ExportForm::Csv);
  if (*authorizing) {
    Signals signals;
    authorization.account = {options.source, options.resolver, options.ca_file, options.proxy, options.connect_to};
    authorization.token_file = options.token_file;
    authorization.json = options.json;
    return run_authorize(authorization, signals.token());
  }
  if (*discovering) {
    Signals signals;
    return run_discover({options.source, options.resolver, options.ca_file, options.proxy, options.connect_to},
                        options.json, signals.token());
  }
  auto job = understand(options);
  if (!job) return complain(job.error(), kUsage);
  return *collecting ? run_collect(options, *job) : run_verify(options, *job);
}
