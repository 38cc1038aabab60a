#include "tests/support/imap_events.h"

#include <type_traits>
#include <utility>

namespace mailhaul::test {
namespace {

std::string_view word(imap::Condition condition) {
  switch (condition) {
    case imap::Condition::Ok:
      return "OK";
    case imap::Condition::No:
      return "NO";
    case imap::Condition::Bad:
      return "BAD";
    case imap::Condition::PreAuth:
      return "PREAUTH";
    case imap::Condition::Bye:
      return "BYE";
  }
  return "?";
}

template <class... F>
struct Overloaded : F... {
  using F::operator()...;
};
template <class... F>
Overloaded(F...) -> Overloaded<F...>;

std::string describe_fetched(const imap::Fetched& f) {
  std::string out = "FETCH";
  if (f.uid) out += " uid=" + std::to_string(f.uid->value);
  if (f.flags) out += " flags=" + f.flags->wire();
  if (f.size) out += " size=" + std::to_string(*f.size);
  if (f.modseq) out += " modseq=" + std::to_string(f.modseq->value);
  if (f.body == imap::Body::Delivered) out += " body";
  if (f.body == imap::Body::Nil) out += " nil";
  return out;
}

}  // namespace

std::string describe(const imap::StatusText& status) {
  std::string out(word(status.condition));
  if (!status.code.empty()) out += " " + status.code;
  if (!status.arguments.empty()) out += " " + status.arguments;
  return out;
}

std::string describe(const imap::Event& event) {
  return std::visit(
      Overloaded{
          [](const imap::Greeting& e) { return "GREETING " + describe(e.status); },
          [](const imap::Completed& e) { return "COMPLETED " + describe(e.status); },
          [](const imap::Notice& e) { return describe(e.status); },
          [](const imap::Continuation&) { return std::string("+"); },
          [](const imap::Capabilities&) { return std::string("CAPABILITY"); },
          [](const imap::Enabled& e) {
            std::string out = "ENABLED";
            for (const auto& extension : e.extensions) out += " " + extension;
            return out;
          },
          [](const imap::IdReply& e) { return "ID " + std::to_string(e.fields.size()); },
          [](const imap::ListEntry& e) { return (e.lsub ? "LSUB " : "LIST ") + e.raw_name; },
          [](const imap::NamespaceData& e) { return "NAMESPACE " + std::to_string(e.personal.size()); },
          [](const imap::StatusEntry& e) {
            return "STATUS " + e.raw_name + (e.messages ? " " + std::to_string(*e.messages) : "");
          },
          [](const imap::Exists& e) { return "EXISTS " + std::to_string(e.count); },
          [](const imap::Expunged& e) { return "EXPUNGE " + std::to_string(e.number.value); },
          [](const imap::Vanished& e) { return "VANISHED " + e.uids.wire(); },
          [](const imap::FlagsData& e) { return "FLAGS " + e.flags.wire(); },
          [](const imap::SearchResult& e) { return (e.extended ? "ESEARCH " : "SEARCH ") + e.uids.wire(); },
          [](const imap::QuotaData& e) { return "QUOTA " + e.root; },
          [](const imap::BodyBegin& e) { return "BODY " + std::to_string(e.octets); },
          [](const imap::BodyChunk& e) { return "OCTETS " + std::string(e.octets); },
          [](const imap::BodyEnd&) { return std::string("END"); },
          [](const imap::Fetched& e) { return describe_fetched(e); },
          [](const imap::Bye& e) { return "BYE " + describe(e.status); },
      },
      event);
}

Done Recorder::on(const imap::Event& event) {
  const auto* chunk = std::get_if<imap::BodyChunk>(&event);
  if (chunk != nullptr && !heard.empty() && heard.back().starts_with("OCTETS "))
    heard.back() += chunk->octets;
  else
    heard.push_back(describe(event));
  if (fail_at && heard.back() == fail_on) return *fail_at;
  return done();
}

Done Recorder::completed(const imap::Command& command, const imap::StatusText& status) {
  heard.push_back(std::string(imap::name_of(command)) + ": " + describe(status));
  if (fail_at && heard.back() == fail_on) return *fail_at;
  return done();
}

std::string Recorder::text() const {
  std::string out;
  for (const auto& line : heard) out += (out.empty() ? "" : "; ") + line;
  return out;
}

std::optional<client::Step> Steps::next() {
  if (steps.empty()) return std::nullopt;
  client::Step step = std::move(steps.front());
  steps.pop_front();
  return step;
}

}  // namespace mailhaul::test
