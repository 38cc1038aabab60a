#include "tests/support/imap_model.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <ctime>
#include <sstream>
#include <utility>

#include "protocols/base/text.h"
#include "tests/support/imap_words.h"

namespace mailhaul::test {
namespace {

using mail::Uid;

std::string date_text(std::int64_t unix_seconds) {  // RFC 9051 §9, date-time
  const auto at = static_cast<std::time_t>(unix_seconds);
  std::tm t{};
  gmtime_r(&at, &t);
  static constexpr std::array<const char*, 12> kMonths{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%2d-%s-%04d %02d:%02d:%02d +0000", t.tm_mday,
                kMonths[static_cast<std::size_t>(t.tm_mon)], t.tm_year + 1900, t.tm_hour, t.tm_min, t.tm_sec);
  return text.data();
}

std::string unparenthesised(const std::string& text) {
  return text.size() >= 2 && text.front() == '(' ? text.substr(1, text.size() - 2) : text;
}

}  // namespace

class ImapModelConnection final : public net::Transport {
 public:
  explicit ImapModelConnection(ImapModel& model) : model_(model), server_(model.server_) {
    if (model_.open_ >= model_.most_connections) {
      out_ = "* BYE [UNAVAILABLE] Maximum number of connections from user+IP exceeded\r\n";
      gone_ = true;
    } else {
      out_ = "* " + model_.greeting + "\r\n";
      ++model_.opened_;
    }
    ++model_.open_;
  }
  ~ImapModelConnection() override { --model_.open_; }

  Result<net::Moved> move(std::string_view out, std::span<char> in, std::chrono::milliseconds) override {
    net::Moved moved;
    if (!gone_) {
      moved.sent = out.size();
      in_.append(out);
      read();
    }
    at_once_ = 0;
    moved.received = std::min(in.size(), out_.size() - given_);
    std::copy_n(out_.data() + given_, moved.received, in.data());
    given_ += moved.received;
    if (given_ == out_.size()) {
      out_.clear();
      given_ = 0;
    }
    if (moved.sent > 0 || moved.received > 0) return moved;
    if (gone_ && !model_.stalls) return Error{Scope::Account, Retry::Now, "connection lost", ""};
    return Error{Scope::Account, Retry::Now, "timed out: the model waits, too", ""};
  }
  [[nodiscard]] std::string security() const override { return "memory"; }

 private:
  void read() {
    for (auto end = in_.find("\r\n"); end != std::string::npos && !gone_; end = in_.find("\r\n")) {
      const auto line = in_.substr(0, end);
      if (line.ends_with("}") && !take_literal(end)) return;
      if (line.ends_with("}")) continue;
      in_.erase(0, end + 2);
      obey(line);
    }
  }
  // RFC 9051 §4.3: a literal at the end of the line becomes a quoted string in it; false: it has not come yet.
  bool take_literal(std::size_t end) {
    const auto brace = in_.rfind('{', end);
    const auto octets = std::stoul(in_.substr(brace + 1));
    if (in_[end - 2] != '+' && !std::exchange(continued_, true)) out_ += "+ go on\r\n";
    if (in_.size() < end + 2 + octets) return false;
    continued_ = false;
    in_.replace(brace, end + 2 + octets - brace, quoted(in_.substr(end + 2, octets)));
    return true;
  }
  static std::string quoted(const std::string& text) {
    std::string out = "\"";
    for (const char c : text) {
      if (c == '"' || c == '\\') out += '\\';
      out += c;
    }
    return out += '"';
  }
  void say(const std::string& line) {
    if (model_.noise) out_ += model_.noise();
    out_ += line + "\r\n";
  }

  void obey(const std::string& line) {
    model_.most_at_once = std::max(model_.most_at_once, ++at_once_);
    const auto blank = line.find(' ');
    const auto tag = line.substr(0, blank);
    const auto command = blank == std::string::npos ? std::string() : line.substr(blank + 1);
    model_.lines.push_back(command);
    if (model_.refuses_pipelining && at_once_ > 1) return say(tag + " BAD one command at a time");
    if (model_.answer)
      if (const auto own = model_.answer(command)) return give(tag, *own);
    if (auto reply = carry_out(command); gone_)
      return;
    else if (reply.empty()) {
      const auto more = model_.success ? model_.success(command) : std::nullopt;
      say(tag + " OK " + more.value_or("done"));
    } else {
      say(tag + " " + reply);
    }
  }

