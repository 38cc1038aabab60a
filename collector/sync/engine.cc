#include "collector/sync/engine.h"

#include <sys/random.h>

#include <algorithm>
#include <sstream>

#include "protocols/mail/mailbox_name.h"

namespace mailhaul::sync {
namespace {

constexpr std::size_t kGroupMailboxes = 256;         // observed in one breath
constexpr std::uint64_t kGroupMessages = 1'000'000;  // UID sets and flag changes of a group are in memory together
constexpr const char* kIdentityFile = "accounts";    // beside the mail, so that a lost state finds its keys again

std::string random_uuid() {  // RFC 9562 §5.4, version 4
  unsigned char b[16];
  if (getrandom(b, sizeof b, 0) != static_cast<ssize_t>(sizeof b)) std::abort();
  b[6] = static_cast<unsigned char>((b[6] & 0x0FU) | 0x40U);
  b[8] = static_cast<unsigned char>((b[8] & 0x3FU) | 0x80U);
  const auto text = mail::hex(std::string_view(reinterpret_cast<const char*>(b), sizeof b));
  return text.substr(0, 8) + "-" + text.substr(8, 4) + "-" + text.substr(12, 4) + "-" + text.substr(16, 4) + "-" +
         text.substr(20);
}

// The file beside the mail: "destination <uuid>" once, then "account <uuid> <identity>" per account.
struct IdentityFile {
  std::string destination;
  std::vector<std::pair<std::string, std::string>> accounts;  // uuid, identity

  static IdentityFile parse(const std::string& text) {
    IdentityFile file;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
      std::istringstream words(line);
      std::string kind, uuid, identity;
      words >> kind >> uuid;
      std::getline(words >> std::ws, identity);
      if (kind == "destination") file.destination = uuid;
      if (kind == "account" && !identity.empty()) file.accounts.emplace_back(uuid, identity);
    }
    return file;
  }
  [[nodiscard]] std::string text() const {
    std::string out = "destination " + destination + "\n";
    for (const auto& [uuid, identity] : accounts)
      out.append("account ").append(uuid).append(" ").append(identity).append("\n");
    return out;
  }
  [[nodiscard]] const std::string* uuid_of(const std::string& identity) const {
    const auto it = std::ranges::find(accounts, identity, &std::pair<std::string, std::string>::second);
    return it == accounts.end() ? nullptr : &it->first;
  }
};

// Taken of the readable form, as modified UTF-7 hides both case and composition.
std::string twin_key(const std::string& directory) { return mail::collision_key(mail::display_name(directory)); }

std::string joined(const std::vector<std::string>& components) {
  std::string out;
  for (const auto& c : components) out += (out.empty() ? "" : "/") + c;
  return out;
}

// The ledger's account is the source *and* this very destination: a state that is used with another Maildir must not
// take what lies elsewhere for delivered.
std::string full_identity(const std::string& identity, std::string_view kind, const IdentityFile& file) {
  return identity + " " + std::string(kind) + ":" + file.destination;
}

}  // namespace

Result<store::AccountRow> find_account(store::Destination& destination, store::Ledger& ledger,
                                       const std::string& identity) {
  auto text = destination.read_own(kIdentityFile);
  if (!text) return text.error();
  auto row = ledger.account(full_identity(identity, destination.kind(), IdentityFile::parse(text->value_or(""))));
  if (!row) return row.error();
  if (!*row)
    return Error{Scope::Service, Retry::AfterUserAction, identity + " was never collected into " + destination.path(),
                 "run mailhaul collect first"};
  return **row;
}

Result<Report> Engine::go() {
  if (auto account = open_account(); !account) return account.error();
  auto outcome = all_mailboxes();
  if (auto noted = note_limits(); !noted && outcome && outcome->error.empty()) outcome->error = noted.error().what;
  return outcome;
}

Result<Report> Engine::all_mailboxes() {
  if (auto allowed = recall_limits(); !allowed) return allowed.error();
  auto mailboxes = on_source([&](Source& source) {
    auto listed = source.mailboxes();
    identifies_ = source.identifies();
    return listed;
  });
  if (!mailboxes) return mailboxes.error();
  if (auto laid = lay_out(*std::move(mailboxes)); !laid) return laid.error();
  laid_out_ = true;

  std::string trouble;
  auto all = groups();
  if (!all) return all.error();
  for (const auto group : *all) {
    if (context_.stop.stop_requested()) break;
    if (auto processed = process(group); !processed) {
      trouble = processed.error().what;
      if (!processed.error().advice.empty()) trouble += "; " + processed.error().advice;
      break;
    }
  }
  if (trouble.empty() && !context_.stop.stop_requested())
    if (auto removed = remove_vanished(); !removed) trouble = removed.error().what;
  if (trouble.empty() && !context_.stop.stop_requested())
    if (auto left = take_leave(); !left) trouble = left.error().what;
  Report result = report();
  result.stopped = context_.stop.stop_requested();
  if (!result.stopped) result.error = trouble;
  return result;
}

