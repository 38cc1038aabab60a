#include "collector/completion.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <vector>

namespace mailhaul::collector {
namespace {

struct Word {
  std::string text, help;
  bool takes_value = false, file = false;
};

std::string first_sentence(std::string help) {
  help = help.substr(0, help.find(". "));
  while (help.ends_with('.')) help.pop_back();
  std::erase_if(help, [](char c) { return c == '\'' || c == '[' || c == ']' || c == ':' || c == '\\' || c == '"'; });
  return help;
}

std::vector<Word> options_of(const CLI::App& command) {
  std::vector<Word> out;
  for (const auto* option : command.get_options()) {
    const bool file = option->get_name().find("file") != std::string::npos;
    for (const auto& name : option->get_lnames())
      out.push_back(
          {"--" + name, first_sentence(option->get_description()), option->get_items_expected_max() > 0, file});
  }
  return out;
}

std::vector<const CLI::App*> commands_of(const CLI::App& app) {
  return app.get_subcommands([](const CLI::App*) { return true; });
}

std::string bash(const CLI::App& app) {
  std::string out =
      "_mailhaul() {\n  local word=\"${COMP_WORDS[COMP_CWORD]}\" words=\"\"\n  if [ \"$COMP_CWORD\" -gt 1 ]; then\n"
      "    case \"${COMP_WORDS[1]}\" in\n";
  std::string names;
  for (const auto* command : commands_of(app)) {
    names += " " + command->get_name();
    out += "      " + command->get_name() + ") words=\"";
    for (const auto& one : options_of(*command)) out += one.text + " ";
    out += "\" ;;\n";
  }
  return out + "    esac\n  else\n    words=\"" + names.substr(1) + " --help --version\"\n  fi\n" +
         "  COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n}\ncomplete -o default -F _mailhaul mailhaul\n";
}

std::string zsh(const CLI::App& app) {
  std::string out = "#compdef mailhaul\n_mailhaul() {\n  local -a commands\n  commands=(\n";
  for (const auto* command : commands_of(app))
    out += "    '" + command->get_name() + ":" + first_sentence(command->get_description()) + "'\n";
  out += "  )\n  if (( CURRENT == 2 )); then\n    _describe command commands\n    return\n  fi\n  case $words[2] in\n";
  for (const auto* command : commands_of(app)) {
    out += "    " + command->get_name() + ") _arguments '*:file:_files'";
    for (const auto& one : options_of(*command))
      out += " '" + one.text + "[" + one.help + "]" + (one.takes_value ? one.file ? ":file:_files" : ":value: " : "") +
             "'";
    out += " ;;\n";
  }
  return out + "  esac\n}\n_mailhaul \"$@\"\n";
}

std::string fish(const CLI::App& app) {
  std::string out = "complete -c mailhaul -n __fish_use_subcommand -f\n";
  for (const auto* command : commands_of(app)) {
    out += "complete -c mailhaul -n __fish_use_subcommand -f -a " + command->get_name() + " -d '" +
           first_sentence(command->get_description()) + "'\n";
    for (const auto& one : options_of(*command))
      out += "complete -c mailhaul -n '__fish_seen_subcommand_from " + command->get_name() + "' -l " +
             one.text.substr(2) + (one.takes_value ? " -r" : "") + " -d '" + one.help + "'\n";
  }
  return out;
}

}  // namespace

std::string completion_script(const CLI::App& app, const std::string& shell) {
  if (shell == "bash") return bash(app);
  if (shell == "zsh") return zsh(app);
  return shell == "fish" ? fish(app) : "";
}

}  // namespace mailhaul::collector