  void give(const std::string& tag, const std::string& own) {
    if (own.empty()) gone_ = true;
    std::istringstream text(own);
    for (std::string one; std::getline(text, one);) {
      const bool tagged = one.starts_with("OK") || one.starts_with("NO") || one.starts_with("BAD");
      if (one == "close")
        gone_ = true;
      else
        say(tagged ? tag + " " + one : one);
    }
  }

  // Untagged data goes out; what comes back is the tagged reply if it is not "OK done".
  std::string carry_out(const std::string& command) {
    std::string_view rest = command;
    auto verb = to_upper(take_word(rest));
    if (verb == "UID") verb += " " + to_upper(take_word(rest));
    if (verb == "CAPABILITY") say("* CAPABILITY " + model_.capabilities);
    if (verb == "LOGIN" || verb == "AUTHENTICATE") return "OK [CAPABILITY " + model_.capabilities + "] in";
    if (verb == "ID") say("* ID " + model_.id_reply);
    if (verb == "ENABLE") return enable(rest);
    if (verb == "NAMESPACE") say("* NAMESPACE ((\"\" \"/\")) NIL NIL");
    if (verb == "LIST") list(command);
    if (verb == "STATUS") return status(rest);
    if (verb == "EXAMINE" || verb == "SELECT") return examine(rest);
    if (verb == "UID FETCH") return fetch(rest);
    if (verb == "UID SEARCH") return search(command);
    if (verb == "LOGOUT") {
      say("* BYE bye");
    }
    return {};
  }

  std::string enable(std::string_view rest) {
    std::string done;
    for (auto one = to_upper(take_word(rest)); !one.empty(); one = to_upper(take_word(rest))) {
      if ((" " + model_.capabilities + " ").find(" " + one + " ") == std::string::npos) continue;
      enabled_.insert(one);
      done += " " + one;
    }
    say("* ENABLED" + done);
    return {};
  }

  void list(const std::string& command) {
    const auto at = command.find("STATUS (");
    for (const auto& box : server_.mailboxes) {
      say("* LIST (" + std::string(box.selectable ? "" : "\\Noselect") + ") \"" + box.delimiter + "\" " +
          quoted(box.name));
      if (at != std::string::npos && box.selectable && !model_.no_status_of.contains(box.name))
        say("* STATUS " + quoted(box.name) + " (" +
            items_of(box, command.substr(at + 8, command.find(')', at) - at - 8)) + ")");
    }
  }

  std::string status(std::string_view rest) {
    const auto name = take_word(rest);
    const auto* box = server_.find(name);
    if (!box) return "NO [NONEXISTENT] no such mailbox";
    say("* STATUS " + quoted(name) + " (" + items_of(*box, unparenthesised(take_word(rest))) + ")");
    return {};
  }

  std::string items_of(const ModelMailbox& box, const std::string& wanted) {
    std::string out;
    std::istringstream words(wanted);
    for (std::string item; words >> item;) {
      std::string value;
      if (item == "MESSAGES") value = std::to_string(box.messages.size());
      if (item == "UIDNEXT" && server_.traits.uid_next) value = std::to_string(box.next_uid);
      if (item == "UIDVALIDITY" && box.validity_text() != "") value = box.validity_text();
      if (item == "HIGHESTMODSEQ" && server_.traits.condstore) value = std::to_string(box.modseq);
      if (item == "UNSEEN")
        value = std::to_string(std::ranges::count_if(
            box.messages, [](const ModelMessage& m) { return !m.flags.has(mail::SystemFlag::Seen); }));
      if (item == "MAILBOXID" && box.id) value = "(" + *box.id + ")";
      if (!value.empty()) out += (out.empty() ? "" : " ") + item + " " + value;
    }
    return out;
  }

