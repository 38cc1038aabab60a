#include "tests/imap/player.h"

#include <doctest/doctest.h>

#include <random>
#include <stdexcept>
#include <string>

#include "tests/imap/describe.h"

namespace mailhaul::imap::testing {
namespace {

struct Step {
  enum { Server, Command, Output } kind;
  std::string text;
};
struct Script {
  std::vector<Step> steps;
  std::vector<std::string> events;
};

std::string unescaped(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\') {
      out += text[i];
      continue;
    }
    switch (text.at(++i)) {
      case 'r':
        out += '\r';
        break;
      case 'n':
        out += '\n';
        break;
      case 't':
        out += '\t';
        break;
      case '0':
        out += '\0';
        break;
      case '\\':
        out += '\\';
        break;
      case 'x':
        out += static_cast<char>(std::stoi(std::string(text.substr(i + 1, 2)), nullptr, 16));
        i += 2;
        break;
      default:
        out.append("\\").append(1, text[i]);  // "\\Seen"
    }
  }
  return out;
}

std::string output(std::string_view text) { return text.empty() ? std::string() : unescaped(text) + "\r\n"; }

Script parse(std::string_view transcript) {
  Script script;
  const auto server = [&](const std::string& octets) {
    if (script.steps.empty() || script.steps.back().kind != Step::Server) script.steps.push_back({Step::Server, {}});
    script.steps.back().text += octets;
  };
  while (!transcript.empty()) {
    const std::size_t end = std::min(transcript.find('\n'), transcript.size());
    std::string_view line = transcript.substr(0, end);
    transcript.remove_prefix(std::min(end + 1, transcript.size()));
    line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
    if (line.empty()) continue;
    const std::size_t colon = line.find(':');
    const std::string_view what = line.substr(0, colon);
    std::string_view text = colon == std::string_view::npos ? "" : line.substr(colon + 1);
    if (!text.empty() && text[0] == ' ') text.remove_prefix(1);
    if (what == "S")
      server(std::string(text) + "\r\n");
    else if (what == "S-raw")
      server(unescaped(text));
    else if (what == "C")
      script.steps.push_back({Step::Command, text.substr(0, 1) == "!" ? std::string(text) : output(text)});
    else if (what == "C+")
      script.steps.push_back({Step::Output, output(text)});
    else if (what == "E")
      script.events.emplace_back(text);
    else
      throw std::invalid_argument("unknown directive in a transcript: " + std::string(line));
  }
  return script;
}

using Cut = std::function<std::size_t(std::size_t left)>;

void play_once(const Script& script, const std::vector<Command>& commands, const std::function<void(Session&)>& prepare,
               const Limits& limits, const Cut& cut) {
  Session session("A", limits);
  if (prepare) prepare(session);
  Events events;
  auto next = commands.begin();
  bool alive = true;
  for (const auto& step : script.steps) {
    if (!alive) break;
    if (step.kind == Step::Server) {
      for (std::string_view rest = step.text; alive && !rest.empty();) {
        // A copy of its own for every piece, so that a view into an earlier one is caught by the sanitizers.
        const std::string piece(rest.substr(0, cut(rest.size())));
        rest.remove_prefix(piece.size());
        alive = feed(session, piece, events);
      }
      continue;
    }
    if (step.kind == Step::Command) {
      REQUIRE(next != commands.end());
      const auto tag = session.submit(*next++);
      if (step.text.substr(0, 1) == "!") {
        REQUIRE_FALSE(static_cast<bool>(tag));
        CHECK_MESSAGE(tag.error().what.find(step.text.substr(1)) != std::string::npos, tag.error().what);
        continue;
      }
      REQUIRE_MESSAGE(static_cast<bool>(tag), (tag ? std::string() : tag.error().what));
    }
    CHECK(shown(take_output(session)) == shown(step.text));
  }
  CHECK(next == commands.end());
  events.finish();
  std::string got, want;
  for (const auto& event : events.list) got += event + "\n";
  for (const auto& event : script.events) want += event + "\n";
  CHECK(got == want);
}

constexpr std::string_view kPrologue = R"(
  S: * OK [CAPABILITY IMAP4rev1] ready
  E: GREETING OK [CAPABILITY IMAP4rev1] ready
  C: A1 LOGIN "u" "p"
  S: A1 OK in
  E: A1 OK in
  C: A2 EXAMINE "INBOX"
  S: A2 OK open
  E: A2 OK open
)";

}  // namespace

void play(std::string_view transcript, const std::vector<Command>& commands,
          const std::function<void(Session&)>& prepare, const Limits& limits) {
  const Script script = parse(transcript);
  {
    INFO("whole");
    play_once(script, commands, prepare, limits, [](std::size_t left) { return left; });
  }
  {
    INFO("octet by octet");
    play_once(script, commands, prepare, limits, [](std::size_t) { return std::size_t{1}; });
  }
  for (unsigned seed = 1; seed <= 20; ++seed) {
    INFO("cut at random, seed ", seed);
    std::mt19937 random(seed);
    play_once(script, commands, prepare, limits, [&](std::size_t left) {
      const std::size_t most = seed % 2 == 0 ? 4 : 40;
      return std::min<std::size_t>(left, 1 + random() % most);
    });
  }
}

void play_selected(std::string_view transcript, const std::vector<Command>& commands, const Limits& limits) {
  std::vector<Command> all{Login{"u", Secret("p")}, Examine{"INBOX", false, std::nullopt, false}};
  all.insert(all.end(), commands.begin(), commands.end());
  play(
      std::string(kPrologue) + std::string(transcript), all, [](Session& s) { s.secure_from_start(); }, limits);
}

Session selected_session(const Limits& limits) {
  Session session("A", limits);
  session.secure_from_start();
  Events events;
  const auto say = [&](std::string_view octets) { REQUIRE(feed(session, octets, events)); };
  say("* OK [CAPABILITY IMAP4rev1] ready\r\n");
  REQUIRE(static_cast<bool>(session.submit(Login{"u", Secret("p")})));
  take_output(session);
  say("A1 OK in\r\n");
  REQUIRE(static_cast<bool>(session.submit(Examine{"INBOX", false, std::nullopt, false})));
  take_output(session);
  say("A2 OK open\r\n");
  return session;
}

std::string take_output(Session& session) {
  std::string all;
  while (!session.output().empty()) {
    all += session.output();
    session.sent(session.output().size());
  }
  return all;
}

}  // namespace mailhaul::imap::testing
