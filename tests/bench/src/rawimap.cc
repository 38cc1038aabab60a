// rawimap: the floor. A minimal IMAP client that asks for everything with as
// few round trips as the protocol allows and does almost nothing with it.
//   rawimap [options] MODE
//     -p PORT  -h HOST  -u USER  -P PASSWORD  -s (TLS from the first byte)
//     -c N     connections (a thread each, folders dealt out dynamically)
//     -w DIR   write each message to DIR/<folder number>/<uid>
//     -k       with -w: one append-only DIR/pack-<connection> file instead
//     -y HOW   none | each (fsync a message) | syncfs (once at the end)
//     -S FILE  state file (folder, UIDVALIDITY, UIDNEXT, HIGHESTMODSEQ)
//   MODE
//     fetch    LIST; per folder EXAMINE + UID FETCH 1:* (UID FLAGS INTERNALDATE BODY.PEEK[]),
//              pipelined across folders; writes the state file when -S is given
//     flags    LIST; per folder EXAMINE + UID FETCH 1:* (UID FLAGS), pipelined
//     examine  LIST; EXAMINE of every folder, pipelined
//     prime    ENABLE QRESYNC; SELECT every folder and ask for all that servers cache,
//              so that modification sequences and sizes exist before anything is timed
//     status   LIST; STATUS of every folder, pipelined
//     list     one LIST "" * RETURN (STATUS (...)), compared to the state file
//     sync     list, then for changed folders EXAMINE (QRESYNC (...)) and
//              UID FETCH <uidnext>:* of new messages
// Prints one JSON line with counts. A bench floor, not a mail client: it trusts
// the server.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

using std::string;
static string host = "127.0.0.1", user, pass = "lab", wdir, syncmode = "none", statefile, mode;
static int port = 11143, nconn = 1;
static bool tls, pack;
static std::atomic<uint64_t> messages{0}, bytes{0}, flagged{0}, rawbytes{0}, roundtrips{0};

static void die(const string& m) {
  fprintf(stderr, "rawimap: %s\n", m.c_str());
  exit(1);
}
static double now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) / 1e9;
}

struct Sink {  // receives FETCH literals
  string dir;
  int packfd = -1;
  string buf;
  void message(const string& head, const char* p, size_t n) {
    messages++;
    bytes += n;
    if (wdir.empty()) return;
    if (pack) {
      if (write(packfd, p, n) != ssize_t(n)) die("write");
      if (syncmode == "each") fdatasync(packfd);
      return;
    }
    size_t u = head.find("UID ");
    string name = dir + "/" + std::to_string(strtoul(head.c_str() + (u == string::npos ? 2 : u + 4), nullptr, 10));
    int fd = open(name.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, p, n) != ssize_t(n)) die("write " + name);
    if (syncmode == "each") fsync(fd);
    close(fd);
  }
};

struct Conn {
  int fd = -1;
  SSL* ssl = nullptr;
  std::vector<char> buf = std::vector<char>(1 << 18);
  size_t at = 0, end = 0;
  int tag = 0;
  Sink sink;

