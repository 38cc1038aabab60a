// The commands of the command line that have to do with the service: serving, asking it over its API, and tending its
// data while it is stopped.
#pragma once
#include <memory>
#include <optional>
#include <string>

namespace CLI {
class App;
}

namespace mailhaul::web {

class ServiceCommands {
 public:
  ServiceCommands(CLI::App& app, std::string version);  // adds them; before parsing
  ~ServiceCommands();
  // After parsing: the exit status of the one that was given; nullopt: it is none of these.
  std::optional<int> run();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace mailhaul::web
