// Values of the service as the REST contract (openapi.yaml) writes them, and request bodies read strictly.
#pragma once
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "collector/service/service.h"

namespace mailhaul::web {

using nlohmann::json;

json to_json(const service::AccountView& view);
json to_json(const service::DestinationView& view);
json to_json(const service::ChannelView& view);
json to_json(const service::ChannelTrial& trial);
json to_json(const service::JobView& view);
json to_json(const service::RunView& view, bool with_report);
json to_json(const service::MailboxView& view);
json to_json(const service::MessageView& view);
json to_json(const service::Counts& counts);
json to_json(const service::Progress& progress);
json to_json(const service::Event& event);
json to_json(const service::TestReport& report);
json to_json(const service::ConsentView& view);
json to_json(const discovery::Findings& findings);
json to_json(const service::SystemView& view);
json to_json(const registry::UserRow& row);
json to_json(const registry::TokenRow& row);
json to_json(const registry::AuditRow& row);
json to_json(const service::Viewer& viewer);

std::optional<notify::Kind> channel_kind_from(const std::string& text);
std::optional<service::Level> level_from(const std::string& text);
std::optional<service::JobState> job_state_from(const std::string& text);
std::optional<store::MessageState> message_state_from(const std::string& text);

// Reads the members of one JSON object: each by name and type; what is left over, missing or of another type is told
// by the first complaint.
class Members {
 public:
  explicit Members(const std::string& body, bool may_be_empty = false);
  std::optional<std::string> text(const char* name, std::size_t most, bool required = false, std::size_t least = 0);
  std::optional<Secret> secret(const char* name, std::size_t most, bool required = false);
  std::optional<bool> flag(const char* name);
  std::optional<std::int64_t> number(const char* name, bool required = false);  // >= 0
  std::optional<std::string> object(const char* name);                          // its JSON
  std::optional<std::vector<std::string>> words(const char* name, bool required = false);
  // After everything was read: what was wrong; nullopt: nothing.
  std::optional<service::Refusal> complaint();

 private:
  const json* take(const char* name, bool required);
  void complain(const std::string& field, const std::string& what);
  json value_;
  std::vector<std::string> read_;
  std::optional<service::Refusal> complaint_;
};

}  // namespace mailhaul::web