Done Engine::open_account() {
  if (!context_.destination) return done();
  auto text = context_.destination->read_own(kIdentityFile);
  if (!text) return text.error();
  auto file = IdentityFile::parse(text->value_or(""));
  const bool changed = file.destination.empty() || !file.uuid_of(settings_.identity);
  if (file.destination.empty()) file.destination = random_uuid();
  const auto identity = full_identity(settings_.identity, context_.destination->kind(), file);
  if (context_.ledger) {
    auto row = context_.ledger->account(identity);
    if (!row) return row.error();
    if (*row) account_ = **row;
  }
  if (!file.uuid_of(settings_.identity))
    file.accounts.emplace_back(account_.uuid.empty() ? random_uuid() : account_.uuid, settings_.identity);
  const auto uuid = *file.uuid_of(settings_.identity);
  if (settings_.dry_run) {
    account_.uuid = uuid;
    return done();
  }
  // Once more, too, if the ledger does not have the account yet: a run that was cut off may have left a file that is
  // not durable, and without it everything would get other keys.
  if (changed || account_.uuid.empty())
    if (auto written = context_.destination->write_own(kIdentityFile, file.text()); !written) return written;
  if (!account_.uuid.empty()) return done();
  auto transaction = context_.ledger->begin();
  if (!transaction) return transaction.error();
  auto added = transaction->add_account(identity, uuid);
  if (!added) return added.error();
  account_ = *added;
  return transaction->commit();
}

Done Engine::lay_out(std::vector<SourceMailbox> mailboxes) {
  KnownMailboxes known;
  if (context_.ledger && account_.id.value != 0) {
    auto rows = context_.ledger->mailboxes(account_.id);
    if (!rows) return rows.error();
    for (auto& row : *rows) known.emplace(row.raw_name, std::move(row));
  }
  MailboxesSeen seen;
  std::vector<Work*> newcomers;
  // What cannot hold mail needs no place: in a Maildir++ a parent is there because its children are.
  const auto everything = mailboxes;
  std::erase_if(mailboxes, [&](const SourceMailbox& m) { return !m.selectable || m.aside || !settings_.wanted(m); });
  if (identifies_) std::ranges::stable_sort(mailboxes, {}, &SourceMailbox::rank);
  if (auto renamed = recognise_renames(mailboxes, everything, known); !renamed) return renamed;
  for (const auto& [name, row] : known)
    if (std::ranges::find(everything, name, &SourceMailbox::raw_name) == everything.end())
      unlisted_.push_back(mail::display_name(name));
  // What may be a known mailbox under another name waits: taken for a new one, all of it would come once more.
  std::erase_if(mailboxes, [&](const SourceMailbox& m) {
    const bool waits = std::ranges::find(undecided_, m.raw_name) != undecided_.end();
    if (waits) {
      auto& report = left_out_.emplace_back();
      report.name = mail::display_name(m.raw_name);
      report.error = "the server does not show whether it is a known mailbox under another name";
      tell(Trouble{report.name + ": cannot tell whether it was renamed; left for the next run"});
    }
    return waits;
  });
  works_.reserve(mailboxes.size());
  for (auto& mailbox : mailboxes) {
    auto& work = works_.emplace_back();
    work.source = std::move(mailbox);
    work.report.name = joined(work.source.path);
    if (const auto it = renamed_.find(work.source.raw_name); it != renamed_.end())
      work.report.renamed_from = it->second;
    ++seen.mailboxes;
    seen.messages += work.source.messages.value_or(0);
    if (const auto it = known.find(work.source.raw_name); it != known.end()) {
      work.row = it->second;
      work.delivered_before =
          work.row.tally.of(store::MessageState::Delivered) + work.row.tally.of(store::MessageState::Vanished);
    } else {
      newcomers.push_back(&work);
    }
  }
  if (auto released = release(); !released) return released;
  if (auto placed = place_new_mailboxes(newcomers); !placed) return placed;
  leave_out_refused();
  if (auto opened = open_names(); !opened) return opened;
  for (auto& work : works_) {
    work.report.destination = work.row.destination;
    const auto components =
        context_.destination ? context_.destination->components_of(work.row.destination) : std::nullopt;
    if (components) work.report.home = *components == work.source.path ? "" : joined(*components);
  }
  tell(seen);
  return done();
}

