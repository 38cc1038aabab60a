#include "collector/service/watcher.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

namespace mailhaul::service {

using registry::Id;
using std::chrono::duration_cast;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

constexpr std::size_t kRoom = 64 << 10;  // one for all connections
constexpr seconds kFirstPause{5}, kLongestPause{15 * 60}, kSettled{10 * 60}, kNotBelieved{6 * 3600}, kCannot{24 * 3600};
constexpr unsigned kMisses = 2;

std::int64_t offset_of(const Clock& clock) {
  return clock.unix_seconds() - duration_cast<seconds>(clock.steady().time_since_epoch()).count();
}

}  // namespace

Watcher::Watcher(Open open, Heard heard, const Clock& clock, WatcherSettings settings)
    : open_(std::move(open)), heard_(std::move(heard)), clock_(clock), settings_(settings) {}

Watcher::~Watcher() { stop(); }

void Watcher::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    stop_.request_stop();
    if (poller_) poller_->ring();
  }
  queued_.notify_all();
  for (auto& thread : threads_) thread.join();
  threads_.clear();
  const std::lock_guard lock(mutex_);
  for (auto& [id, entry] : entries_) close(entry);
  entries_.clear();
}

// Nothing of it is there until the first account wants it.
void Watcher::begin() {
  if (std::exchange(begun_, true)) return;
  auto poller = net::Poller::open();
  if (!poller) return;  // polled it is, then
  poller_.emplace(*std::move(poller));
  net::raise_descriptor_limit();
  room_.resize(kRoom);
  wall_offset_ = offset_of(clock_);
  threads_.emplace_back([this] { listen(); });
  for (std::size_t n = 0; n < settings_.connectors; ++n) threads_.emplace_back([this] { connect(); });
}

// In [0, span): keeps what began together apart.
milliseconds Watcher::spread(Id account, milliseconds span) {
  luck_ ^= luck_ << 13;
  luck_ ^= luck_ >> 7;
  luck_ ^= luck_ << 17;
  const auto mixed = (luck_ + static_cast<std::uint64_t>(account)) >> 11;
  return milliseconds(span.count() == 0 ? 0
                                        : static_cast<std::int64_t>(mixed % static_cast<std::uint64_t>(span.count())));
}

void Watcher::want(Id account, bool anew) {
  const std::lock_guard lock(mutex_);
  if (stopping_) return;
  begin();
  const auto [it, fresh] = entries_.try_emplace(account);
  if (!fresh && !anew) return;
  const auto runs = it->second.runs;
  close(it->second);
  it->second = Entry{};
  it->second.runs = runs;
  it->second.generation = ++generations_;
  it->second.due = clock_.steady();
}

void Watcher::forget(Id account) {
  const std::lock_guard lock(mutex_);
  const auto it = entries_.find(account);
  if (it == entries_.end()) return;
  close(it->second);
  entries_.erase(it);
}

void Watcher::make_room(Id account) {
  const std::lock_guard lock(mutex_);
  const auto it = entries_.find(account);
  if (it == entries_.end()) return;
  ++it->second.runs;
  if (!it->second.alone) return;
  close(it->second);
  it->second.generation = ++generations_;
  it->second.state = State::Waiting;
}

void Watcher::run_ended(Id account, bool refused) {
  const std::lock_guard lock(mutex_);
  const auto it = entries_.find(account);
  if (it == entries_.end()) return;
  auto& entry = it->second;
  if (entry.runs > 0) --entry.runs;
  if (refused && entry.watch) {
    entry.alone = true;
    close(entry);
    put_off(account, entry, kFirstPause);
  }
}

void Watcher::missed(Id account) {
  const std::lock_guard lock(mutex_);
  const auto it = entries_.find(account);
  if (it == entries_.end() || !it->second.watch) return;
  auto& entry = it->second;
  // What came while the connection was new, or together with other news, proves nothing.
  const auto now = clock_.steady();
  constexpr seconds kDoubt{30};
  if (now - entry.since < kDoubt || now - entry.heard_at < kDoubt || ++entry.misses < kMisses) return;
  entry.misses = 0;
  close(entry);
  put_off(account, entry, kNotBelieved);
}

bool Watcher::listening(Id account) const {
  const std::lock_guard lock(mutex_);
  const auto it = entries_.find(account);
  return it != entries_.end() && it->second.state == State::Listening;
}

Watcher::Load Watcher::load() const {
  const std::lock_guard lock(mutex_);
  auto out = counts_;
  out.wanted = entries_.size();
  out.listening = static_cast<std::size_t>(
      std::ranges::count_if(entries_, [](const auto& one) { return one.second.state == State::Listening; }));
  return out;
}

void Watcher::close(Entry& entry) {
  if (!entry.watch) return;
  entry.watch->leave();
  entry.watch.reset();
}

void Watcher::put_off(Id account, Entry& entry, seconds pause) {
  entry.state = State::Waiting;
  entry.generation = ++generations_;
  entry.due = clock_.steady() + pause + spread(account, duration_cast<milliseconds>(pause) / 4);
}

