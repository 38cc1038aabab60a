#include "protocols/client/pop3_client.h"

#include <algorithm>
#include <deque>
#include <utility>

#include "protocols/base/text.h"
#include "protocols/client/pop3_connection.h"
#include "protocols/client/pop3_login.h"

namespace mailhaul::client {

struct Pop3Client::Impl {
  Impl(std::unique_ptr<net::Transport> transport, const ClientOptions& options, std::string where)
      : connection(std::move(transport), options),
        place(std::move(where)),
        pipeline(std::max<std::size_t>(options.pipeline, 1)) {}

  struct InFlight {
    pop3::CommandId id;
    pop3::Command command;
  };
  Done fill(Pop3Dialogue& dialogue, std::deque<InFlight>& in_flight);
  Done converse(Pop3Dialogue& dialogue);
  static Done give(Pop3Dialogue& dialogue, std::deque<InFlight>& in_flight, const pop3::Event& event);
  static Result<std::unique_ptr<Impl>> open(std::unique_ptr<net::Transport> transport, const Account& account,
                                            const ClientOptions& options, Pop3Opening& opening);

  Pop3Connection connection;
  std::string place;  // "pop.example.org:995", for errors
  std::string greeting;
  std::size_t pipeline;
  bool broken = false;
};

namespace {

Error used_up() { return {Scope::Account, Retry::Now, "the connection is used up by an earlier error", ""}; }

Result<std::unique_ptr<net::Transport>> connected(const Account& account, const ClientOptions& options,
                                                  const std::stop_token& stop) {
  auto transport = net::connect_tcp(account.endpoint, options.connect, stop);
  if (!transport || account.security != Security::Tls) return transport;
  return net::start_tls(std::move(*transport), account.endpoint, options.connect);
}

}  // namespace

Result<std::unique_ptr<Pop3Client::Impl>> Pop3Client::Impl::open(std::unique_ptr<net::Transport> transport,
                                                                 const Account& account, const ClientOptions& options,
                                                                 Pop3Opening& opening) {
  const std::string place = printable(account.endpoint.host) + ":" + std::to_string(account.endpoint.port);
  auto impl = std::make_unique<Impl>(std::move(transport), options, place);
  if (account.security == Security::Tls) impl->connection.session.secure_from_start();
  if (account.security == Security::Cleartext) impl->connection.session.allow_cleartext();
  auto greeting = log_in(impl->connection, account, opening);
  if (!greeting) return greeting.error().in("log in to " + place);
  impl->greeting = std::move(*greeting);
  return impl;
}

Result<std::unique_ptr<Pop3Client>> Pop3Client::connect(const Account& account, const ClientOptions& options,
                                                        const std::stop_token& stop) {
  Pop3Opening opening;
  for (;;) {
    auto transport = connected(account, options, stop);
    if (!transport) return transport.error();
    auto impl = Impl::open(std::move(*transport), account, options, opening);
    if (impl) return std::unique_ptr<Pop3Client>(new Pop3Client(std::move(*impl)));
    if (!opening.died_at_capa || !opening.ask_capabilities || stop.stop_requested()) return impl.error();
    opening.ask_capabilities = false;
  }
}

Result<std::unique_ptr<Pop3Client>> Pop3Client::over(std::unique_ptr<net::Transport> transport, const Account& account,
                                                     const ClientOptions& options) {
  Pop3Opening opening;
  auto impl = Impl::open(std::move(transport), account, options, opening);
  if (!impl) return impl.error();
  return std::unique_ptr<Pop3Client>(new Pop3Client(std::move(*impl)));
}

Pop3Client::Pop3Client(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Pop3Client::~Pop3Client() = default;

const pop3::Session& Pop3Client::session() const { return impl_->connection.session; }
void Pop3Client::lockstep() { impl_->connection.session.lockstep(); }
std::string Pop3Client::security() const { return impl_->connection.transport().security(); }
std::string Pop3Client::greeting() const { return impl_->greeting; }
std::uint64_t Pop3Client::octets_received() const { return impl_->connection.octets_received(); }
std::uint64_t Pop3Client::round_trips() const { return impl_->connection.round_trips(); }
bool Pop3Client::usable() const { return !impl_->broken; }

Done Pop3Client::Impl::fill(Pop3Dialogue& dialogue, std::deque<InFlight>& in_flight) {
  const auto room = connection.session.pipelines() ? pipeline : 1;
  while (in_flight.size() < room) {
    auto command = dialogue.next();
    if (!command) break;
    auto id = connection.submit(*command);
    if (!id) return id.error();
    in_flight.push_back({*id, *std::move(command)});
  }
  return done();
}

Done Pop3Client::Impl::give(Pop3Dialogue& dialogue, std::deque<InFlight>& in_flight, const pop3::Event& event) {
  const auto& front = in_flight.front();
  if (const auto* answered = std::get_if<pop3::Answered>(&event)) {
    auto given = dialogue.answered(front.command, answered->status);
    if (!answered->status.ok || !pop3::multi_line(front.command)) in_flight.pop_front();
    return given;
  }
  if (const auto* line = std::get_if<pop3::Line>(&event)) return dialogue.line(front.command, line->text);
  if (const auto* octets = std::get_if<pop3::Octets>(&event)) return dialogue.octets(front.command, octets->octets);
  if (std::holds_alternative<pop3::Finished>(event)) {
    auto given = dialogue.finished(front.command);
    in_flight.pop_front();
    return given;
  }
  return done();
}

Done Pop3Client::Impl::converse(Pop3Dialogue& dialogue) {
  std::deque<InFlight> in_flight;
  for (;;) {
    if (Done filled = fill(dialogue, in_flight); !filled) return filled;
    if (in_flight.empty()) return done();
    auto event = connection.next();
    if (!event) return event.error();
    if (!*event) {
      if (Done moved = connection.pump(); !moved) return moved;
      continue;
    }
    if (Done given = give(dialogue, in_flight, **event); !given) return given;
  }
}

Done Pop3Client::converse(Pop3Dialogue& dialogue) {
  if (impl_->broken) return used_up().in(impl_->place);
  auto ended = impl_->converse(dialogue);
  if (ended) return ended;
  impl_->broken = true;
  return ended.error().in(impl_->place);
}

Result<Pop3Answer> Pop3Client::command(const pop3::Command& command) {
  if (impl_->broken) return used_up().in(impl_->place);
  Pop3Answer answer;
  auto status = impl_->connection.run(command, &answer.lines);
  if (!status) {
    impl_->broken = true;
    return status.error().in(impl_->place);
  }
  answer.status = *std::move(status);
  return answer;
}

Result<pop3::Status> Pop3Client::quit() {
  auto answer = command(pop3::Quit{});
  impl_->broken = true;
  if (!answer) return answer.error().in("QUIT");
  return answer->status;
}

void Pop3Client::farewell() {
  // Whether it arrives makes no difference.
  if (impl_->broken || !impl_->connection.submit(pop3::Quit{})) return;
  impl_->broken = true;
  (void)impl_->connection.pump(std::chrono::milliseconds(200));
}

}  // namespace mailhaul::client
