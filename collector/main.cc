// The command line: reads it, wires the rooms, waits for the end or a signal.
#include <malloc.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "collector/authorize_command.h"
#include "collector/collect.h"
#include "collector/contacts_command.h"
#include "collector/cut_over.h"
#include "collector/discover_command.h"
#include "collector/exit.h"
#include "collector/ledger_export.h"
#include "collector/password.h"
#include "collector/progress.h"
#include "collector/report_text.h"
#include "collector/signals.h"
#include "collector/token_file.h"
#include "collector/verify.h"
#include "web/commands.h"

namespace {

using namespace mailhaul;             // NOLINT(google-build-using-namespace)
using namespace mailhaul::collector;  // NOLINT(google-build-using-namespace)

struct Options {  // the command line as text, before it is understood
  std::string source, destination, password_file, destination_password_file, token_file, authzid, certificate, resolver,
      ca_file, proxy, state, since, max_size, daily, trace;
  std::string namespaces = "personal", special_use = "map", on_delete = "keep", names = "utf7", leave = "forever",
              labels = "mailboxes";
  std::vector<std::string> connect_to, include, exclude, map, quirks, release_hold;
  unsigned second_look = 60;  // seconds
  unsigned grace = 7;         // days
  std::size_t connections = 1;
  ContactsOptions contacts;
  std::string final;  // check or deep; empty: an ordinary run
  bool json = false, csv = false, dry_run = false, allow_plaintext = false, compress = false, deep = false,
       status_flags = false, newest_first = false;
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
  command
      .add_option("DESTINATION", o.destination,
                  "maildir:/path (Maildir++, created when absent), or imaps://user@host[:port]")
      ->required();
  command.add_option("--source-password-file", o.password_file,
                     "file with the password (or MAILHAUL_SOURCE_PASSWORD, or a prompt)");
  command.add_option("--destination-password-file", o.destination_password_file,
                     "IMAP destination: file with its password (or MAILHAUL_DESTINATION_PASSWORD, or a prompt)");
  command.add_option("--source-token-file", o.token_file,
                     "tokens that mailhaul authorize has made (used by themselves where no password is given)");
  command.add_option("--source-authzid", o.authzid, "the user whose mail it is, where SOURCE names an administrator");
  command.add_option("--client-certificate", o.certificate, "certificate and key to show to the server (PEM)");
  add_discovery_options(command, o);
  command.add_option("--state", o.state,
                     "the ledger's file (default: DESTINATION/mailhaul/state.db; of an IMAP destination "
                     "$XDG_STATE_HOME/mailhaul/USER@HOST/state.db)");
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
  add_contacts_options(command, o.contacts);
  if (!collecting) {
    command.add_flag("--deep", o.deep, "read every message on both sides again and compare SHA-256");
    return;
  }
  command.add_flag("--dry-run", o.dry_run, "say what would be done, write nothing");
  command.add_option("--map", o.map, "'A=B': put mailbox A, and what is below it, into B (repeatable)");
  command.add_option("--special-use", o.special_use,
                     "map: Sent, Drafts, Junk, Trash, Archive under these names, or keep: as the source calls them");
  command.add_option("--gmail-labels", o.labels,
                     "Gmail: mailboxes, a message in each of its labels (one file, several names), or primary: in one "
                     "of them; what has no label goes to Archive");
  command.add_option("--since", o.since, "only mail that arrived at the source on or after YYYY-MM-DD");
  command.add_option("--max-size", o.max_size, "no messages larger than this (octets, or 500K, 20M, 2G)");
  command.add_option(
      "--daily-bytes", o.daily,
      "what a day may bring (octets, or 500K, 20M, 2G; 0: no limit; default: what Gmail allows, elsewhere "
      "no limit)");
  command
      .add_option("--second-look", o.second_look,
                  "IMAP destination: seconds until a message that was interrupted on its way, and is not there, is "
                  "looked for once more and then sent again (default 60)")
      ->check(CLI::Range(0, 3600));
  command.add_flag("--final{check}", o.final,
                   "the last run before the source is closed: collect, verify, and say whether it may be closed; =deep "
                   "reads every message on both sides again");
  command.add_flag("--newest-first", o.newest_first, "the newest messages of each mailbox first, not the oldest");
  command.add_option("--connections", o.connections, "connections to the source")->check(CLI::Range(1, 16));
  command.add_option(
      "--on-source-delete", o.on_delete,
      "what happens to the copy of a message that has vanished there: keep, flag ($SourceGone) or remove");
  command.add_option("--grace", o.grace, "days before --on-source-delete remove removes a copy (default 7)")
      ->check(CLI::Range(0, 3650));
  command.add_flag("--pop3-status-flags", o.status_flags,
                   "POP3: flags from the Status and X-Status fields of a message (default: unread)");
  command.add_option("--pop3-leave", o.leave,
                     "POP3: messages stay at the source forever (default), a number of days, or delete: until the next "
                     "run has compared their copies");
  command.add_option("--release-hold", o.release_hold, "let the held removals of this mailbox go ahead (repeatable)");
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
  if (!o.final.empty() && o.final != "check" && o.final != "deep") return usage("--final is check or deep");
  if (!o.final.empty() && o.dry_run) return usage("--final does not go with --dry-run", "leave one of them out");
  if (o.labels != "mailboxes" && o.labels != "primary") return usage("--gmail-labels is mailboxes or primary");
  job.gmail_labels = o.labels == "primary" ? GmailLabels::Primary : GmailLabels::Mailboxes;
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
  if (!o.daily.empty()) {
    auto octets = parse_size(o.daily);
    if (!octets) return octets.error().in("--daily-bytes");
    job.daily_octets = *octets;
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
  job.pop3_status_flags = o.status_flags;
  if (o.status_flags && job.source.protocol == Protocol::Imap)
    return usage("--pop3-status-flags is for pop3s:// and pop3://", "leave it out, IMAP has flags of its own");
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
  auto destination = parse_destination(o.destination);
  if (!destination) return destination.error();
  job.maildir = std::move(destination->maildir);
  job.account = std::move(destination->imap);
  if (o.allow_plaintext) {
    const bool account_too = job.account && job.account->security == client::Security::StartTls;
    if (account_too) job.account->security = client::Security::Cleartext;
    if (job.source.security != client::Security::Tls)
      job.source.security = client::Security::Cleartext;
    else if (!account_too)
      return usage("--allow-plaintext does not go with imaps:// and pop3s://",
                   "leave it out, or write imap:// or pop3://");
  }
  if (auto rules = understand_rules(o, job); !rules) return rules.error();
  if (!o.ca_file.empty() && access(o.ca_file.c_str(), R_OK) != 0)
    return usage("--ca-file: " + o.ca_file + " cannot be read", "check its name and its permissions");
  job.ca_file = o.ca_file;
  job.proxy = o.proxy;
  job.state = o.state;
  job.trace_file = o.trace;
  job.connections = o.connections;
  job.newest_first = o.newest_first;
  job.second_look = std::chrono::seconds(o.second_look);
  if (job.account && job.account->identity() == job.source.identity())
    return usage("source and destination are the same account");
  job.compress = o.compress;
  job.dry_run = o.dry_run;
  if (job.account) {
    auto secret = password(o.destination_password_file, *job.account, kDestinationSide);
    if (!secret) return secret.error();
    job.account_password = *std::move(secret);
  }
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

// The contacts that go with a job; what befalls them is in their report.
std::optional<ContactsJob> contacts_job(const Options& o, const Job& job, Error& wrong) {
  if (o.contacts.from.empty()) return std::nullopt;
  const bool named = o.source.find("://") == std::string::npos;
  auto contacts = contacts_of(o.contacts, job, named ? o.source : std::string());
  if (!contacts) {
    wrong = contacts.error();
    return std::nullopt;
  }
  contacts->resolver = o.resolver;
  contacts->connect_to = o.connect_to;
  contacts->plain_http = o.allow_plaintext;
  return *std::move(contacts);
}

std::optional<contacts::Report> collect_contacts_of(const Options& o, const Job& job, const std::stop_token& stop) {
  if (o.contacts.from.empty() || stop.stop_requested()) return std::nullopt;
  contacts::Report out;
  Error wrong;
  const auto contacts = contacts_job(o, job, wrong);
  if (!contacts) {
    out.error = wrong.what;
    return out;
  }
  auto report = collect_contacts(*contacts, stop);
  if (report) return *std::move(report);
  out.error = report.error().what + (report.error().advice.empty() ? "" : "; " + report.error().advice);
  return out;
}

int run_final(const Options& o, const Job& job) {
  Signals signals;
  auto outcome = [&] {
    Progress progress(o.json ? stdout : stderr, o.json ? ProgressStyle::Json : ProgressStyle::Lines);
    return cut_over(
        job, o.final == "deep", [&](const sync::Event& event) { progress.on(event); }, signals.token());
  }();
  if (!outcome) return signals.caught() != 0 ? stopped_by(signals, o.json) : complain(outcome.error(), kCouldNotRun);
  const auto contacts = collect_contacts_of(o, job, signals.token());
  if (contacts && !contacts->complete())
    outcome->others.push_back("contacts: " + (contacts->error.empty() ? "some are missing" : contacts->error));
  auto told = o.json ? report_json(outcome->report, false) : report_text(outcome->report, false);
  if (contacts && !o.json) told += contacts::report_text(*contacts);
  if (o.json && contacts) told.replace(told.rfind('}'), 1, ",\"contacts\":" + contacts_json(*contacts) + "}");
  if (o.json)
    told.replace(told.rfind('}'), 1, ",\"final\":" + cut_over_json(*outcome) + "}\n");
  else
    told += cut_over_text(*outcome);
  std::fputs(told.c_str(), stdout);
  if (signals.caught() != 0) return stopped_by(signals, o.json);
  return outcome->obstacles().empty() ? kComplete : kIncomplete;
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
  const auto contacts = collect_contacts_of(o, job, signals.token());
  auto told = o.json ? report_json(*report, o.dry_run) : report_text(*report, o.dry_run);
  if (o.json && contacts) told.replace(told.rfind('}'), 1, ",\"contacts\":" + contacts_json(*contacts) + "}");
  if (o.json)
    told += "\n";
  else if (contacts)
    told += contacts::report_text(*contacts);
  std::fputs(told.c_str(), stdout);
  std::fflush(stdout);
  if (signals.caught() != 0) return stopped_by(signals, o.json);
  if (!report->error.empty()) return complain(usage(report->error), kIncomplete);
  if (o.dry_run) return kComplete;
  return report->complete() && (!contacts || contacts->complete()) ? kComplete : kIncomplete;
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
  bool same = outcome->differences.empty();
  if (!o.contacts.from.empty() && signals.caught() == 0) {
    Error wrong;
    const auto contacts = contacts_job(o, job, wrong);
    if (!contacts) return complain(wrong, kUsage);
    auto cards = verify_contacts(*contacts, o.deep, signals.token());
    if (!cards) return complain(cards.error(), kCouldNotRun);
    std::fputs(contacts::verification_text(*cards, o.deep).c_str(), o.json ? stderr : stdout);
    same = same && cards->differences.empty();
  }
  if (signals.caught() != 0) return stopped_by(signals, o.json);
  return same ? kComplete : kIncomplete;
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

// The commands that need no service.
struct Commands {
  Options options;
  AuthorizeRequest authorization;
  CLI::App *collecting = nullptr, *verifying = nullptr, *ledger = nullptr, *discovering = nullptr,
           *authorizing = nullptr, *quirks = nullptr, *version = nullptr;
  explicit Commands(CLI::App& app);
  int run();
};

Commands::Commands(CLI::App& app) {
  collecting = app.add_subcommand(
      "collect", "Collect SOURCE into DESTINATION, now. Run it again to go on or to fetch what is new.");
  add_options(*collecting, options, true);
  collecting->footer(
      "Exit status: 0 complete, 1 some messages failed or pending, 2 usage, 3 could not run, 128+n stopped by signal "
      "n.");
  verifying = app.add_subcommand("verify", "Compare SOURCE and DESTINATION, mailbox by mailbox.");
  add_options(*verifying, options, false);
  verifying->footer(
      "Exit status: 0 no difference, 1 differences, 2 usage, 3 could not run, 128+n stopped by signal n.");
  ledger = app.add_subcommand("ledger", "Print every message that the ledger knows: state, digest, place, reason.");
  ledger->add_option("--state", options.state, "the ledger's file: DESTINATION/mailhaul/state.db")->required();
  auto* as_csv = ledger->add_flag("--csv", options.csv, "comma-separated, with a header line (the default)");
  ledger->add_flag("--json", options.json, "one JSON object a line")->excludes(as_csv);
  discovering = app.add_subcommand("discover", "Find the mail server of an address, and say where it was found.");
  discovering->add_option("ADDRESS", options.source, "user@domain")->required();
  add_discovery_options(*discovering, options);
  discovering->add_flag("--json", options.json, "one JSON object a line: each step, then the findings");
  discovering->footer("Exit status: 0 found, 1 not found, 2 not an address, 3 could not run.");
  authorizing = app.add_subcommand("authorize", "Allow the access to an account at its provider (OAuth).");
  add_authorize_options(*authorizing, options, authorization);
  quirks = app.add_subcommand("quirks", "List what is done differently for single kinds of server.");
  version = app.add_subcommand("version", "Print the version.");
}

int Commands::run() {
  if (*quirks) {
    std::fputs(quirks_text().c_str(), stdout);
    return kComplete;
  }
  if (*version) {
    std::puts("mailhaul " MAILHAUL_VERSION);
    return kComplete;
  }
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
  if (!options.final.empty()) return run_final(options, *job);
  return *collecting ? run_collect(options, *job) : run_verify(options, *job);
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
  Commands commands(app);
  ContactsCommands contacts_commands(app);
  web::ServiceCommands service_commands(app, MAILHAUL_VERSION);
  app.set_version_flag("--version", "mailhaul " MAILHAUL_VERSION);
  const auto known = app.get_subcommands([](const CLI::App*) { return true; });
  if (argc > 1 && argv[1][0] != '-' &&
      std::ranges::none_of(known, [&](const CLI::App* c) { return c->check_name(argv[1]); }))
    return complain(usage("there is no command '" + printable(argv[1]) + "'", "see mailhaul --help"), kUsage);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kComplete : kUsage;
  }
  if (const auto status = service_commands.run()) return *status;
  if (const auto status = contacts_commands.run()) return *status;
  return commands.run();
}
