// What a server allows: how long it wants to be left alone, how many connections it takes. Learnt in a run, remembered
// in the account's row.
#include <algorithm>

#include "collector/sync/engine.h"

namespace mailhaul::sync {

Done Engine::be_patient(const Error& why) {
  if (context_.stop.stop_requested()) return why;
  const auto pause = patience_.next(why);
  if (!pause) {
    come_back_ = context_.clock->unix_seconds() + patience_.due().count();
    auto error = why;
    if (error.advice.empty())
      error.advice = "run again in " + std::to_string((patience_.due().count() + 59) / 60) + " min";
    return error;
  }
  tell(Trouble{why.what + "; waiting " + std::to_string(pause->count()) + " s"});
  if (context_.wait) context_.wait(*pause);
  if (context_.stop.stop_requested()) return why;
  return done();
}

// What earlier runs have learnt. One connection more than the server took last time is tried: limits change.
Done Engine::recall_limits() {
  if (account_.connections > 0)
    connections_ = std::min<std::size_t>(connections_, std::size_t{account_.connections} + 1);
  allowance_.resume(account_.day_began, account_.day_octets, context_.clock->unix_seconds());
  const auto rest = account_.rest_until - context_.clock->unix_seconds();
  constexpr std::int64_t kLongest = 86'400;  // more is a clock that was set back
  if (rest <= 0 || rest > kLongest || settings_.dry_run) return done();
  return be_patient({Scope::Account, Retry::Later, "the server has asked to be left alone", "", rest});
}

// With every batch, so that a run that is killed has not forgotten what it used.
Done Engine::note_spending() {
  if (!allowance_.limited() || settings_.dry_run || !context_.ledger || account_.id.value == 0) return done();
  auto transaction = context_.ledger->begin();
  if (!transaction) return transaction.error();
  if (auto r = transaction->spend(account_.id, allowance_.began(), allowance_.octets()); !r) return r;
  return transaction->commit();
}

std::optional<Report::Budget> Engine::budget(const Count& sum,
                                             const std::map<std::int64_t, store::MailboxRow>& rows) const {
  if (!allowance_.used_up() || sum.pending == 0) return std::nullopt;
  std::uint64_t messages = 0, octets = 0;
  for (const auto& [id, row] : rows) {
    messages += row.tally.of(store::MessageState::Delivered);
    octets += row.tally.octets[static_cast<std::size_t>(store::MessageState::Delivered)];
  }
  return Report::Budget{allowance_.limit(), allowance_.again(), messages == 0 ? 0 : octets / messages * sum.pending};
}

Done Engine::note_limits() {
  if (auto noted = note_spending(); !noted) return noted;
  auto row = account_;
  row.rest_until = come_back_;
  if (helpers_tried_) {
    const bool all = connections_ == settings_.connections;
    row.connections = all ? 0 : static_cast<std::uint32_t>(connections_);
  }
  if (row == account_ || settings_.dry_run || row.id.value == 0 || !context_.ledger) return done();
  auto transaction = context_.ledger->begin();
  if (!transaction) return transaction.error();
  if (auto updated = transaction->update_account(row); !updated) return updated;
  if (auto committed = transaction->commit(); !committed) return committed;
  account_ = row;
  return done();
}

}  // namespace mailhaul::sync
