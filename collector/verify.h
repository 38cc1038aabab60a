// Proof that the destination has what the source has: counts, UIDs against the ledger, sizes; with `deep` both sides
// are read again in full and their SHA-256 compared. Changes nothing on either side.
#pragma once
#include <stop_token>
#include <string>
#include <vector>

#include "collector/job.h"

namespace mailhaul::collector {

struct Difference {
  std::string mailbox;
  std::uint32_t uid = 0;  // 0: the mailbox as a whole
  std::string what;
};

struct VerifiedMailbox {
  std::string name;
  std::uint64_t at_source = 0, in_ledger = 0, at_destination = 0;
  std::uint64_t compared = 0;  // messages whose octets were read on both sides
  std::uint64_t octets = 0;
};

struct Verification {
  std::vector<VerifiedMailbox> mailboxes;
  std::vector<Difference> differences;
  std::vector<std::string> left_out;  // mailboxes that the job's rules do not want
  bool stopped = false;
};

Result<Verification> verify(const Job& job, bool deep, const sync::EventSink& events, const std::stop_token& stop);
std::string verification_text(const Verification& verification, bool deep);
std::string verification_json(const Verification& verification, bool deep);

}  // namespace mailhaul::collector
