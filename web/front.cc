#include "web/front.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <system_error>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

namespace mailhaul::web {
namespace {

using Instant = std::chrono::steady_clock::time_point;

constexpr std::size_t kPiece = 64 << 10;
constexpr std::size_t kStreamBuffer = 256 << 10;  // a reader that is further behind is asked to come again
constexpr char kContinue[] = "HTTP/1.1 100 Continue\r\n\r\n";

std::string plain(int status, const std::string& why) {
  const auto body = "{\"type\":\"about:blank\",\"title\":\"Refused\",\"status\":" + std::to_string(status) +
                    ",\"detail\":\"" + why + "\"}";
  return "HTTP/1.1 " + std::to_string(status) +
         " Refused\r\nContent-Type: application/problem+json\r\nConnection: close\r\nContent-Length: " +
         std::to_string(body.size()) + "\r\n\r\n" + body;
}

std::string text_of(const sockaddr_storage& from) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (from.ss_family == AF_INET) {
    sockaddr_in four{};
    std::memcpy(&four, &from, sizeof four);
    inet_ntop(AF_INET, &four.sin_addr, text.data(), text.size());
    return text.data();
  }
  sockaddr_in6 six{};
  std::memcpy(&six, &from, sizeof six);
  inet_ntop(AF_INET6, &six.sin6_addr, text.data(), text.size());
  const std::string out = text.data();
  return out.starts_with("::ffff:") && out.find('.') != std::string::npos ? out.substr(7) : out;
}

struct Connection {
  int socket = -1;
  std::unique_ptr<net::TlsSession> tls;
  std::uint64_t id = 0;
  std::string remote;
  RequestReader reader;
  std::string in, out;
  bool busy = false;     // a worker has its request
  bool closing = false;  // once `out` is written
  bool peer_done = false;
  std::function<std::optional<std::string>()> stream;
  Instant since{}, beaten{};
  std::uint32_t wants = 0;
  bool watched = false;

  ssize_t receive(char* octets, std::size_t size) {
    return tls ? tls->receive(octets, size) : ::recv(socket, octets, size, 0);
  }
  ssize_t send(const std::string& octets) {
    return tls ? tls->send(octets.data(), octets.size()) : ::send(socket, octets.data(), octets.size(), MSG_NOSIGNAL);
  }
};

}  // namespace

struct Front::Impl {
  FrontSettings settings;
  Handler handler;
  int listener = -1, poller = -1, bell = -1;
  std::uint16_t port = 0;
  std::atomic<bool> stopping{false}, ring_streams{false};
  std::atomic<std::size_t> open{0};
  std::uint64_t next_id = 1;
  std::size_t streams = 0;
  std::unordered_map<int, std::unique_ptr<Connection>> connections;
  std::map<std::string, std::size_t> by_address;

  struct Work {
    int socket = -1;
    std::uint64_t id = 0;
    RawRequest request;
    std::string remote;
  };
  struct Finished {
    int socket = -1;
    std::uint64_t id = 0;
    Answer answer;
  };
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<Work> work;
  std::vector<Finished> finished;
  bool workers_stop = false;
  std::vector<std::thread> workers;

  ~Impl() {
    {
      const std::lock_guard lock(mutex);
      workers_stop = true;
    }
    changed.notify_all();
    for (auto& worker : workers) worker.join();
    for (auto& [socket, connection] : connections) ::close(socket);
    for (const int fd : {listener, poller, bell})
      if (fd >= 0) ::close(fd);
  }

  void ring() const {
    const std::uint64_t one = 1;
    (void)!::write(bell, &one, sizeof one);
  }

  Done listen();
  void watch(Connection& c, std::uint32_t wants);
  void accept_all();
  void take_input(Connection& c);
  void advance(Connection& c);
  void flush(Connection& c);
  void close(Connection& c);
  void feed(Connection& c, Instant now, bool woken);
  void hand_back();
  void check_time(Instant now);
  void labour();
  void serve();
};

