// IMAP events as short text, and a listener and a script for tests that only want to look.
#pragma once
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "protocols/client/imap_client.h"

namespace mailhaul::test {

// "EXISTS 3", "LIST Archive", "FETCH uid=5 flags=\Seen body", "OK UIDVALIDITY 7", "BODY 12", "OCTETS hello", …
std::string describe(const imap::Event& event);
std::string describe(const imap::StatusText& status);  // "OK", "NO OVERQUOTA"

// Writes down all it hears. Chunks of a body are joined into one "OCTETS …".
struct Recorder final : client::Listener {
  Done on(const imap::Event& event) override;
  Done completed(const imap::Command& command, const imap::StatusText& status) override;  // "UID FETCH: OK"
  [[nodiscard]] std::string text() const;                                                 // heard, separated by "; "

  std::vector<std::string> heard;
  std::optional<Error> fail_at;  // given back when `fail_on` is heard
  std::string fail_on;
};

// Gives out given steps in order; counts how many are in flight through the listeners' completions.
struct Steps final : client::Script {
  Steps() = default;
  Steps(std::initializer_list<client::Step> list) : steps(list) {}
  std::optional<client::Step> next() override;
  std::deque<client::Step> steps;
};

}  // namespace mailhaul::test
