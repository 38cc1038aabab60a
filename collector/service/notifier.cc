#include "collector/service/notifier.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

#include "collector/service/notices.h"

namespace mailhaul::service {

using registry::ChannelRow;
using registry::NoticeRow;

namespace {

constexpr char kToldDiskLow[] = "told disk low";  // a setting
constexpr std::int64_t kDiskEvery = 60;           // seconds
constexpr std::int64_t kNever = INT64_MAX;

}  // namespace

std::string place_of_channel_secret(registry::Id channel) { return "channel/" + std::to_string(channel) + "/secret"; }
std::string new_message_id() { return "msg_" + registry::random_token(18); }

Notifier::Notifier(registry::Registry& registry, const registry::SecretBox& secrets, const net::AddressGate& gate,
                   EventLog& events, const Clock& clock, std::function<Disk()> disk)
    : registry_(registry), secrets_(secrets), gate_(gate), events_(events), clock_(clock), disk_(std::move(disk)) {}

Notifier::~Notifier() { stop(); }

void Notifier::start() {
  thread_ = std::jthread([this](const std::stop_token& stop) { work(stop); });
}

void Notifier::stop() {
  thread_.request_stop();
  if (thread_.joinable()) thread_.join();
}

void Notifier::wake() {
  {
    const std::lock_guard lock(mutex_);
    rung_ = true;
  }
  woken_.notify_all();
}

Done Notifier::send(const ChannelRow& channel, const NoticeRow& row, const std::stop_token& stop) {
  notify::Place place;
  place.kind = static_cast<notify::Kind>(channel.kind);
  place.url = channel.url;
  place.from = channel.sender;
  place.to = channel.recipient;
  place.allow_plaintext = channel.allow_plaintext;
  place.ca = channel.ca;
  if (!channel.secret.empty()) {
    auto secret = secrets_.open_sealed(channel.secret, place_of_channel_secret(channel.id));
    if (!secret) return secret.error();
    place.secret = *std::move(secret);
  }
  notify::Message message{row.key, row.type, row.at, row.title, row.text, row.data};
  message.urgent = row.type != "job.finished" && row.type != "job.recovered" && row.type != "disk.recovered";
  notify::Options options;
  options.gate = gate_;
  options.now = clock_.unix_seconds();
  return notify::send(message, place, options, stop);
}

// What was taken, but could not be written down (a full disk), is not sent again by this process.
bool Notifier::note_taken(const NoticeRow& row) {
  taken_ = row;
  if (!registry_.settle_told(row, clock_.unix_seconds())) return false;
  taken_.reset();
  return true;
}

// False: nothing is due, or nothing can be done now.
bool Notifier::send_next(const std::stop_token& stop) {
  if (taken_ && !note_taken(NoticeRow(*taken_))) return false;
  const auto due = registry_.due_notice(clock_.unix_seconds());
  if (!due || !*due) return false;
  const auto& row = **due;
  const auto channel = registry_.channel(row.channel);
  if (!channel || !*channel) return false;
  const auto sent = send(**channel, row, stop);
  if (!sent && stop.stop_requested()) return false;
  if (sent) return note_taken(row);
  const auto now = clock_.unix_seconds();
  const auto again = sent.error().retry == Retry::Never ? std::nullopt : next_attempt(row.attempts + 1, now);
  events_.add({.kind = EventKind::Log,
               .owner = (*channel)->owner,
               .level = again ? Level::Warning : Level::Error,
               .text = "channel " + std::to_string(row.channel) + " was not told (" + row.type +
                       "): " + sent.error().what + (again ? "" : "; given up")});
  return static_cast<bool>(registry_.settle_untold(row, again.value_or(0), sent.error().what));
}

void Notifier::look_at_disk() {
  const auto told = registry_.setting(kToldDiskLow);
  if (!told) return;
  const auto disk = disk_();
  auto row = worth_telling(!told->empty(), disk.free, disk.reserve, clock_.unix_seconds());
  if (!row) return;
  row->key = new_message_id();
  (void)registry_.tell_owners(*row, kToldDiskLow, told->empty() ? "1" : "");
}

void Notifier::work(const std::stop_token& stop) {
  std::int64_t due = 0;  // when the queue is to be asked
  std::int64_t disk_looked = INT64_MIN;
  while (!stop.stop_requested()) {
    const auto now = clock_.unix_seconds();
    if (disk_looked == INT64_MIN || now - disk_looked >= kDiskEvery || now < disk_looked) {
      disk_looked = now;
      look_at_disk();
      due = 0;
    }
    {
      std::unique_lock lock(mutex_);
      if (!rung_ && due > now) woken_.wait_for(lock, stop, std::chrono::seconds(1), [this] { return rung_; });
      if (std::exchange(rung_, false)) due = 0;
    }
    if (due > clock_.unix_seconds()) continue;
    if (send_next(stop)) continue;
    const auto next = registry_.next_notice();
    const auto pause = next && !taken_ ? 1 : kDiskEvery;  // no circles when nothing can be written down
    due = std::max(next ? next->value_or(kNever) : 0, clock_.unix_seconds() + pause);
  }
}

}  // namespace mailhaul::service
