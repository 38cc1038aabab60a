#include "web/commands.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <utility>
#include <vector>

#include "collector/completion.h"
#include "collector/exit.h"
#include "collector/password.h"
#include "collector/signals.h"
#include "store/registry/registry.h"
#include "web/remote.h"
#include "web/serve.h"

namespace mailhaul::web {

using namespace mailhaul::collector;  // NOLINT(google-build-using-namespace): exit statuses and complaints

struct ServiceCommands::Impl {
  std::string version;
  CLI::App *serving = nullptr, *adding = nullptr, *checking = nullptr, *keys = nullptr, *backing_up = nullptr,
           *restoring = nullptr, *completing = nullptr, *calling = nullptr;
  std::vector<CLI::App*> lists;
  // What is given to them; only one is meant at a time.
  std::string source, path, password_file, ca_file, what;
  bool allow_plaintext = false, json = false;
  unsigned minutes = 15;
  Remote remote;
  std::vector<std::string> words;

  void add_server_side(CLI::App& app);
  void add_client_side(CLI::App& app);
  CLI::App* with_remote(CLI::App* command);
  [[nodiscard]] Result<service::AccountChange> account() const;
  int add(const ServeSettings& settings);
  int key(const ServeSettings& settings) const;
  int backup(const ServeSettings& settings) const;
  int restore(const ServeSettings& settings) const;
  int tend();
};

void ServiceCommands::Impl::add_server_side(CLI::App& app) {
  serving = app.add_subcommand("serve", "Serve the dashboard and the REST API, and run jobs when they are due.");
  serving->footer(
      "Settings come from the environment: MAILHAUL_DATA (/var/lib/mailhaul), MAILHAUL_MAIL (where mail goes, default "
      "DATA/mail), MAILHAUL_LISTEN (127.0.0.1:8025), MAILHAUL_WORKERS, MAILHAUL_ALLOWED_HOSTS, "
      "MAILHAUL_TRUSTED_PROXIES, MAILHAUL_BASE_PATH, MAILHAUL_MASTER_KEY_FILE, MAILHAUL_LOG_FORMAT (text, json).");
  adding = app.add_subcommand("add", "Add an account and its job to a service that is stopped.");
  adding->add_option("SOURCE", source, "imaps://user@host[:port], or imap://user@host[:port]")->required();
  adding->add_option("PATH", path, "where its mail goes, below MAILHAUL_MAIL (default: the user's name)");
  adding->add_option("--source-password-file", password_file,
                     "file with the password (or MAILHAUL_SOURCE_PASSWORD, or a prompt)");
  adding->add_option("--ca-file", ca_file, "certificates to trust instead of the system's (PEM)");
  adding->add_flag("--allow-plaintext", allow_plaintext, "imap:// without TLS");
  adding->add_option("--minutes", minutes, "between two polls (default 15)")->check(CLI::Range(1, 10080));
  checking = app.add_subcommand("healthcheck", "Ask the service of this machine whether it is well.");
  keys = app.add_subcommand("key", "The key that seals passwords; the service must be stopped.");
  keys->add_option("ACTION", what, "rotate: a new key for all of them. verify: can they all be opened?")
      ->required()
      ->check(CLI::IsMember({"rotate", "verify"}));
  backing_up = app.add_subcommand("backup", "Copy the service's database to FILE, while it runs.");
  backing_up->add_option("FILE", what, "a file that does not exist yet")->required();
  restoring =
      app.add_subcommand("restore", "Put a backup back in place of the service's database; it must be stopped.");
  restoring->add_option("FILE", what, "made by mailhaul backup")->required();
}

CLI::App* ServiceCommands::Impl::with_remote(CLI::App* command) {
  command->add_option("--server", remote.server, "its address (or MAILHAUL_SERVER; default http://localhost:8025)");
  command->add_option("--token-file", remote.token_file, "file with an API token (or MAILHAUL_TOKEN_FILE)");
  command->add_option("--ca-file", remote.ca_file, "certificates to trust instead of the system's (PEM)");
  return command;
}

void ServiceCommands::Impl::add_client_side(CLI::App& app) {
  for (const auto& [kind, help] :
       {std::pair("accounts", "list, show ID, test ID, delete ID"),
        std::pair("jobs",
                  "list, show ID, run ID, retry ID, pause ID, resume ID, cancel ID, "
                  "preview ID, verify ID, mailboxes ID, failed ID, delete ID"),
        std::pair("runs", "list, show ID"), std::pair("channels", "list, show ID, test ID, delete ID")}) {
    auto* command = with_remote(app.add_subcommand(kind, "Of a running service: " + std::string(help) + "."));
    command->add_option("ACTION", words, help);
    command->add_flag("--json", json, "lists as JSON");
    lists.push_back(command);
  }
  completing = app.add_subcommand("completion", "Print a script that completes this command line in a shell.");
  completing->add_option("SHELL", what, "bash, zsh or fish")->required()->check(CLI::IsMember({"bash", "zsh", "fish"}));
  calling = with_remote(app.add_subcommand("api", "Any call of a running service's REST API."));
  calling->add_option("METHOD PATH [JSON]", words, "for example: api POST /destinations '{\"path\": \"me\"}'")
      ->required()
      ->expected(2, 3);
}

Result<service::AccountChange> ServiceCommands::Impl::account() const {
  auto address = parse_source(source);
  if (!address) return address.error();
  auto secret = password(password_file, *address);
  if (!secret) return secret.error();
  service::AccountChange out;
  out.source = source;
  out.password = *std::move(secret);
  out.allow_plaintext = allow_plaintext;
  if (ca_file.empty()) return out;
  std::ifstream in(ca_file, std::ios::binary);
  if (!in) return usage("--ca-file: " + ca_file + " cannot be read");
  out.ca = std::string{std::istreambuf_iterator<char>(in), {}};
  return out;
}

// An account and its job, without a running service: for scripts that set one up.
int ServiceCommands::Impl::add(const ServeSettings& settings) {
  auto change = account();
  if (!change) return complain(change.error(), kUsage);
  auto service = service::Service::open(settings.service, system_clock());
  if (!service) return complain(service.error(), kCouldNotRun);
  auto viewer = (*service)->access().local();
  if (!viewer) return complain(viewer.error(), kCouldNotRun);
  const auto refuse = [](const service::Refusal& why) { return complain(usage(why.what, why.advice), kUsage); };
  auto added = (*service)->add_account(*viewer, *change);
  if (!added) return refuse(added.refusal());
  auto destination = (*service)->add_destination(*viewer, "", path.empty() ? added->source.user : path, "utf7");
  if (!destination) return refuse(destination.refusal());
  service::JobChange job;
  job.schedule = R"({"kind":"every","minutes":)" + std::to_string(minutes) + "}";
  auto made = (*service)->add_job(*viewer, added->row.id, destination->row.id, job);
  if (!made) return refuse(made.refusal());
  std::printf("job %lld: %s into %s, every %u minutes\n", static_cast<long long>(made->row.id), made->source.c_str(),
              made->destination_path.c_str(), minutes);
  return kComplete;
}

int ServiceCommands::Impl::key(const ServeSettings& settings) const {
  auto service = service::Service::open(settings.service, system_clock());
  if (!service) return complain(service.error(), kCouldNotRun);
  const auto outcome = what == "rotate" ? (*service)->rotate_key() : (*service)->verify_key();
  if (!outcome) return complain(outcome.error(), kCouldNotRun);
  std::puts(what == "rotate" ? "Every password is sealed with a new key." : "Every password can be opened.");
  return kComplete;
}

int ServiceCommands::Impl::backup(const ServeSettings& settings) const {
  auto registry = registry::Registry::open(settings.service.data + "/service.db");
  if (!registry) return complain(registry.error(), kCouldNotRun);
  const auto copied = (*registry)->backup(what);
  if (!copied) return complain(copied.error(), kCouldNotRun);
  std::puts(("The service's database was copied to " + what + ". Keep the key apart from it.").c_str());
  return kComplete;
}

int ServiceCommands::Impl::restore(const ServeSettings& settings) const {
  const auto kept = service::Service::restore(settings.service, what, system_clock());
  if (!kept) return complain(kept.error(), kCouldNotRun);
  std::puts(("The service's database is that of " + what + "." +
             (kept->empty() ? "" : " The one before is kept as " + *kept + "."))
                .c_str());
  return kComplete;
}

int ServiceCommands::Impl::tend() {
  auto settings = settings_from(environment(), version);
  if (!settings) return complain(settings.error(), kUsage);
  if (*adding) return add(*settings);
  if (*keys) return key(*settings);
  if (*backing_up) return backup(*settings);
  if (*restoring) return restore(*settings);
  if (*checking) {
    const auto well = healthcheck(*settings);
    return well ? kComplete : complain(well.error(), kIncomplete);
  }
  Signals signals(true);
  const auto served = serve(*settings, signals.token(), signals.hangups());
  return served ? kComplete : complain(served.error(), kCouldNotRun);
}

ServiceCommands::ServiceCommands(CLI::App& app, std::string version) : impl_(std::make_unique<Impl>()) {
  impl_->version = std::move(version);
  impl_->add_server_side(app);
  impl_->add_client_side(app);
}
ServiceCommands::~ServiceCommands() = default;

std::optional<int> ServiceCommands::run() {
  const auto print = [](const Result<std::string>& answer) -> int {
    if (!answer) return complain(answer.error(), kIncomplete);
    std::fputs(answer->c_str(), stdout);
    return kComplete;
  };
  for (auto* command : impl_->lists)
    if (*command) return print(remote_list(impl_->remote, command->get_name(), impl_->words, impl_->json));
  if (*impl_->completing) return print(completion_script(*impl_->completing->get_parent(), impl_->what));
  const auto& words = impl_->words;
  if (*impl_->calling) return print(remote_call(impl_->remote, words[0], words[1], words.size() > 2 ? words[2] : ""));
  for (const auto* command :
       {impl_->serving, impl_->adding, impl_->checking, impl_->keys, impl_->backing_up, impl_->restoring})
    if (*command) return impl_->tend();
  return std::nullopt;
}

}  // namespace mailhaul::web
