#include "collector/cut_over.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "collector/collect.h"
#include "protocols/base/text.h"

namespace mailhaul::collector {
namespace {

std::string messages(std::uint64_t count) { return std::to_string(count) + (count == 1 ? " message" : " messages"); }

}  // namespace

std::vector<std::string> CutOver::obstacles() const {
  auto out = others;
  if (report.stopped) out.emplace_back("the run was stopped");
  if (!report.error.empty()) out.push_back(report.error);
  for (const auto& box : report.mailboxes) {
    if (!box.error.empty()) out.push_back(box.name + ": " + box.error);
    if (box.count.failed > 0) out.push_back(box.name + ": " + messages(box.count.failed) + " could not be collected");
    if (box.count.pending > 0) out.push_back(box.name + ": " + messages(box.count.pending) + " still to come");
    if (!box.sums_up()) out.push_back(box.name + ": the server counts other messages than it lists");
  }
  for (const auto& name : report.unlisted) out.push_back(name + ": collected before, and not listed now");
  if (report.budget) out.emplace_back("what the provider allows a day is used up");
  if (!verification) {
    if (out.empty()) out.emplace_back("the collection is not complete");
    return out;
  }
  if (verification->stopped) out.emplace_back("the verification was stopped");
  for (const auto& one : verification->differences)
    out.push_back(one.mailbox + (one.uid != 0 ? " UID " + std::to_string(one.uid) : "") + ": " + one.what);
  return out;
}

std::vector<std::string> CutOver::left_out() const {
  std::vector<std::string> out;
  for (const auto& box : report.mailboxes)
    if (box.count.excluded > 0) out.push_back(box.name + ": " + messages(box.count.excluded));
  if (verification)
    for (const auto& name : verification->left_out) out.push_back(name + ": all of it");
  return out;
}

Result<CutOver> cut_over(const Job& job, bool deep, const sync::EventSink& events, const std::stop_token& stop) {
  auto report = collect(job, events, stop);
  if (!report) return report.error();
  CutOver out{*std::move(report), {}, deep, {}};
  if (!out.report.complete() || stop.stop_requested()) return out;
  auto verification = verify(job, deep, events, stop);
  if (!verification) return verification.error();
  out.verification = *std::move(verification);
  return out;
}

std::string cut_over_text(const CutOver& outcome) {
  std::string out;
  const auto lines = [&out](const std::vector<std::string>& all) {
    for (const auto& one : all) out += "  " + printable(one) + "\n";
  };
  if (outcome.verification) out += verification_text(*outcome.verification, outcome.deep);
  const auto obstacles = outcome.obstacles();
  if (obstacles.empty()) {
    out += outcome.deep ? "The source may be closed: all that it has is here, compared octet by octet.\n"
                        : "The source may be closed: all that it has is here, by number, UID and size.\n";
  } else {
    out += "The source must not be closed yet:\n";
    lines(obstacles);
    out += "Run the same command again when this is mended.\n";
  }
  if (const auto left = outcome.left_out(); !left.empty()) {
    out += "Not collected, as you wished, and gone with the source:\n";
    lines(left);
  }
  return out;
}

std::string cut_over_json(const CutOver& outcome) {
  const auto obstacles = outcome.obstacles();
  nlohmann::json out{{"may_close", obstacles.empty()}, {"obstacles", obstacles}, {"left_out", outcome.left_out()}};
  if (outcome.verification)
    out["verification"] = nlohmann::json::parse(verification_json(*outcome.verification, outcome.deep));
  return out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace mailhaul::collector
