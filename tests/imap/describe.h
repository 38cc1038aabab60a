// Every octet of what a session says, as text: two sessions that were fed the same octets in other pieces must give the
// same list. Used by the transcripts and by the fuzz target.
#pragma once
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "protocols/base/text.h"
#include "protocols/imap/session.h"

namespace mailhaul::imap::testing {

inline std::string shown(std::string_view octets) { return printable(octets, SIZE_MAX); }

inline std::string shown(const std::optional<char>& delimiter) {
  return delimiter ? shown(std::string_view(&*delimiter, 1)) : "NIL";
}

inline std::string shown(const StatusText& s) {
  static constexpr const char* kWords[] = {"OK", "NO", "BAD", "PREAUTH", "BYE"};
  std::string out = kWords[static_cast<std::size_t>(s.condition)];
  if (!s.code.empty()) out += " [" + s.code + (s.arguments.empty() ? "" : " " + s.arguments) + "]";
  if (!s.text.empty()) out += " " + s.text;
  return shown(out);
}

template <class T>
std::string field(const char* name, const std::optional<T>& value) {
  if (!value) return {};
  if constexpr (std::is_same_v<T, std::string>)
    return std::string(" ") + name + "=" + shown(*value);
  else if constexpr (std::is_arithmetic_v<T>)
    return std::string(" ") + name + "=" + std::to_string(*value);
  else if constexpr (std::is_same_v<T, mail::FlagSet>)
    return std::string(" ") + name + "=(" + shown(value->wire()) + ")";
  else
    return std::string(" ") + name + "=" + std::to_string(value->value);
}

inline std::string shown(const std::vector<NamespaceData::Root>& roots) {
  std::string out = " (";
  for (const auto& root : roots) out += "<" + shown(root.prefix) + " " + shown(root.delimiter) + ">";
  return out + ")";
}

// Collects events; a body with its chunks becomes one entry.
class Events {
 public:
  std::vector<std::string> list;

  void add(const Event& event) {
    std::visit([this](const auto& e) { one(e); }, event);
  }
  void add_error(const Error&) { list.push_back("ERROR"); }
  // After the last octet: a body that has not ended counts too.
  void finish() {
    if (open_) list.push_back("UNFINISHED " + body());
    open_ = false;
  }

 private:
  void one(const Greeting& e) { list.push_back("GREETING " + shown(e.status)); }
  void one(const Completed& e) { list.push_back(e.tag.value + " " + shown(e.status)); }
  void one(const Notice& e) { list.push_back("NOTICE " + shown(e.status)); }
  void one(const Continuation& e) { list.push_back("+ " + shown(e.text)); }
  void one(const Capabilities&) { list.push_back("CAPABILITY"); }
  void one(const Bye& e) { list.push_back("BYE " + shown(e.status)); }
  void one(const Exists& e) { list.push_back("EXISTS " + std::to_string(e.count)); }
  void one(const Expunged& e) { list.push_back("EXPUNGE " + std::to_string(e.number.value)); }
  void one(const Vanished& e) {
    list.push_back(std::string("VANISHED ") + (e.earlier ? "EARLIER " : "") + e.uids.wire());
  }
  void one(const FlagsData& e) { list.push_back("FLAGS " + shown(e.flags.wire())); }
  void one(const Enabled& e) {
    std::string out = "ENABLED";
    for (const auto& word : e.extensions) out += " " + shown(word);
    list.push_back(std::move(out));
  }
  void one(const IdReply& e) {
    std::string out = "ID";
    for (const auto& [name, value] : e.fields) out.append(" ").append(shown(name)).append("=").append(shown(value));
    list.push_back(std::move(out));
  }
  void one(const ListEntry& e) {
    std::string out = e.lsub ? "LSUB (" : "LIST (";
    for (const auto& a : e.attributes) out += (&a == &e.attributes.front() ? "" : " ") + shown(a);
    list.push_back(out + ") " + shown(e.delimiter) + " <" + shown(e.raw_name) + ">");
  }
  void one(const NamespaceData& e) {
    list.push_back("NAMESPACE" + shown(e.personal) + shown(e.other_users) + shown(e.shared));
  }
  void one(const StatusEntry& e) {
    list.push_back("STATUS <" + shown(e.raw_name) + ">" + field("messages", e.messages) + field("uidnext", e.uid_next) +
                   field("uidvalidity", e.uid_validity) + field("unseen", e.unseen) +
                   field("modseq", e.highest_modseq) + field("size", e.size) + field("deleted", e.deleted) +
                   field("id", e.mailbox_id));
  }
  void one(const SearchResult& e) {
    std::string out = e.extended ? "ESEARCH" : "SEARCH";
    if (e.tag) out += " tag=" + shown(e.tag->value);
    if (!e.uids.empty()) out += " " + e.uids.wire();
    list.push_back(out + field("count", e.count) + field("modseq", e.modseq));
  }
  void one(const QuotaData& e) {
    std::string out = "QUOTA <" + shown(e.root) + ">";
    for (const auto& r : e.resources)
      out += " " + shown(r.name) + " " + std::to_string(r.usage) + "/" + std::to_string(r.limit);
    list.push_back(std::move(out));
  }
  void one(const BodyBegin& e) {
    finish();
    open_ = true;
    head_ = "BODY" + field("uid", e.uid) + " " + std::to_string(e.octets) + " ";
  }
  void one(const BodyChunk& e) { octets_ += e.octets; }
  void one(const BodyEnd&) {
    list.push_back(body());
    open_ = false;
  }
  void one(const Fetched& e) {
    static constexpr const char* kBody[] = {"", " body=NIL", " body"};
    list.push_back("FETCH " + std::to_string(e.number.value) + field("uid", e.uid) + field("flags", e.flags) +
                   field("date", e.internal_date) + field("size", e.size) + field("modseq", e.modseq) +
                   field("emailid", e.email_id) + kBody[static_cast<std::size_t>(e.body)]);
  }

  // The octets are shown when all are there: a cut may go through a character.
  std::string body() { return head_ + shown(std::exchange(octets_, {})); }

  std::string head_, octets_;
  bool open_ = false;
};

// Feeds one piece and collects all it brings. False: the stream is broken.
inline bool feed(Session& session, std::string_view piece, Events& events) {
  if (Done fed = session.feed(piece); !fed) {
    events.add_error(fed.error());
    return false;
  }
  for (;;) {
    auto event = session.next_event();
    if (!event) {
      events.add_error(event.error());
      return false;
    }
    if (!*event) return true;
    events.add(**event);
  }
}

}  // namespace mailhaul::imap::testing
