#include "tests/support/destination_model.h"

#include <algorithm>
#include <sstream>
#include <utility>

#include "protocols/base/text.h"
#include "protocols/mail/digest.h"
#include "tests/support/imap_words.h"

namespace mailhaul::test {
namespace {

mail::FlagSet flags_in(std::string list) {
  std::ranges::replace(list, '(', ' ');
  std::ranges::replace(list, ')', ' ');
  mail::FlagSet out;
  std::istringstream words(list);
  for (std::string one; words >> one;) out.add(one);
  return out;
}

bool in_set(const std::string& set, std::uint32_t uid, std::uint32_t highest) {
  std::istringstream parts(set);
  for (std::string part; std::getline(parts, part, ',');) {
    const auto colon = part.find(':');
    const auto number = [&](const std::string& text) {
      return text == "*" ? highest : static_cast<std::uint32_t>(std::stoul(text));
    };
    auto first = number(part.substr(0, colon));
    auto last = colon == std::string::npos ? first : number(part.substr(colon + 1));
    if (first > last) std::swap(first, last);
    if (uid >= first && uid <= last) return true;
  }
  return false;
}

}  // namespace

class DestinationModelConnection final : public net::Transport {
 public:
  explicit DestinationModelConnection(DestinationModel& model) : model_(model) { out_ = "* OK ready\r\n"; }

  Result<net::Moved> move(std::string_view out, std::span<char> in, std::chrono::milliseconds) override {
    const Error lost{Scope::Account, Retry::Now, "connection lost", ""};
    if (model_.dead || (gone_ && out_.empty())) return lost;
    if (model_.counting_ && model_.on_octets) model_.on_octets();
    net::Moved moved;
    moved.sent = out.size();
    if (!gone_) take(out);
    auto give = std::min(in.size(), out_.size());
    if (model_.counting_ && model_.to_client + give > model_.cut_server) {
      give = model_.cut_server - model_.to_client;
      model_.cut_server = SIZE_MAX;
      out_.resize(give);
      gone_ = true;
    }
    if (model_.counting_) model_.to_client += give;
    std::copy_n(out_.data(), give, in.data());
    out_.erase(0, give);
    moved.received = give;
    if (moved.sent > 0 || give > 0) return moved;
    return gone_ ? lost : Error{Scope::Account, Retry::Now, "timed out: the model waits, too", ""};
  }
  [[nodiscard]] std::string security() const override { return "memory"; }

 private:
  void take(std::string_view octets) {
    if (!model_.counting_) {
      const auto at = octets.find(" APPEND ");
      if (at != std::string_view::npos) {
        const auto line = octets.rfind('\n', at);
        const auto begin = line == std::string_view::npos ? 0 : line + 1;
        in_.append(octets.substr(0, begin));
        octets.remove_prefix(begin);
        read();
        model_.counting_ = true;
      }
    }
    if (model_.counting_ && model_.from_client + octets.size() > model_.cut_client) {
      octets = octets.substr(0, model_.cut_client - model_.from_client);
      model_.cut_client = SIZE_MAX;
      gone_ = true;
    }
    if (model_.counting_) model_.from_client += octets.size();
    in_.append(octets);
    read();
    if (gone_) out_.clear();
  }

  void read() {
    for (auto end = in_.find("\r\n"); end != std::string::npos; end = in_.find("\r\n")) {
      const auto line = in_.substr(0, end);
      if (line.ends_with("}")) {
        const auto brace = line.rfind('{');
        const auto octets = std::stoul(line.substr(brace + 1));
        if (line[end - 2] != '+' && !std::exchange(asked_, true)) out_ += "+ go on\r\n";
        // The command is whole with the line end behind its literal (RFC 9051 §6.3.12: all of it or nothing).
        if (in_.size() < end + 2 + octets + 2) return;
        asked_ = false;
        append(line.substr(0, brace), in_.substr(end + 2, octets));
        in_.erase(0, end + 2 + octets + 2);
      } else {
        in_.erase(0, end + 2);
        obey(line);
      }
    }
  }

