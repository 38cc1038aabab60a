#include "collector/contacts_command.h"

#include <CLI/CLI.hpp>
#include <cstdio>

#include "collector/collect.h"
#include "collector/exit.h"
#include "collector/password.h"
#include "collector/signals.h"
#include "protocols/dav/href.h"

namespace mailhaul::collector {

void add_contacts_options(CLI::App& command, ContactsOptions& options) {
  command.add_flag(
      "--contacts{found}", options.from,
      "the address books, too; =https://… or =FILE.vcf says where they are, otherwise they are looked for");
  command.add_option("--contacts-user", options.user, "the user at the CardDAV server (default: the mail's)");
  command.add_option("--contacts-password-file", options.password_file,
                     "file with the password there (or MAILHAUL_CONTACTS_PASSWORD; default: the mail's)");
  command.add_option("--contacts-into", options.into,
                     "directory of the address books (default: contacts in the Maildir, or beside the state)");
}

Result<ContactsJob> contacts_of(const ContactsOptions& options, const Job& job, const std::string& address) {
  auto out = contacts_beside(job, options.from, address);
  if (!options.user.empty()) out.user = options.user;
  if (!options.into.empty()) out.vdir = options.into;
  if (!options.password_file.empty() || std::getenv("MAILHAUL_CONTACTS_PASSWORD") != nullptr) {
    auto secret =
        password(options.password_file, job.source, {"--contacts-password-file", "MAILHAUL_CONTACTS_PASSWORD"});
    if (!secret) return secret.error();
    out.password = *std::move(secret);
    out.token = {};
  }
  return out;
}

struct ContactsCommands::Impl {
  CLI::App* contacts = nullptr;
  CLI::App *collecting = nullptr, *verifying = nullptr, *exporting = nullptr, *duplicates = nullptr;
  std::string source, destination, user, password_file, ca_file, proxy, resolver, state, into, vcf, on_delete = "keep";
  std::vector<std::string> connect_to, release;
  unsigned grace = 7;  // days
  bool json = false, dry_run = false, deep = false, plaintext = false;

