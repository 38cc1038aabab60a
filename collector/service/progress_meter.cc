#include "collector/service/progress_meter.h"

#include <variant>

namespace mailhaul::service {
namespace {

template <class... Fs>
struct Overload : Fs... {
  using Fs::operator()...;
};
template <class... Fs>
Overload(Fs...) -> Overload<Fs...>;

constexpr std::chrono::seconds kWindow{60};
constexpr std::chrono::milliseconds kBetween{250};

}  // namespace

bool ProgressMeter::on(const sync::Event& event) {
  const std::lock_guard lock(mutex_);
  bool at_once = false;
  const auto moves = [&] { progress_.waiting.clear(); };
  std::visit(
      Overload{[&](const sync::Connected&) { progress_.phase = Phase::Looking; },
               [&](const sync::MailboxesSeen&) { moves(); },
               [&](const sync::WorkFound& e) {
                 progress_.phase = Phase::Fetching;
                 progress_.todo_messages += e.messages;
                 progress_.todo_octets += e.octets;
                 found_ = found_ || e.messages > 0;
                 moves();
               },
               [&](const sync::MailboxStarted& e) {
                 progress_.mailbox = e.name;
                 moves();
               },
               [&](const sync::Delivered& e) {
                 progress_.messages += e.messages;
                 progress_.octets += e.octets;
                 found_ = found_ || e.messages > 0;
                 moves();
                 measure();
               },
               [&](const sync::FlagsLevelled& e) { found_ = found_ || e.messages > 0; },
               [&](const sync::MessageFailed&) {
                 ++progress_.failed;
                 found_ = true;
               },
               [&](const sync::MailboxFailed&) { found_ = true; }, [&](const sync::Held&) { found_ = at_once = true; },
               [&](const sync::CopiesTouched& e) { found_ = found_ || e.removed + e.marked > 0; },
               [&](const sync::Trouble& e) {
                 progress_.waiting = e.text;
                 at_once = true;
               }},
      event);
  const auto now = clock_.steady();
  if (!at_once && told_.time_since_epoch().count() != 0 && now - told_ < kBetween) return false;
  told_ = now;
  return true;
}

// What is left, at the rate of the last minute: by octets where the server told sizes, else by messages.
void ProgressMeter::measure() {
  const auto now = clock_.steady();
  samples_.push_back({now, progress_.octets, progress_.messages});
  while (samples_.size() > 2 && now - samples_.front().at > kWindow) samples_.pop_front();
  const auto seconds = std::chrono::duration<double>(now - samples_.front().at).count();
  if (seconds < 1) return;
  const auto octets = static_cast<double>(progress_.octets - samples_.front().octets) / seconds;
  const auto messages = static_cast<double>(progress_.messages - samples_.front().messages) / seconds;
  progress_.octets_per_second = static_cast<std::uint64_t>(octets);
  double left = -1;
  if (progress_.todo_octets > progress_.octets && octets > 0)
    left = static_cast<double>(progress_.todo_octets - progress_.octets) / octets;
  else if (progress_.todo_messages > progress_.messages && messages > 0)
    left = static_cast<double>(progress_.todo_messages - progress_.messages) / messages;
  progress_.eta = left < 0 ? 0 : clock_.unix_seconds() + static_cast<std::int64_t>(left);
}

Progress ProgressMeter::now() const {
  const std::lock_guard lock(mutex_);
  return progress_;
}

bool ProgressMeter::found_something() const {
  const std::lock_guard lock(mutex_);
  return found_;
}

}  // namespace mailhaul::service