Done Front::Impl::listen() {
  sockaddr_storage at{};
  socklen_t size = 0;
  sockaddr_in four{};
  sockaddr_in6 six{};
  if (inet_pton(AF_INET, settings.address.c_str(), &four.sin_addr) == 1) {
    four.sin_family = AF_INET;
    four.sin_port = htons(settings.port);
    std::memcpy(&at, &four, size = sizeof four);
  } else if (inet_pton(AF_INET6, settings.address.c_str(), &six.sin6_addr) == 1) {
    six.sin6_family = AF_INET6;
    six.sin6_port = htons(settings.port);
    std::memcpy(&at, &six, size = sizeof six);
  } else {
    return Error{Scope::Service, Retry::AfterUserAction, "'" + settings.address + "' is no address to listen on",
                 "Write MAILHAUL_LISTEN=127.0.0.1:8025, or 0.0.0.0:8025 for every interface."};
  }
  const auto failed = [&] {
    return Error{
        Scope::Service, Retry::AfterUserAction,
        "cannot listen on " + settings.address + " port " + std::to_string(settings.port) + ": " +
            std::generic_category().message(errno),
        errno == EADDRINUSE ? "Another program has this port: stop it, or set MAILHAUL_LISTEN to another one." : ""};
  };
  listener = ::socket(at.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (listener < 0) return failed();
  const int yes = 1, no = 0;
  ::setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (at.ss_family == AF_INET6) ::setsockopt(listener, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof no);
  if (::bind(listener, reinterpret_cast<const sockaddr*>(&at), size) != 0 || ::listen(listener, 512) != 0)
    return failed();
  sockaddr_storage got{};
  socklen_t got_size = sizeof got;
  ::getsockname(listener, reinterpret_cast<sockaddr*>(&got), &got_size);
  std::memcpy(&four, &got, sizeof four);  // the port is at the same place in both
  port = ntohs(four.sin_port);
  poller = ::epoll_create1(EPOLL_CLOEXEC);
  bell = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (poller < 0 || bell < 0) return failed();
  for (const int fd : {listener, bell}) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = fd;
    ::epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
  }
  return done();
}

void Front::Impl::watch(Connection& c, std::uint32_t wants) {
  if (c.watched && c.wants == wants) return;
  epoll_event event{};
  event.events = wants;
  event.data.fd = c.socket;
  ::epoll_ctl(poller, c.watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c.socket, &event);
  c.watched = true;
  c.wants = wants;
}

