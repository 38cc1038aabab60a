// delayproxy: TCP proxy that adds a fixed one-way delay in each direction and,
// if asked, a bandwidth cap. The data in flight is not limited (unless
// --window says so), so the effect of round trips shows and nothing else.
//   delayproxy --listen PORT --to PORT --delay MS [--rate BYTES_PER_S]
//              [--window BYTES] [--log FILE]
// The TCP handshake is modelled: the server side is connected 3 one-way delays
// after accept() and the client's first bytes arrive no sooner than that.
// TCP slow start and loss are not modelled.
// One JSON line per finished connection goes to the log:
//   up, down   bytes client->server, server->client
//   turns      times the client spoke after the server had spoken
//   idle_turns the same, counted only when nothing was in flight in either
//              direction: the round trips the client really waited for
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <deque>
#include <list>
#include <memory>
#include <string>
#include <vector>

typedef int64_t ns;
static ns now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return ns(t.tv_sec) * 1000000000 + t.tv_nsec;
}

struct Chunk {
  ns due = 0;
  std::unique_ptr<char[]> data;
  size_t len = 0, off = 0;
  bool eof = false;
};
struct Conn;
struct Side {  // one socket; `out` is what waits to be written to it
  Conn* conn = nullptr;
  int fd = -1;
  std::deque<Chunk> out;
  size_t queued = 0;
  bool read_eof = false, wrote_eof = false, blocked = false;
  uint32_t events = 0;
  uint64_t got = 0;
};
struct Conn {
  Side client, server;
  ns accepted = 0, connect_at = 0;
  bool connected = false, dead = false;
  int last = 0;  // 1 client spoke last, 2 server spoke last
  bool server_since = true;
  uint64_t turns = 0, idle_turns = 0;
};

static int ep, timer_fd, listen_fd, to_port;
static ns delay_ns;
static double rate;
static size_t window;
static ns link_free[2];
static std::list<std::unique_ptr<Conn>> conns;
static FILE* logf;
static volatile sig_atomic_t stop;