  void open_(SSL_CTX* ctx) {
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_port = htons(static_cast<uint16_t>(port));
    inet_pton(AF_INET, host.c_str(), &a.sin_addr);
    if (connect(fd, (sockaddr*)&a, sizeof a) < 0) die("connect");
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (tls) {
      ssl = SSL_new(ctx);
      SSL_set_fd(ssl, fd);
      if (SSL_connect(ssl) != 1) die("TLS handshake");
    }
    string l;
    line(l);  // greeting
    run("LOGIN " + user + " " + pass);
  }
  void send_(const string& s) {
    size_t o = 0;
    while (o < s.size()) {
      ssize_t n =
          ssl ? SSL_write(ssl, s.data() + o, int(s.size() - o)) : ::send(fd, s.data() + o, s.size() - o, MSG_NOSIGNAL);
      if (n <= 0) die("send");
      o += n;
    }
  }
  string cmd(const string& c) {
    string t = "a" + std::to_string(++tag);
    send_(t + " " + c + "\r\n");
    return t;
  }
  void fill() {
    if (at > 0) {
      memmove(buf.data(), buf.data() + at, end - at);
      end -= at;
      at = 0;
    }
    if (end == buf.size()) buf.resize(buf.size() * 2);
    ssize_t n =
        ssl ? SSL_read(ssl, buf.data() + end, int(buf.size() - end)) : recv(fd, buf.data() + end, buf.size() - end, 0);
    if (n <= 0) die("connection closed");
    rawbytes += n;
    end += n;
  }
  // one response line; literals go to the sink (BODY[) or are inlined (others)
  void line(string& out) {
    out.clear();
    for (;;) {
      char* nl;
      size_t scan = at;
      while (!(nl = (char*)memchr(buf.data() + scan, '\n', end - scan))) {
        size_t have = end - at;
        fill();
        scan = at + have;
      }
      size_t len = nl - (buf.data() + at);
      size_t keep = len && nl[-1] == '\r' ? len - 1 : len;
      out.append(buf.data() + at, keep);
      at += len + 1;
      if (out.empty() || out.back() != '}') return;
      size_t b = out.rfind('{');
      if (b == string::npos) return;
      size_t n = strtoull(out.c_str() + b + 1, nullptr, 10);
      out.resize(b);
      bool body = out.find("BODY[") != string::npos;
      if (body && wdir.empty()) {  // discard without gathering
        messages++;
        bytes += n;
        while (end - at < n) {
          n -= end - at;
          at = end = 0;
          fill();
        }
        at += n;
      } else {
        while (end - at < n) fill();
        if (body)
          sink.message(out, buf.data() + at, n);
        else
          out.append("\"").append(buf.data() + at, n).append("\"");
        at += n;
      }
    }
  }
  template <class F>
  string until(const string& t, F f) {
    string l;
    for (;;) {
      line(l);
      if (l.compare(0, t.size(), t) == 0 && l.size() > t.size() && l[t.size()] == ' ') return l;
      f(l);
    }
  }
  template <class F>
  void run(const string& c, F f) {
    string t = cmd(c), l = until(t, f);
    roundtrips++;
    if (l.compare(t.size() + 1, 2, "OK")) die(c.substr(0, 30) + ": " + l);
  }
  void run(const string& c) {
    run(c, [](const string&) {});
  }
  void bye() {
    cmd("LOGOUT");
    if (ssl) SSL_free(ssl);
    close(fd);
  }
};

struct State {
  uint64_t validity = 0, next = 0, modseq = 0, count = 0;
  bool operator==(const State& o) const {
    return validity == o.validity && next == o.next && modseq == o.modseq && count == o.count;
  }
};
static std::map<string, State> known, seen;
static std::mutex mu;

static uint64_t num(const string& l, const char* key) {
  size_t p = l.find(key);
  return p == string::npos ? 0 : strtoull(l.c_str() + p + strlen(key), nullptr, 10);
}
static string list_name(const string& l) {  // * LIST (flags) "sep" name [extra]
  size_t p = l.find(')');
  p = l.find('"', p);
  p = l.find('"', p + 1) + 2;
  if (p >= l.size()) return "";
  if (l[p] == '"') {
    size_t q = p + 1;
    while (q < l.size() && l[q] != '"') q += l[q] == '\\' ? 2 : 1;
    return l.substr(p, q - p + 1);
  }
  return l.substr(p, l.find(' ', p) - p);
}
static string status_name(const string& l) {
  size_t p = 9;
  if (l[p] == '"') {
    size_t q = p + 1;
    while (q < l.size() && l[q] != '"') q += l[q] == '\\' ? 2 : 1;
    return l.substr(p, q - p + 1);
  }
  return l.substr(p, l.find(' ', p) - p);
}
static void status_line(const string& l) {
  if (l.compare(0, 9, "* STATUS ")) return;
  State s;
  string rest = l.substr(l.rfind('('));
  s.count = num(rest, "MESSAGES ");
  s.validity = num(rest, "UIDVALIDITY ");
  s.next = num(rest, "UIDNEXT ");
  s.modseq = num(rest, "HIGHESTMODSEQ ");
  seen[status_name(l)] = s;
}
static const char* ITEMS = "(MESSAGES UIDVALIDITY UIDNEXT HIGHESTMODSEQ)";

