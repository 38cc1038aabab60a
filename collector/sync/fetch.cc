// The bodies: several connections share one queue, one committer settles. What a round leaves missing is asked for
// again, in the end one by one on a fresh connection; then it is either proved gone or it has failed, with the server's
// words.
#include <algorithm>
#include <span>
#include <thread>

#include "collector/sync/engine.h"

namespace mailhaul::sync {
namespace {

using store::MessageState;

// Isolated disconnects at one message before it is left alone (Dovecot's "Cached message size").
constexpr int kStrikes = 3;
// Where a day's octets are counted: what has been asked for comes, so no more is asked for at once.
constexpr std::size_t kLimitedSlice = 50;

// Twice in bulk, then in smaller and smaller pieces down to single messages: most of what is missing comes when asked
// again. What does not is asked for in other forms.
struct Round {
  std::size_t slice;
  Form form;
};
constexpr Round kRounds[] = {{500, Form::Whole}, {500, Form::Whole}, {60, Form::Whole}, {8, Form::Whole},
                             {1, Form::Whole},   {1, Form::Parts},   {1, Form::Pieces}};

// When a message that the server cannot deliver is tried again.
std::int64_t retry_after(std::uint32_t attempts) {
  constexpr std::int64_t kHour = 3600, kSteps[] = {kHour, 6 * kHour, 24 * kHour, 72 * kHour, 168 * kHour};
  return kSteps[std::min<std::size_t>(attempts == 0 ? 0 : attempts - 1, std::size(kSteps) - 1)];
}

// What has arrived since the last run comes before what an earlier one has left.
void fill(FetchQueue& queue, const Arrivals& arrivals, std::span<const Work> works, bool in_bulk) {
  std::vector<FetchQueue::Mailbox> fresh, left;
  for (const auto index : arrivals.mailboxes()) {
    const auto& work = works[index];
    auto all = arrivals.to_ask(index);
    auto arrived = in_bulk ? all.intersect(work.todo.list) : UidSet();
    if (auto older = all.minus(arrived); !older.empty()) left.push_back(work.fetch(index, std::move(older)));
    if (!arrived.empty()) fresh.push_back(work.fetch(index, std::move(arrived)));
  }
  for (auto* some : {&fresh, &left})
    for (auto& mailbox : *some) {
      mailbox.first = some == &fresh && !left.empty();
      queue.add(std::move(mailbox));
    }
}

}  // namespace

Done Engine::fetch(Group group) {
  Arrivals arrivals(allowance_);
  for (auto& work : group) {
    if (!work.observed || work.todo.deliver.empty()) continue;
    if (auto made = context_.destination->create(work.row.destination); !made) {
      if (made.error().scope != Scope::Mailbox) return made;
      work.report.error = made.error().what;
      work.clean = false;
      tell(MailboxFailed{work.report.name, work.report.error});
      continue;
    }
    auto doubts = doubtful(work);
    if (!doubts) return doubts.error();
    arrivals.want(static_cast<std::size_t>(&work - works_.data()), {work.row.id,
                                                                    work.row.generation,
                                                                    work.row.destination,
                                                                    work.key_of,
                                                                    work.todo.deliver,
                                                                    work.todo.reuse,
                                                                    {},
                                                                    *std::move(doubts)});
  }
  if (arrivals.missing_count() == 0) return done();
  tell(WorkFound{arrivals.missing_count(), 0});
  Committer committer(*context_.destination, *context_.ledger, *context_.clock, settings_.threaded,
                      [&](const Settled& s) { settled(s); });
  Done outcome = done();
  for (const auto& [slice, form] : kRounds) {
    if (!outcome || arrivals.missing_count() == 0 || allowance_.used_up()) break;
    if (slice == 1 && form == Form::Whole) outcome = isolate(arrivals);
    if (form == Form::Parts) outcome = before_salvage(arrivals);
    if (outcome)
      outcome = fetch_round(allowance_.limited() ? std::min(slice, kLimitedSlice) : slice, form, arrivals, committer);
    if (outcome) outcome = judge_twins(arrivals, committer);
  }
  if (auto all_settled = committer.finish(); !all_settled) return all_settled;
  for (auto& work : group)
    if (auto why = arrivals.closed(static_cast<std::size_t>(&work - works_.data())); !why.empty()) {
      work.report.error = std::move(why);
      work.clean = false;  // the next run looks again
      tell(MailboxFailed{work.report.name, work.report.error});
    }
  if (!outcome || allowance_.used_up()) return outcome;  // what is missing was not asked for
  return give_up(arrivals);
}

void Engine::settled(const Settled& s) {
  const std::lock_guard lock(settled_mutex_);
  auto& sum = settled_[works_[s.mailbox].row.id.value];
  sum.first += s.messages;
  sum.second += s.octets;
  tell(Delivered{s.messages, s.octets});
  if (auto noted = note_spending(); !noted) tell(Trouble{noted.error().what});
}

// One round: until the queue is empty, over as many lost connections as make progress.
Done Engine::fetch_round(std::size_t slice, Form form, Arrivals& arrivals, Committer& committer) {
  std::map<std::pair<std::size_t, Uid>, int> strikes;
  for (int idle = 0;;) {
    // Where what is wrong is looked for, one mailbox's messages are asked for in one order.
    const bool in_bulk = slice > kRounds[2].slice;
    FetchQueue queue(
        slice, form, &allowance_,
        settings_.newest_first && in_bulk ? FetchQueue::Order::NewestFirst : FetchQueue::Order::OldestFirst);
    allowance_.nothing_coming();
    fill(queue, arrivals, works_, in_bulk);
    const auto before = arrivals.taken();
    auto source = connected();
    if (!source) return source.error();
    broke_at_.reset();
    broke_open_ = helper_lost_ = false;
    auto fetched = fetch_on(**source, queue, arrivals, committer, slice == 1);
    if (arrivals.taken() > before) patience_.progress();
    const bool more = helper_lost_ || (allowance_.limited() && !allowance_.used_up() && arrivals.taken() > before);
    if (fetched && more && arrivals.missing_count() > 0 && !context_.stop.stop_requested()) continue;
    if (!fetched && Patience::concerns(fetched.error())) {
      if (!source_->usable()) source_.reset();
      if (auto waited = be_patient(fetched.error()); !waited) return waited;
      continue;
    }
    if (fetched || fetched.error().scope != Scope::Account || fetched.error().retry != Retry::Now) return fetched;
    source_.reset();
    if (context_.stop.stop_requested()) return fetched;
    idle = arrivals.taken() > before ? 0 : idle + 1;
    if (idle == 0) failures_in_a_row_ = 0;
    const bool salvaging = form != Form::Whole;
    if (broke_at_ && slice == 1 && ++strikes[*broke_at_] >= (salvaging ? 1 : kStrikes)) {
      arrivals.abandon(broke_at_->first, broke_at_->second,
                       "the server drops the connection at this message: " + fetched.error().what);
      // Where no body was open it may be the line after all: that is not forgiven for ever.
      if (broke_open_ || salvaging) failures_in_a_row_ = 0;
    } else if (broke_at_ && slice > 1 && idle >= 2) {
      return done();  // it breaks at one place: isolate
    }
    if (auto again = reconnect(fetched.error()); !again) return again;
  }
}

Done Engine::fetch_on(Source& source, FetchQueue& queue, Arrivals& arrivals, Committer& committer, bool alone) {
  const auto one = [&](Source& on) -> Done {
    Intake intake(
        *context_.destination, committer, arrivals, *context_.clock,
        [&](std::size_t mailbox) { tell(MailboxStarted{works_[mailbox].report.name}); },
        queue.form() == Form::Whole ? [&](std::size_t mailbox) { queue.drop(mailbox); } : Intake::OnMailbox{});
    auto fetched = on.fetch(queue, intake);
    auto flushed = intake.flush();  // what has come whole is kept, however the connection ended
    if (!fetched) {
      const std::lock_guard lock(settled_mutex_);
      const auto open = intake.open_body();
      if (open) broke_open_ = true;
      if (open || alone) broke_at_ = open ? open : intake.next_owed();
    }
    return !flushed ? flushed : fetched;
  };
  std::mutex mutex;
  Done others = done();
  std::size_t lost = 0;
  std::vector<std::jthread> more;
  helpers_tried_ = helpers_tried_ || (!alone && connections_ > 1);
  for (std::size_t n = 1; n < (alone ? 1 : connections_); ++n)
    more.emplace_back([&] {
      auto connection = context_.connect();
      auto outcome = connection ? one(**connection) : Done(connection.error());
      if (outcome) return;
      tell(Trouble{"another connection: " + outcome.error().what});
      const std::lock_guard lock(mutex);
      ++lost;
      if (connection) helper_lost_ = true;
      if (outcome.error().scope == Scope::Service) others = outcome;  // the disk, not the line
    });
  auto outcome = one(source);
  more.clear();
  connections_ -= lost;  // what a server does not allow, or does not hold, is not asked for again in this run
  return !others ? others : outcome;
}

// Before the last round: a fresh connection, and the server's own word on which messages really are empty.
Done Engine::isolate(Arrivals& arrivals) {
  source_.reset();
  for (const auto index : arrivals.mailboxes()) {
    auto headers =
        on_source([&](Source& source) { return source.headers(works_[index].fetch(index, arrivals.missing(index))); });
    if (!headers && headers.error().scope == Scope::Mailbox) continue;
    if (!headers) return headers.error();
    for (const auto& header : *headers)
      if (header.size == 0U) arrivals.allow_empty(index, header.uid);
  }
  return done();
}

// The other forms are for messages that are there; for all of them, those that ended a connection, too.
Done Engine::before_salvage(Arrivals& arrivals) {
  arrivals.forgive();
  for (const auto index : arrivals.mailboxes()) {
    const auto missing = arrivals.missing(index);
    auto shown = on_source([&](Source& source) { return source.probe(works_[index].fetch(index, missing)); });
    if (!shown) return shown.error();
    missing.minus(*shown).each([&](Uid uid) { arrivals.abandon(index, uid, arrivals.reason(index, uid)); });
  }
  return done();
}

// What never came: no longer shown by the server means gone (the fetch without an answer is the first kind of evidence,
// the probe the second); everything else has failed, keeps the server's words and is tried again later.
Done Engine::give_up(Arrivals& arrivals) {
  for (const auto index : arrivals.mailboxes()) {
    const auto missing = arrivals.missing(index);
    if (missing.empty()) continue;
    auto& work = works_[index];
    auto shown = on_source([&](Source& source) { return source.probe(work.fetch(index, missing)); });
    if (!shown) return shown.error();
    std::vector<store::MessageRow> failed;
    const auto now = context_.clock->unix_seconds();
    for (const auto& range : missing.intersect(*shown).ranges()) {
      auto rows =
          context_.ledger->messages(work.row.id, work.row.generation, Uid{range.first}, Uid{range.last}, SIZE_MAX >> 1);
      if (!rows) return rows.error();
      for (auto& row : *rows) {
        row.state = MessageState::Failed;
        row.reason = arrivals.reason(index, row.uid);
        if (row.reason.empty()) row.reason = "the server sent no message";
        row.next_try = now + retry_after(++row.attempts);
        tell(MessageFailed{work.report.name, row.uid.value, row.reason});
        failed.push_back(std::move(row));
      }
    }
    auto transaction = context_.ledger->begin();
    if (!transaction) return transaction.error();
    for (const auto& row : failed)
      if (auto r = transaction->put(work.row.id, work.row.generation, row); !r) return r;
    Done marked = done();
    missing.minus(*shown).each([&](Uid uid) {
      if (marked) marked = transaction->set_state(work.row.id, work.row.generation, uid, MessageState::Gone);
    });
    if (!marked) return marked;
    if (auto committed = transaction->commit(); !committed) return committed;
  }
  return done();
}

}  // namespace mailhaul::sync
