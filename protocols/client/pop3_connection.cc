#include "protocols/client/pop3_connection.h"

#include <algorithm>
#include <utility>

#include "protocols/base/text.h"
#include "protocols/client/connection.h"

namespace mailhaul::client {
namespace {

constexpr std::size_t kBuffer = 128 * 1024;

}  // namespace

Pop3Connection::Pop3Connection(std::unique_ptr<net::Transport> transport, const ClientOptions& options)
    : options_(options), transport_(std::move(transport)), buffer_(kBuffer) {
  for (const auto& capability : options_.masked_capabilities) session.mask(capability);
}

Result<pop3::CommandId> Pop3Connection::submit(const pop3::Command& command) {
  auto id = session.submit(command);
  if (!id) return id;
  ++queued_;
  if (options_.wire_log) options_.wire_log("C: " + printable(pop3::name_of(command)));
  return id;
}

Done Pop3Connection::pump(std::chrono::milliseconds idle) {
  if (closed_) return connection_closed();
  const std::string_view out = session.output();
  const bool line_is_idle = session.pending() <= std::max<std::size_t>(queued_, 1) && !out.empty();
  Result<net::Moved> moved = transport_->move(out, buffer_, idle);
  if (!moved) return moved.error();
  if (moved->sent > 0) {
    session.sent(moved->sent);
    if (line_is_idle && !counted_) ++round_trips_;
    counted_ = !session.output().empty();
    if (!counted_) queued_ = 0;
  }
  received_ += moved->received;
  closed_ = moved->closed;
  if (closed_ && moved->received == 0) return connection_closed();
  const std::string_view in(buffer_.data(), moved->received);
  if (first_.size() < 64) first_.append(in.substr(0, 64 - first_.size()));
  return session.feed(in);
}

// Answers only: what a message holds is nobody's business.
void Pop3Connection::log(const pop3::Event& event) {
  if (const auto* octets = std::get_if<pop3::Octets>(&event)) message_octets_ += octets->octets.size();
  if (const auto* greeting = std::get_if<pop3::Greeting>(&event)) options_.wire_log("S: " + greeting->status.line());
  if (std::holds_alternative<pop3::Challenge>(event)) options_.wire_log("S: +");
  if (const auto* answered = std::get_if<pop3::Answered>(&event)) options_.wire_log("S: " + answered->status.line());
  if (const auto* line = std::get_if<pop3::Line>(&event)) options_.wire_log("S: " + printable(line->text));
  if (std::holds_alternative<pop3::Finished>(event)) {
    const auto octets = std::exchange(message_octets_, 0);
    options_.wire_log(octets == 0 ? "S: ." : "S: <" + std::to_string(octets) + " octets>");
  }
}

Result<std::optional<pop3::Event>> Pop3Connection::next() {
  auto event = session.next_event();
  if (event && *event && options_.wire_log) log(**event);
  return event;
}

Result<pop3::Status> Pop3Connection::run(const pop3::Command& command, std::vector<std::string>* lines,
                                         const OnChallenge& on_challenge) {
  const auto id = submit(command);
  if (!id) return id.error();
  std::optional<pop3::Status> status;
  for (;;) {
    auto event = next();
    if (!event) return event.error();
    if (!*event) {
      if (Done moved = pump(); !moved) return moved.error();
      continue;
    }
    if (const auto* challenge = std::get_if<pop3::Challenge>(&**event)) {
      const auto response = on_challenge ? on_challenge(challenge->text) : std::nullopt;
      session.respond(response ? std::optional<std::string_view>(response->reveal()) : std::nullopt);
    }
    if (const auto* line = std::get_if<pop3::Line>(&**event); line && lines) lines->emplace_back(line->text);
    if (const auto* answered = std::get_if<pop3::Answered>(&**event); answered && answered->command == *id) {
      status = answered->status;
      if (!status->ok || !pop3::multi_line(command)) return *status;
    }
    if (const auto* finished = std::get_if<pop3::Finished>(&**event); finished && finished->command == *id)
      return *status;
  }
}

Done Pop3Connection::rewrap(
    const std::function<Result<std::unique_ptr<net::Transport>>(std::unique_ptr<net::Transport>)>& wrap) {
  Result<std::unique_ptr<net::Transport>> wrapped = wrap(std::move(transport_));
  if (!wrapped) return wrapped.error();
  transport_ = std::move(*wrapped);
  return done();
}

}  // namespace mailhaul::client