  void append(std::string_view rest, const std::string& message) {
    const auto tag = take_word(rest);
    take_word(rest);  // APPEND
    const auto name = take_word(rest);
    const auto flags = flags_in(take_word(rest));
    const auto date = mail::parse_internal_date(take_word(rest), INT64_MAX / 2);
    ++model_.lines;
    model_.said.push_back("APPEND " + name);
    const auto answer = model_.on_append ? model_.on_append(name, message) : "";
    if (answer == "lose") {
      gone_ = true;
      return;
    }
    if (!answer.empty() && answer != "store" && !answer.starts_with("late ")) {
      out_ += tag + " " + answer + "\r\n";
      return;
    }
    const auto box = find(name);
    if (box == model_.mailboxes.end()) {
      out_ += tag + " NO [TRYCREATE] no such mailbox\r\n";
      return;
    }
    if (refuses(flags)) {
      out_ += tag + " NO [CANNOT] keyword\r\n";
      return;
    }
    HeldMessage held{box->second.next_uid++, message, flags, date.value_or(0), 0};
    if (answer.starts_with("late ")) held.shown_from = model_.clock.unix_seconds() + std::stol(answer.substr(5));
    box->second.messages.push_back(held);
    ++model_.appends;
    gone_ = gone_ || !answer.empty();
    const bool plus = model_.capabilities.find("UIDPLUS") != std::string::npos;
    if (answer.empty())
      out_ +=
          tag + " OK " +
          (plus ? "[APPENDUID " + std::to_string(box->second.validity) + " " + std::to_string(held.uid) + "] " : "") +
          "done\r\n";
  }

  [[nodiscard]] bool refuses(const mail::FlagSet& flags) const {
    return !model_.refused_keyword.empty() && flags.has(model_.refused_keyword);
  }
  [[nodiscard]] bool shown(const HeldMessage& m) const { return m.shown_from <= model_.clock.unix_seconds(); }
  void say(const std::string& line) { out_ += line + "\r\n"; }

  void obey(const std::string& line) {
    std::string_view rest = line;
    const auto tag = take_word(rest);
    auto verb = to_upper(take_word(rest));
    if (verb == "UID") verb += " " + to_upper(take_word(rest));
    ++model_.lines;
    model_.said.push_back(verb + std::string(rest));
    say(tag + " " + carry_out(verb, rest));
  }

  std::string carry_out(const std::string& verb, std::string_view rest) {
    if (verb == "LOGIN" || verb == "AUTHENTICATE") return "OK [CAPABILITY " + model_.capabilities + "] in";
    if (verb == "CAPABILITY") say("* CAPABILITY " + model_.capabilities);
    if (verb == "LIST") {
      take_word(rest);
      const auto entry = [&](const std::string& attributes, const std::string& name) {
        say("* LIST (" + attributes + ") \"" + model_.delimiter + "\" \"" + name + "\"");
      };
      if (take_word(rest).empty()) {
        entry("\\Noselect", "");
        return "OK done";
      }
      for (const auto& [name, box] : model_.mailboxes) entry(box.special_use, name);
    }
    if (verb == "CREATE") {
      const auto name = take_word(rest);
      if (const auto answer = model_.on_create ? model_.on_create(name) : ""; !answer.empty()) return answer;
      if (!name.starts_with(model_.prefix)) return "NO not in your namespace";
      if (find(name) != model_.mailboxes.end()) return "NO Mailbox already exists";
      auto use = take_word(rest);
      std::erase_if(use, [](char c) { return c == '(' || c == ')'; });
      model_.mailboxes[name].special_use = use.starts_with("USE ") ? use.substr(4) : "";
    }
    if (verb == "SUBSCRIBE") model_.mailboxes[take_word(rest)].subscribed = true;
    if (verb == "SELECT" || verb == "EXAMINE") return select(take_word(rest));
    if (verb == "UID FETCH") fetch(rest);
    if (verb == "UID SEARCH") search(rest);
    if (verb == "UID STORE") return store(rest);
    if (verb == "UID EXPUNGE") {
      const auto set = take_word(rest);
      std::erase_if(box_->messages, [&](const HeldMessage& m) {
        return in_set(set, m.uid, highest()) && m.flags.has(mail::SystemFlag::Deleted);
      });
    }
    if (verb == "NAMESPACE") say("* NAMESPACE ((\"" + model_.prefix + "\" \"" + model_.delimiter + "\")) NIL NIL");
    if (verb == "LOGOUT") say("* BYE bye");
    return "OK done";
  }