static void nonblock(int fd) {
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}
static void arm(Side& s) {
  if (s.fd < 0) return;
  Side& other = &s == &s.conn->client ? s.conn->server : s.conn->client;
  bool room = !window || other.queued < window;
  uint32_t want = (!s.read_eof && room ? uint32_t(EPOLLIN) : 0) | (s.blocked ? uint32_t(EPOLLOUT) : 0);
  if (want == s.events) return;
  epoll_event e{};
  e.events = want;
  e.data.ptr = &s;
  epoll_ctl(ep, EPOLL_CTL_MOD, s.fd, &e);
  s.events = want;
}
static void add(Side& s) {
  epoll_event e{};
  e.events = EPOLLIN;
  e.data.ptr = &s;
  s.events = EPOLLIN;
  epoll_ctl(ep, EPOLL_CTL_ADD, s.fd, &e);
}
static void finish(Conn& c) {
  if (c.dead) return;
  c.dead = true;
  if (c.client.fd >= 0) close(c.client.fd);
  if (c.server.fd >= 0) close(c.server.fd);
  if (logf) {
    fprintf(logf, "{\"up\":%llu,\"down\":%llu,\"turns\":%llu,\"idle_turns\":%llu,\"seconds\":%.3f}\n",
            (unsigned long long)c.client.got, (unsigned long long)c.server.got, (unsigned long long)c.turns,
            (unsigned long long)c.idle_turns, static_cast<double>(now() - c.accepted) / 1e9);
    fflush(logf);
  }
}
static void flush(Side& s, ns t) {
  Conn& c = *s.conn;
  if (c.dead || s.fd < 0) return;
  s.blocked = false;
  while (!s.out.empty() && s.out.front().due <= t) {
    Chunk& k = s.out.front();
    if (k.eof) {
      shutdown(s.fd, SHUT_WR);
      s.wrote_eof = true;
      s.out.pop_front();
      continue;
    }
    ssize_t n = send(s.fd, k.data.get() + k.off, k.len - k.off, MSG_NOSIGNAL);
    if (n < 0) {
      if (errno == EAGAIN) {
        s.blocked = true;
        break;
      }
      if (errno == EINTR) continue;
      finish(c);
      return;
    }
    k.off += n;
    s.queued -= n;
    if (k.off == k.len) s.out.pop_front();
  }
  if (c.client.wrote_eof && c.server.wrote_eof) {
    finish(c);
    return;
  }
  arm(c.client);
  arm(c.server);
}
static void readable(Side& s) {
  Conn& c = *s.conn;
  bool from_client = &s == &c.client;
  Side& dst = from_client ? c.server : c.client;
  static char buf[262144];
  for (int i = 0; i < 4; i++) {
    if (window && dst.queued >= window) break;
    size_t want = rate > 0 ? 16384 : sizeof buf;
    ssize_t n = recv(s.fd, buf, want, 0);
    if (n < 0) {
      if (errno == EAGAIN) break;
      if (errno == EINTR) continue;
      finish(c);
      return;
    }
    ns t = now();
    Chunk k;
    k.due = t + delay_ns;
    if (from_client && k.due < c.connect_at) k.due = c.connect_at;
    if (n == 0) {
      s.read_eof = true;
      k.eof = true;
      if (!dst.out.empty() && dst.out.back().due > k.due) k.due = dst.out.back().due;
      dst.out.push_back(std::move(k));
      break;
    }
    s.got += n;
    if (from_client) {
      if (c.last != 1) c.turns++;
      if (c.server_since && dst.out.empty() && s.out.empty()) {
        c.idle_turns++;
        c.server_since = false;
      }
      c.last = 1;
    } else {
      c.last = 2;
      c.server_since = true;
    }
    if (rate > 0) {
      ns& f = link_free[from_client];
      ns start = f > t ? f : t;
      f = start + ns(static_cast<double>(n) / rate * 1e9);
      if (f + delay_ns > k.due) k.due = f + delay_ns;
    }
    k.len = n;
    k.data.reset(new char[n]);
    memcpy(k.data.get(), buf, n);
    dst.queued += n;
    dst.out.push_back(std::move(k));
    if (size_t(n) < want) break;
  }
  if (delay_ns == 0 && rate <= 0) flush(dst, now());
  if (!c.dead) {
    arm(c.client);
    arm(c.server);
  }
}
static void dial(Conn& c) {
  c.connected = true;
  c.server.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(static_cast<uint16_t>(to_port));
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(c.server.fd, (sockaddr*)&a, sizeof a) < 0) {
    finish(c);
    return;
  }
  nonblock(c.server.fd);
  add(c.server);
}
int main(int argc, char** argv) {
  int port = 0;
  const char* logname = nullptr;
  for (int i = 1; i + 1 < argc; i += 2) {
    std::string o = argv[i];
    if (o == "--listen")
      port = atoi(argv[i + 1]);
    else if (o == "--to")
      to_port = atoi(argv[i + 1]);
    else if (o == "--delay")
      delay_ns = ns(atof(argv[i + 1]) * 1e6);
    else if (o == "--rate")
      rate = atof(argv[i + 1]);
    else if (o == "--window")
      window = strtoull(argv[i + 1], nullptr, 10);
    else if (o == "--log")
      logname = argv[i + 1];
    else {
      fprintf(stderr, "unknown option %s\n", argv[i]);
      return 2;
    }
  }
  if (rate > 0 && !window) window = 4 << 20;
  if (logname) logf = fopen(logname, "a");
  signal(SIGPIPE, SIG_IGN);
  struct sigaction sa {};
  sa.sa_handler = [](int) { stop = 1; };
  sigaction(SIGTERM, &sa, nullptr);
  sigaction(SIGINT, &sa, nullptr);
  listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  int one = 1;
  setsockopt(listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(static_cast<uint16_t>(port));
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(listen_fd, (sockaddr*)&a, sizeof a) < 0 || listen(listen_fd, 512) < 0) {
    perror("listen");
    return 1;
  }
  ep = epoll_create1(EPOLL_CLOEXEC);
  timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  epoll_event e{};
  e.events = EPOLLIN;
  e.data.ptr = &listen_fd;
  epoll_ctl(ep, EPOLL_CTL_ADD, listen_fd, &e);
  e.data.ptr = &timer_fd;
  epoll_ctl(ep, EPOLL_CTL_ADD, timer_fd, &e);
  printf("ready\n");
  fflush(stdout);
  while (!stop) {
    ns t = now(), next = INT64_MAX;
    for (auto it = conns.begin(); it != conns.end();) {
      Conn& c = **it;
      if (!c.dead && !c.connected && c.connect_at <= t) dial(c);
      if (!c.dead) flush(c.server, t);
      if (!c.dead) flush(c.client, t);
      if (c.dead) {
        it = conns.erase(it);
        continue;
      }
      if (!c.connected) {
        if (c.connect_at < next) next = c.connect_at;
      } else if (!c.server.blocked && !c.server.out.empty() && c.server.out.front().due < next)
        next = c.server.out.front().due;
      if (!c.client.blocked && !c.client.out.empty() && c.client.out.front().due < next)
        next = c.client.out.front().due;
      ++it;
    }
    itimerspec its{};
    if (next != INT64_MAX) {
      its.it_value.tv_sec = next / 1000000000;
      its.it_value.tv_nsec = next % 1000000000;
    }
    timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &its, nullptr);
    epoll_event ev[64];
    int n = epoll_wait(ep, ev, 64, -1);
    for (int i = 0; i < n; i++) {
      void* p = ev[i].data.ptr;
      if (p == &timer_fd) {
        uint64_t x;
        (void)!read(timer_fd, &x, sizeof x);
      } else if (p == &listen_fd) {
        int fd;
        while ((fd = accept4(listen_fd, nullptr, nullptr, SOCK_CLOEXEC)) >= 0) {
          nonblock(fd);
          conns.push_back(std::make_unique<Conn>());
          Conn& c = *conns.back();
          c.accepted = now();
          c.connect_at = c.accepted + 3 * delay_ns;
          c.client.conn = c.server.conn = &c;
          c.client.fd = fd;
          add(c.client);
        }
      } else {
        Side& s = *(Side*)p;
        if (s.conn->dead) continue;
        if (ev[i].events & EPOLLOUT) flush(s, now());
        if (!s.conn->dead && (ev[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) && !s.read_eof)
          readable(s);
        else if (!s.conn->dead && s.read_eof && (ev[i].events & (EPOLLHUP | EPOLLERR))) {
          // peer is gone for good: stop polling it, drop what waits for it
          epoll_ctl(ep, EPOLL_CTL_DEL, s.fd, nullptr);
          s.out.clear();
          s.wrote_eof = true;
          if (s.conn->client.wrote_eof && s.conn->server.wrote_eof) finish(*s.conn);
        }
      }
    }
  }
  for (auto& c : conns) finish(*c);
  return 0;
}
