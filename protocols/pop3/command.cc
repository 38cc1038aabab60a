#include "protocols/pop3/command.h"

namespace mailhaul::pop3 {

bool gives_message(const Command& command) { return is<Top>(command) || is<Retr>(command); }

bool multi_line(const Command& command) {
  if (is<Capa>(command) || gives_message(command)) return true;
  if (const auto* list = std::get_if<List>(&command)) return list->number == 0;
  if (const auto* uidl = std::get_if<Uidl>(&command)) return uidl->number == 0;
  return false;
}

namespace {

std::string numbered(const char* verb, MessageNumber number) {
  return number == 0 ? verb : std::string(verb) + " " + std::to_string(number);
}

struct Namer {
  std::string operator()(const Capa&) const { return "CAPA"; }
  std::string operator()(const Stls&) const { return "STLS"; }
  std::string operator()(const User& c) const { return "USER " + c.name; }
  std::string operator()(const Pass&) const { return "PASS"; }
  std::string operator()(const Auth& c) const { return "AUTH " + c.mechanism; }
  std::string operator()(const Stat&) const { return "STAT"; }
  std::string operator()(const List& c) const { return numbered("LIST", c.number); }
  std::string operator()(const Uidl& c) const { return numbered("UIDL", c.number); }
  std::string operator()(const Top& c) const { return numbered("TOP", c.number) + " " + std::to_string(c.lines); }
  std::string operator()(const Retr& c) const { return numbered("RETR", c.number); }
  std::string operator()(const Dele& c) const { return numbered("DELE", c.number); }
  std::string operator()(const Noop&) const { return "NOOP"; }
  std::string operator()(const Quit&) const { return "QUIT"; }
};

}  // namespace

std::string name_of(const Command& command) { return std::visit(Namer{}, command); }

}  // namespace mailhaul::pop3
