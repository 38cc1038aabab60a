#include "collector/ledger_export.h"

#include <array>
#include <ctime>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "protocols/mail/digest.h"
#include "protocols/mail/mailbox_name.h"

namespace mailhaul::collector {
namespace {

constexpr std::array<const char*, 4> kDateSources{"INTERNALDATE", "Received", "Date", "neighbour"};

struct Field {
  const char* name;
  nlohmann::json value;  // null: nothing known
};

// RFC 3339; null for a year that has no four digits.
nlohmann::json time_json(std::int64_t unix_seconds) {
  const auto at = static_cast<std::time_t>(unix_seconds);
  std::tm parts{};
  std::array<char, 40> buffer{};
  if (!gmtime_r(&at, &parts) || parts.tm_year < -1900 || parts.tm_year > 8099) return nullptr;
  if (std::strftime(buffer.data(), buffer.size(), "%Y-%m-%dT%H:%M:%SZ", &parts) == 0) return nullptr;
  return buffer.data();
}

nlohmann::json or_null(const std::string& text) { return text.empty() ? nlohmann::json() : nlohmann::json(text); }

// A message has as many lines as copies, and one if it has none.
std::vector<Field> fields(const store::AccountRow& account, const store::MailboxRow& mailbox,
                          const store::GenerationRow& generation, const store::MessageRow& row,
                          const store::PlacementRow* copy) {
  const bool delivered = copy != nullptr;
  std::vector<Field> out;
  out.reserve(21);
  out.push_back({"account", account.identity});
  out.push_back({"mailbox", mail::display_name(mailbox.raw_name)});
  out.push_back({"generation", generation.number});
  out.push_back(
      {"uidvalidity", generation.uid_validity ? nlohmann::json(generation.uid_validity->value) : nlohmann::json()});
  out.push_back({"uid", row.uid.value});
  out.push_back({"state", std::string(store::to_text(row.state))});
  out.push_back({"reason", or_null(row.reason)});
  out.push_back({"octets", row.octets ? nlohmann::json(*row.octets) : nlohmann::json()});
  out.push_back({"sha256", row.sha256 ? nlohmann::json(mail::hex(*row.sha256)) : nlohmann::json()});
  out.push_back({"date", row.internal_date ? time_json(*row.internal_date) : nlohmann::json()});
  out.push_back({"date_source", !row.internal_date                      ? nlohmann::json()
                                : row.date_source < kDateSources.size() ? nlohmann::json(kDateSources[row.date_source])
                                                                        : nlohmann::json("now")});
  out.push_back({"flags", delivered ? nlohmann::json(row.base.wire()) : nlohmann::json()});
  out.push_back({"message_id", or_null(row.message_id)});
  out.push_back({"directory",
                 delivered ? nlohmann::json(copy->directory.empty() ? "INBOX" : copy->directory) : nlohmann::json()});
  out.push_back({"key", delivered ? nlohmann::json(store::to_text(copy->key)) : nlohmann::json()});
  out.push_back({"line_ends", !delivered ? nlohmann::json()
                                         : nlohmann::json(row.form == store::StoredForm::Lf ? "LF" : "as received")});
  out.push_back({"attempts", row.attempts});
  out.push_back({"next_try", row.next_try != 0 ? time_json(row.next_try) : nlohmann::json()});
  out.push_back({"missing_since", row.missing_since != 0 ? time_json(row.missing_since) : nlohmann::json()});
  out.push_back({"removal", or_null(std::string(store::to_text(row.removal)))});
  return out;
}

std::string csv_field(const nlohmann::json& value) {  // RFC 4180 §2.5–2.7
  if (value.is_null()) return {};
  if (!value.is_string()) return value.dump();
  const auto& text = value.get_ref<const std::string&>();
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"') out += '"';
    out += c;
  }
  return out + '"';
}

std::string line_of(const std::vector<Field>& all, ExportForm form) {
  if (form == ExportForm::Json) {
    nlohmann::ordered_json object;
    for (const auto& field : all) object[field.name] = field.value;
    return object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  }
  std::string out;
  for (const auto& field : all) out += (out.empty() ? "" : ",") + csv_field(field.value);
  return out + "\r\n";
}

std::string header_line() {
  std::string out;
  for (const auto& field : fields({}, {}, {}, {}, nullptr)) out += (out.empty() ? "" : ",") + std::string(field.name);
  return out + "\r\n";
}

}  // namespace

Done export_ledger(store::Ledger& ledger, ExportForm form, const std::function<bool(std::string_view)>& out) {
  if (form == ExportForm::Csv && !out(header_line())) return done();
  auto accounts = ledger.accounts();
  if (!accounts) return accounts.error();
  for (const auto& account : *accounts) {
    std::map<std::pair<std::int64_t, std::uint32_t>, store::GenerationRow> generations;
    auto mailboxes = ledger.mailboxes(account.id);
    if (!mailboxes) return mailboxes.error();
    for (const auto& mailbox : *mailboxes) {
      auto lives = ledger.generations(mailbox.id);
      if (!lives) return lives.error();
      for (auto& life : *lives) generations.emplace(std::pair(mailbox.id.value, life.number), life);
    }
    bool wanted = true;
    auto walked =
        ledger.each_message(account.id, [&](const store::MailboxRow& mailbox, std::uint32_t number,
                                            const store::MessageRow& row, std::span<const store::PlacementRow> copies) {
          const auto life = generations.find({mailbox.id.value, number});
          const auto generation = life == generations.end() ? store::GenerationRow{number, {}, 0, {}} : life->second;
          if (copies.empty()) wanted = out(line_of(fields(account, mailbox, generation, row, nullptr), form));
          for (std::size_t i = 0; i < copies.size() && wanted; ++i)
            wanted = out(line_of(fields(account, mailbox, generation, row, &copies[i]), form));
          return wanted;
        });
    if (!walked) return walked;
    if (!wanted) break;
  }
  return done();
}

}  // namespace mailhaul::collector
