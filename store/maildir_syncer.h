// A pool of threads that fsync files where the file system has no barrier (private to the Maildir).
#pragma once
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "store/file_system.h"

namespace mailhaul::store {

// The outcome of one fsync; belongs to whoever waits for it and must live until wait() has returned.
class SyncTicket {
 private:
  friend class FileSyncer;
  bool finished_ = true;
  std::optional<Error> error_;
};

// Each file is synced on the descriptor that wrote it (a later one might not be told of an earlier error), then closed.
// Thread-safe. With 0 threads submit() syncs by itself.
class FileSyncer {
 public:
  FileSyncer(FileSystem& fs, unsigned threads) : fs_(fs), most_threads_(threads) {}
  ~FileSyncer();
  FileSyncer(const FileSyncer&) = delete;
  FileSyncer& operator=(const FileSyncer&) = delete;

  void submit(HandlePtr file, SyncTicket& ticket);  // waits while too many files are open
  Done wait(SyncTicket& ticket);

 private:
  struct Job {
    HandlePtr file;
    SyncTicket* ticket;
  };
  void work();

  FileSystem& fs_;
  unsigned most_threads_;
  std::mutex mutex_;
  std::condition_variable work_;      // a job has come, or the end
  std::condition_variable finished_;  // a job has left the queue or is done
  std::deque<Job> jobs_;
  std::vector<std::thread> threads_;
  bool stopping_ = false;
};

}  // namespace mailhaul::store
