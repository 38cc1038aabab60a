// Contacts of a job: where they come from and go to, and the commands `mailhaul contacts …`.
#pragma once
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include "collector/contacts/collect.h"
#include "collector/contacts/verify.h"
#include "collector/job.h"
#include "protocols/base/types.h"
#include "protocols/client/imap_client.h"
#include "protocols/net/address_gate.h"

namespace mailhaul::collector {

struct ContactsJob {
  std::string from;  // https://…, a .vcf file or a folder of them; empty: looked for, for `address`
  std::string address, mail_host;
  std::string user;
  Secret password;
  client::TokenSource token;  // not empty: OAuth
  std::string vdir;           // the directory of the address books
  std::string state;          // the mail's ledger, whose lock is taken; ours lies beside it
  std::string ca_file, proxy, resolver;
  std::vector<std::string> connect_to;
  net::AddressGate gate;
  bool plain_http = false;
  contacts::Settings settings;
};

constexpr std::string_view kContactsFound = "found";  // instead of a place: they are looked for
Done is_contacts_place(std::string_view from);        // "found" or https://host[/path]
// The contacts that go with a job's mail: its login, its policy, beside its destination. `from` as --contacts has it;
// `address` empty: the job's own.
ContactsJob contacts_beside(const Job& job, const std::string& from, const std::string& address = {});

Result<contacts::Report> collect_contacts(const ContactsJob& job, const std::stop_token& stop);
std::string contacts_json(const contacts::Report& report);  // one object
Result<contacts::Verification> verify_contacts(const ContactsJob& job, bool deep, const std::stop_token& stop);

// Every card of a vdir in one file, put in place whole. The number of cards.
Result<std::size_t> export_contacts(const std::string& vdir, const std::string& file);
// Cards of a vdir that have an e-mail address or a phone number in common, as text; nothing is merged.
Result<std::string> duplicate_contacts(const std::string& vdir);

}  // namespace mailhaul::collector