  [[nodiscard]] std::map<std::string, HeldMailbox>::iterator find(const std::string& name) {
    return std::ranges::find_if(model_.mailboxes, [&](const auto& box) {
      return model_.fold_case ? equal_ignoring_case(box.first, name) : box.first == name;
    });
  }
  std::string select(const std::string& name) {
    const auto it = find(name);
    box_ = nullptr;
    if (it == model_.mailboxes.end()) return "NO [NONEXISTENT] no such mailbox";
    box_ = &it->second;
    say("* " + std::to_string(std::ranges::count_if(box_->messages, [&](auto& m) { return shown(m); })) + " EXISTS");
    say("* OK [UIDVALIDITY " + std::to_string(box_->validity) + "] valid");
    say("* OK [UIDNEXT " + std::to_string(box_->next_uid) + "] next");
    say("* OK [PERMANENTFLAGS (" + model_.permanent_flags + ")] these");
    return "OK [READ-WRITE] open";
  }
  [[nodiscard]] std::uint32_t highest() const {
    std::uint32_t out = 0;
    for (const auto& m : box_->messages)
      if (shown(m)) out = std::max(out, m.uid);
    return out;
  }
  void search(std::string_view rest) {
    take_word(rest);  // UID
    const auto set = take_word(rest);
    std::string out = "* SEARCH";
    for (const auto& m : box_->messages)
      if (shown(m) && in_set(set, m.uid, highest())) out += " " + std::to_string(m.uid);
    say(out);
  }
  void fetch(std::string_view rest) {
    const auto set = take_word(rest);
    const std::string items(rest);
    for (const auto& m : box_->messages) {
      if (!shown(m) || !in_set(set, m.uid, highest())) continue;
      std::string line = "* 1 FETCH (UID " + std::to_string(m.uid);
      if (items.find("FLAGS") != items.npos) line += " FLAGS (" + m.flags.wire() + ")";
      if (items.find("INTERNALDATE") != items.npos)
        line += " INTERNALDATE \"" + mail::internal_date_text(m.date) + "\"";
      if (items.find("RFC822.SIZE") != items.npos) line += " RFC822.SIZE " + std::to_string(m.wire.size());
      const bool header = items.find("BODY.PEEK[HEADER]") != items.npos;
      if (header || items.find("BODY.PEEK[]") != items.npos) {
        const auto end = m.wire.find("\r\n\r\n");
        const auto text = header && end != m.wire.npos ? m.wire.substr(0, end + 4) : m.wire;
        line += std::string(header ? " BODY[HEADER]" : " BODY[]") + " {" + std::to_string(text.size()) + "}\r\n" + text;
      }
      say(line + ")");
    }
  }
  std::string store(std::string_view rest) {
    const auto set = take_word(rest);
    const bool add = take_word(rest).starts_with('+');
    const auto flags = flags_in(take_word(rest));
    if (add && refuses(flags)) return "NO [CANNOT] keyword";
    for (auto& m : box_->messages)
      if (in_set(set, m.uid, highest())) m.flags = add ? m.flags.united(flags) : m.flags.minus(flags);
    return "OK done";
  }

  DestinationModel& model_;
  HeldMailbox* box_ = nullptr;
  std::string in_, out_;
  bool gone_ = false, asked_ = false;
};

Result<std::unique_ptr<client::ImapClient>> DestinationModel::connect() {
  return client::ImapClient::over(std::make_unique<DestinationModelConnection>(*this),
                                  {{"destination.example", 993}, client::Security::Tls, "you", Secret("pass")}, {});
}

}  // namespace mailhaul::test