// Without a place there is nothing to be done; the next run tries again.
void Engine::leave_out_refused() {
  for (const auto& work : works_)
    if (!work.report.error.empty()) {
      tell(MailboxFailed{work.report.name, work.report.error});
      left_out_.push_back(work.report);
    }
  std::erase_if(works_, [](const Work& work) { return !work.report.error.empty(); });
}

Done Engine::place_new_mailboxes(const std::vector<Work*>& newcomers) {
  if (newcomers.empty()) return done();
  std::map<std::string, bool> taken;  // collision keys of this account's destinations
  for (const auto& work : works_)
    if (work.row.id.value != 0) taken[twin_key(work.row.destination)] = true;
  std::vector<std::vector<std::string>> subscriptions;
  for (const bool asked_for : {false, true})  // what was put beside another on purpose must not drive it out
    for (auto* work : newcomers) {
      auto placing = settings_.place(work->source);
      if (placing.asked_for != asked_for) continue;
      work->row.raw_name = work->source.raw_name;
      work->row.delimiter = work->source.delimiter;
      if (placing.components != work->source.path) work->report.home = joined(placing.components);
      if (context_.destination) work->row.destination = free_directory(placing.components, asked_for, taken);
      if (work->source.subscribed) subscriptions.push_back(std::move(placing.components));
    }
  if (settings_.dry_run) return done();
  for (auto* work : newcomers) {
    auto made = context_.destination->create(work->row.destination);
    if (!made && made.error().scope != Scope::Mailbox) return made;
    if (!made) work->report.error = made.error().what;
  }
  if (!subscriptions.empty())
    if (auto subscribed = context_.destination->subscribe(subscriptions); !subscribed) return subscribed;
  auto transaction = context_.ledger->begin();
  if (!transaction) return transaction.error();
  for (auto* work : newcomers) {
    if (!work->report.error.empty()) continue;
    auto row = transaction->add_mailbox(account_.id, work->row);
    if (!row) return row.error();
    work->row = *std::move(row);
  }
  return transaction->commit();
}

// Two names that one file system could take for one (case or Unicode twins) get "~2", "~3" … appended, for ever.
std::string Engine::free_directory(std::vector<std::string> components, bool shared,
                                   std::map<std::string, bool>& taken) const {
  const auto last = components.back();
  for (int n = 2;; ++n) {
    auto directory = context_.destination->directory_name(components);
    if (!std::exchange(taken[twin_key(directory)], true) || shared) return directory;
    components.back() = last + "~" + std::to_string(n);
  }
}

// A person has decided: the removals that a hold has frozen go ahead. What vanishes from now on is not meant by that.
Done Engine::release() {
  if (settings_.release.empty() || settings_.dry_run || !context_.ledger) return done();
  auto transaction = context_.ledger->begin();
  if (!transaction) return transaction.error();
  for (const auto& name : settings_.release) {
    const auto it =
        std::ranges::find_if(works_, [&](const Work& w) { return w.report.name == name || w.source.raw_name == name; });
    if (it == works_.end())
      return Error{Scope::Service, Retry::AfterUserAction, "there is no mailbox '" + name + "' to release",
                   "write its name as the report does"};
    auto& row = it->row;
    if (row.held.empty()) {
      tell(Trouble{"nothing is held in " + name});
      continue;
    }
    row.held.clear();
    row.released = std::max(row.released + 1, context_.clock->unix_seconds());
    if (auto updated = transaction->update_mailbox(row); !updated) return updated;
  }
  return transaction->commit();
}

Result<bool> Engine::needs_work(Work& work) {
  using store::MessageState;
  constexpr std::int64_t kDay = 86'400;
  const auto since_audit = context_.clock->unix_seconds() - work.row.last_full_audit;
  auto due = due_copies(work);
  if (!due) return due.error();
  work.audit = since_audit < 0 || since_audit >= kDay || !due->empty();
  if (work.audit) return true;
  const auto& s = work.source;
  const auto& row = work.row;
  if (!row.uid_validity || !s.uid_validity || !s.uid_next || !s.messages) return true;
  if (*s.uid_validity != row.uid_validity->value || s.uid_next != row.uid_next_seen || s.messages != row.exists_seen)
    return true;
  if (row.tally.of(MessageState::Listed) + row.tally.of(MessageState::Failed) > 0) return true;
  const bool by_rank = identifies_ && s.rank > 0;  // then what is excluded waits for a change in another mailbox
  if (row.tally.of(MessageState::Excluded) > 0 && !by_rank) return true;
  // RFC 7162 §3.1.2.1: without a HIGHESTMODSEQ flags have to be looked at each time.
  if (!s.highest_modseq || !row.modseq) return *s.messages > 0;
  return *s.highest_modseq != row.modseq->value;
}

