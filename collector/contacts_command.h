// The command line of contacts: `mailhaul contacts …`, and --contacts of `mailhaul collect` and `mailhaul verify`.
#pragma once
#include <memory>
#include <optional>
#include <stop_token>
#include <string>

#include "collector/contacts_job.h"
#include "collector/job.h"

namespace CLI {
class App;
}

namespace mailhaul::collector {

struct ContactsOptions {  // as text
  std::string from;       // "found": looked for; empty: no contacts
  std::string user, password_file, into;
};
void add_contacts_options(CLI::App& command, ContactsOptions& options);

// The contacts that go with a job for mail, whose user and password are taken where nothing else is said.
Result<ContactsJob> contacts_of(const ContactsOptions& options, const Job& job, const std::string& address);

class ContactsCommands {
 public:
  explicit ContactsCommands(CLI::App& app);  // must live as long as the app
  ~ContactsCommands();
  std::optional<int> run();  // the exit status, if it was one of these commands

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace mailhaul::collector
