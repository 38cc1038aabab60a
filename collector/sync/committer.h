// Makes batches durable while the network goes on: data synced → renamed into cur/ → directory synced (store::Maildir),
// then one ledger transaction moves the rows to delivered. One committer per destination and ledger; batches come from
// any number of connections. What the destination refuses becomes a failed row, with its words.
#pragma once
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "protocols/base/result.h"
#include "store/destination.h"
#include "store/ledger.h"

namespace mailhaul::sync {

struct BatchItem {
  std::size_t mailbox = 0;  // the run's number
  store::MailboxId mailbox_id;
  std::uint32_t generation = 0;
  store::MessageRow row;  // what to settle: everything but the state
  store::Delivery delivery;
};

struct Batch {
  std::vector<BatchItem> items;
  std::vector<std::string> directories;  // destination of each item
  std::uint64_t octets = 0;
};

struct Settled {  // what became of a batch: per run mailbox number, how many messages and octets are delivered now
  std::size_t mailbox = 0;
  std::uint64_t messages = 0;
  std::uint64_t octets = 0;
};

class Committer {
 public:
  // threaded == false: submit() does all the work itself (simulation, where a crash must strike at one place).
  Committer(store::Destination& destination, store::Ledger& ledger, const Clock& clock, bool threaded,
            std::function<void(const Settled&)> on_settled);
  ~Committer();  // finishes what was submitted
  Committer(const Committer&) = delete;
  Committer& operator=(const Committer&) = delete;

  // Blocks while another batch is being committed, so that memory and the work lost by a crash stay
  // bounded. Returns the first error of any earlier batch; after one nothing more is committed.
  Done submit(Batch batch);
  // Waits until everything submitted is settled (or failed).
  Done finish();

 private:
  void work(const std::stop_token& stop);
  Done commit(Batch& batch);

  store::Destination& destination_;
  store::Ledger& ledger_;
  const Clock& clock_;
  std::function<void(const Settled&)> on_settled_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::deque<Batch> waiting_;
  bool busy_ = false;
  Done outcome_ = done();
  std::jthread thread_;  // last: it uses everything above
};

}  // namespace mailhaul::sync
