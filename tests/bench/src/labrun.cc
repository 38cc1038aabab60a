// labrun: runs one command in its own process group, bounded in time, and reports wall time, CPU, peak RSS and context
// switches as one JSON line.
//   labrun -t SECONDS -o LOGFILE -- command [args...]
// It is small on purpose: a child's peak RSS can never read below the RSS of the process that forked it.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

static double now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) / 1e9;
}
static volatile sig_atomic_t fired = 0;
static pid_t group = 0;
static void on_alarm(int) {
  kill(-group, fired ? SIGKILL : SIGTERM);
  fired = fired + 1;
  alarm(5);
}
static double sec(const timeval& t) { return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6; }

int main(int argc, char** argv) {
  int limit = 300, opt;
  const char* log = "/dev/null";
  while ((opt = getopt(argc, argv, "+t:o:")) != -1) {
    if (opt == 't')
      limit = atoi(optarg);
    else if (opt == 'o')
      log = optarg;
    else
      return 2;
  }
  if (optind >= argc) return 2;
  double t0 = now();
  pid_t pid = fork();
  if (pid < 0) {
    perror("fork");
    return 2;
  }
  if (pid == 0) {
    setpgid(0, 0);
    int fd = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    int in = open("/dev/null", O_RDONLY);
    dup2(in, 0);
    dup2(fd, 1);
    dup2(fd, 2);
    execvp(argv[optind], argv + optind);
    fprintf(stderr, "exec %s: %s\n", argv[optind], strerror(errno));
    _exit(127);
  }
  group = pid;
  struct sigaction sa {};
  sa.sa_handler = on_alarm;
  sigaction(SIGALRM, &sa, nullptr);
  alarm(static_cast<unsigned>(limit));
  int status = 0;
  rusage ru{};
  while (wait4(pid, &status, 0, &ru) < 0 && errno == EINTR) {
  }
  double wall = now() - t0;
  if (fired) kill(-group, SIGKILL);
  int rc = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  printf(
      "{\"wall\":%.4f,\"user\":%.4f,\"sys\":%.4f,\"rss_kb\":%ld,\"rc\":%d,"
      "\"timed_out\":%s,\"nvcsw\":%ld,\"nivcsw\":%ld,\"oublock\":%ld}\n",
      wall, sec(ru.ru_utime), sec(ru.ru_stime), ru.ru_maxrss, rc, fired ? "true" : "false", ru.ru_nvcsw, ru.ru_nivcsw,
      ru.ru_oublock);
  return 0;
}
