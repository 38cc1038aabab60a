#include "store/maildir_syncer.h"

namespace mailhaul::store {
namespace {
constexpr std::size_t kMostOpen = 64;  // files that wait, each with its descriptor
}

FileSyncer::~FileSyncer() {
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
  }
  work_.notify_all();
  for (auto& thread : threads_) thread.join();
}

void FileSyncer::submit(HandlePtr file, SyncTicket& ticket) {
  if (most_threads_ == 0) {
    auto synced = fs_.sync(*file);
    ticket.finished_ = true;
    ticket.error_.reset();
    if (!synced) ticket.error_ = synced.error();
    return;
  }
  std::unique_lock lock(mutex_);
  if (threads_.size() < most_threads_ && jobs_.size() >= threads_.size()) threads_.emplace_back([this] { work(); });
  finished_.wait(lock, [this] { return jobs_.size() < kMostOpen; });
  ticket.finished_ = false;
  ticket.error_.reset();
  jobs_.push_back(Job{std::move(file), &ticket});
  work_.notify_one();
}

Done FileSyncer::wait(SyncTicket& ticket) {
  std::unique_lock lock(mutex_);
  finished_.wait(lock, [&ticket] { return ticket.finished_; });
  if (ticket.error_) return *ticket.error_;
  return done();
}

void FileSyncer::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    work_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
    if (jobs_.empty()) return;  // whatever was submitted is done even when the end has come
    Job job = std::move(jobs_.front());
    jobs_.pop_front();
    lock.unlock();
    finished_.notify_all();  // there is room in the queue
    auto synced = fs_.sync(*job.file);
    job.file.reset();
    lock.lock();
    if (!synced) job.ticket->error_ = synced.error();
    job.ticket->finished_ = true;
    finished_.notify_all();
  }
}

}  // namespace mailhaul::store