Result<std::vector<Engine::Group>> Engine::groups() {
  for (auto& work : works_) {
    auto needs = needs_work(work);
    if (!needs) return needs.error();
    work.needed = *needs;
  }
  // What is kept elsewhere may have to be kept here once it is no longer there.
  if (identifies_ && std::ranges::any_of(works_, &Work::needed))
    for (auto& work : works_)
      work.needed = work.needed || (work.source.rank > 0 && work.row.tally.of(store::MessageState::Excluded) > 0);
  const auto rest = std::stable_partition(works_.begin(), works_.end(), [&](const Work& w) { return w.needed; });
  std::vector<Group> out;
  auto first = works_.begin();
  std::uint64_t messages = 0;
  for (auto it = first; it != rest; ++it) {
    messages += it->source.messages.value_or(0);
    const bool later = identifies_ && it != first && it->source.rank != (it - 1)->source.rank;
    if (it != first &&
        (later || it - first >= static_cast<std::ptrdiff_t>(kGroupMailboxes) || messages > kGroupMessages)) {
      out.emplace_back(first, it);
      first = it;
      messages = it->source.messages.value_or(0);
    }
  }
  if (first != rest) out.emplace_back(first, rest);
  return out;
}

Done Engine::process(Group group) {
  if (auto r = observe(group); !r) return r;
  for (auto& work : group) {
    if (!work.observed) continue;
    const auto index = static_cast<std::size_t>(&work - works_.data());
    if (auto r = rebind(work, index); !r) return r;
    if (auto r = plan_mailbox(work, index); !r) return r;
  }
  if (settings_.dry_run) return done();
  if (auto r = say(group); !r) return r;
  if (auto r = level_flags(group); !r) return r;
  if (auto r = recognise_moves(group); !r) return r;
  auto fetched = fetch_once(group);
  // What was fetched before a failure is settled; the cursors of mailboxes that were observed cleanly may move all the
  // same, because undelivered rows carry themselves.
  if (fetched || fetched.error().scope == Scope::Account)
    if (auto r = move_cursors(group); !r) return r;
  return fetched;
}

Result<Source*> Engine::connected() {
  while (!source_) {
    auto source = context_.connect();
    if (source) {
      source_ = *std::move(source);
      if (names_) source_->use(*names_);
    } else {
      const auto retry = source.error().retry;
      if (source.error().scope != Scope::Account || (retry != Retry::Now && retry != Retry::Later))
        return source.error();
      if (Patience::concerns(source.error())) {
        if (auto waited = be_patient(source.error()); !waited) return waited.error();
        continue;
      }
      if (!laid_out_) return source.error();  // the first connection: say at once what is wrong with the address
      if (auto again = reconnect(source.error()); !again) return again.error();
    }
  }
  return source_.get();
}

void Engine::tell(const Event& event) {
  if (!context_.events) return;
  const std::lock_guard lock(tell_mutex_);
  context_.events(event);
}

Done Engine::reconnect(const Error& why) {
  if (context_.stop.stop_requested()) return why;
  if (++failures_in_a_row_ > settings_.reconnects) {
    auto error = why;
    error.retry = Retry::Later;
    return error;
  }
  const std::chrono::milliseconds pause{500LL << std::min<std::size_t>(failures_in_a_row_, 6)};
  tell(Trouble{why.what + "; connecting again"});
  if (context_.wait) context_.wait(pause);
  if (context_.stop.stop_requested()) return why;
  return done();
}

Report Engine::report() {
  Report out;
  out.unlisted = unlisted_;
  out.come_back = come_back_;
  std::map<std::int64_t, store::MailboxRow> rows;
  if (context_.ledger && account_.id.value != 0) {
    if (auto all = context_.ledger->mailboxes(account_.id)) {
      for (auto& row : *all) rows.emplace(row.id.value, std::move(row));
    } else {
      out.error = all.error().what;
    }
  }
  std::ranges::sort(works_, {}, [](const Work& work) { return work.report.name; });
  for (auto& work : works_) {
    const auto it = rows.find(work.row.id.value);
    if (auto r = report_mailbox(work, it == rows.end() ? work.row : it->second, out); !r) out.error = r.error().what;
    out.sum.add(work.report.count);
    out.mailboxes.push_back(work.report);
  }
  out.budget = budget(out.sum, rows);
  out.mailboxes.insert(out.mailboxes.end(), left_out_.begin(), left_out_.end());
  return out;
}

}  // namespace mailhaul::sync
