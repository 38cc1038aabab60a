#include "collector/signals.h"

#include <pthread.h>
#include <unistd.h>

#include "collector/exit.h"

namespace mailhaul::collector {

Signals::Signals(bool hangups) {
  sigemptyset(&set_);
  sigaddset(&set_, SIGINT);
  sigaddset(&set_, SIGTERM);
  sigaddset(&set_, SIGUSR1);
  if (hangups) sigaddset(&set_, SIGHUP);
  pthread_sigmask(SIG_BLOCK, &set_, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  thread_ = std::thread([this] { wait(); });
}

Signals::~Signals() {
  over_ = true;
  pthread_kill(thread_.native_handle(), SIGUSR1);
  thread_.join();
}

void Signals::wait() {
  for (int number = 0; sigwait(&set_, &number) == 0;) {
    if (over_) return;
    if (number == SIGUSR1) continue;
    if (number == SIGHUP) {
      ++hangups_;
      continue;
    }
    if (caught_ != 0) _exit(kSignal + number);
    caught_ = number;
    stop_.request_stop();
  }
}

}  // namespace mailhaul::collector