// send all commands, no more than 48 KB of them unanswered, and read the answers
struct Batch {
  string text, folder;
  int number;
};
template <class F>
static void pipeline(Conn& c, std::deque<Batch> todo, F f) {
  struct Out {
    string tag, folder;
    size_t size;
    int number;
  };
  std::deque<Out> out;
  size_t flying = 0;
  roundtrips++;
  while (!todo.empty() || !out.empty()) {
    string burst;
    while (!todo.empty() && (out.empty() || flying + todo.front().text.size() < 48000)) {
      Batch& b = todo.front();
      string t = "a" + std::to_string(++c.tag);
      burst += t + " " + b.text + "\r\n";
      out.push_back({t, b.folder, b.text.size(), b.number});
      flying += b.text.size();
      todo.pop_front();
    }
    if (!burst.empty()) c.send_(burst);
    Out o = out.front();
    out.pop_front();
    flying -= o.size;
    if (!wdir.empty() && !pack) c.sink.dir = wdir + "/" + std::to_string(o.number);
    string l = c.until(o.tag, [&](const string& x) { f(x, o.folder); });
    if (l.compare(o.tag.size() + 1, 2, "OK")) die(o.folder + ": " + l);
  }
}
static void on_line(const string& l, const string& folder) {
  if (mode == "flags" || mode == "sync") {
    if (l.find(" FETCH (") != string::npos && l.find("BODY[") == string::npos) flagged++;
  } else if (mode == "status") {
    std::lock_guard<std::mutex> g(mu);
    status_line(l);
  }
  if (mode == "fetch" && !statefile.empty() && l.compare(0, 5, "* OK ") == 0) {
    std::lock_guard<std::mutex> g(mu);
    State& s = seen[folder];
    if (uint64_t v = num(l, "[UIDVALIDITY ")) s.validity = v;
    if (uint64_t v = num(l, "[UIDNEXT ")) s.next = v;
    if (uint64_t v = num(l, "[HIGHESTMODSEQ ")) s.modseq = v;
  } else if (mode == "fetch" && !statefile.empty() && l.size() > 9 && l.compare(l.size() - 7, 7, " EXISTS") == 0) {
    std::lock_guard<std::mutex> g(mu);
    seen[folder].count = strtoull(l.c_str() + 2, nullptr, 10);
  }
}

