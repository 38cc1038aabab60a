// What the server and the owner of the mail do between runs, and sometimes during one.
#include <algorithm>
#include <array>

#include "tests/sync/world.h"

namespace mailhaul::test {
namespace {

std::string path_of(const std::string& directory, const std::string& part) {
  return kRoot + "/" + (directory.empty() ? "" : directory + "/") + part;
}

}  // namespace

mail::FlagSet World::some_flags() {
  mail::FlagSet flags;
  for (const auto* flag : {"\\Seen", "\\Flagged", "\\Answered", "\\Deleted", "work", "$Label1"})
    if (chance(25)) flags.add(flag);
  return flags;
}

// Mail of every odd kind. Sizes are distinct unless the whole is equal, so that evidence can tell messages apart.
std::string World::some_wire(std::uint64_t tag) {
  const auto id = std::to_string(tag);
  const auto kind = dice(24);
  if (kind == 0) return "";
  if (kind == 1) return "no header at all " + std::string(tag, 'x');
  std::string wire;
  if (kind != 2) wire += "Message-ID: <" + (kind == 3 ? "same" : id) + "@example.org>\r\n";
  wire += "From: a@example.org\r\nSubject: " + (kind == 3 ? "same" : id) + "\r\n\r\n";
  wire += std::string(tag, '.') + "\r\n";
  if (kind == 4) wire += "a line that ends in LF alone\n";
  if (kind == 5) wire += "a line with one CR too many\r\r\n";
  if (kind == 6) wire += "a CR \r in the middle\r\n";
  if (kind == 7) wire += "no line end";
  if (kind == 8) wire += std::string("a NUL \0 and 8 bits \xC3\xA4\xFF\r\n", 25);
  if (kind == 9) wire += "\r";
  if (kind == 10) wire = "\n" + wire;
  if (kind >= 16) wire += std::string(100 * dice(8), 'y') + "\r\n";
  return wire;
}

std::uint64_t World::deliver(ModelMailbox& mailbox, std::string wire, mail::FlagSet flags) {
  const auto tag = next_tag_++;
  auto& letter = letters_[tag];
  letter.mailbox = mailbox.name;
  letter.date = 1'700'000'000 + static_cast<std::int64_t>(tag * 60);
  letter.flags = flags;
  letter.wire = std::move(wire);
  auto& message = mailbox.deliver(letter.wire, std::move(flags), letter.date);
  message.tag = tag;
  names_[{mailbox.name, mailbox.validity, message.uid.value}] = tag;
  tell("delivered " + std::to_string(tag) + " to " + mailbox.name + " as UID " + std::to_string(message.uid.value) +
       " flags " + message.flags.wire());
  return tag;
}

// Equal messages of one mailbox cannot be told apart once it has new UIDs.
void World::blur_twins(std::uint64_t tag) {
  auto& letter = letters_[tag];
  if (!kind_.renumbers) return;
  for (auto& [other, twin] : letters_)
    if (other != tag && twin.mailbox == letter.mailbox && twin.wire == letter.wire && twin.date == letter.date)
      letter.blurred = twin.blurred = true;
}

void World::deliver_some() {
  for (auto n = 1 + dice(3); n > 0; --n) {
    auto& box = any(server.mailboxes);
    auto wire = some_wire(next_tag_);
    auto twin = letters_.end();
    if (!letters_.empty() && chance(12)) {
      twin = std::next(letters_.begin(), static_cast<std::ptrdiff_t>(dice(letters_.size())));
      wire = twin->second.wire;
    }
    const auto tag = deliver(box, std::move(wire), some_flags());
    auto& message = box.messages.back();
    if (twin != letters_.end() && chance(50)) {
      letters_[tag].date = message.date = twin->second.date;
      blur_twins(tag);
    }
    if (kind_.troubles && chance(10)) {
      message.body = static_cast<Body>(1 + dice(6));
      message.bad_answers = chance(50) ? static_cast<int>(1 + dice(4)) : INT32_MAX;
      letters_[tag].ever_bad = true;
      tell("its body: fault " + std::to_string(static_cast<int>(message.body)) + " x" +
           std::to_string(message.bad_answers));
    }
  }
}

void World::flag_at_source() {
  auto& box = any(server.mailboxes);
  if (box.messages.empty()) return;
  auto& message = any(box.messages);
  auto& letter = letters_[message.tag];
  const auto wanted = some_flags();
  const auto changed = wanted.minus(letter.flags).united(letter.flags.minus(wanted));
  letter.source_touched = letter.source_touched.united(changed);
  letter.flags = wanted;
  box.set_flags(message, wanted);
  tell("source flags of " + std::to_string(message.tag) + ": " + wanted.wire());
}

void World::expunge() {
  auto& box = any(server.mailboxes);
  if (box.messages.empty()) return;
  const auto& message = any(box.messages);
  auto& letter = letters_[message.tag];
  letter.in_source = false;
  letter.gone_at = clock.now;
  tell("expunged " + std::to_string(message.tag));
  graves_.emplace_back(box.name, box.validity, message);
  const auto uid = message.uid;
  box.expunge(uid);
}

// Out of one mailbox, into another.
void World::move() {
  auto& from = any(server.mailboxes);
  auto& to = any(server.mailboxes);
  if (from.messages.empty() || &from == &to) return;
  const auto message = any(from.messages);
  auto& letter = letters_[message.tag];
  letter.in_source = false;
  letter.gone_at = clock.now;
  tell("moved " + std::to_string(message.tag));
  from.expunge(message.uid);
  const auto tag = deliver(to, message.wire, message.flags);
  letters_[tag].date = to.messages.back().date = message.date;
  blur_twins(tag);
}

// A server that was restored from its backup shows again what had gone.
void World::restore() {
  if (graves_.empty()) return;
  const auto index = dice(graves_.size());
  auto [name, validity, message] = graves_[static_cast<std::size_t>(index)];
  graves_.erase(graves_.begin() + static_cast<std::ptrdiff_t>(index));
  auto* box = server.find(name);
  if (!box || box->validity != validity || box->find(message.uid)) return;
  message.modseq = ++box->modseq;
  const auto at = std::ranges::lower_bound(box->messages, message.uid, {}, &ModelMessage::uid);
  letters_[message.tag].in_source = true;
  tell("restored " + std::to_string(message.tag));
  box->messages.insert(at, std::move(message));
}

void World::misbehave() {
  auto& box = any(server.mailboxes);
  const auto times = static_cast<int>(1 + dice(2));
  const auto which = dice(kind_.hides ? 3 : 2);
  if (which == 0) {
    box.exists_lie = static_cast<int>(dice(5)) - 2;
    box.lying_answers = times;
    tell(box.name + " says EXISTS wrong by " + std::to_string(box.exists_lie) + " x" + std::to_string(times));
  } else if (which == 1) {
    box.refusals = times;
    tell(box.name + " refuses EXAMINE x" + std::to_string(times));
  } else if (!box.messages.empty()) {
    box.hidden = {any(box.messages).uid.value};
    box.hiding_answers = times;
    tell(box.name + " leaves UID " + std::to_string(*box.hidden.begin()) + " out x" + std::to_string(times));
  }
}

void World::renumber() {
  auto& box = any(server.mailboxes);
  box.renumber(luck_);
  for (const auto& message : box.messages) names_[{box.name, box.validity, message.uid.value}] = message.tag;
  tell(box.name + " has a new UIDVALIDITY, " + std::to_string(box.validity));
}

void World::act_source() {
  const auto what = dice(100);
  if (what < 42) return deliver_some();
  if (what < 75) return flag_at_source();
  // A list that leaves out a new message just when another one has gone is consistent with EXISTS and with what is
  // known: no look at one mailbox can tell. That takes a later audit, so the two do not meet here.
  if (what < 88) return kind_.hides ? deliver_some() : what < 83 ? expunge() : move();
  if (what < 95) return kind_.troubles ? misbehave() : flag_at_source();
  return kind_.renumbers ? renumber() : expunge_or_add();
}

void World::expunge_or_add() {
  if (server.mailboxes.size() < 4 && chance(50)) {
    auto& box = server.mailboxes.emplace_back();
    box.name = "New " + std::to_string(server.mailboxes.size());
    box.validity = 1 + dice(1000);
    tell("a mailbox appears: " + box.name);
    return;
  }
  if (kind_.hides) return;
  const auto what = dice(3);
  if (what == 0) expunge();
  if (what == 1) restore();
  if (what == 2) move();
}

void World::act_policy() {
  if (!kind_.removes) return;
  auto& policy = settings.policy;
  policy.on_source_delete = static_cast<sync::OnSourceDelete>(dice(4) == 0 ? 0 : 1 + dice(2));
  policy.grace = static_cast<std::int64_t>(dice(3) == 0 ? 0 : dice(2) == 0 ? 3600 : 7 * 86'400);
  policy.fuse_messages = 1 + dice(4);
  policy.fuse_percent = 20 + 20 * dice(3);
  constexpr std::array kNames{"keep", "flag", "remove"};
  tell(std::string("policy: ") + kNames[static_cast<std::size_t>(policy.on_source_delete)] + " after " +
       std::to_string(policy.grace) + " s, fuse " + std::to_string(policy.fuse_messages) + " and " +
       std::to_string(policy.fuse_percent) + " %");
}

void World::act_person() {
  for (const auto& box : last_.mailboxes)
    if (!box.held.empty()) settings.release.push_back(box.raw_name);
}

void World::act_owner() {
  if (last_.files.empty()) return;
  const auto file = any(last_.files);
  const auto tag = tag_of(file, last_);
  if (!tag) return;
  const auto what = dice(10);
  if (what < 6)
    owner_flags(file, *tag);
  else
    owner_removes(file, *tag, what == 9);
  last_ = census();
}

void World::owner_flags(const CensusFile& file, std::uint64_t tag) {
  std::string letters = file.letters;
  std::string choice = "FRST";
  for (const char c : letters)
    if (choice.find(c) == std::string::npos) choice.push_back(c);
  const char letter = any(choice);
  if (const auto at = letters.find(letter); at != std::string::npos)
    letters.erase(at, 1);
  else
    letters.push_back(letter);
  std::ranges::sort(letters);
  const auto name = file.name.substr(0, file.name.rfind(":2,")) + ":2," + letters;
  auto from = fs.open_directory(path_of(file.directory, file.part));
  auto to = fs.open_directory(path_of(file.directory, "cur"));
  auto renamed = fs.rename_new(**from, file.name, **to, name);
  if (!renamed || *renamed != store::FileSystem::Renamed::Yes) return;
  (void)fs.sync_directory(**to);
  (void)fs.sync_directory(**from);
  CensusFile after = file;
  after.letters = letters;
  const auto now = flags_by_letters(after, last_);
  auto& book = letters_[tag];
  book.copy_touched = book.copy_touched.united(now.minus(file.flags)).united(file.flags.minus(now));
  tell("owner: " + std::to_string(tag) + " has flags " + now.wire());
}

void World::owner_removes(const CensusFile& file, std::uint64_t tag, bool to_another) {
  auto from = fs.open_directory(path_of(file.directory, file.part));
  auto& book = letters_[tag];
  const auto target = any(last_.files).directory;
  const bool moves = to_another && target != file.directory;
  if (moves) {
    auto to = fs.open_directory(path_of(target, "cur"));
    auto renamed = fs.rename_new(**from, file.name, **to, file.name);
    if (!renamed || *renamed != store::FileSystem::Renamed::Yes) return;
    (void)fs.sync_directory(**to);
    ++strays_[{target, file.content}];
  } else if (auto gone = fs.remove(**from, file.name); !gone || !*gone) {
    return;
  }
  (void)fs.sync_directory(**from);
  const auto row = std::ranges::find_if(last_.rows, [&](const CensusRow& r) {
    return std::ranges::any_of(
        r.copies, [&](const auto& c) { return c.directory == file.directory && store::to_text(c.key) == file.key; });
  });
  (row != last_.rows.end() ? book.removed : book.settled) = row != last_.rows.end();
  // We were about to remove it as well: who did it cannot be told.
  if (row != last_.rows.end() && row->row.removal == store::Removal::Meant) book.uncertain = true;
  tell("owner " + std::string(moves ? "moves " : "removes ") + std::to_string(tag) +
       (book.removed ? "" : " (not settled yet)"));
}

void World::act_state() {
  if (!kind_.forgets) {
    settings.policy.max_size = chance(50) ? 600 : sync::Policy{}.max_size;
    tell("policy: at most " + std::to_string(settings.policy.max_size));
    return;
  }
  if (chance(40)) {
    backup_ = state.backup();
    tell("a backup of the state");
    return;
  }
  const bool back = !backup_.empty() && chance(50);
  tell(back ? "the state is restored from the backup" : "the state is lost");
  if (back)
    state.restore(backup_);
  else
    state.lose();
  for (auto& [tag, letter] : letters_) {
    letter.forgotten = true;
    if (letter.removable) letter.uncertain = true;
    if (!letter.removed) continue;
    if (back) letter.uncertain = true;
    letter.removed = letter.settled = false;
  }
  faulty_ = faulty_ || back;
}

}  // namespace mailhaul::test
