#include "protocols/client/connection.h"

#include <algorithm>
#include <random>
#include <utility>

namespace mailhaul::client {
namespace {

// One read of the kernel's for many records of TLS; the only buffer that grows with the number of connections.
constexpr std::size_t kBuffer = 128 * 1024;

// A server that cannot foresee the tags cannot answer what it was not asked.
std::string random_prefix() {
  std::random_device entropy;
  std::string prefix;
  for (int i = 0; i < 4; ++i) prefix += static_cast<char>('A' + entropy() % 26);
  return prefix;
}

}  // namespace

Error connection_closed() { return {Scope::Account, Retry::Now, "connection lost: the server closed it", ""}; }

Error wants_patience(const imap::StatusText& status, const imap::Asked& asked) {
  const std::string_view what =
      asked.plea == imap::Plea::Fewer ? "the server wants fewer connections: " : "the server asks for patience: ";
  return {Scope::Account, Retry::Later, std::string(what) + status.line(), "", asked.wait};
}

Error said_bye(const imap::StatusText& status) {
  if (const auto asked = imap::plea_of(status); asked.to_wait()) return wants_patience(status, asked);
  return {Scope::Account, Retry::Now, "the server ended the connection: " + status.line(), ""};
}

Connection::Connection(std::unique_ptr<net::Transport> transport, const ClientOptions& options)
    : session(random_prefix()), options_(options), transport_(std::move(transport)), buffer_(kBuffer) {
  for (const auto& capability : options_.masked_capabilities) session.mask(capability);
  if (options_.wire_log) log_.emplace(options_.wire_log);
}

Result<imap::Tag> Connection::submit(const imap::Command& command) {
  Result<imap::Tag> tag = session.submit(command);
  if (tag) ++queued_;
  return tag;
}

void Connection::count_send(std::size_t octets, bool line_is_idle) {
  sent_ += octets;
  if (octets > 0 && line_is_idle && !counted_) {
    ++round_trips_;
    counted_ = true;
  }
  if (!session.output().empty()) return;
  queued_ = 0;
  counted_ = false;
}

Done Connection::pump(std::chrono::milliseconds idle) {
  if (closed_) return connection_closed();
  const std::string_view out = session.output();
  // Nothing submitted since the last send: this continues a command that waited for "+".
  const bool line_is_idle = session.pending() <= std::max<std::size_t>(queued_, 1) && !out.empty();
  Result<net::Moved> moved = transport_->move(out, buffer_, idle);
  if (!moved) return moved.error();
  if (log_) log_->sent(out.substr(0, moved->sent));
  if (moved->sent > 0) {
    session.sent(moved->sent);
    count_send(moved->sent, line_is_idle);
  }
  received_ += moved->received;
  closed_ = moved->closed;
  if (closed_ && moved->received == 0) return connection_closed();
  const std::string_view in(buffer_.data(), moved->received);
  if (log_) log_->received(in);
  if (first_.size() < 64) first_.append(in.substr(0, 64 - first_.size()));
  return session.feed(in);
}

Result<imap::StatusText> Connection::run(const imap::Command& command, const OnEvent& on_event) {
  const Result<imap::Tag> tag = submit(command);
  if (!tag) return tag.error();
  return await(*tag, on_event);
}

Result<imap::StatusText> Connection::await(const imap::Tag& tag, const OnEvent& on_event) {
  for (;;) {
    Result<std::optional<imap::Event>> event = next();
    if (!event) return event.error();
    if (!*event) {
      if (Done moved = pump(); !moved) return moved.error();
      continue;
    }
    if (const auto* completed = std::get_if<imap::Completed>(&**event); completed != nullptr && completed->tag == tag)
      return completed->status;
    if (on_event) {
      const Result<bool> taken = on_event(**event);
      if (!taken) return taken.error();
      if (*taken) continue;
    }
    if (const auto* bye = std::get_if<imap::Bye>(&**event)) return said_bye(bye->status);
    if (std::holds_alternative<imap::Continuation>(**event))
      return Error{Scope::Account, Retry::Later, "the server asks to go on where nothing can go on", ""};
  }
}

Done Connection::rewrap(
    const std::function<Result<std::unique_ptr<net::Transport>>(std::unique_ptr<net::Transport>)>& wrap) {
  Result<std::unique_ptr<net::Transport>> wrapped = wrap(std::move(transport_));
  if (!wrapped) return wrapped.error();
  transport_ = std::move(*wrapped);
  if (options_.wire_log) log_.emplace(options_.wire_log);
  return done();
}

}  // namespace mailhaul::client
