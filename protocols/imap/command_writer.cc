#include "protocols/imap/command_writer.h"

#include <algorithm>
#include <utility>

#include "protocols/base/types.h"
#include "protocols/mail/digest.h"

namespace mailhaul::imap {
namespace {

constexpr std::size_t kLiteralMinus = 4096;  // RFC 7888 §5

bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; }
bool is_eight_bit(char c) { return static_cast<unsigned char>(c) >= 0x80; }

class Writer {
 public:
  Writer(std::string_view tag, const Syntax& syntax) : syntax_(syntax), parts_(1) { put(tag); }
  ~Writer() {
    for (auto& part : parts_) wipe(part);
  }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  Result<std::vector<std::string>> finish(bool whole) {
    if (!refused_.empty()) return Error{Scope::Account, Retry::Never, refused_ + " cannot be sent", {}};
    if (whole) put("\r\n");
    return std::move(parts_);
  }

  Writer& word(std::string_view text) {  // trusted text behind a blank
    put(" ");
    put(text);
    return *this;
  }

  Writer& number(std::uint64_t value) {
    put(std::to_string(value));
    return *this;
  }

  Writer& put(std::string_view text) {
    append_wiping(parts_.back(), text);
    return *this;
  }

  void refuse(std::string_view what) {
    if (refused_.empty()) refused_ = what;
  }

  // Text that is a piece of the grammar already: items, criteria, sets. It must not be able to end the line or to
  // announce a literal.
  Writer& grammar(std::string_view text, std::string_view what) {
    if (text.empty() ||
        std::any_of(text.begin(), text.end(), [](char c) { return is_control(c) || is_eight_bit(c) || c == '{'; }))
      refuse(what);
    return put(text);
  }

  Writer& atom(std::string_view text, std::string_view what) {  // RFC 9051 §9: ATOM-CHAR
    constexpr std::string_view kSpecials = " (){%*\"\\]";
    if (std::any_of(text.begin(), text.end(), [&](char c) { return kSpecials.find(c) != std::string_view::npos; }))
      refuse(what);
    return grammar(text, what);
  }

  // Quoted where that is enough, else a literal with the octets as they are.
  Writer& string(std::string_view text, std::string_view what) {
    if (text.find('\0') != std::string_view::npos) refuse(what);  // RFC 9051 §4.3: no NUL in a literal
    if (std::any_of(text.begin(), text.end(), [](char c) { return is_control(c) || is_eight_bit(c); }))
      return literal(text);
    put("\"");
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (text[i] == '"' || text[i] == '\\') put("\\");
      put(text.substr(i, 1));
    }
    return put("\"");
  }

  Writer& argument(std::string_view text, std::string_view what) { return put(" ").string(text, what); }

  Writer& words(const std::vector<std::string>& list, std::string_view what) {
    for (const auto& text : list) {
      if (&text != &list.front()) put(" ");
      grammar(text, what);
    }
    return *this;
  }

  // RFC 7888 §4 and §5: a message that is not wanted is refused before it is sent only where the literal waits.
  Writer& literal(std::string_view text) { return literal(text, text.size(), false); }
  Writer& literal(std::string_view text, std::uint64_t octets, bool binary) {
    const bool waits = !syntax_.literal_plus && !(syntax_.literal_minus && octets <= kLiteralMinus);
    put(binary ? "~{" : "{").number(octets).put(waits ? "}\r\n" : "+}\r\n");
    if (waits) parts_.emplace_back();
    return put(text);
  }

 private:
  Syntax syntax_;
  std::vector<std::string> parts_;
  std::string refused_;
};

struct Arguments {
  Writer& to;
  const Syntax& syntax;

  template <class T>
  void operator()(const T&) const {}  // Capability, Noop, … have none

