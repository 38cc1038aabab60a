// Contacts of a job: where they come from and go to, and the commands `mailhaul contacts …`.
#pragma once
#include <optional>
#include <stop_token>
#include <string>

#include "collector/contacts/collect.h"
#include "collector/contacts/verify.h"
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

Result<contacts::Report> collect_contacts(const ContactsJob& job, const std::stop_token& stop);
Result<contacts::Verification> verify_contacts(const ContactsJob& job, bool deep, const std::stop_token& stop);

// Every card of a vdir in one file, put in place whole. The number of cards.
Result<std::size_t> export_contacts(const std::string& vdir, const std::string& file);
// Cards of a vdir that have an e-mail address or a phone number in common, as text; nothing is merged.
Result<std::string> duplicate_contacts(const std::string& vdir);

}  // namespace mailhaul::collector
