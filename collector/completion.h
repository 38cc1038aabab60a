// Completions for shells, out of the definitions of the command line itself.
#pragma once
#include <string>

namespace CLI {
class App;
}

namespace mailhaul::collector {

// `shell`: bash, zsh, fish. Complete text of the script; "" for another shell.
std::string completion_script(const CLI::App& app, const std::string& shell);

}  // namespace mailhaul::collector
