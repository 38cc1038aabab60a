// The last run before an account is closed: one more collection, a verification, and what these two say about closing.
#pragma once
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "collector/job.h"
#include "collector/verify.h"

namespace mailhaul::collector {

struct CutOver {
  sync::Report report;
  std::optional<Verification> verification;  // absent: the collection was not complete
  bool deep = false;
  std::vector<std::string> others;                           // obstacles that the caller has found besides
  [[nodiscard]] std::vector<std::string> obstacles() const;  // why the source must not be closed yet; empty: it may be
  [[nodiscard]] std::vector<std::string> left_out() const;   // what is not here because the user wants it so
};

// `deep`: every message is read again on both sides. Errors: as of collect() and verify().
Result<CutOver> cut_over(const Job& job, bool deep, const sync::EventSink& events, const std::stop_token& stop);
std::string cut_over_text(const CutOver& outcome);  // the statement alone, without the report
std::string cut_over_json(const CutOver& outcome);  // one object: may_close, obstacles, left_out, verification

}  // namespace mailhaul::collector
