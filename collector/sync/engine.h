// Private to the room: the steps of a run. engine.cc holds the flow, observe.cc what the source says, rebind.cc new
// UIDs for old rows, rename.cc new names for old mailboxes, moves.cc messages from one mailbox to another, once.cc
// messages that are in several at once, removals.cc what becomes of the copies of vanished
// messages, leave.cc what is deleted at a source whose sessions take effect at their end, settle.cc the local effects
// (say, adopt, level flags, cursors), fetch.cc the bodies, twins.cc bodies of the wrong UID.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "collector/sync/allowance.h"
#include "collector/sync/committer.h"
#include "collector/sync/intake.h"
#include "collector/sync/names.h"
#include "collector/sync/patience.h"
#include "collector/sync/run.h"
#include "collector/sync/work.h"

namespace mailhaul::sync {

class Engine {
 public:
  Engine(const RunSettings& settings, const RunContext& context)
      : settings_(settings),
        context_(context),
        patience_(settings.patience),
        allowance_(settings.daily_octets),
        connections_(settings.connections) {}
  Result<Report> go();

 private:
  using Group = std::span<Work>;
  using KnownMailboxes = std::map<std::string, store::MailboxRow>;  // by raw name
  using Renames = std::vector<std::pair<store::MailboxRow, const SourceMailbox*>>;

  // engine.cc
  Result<Report> all_mailboxes();
  Done open_account();
  Done lay_out(std::vector<SourceMailbox> mailboxes);
  Done place_new_mailboxes(const std::vector<Work*>& newcomers);
  void leave_out_refused();
  std::string free_directory(std::vector<std::string> components, bool shared,
                             std::map<std::string, bool>& taken) const;
  Result<bool> needs_work(Work& work);
  Result<std::vector<Group>> groups();
  Done process(Group group);
  Report report();
  Done release();
  Done report_mailbox(Work& work, const store::MailboxRow& row, Report& report);
  void tell(const Event& event);
  // Runs `step` on a live connection, reconnecting after a lost one as long as that makes sense.
  template <class Step>
  auto on_source(Step step) -> decltype(step(std::declval<Source&>()));
  Done reconnect(const Error& why);
  // limits.cc
  // Waits as the server asks; an Error when that takes too long, or when the run is stopped meanwhile.
  Done be_patient(const Error& why);
  Done recall_limits();
  Done note_limits();
  Done note_spending();
  [[nodiscard]] std::optional<Report::Budget> budget(const Count& sum,
                                                     const std::map<std::int64_t, store::MailboxRow>& rows) const;
  Result<Source*> connected();

  // observe.cc
  Done observe(Group group);
  [[nodiscard]] ObserveRequest request_for(const Work& work, std::size_t index, bool complete) const;
  Done take_view(Work& work, MailboxView view);
  Done reobserve(Group group, const std::vector<std::size_t>& which);
  Done new_generation(Work& work);
  Done settle_files_of_the_old(Work& work, store::Ledger::Transaction& transaction, const KeyOf& key_of);
  Result<bool> accounts_for_exists(Work& work, bool complete);
  Done prove_vanished(Work& work, std::size_t index);
  Done prove(Work& work, std::size_t index, const UidSet& missing);
  Done hot_flags(const Work& work, ObserveRequest& request);
  // identity.cc
  Result<std::string> why_by_content(const Work& work);
  Result<UidSet> differing(const Work& work, const UidSet& known);
  Done check_identity(Work& work, std::size_t index);
  Done landmarks(const Work& work, ObserveRequest& request);
  Result<bool> replaced(Work& work, std::size_t index);
  Result<bool> any_other(const Work& work, const UidSet& asked, const std::vector<Headers>& headers);
  Done suspect(Work& work);
  Result<UidSet> reappeared(const Work& work);
  Result<bool> same_messages(Work& work, std::size_t index);
  Done plan_mailbox(Work& work, std::size_t index);
  Done plan_window(Work& work, std::size_t index, std::span<const Uid> uids);
  Result<LedgerWindow> load(const Work& work, std::span<const Uid> uids);
  SourceWindow source_window(const Work& work, std::span<const Uid> uids, const LedgerWindow& ledger) const;
  Done fold(Work& work, Plan plan, const SourceWindow& source, const std::vector<store::FoundCopy>& found);

  // rebind.cc
  using ListedOctets = std::function<std::uint64_t(std::uint32_t generation, Uid uid)>;
  Result<ListedOctets> listed_octets(const Work& work);
  Done rebind(Work& work, std::size_t index);
  Result<bool> load_orphans(const Work& work,
                            const std::function<void(std::uint32_t, const store::MessageRow&)>& visit);

  // rename.cc
  Done recognise_renames(const std::vector<SourceMailbox>& listed, const std::vector<SourceMailbox>& everything,
                         KnownMailboxes& known);
  Result<bool> same_uids(const store::MailboxRow& row, const SourceMailbox& mailbox);
  Result<bool> same_messages(const store::MailboxRow& row, const SourceMailbox& mailbox);
  Done rename_rows(Renames renames, KnownMailboxes& known);