  std::string examine(std::string_view rest) {
    const auto name = take_word(rest);
    auto* box = server_.find(name);
    const bool was_open = selected_ != nullptr;
    selected_ = nullptr;
    if (!box || !box->selectable) return "NO [NONEXISTENT] no such mailbox";
    if (box->refusals > 0 && box->refusals-- > 0) return "NO [SERVERBUG] busy";
    if (was_open && enabled_.contains("QRESYNC")) say("* OK [CLOSED] the one before");
    selected_ = box;
    auto exists = std::min(box->messages.size(), window());
    if (box->lying_answers > 0 && box->lying_answers-- > 0)
      exists = static_cast<std::size_t>(std::max(0, static_cast<int>(exists) + box->exists_lie));
    say("* " + std::to_string(exists) + " EXISTS");
    if (!box->sticky) say("* NO [UIDNOTSTICKY] UIDs are of this session only");
    if (box->validity_text() != "") say("* OK [UIDVALIDITY " + box->validity_text() + "] valid");
    if (server_.traits.uid_next) say("* OK [UIDNEXT " + std::to_string(box->next_uid) + "] next");
    if (server_.traits.condstore) say("* OK [HIGHESTMODSEQ " + std::to_string(box->modseq) + "]");
    resync(*box, to_upper(take_word(rest)));
    return "OK [READ-ONLY] open";
  }

  void resync(const ModelMailbox& box, const std::string& parameters) {  // RFC 7162 §3.2.5
    const auto at = parameters.find("QRESYNC (");
    if (at == std::string::npos || !enabled_.contains("QRESYNC")) return;
    std::istringstream words(parameters.substr(at + 9));
    std::uint64_t validity = 0, modseq = 0;
    words >> validity >> modseq;
    if (validity != box.validity) return;
    mail::UidSet vanished;
    for (const auto& [when, uid] : box.expunged)
      if (when > modseq) vanished.add(Uid{uid});
    if (!vanished.empty()) say("* VANISHED (EARLIER) " + vanished.wire());
    for (const auto& m : box.messages)
      if (m.modseq > modseq) say(bare(m, true));
  }

  std::string bare(const ModelMessage& m, bool with_modseq) const {
    return "* " + number_of(m) + " FETCH (UID " + std::to_string(m.uid.value) + " FLAGS (" + m.flags.wire() + ")" +
           (with_modseq ? " MODSEQ (" + std::to_string(m.modseq) + ")" : "") + ")";
  }
  // Nobody should look at sequence numbers; some that are wrong show who does.
  static std::string number_of(const ModelMessage& m) { return std::to_string(1 + m.uid.value % 7); }

  [[nodiscard]] std::size_t window() const {
    return enabled_.contains("UIDONLY") ? SIZE_MAX : model_.shown_without_uid_only;
  }

  std::vector<const ModelMessage*> chosen(const std::string& set) {
    std::vector<const ModelMessage*> out;
    const auto last = selected_->messages.empty() ? 0 : selected_->messages.back().uid.value;
    mail::UidSet uids;
    std::istringstream parts(set);
    for (std::string part; std::getline(parts, part, ',');) {
      const auto colon = part.find(':');
      const auto number = [&](const std::string& n) {
        return n == "*" ? last : static_cast<std::uint32_t>(std::stoul(n));
      };
      auto first = number(part.substr(0, colon));
      auto final = colon == std::string::npos ? first : number(part.substr(colon + 1));
      if (first > final) std::swap(first, final);
      uids.add({first, final});
    }
    const auto hidden = selected_->messages.size() - std::min(selected_->messages.size(), window());
    for (std::size_t i = hidden; i < selected_->messages.size(); ++i)
      if (uids.contains(selected_->messages[i].uid)) out.push_back(&selected_->messages[i]);
    cut_at_.reset();
    if (out.size() <= model_.message_limit) return out;
    out.erase(out.begin(), out.end() - static_cast<std::ptrdiff_t>(model_.message_limit));
    cut_at_ = out.front()->uid.value;
    return out;
  }

