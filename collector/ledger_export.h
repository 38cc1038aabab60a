// The ledger for people and their tools: every message with its state, digest, place and reason, one line each.
#pragma once
#include <functional>
#include <string_view>

#include "store/ledger.h"

namespace mailhaul::collector {

enum class ExportForm {
  Csv,   // RFC 4180, a header line first
  Json,  // one object a line
};

// Accounts, mailboxes, generations and UIDs in the order in which the ledger has them. `out` gets whole lines and
// returns false to stop (a closed pipe), which is no Error.
Done export_ledger(store::Ledger& ledger, ExportForm form, const std::function<bool(std::string_view)>& out);

}  // namespace mailhaul::collector