// By class of error: soon where a line was cut, when it asks for patience when it said so, rarely where only a person
// can help.
void Watcher::lose(Id account, Entry& entry, const Error& why) {
  if (entry.watch) ++counts_.lost;
  if (entry.watch && clock_.steady() - entry.since > kSettled) entry.failures = 0;
  entry.watch.reset();
  auto pause = std::min(kFirstPause * (1U << std::min(entry.failures, 8U)), kLongestPause);
  ++entry.failures;
  if (why.retry == Retry::AfterUserAction) pause = kNotBelieved;
  if (why.retry == Retry::Never) pause = kCannot;
  put_off(account, entry, std::max(pause, seconds(why.wait)));
}

void Watcher::hear(Id account, Entry& entry, std::vector<std::pair<Id, bool>>& heard) {
  if (!entry.watch) return;
  const auto now = clock_.steady();
  auto news = entry.watch->advance(room_);
  if (!news) return lose(account, entry, news.error());
  if (!entry.watch->awaiting()) entry.answer_by = {};
  if (news->mail || news->other) {
    entry.heard_at = now;
    entry.misses = 0;
    ++counts_.heard;
    heard.emplace_back(account, news->mail);
  }
  if (const bool sending = entry.watch->has_output(); sending != entry.sending) {
    entry.sending = sending;
    poller_->change(entry.watch->descriptor(), static_cast<std::uint64_t>(account), sending);
  }
}

void Watcher::look_at_times(Instant now) {
  // After a sleep of the machine, what was connected is doubtful: everybody is asked for a sign of life, in turns.
  constexpr std::int64_t kJump = 30;
  const auto offset = offset_of(clock_);
  const bool woke = offset - wall_offset_ > kJump;
  wall_offset_ = offset;
  for (auto& [account, entry] : entries_) {
    if (entry.state == State::Waiting && entry.due <= now && (entry.runs == 0 || !entry.alone)) {
      entry.state = State::Queued;
      queue_.push_back(account);
      queued_.notify_one();
    }
    if (!entry.watch) continue;
    if (woke) entry.renew_at = std::min(entry.renew_at, now + spread(account, milliseconds(10'000)));
    if (entry.answer_by != Instant{} && entry.answer_by <= now) {
      lose(account, entry, {Scope::Account, Retry::Now, "the connection is dead", ""});
    } else if (entry.renew_at <= now) {
      entry.renew_at = now + settings_.renew - spread(account, settings_.renew / 10);
      if (entry.watch->awaiting()) continue;  // an answer is due already
      entry.answer_by = now + settings_.answer;
      if (auto renewed = entry.watch->renew(); !renewed) lose(account, entry, renewed.error());
    }
  }
}

void Watcher::listen() {
  std::vector<std::uint64_t> ready;
  std::vector<std::pair<Id, bool>> heard;
  Instant looked{};
  for (;;) {
    poller_->wait(settings_.tick, ready);
    {
      const std::lock_guard lock(mutex_);
      if (stopping_) return;
      for (const auto key : ready)
        if (const auto it = entries_.find(static_cast<Id>(key)); it != entries_.end())
          hear(it->first, it->second, heard);
      if (const auto now = std::chrono::steady_clock::now(); now - looked >= settings_.tick) {
        looked = now;
        look_at_times(clock_.steady());
        for (auto& [account, entry] : entries_)
          if (entry.watch && entry.watch->has_output()) hear(account, entry, heard);
      }
    }
    for (const auto& [account, mail] : heard) heard_(account, mail);
    heard.clear();
  }
}

void Watcher::connect() {
  for (;;) {
    Id account = 0;
    std::uint64_t generation = 0;
    {
      std::unique_lock lock(mutex_);
      queued_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
      if (stopping_) return;
      account = queue_.front();
      queue_.pop_front();
      const auto it = entries_.find(account);
      if (it == entries_.end() || it->second.state != State::Queued) continue;
      it->second.state = State::Connecting;
      generation = it->second.generation = ++generations_;
    }
    auto opened = open_(account, stop_.get_token());
    {
      const std::lock_guard lock(mutex_);
      const auto it = entries_.find(account);
      if (stopping_) return;
      if (it == entries_.end() || it->second.generation != generation) continue;
      auto& entry = it->second;
      if (!opened) {
        lose(account, entry, opened.error());
        continue;
      }
      const auto now = clock_.steady();
      entry.watch = *std::move(opened);
      entry.state = State::Listening;
      entry.since = entry.heard_at = now;
      entry.renew_at = now + settings_.renew - spread(account, settings_.renew / 10);
      entry.answer_by = now + settings_.answer;
      entry.sending = true;
      poller_->watch(entry.watch->descriptor(), static_cast<std::uint64_t>(account), true);
    }
    heard_(account, false);  // what came before anybody listened
  }
}

}  // namespace mailhaul::service
