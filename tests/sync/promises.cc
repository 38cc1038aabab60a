// What must be true, after any run and after a clean one.
#include <algorithm>
#include <array>

#include "protocols/mail/digest.h"
#include "tests/sync/world.h"

namespace mailhaul::test {
namespace {

using store::MessageState;

constexpr std::array kEveryFlag{"\\Seen", "\\Flagged", "\\Answered", "\\Deleted", "\\Draft", "work", "$Label1"};

// All names here are plain, so the directory follows from the name.
std::string directory_of(const std::string& mailbox) {
  if (mailbox == "INBOX") return "";
  auto out = "." + mailbox;
  std::ranges::replace(out, '/', '.');
  return out;
}

// LF alone if every LF follows exactly one CR.
std::string stored(const std::string& wire) {
  std::string out;
  for (std::size_t i = 0; i < wire.size(); ++i) {
    if (wire[i] == '\r' && i + 1 < wire.size() && wire[i + 1] == '\n') continue;
    if (wire[i] == '\n' && (i == 0 || wire[i - 1] != '\r')) return wire;
    if (wire[i] == '\n' && i > 1 && wire[i - 2] == '\r') return wire;
    out.push_back(wire[i]);
  }
  return out;
}

std::string first_line(const std::string& text) {
  auto line = text.substr(0, 40);
  std::ranges::replace_if(
      line, [](char c) { return c < ' '; }, '.');
  return line;
}

}  // namespace

std::map<std::uint64_t, const CensusFile*> World::files_by_tag(const Census& now) const {
  std::map<std::pair<std::string, std::string>, const CensusFile*> by_key;
  for (const auto& file : now.files) by_key[{file.directory, file.key}] = &file;
  std::map<std::uint64_t, const CensusFile*> out;
  for (const auto& row : now.rows) {
    const auto name = names_.find({row.mailbox, row.validity.value_or(0), row.row.uid.value});
    if (name == names_.end()) continue;
    for (const auto& copy : row.copies)
      if (const auto it = by_key.find({copy.directory, store::to_text(copy.key)}); it != by_key.end())
        out[name->second] = it->second;
  }
  return out;
}

std::optional<std::uint64_t> World::tag_of(const CensusFile& file, const Census& now) const {
  for (const auto& [tag, known] : files_by_tag(now))
    if (known->directory == file.directory && known->name == file.name) return tag;
  if (strays_.contains({file.directory, file.content})) return std::nullopt;
  std::optional<std::uint64_t> found;
  for (const auto& [tag, letter] : letters_) {
    if (directory_of(letter.mailbox) != file.directory || stored(letter.wire) != file.content) continue;
    if (found) return std::nullopt;
    found = tag;
  }
  return found;
}

void World::note_before_run() {
  const auto known = files_by_tag(last_);
  for (auto& [tag, letter] : letters_) {
    if (letter.in_source && letter.wire.size() <= settings.policy.max_size) letter.was_wanted = true;
    letter.copy_before.reset();
    letter.copy_unknown = false;
    if (const auto it = known.find(tag); it != known.end()) letter.copy_before = it->second->flags;
  }
  for (const auto& file : last_.files) {
    if (const auto tag = tag_of(file, last_)) {
      letters_[*tag].copy_before = file.flags;
      continue;
    }
    for (auto& [tag, letter] : letters_)
      if (directory_of(letter.mailbox) == file.directory && stored(letter.wire) == file.content)
        letter.copy_unknown = true;
  }
}

// What is equal to it, in another mailbox, is taken for what it has become, or was.
bool World::has_twin_elsewhere(const Letter& letter, bool gone_or_not) const {
  return std::ranges::any_of(letters_, [&](const auto& other) {
    const auto& twin = other.second;
    return twin.wire == letter.wire && twin.date == letter.date && twin.mailbox != letter.mailbox &&
           (gone_or_not || !twin.in_source);
  });
}

// When its copy may be removed, told from what happened at the source alone.
void World::note_removable() {
  const auto& policy = settings.policy;
  if (policy.on_source_delete != sync::OnSourceDelete::Remove || settings.dry_run) return;
  for (auto& [tag, letter] : letters_) {
    if (letter.in_source) continue;
    if (has_twin_elsewhere(letter, true) || clock.now - letter.gone_at >= policy.grace) letter.removable = true;
  }
}

// The fuse and the holds, told from the rows before and after.
void World::check_removals(const Census& now, const char* when) {
  std::map<std::pair<std::string, std::uint32_t>, const CensusRow*> before;
  for (const auto& row : last_.rows)
    if (row.current) before[{row.mailbox, row.row.uid.value}] = &row;
  const auto window = std::max<std::int64_t>(settings.policy.grace, 86'400);
  for (const auto& box : now.mailboxes) {
    std::uint64_t removed = 0, lost = 0, left = 0;
    for (const auto& row : now.rows) {
      if (!row.current || row.mailbox != box.raw_name) continue;
      const auto is = row.row.state;
      const auto was = before.find({row.mailbox, row.row.uid.value});
      const bool had = was != before.end() && !was->second->copies.empty();
      const bool mine = is == MessageState::Vanished && row.row.removal == store::Removal::Done && had;
      removed += mine ? 1 : 0;
      const bool open = row.row.removal == store::Removal::None || row.row.removal == store::Removal::Meant;
      const bool lately = row.row.missing_since > clock.now - window || open || mine;
      lost += is == MessageState::Vanished && row.row.missing_since > box.released && lately ? 1 : 0;
      left += is == MessageState::Listed || is == MessageState::Delivered || is == MessageState::Excluded ||
              is == MessageState::Failed;
    }
    if (removed == 0) continue;
    counts_["copies removed"] += static_cast<int>(removed);
    const auto& policy = settings.policy;
    if (policy.on_source_delete != sync::OnSourceDelete::Remove) return broken(box.raw_name + ": removed by no policy");
    if (!box.held.empty()) return broken(std::string(when) + ": " + box.raw_name + " is held, but copies were removed");
    if (lost > 0 && (left == 0 || (lost > policy.fuse_messages && lost * 100 > (lost + left) * policy.fuse_percent)))
      return broken(std::string(when) + ": the fuse of " + box.raw_name + " did not hold: " + std::to_string(lost) +
                    " lost, " + std::to_string(left) + " left");
  }
  for (const auto& box : now.mailboxes) counts_["held"] += box.held.empty() ? 0 : 1;
}

// The mark is on the copies of what is gone, on no other, and stays off where its owner took it off.
void World::check_marks(const Census& now) {
  if (kind_.forgets) return;
  const bool flags = settings.policy.on_source_delete == sync::OnSourceDelete::Flag;
  for (const auto& row : now.rows) {
    const auto name = names_.find({row.mailbox, row.validity.value_or(0), row.row.uid.value});
    if (name == names_.end() || row.copies.empty() || !row.current) continue;
    const auto& letter = letters_[name->second];
    if (letter.blurred || letter.uncertain || letter.removed) continue;
    const auto held = std::ranges::find_if(now.mailboxes, [&](const auto& b) { return b.raw_name == row.mailbox; });
    const auto file = std::ranges::find_if(now.files, [&](const CensusFile& f) {
      return f.directory == row.copies[0].directory && f.key == store::to_text(row.copies[0].key);
    });
    if (file == now.files.end()) continue;
    const bool marked = file->flags.has(sync::kSourceGone);
    const auto tag = std::to_string(name->second);
    if (letter.in_source && marked) return broken(tag + " is at the source, and is marked");
    if (row.row.state != MessageState::Vanished || !flags || !held->held.empty()) continue;
    if (!row.row.base.has(sync::kSourceGone)) return broken(tag + " is gone, and was not marked");
    if (!marked && !letter.copy_touched.has(sync::kSourceGone) && !letter.unmarked)
      return broken(tag + " is gone, and is not marked");
  }
}

void World::check_always(const Census& now, const char* when) {
  if (!now.trouble.empty()) broken(now.trouble);
  check_removals(now, when);
  check_rows(now, when);
  check_files(now, when);
}

// What the ledger calls delivered is there, whole, once.
void World::check_rows(const Census& now, const char* when) {
  std::map<std::pair<std::string, std::string>, std::vector<const CensusFile*>> by_key;
  for (const auto& file : now.files) by_key[{file.directory, file.key}].push_back(&file);
  for (const auto& row : now.rows) {
    const auto where = std::string(when) + ": " + row.mailbox + " UID " + std::to_string(row.row.uid.value);
    const auto name = names_.find({row.mailbox, row.validity.value_or(0), row.row.uid.value});
    const bool has_copy = row.row.state == MessageState::Delivered || row.row.state == MessageState::Vanished;
    const bool dropped = row.row.state == MessageState::Vanished && row.row.removal == store::Removal::Done;
    if (has_copy && row.copies.size() != (dropped ? 0 : 1))
      return broken(where + " has " + std::to_string(row.copies.size()) + " copies");
    if (row.row.state != MessageState::Orphan && !has_copy && !row.copies.empty())
      return broken(where + " is not delivered, but has a copy");
    if (row.copies.empty() && name != names_.end() && letters_[name->second].removable) {
      auto& letter = letters_[name->second];
      if (row.row.state != MessageState::Vanished) letter.settled = false;  // there again, to be delivered again
      continue;
    }
    if (dropped) return broken(where + " was removed, and should not have been");
    if (row.copies.empty()) continue;
    if (name == names_.end()) return broken(where + " was never at the source");
    auto& letter = letters_[name->second];
    letter.settled = true;
    const auto& files = by_key[{row.copies[0].directory, store::to_text(row.copies[0].key)}];
    const auto tag = where + " (" + std::to_string(name->second) + ")";
    if (files.size() > 1) return broken(tag + " has two files under its key");
    const bool going = letter.removable && row.row.removal == store::Removal::Meant;
    if (files.empty() && !letter.removed && !letter.uncertain && !letter.blurred && !going)
      return broken(tag + " is delivered, but its file is lost");
    if (files.empty()) continue;
    if (wire_of(files[0]->content, row.row.form) != letter.wire) return broken(tag + ": other bytes");
    if (row.row.sha256 != mail::Sha256::of(letter.wire) || row.row.octets != letter.wire.size())
      return broken(tag + ": the ledger has another digest or size");
    if (files[0]->seconds != letter.date || files[0]->modified != letter.date || row.row.internal_date != letter.date)
      return broken(tag + ": another date");
  }
}

// What is there is a message of the source, whole, and no more often than there.
void World::check_files(const Census& now, const char* when) {
  std::map<std::pair<std::string, std::string>, int> allowed = strays_;
  for (const auto& [tag, letter] : letters_) ++allowed[{directory_of(letter.mailbox), stored(letter.wire)}];
  for (const auto& file : now.files) {
    const auto where = std::string(when) + ": " + file.directory + "/" + file.part + "/" + file.name;
    const auto lines = static_cast<std::uint64_t>(std::ranges::count(file.content, '\n'));
    std::uint64_t with_cr = 0;
    for (std::size_t i = 1; i < file.content.size(); ++i)
      with_cr += file.content[i] == '\n' && file.content[i - 1] == '\r' ? 1 : 0;
    if (file.key.empty()) return broken(where + " is no name of ours");
    if (file.part != "cur") return broken(where + " is not in cur");
    if (file.disk != file.content.size() || file.crlf != file.content.size() + lines - with_cr)
      return broken(where + ": S= or W= is wrong");
    const auto it = allowed.find({file.directory, file.content});
    if (it == allowed.end()) return broken(where + " is no message of the source: " + first_line(file.content));
    if (--it->second < 0) return broken(where + " is there too often: " + first_line(file.content));
  }
}

std::pair<int, int> World::copies_of(const Letter& letter, bool quiet_end) const {
  if (letter.uncertain) return {0, 1};
  if (letter.removed) return {0, 0};
  if (letter.removable && !letter.in_source) return {0, 1};
  if (letter.settled) return {1, 1};
  if (!letter.in_source) return {0, 1};
  if (letter.ever_bad && !quiet_end) return {0, 1};
  if (letter.wire.size() > settings.policy.max_size) return {0, letter.was_wanted ? 1 : 0};
  return {1, 1};
}

void World::check_copies(const Census& now, bool quiet_end) {
  struct Bounds {
    int low = 0, high = 0, there = 0;
    // One of several equal messages went, or is too big today: which one the others are taken for cannot be told.
    bool blurred = false;
    std::string tags;
  };
  std::map<std::pair<std::string, std::string>, Bounds> all;
  for (const auto& [tag, letter] : letters_) {
    auto& bounds = all[{directory_of(letter.mailbox), stored(letter.wire)}];
    const auto [low, high] = copies_of(letter, quiet_end);
    const bool unwanted = letter.wire.size() > settings.policy.max_size;
    bounds.blurred = bounds.blurred || (letter.blurred && (letter.removed || !letter.in_source || unwanted));
    bounds.low += low;
    bounds.high += high;
    bounds.tags += " " + std::to_string(tag);
  }
  for (const auto& [where, count] : strays_) all[where].low += count, all[where].high += count;
  for (const auto& file : now.files) ++all[{file.directory, file.content}].there;
  for (const auto& [where, bounds] : all) {
    const auto what = where.first + ":" + bounds.tags + ": " + std::to_string(bounds.there) + " copies, not " +
                      std::to_string(bounds.low) + " to " + std::to_string(bounds.high);
    if (bounds.there < bounds.low && !bounds.blurred) return broken("lost: " + what);
    if (bounds.there > bounds.high) return broken("too much: " + what);
  }
}

// Three-way, flag by flag, told from what both sides did since they last agreed. Where runs were cut off in between,
// one of them may have seen what was undone later; then either side may have won, but never a third value.
std::string World::flag_trouble(const Letter& letter, const mail::FlagSet& copy) const {
  for (const auto* flag : kEveryFlag) {
    const bool is = copy.has(flag), source = letter.flags.has(flag);
    const bool before = letter.copy_before ? letter.copy_before->has(flag) : source;
    const auto wrong = [&](const char* why) {
      return std::string(flag) + (is ? " is set" : " is not set") + ", but " + why;
    };
    if (letter.copy_unknown) continue;
    if (!letter.in_source) {
      if (letter.copy_before && is != before) return wrong("the source has it no more");
    } else if (!letter.copy_before) {
      if (has_twin_elsewhere(letter, false)) continue;  // moved: what its owner wanted came with it
      if (is != source) return wrong("the source has it otherwise");
    } else if (!letter.agreed || letter.forgotten) {
      if (is != source && is != before) return wrong("neither side says so");
      if (letter.forgotten && letter.agreed && !faulty_ && is != (source || before))
        return wrong("with a lost state both sides are united");
    } else if (!faulty_) {
      const bool then = letter.source_then.has(flag);
      if (is != (source != then ? source : before)) return wrong("three ways say otherwise");
    } else if (letter.source_touched.has(flag) && letter.copy_touched.has(flag)) {
      if (is != source && is != before) return wrong("neither side says so");
    } else if (letter.source_touched.has(flag)) {
      if (source != letter.source_then.has(flag) && is != source) return wrong("the source has changed it");
    } else if (letter.copy_touched.has(flag)) {
      if (is != before) return wrong("its owner wants it otherwise");
    } else if (is != letter.copy_then.has(flag)) {
      return wrong("nobody has changed it");
    }
  }
  return {};
}

void World::check_flags(const Census& now) {
  for (const auto& [tag, file] : files_by_tag(now)) {
    auto& letter = letters_[tag];
    if (const auto trouble = flag_trouble(letter, file->flags); !trouble.empty() && !letter.blurred)
      return broken("flags of " + std::to_string(tag) + ": " + trouble);
    letter.agreed = letter.in_source;
    letter.source_then = letter.flags;
    letter.copy_then = file->flags;
  }
}

// Every message of the source is accounted for.
void World::check_report(const sync::Report& report) {
  sync::Count sum;
  if (!report.error.empty()) return broken("a run without trouble ended early: " + report.error);
  for (const auto& m : report.mailboxes) {
    const auto& c = m.count;
    sum.add(c);
    if (!m.error.empty()) return broken("a run without trouble could not read " + m.name + ": " + m.error);
    const auto box = std::ranges::find_if(server.mailboxes,
                                          [&](const ModelMailbox& b) { return directory_of(b.name) == m.destination; });
    if (box == server.mailboxes.end()) return broken("a report of " + m.name + ", which does not exist");
    if (c.listed != c.delivered + c.already + c.excluded + c.failed + c.pending + c.gone)
      return broken(m.name + ": the sum does not add up");
    if (m.exists != box->messages.size() || !m.sums_up())
      return broken(m.name + ": EXISTS " + std::to_string(box->messages.size()) + ", reported " +
                    std::to_string(m.exists.value_or(0)) + ", listed " + std::to_string(c.listed) + ", gone " +
                    std::to_string(c.gone));
  }
  if (report.mailboxes.size() != server.mailboxes.size()) return broken("a mailbox is missing in the report");
  if (sum.listed != report.sum.listed || sum.delivered != report.sum.delivered)
    return broken("the report's sum is wrong");
}

void World::check_clean(const Census& now, bool quiet_end) {
  if (broken_) return;
  check_copies(now, quiet_end);
  check_flags(now);
  check_marks(now);
  for (auto& [tag, letter] : letters_) {
    if (letter.copy_touched.has(sync::kSourceGone)) letter.unmarked = true;
    letter.source_touched = letter.copy_touched = {};
    if (letter.in_source) letter.forgotten = false;
    if (letter.in_source) letter.removable = letter.unmarked = false;
  }
  faulty_ = false;
}

// After the grace period, and once a person has let everything go, no copy of what is gone is left where it should not
// be.
bool World::check_removed_in_the_end() {
  if (settings.policy.on_source_delete == sync::OnSourceDelete::Keep) return true;
  for (const bool release : {false, true}) {
    clock.now += 10 * 86'400;
    if (release) act_person();
    for (int again = 0; again < 2; ++again) {
      const auto ending = run(Trouble::None, 0);
      if (!ending.report) broken("a quiet run failed: " + ending.error);
      if (broken_) return false;
      fs.crash();
      const auto now = census();
      check_always(now, "after the grace period");
      check_clean(now, true);
      if (broken_) return false;
      last_ = now;
    }
  }
  for (const auto& box : last_.mailboxes)
    if (!box.held.empty()) broken(box.raw_name + " is still held: " + box.held);
  for (const auto& row : last_.rows) {
    if (!row.current || row.row.state != MessageState::Vanished) continue;
    const auto where = row.mailbox + " UID " + std::to_string(row.row.uid.value);
    const bool open = row.row.removal == store::Removal::None || row.row.removal == store::Removal::Meant;
    if (settings.policy.on_source_delete == sync::OnSourceDelete::Remove && open) broken(where + " was never removed");
  }
  return !broken_;
}

bool World::check_quiet_end() {
  const auto first = run(Trouble::None, 0);
  if (!first.report) broken("the quiet run failed: " + first.error);
  if (broken_) return false;
  if (!first.report->complete()) broken("the quiet run is not complete");
  check_report(*first.report);
  fs.crash();  // whatever it said is durable
  const auto now = census();
  check_always(now, "at the end");
  check_clean(now, true);
  if (broken_) return false;
  last_ = now;
  if (!check_removed_in_the_end()) return false;

  // The clean end was not durable: it is swept once, in vain, and the lock made once more.
  if (last_.everything.contains("mailhaul/receiving") || !last_.everything.contains("mailhaul/lock")) {
    (void)run(Trouble::None, 0);
    last_ = census();
  }

  const auto bodies = server.bodies();
  const auto effects = fs.effects();
  const auto second = run(Trouble::None, 0);
  const auto after = census();
  if (!second.report || !second.report->complete()) broken("the run after that is not complete: " + second.error);
  if (server.bodies() != bodies) broken("a second run fetched bodies");
  if (fs.effects() != effects) broken("a second run touched the files");
  for (const auto& [path, content] : after.everything)
    if (const auto was = last_.everything.find(path); was == last_.everything.end() || was->second != content)
      broken("a second run wrote " + path);
  for (const auto& [path, content] : last_.everything)
    if (!after.everything.contains(path)) broken("a second run removed " + path);
  if (after.rows != last_.rows || after.mailboxes != last_.mailboxes) broken("a second run changed rows");
  if (seed_ % 8 == 0) {
    settings.dry_run = true;
    const auto dry = run(Trouble::None, 0);
    if (!dry.report || dry.report->sum.pending != 0) broken("a dry run would deliver what is there");
    if (fs.effects() != effects || server.bodies() != bodies) broken("a dry run did something");
  }
  if (second.report && second.report->sum.delivered != 0) broken("a second run says that it delivered");
  // An unlink may be forgotten while the clean end is not, by luck; such a file is nobody's mail, and whoever tends the
  // Maildir removes it after 36 hours. Nor has a file that was renamed out of tmp/ been left behind (the file system of
  // the test forgets one half of a rename, real ones do not).
  std::set<std::string> whole;
  for (const auto& [tag, letter] : letters_) whole.insert(stored(letter.wire));
  for (const auto& [path, content] : after.everything)
    if (!lucky_ && path.find("tmp/") != std::string::npos && !path.ends_with("tmp/") && !whole.contains(content))
      broken("left behind: " + path);
  if (auto sound = state.ledger().check(); !sound) broken("the ledger: " + sound.error().what);
  return !broken_;
}

}  // namespace mailhaul::test
