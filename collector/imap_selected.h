// Private to the IMAP destination: a mailbox that is open for writing.
#pragma once
#include <optional>
#include <string_view>

#include "collector/imap_steps.h"
#include "protocols/mail/flags.h"

namespace mailhaul::collector {

class Opened final : public Selected {
 public:
  Done on(const imap::Event& event) override {
    if (const auto* notice = std::get_if<imap::Notice>(&event)) note(notice->status);
    if (const auto* data = std::get_if<imap::FlagsData>(&event)) flags_ = data->flags;
    return Selected::on(event);
  }
  [[nodiscard]] std::uint64_t exists() const { return exists_; }
  [[nodiscard]] std::optional<std::uint64_t> uid_next() const { return uid_next_; }
  // RFC 9051 §7.1: without PERMANENTFLAGS all that FLAGS named can be changed for good.
  [[nodiscard]] mail::FlagSet permanent() const {
    return permanent_ ? *permanent_ : mail::FlagSet(0x1F, {}).united(flags_);
  }
  [[nodiscard]] bool any_keyword() const { return any_keyword_; }

 private:
  void note(const imap::StatusText& status) {
    if (status.code != "PERMANENTFLAGS") return;
    permanent_.emplace();
    std::string_view rest = status.arguments;
    while (!rest.empty()) {
      const auto begin = std::min(rest.find_first_not_of(" ()"), rest.size());
      rest.remove_prefix(begin);
      const auto end = std::min(rest.find_first_of(" ()"), rest.size());
      if (rest.substr(0, end) == "\\*")
        any_keyword_ = true;
      else
        permanent_->add(rest.substr(0, end));
      rest.remove_prefix(end);
    }
  }
  mail::FlagSet flags_;
  std::optional<mail::FlagSet> permanent_;
  bool any_keyword_ = false;
};

}  // namespace mailhaul::collector
