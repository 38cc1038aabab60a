// Private to the IMAP source: commands in a row, and a mailbox while it is selected.
#pragma once
#include <cstdint>
#include <deque>
#include <optional>
#include <string_view>

#include "protocols/base/result.h"
#include "protocols/client/imap_client.h"
#include "protocols/mail/identity.h"

namespace mailhaul::collector {

// A fixed list of steps, given out one by one.
class Steps final : public client::Script {
 public:
  void add(imap::Command command, client::Listener& listener) { steps_.push_back({std::move(command), &listener}); }
  [[nodiscard]] bool empty() const { return steps_.empty(); }
  std::optional<client::Step> next() override {
    if (steps_.empty()) return std::nullopt;
    auto step = std::move(steps_.front());
    steps_.pop_front();
    return step;
  }

 private:
  std::deque<client::Step> steps_;
};

// The server's NO or BAD about a mailbox, as an error of that mailbox.
Error refused(std::string_view what, const imap::StatusText& status);

// A decimal number that is the whole of `text`; nullopt: it is none, or has more than 19 digits.
std::optional<std::uint64_t> number_in(std::string_view text);

// One mailbox while it is selected, from the answers to EXAMINE on.
class Selected : public client::Listener {
 public:
  Done on(const imap::Event& event) override;
  Done completed(const imap::Command& command, const imap::StatusText& status) override;

  [[nodiscard]] bool open() const { return open_; }
  [[nodiscard]] bool changed() const { return changed_; }
  [[nodiscard]] const std::optional<mail::UidValidity>& validity() const { return validity_; }
  [[nodiscard]] const std::optional<Error>& error() const { return error_; }

 protected:
  void code(const imap::StatusText& status);

  bool open_ = false;
  bool changed_ = false;  // UIDVALIDITY changed while selected
  std::uint64_t exists_ = 0;
  bool sticky_ = true;
  std::optional<mail::UidValidity> validity_;  // 0 is no UIDVALIDITY: SmarterMail and others mean "none" by it
  std::optional<std::uint64_t> uid_next_;
  std::optional<mail::ModSeq> modseq_;
  std::optional<Error> error_;
};

}  // namespace mailhaul::collector