  std::string search(const std::string& command) {
    if (!selected_) return "BAD nothing is selected";
    const auto at = command.rfind("UID ");
    mail::UidSet found;
    const bool hiding = selected_->hiding_answers > 0 && selected_->hiding_answers-- > 0;
    for (const auto* m : chosen(command.substr(at + 4)))
      if (!hiding || !selected_->hidden.contains(m->uid.value)) found.add(m->uid);
    if (command.find("RETURN") != std::string::npos)
      say("* ESEARCH UID" + (found.empty() ? "" : " ALL " + found.wire()));
    else
      say("* SEARCH" + spelled_out(found));
    return cut();
  }

  // RFC 9738 §3.1
  std::string cut() const {
    if (!cut_at_) return {};
    return "OK [MESSAGELIMIT " + std::to_string(model_.message_limit) + " " + std::to_string(*cut_at_) + "] so far";
  }
  static std::string spelled_out(const mail::UidSet& uids) {
    std::string out;
    uids.each([&](Uid uid) { out += " " + std::to_string(uid.value); });
    return out;
  }

  std::string fetch(std::string_view rest) {
    if (!selected_) return "BAD nothing is selected";
    const auto set = take_word(rest);
    const auto items = " " + to_upper(unparenthesised(take_word(rest))) + " ";
    const auto modifier = to_upper(take_word(rest));
    std::uint64_t since = 0;
    if (const auto at = modifier.find("CHANGEDSINCE "); at != std::string::npos)
      since = std::stoull(modifier.substr(at + 13));
    const auto has = [&](const char* item) { return items.find(std::string(" ") + item) != std::string::npos; };
    bool refused = false;
    for (const auto* found : chosen(set)) {
      if (found->modseq <= since) continue;
      auto* message = selected_->find(found->uid);
      const bool body = has("BODY.PEEK[] ");
      const auto how = body && message->bad_answers > 0 ? message->body : Body::Fine;
      if (how != Body::Fine) --message->bad_answers;
      if (how == Body::Missing) continue;
      if (how == Body::Refused) {
        refused = true;
        continue;
      }
      std::string text = "* " + number_of(*message) + " FETCH (UID " + std::to_string(message->uid.value);
      if (enabled_.contains("UIDONLY"))
        text = "* " + std::to_string(message->uid.value) + " UIDFETCH (UID " + std::to_string(message->uid.value);
      if (has("FLAGS")) text += " FLAGS (" + message->flags.wire() + ")";
      if (has("INTERNALDATE")) text += date_of(*message);
      if (has("RFC822.SIZE")) text += size_of(*message);
      if (has("EMAILID") && !message->email_id.empty()) text += " EMAILID (" + message->email_id + ")";
      if (has("X-GM-MSGID") && !message->email_id.empty()) text += " X-GM-MSGID " + message->email_id;
      if (since > 0) text += " MODSEQ (" + std::to_string(message->modseq) + ")";
      add_body(text, *message, items, how);
      if (gone_) return {};
      if (const auto own = body && model_.body_as ? model_.body_as(*message) : std::nullopt) {
        say(*own);
        continue;
      }
      say(text + ")");
    }
    return refused ? refusal : cut();
  }

  std::string date_of(const ModelMessage& message) const {
    const auto own = model_.date_as.find(message.uid.value);
    if (own == model_.date_as.end()) return " INTERNALDATE \"" + date_text(message.date) + "\"";
    return own->second.empty() ? "" : " INTERNALDATE \"" + own->second + "\"";
  }
  std::string size_of(const ModelMessage& message) const {
    const auto own = model_.size_as.find(message.uid.value);
    if (own == model_.size_as.end())
      return " RFC822.SIZE " + std::to_string(static_cast<std::int64_t>(message.wire.size()) + model_.size_lie);
    return own->second.empty() ? "" : " RFC822.SIZE " + own->second;
  }
  // The octets that go out for a message: its own, if nothing is wrong.
  const std::string& wire_of(const ModelMessage& message) const {
    if (model_.placeholder_for.contains(message.uid.value)) return kPlaceholder;
    const auto other = model_.body_of.find(message.uid.value);
    const auto* instead = other == model_.body_of.end() ? nullptr : selected_->find(Uid{other->second});
    return instead ? instead->wire : message.wire;
  }
  std::string announced(const ModelMessage& message, const std::string& wire) {
    auto octets = static_cast<std::int64_t>(wire.size());
    const auto lie = model_.literal_lie.find(message.uid.value);
    if (lie != model_.literal_lie.end() && model_.lying_literals > 0) {
      --model_.lying_literals;
      octets = std::max<std::int64_t>(0, octets + lie->second);
    }
    return "{" + std::to_string(octets) + "}\r\n" + wire;
  }

