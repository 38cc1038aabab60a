#include "protocols/client/imap_client.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

#include "protocols/base/text.h"
#include "protocols/client/connection.h"
#include "protocols/client/conversation.h"
#include "protocols/client/login.h"

namespace mailhaul::client {

struct ImapClient::Impl {
  Impl(std::unique_ptr<net::Transport> transport, const ClientOptions& options, std::string where)
      : connection(std::move(transport), options),
        place(std::move(where)),
        pipeline(std::max<std::size_t>(options.pipeline, 1)) {}

  Connection connection;
  std::string place;  // "imap.example.org:993", for errors
  std::string greeting;
  std::size_t pipeline;
  std::optional<imap::Tag> appending;
  bool broken = false;  // an error has left the stream at an unknown point
};

ImapClient::ImapClient(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ImapClient::~ImapClient() = default;

Result<std::unique_ptr<ImapClient>> ImapClient::connect(const Account& account, const ClientOptions& options,
                                                        std::stop_token stop) {
  auto transport = net::connect_tcp(account.endpoint, options.connect, std::move(stop));
  if (!transport) return transport.error();
  if (account.security == Security::Tls) {
    transport = net::start_tls(std::move(*transport), account.endpoint, options.connect);
    if (!transport) return transport.error();
  }
  return over(std::move(*transport), account, options);
}

Result<std::unique_ptr<ImapClient>> ImapClient::over(std::unique_ptr<net::Transport> transport, const Account& account,
                                                     const ClientOptions& options) {
  const std::string place = printable(account.endpoint.host) + ":" + std::to_string(account.endpoint.port);
  auto impl = std::make_unique<Impl>(std::move(transport), options, place);
  if (account.security == Security::Tls) impl->connection.session.secure_from_start();
  if (account.security == Security::Cleartext) impl->connection.session.allow_cleartext();
  Result<std::string> greeting = log_in(impl->connection, account);
  if (!greeting) return greeting.error().in("log in to " + place);
  impl->greeting = std::move(*greeting);
  return std::unique_ptr<ImapClient>(new ImapClient(std::move(impl)));
}

const imap::Session& ImapClient::session() const { return impl_->connection.session; }
std::string ImapClient::security() const { return impl_->connection.transport().security(); }
std::string ImapClient::greeting() const { return impl_->greeting; }
std::uint64_t ImapClient::octets_received() const { return impl_->connection.octets_received(); }
std::uint64_t ImapClient::octets_sent() const { return impl_->connection.octets_sent(); }
std::uint64_t ImapClient::round_trips() const { return impl_->connection.round_trips(); }

namespace {

Error used_up() { return {Scope::Account, Retry::Now, "the connection is used up by an earlier error", ""}; }

// One step; remembers how it ended.
class Single final : public Script, public Listener {
 public:
  Single(const imap::Command& command, Listener* listener) : step_(Step{command, this}), listener_(listener) {}
  std::optional<Step> next() override { return std::exchange(step_, std::nullopt); }
  Done on(const imap::Event& event) override { return listener_ == nullptr ? done() : listener_->on(event); }
  Done completed(const imap::Command& command, const imap::StatusText& status) override {
    status_ = status;
    return listener_ == nullptr ? done() : listener_->completed(command, status);
  }
  [[nodiscard]] const imap::StatusText& status() const { return status_; }

 private:
  std::optional<Step> step_;
  Listener* listener_;
  imap::StatusText status_;
};

}  // namespace

Done ImapClient::converse(Script& script) {
  if (impl_->broken) return used_up().in(impl_->place);
  Conversation conversation(impl_->connection, impl_->pipeline);
  Done ended = conversation.run(script);
  if (ended) return ended;
  impl_->broken = !conversation.intact();
  return ended.error().in(impl_->place);
}

void ImapClient::limit_pipeline(std::size_t commands) {
  impl_->pipeline = std::clamp<std::size_t>(commands, 1, impl_->pipeline);
}

Result<imap::StatusText> ImapClient::command(const imap::Command& command, Listener* listener) {
  if (impl_->broken) return used_up().in(impl_->place);
  Single single(command, listener);
  Conversation conversation(impl_->connection, 1, &single);
  Done ended = conversation.run(single);
  if (ended) return single.status();
  impl_->broken = !conversation.intact();
  return ended.error().in(impl_->place);
}

// Sends what is there to send; a tagged reply in the middle can only be a refusal.
static Result<std::optional<imap::StatusText>> drain(Connection& connection, const imap::Tag& tag) {
  for (;;) {
    auto event = connection.next();
    if (!event) return event.error();
    if (*event) {
      if (const auto* completed = std::get_if<imap::Completed>(&**event); completed != nullptr && completed->tag == tag)
        return std::optional(completed->status);
      if (const auto* bye = std::get_if<imap::Bye>(&**event)) return said_bye(bye->status);
      continue;
    }
    if (connection.session.drained()) return std::optional<imap::StatusText>();
    if (Done moved = connection.pump(); !moved) return moved.error();
  }
}

Done ImapClient::append_begin(const imap::Append& append) {
  if (impl_->broken) return used_up().in(impl_->place);
  auto tag = impl_->connection.submit(append);
  if (!tag) return tag.error();
  impl_->appending = *std::move(tag);
  return append_octets({});
}

Done ImapClient::append_octets(std::string_view octets) {
  if (impl_->broken || !impl_->appending) return used_up().in(impl_->place);
  Done given = octets.empty() ? done() : impl_->connection.session.append(octets);
  Result<std::optional<imap::StatusText>> refused = std::optional<imap::StatusText>();
  if (given) refused = drain(impl_->connection, *impl_->appending);
  if (given && refused && !*refused) return done();
  impl_->broken = true;
  if (!given) return given;
  if (!refused) return refused.error().in(impl_->place);
  return Error{Scope::Message, Retry::Later, (*refused)->line(), ""};
}

Result<imap::StatusText> ImapClient::append_end(std::string_view last) {
  if (impl_->broken || !impl_->appending) return used_up().in(impl_->place);
  Done given = impl_->connection.session.append(last);
  Result<imap::StatusText> reply = imap::StatusText{};
  if (given) reply = impl_->connection.await(*std::exchange(impl_->appending, std::nullopt));
  if (given && reply) return reply;
  impl_->broken = true;
  return (given ? reply.error() : given.error()).in(impl_->place);
}

bool ImapClient::usable() const { return !impl_->broken; }

Result<ImapClient::Parts> ImapClient::release() {
  if (impl_->broken) return used_up().in(impl_->place);
  impl_->broken = true;
  bool news = false;
  for (;;) {  // what has come already lies in a buffer that stays here
    auto event = impl_->connection.next();
    if (!event) return event.error().in(impl_->place);
    if (!*event) break;
    if (const auto* bye = std::get_if<imap::Bye>(&**event)) return said_bye(bye->status).in(impl_->place);
    news = news || std::holds_alternative<imap::Exists>(**event) || std::holds_alternative<imap::StatusEntry>(**event);
  }
  return Parts{std::move(impl_->connection.session), impl_->connection.take_transport(), news};
}

void ImapClient::logout() {
  // Whether it arrives makes no difference: the connection goes away either way.
  if (impl_->broken || !impl_->connection.submit(imap::Logout{})) return;
  impl_->broken = true;
  (void)impl_->connection.pump(std::chrono::milliseconds(200));
}

}  // namespace mailhaul::client
