#include "tests/sync/world.h"

#include <cerrno>
#include <sstream>

namespace mailhaul::test {
namespace {

constexpr const char* kNames[kTroubles] = {
    "no trouble",           "dies at an effect",  "disk gone", "an effect fails", "write-back fails",
    "dies at a step",       "connection lost",    "throttled", "stopped",         "the world changes",
    "dies before a commit", "dies after a commit"};

MemoryFileSystem::Options options_of(std::uint64_t seed) {
  MemoryFileSystem::Options options;
  options.barrier = seed % 3 != 0;
  return options;
}

}  // namespace

World::World(std::uint64_t seed, StateFile& file)
    : Machine(seed, file, options_of(seed)), seed_(seed), luck_(seed * 0x9E3779B97F4A7C15U + 1) {
  kind_.renumbers = chance(25);
  kind_.forgets = !kind_.renumbers && chance(35);
  kind_.hides = chance(10);
  kind_.troubles = chance(90);
  kind_.removes = chance(60);
}

void World::begin() {
  act_policy();
  server.traits.condstore = chance(60);
  server.traits.status = chance(75);
  server.traits.resync = chance(60);
  server.traits.false_vanished = chance(20);
  server.traits.uid_next = chance(85);
  server.traits.chatty = chance(25);
  server.traits.uid_after_body = chance(20);
  server.traits.shuffled = chance(25);
  clock.step = static_cast<std::int64_t>(dice(4) * 150);
  for (const auto* name : {"INBOX", "Work", "Work/Entw&APw-rfe"}) {
    if (!server.mailboxes.empty() && chance(50)) continue;
    auto& box = server.mailboxes.emplace_back();
    box.name = name;
    box.validity = 1 + dice(1000);
    box.subscribed = chance(50);
    box.next_uid = 1 + dice(3);
  }
  (void)fs.make_directories(chance(50) ? kRoot : "/home");
  if (chance(75)) {  // known keys, so that a seed replays to the letter
    (void)fs.make_directories(kRoot + "/mailhaul");
    std::ostringstream number;
    number << std::hex << seed_;
    auto digits = number.str();
    digits.insert(0, 12 - std::min<std::size_t>(12, digits.size()), '0');
    auto own = fs.open_directory(kRoot + "/mailhaul");
    auto file = fs.create(**own, "accounts");
    (void)fs.write(**file, "destination 00000000-0000-4000-8000-" + digits + "\naccount 11111111-0000-4000-8000-" +
                               digits + " " + settings.identity + "\n");
    (void)fs.sync(**file);
    (void)fs.sync_directory(**own);
  }
}

bool World::play() {
  begin();
  const auto rounds = 2 + dice(4);
  for (std::uint64_t i = 0; i < rounds && !broken_; ++i) round();
  if (!broken_) {
    settle_down();
    return check_quiet_end();
  }
  return false;
}

void World::round() {
  for (auto n = 1 + dice(4); n > 0; --n) act_source();
  if (!last_.files.empty())
    for (auto n = dice(3); n > 0; --n) act_owner();
  if (chance(12)) act_state();
  if (chance(8)) act_policy();
  if (chance(25)) act_person();
  clock.now += static_cast<std::int64_t>(dice(3 * 3600));
  auto trouble = Trouble::None;
  if (kind_.troubles && chance(65)) trouble = static_cast<Trouble>(1 + dice(kTroubles - 1));
  const auto ending = run(trouble, a_moment(trouble));
  if (broken_) return;
  if (quiet_ && !ending.report) broken("a run without trouble failed: " + ending.error);
  recover(ending);
  const auto now = census();
  check_always(now, "after a run");
  if (quiet_ && !broken_) {
    check_report(*ending.report);
    check_clean(now, false);
  } else {
    faulty_ = true;
  }
  last_ = now;
}

std::uint64_t World::a_moment(Trouble trouble) {
  std::uint64_t todo = 0;
  for (const auto& [tag, letter] : letters_) todo += letter.in_source && !letter.settled ? 1 : 0;
  switch (trouble) {
    case Trouble::None:
      return 0;
    case Trouble::DieAtEffect:
    case Trouble::DiskGone:
    case Trouble::FailedEffect:
      return 1 + dice((last_.everything.empty() ? 35 : 10) + 6 * todo);
    case Trouble::DieBeforeCommit:
    case Trouble::DieAfterCommit:
      return 1 + dice(last_.rows.empty() ? 6 : 4);
    default:
      return 1 + dice(6 + 3 * server.mailboxes.size() + 4 * todo);
  }
}

void World::arm(Trouble trouble, std::uint64_t moment, std::stop_source& stop) {
  const auto die = [this] { fs.die_at(fs.effects() + 1, MemoryFileSystem::Death::Errors); };
  switch (trouble) {
    case Trouble::DieAtEffect:
      fs.die_at(fs.effects() + moment, chance(50) ? MemoryFileSystem::Death::Throw : MemoryFileSystem::Death::Errors);
      state.refuse_while([this] { return fs.dead(); });
      break;
    case Trouble::DiskGone:
      fs.die_at(fs.effects() + moment, MemoryFileSystem::Death::Errors);
      break;
    case Trouble::FailedEffect:
      fs.fail_at(fs.effects() + moment, chance(50) ? EIO : ENOSPC);
      break;
    case Trouble::DieBeforeCommit:
    case Trouble::DieAfterCommit:
      state.die_at_commit(moment, trouble == Trouble::DieAfterCommit, die);
      break;
    default:
      break;
  }
  server.on_step = [this, trouble, moment, &stop, count = std::uint64_t{0}](std::string_view) mutable -> Done {
    if (state.dead() || fs.dead() || stop.stop_requested()) return ModelServer::connection_lost();
    if (++count < moment || trouble == Trouble::None) return done();
    const bool now = count == moment;
    switch (trouble) {
      case Trouble::FailedWriteBack:
        if (now) fs.fail_write_back();
        break;
      case Trouble::DieAtStep:
        throw Crash{};
      case Trouble::LostConnection:
        if (now || (count < moment + 6 && chance(30))) {
          quiet_ = false;
          return ModelServer::connection_lost();
        }
        return done();
      case Trouble::Throttled:
        if (now || (count < moment + 6 && chance(30))) {
          quiet_ = false;
          return Error{Scope::Account, Retry::Later, "throttled", "", 1 + static_cast<std::int64_t>(dice(600))};
        }
        return done();
      case Trouble::Stop:
        stop.request_stop();
        quiet_ = false;
        if (chance(50)) return done();  // the answer was complete when the signal came
        return ModelServer::connection_lost();
      case Trouble::WorldChanges:
        if (now || (count < moment + 4 && chance(30))) act_source();
        break;
      default:
        return done();
    }
    if (now) quiet_ = false;
    return done();
  };
}

Ending World::run(Trouble trouble, std::uint64_t moment) {
  note_before_run();
  quiet_ = true;
  if (!settings.release.empty()) tell("a person releases " + std::to_string(settings.release.size()) + " mailboxes");
  for (const auto& box : server.mailboxes)
    if (box.lying_answers + box.hiding_answers + box.refusals > 0) quiet_ = false;
  const auto last_effect = fs.effects() + moment;
  std::stop_source stop;
  arm(trouble, moment, stop);
  Ending ending = run_process(stop);
  settings.release.clear();
  note_removable();
  const bool at_effect =
      trouble == Trouble::DieAtEffect || trouble == Trouble::DiskGone || trouble == Trouble::FailedEffect;
  if (at_effect && fs.effects() >= last_effect) quiet_ = false;
  if (fs.dead() && trouble == Trouble::DieAtEffect) ending.crashed = true;
  if (state.dead()) ending.crashed = true;
  if (ending.crashed) quiet_ = false;
  if (state.dead() || (ending.crashed && chance(10))) state.close();
  state.die_at_commit(0, false, {});
  server.on_step = {};
  std::string what = std::string("run: ") + kNames[static_cast<int>(trouble)];
  if (trouble != Trouble::None) what += " " + std::to_string(moment) + (quiet_ ? ", not reached" : "");
  if (ending.crashed) what += ", crashed";
  if (!ending.error.empty()) what += ", error: " + ending.error;
  if (ending.report)
    what += ", delivered " + std::to_string(ending.report->sum.delivered) + " pending " +
            std::to_string(ending.report->sum.pending) + " failed " + std::to_string(ending.report->sum.failed) +
            (ending.report->error.empty() ? "" : ", ended early: " + ending.report->error);
  tell(what);
  if (ending.report)
    for (const auto& m : ending.report->mailboxes) {
      counts_["messages moved"] += static_cast<int>(m.moved);
      counts_["copies marked"] += static_cast<int>(m.marked);
    }
  ++counts_[std::string(quiet_ ? "quiet" : kNames[static_cast<int>(trouble)])];
  return ending;
}

// What is left of the machine's memory.
void World::recover(const Ending& ending) {
  const bool dead = fs.dead();
  fs.die_at(0);
  fs.fail_at(0, 0);
  const auto power = ending.crashed ? 75U : 25U;
  if (chance(power)) {
    const bool lucky = chance(50);
    tell(lucky ? "power lost, some of what was not synced survives" : "power lost");
    lucky_ = lucky_ || lucky;
    if (lucky)
      fs.crash(luck_);
    else
      fs.crash();
  } else if (dead) {
    fs.restart();
  }
}

void World::settle_down() {
  tell("the server behaves, a month passes");
  for (auto& box : server.mailboxes) {
    box.lying_answers = box.hiding_answers = box.refusals = 0;
    for (auto& message : box.messages) message.body = Body::Fine;
  }
  clock.now += 30 * 86'400;
}

void World::broken(const std::string& what) {
  if (!broken_) tell("before the run that broke it:\n" + to_text(last_) + "  after it:\n" + to_text(census()));
  broken_ = true;
  tell("BROKEN: " + what);
}

std::string World::story() const {
  std::string out = "seed " + std::to_string(seed_) + (server.traits.condstore ? " condstore" : "") +
                    (server.traits.status ? " status" : "") + (server.traits.uid_next ? " uidnext" : "") +
                    (server.traits.chatty ? " chatty" : "") + (seed_ % 3 != 0 ? " barrier" : "") + "\n";
  for (const auto& line : story_) out += "  " + line + "\n";
  return out;
}

}  // namespace mailhaul::test