void Front::Impl::accept_all() {
  for (;;) {
    sockaddr_storage from{};
    socklen_t size = sizeof from;
    const int socket = ::accept4(listener, reinterpret_cast<sockaddr*>(&from), &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (socket < 0) return;
    auto remote = text_of(from);
    if (connections.size() >= settings.connections || by_address[remote] >= settings.per_address) {
      const auto refusal = settings.tls ? std::string() : plain(503, "too many connections");
      (void)!::send(socket, refusal.data(), refusal.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      ::close(socket);
      continue;
    }
    const int yes = 1;
    ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    ++by_address[remote];
    auto connection = std::make_unique<Connection>();
    connection->socket = socket;
    if (settings.tls) connection->tls = settings.tls->accept(socket);
    connection->id = next_id++;
    connection->remote = std::move(remote);
    connection->reader = RequestReader(settings.limits);
    connection->since = std::chrono::steady_clock::now();
    watch(*connection, EPOLLIN | EPOLLRDHUP);
    connections.emplace(socket, std::move(connection));
    open = connections.size();
  }
}

void Front::Impl::close(Connection& c) {
  if (c.stream) --streams;
  if (--by_address[c.remote] == 0) by_address.erase(c.remote);
  ::close(c.socket);
  connections.erase(c.socket);
  open = connections.size();
}

void Front::Impl::take_input(Connection& c) {
  std::array<char, kPiece> piece;  // NOLINT(cppcoreguidelines-pro-type-member-init): written before it is read
  for (;;) {
    // While a worker has the request, and in a stream, nothing more is wanted: a pipelined request waits in the socket.
    if (c.busy || c.stream || c.in.size() > settings.limits.head) break;
    const auto got = c.receive(piece.data(), piece.size());
    if (got > 0) {
      if (c.in.empty() && !c.reader.begun()) c.since = std::chrono::steady_clock::now();
      c.in.append(piece.data(), static_cast<std::size_t>(got));
      advance(c);
      if (c.closing) break;
      continue;
    }
    if (got == 0) c.peer_done = true;
    if (got < 0 && errno != EAGAIN && errno != EINTR) c.peer_done = true;
    if (c.tls && c.tls->cleartext()) {
      c.tls.reset();
      (void)!::recv(c.socket, piece.data(), piece.size(), 0);  // unread, it would turn our answer into a reset
      c.out = plain(400, "this port speaks HTTPS: write https:// before the address");
      c.closing = true;
    }
    break;
  }
}

// Cuts the next request out of what has come, unless one is being answered.
void Front::Impl::advance(Connection& c) {
  if (c.busy || c.closing || c.stream || c.in.empty()) return;
  switch (c.reader.read(c.in)) {
    case RequestReader::State::More:
      return;
    case RequestReader::State::Continue:
      c.out += kContinue;
      return advance(c);
    case RequestReader::State::Refused:
      c.out += plain(c.reader.refused().status, c.reader.refused().why);
      c.closing = true;
      return;
    case RequestReader::State::Whole:
      break;
  }
  {
    const std::lock_guard lock(mutex);
    if (work.size() >= settings.waiting) {
      c.out += plain(503, "the service is busy");
      c.closing = true;
      return;
    }
    work.push_back({c.socket, c.id, c.reader.take(), c.remote});
  }
  c.busy = true;
  changed.notify_one();
}

void Front::Impl::flush(Connection& c) {
  while (!c.out.empty()) {
    const auto sent = c.send(c.out);
    if (sent < 0 && errno == EINTR) continue;
    // A handshake on the way wants to read before it can write.
    const auto reads = c.tls && !c.tls->wants_write() ? std::uint32_t{EPOLLIN} : std::uint32_t{EPOLLOUT};
    if (sent < 0 && errno == EAGAIN) return watch(c, reads | EPOLLRDHUP);
    if (sent <= 0) return close(c);
    c.out.erase(0, static_cast<std::size_t>(sent));
  }
  if (c.closing) {
    if (c.tls) c.tls->end();
    ::shutdown(c.socket, SHUT_WR);
    return close(c);
  }
  if (c.peer_done && !c.busy) return close(c);
  // Whoever has said all may still listen to the answer.
  const std::uint32_t more = c.tls && c.tls->wants_write() ? EPOLLOUT : 0U;
  watch(c, c.busy ? 0U : c.stream ? EPOLLRDHUP : EPOLLIN | EPOLLRDHUP | more);
}

void Front::Impl::feed(Connection& c, Instant now, bool woken) {
  if (!c.stream) return;
  if ((woken || now - c.beaten >= settings.beat) && c.out.size() < kStreamBuffer) {
    auto more = c.stream();
    if (!more) return close(c);
    c.out += *more;
  }
  if (c.out.empty() && now - c.beaten >= settings.beat) c.out = ": \n\n";
  if (c.out.empty()) return;
  c.beaten = now;
  flush(c);
}

void Front::Impl::hand_back() {
  std::vector<Finished> all;
  {
    const std::lock_guard lock(mutex);
    all.swap(finished);
  }
  for (auto& [socket, id, answer] : all) {
    const auto it = connections.find(socket);
    if (it == connections.end() || it->second->id != id) continue;
    auto& c = *it->second;
    c.busy = false;
    c.since = std::chrono::steady_clock::now();
    c.out += answer.octets;
    c.closing = c.closing || answer.close || stopping;
    if (answer.stream && streams < settings.streams) {
      ++streams;
      c.stream = std::move(answer.stream);
      c.closing = false;
      c.beaten = c.since;
      feed(c, c.since, true);
      continue;
    }
    if (answer.stream) c.closing = true;
    if (!c.closing) advance(c);
    if (!c.closing && c.tls && c.tls->pending()) take_input(c);  // no poll tells of what is decrypted already
    flush(c);
  }
}

void Front::Impl::check_time(Instant now) {
  std::vector<int> late;
  for (auto& [socket, c] : connections) {
    if (c->busy || c->stream) continue;
    const auto limit = c->reader.begun() || !c->out.empty() ? settings.request : settings.idle;
    if (now - c->since > limit) late.push_back(socket);
  }
  for (const int socket : late) {
    auto& c = *connections.at(socket);
    if (c.reader.begun() && c.out.empty()) {
      const auto refusal = plain(408, "the request took too long");
      (void)!c.send(refusal);
    }
    close(c);
  }
}

void Front::Impl::labour() {
  for (;;) {
    Work item;
    {
      std::unique_lock lock(mutex);
      changed.wait(lock, [this] { return workers_stop || !work.empty(); });
      if (work.empty()) return;
      item = std::move(work.front());
      work.pop_front();
    }
    const bool keep = item.request.keep_alive;
    auto answer = handler(std::move(item.request), item.remote);
    answer.close = answer.close || !keep;
    {
      const std::lock_guard lock(mutex);
      finished.push_back({item.socket, item.id, std::move(answer)});
    }
    ring();
  }
}

void Front::Impl::serve() {
  for (std::size_t n = 0; n < settings.workers; ++n) workers.emplace_back([this] { labour(); });
  std::array<epoll_event, 64> events{};
  Instant checked{}, leaving{};
  for (;;) {
    const int count = ::epoll_wait(poller, events.data(), static_cast<int>(events.size()), 500);
    const auto now = std::chrono::steady_clock::now();
    for (int n = 0; n < count; ++n) {
      const int fd = events.at(static_cast<std::size_t>(n)).data.fd;
      if (fd == listener) {
        if (!stopping) accept_all();
        continue;
      }
      if (fd == bell) {
        std::uint64_t rung = 0;
        (void)!::read(bell, &rung, sizeof rung);
        continue;
      }
      const auto it = connections.find(fd);
      if (it == connections.end()) continue;
      auto& c = *it->second;
      const auto what = events.at(static_cast<std::size_t>(n)).events;
      if (what & (EPOLLHUP | EPOLLERR) || (what & EPOLLRDHUP && c.stream)) {
        close(c);
        continue;
      }
      const bool shaking_hands = c.tls && (what & EPOLLOUT) != 0 && c.out.empty();
      if (what & (EPOLLIN | EPOLLRDHUP) || shaking_hands) take_input(c);
      flush(c);
    }
    hand_back();
    const bool woken = ring_streams.exchange(false);
    if (woken || now - checked >= std::chrono::seconds(1)) {
      std::vector<int> streaming;
      for (const auto& [socket, c] : connections)
        if (c->stream) streaming.push_back(socket);
      for (const int socket : streaming) feed(*connections.at(socket), now, woken);
    }
    if (now - checked >= std::chrono::seconds(1)) {
      checked = now;
      check_time(now);
    }
    if (!stopping) continue;
    if (leaving == Instant{}) leaving = now;
    const auto busy = [](const auto& one) {
      return one.second->busy || (!one.second->out.empty() && !one.second->stream);
    };
    if (std::ranges::none_of(connections, busy) || now - leaving > std::chrono::seconds(5)) return;
  }
}

Front::Front(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Front::~Front() = default;

Result<std::unique_ptr<Front>> Front::open(const FrontSettings& settings, Handler handler) {
  auto impl = std::make_unique<Impl>();
  impl->settings = settings;
  impl->handler = std::move(handler);
  if (auto listening = impl->listen(); !listening) return listening.error();
  return std::unique_ptr<Front>(new Front(std::move(impl)));
}

void Front::serve() { impl_->serve(); }
void Front::stop() {
  impl_->stopping = true;
  impl_->ring();
}
void Front::wake() {
  if (!impl_->ring_streams.exchange(true)) impl_->ring();
}
std::uint16_t Front::port() const { return impl_->port; }
std::size_t Front::connections() const { return impl_->open; }

}  // namespace mailhaul::web
