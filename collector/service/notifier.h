// Takes messages out of the queue in the database and sends them, on a thread of its own; what is not taken is tried
// again later. A message leaves the queue when the other side has said that it has it: a process that dies between that
// and its own note sends it once more, under the same id. Thread-safe.
#pragma once
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>

#include "collector/service/events.h"
#include "collector/service/outcome.h"
#include "protocols/net/address_gate.h"
#include "protocols/notify/notify.h"
#include "store/registry/registry.h"
#include "store/registry/secrets.h"

namespace mailhaul::service {

std::string place_of_channel_secret(registry::Id channel);  // what a sealed secret is bound to
std::string new_message_id();

class Notifier {
 public:
  struct Disk {
    std::uint64_t free = 0, reserve = 0;
  };
  Notifier(registry::Registry& registry, const registry::SecretBox& secrets, const net::AddressGate& gate,
           EventLog& events, const Clock& clock, std::function<Disk()> disk);
  ~Notifier();  // stops

  void start();
  void stop();  // what is being sent is broken off and sent again at the next start
  void wake();  // something was put into the queue

  // One message now, past the queue.
  Done send(const registry::ChannelRow& channel, const registry::NoticeRow& notice, const std::stop_token& stop);

 private:
  void work(const std::stop_token& stop);
  bool send_next(const std::stop_token& stop);
  bool note_taken(const registry::NoticeRow& row);
  void look_at_disk();

  registry::Registry& registry_;
  const registry::SecretBox& secrets_;
  const net::AddressGate gate_;
  EventLog& events_;
  const Clock& clock_;
  const std::function<Disk()> disk_;
  std::mutex mutex_;
  std::condition_variable_any woken_;
  bool rung_ = true;                          // the queue is to be asked
  std::optional<registry::NoticeRow> taken_;  // by the other side; still to be written down
  std::jthread thread_;
};

}  // namespace mailhaul::service