int main(int argc, char** argv) {
  int o;
  while ((o = getopt(argc, argv, "p:h:u:P:sc:w:ky:S:")) != -1) {
    switch (o) {
      case 'p':
        port = atoi(optarg);
        break;
      case 'h':
        host = optarg;
        break;
      case 'u':
        user = optarg;
        break;
      case 'P':
        pass = optarg;
        break;
      case 's':
        tls = true;
        break;
      case 'c':
        nconn = atoi(optarg);
        break;
      case 'w':
        wdir = optarg;
        break;
      case 'k':
        pack = true;
        break;
      case 'y':
        syncmode = optarg;
        break;
      case 'S':
        statefile = optarg;
        break;
      default:
        return 2;
    }
  }
  if (optind + 1 != argc || user.empty()) {
    fprintf(stderr, "see the head of rawimap.cc\n");
    return 2;
  }
  mode = argv[optind];
  double t0 = now();
  SSL_CTX* ctx = tls ? SSL_CTX_new(TLS_client_method()) : nullptr;
  if (!statefile.empty())
    if (FILE* f = fopen(statefile.c_str(), "r")) {
      char name[4096];
      unsigned long long v, n, m, c;
      while (fscanf(f, "%llu %llu %llu %llu %4095[^\n]\n", &v, &n, &m, &c, name) == 5) {
        State s;
        s.validity = v;
        s.next = n;
        s.modseq = m;
        s.count = c;
        known[name] = s;
      }
      fclose(f);
    }
  if (!wdir.empty()) mkdir(wdir.c_str(), 0700);
  Conn first;
  first.open_(ctx);
  std::vector<string> folders;
  int changed = 0;
  auto openpack = [&](Conn& c, int i) {
    if (pack && !wdir.empty())
      c.sink.packfd =
          open((wdir + "/pack-" + std::to_string(i)).c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  };
  openpack(first, 0);
  bool listed = mode == "list" || mode == "sync";
  first.run(listed ? string("LIST \"\" * RETURN (STATUS ") + ITEMS + ")" : string("LIST \"\" *"), [&](const string& l) {
    if (l.compare(0, 7, "* LIST ") == 0 && l.find("\\NoSelect") == string::npos &&
        l.find("\\Noselect") == string::npos && l.find("\\NonExistent") == string::npos)
      folders.push_back(list_name(l));
    else if (listed)
      status_line(l);
  });
  int n = int(folders.size());
  if (!wdir.empty() && !pack && mode == "fetch")
    for (int i = 0; i < n; i++) mkdir((wdir + "/" + std::to_string(i)).c_str(), 0700);
  if (mode == "sync") {
    first.run("ENABLE QRESYNC");
    std::deque<Batch> todo;
    for (int i = 0; i < n; i++) {
      State a = known[folders[i]], b = seen[folders[i]];
      if (a == b) continue;
      changed++;
      char q[200];
      if (a.modseq)
        snprintf(q, sizeof q, " (QRESYNC (%llu %llu))", (unsigned long long)a.validity, (unsigned long long)a.modseq);
      else
        q[0] = 0;
      todo.push_back({"EXAMINE " + folders[i] + q, folders[i], i});
      if (b.next != a.next)
        todo.push_back({"UID FETCH " + std::to_string(a.next ? a.next : 1) + ":* (UID FLAGS INTERNALDATE BODY.PEEK[])",
                        folders[i], i});
      if (!wdir.empty()) mkdir((wdir + "/" + std::to_string(i)).c_str(), 0700);
    }
    pipeline(first, todo, on_line);
  } else if (!listed) {
    if (mode == "prime") first.run("ENABLE QRESYNC");
    std::atomic<int> next{0};
    auto work = [&](Conn& c) {
      std::deque<Batch> todo;
      auto push = [&](int i) {
        if (mode == "status") {
          todo.push_back({"STATUS " + folders[i] + " " + ITEMS, folders[i], i});
          return;
        }
        todo.push_back({(mode == "prime" ? "SELECT " : "EXAMINE ") + folders[i], folders[i], i});
        if (mode == "prime")
          todo.push_back({"UID FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE MODSEQ ENVELOPE)", folders[i], i});
        else if (mode == "fetch")
          todo.push_back({"UID FETCH 1:* (UID FLAGS INTERNALDATE BODY.PEEK[])", folders[i], i});
        else if (mode == "flags")
          todo.push_back({"UID FETCH 1:* (UID FLAGS)", folders[i], i});
      };
      if (nconn == 1) {
        for (int i = 0; i < n; i++) push(i);
        pipeline(c, todo, on_line);
      } else {
        for (int i; (i = next++) < n;) {
          todo.clear();
          push(i);
          pipeline(c, todo, on_line);
        }
      }
    };
    std::vector<std::thread> pool;
    for (int i = 1; i < nconn; i++)
      pool.emplace_back([&, i] {
        Conn c;
        c.open_(ctx);
        openpack(c, i);
        work(c);
        if (c.sink.packfd >= 0 && syncmode == "syncfs") fdatasync(c.sink.packfd);
        c.bye();
      });
    work(first);
    for (auto& t : pool) t.join();
  }
  if (listed) {
    if (mode == "list")
      for (auto& f : folders) changed += !(known[f] == seen[f]);
  }
  first.bye();
  if (!wdir.empty() && syncmode == "syncfs") {
    if (pack)
      fdatasync(first.sink.packfd);
    else {
      int d = open(wdir.c_str(), O_RDONLY | O_DIRECTORY);
      syncfs(d);
      close(d);
    }
  }
  if (!statefile.empty() && (mode == "fetch" || mode == "status")) {
    FILE* f = fopen(statefile.c_str(), "w");
    for (auto& k : seen)
      fprintf(f, "%llu %llu %llu %llu %s\n", (unsigned long long)k.second.validity, (unsigned long long)k.second.next,
              (unsigned long long)k.second.modseq, (unsigned long long)k.second.count, k.first.c_str());
    fclose(f);
  }
  double s = now() - t0;
  rusage ru{};
  getrusage(RUSAGE_SELF, &ru);
  printf(
      "{\"mode\":\"%s\",\"folders\":%d,\"changed\":%d,\"messages\":%llu,\"bytes\":%llu,\"flags\":%llu,\"received\":%"
      "llu,\"roundtrips\":%llu,\"seconds\":%.4f}\n",
      mode.c_str(), n, changed, (unsigned long long)messages, (unsigned long long)bytes, (unsigned long long)flagged,
      (unsigned long long)rawbytes, (unsigned long long)roundtrips, s);
  return 0;
}