  void operator()(const Login& c) const {
    to.argument(c.user, "a user name with a NUL").argument(c.password.reveal(), "a password with a NUL");
  }
  void operator()(const Authenticate& c) const {
    to.word("").atom(c.mechanism, "the SASL mechanism");
    if (!c.initial_response || !syntax.initial_response) return;
    std::string encoded = c.initial_response->empty() ? "=" : base64(c.initial_response->reveal());  // RFC 4959 §3
    to.word(encoded);
    wipe(encoded);
  }
  void operator()(const Id& c) const {  // RFC 2971 §3.1
    if (c.fields.empty()) {
      to.word("NIL");
      return;
    }
    to.word("(");
    for (const auto& [name, value] : c.fields) {
      if (&name != &c.fields.front().first) to.put(" ");
      to.string(name, "an ID field").argument(value, "an ID field");
    }
    to.put(")");
  }
  void operator()(const Enable& c) const {
    for (const auto& extension : c.extensions) to.word("").atom(extension, "an extension's name");
  }
  void operator()(const Compress&) const { to.word("DEFLATE"); }
  void operator()(const List& c) const {
    to.argument(c.reference, "a mailbox name with a NUL").argument(c.pattern, "a mailbox pattern with a NUL");
    if (c.returns.empty() && c.status_items.empty()) return;
    to.word("RETURN (").words(c.returns, "a LIST return option");
    if (!c.status_items.empty())  // RFC 5819 §2
      to.put(c.returns.empty() ? "STATUS (" : " STATUS (").words(c.status_items, "a STATUS item").put(")");
    to.put(")");
  }
  void operator()(const Lsub& c) const {
    to.argument(c.reference, "a mailbox name with a NUL").argument(c.pattern, "a mailbox pattern with a NUL");
  }
  void operator()(const Status& c) const {
    to.argument(c.mailbox, "a mailbox name with a NUL").word("(").words(c.items, "a STATUS item").put(")");
  }
  void operator()(const Examine& c) const {
    to.argument(c.mailbox, "a mailbox name with a NUL");
    if (c.qresync) {  // RFC 7162 §3.2.5
      to.word("(QRESYNC (").number(c.qresync->validity.value).put(" ").number(c.qresync->modseq.value);
      if (!c.qresync->known_uids.empty()) to.word("").grammar(c.qresync->known_uids, "a set of UIDs");
      to.put("))");
    } else if (c.condstore) {
      to.word("(CONDSTORE)");
    }
  }
  void operator()(const UidFetch& c) const {
    to.word("").grammar(c.uids, "a set of UIDs").word("(").grammar(c.items, "a FETCH item").put(")");
    if (c.vanished && !c.changed_since) to.refuse("VANISHED without CHANGEDSINCE");  // RFC 7162 §3.2.6
    if (c.changed_since) to.word("(CHANGEDSINCE ").number(c.changed_since->value).put(c.vanished ? " VANISHED)" : ")");
  }
  void operator()(const Notify& c) const { to.word("").grammar(c.events, "a NOTIFY event"); }
  void operator()(const ProxyAuth& c) const { to.argument(c.user, "a user name with a NUL"); }
  void operator()(const Append& c) const {
    to.argument(c.mailbox, "a mailbox name with a NUL").word("(");
    if (!c.flags.empty()) to.grammar(c.flags, "a flag");
    to.put(") \"").put(mail::internal_date_text(c.date)).put("\" ");
    if (!c.binary && c.message.find('\0') != std::string_view::npos) to.refuse("a message with a NUL");  // §4.3
    if (c.message.size() > c.octets) to.refuse("a message that is longer than announced");
    to.literal(c.message, c.octets, c.binary);
  }
  void operator()(const Create& c) const {
    to.argument(c.mailbox, "a mailbox name with a NUL");
    if (!c.special_use.empty()) to.word("(USE (").grammar(c.special_use, "a special use").put("))");
  }
  void operator()(const Subscribe& c) const { to.argument(c.mailbox, "a mailbox name with a NUL"); }
  void operator()(const UidStore& c) const {
    to.word("").grammar(c.uids, "a set of UIDs").word(c.add ? "+FLAGS.SILENT (" : "-FLAGS.SILENT (");
    to.grammar(c.flags, "a flag").put(")");
  }
  void operator()(const UidExpunge& c) const { to.word("").grammar(c.uids, "a set of UIDs"); }
  void operator()(const GetQuotaRoot& c) const { to.argument(c.mailbox, "a mailbox name with a NUL"); }
  void operator()(const UidSearch& c) const {
    if (!c.returns.empty()) to.word("RETURN (").grammar(c.returns, "a search return option").put(")");
    to.word("").grammar(c.criteria, "a search criterion");
  }
};

std::string_view verb_of(const Command& command) {
  if (const auto* open = std::get_if<Examine>(&command)) return open->read_write ? "SELECT" : "EXAMINE";
  return name_of(command);
}

}  // namespace

Result<std::vector<std::string>> write_command(std::string_view tag, const Command& command, const Syntax& syntax) {
  Writer writer(tag, syntax);
  writer.word(verb_of(command));
  std::visit(Arguments{writer, syntax}, command);
  const auto* append = std::get_if<Append>(&command);
  return writer.finish(append == nullptr || append->message.size() == append->octets);
}

}  // namespace mailhaul::imap
