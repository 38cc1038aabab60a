#include "collector/imap_steps.h"

#include <algorithm>

#include "protocols/base/text.h"

namespace mailhaul::collector {

using imap::Condition;

Error refused(std::string_view what, const imap::StatusText& status) {
  return {Scope::Mailbox, Retry::Later, std::string(what) + ": " + status.line(), ""};
}

std::optional<std::uint64_t> number_in(std::string_view text) {
  std::uint64_t n = 0;
  if (text.empty() || text.size() > 19) return std::nullopt;
  for (const char c : text) {
    if (!is_digit(c)) return std::nullopt;
    n = n * 10 + static_cast<std::uint64_t>(c - '0');
  }
  return n;
}

Done Selected::on(const imap::Event& event) {
  if (const auto* exists = std::get_if<imap::Exists>(&event))
    exists_ = exists->count;
  else if (std::get_if<imap::Expunged>(&event))
    exists_ -= exists_ > 0 ? 1 : 0;
  else if (const auto* vanished = std::get_if<imap::Vanished>(&event)) {
    if (!vanished->earlier) exists_ -= std::min<std::uint64_t>(exists_, vanished->uids.size());
  } else if (const auto* notice = std::get_if<imap::Notice>(&event)) {
    code(notice->status);
  }
  return done();
}

Done Selected::completed(const imap::Command& command, const imap::StatusText& status) {
  if (!std::holds_alternative<imap::Examine>(command)) return done();
  open_ = status.condition == Condition::Ok;
  if (open_)
    code(status);
  else
    error_ = refused("it cannot be opened", status);
  return done();
}

void Selected::code(const imap::StatusText& status) {
  const auto n = number_in(status.arguments);
  if (status.code == "UIDVALIDITY") {
    if (!n || *n == 0) return;
    if (validity_ && validity_->value != *n) changed_ = true;
    if (sticky_) validity_ = mail::UidValidity{*n};
  } else if (status.code == "UIDNOTSTICKY") {  // RFC 4315 §3: as good as no UIDVALIDITY
    sticky_ = false;
    validity_.reset();
  } else if (status.code == "UIDNEXT") {
    if (n && *n > 0) uid_next_ = *n;
  } else if (status.code == "HIGHESTMODSEQ") {
    if (n && *n > 0) modseq_ = mail::ModSeq{*n};
  } else if (status.code == "NOMODSEQ") {
    modseq_.reset();
  }
}

}  // namespace mailhaul::collector