  void add_common(CLI::App& command);
  Result<std::string> vdir() const;
  Result<ContactsJob> understand() const;
  int run_collect() const;
  int run_verify() const;
};

void ContactsCommands::Impl::add_common(CLI::App& command) {
  command
      .add_option("SOURCE", source, "an address (user@domain), https://host[/path], a .vcf file or a folder of them")
      ->required();
  command.add_option("DESTINATION", destination, "maildir:/path: the address books are in its folder contacts")
      ->required();
  command.add_option("--user", user, "the user at the CardDAV server");
  command.add_option("--source-password-file", password_file,
                     "file with the password (or MAILHAUL_SOURCE_PASSWORD, or a prompt)");
  command.add_option("--ca-file", ca_file, "certificates to trust instead of the system's (PEM)");
  command.add_option("--proxy", proxy, "socks5h://host:port or http://host:port");
  command.add_option("--resolver", resolver, "the DNS server to ask (ADDRESS:PORT)");
  command.add_option("--connect-to", connect_to, "HOST:PORT:TO-HOST:TO-PORT: where a server is (repeatable)");
  command.add_option("--state", state, "the ledger's file (default: DESTINATION/mailhaul/state.db)");
  command.add_option("--into", into, "directory of the address books (default: DESTINATION/contacts)");
  command.add_flag("--allow-plaintext", plaintext, "http:// without TLS");
  command.add_flag("--json", json, "the report as one JSON object");
}

ContactsCommands::ContactsCommands(CLI::App& app) : impl_(new Impl) {
  Impl& m = *impl_;
  m.contacts = app.add_subcommand("contacts", "Address books without the mail: collect, verify, export, duplicates.");
  m.contacts->require_subcommand(1);
  m.collecting = m.contacts->add_subcommand("collect", "Collect the address books of SOURCE into DESTINATION, now.");
  m.add_common(*m.collecting);
  m.collecting->add_flag("--dry-run", m.dry_run, "say what would be done, write nothing");
  m.collecting->add_option("--on-source-delete", m.on_delete,
                           "what happens to a card that has vanished there: keep or remove");
  m.collecting->add_option("--grace", m.grace, "days before --on-source-delete remove removes a card (default 7)")
      ->check(CLI::Range(0, 3650));
  m.collecting->add_option("--release-hold", m.release, "let the held removals of this book go ahead (repeatable)");
  m.collecting->footer("Exit status: 0 complete, 1 cards failed or pending, 2 usage, 3 could not run.");
  m.verifying = m.contacts->add_subcommand("verify", "Compare the address books of SOURCE and DESTINATION.");
  m.add_common(*m.verifying);
  m.verifying->add_flag("--deep", m.deep, "fetch every card again and compare SHA-256");
  m.exporting = m.contacts->add_subcommand("export", "Write all cards into one file.");
  m.exporting->add_option("DESTINATION", m.destination, "maildir:/path")->required();
  m.exporting->add_option("--into", m.into, "directory of the address books (default: DESTINATION/contacts)");
  m.exporting->add_option("--vcf", m.vcf, "the file")->required();
  m.duplicates = m.contacts->add_subcommand(
      "duplicates", "Show cards that share an e-mail address or a phone number; nothing is merged.");
  m.duplicates->add_option("DESTINATION", m.destination, "maildir:/path")->required();
  m.duplicates->add_option("--into", m.into, "directory of the address books (default: DESTINATION/contacts)");
}
ContactsCommands::~ContactsCommands() = default;

Result<std::string> ContactsCommands::Impl::vdir() const {
  auto place = parse_destination(destination);
  if (!place) return place.error();
  if (!into.empty()) return into;
  if (place->maildir.empty()) return usage("an IMAP account has no address books", "name their directory: --into");
  return place->maildir + "/contacts";
}

Result<ContactsJob> ContactsCommands::Impl::understand() const {
  ContactsJob job;
  auto books = vdir();
  if (!books) return books.error();
  job.vdir = *std::move(books);
  job.state = state.empty() ? parse_destination(destination)->maildir + "/mailhaul/state.db" : state;
  const bool is_url = source.find("://") != std::string::npos;
  const bool is_address = !is_url && source.find('@') != std::string::npos && source.find('/') == std::string::npos;
  (is_address ? job.address : job.from) = source;
  job.user = user.empty() ? job.address : user;
  if (is_url || is_address) {
    if (job.user.empty()) return usage("whose address books are they?", "add --user NAME");
    if (is_url && !dav::origin_of(source)) return usage("'" + printable(source) + "' is not a web address");
    SourceAddress who;
    who.user = job.user;
    who.host = is_url ? dav::origin_of(source)->host : source.substr(source.rfind('@') + 1);
    auto secret = password(password_file, who);
    if (!secret) return secret.error();
    job.password = *std::move(secret);
  }
  if (on_delete != "keep" && on_delete != "remove") return usage("--on-source-delete is keep or remove");
  job.settings.policy.on_source_delete =
      on_delete == "remove" ? contacts::Policy::OnSourceDelete::Remove : contacts::Policy::OnSourceDelete::Keep;
  job.settings.policy.grace = static_cast<std::int64_t>(grace) * 86'400;
  job.settings.release = release;
  job.settings.dry_run = dry_run;
  job.ca_file = ca_file;
  job.proxy = proxy;
  job.resolver = resolver;
  job.connect_to = connect_to;
  job.plain_http = plaintext;
  return job;
}

int ContactsCommands::Impl::run_collect() const {
  auto job = understand();
  if (!job) return complain(job.error(), kUsage);
  Signals signals;
  auto report = collect_contacts(*job, signals.token());
  if (signals.caught() != 0) return kSignal + signals.caught();
  if (!report) return complain(report.error(), kCouldNotRun);
  std::fputs((json ? contacts_json(*report) + "\n" : contacts::report_text(*report)).c_str(), stdout);
  return report->complete() || dry_run ? kComplete : kIncomplete;
}

int ContactsCommands::Impl::run_verify() const {
  auto job = understand();
  if (!job) return complain(job.error(), kUsage);
  Signals signals;
  auto outcome = verify_contacts(*job, deep, signals.token());
  if (signals.caught() != 0) return kSignal + signals.caught();
  if (!outcome) return complain(outcome.error(), kCouldNotRun);
  std::fputs(contacts::verification_text(*outcome, deep).c_str(), stdout);
  return outcome->differences.empty() ? kComplete : kIncomplete;
}

std::optional<int> ContactsCommands::run() {
  if (!*impl_->contacts) return std::nullopt;
  if (*impl_->collecting) return impl_->run_collect();
  if (*impl_->verifying) return impl_->run_verify();
  const auto vdir = impl_->vdir();
  if (!vdir) return complain(vdir.error(), kUsage);
  if (*impl_->exporting) {
    auto count = export_contacts(*vdir, impl_->vcf);
    if (!count) return complain(count.error(), kCouldNotRun);
    std::printf("%zu cards\n", *count);
    return kComplete;
  }
  auto text = duplicate_contacts(*vdir);
  if (!text) return complain(text.error(), kCouldNotRun);
  std::fputs(text->c_str(), stdout);
  return kComplete;
}

}  // namespace mailhaul::collector