  void add_body(std::string& text, const ModelMessage& message, const std::string& items, Body how) {
    if (items.find("BODY.PEEK[] ") != std::string::npos || items.find("BODY.PEEK[TEXT] ") != std::string::npos ||
        items.find("BODY.PEEK[]<0.") != std::string::npos)
      ++model_.bodies;
    // Who gives the wrong body knows the right header fields.
    const bool fields = items.find("BODY.PEEK[HEADER.FIELDS") != std::string::npos;
    const auto& wire = fields && model_.body_of.contains(message.uid.value) ? message.wire : wire_of(message);
    const auto end = wire.find("\r\n\r\n");
    const auto header = end == std::string::npos ? wire : wire.substr(0, end + 4);
    const auto literal = [](std::string_view octets) {
      return "{" + std::to_string(octets.size()) + "}\r\n" + std::string(octets);
    };
    if (items.find("BODY.PEEK[HEADER.FIELDS") != std::string::npos)
      text += " BODY[HEADER.FIELDS (X)] " + literal(header);
    if (items.find("BODY.PEEK[HEADER] ") != std::string::npos) text += " BODY[HEADER] " + literal(header);
    if (items.find("BODY.PEEK[TEXT] ") != std::string::npos)
      text += " BODY[TEXT] " + literal(wire.substr(header.size()));
    if (const auto at = items.find("BODY.PEEK[]<"); at != std::string::npos) {
      const auto from = std::stoul(items.substr(at + 12));
      const auto most = std::stoul(items.substr(items.find('.', at + 12) + 1));
      text += " BODY[]<" + std::to_string(from) + "> " + literal(from < wire.size() ? wire.substr(from, most) : "");
    }
    if (items.find("BODY.PEEK[] ") == std::string::npos) return;
    switch (how) {
      case Body::Nil:
        text += " BODY[] NIL";
        break;
      case Body::Empty:
        text += " BODY[] {0}\r\n";
        break;
      case Body::Drops:
      case Body::Truncated:
        out_ += text + " BODY[] {" + std::to_string(wire.size()) + "}\r\n" +
                wire.substr(0, how == Body::Drops ? wire.size() / 2 : wire.size() - 1);
        gone_ = true;
        break;
      default:
        text += " BODY[] " + announced(message, wire);
    }
  }

  const std::string kPlaceholder =
      "From: \"Microsoft Exchange Server\"\r\nSubject: Retrieval using the IMAP4 protocol failed for the following "
      "message: 2\r\n\r\nThe server couldn't retrieve the following message\r\n";
  const std::string refusal = "NO [SERVERBUG] a message could not be read";
  ImapModel& model_;
  ModelServer& server_;
  std::string in_, out_;
  std::size_t given_ = 0, at_once_ = 0;
  std::optional<std::uint32_t> cut_at_;  // by the message limit
  bool gone_ = false;
  bool continued_ = false;  // a literal that is under way was invited
  ModelMailbox* selected_ = nullptr;
  std::set<std::string> enabled_;
};

std::unique_ptr<net::Transport> ImapModel::transport() { return std::make_unique<ImapModelConnection>(*this); }

Result<std::unique_ptr<client::ImapClient>> ImapModel::connect(const client::ClientOptions& options) {
  return connect(transport(), options);
}

Result<std::unique_ptr<client::ImapClient>> ImapModel::connect(std::unique_ptr<net::Transport> transport,
                                                               const client::ClientOptions& options) {
  return client::ImapClient::over(
      std::move(transport), {{"imap.example.org", 993}, client::Security::Tls, "me@example.org", Secret("hunter2")},
      options);
}

std::size_t ImapModel::count(std::string_view beginning) const {
  return static_cast<std::size_t>(
      std::ranges::count_if(lines, [&](const std::string& line) { return line.starts_with(beginning); }));
}

}  // namespace mailhaul::test