  // moves.cc
  struct Lost {
    Work* work;
    store::MessageRow what;
  };
  struct Found {
    Work* work;
    Headers what;
  };
  Done recognise_moves(Group group);
  Result<std::vector<Lost>> lately_lost();
  Result<std::vector<Found>> just_found(Group group, std::size_t lost);
  Result<bool> bring(const Lost& from, const Found& message, Batch& batch);
  Result<bool> bring(const store::PlacementRow& from, const store::MessageRow& what, const Found& message,
                     Batch& batch);

  // once.cc
  Done identify(const Work& work, std::size_t index, SourceWindow& source, const LedgerWindow& ledger);
  Result<std::string> elsewhere(const Work& work, const std::string& email_id);
  Done say_identities(Work& work, const SourceWindow& source, const LedgerWindow& ledger);
  Done fetch_once(Group group);
  Result<UidSet> followers(const Work& work, Group group);
  Done follow(Work& work, UidSet& rest);
  Done follow_some(Work& work, const UidSet& some, UidSet& rest, Committer& committer);

  // removals.cc
  Done remove_vanished();
  Done hold_anomalies();
  Done hold(Work& work, std::string why);
  Result<UidSet> due_copies(const Work& work);
  Done remove_from(Work& work, std::size_t index);
  Done remove_window(Work& work, std::size_t index, const UidSet& uids);
  Done carry_out_removals(Work& work);
  Done relist(Work& work);
  Done settle_removals_of_the_old(Work& work, store::Ledger::Transaction& transaction);
  [[nodiscard]] std::int64_t missed_at(const Work& work) const;

  // leave.cc
  Done open_names();
  [[nodiscard]] Result<KeyOf> keys_of(const Work& work, std::optional<UidValidity> validity);
  Done take_leave();
  Result<UidSet> removable(Work& work);
  Result<bool> copy_is_whole(const Work& work, const store::MessageRow& row, const store::FoundCopy& copy);

  // settle.cc
  Done say(Group group);
  Done adopt(Work& work, std::size_t index);
  Done adopt_one(Work& work, const Headers& headers, Adopt adopt, store::FoundCopy copy,
                 std::vector<store::Ledger::Transaction::Settled>& settled);
  Result<store::MessageRow> read_copy(const std::string& directory, const store::FoundCopy& copy,
                                      std::optional<std::uint64_t> size);
  Done level_flags(Group group);
  Done move_cursors(Group group);

  // fetch.cc
  Done fetch(Group group);
  Done fetch_round(std::size_t slice, Form form, Arrivals& arrivals, Committer& committer);
  // `alone`: messages are asked for one by one, on one connection, so that it shows at which one it breaks.
  Done fetch_on(Source& source, FetchQueue& queue, Arrivals& arrivals, Committer& committer, bool alone);
  Done isolate(Arrivals& arrivals);
  Done before_salvage(Arrivals& arrivals);
  Done give_up(Arrivals& arrivals);
  void settled(const Settled& batch);

  // twins.cc
  Done judge_twins(Arrivals& arrivals, Committer& committer);
  Result<UidSet> doubtful(const Work& work);

  const RunSettings& settings_;
  const RunContext& context_;
  std::unique_ptr<Source> source_;
  store::AccountRow account_;
  std::vector<Work> works_;
  std::unique_ptr<Names> names_;  // of the one mailbox whose messages have names and no UIDs; nullptr: there is none
  std::map<std::int64_t, std::pair<std::uint64_t, std::uint64_t>>
      settled_;  // per mailbox row: messages, octets of this run
  std::mutex settled_mutex_;
  std::mutex tell_mutex_;
  bool laid_out_ = false;
  bool identifies_ = false;                     // the source says which messages of different mailboxes are the same
  std::map<std::string, std::string> renamed_;  // raw name now, name before
  std::vector<std::string> undecided_;          // raw names: perhaps new, perhaps a known mailbox renamed
  std::vector<MailboxReport> left_out_;         // those, and the ones that the destination has no place for
  std::vector<std::string> unlisted_;           // mailboxes of the ledger that the server did not list
  std::size_t failures_in_a_row_ = 0;
  Patience patience_;
  Allowance allowance_;
  std::int64_t come_back_ = 0;
  std::size_t connections_;  // that the server has allowed so far
  bool helpers_tried_ = false;
  bool helper_lost_ = false;                             // an additional connection went, and work with it
  std::optional<std::pair<std::size_t, Uid>> broke_at_;  // the body that was open, or due, when a connection went
  bool broke_open_ = false;                              // it was open
};

template <class Step>
auto Engine::on_source(Step step) -> decltype(step(std::declval<Source&>())) {
  for (;;) {
    auto source = connected();
    if (!source) return source.error();
    auto outcome = step(**source);
    if (outcome) {
      failures_in_a_row_ = 0;
      patience_.progress();
      return outcome;
    }
    if (Patience::concerns(outcome.error())) {
      if (!source_->usable()) source_.reset();
      if (auto waited = be_patient(outcome.error()); !waited) return waited.error();
      continue;
    }
    if (outcome.error().scope != Scope::Account || outcome.error().retry != Retry::Now) return outcome;
    source_.reset();
    if (auto again = reconnect(outcome.error()); !again) return again.error();
  }
}

}  // namespace mailhaul::sync
