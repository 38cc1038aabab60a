#include "collector/reach.h"

#include "protocols/discovery/presets.h"

namespace mailhaul::collector {

Result<std::unique_ptr<client::ImapClient>> connect_imap(const Job& job, const std::stop_token& stop) {
  client::Account account{
      {job.source.host, job.source.port}, job.source.security, job.source.user, job.password, job.source.authzid};
  account.token = job.token;
  if (const auto* provider = discovery::preset_of_server(job.source.host)) account.help = provider->help();
  client::ClientOptions options;
  options.connect.ca_file = job.ca_file;
  options.connect.proxy = job.proxy;
  options.connect.gate = job.gate;
  options.connect.client_certificate = job.client_certificate;
  options.masked_capabilities = job.quirks.masked;
  return client::ImapClient::connect(account, options, stop);
}

}  // namespace mailhaul::collector
