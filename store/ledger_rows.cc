#include "store/ledger_rows.h"

#include <algorithm>

namespace mailhaul::store {

std::string_view to_text(MessageState state) {
  static constexpr std::array<std::string_view, kMessageStates> kNames{"listed", "delivered", "excluded", "failed",
                                                                       "gone",   "vanished",  "orphan"};
  const auto i = static_cast<std::size_t>(state);
  return i < kNames.size() ? kNames[i] : "unknown";
}

std::string_view to_text(Removal removal) {
  static constexpr std::array<std::string_view, 4> kNames{"", "meant", "done", "by its owner"};
  const auto i = static_cast<std::size_t>(removal);
  return i < kNames.size() ? kNames[i] : "unknown";
}

namespace rows {
namespace {

// A keyword is an atom (RFC 9051 section 9, flag-keyword), so a blank cannot be part of one.
mail::FlagSet flags_from(std::uint8_t bits, std::string_view text) {
  if (text.empty()) return {bits, {}};
  std::vector<std::string> keywords;
  while (!text.empty()) {
    const auto blank = std::min(text.find(' '), text.size());
    if (blank > 0) keywords.emplace_back(text.substr(0, blank));
    text.remove_prefix(std::min(blank + 1, text.size()));
  }
  return {bits, std::move(keywords)};
}

void bind_text_or_null(sqlite::Statement& statement, int parameter, std::string_view text) {
  if (text.empty())
    statement.bind_null(parameter);
  else
    statement.bind_text(parameter, text);
}

template <class Digest>
void read_digest(std::span<const std::uint8_t> octets, Digest& into) {
  if (octets.size() == into.size()) std::copy(octets.begin(), octets.end(), into.begin());
}

}  // namespace

Error refused(std::string what) { return {Scope::Service, Retry::Never, "ledger: " + std::move(what), {}}; }

Result<Life> find_life(sqlite::Database& db, MailboxId mailbox, std::uint32_t generation) {
  static constexpr char kSql[] =
      "SELECT generation.id, generation.number, generation.number = mailbox.generation FROM mailbox "
      "JOIN generation ON generation.mailbox = mailbox.id "
      "AND generation.number = CASE ?2 WHEN 0 THEN mailbox.generation ELSE ?2 END WHERE mailbox.id = ?1";
  auto q = db.use(kSql);
  q->bind(1, mailbox.value);
  q->bind(2, generation);
  auto row = q->step();
  if (!row) return row.error();
  if (!*row)
    return refused("no generation " + std::to_string(generation) + " of mailbox " + std::to_string(mailbox.value));
  return Life{q->integer(0), q->as<std::uint32_t>(1), q->integer(2) != 0};
}

std::string joined(const mail::FlagSet& flags) {
  std::string text;
  for (const auto& keyword : flags.keywords()) {
    if (!text.empty()) text += ' ';
    text += keyword;
  }
  return text;
}

void bind_flags(sqlite::Statement& statement, int bits, int keywords, const mail::FlagSet& flags,
                const std::string& text) {
  statement.bind(bits, flags.system_bits());
  bind_text_or_null(statement, keywords, text);
}

void BoundMessage::bind(sqlite::Statement& statement, std::int64_t key, const MessageRow& row) {
  keywords_ = joined(row.base);
  statement.bind(1, key);
  statement.bind(2, row.state);
  bind_flags(statement, 3, 4, row.base, keywords_);
  if (row.next_base) {
    next_keywords_ = joined(*row.next_base);
    bind_flags(statement, 5, 6, *row.next_base, next_keywords_);
  } else {
    statement.bind_null(5);
    statement.bind_null(6);
  }
  statement.bind(7, row.octets);
  statement.bind(8, row.internal_date);
  statement.bind(9, row.date_source);
  statement.bind(10, row.form);
  if (row.sha256)
    statement.bind_blob(11, *row.sha256);
  else
    statement.bind_null(11);
  bind_text_or_null(statement, 12, row.message_id);
  if (row.header_digest != decltype(row.header_digest){})
    statement.bind_blob(13, row.header_digest);
  else
    statement.bind_null(13);
  bind_text_or_null(statement, 14, row.email_id);
  statement.bind(15, row.reuse);
  bind_text_or_null(statement, 16, row.reason);
  statement.bind(17, row.attempts);
  statement.bind(18, row.next_try);
  statement.bind(19, row.missing_since);
  statement.bind(20, row.removal);
}

MessageRow read_message(const sqlite::Statement& statement) {
  MessageRow row;
  row.uid = uid_of(statement.integer(0));
  row.state = statement.as<MessageState>(1);
  row.base = flags_from(statement.as<std::uint8_t>(2), statement.text(3));
  if (!statement.is_null(4)) row.next_base = flags_from(statement.as<std::uint8_t>(4), statement.text(5));
  if (!statement.is_null(6)) row.octets = statement.as<std::uint64_t>(6);
  if (!statement.is_null(7)) row.internal_date = statement.integer(7);
  row.date_source = statement.as<std::uint8_t>(8);
  row.form = statement.as<StoredForm>(9);
  if (!statement.is_null(10)) read_digest(statement.blob(10), row.sha256.emplace());
  row.message_id = statement.text(11);
  read_digest(statement.blob(12), row.header_digest);
  row.email_id = statement.text(13);
  row.reuse = statement.as<std::uint32_t>(14);
  row.reason = statement.text(15);
  row.attempts = statement.as<std::uint32_t>(16);
  row.next_try = statement.integer(17);
  row.missing_since = statement.integer(18);
  row.removal = statement.as<Removal>(19);
  return row;
}

Tally read_tally(const sqlite::Statement& statement, int first) {
  Tally tally;
  for (std::size_t s = 0; s < kMessageStates; ++s) {
    tally.messages[s] = statement.as<std::uint64_t>(first + static_cast<int>(s));
    tally.octets[s] = statement.as<std::uint64_t>(first + static_cast<int>(s + kMessageStates));
  }
  return tally;
}

}  // namespace rows
}  // namespace mailhaul::store
